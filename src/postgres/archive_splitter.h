#pragma once

#include "base/bytes.h"
#include "postgres/streams.h"
#include "postgres/toc.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::postgres {

struct SplitResult {
    /// False: the archive is stored as the one opaque stream `archive`, for the reason given. It
    /// restores as a whole, with pg_restore, but neither by table nor with deduplication by table.
    bool understood = true;
    std::string opaque_reason;

    /// Known when the header was read, also for an opaque archive of a known version.
    ArchiveHeader header;
    std::uint64_t bytes_in = 0;
    std::uint64_t entries = 0;
    std::uint64_t tables = 0;         ///< Streams of table data.
    std::uint64_t table_bytes = 0;    ///< COPY bytes.
    std::uint64_t large_objects = 0;  ///< Number of large objects.
    std::uint64_t large_object_bytes = 0;
};

/// Takes apart what `pg_dump -Fc -Z0` writes to a pipe, into streams below a prefix
/// (database_prefix):
///
/// - `toc`: header and table of contents, canonical (see canonical_toc in archive_splitter.cc): two
/// dumps of an
///   unchanged database give the same bytes. The time of creation is the stream's attribute
///   `created`.
/// - `data/<schema>/<table>`: the COPY data of a table.
/// - `blobs` or `blobs/<tag>`: a BLOBS entry: per large object its number (u32), length (u64) in
/// little-endian... see
///   archive_splitter.cc for the framing.
/// - or only `archive`: everything as it came, when the format is not understood or its table of
/// contents cannot be
///   read. That is never an error.
///
/// Feed it any pieces; memory is bounded by the size of the table of contents (at most
/// kTocBytesMax, beyond which the archive is stored opaquely) and one small buffer.
///
/// Threads: one caller at a time. Throws: kDumpFailed naming offset and entry for an archive that
/// is cut off or damaged after its table of contents; what the sink throws.
class ArchiveSplitter final : public ByteSink {
public:
    static constexpr std::uint64_t kTocBytesMax = 64 * kMiB;

    /// `sink` must outlive this. `prefix` ends in '/'.
    ArchiveSplitter(StreamSink& sink, std::string prefix);
    ~ArchiveSplitter() override;
    ArchiveSplitter(const ArchiveSplitter&) = delete;
    ArchiveSplitter& operator=(const ArchiveSplitter&) = delete;

    void write(ByteSpan bytes) override;
    /// To be called once, at the end of the input. Throws when data is missing.
    [[nodiscard]] SplitResult finish();

private:
    class State;
    std::unique_ptr<State> state_;
};

}  // namespace holdfast::postgres
