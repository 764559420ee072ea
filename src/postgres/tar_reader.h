#pragma once

#include "base/bytes.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace holdfast::postgres {

enum class TarEntryType { kFile, kDirectory, kSymbolicLink };

struct TarEntry {
    std::string name;  ///< Relative, without `..`, without a slash at its end.
    TarEntryType type = TarEntryType::kFile;
    std::uint32_t mode = 0;     ///< Permission bits.
    std::uint64_t size = 0;     ///< Bytes of a file; 0 for the others.
    std::int64_t modified = 0;  ///< Seconds since 1970.
    std::string link_target;    ///< Of a symbolic link; may be absolute.
};

/// Takes the entries of a tar archive: begin, the bytes of a file in any number of writes, end.
class TarHandler {
public:
    virtual ~TarHandler() = default;
    virtual void begin(const TarEntry& entry) = 0;
    /// `bytes` are only valid during the call.
    virtual void write(ByteSpan bytes) = 0;
    virtual void end() = 0;
};

/// Parses a ustar archive (POSIX.1-1988, sizes also in base 256) as PostgreSQL's server sends it,
/// while it streams by. Memory: one header.
///
/// Threads: one caller at a time. Throws kBaseBackupFailed, saying at which byte, for whatever is
/// not such an archive: names that are absolute or climb, unknown entry types, wrong checksums.
class TarReader {
public:
    explicit TarReader(TarHandler& handler) : handler_{handler} {}
    void write(ByteSpan bytes);
    /// The archive is complete. PostgreSQL 13 and 14 leave out the two blocks of zeros at the end,
    /// so any whole entry may be the last.
    void finish();

private:
    static constexpr std::size_t kBlockBytes = 512;
    enum class Step { kHeader, kContents, kPadding, kEnd };

    void take_header();
    void begin_entry(const TarEntry& entry);
    [[noreturn]] void fail(const std::string& problem) const;

    TarHandler& handler_;
    Step step_ = Step::kHeader;
    std::array<std::byte, kBlockBytes> header_{};
    std::size_t header_bytes_ = 0;
    std::uint64_t left_ = 0;     ///< Of the contents, or of the padding behind them.
    std::uint64_t padding_ = 0;  ///< Behind the contents.
    std::uint64_t offset_ = 0;   ///< In the archive.
};

}  // namespace holdfast::postgres
