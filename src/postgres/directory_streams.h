#pragma once

#include "postgres/streams.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace holdfast::postgres {

/// Streams kept as files of one directory, for what is on its way from one server to another. The
/// names and sizes are in memory: what is left after a crash is nobody's.
///
/// Threads: as StreamSink while it is written; as StreamSource afterwards.
class DirectoryStreams final : public StreamSink, public StreamSource {
public:
    /// `directory` exists, is empty and outlives this; the files are not removed.
    explicit DirectoryStreams(std::filesystem::path directory);
    ~DirectoryStreams() override;
    DirectoryStreams(const DirectoryStreams&) = delete;
    DirectoryStreams& operator=(const DirectoryStreams&) = delete;

    /// Throws kRestoreTargetFull when the disk is.
    void begin(const StreamSpec& spec) override;
    void write(ByteSpan bytes) override;
    void end() override;

    void list(std::string_view prefix, const std::function<void(const StreamInfo&)>& visit)
        const override;
    [[nodiscard]] std::unique_ptr<StreamReader> open(std::string_view name) const override;

private:
    struct Entry {
        StreamInfo info;
        std::filesystem::path file;
    };
    class FileReader;
    class FileWriter;

    std::filesystem::path directory_;
    std::map<std::string, Entry, std::less<>> entries_;
    std::optional<Entry> current_;
    std::unique_ptr<FileWriter> file_;
};

}  // namespace holdfast::postgres
