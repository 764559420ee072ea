#pragma once

#include "postgres/archive_composer.h"
#include "postgres/toc.h"

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// A schema, or one relation (table, view, materialized view, sequence, foreign table) in it.
struct ItemPath {
    std::string schema;
    std::optional<std::string> table = std::nullopt;

    /// `schema` or `schema/table`; `/` and `%` within a name are percent-encoded.
    /// Throws: kInvalidParameter for any other text.
    [[nodiscard]] static ItemPath parse(std::string_view text);
    [[nodiscard]] std::string to_string() const;
};

struct SelectionRequest {
    ItemPath item;  ///< Names in UTF-8.
    /// Another name for the table. The table's indexes, index-backed constraints, sequences and
    /// statistics get names derived from it, because the old ones may be taken.
    std::optional<std::string> rename_to = std::nullopt;
    /// Another schema for the table, which must exist in the target.
    std::optional<std::string> target_schema = std::nullopt;
    /// Whether the target has the object of this entry already (existence_query). It is asked about
    /// schemas and about what an item depends on. Absent: the target is taken to be an empty
    /// database.
    std::function<bool(const TocEntry&)> exists_in_target = {};
};

struct SelectedObject {
    std::size_t entry;  ///< Position in Toc::entries().
    std::string what;   ///< "TYPE sales.colour", in UTF-8.
};

struct LeftOut {
    std::string what;
    std::string why;
};

struct RenamedObject {
    std::string what;  ///< "INDEX sales.orders_pkey"
    std::string to;    ///< "orders_copy_pkey"
};

struct Selection {
    std::vector<std::size_t> entries;  ///< Positions in Toc::entries(), ascending; for ComposePlan.
    /// What belongs to the item but cannot be restored with it: foreign keys to tables that are not
    /// selected, views on them, publications.
    std::vector<LeftOut> left_out;
    /// What the item needs and the target has not: restored with it. Of a table (a parent, a row
    /// type) only the definition.
    std::vector<SelectedObject> also_included;
    /// What the item needs and is not restored with it: what exists_in_target confirmed, and, of
    /// the item itself only, what must be in the target before the restore, as the tables of a
    /// view.
    std::vector<SelectedObject> expected;
    std::vector<RenamedObject> renamed;
    std::map<std::size_t, TocOverride> overrides;  ///< For a rename; goes into ComposePlan.
};

/// Chooses the entries that restore one item: the relation, its data, owned sequences with their
/// values, defaults, constraints, indexes, triggers, rules, policies, statistics, comments, grants,
/// all its partitions and inheritance children; of a schema everything in it, and partitions that
/// lie elsewhere. Types, functions, collations, operators, text search objects and sequences that
/// it depends on are followed.
///
/// Throws: kRestoreItemNotFound when the archive has no such schema or relation;
/// kUnsupportedOperation for a rename that cannot be done safely, saying what stands in its way.
[[nodiscard]] Selection select_item(const Toc& toc, const SelectionRequest& request);

/// A query whose one row and column says whether the object of an entry exists, or nothing for
/// kinds that have no name to look for. For a session with an empty search_path and client_encoding
/// UTF8.
[[nodiscard]] std::optional<std::string> existence_query(const Toc& toc, const TocEntry& entry);

struct ArchiveItem {
    std::string schema;
    std::string name;  ///< Empty for the schema itself.
    std::string
        desc;  ///< "SCHEMA", "TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE".
};
/// What select_item can restore, in the order of the archive; names in UTF-8.
[[nodiscard]] std::vector<ArchiveItem> list_items(const Toc& toc);

}  // namespace holdfast::postgres
