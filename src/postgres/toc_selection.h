#pragma once

#include "postgres/archive_composer.h"
#include "postgres/toc.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::postgres {

/// A schema, or one table (or view, materialized view, sequence, foreign table) in it.
struct ItemPath {
    std::string schema;
    std::optional<std::string> table = std::nullopt;

    /// "schema" or "schema/table", each part percent-encoded where it holds '/' or '%'.
    /// Throws: kInvalidParameter for any other text.
    [[nodiscard]] static ItemPath parse(std::string_view text);
    [[nodiscard]] std::string to_string() const;
};

/// Whether the archive's CREATE SCHEMA is part of the selection (not for `public`, which every
/// database has).
enum class SchemaEntry { kInclude, kLeaveOut };

struct SelectionRequest {
    ItemPath item;
    SchemaEntry schema_entry = SchemaEntry::kInclude;
    /// Only for one table.
    std::optional<std::string> rename_to = std::nullopt;
};

struct LeftOut {
    std::string what;  ///< "FK CONSTRAINT sales.orders orders_customer_id_fkey"
    std::string why;
};

struct Selection {
    std::vector<std::size_t> entries;  ///< Positions in Toc::entries(), ascending.
    std::vector<LeftOut>
        left_out;  ///< What belongs to the item but cannot be restored without others.
    /// What the item needs and the archive has: restored with it ("TYPE sales.colour").
    std::vector<std::string> also_included;
    /// What the item needs and is expected in the target: extensions, languages, roles ("EXTENSION
    /// hstore").
    std::vector<std::string> expected;
    std::map<std::size_t, TocOverride> overrides;  ///< For a rename; goes into ComposePlan.
};

/// Chooses the entries that restore one item.
///
/// Throws: kRestoreItemNotFound when the archive has no such schema or table; kUnsupportedOperation
/// when a rename is asked for that cannot be done safely, saying what stands in its way.
[[nodiscard]] Selection select_item(const Toc& toc, const SelectionRequest& request);

struct ArchiveItem {
    std::string schema;
    std::string name;  ///< Empty for the schema itself.
    std::string
        desc;  ///< "SCHEMA", "TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE".
};
/// What select_item can restore, in the order of schema and name.
[[nodiscard]] std::vector<ArchiveItem> list_items(const Toc& toc);

}  // namespace holdfast::postgres
