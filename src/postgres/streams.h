#pragma once

#include "base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::postgres {

/// What a stream of a backup holds. The words of to_string() are stored with the recovery point.
enum class StreamKind {
    kManifest,      ///< JSON about the server.
    kGlobals,       ///< SQL: roles or tablespaces.
    kSettings,      ///< JSON about one database.
    kToc,           ///< Canonical header and table of contents of a pg_dump archive (toc.h).
    kTableData,     ///< COPY data of one table, as pg_dump wrote it, without block headers.
    kLargeObjects,  ///< One BLOBS entry, framed as archive_splitter.h says.
    kArchive,       ///< A whole pg_dump archive that was not understood.
    // Of a physical backup: physical_backup.h.
    kCluster,         ///< JSON about the cluster: cluster_description.h.
    kFile,            ///< A file of the data directory.
    kDirectory,       ///< A directory of it; no bytes.
    kSymbolicLink,    ///< A link in it; no bytes, the attribute `target` says where it leads.
    kWal,             ///< A whole segment of the write-ahead log, or a timeline's history.
    kBackupManifest,  ///< The server's `backup_manifest`, as it came.
    kConfiguration,   ///< A configuration file that lay outside the data directory.
};

[[nodiscard]] std::string_view to_string(StreamKind kind) noexcept;
[[nodiscard]] std::optional<StreamKind> parse_stream_kind(std::string_view text) noexcept;

/// Facts about a stream that are known before its first byte. Small: they are kept in the recovery
/// point's manifest.
using StreamAttributes = std::map<std::string, std::string>;

/// How a stream's bytes are best stored.
enum class StreamLayout {
    kBytes,
    kPages,  ///< PostgreSQL's 8 KiB pages, most of which are as they were in the backup before.
};

struct StreamSpec {
    std::string name;  ///< Unique within the recovery point; '/' separates percent-encoded parts.
    StreamKind kind = StreamKind::kManifest;
    StreamAttributes attributes = {};
    StreamLayout layout = StreamLayout::kBytes;
    std::uint64_t size_hint_bytes = 0;  ///< What the source believes; 0: no idea. May be wrong.
};

/// Takes the streams of a backup, one after the other: begin, any number of writes, end. A stream
/// that was not ended is not part of the backup.
///
/// Threads: one caller at a time.
class StreamSink {
public:
    virtual ~StreamSink() = default;
    virtual void begin(const StreamSpec& spec) = 0;
    /// `bytes` are only valid during the call.
    virtual void write(ByteSpan bytes) = 0;
    virtual void end() = 0;
};

/// Takes the bytes of one stream, in order. One thread at a time.
class StreamWriter {
public:
    virtual ~StreamWriter() = default;
    /// `bytes` are only valid during the call, which may block while the layers below are busy.
    virtual void write(ByteSpan bytes) = 0;
    /// The stream is complete. A stream that was not closed is not part of the backup.
    virtual void close() = 0;
};

/// Takes the streams of a backup, several at a time.
///
/// Threads: open() from any; each writer by one thread at a time.
class BackupStreams {
public:
    virtual ~BackupStreams() = default;
    /// REQUIRES: no stream of that name yet. The writer must not outlive this.
    [[nodiscard]] virtual std::unique_ptr<StreamWriter> open(const StreamSpec& spec) = 0;
};

struct StreamInfo {
    StreamSpec spec;
    std::uint64_t size = 0;  ///< Bytes.
};

/// Reads one stream from its start.
class StreamReader {
public:
    virtual ~StreamReader() = default;
    [[nodiscard]] virtual std::uint64_t size() const = 0;
    /// Returns how many bytes were put at the front of `out`: at least one unless `out` is empty or
    /// the stream is at its end.
    virtual std::size_t read(MutableByteSpan out) = 0;
    /// Bytes of the stored piece that begins at the current position, at most 4 MiB; 0 at the end,
    /// and where pieces cannot be compared.
    [[nodiscard]] virtual std::size_t next_piece_bytes() { return 0; }
    /// True when `have` equals the next piece, which is then skipped; found out without fetching
    /// the piece. REQUIRES: have.size() == next_piece_bytes(), which is not 0.
    [[nodiscard]] virtual bool skip_if_equal(ByteSpan have);
};

/// The streams of one recovery point.
///
/// Threads: any number of readers may be open and read at once; list() and open() may be called
/// from any thread.
class StreamSource {
public:
    virtual ~StreamSource() = default;
    /// Calls `visit` for every stream whose name begins with `prefix`, in the order of the names
    /// (bytewise).
    virtual void list(std::string_view prefix, const std::function<void(const StreamInfo&)>& visit)
        const = 0;
    /// Throws: kObjectNotFound when there is no such stream.
    [[nodiscard]] virtual std::unique_ptr<StreamReader> open(std::string_view name) const = 0;
};

/// Where composed bytes go: a file, a pipe, a response.
class ByteSink {
public:
    virtual ~ByteSink() = default;
    /// `bytes` are only valid during the call.
    virtual void write(ByteSpan bytes) = 0;
};

/// Reads a whole stream. Throws kPayloadTooLarge when it is longer than `size_max` bytes.
[[nodiscard]] Bytes read_stream(
    const StreamSource& source, std::string_view name, std::uint64_t size_max
);

/// One part of a stream name: percent-encoded, never empty, "." or "..".
[[nodiscard]] std::string stream_name_part(std::string_view text);

/// The streams of one database begin with this: `databases/<database>/`.
[[nodiscard]] std::string database_prefix(std::string_view database);

/// Streams kept in memory: for tests and for small sets.
class MemoryStreams final : public StreamSink, public StreamSource, public BackupStreams {
public:
    struct Stream {
        StreamSpec spec;
        Bytes bytes;
    };

    void begin(const StreamSpec& spec) override;
    void write(ByteSpan bytes) override;
    void end() override;

    [[nodiscard]] std::unique_ptr<StreamWriter> open(const StreamSpec& spec) override;

    void list(std::string_view prefix, const std::function<void(const StreamInfo&)>& visit)
        const override;
    [[nodiscard]] std::unique_ptr<StreamReader> open(std::string_view name) const override;

    [[nodiscard]] const std::map<std::string, Stream, std::less<>>& streams() const {
        return streams_;
    }

private:
    class Writer;
    void add(Stream stream);

    /// Of streams_, while a backup writes.
    std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
    std::map<std::string, Stream, std::less<>> streams_;
    std::optional<Stream> current_;
};

/// Bytes kept in memory: for tests and for small archives.
class MemoryBytes final : public ByteSink {
public:
    void write(ByteSpan bytes) override { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
    [[nodiscard]] const Bytes& bytes() const noexcept { return bytes_; }

private:
    Bytes bytes_;
};

}  // namespace holdfast::postgres
