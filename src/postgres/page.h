#pragma once

#include "base/bytes.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace holdfast::postgres {

/// A position in the write-ahead log.
using Lsn = std::uint64_t;

/// `16/B374D848`. parse_lsn: nothing when `text` is not one.
[[nodiscard]] std::string format_lsn(Lsn lsn);
[[nodiscard]] std::optional<Lsn> parse_lsn(std::string_view text);

inline constexpr std::size_t kPageBytes = 8192;

/// What a page's header says (src/include/storage/bufpage.h of PostgreSQL, layout version 4).
struct PageHeader {
    Lsn lsn = 0;  ///< Of the last change that was logged.
    std::uint16_t checksum = 0;
    std::uint16_t upper = 0;  ///< 0: the page was never initialised.
};
/// REQUIRES: kPageBytes bytes, of a server of this machine's byte order.
[[nodiscard]] PageHeader read_page_header(ByteSpan page) noexcept;

/// The checksum that PostgreSQL stores in a page with data checksums on; `block` is the page's
/// number in its relation fork, over all segments. REQUIRES: kPageBytes bytes.
[[nodiscard]] std::uint16_t page_checksum(ByteSpan page, std::uint32_t block) noexcept;

enum class RelationFork { kMain, kFreeSpaceMap, kVisibilityMap, kInit };

/// A file of a relation fork: which segment of it, by the last part of its path.
struct RelationFile {
    RelationFork fork = RelationFork::kMain;
    std::uint32_t segment = 0;
};
/// Nothing for what is not made of pages with checksums: `global/pg_control`, `pg_xact/0000`,
/// `PG_VERSION`… `path` is relative to the data directory; tablespaces are below `pg_tblspc/<oid>`.
[[nodiscard]] std::optional<RelationFile> parse_relation_file(std::string_view path);

}  // namespace holdfast::postgres
