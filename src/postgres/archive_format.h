#pragma once

// The bytes of pg_dump's custom format, shared by parser, splitter and composer. Facts:
// PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c and pg_backup_custom.c, versions 11 to 18.
//
//   archive  = header count entry* block*
//   header   = "PGDMP" major minor revision int_size offset_size format compression time{7}
//   database
//              server_version dump_version
//   int      = sign byte, then int_size bytes, little-endian (magnitude)
//   text     = int length (negative: NULL), then the bytes
//   block    = 1 dump_id piece* 0              TABLE DATA
//            | 3 dump_id (oid piece* 0)* 0     BLOBS
//   piece    = int length (above 0), then the bytes
//
// format is 1 (custom). compression is an int (level) up to 1.14, a byte (algorithm) from 1.15 on.

#include "base/bytes.h"
#include "postgres/toc.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace holdfast::postgres {

inline constexpr std::string_view kArchiveMagic = "PGDMP";
inline constexpr ArchiveVersion kArchiveVersionMin{1, 13, 0};
inline constexpr ArchiveVersion kArchiveVersionMax{1, 16, 255};
inline constexpr ArchiveVersion kArchiveTableAccessMethod{1, 14, 0};
inline constexpr ArchiveVersion kArchiveCompressionAlgorithm{1, 15, 0};
inline constexpr ArchiveVersion kArchiveRelationKind{1, 16, 0};

inline constexpr int kArchiveIntSize = 4;
inline constexpr int kArchiveOffsetSize = 8;
inline constexpr int kArchiveFormatCustom = 1;
/// A written integer: sign byte and magnitude.
inline constexpr std::size_t kArchiveIntBytes = 1 + kArchiveIntSize;

inline constexpr std::uint8_t kBlockTableData = 1;
inline constexpr std::uint8_t kBlockLargeObjects = 3;
/// Block type and dump id.
inline constexpr std::size_t kBlockHeaderBytes = 1 + kArchiveIntBytes;

/// The pieces that data is written in, by the composer and in streams of large objects.
inline constexpr std::size_t kPieceBytes = 64 * kKiB;

/// Decodes an integer of kArchiveIntBytes. Magnitudes beyond 31 bits wrap, as in pg_dump, which
/// writes unsigned OIDs this way.
[[nodiscard]] inline std::int32_t decode_archive_int(const std::byte* in) noexcept {
    const auto magnitude = get_little_endian<std::uint32_t>(in + 1);
    return static_cast<std::int32_t>(in[0] == std::byte{0} ? magnitude : 0U - magnitude);
}
inline void encode_archive_int(std::byte* out, std::int32_t value) noexcept {
    const auto bits = static_cast<std::uint32_t>(value);
    out[0] = std::byte{static_cast<unsigned char>(value < 0 ? 1 : 0)};
    put_little_endian(out + 1, value < 0 ? 0U - bits : bits);
}

/// Reads header and entries from bytes that may not be all there yet. A read that fails returns
/// false and leaves the reason; nothing is allocated.
class ArchiveCursor {
public:
    enum class Failure {
        kNone,
        kIncomplete,   ///< needed() says how many bytes there must be before another try can
                       ///< succeed.
        kDamaged,      ///< problem() at problem_offset().
        kUnsupported,  ///< Well formed, but not understood: problem().
    };

    explicit ArchiveCursor(ByteSpan bytes, std::size_t position = 0)
        : bytes_{bytes}, position_{position} {}

    [[nodiscard]] std::size_t position() const noexcept { return position_; }
    [[nodiscard]] Failure failure() const noexcept { return failure_; }
    [[nodiscard]] std::size_t needed() const noexcept { return needed_; }
    [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

    [[nodiscard]] bool read_byte(int& out);
    [[nodiscard]] bool read_int(std::int32_t& out);
    /// A view into the bytes; data() is null for NULL.
    [[nodiscard]] bool read_text(std::string_view& out);
    /// A text that holds a decimal number.
    [[nodiscard]] bool read_number_text(std::uint32_t& out);

    /// On kUnsupported `out.version` is set when the version was read.
    [[nodiscard]] bool read_header(ArchiveHeader& out);
    /// The number of entries that follow.
    [[nodiscard]] bool read_entry_count(std::size_t& out);
    /// On failure `out` holds what was read before.
    [[nodiscard]] bool read_entry(const ArchiveHeader& header, TocEntry& out);

private:
    bool need(std::size_t count);
    bool damaged(std::string problem);
    bool unsupported(std::string problem);
    [[nodiscard]] bool read_version(ArchiveHeader& out);
    [[nodiscard]] bool read_compression(ArchiveHeader& out);
    [[nodiscard]] bool read_time(ArchiveTime& out);
    [[nodiscard]] bool read_dependencies(TocEntry& out);
    [[nodiscard]] bool read_data_state(TocEntry& out);
    [[nodiscard]] bool read_section(TocEntry& out);

    ByteSpan bytes_;
    std::size_t position_;
    Failure failure_ = Failure::kNone;
    std::size_t needed_ = 0;
    std::string problem_;
};

void append_archive_int(Bytes& out, std::int32_t value);
void append_archive_text(Bytes& out, std::string_view text);
void append_archive_header(Bytes& out, const ArchiveHeader& header);
void append_archive_entry(Bytes& out, const ArchiveHeader& header, const TocEntry& entry);

/// Names the streams of entries with data, in the order of the archive; no name twice.
class StreamNamer {
public:
    /// Below the database's prefix: `data/<schema>/<table>`, `blobs`, `blobs/<tag>`.
    [[nodiscard]] std::string name(const TocEntry& entry);

private:
    std::unordered_map<std::string, int> used_;
};

/// "TABLE DATA public.orders", for messages: always valid UTF-8.
[[nodiscard]] std::string describe_entry(const TocEntry& entry, std::string_view encoding = "UTF8");

}  // namespace holdfast::postgres
