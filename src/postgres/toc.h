#pragma once

#include "base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace holdfast::postgres {

/// The table of contents (TOC) of a pg_dump custom-format archive. The words are pg_dump's own.
///
/// Archive versions 1.13 (PostgreSQL 11) to 1.16 (PostgreSQL 18) are understood.

struct ArchiveVersion {
    int major = 0;
    int minor = 0;
    int revision = 0;
    auto operator<=>(const ArchiveVersion&) const = default;
    [[nodiscard]] std::string to_string() const;  ///< "1.14-0"
};

/// When the archive was made, in the local time of the machine that made it.
struct ArchiveTime {
    int second = 0;
    int minute = 0;
    int hour = 0;
    int day = 1;     ///< 1 to 31.
    int month = 0;   ///< 0 to 11.
    int year = 100;  ///< Since 1900.
    int is_dst = 0;
    bool operator==(const ArchiveTime&) const = default;
    /// "2026-10-25T02:30:00", and its reverse.
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] static std::optional<ArchiveTime> parse(std::string_view text);
};

struct ArchiveHeader {
    ArchiveVersion version;
    int int_size = 4;     ///< Bytes of an integer, without its sign byte.
    int offset_size = 8;  ///< Bytes of a file offset.
    int compression = 0;  ///< 0 is none; a level up to 1.14, an algorithm from 1.15 on.
    ArchiveTime created;
    std::string database;
    std::string server_version;
    std::string dump_version;
};

/// The part of a restore that an entry belongs to. kNone follows the entry before it.
enum class TocSection { kNone = 1, kPreData = 2, kData = 3, kPostData = 4 };

/// What the archive says of an entry's data block.
enum class DataState { kOffsetNotSet = 1, kOffsetSet = 2, kNoData = 3 };

/// One entry. Texts are views into the Toc; a text whose data() is null is absent in the archive
/// (pg_dump's NULL), which is not the same as empty when written again.
struct TocEntry {
    std::int32_t dump_id = 0;
    bool had_data = false;  ///< Has a data block: TABLE DATA and BLOBS.
    std::uint32_t catalog_table_oid = 0;
    std::uint32_t catalog_oid = 0;
    std::string_view tag;   ///< Mostly the name of the object.
    std::string_view desc;  ///< Its kind: "TABLE", "TABLE DATA", "FK CONSTRAINT"...
    TocSection section = TocSection::kNone;
    std::string_view definition;
    std::string_view drop_statement;
    std::string_view copy_statement;
    std::string_view schema;
    std::string_view tablespace;
    std::string_view table_access_method;  ///< From 1.14 on.
    std::string_view owner;
    std::string_view with_oids;  ///< "true" or "false"; always "false" since PostgreSQL 12.
    char relation_kind = 0;      ///< pg_class.relkind, from 1.16 on.
    std::vector<std::int32_t> dependencies;  ///< Dump ids.
    DataState data_state = DataState::kNoData;
    std::uint64_t data_offset = 0;
};

/// A parsed table of contents. Immutable; movable.
class Toc {
public:
    /// Reads header and entries from the start of `bytes`; what follows them is ignored.
    ///
    /// Throws: kVaultCorrupt naming offset and entry when the bytes are no archive, are cut off or
    /// contradict themselves; kVaultFormatUnsupported for a version, compression or format that is
    /// not understood. Allocates no more than a small multiple of `bytes`.
    [[nodiscard]] static Toc parse(Bytes bytes);

    [[nodiscard]] const ArchiveHeader& header() const noexcept { return header_; }
    /// In the order of the archive, which is the order of a restore.
    [[nodiscard]] const std::vector<TocEntry>& entries() const noexcept { return entries_; }
    /// The position of the entry with this dump id.
    [[nodiscard]] std::optional<std::size_t> find(std::int32_t dump_id) const;

    /// Name of the stream that holds the data of an entry, below the database's prefix:
    /// `data/<schema>/<table>`, `blobs` or `blobs/<tag>`. Only for entries with had_data.
    [[nodiscard]] const std::string& stream_name(std::size_t entry) const;

    /// The section in which pg_restore handles an entry: its own, or for kNone that of the entries
    /// before it.
    [[nodiscard]] TocSection effective_section(std::size_t entry) const {
        return sections_.at(entry);
    }

private:
    Toc() = default;

    std::unique_ptr<Bytes>
        bytes_;  ///< The texts of entries_ are views into this; its address never changes.
    ArchiveHeader header_;
    std::vector<TocEntry> entries_;
    std::vector<TocSection> sections_;
    std::unordered_map<std::int32_t, std::size_t> by_dump_id_;
    std::unordered_map<std::size_t, std::string> stream_names_;
};

}  // namespace holdfast::postgres
