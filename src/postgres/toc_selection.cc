// Which entries restore one table, or one schema.
//
// Entries fall into groups:
//   - relations: tables, views, materialized views, sequences, foreign tables;
//   - parts of a relation (data, indexes, constraints, triggers, comments...), chosen with it;
//   - things a relation is made of (types, functions, extensions...), followed when the target
//   lacks them;
//   - everything else, never chosen.
//
// First the candidates are gathered, downwards from the item: what it owns, its partitions and
// children. Then, in the order of the archive, in which whatever is needed comes before what needs
// it, each candidate is chosen when all that it needs is chosen, followed or expected; else it is
// left out and reported. The item itself is never left out.

#include "postgres/toc_selection.h"

#include "base/error.h"
#include "base/text.h"
#include "postgres/archive_format.h"
#include "postgres/connection.h"
#include "postgres/sql_tokens.h"
#include "postgres/toc_encoding.h"
#include "postgres/toc_rename.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

template <std::size_t N>
bool is_one_of(std::string_view desc, const std::array<std::string_view, N>& list) {
    return std::find(list.begin(), list.end(), desc) != list.end();
}

bool is_relation(const TocEntry& entry) {
    static constexpr std::array<std::string_view, 5> kRelations{
        "TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE"
    };
    return is_one_of(entry.desc, kRelations);
}

bool is_table(const TocEntry& entry) {
    return entry.desc == "TABLE" || entry.desc == "FOREIGN TABLE";
}

/// What relations are made of, and what that needs. A missing one is restored too: CREATE EXTENSION
/// and the like.
bool is_followed(const TocEntry& entry) {
    static constexpr std::array<std::string_view, 22> kFollowed{
        "TYPE",
        "SHELL TYPE",
        "DOMAIN",
        "FUNCTION",
        "PROCEDURE",
        "AGGREGATE",
        "COLLATION",
        "CONVERSION",
        "OPERATOR",
        "OPERATOR CLASS",
        "OPERATOR FAMILY",
        "CAST",
        "TRANSFORM",
        "TEXT SEARCH PARSER",
        "TEXT SEARCH DICTIONARY",
        "TEXT SEARCH TEMPLATE",
        "TEXT SEARCH CONFIGURATION",
        "EXTENSION",
        "PROCEDURAL LANGUAGE",
        "FOREIGN DATA WRAPPER",
        "SERVER",
        "ACCESS METHOD"
    };
    return is_one_of(entry.desc, kFollowed);
}

/// Says something about another entry, and goes where that goes.
bool is_remark(const TocEntry& entry) {
    return entry.desc == "COMMENT" || entry.desc == "ACL" || entry.desc == "SECURITY LABEL";
}

bool is_publication(const TocEntry& entry) {
    return entry.desc.starts_with("PUBLICATION");
}

/// Makes one thing a part of another: belongs to an item when both do.
bool is_attachment(const TocEntry& entry) {
    return entry.desc == "TABLE ATTACH" || entry.desc == "INDEX ATTACH";
}

/// The relation a part belongs to, from its definition: the name after the keyword that leads to
/// it, outside parentheses.
std::optional<QualifiedName> owner_in_definition(const TocEntry& entry) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kLeads{{
        {"DEFAULT", "table"},
        {"CONSTRAINT", "table"},
        {"CHECK CONSTRAINT", "table"},
        {"FK CONSTRAINT", "table"},
        {"ROW SECURITY", "table"},
        {"INDEX", "on"},
        {"TRIGGER", "on"},
        {"POLICY", "on"},
        {"RULE", "to"},
        {"STATISTICS", "from"},
    }};
    const auto lead = std::find_if(kLeads.begin(), kLeads.end(), [&](const auto& one) {
        return one.first == entry.desc;
    });
    if (lead == kLeads.end()) {
        return std::nullopt;
    }
    const auto tokens = tokenize_sql(entry.definition);
    if (!tokens) {
        return std::nullopt;
    }
    int depth = 0;
    for (std::size_t i = 0; i < tokens->size(); ++i) {
        const SqlToken& token = (*tokens)[i];
        depth += token.is_symbol("(") ? 1 : token.is_symbol(")") ? -1 : 0;
        if (depth == 0 && token.is_word(lead->second)) {
            std::size_t name = i + 1;
            if (name < tokens->size() && (*tokens)[name].is_word("only")) {
                ++name;
            }
            return qualified_name_at(*tokens, name);
        }
    }
    return std::nullopt;
}

class Selector {
public:
    Selector(const Toc& toc, const SelectionRequest& request)
        : toc_{toc},
          request_{request},
          encoding_{archive_encoding(toc)},
          states_(toc.entries().size(), State::kOut),
          parts_(toc.entries().size()) {}

    Selection run();
    [[nodiscard]] std::optional<std::size_t> root() const { return root_; }
    /// What was chosen because it belongs to the item; ascending.
    [[nodiscard]] const std::vector<std::size_t>& own() const { return own_; }

private:
    enum class State : unsigned char { kOut, kCandidate, kChosen, kLeftOut };

    [[nodiscard]] const TocEntry& at(std::size_t i) const { return toc_.entries()[i]; }
    [[nodiscard]] std::string describe(std::size_t i) const {
        return describe_entry(at(i), encoding_);
    }

    void index_relations();
    void index_parts();
    [[nodiscard]] std::optional<std::size_t> relation(
        std::string_view schema, std::string_view name
    ) const;
    [[nodiscard]] std::optional<std::size_t> owner_of(std::size_t i) const;
    [[nodiscard]] std::optional<std::size_t> owner_by_tag(std::size_t i) const;
    [[nodiscard]] std::optional<std::size_t> first_dependency(std::size_t i) const;

    void gather_table(const std::string& schema, const std::string& name);
    void gather_schema(const std::string& schema);
    void add_candidate(std::size_t i);
    void gather_attachments();

    void settle_candidates();
    [[nodiscard]] std::optional<std::string> obstacle(std::size_t i);
    [[nodiscard]] std::optional<std::string> satisfy(std::size_t i, std::size_t needed);
    [[nodiscard]] std::optional<std::string> satisfy_relation(std::size_t i, std::size_t needed);
    [[nodiscard]] bool may_be_missing(std::size_t i, std::size_t needed) const;
    [[nodiscard]] bool exists(std::size_t i) const;
    [[nodiscard]] std::optional<std::string> include(std::size_t i);
    void include_remarks(std::size_t i);
    void include_schema(std::size_t i);
    void expect(std::size_t i);
    void leave_out(std::size_t i, std::string why);

    const Toc& toc_;
    const SelectionRequest& request_;
    const std::string encoding_;
    std::vector<State> states_;
    std::vector<std::vector<std::size_t>> parts_;  ///< What belongs to an entry.
    std::map<std::pair<std::string_view, std::string_view>, std::size_t> relations_;
    std::set<std::pair<std::size_t, std::size_t>> partitions_;  ///< Partition, partitioned table.
    std::optional<std::size_t> root_;
    std::set<std::size_t> expected_;
    std::vector<std::size_t> own_;
    Selection selection_;
};

void Selector::index_relations() {
    for (std::size_t i = 0; i < toc_.entries().size(); ++i) {
        if (is_relation(at(i))) {
            relations_.emplace(std::pair{at(i).schema, at(i).tag}, i);
        }
    }
    for (const TocEntry& entry : toc_.entries()) {
        if (entry.desc != "TABLE ATTACH") {
            continue;
        }
        const auto partition = relation(entry.schema, entry.tag);
        for (const std::int32_t id : entry.dependencies) {
            const auto parent = toc_.find(id);
            if (partition && parent && *parent != *partition) {
                partitions_.emplace(*partition, *parent);
            }
        }
    }
}

std::optional<std::size_t> Selector::relation(std::string_view schema, std::string_view name)
    const {
    const auto it = relations_.find({schema, name});
    if (it == relations_.end()) {
        return std::nullopt;
    }
    return it->second;
}

void Selector::index_parts() {
    for (std::size_t i = 0; i < toc_.entries().size(); ++i) {
        if (const auto owner = owner_of(i)) {
            parts_[*owner].push_back(i);
        }
        if (!is_table(at(i))) {
            continue;
        }
        // Partitions and children belong to every parent. A table also depends on tables whose row
        // type it uses.
        const bool inherits = at(i).definition.find("INHERITS (") != std::string_view::npos;
        for (const std::int32_t id : at(i).dependencies) {
            const auto parent = toc_.find(id);
            if (parent && is_table(at(*parent)) &&
                (inherits || partitions_.contains({i, *parent}))) {
                parts_[*parent].push_back(i);
            }
        }
    }
}

std::optional<std::size_t> Selector::first_dependency(std::size_t i) const {
    for (const std::int32_t id : at(i).dependencies) {
        const auto needed = toc_.find(id);
        if (needed && at(*needed).desc != "ACL") {
            return needed;
        }
    }
    return std::nullopt;
}

/// DEFAULT, constraints, triggers, rules and policies are tagged "table name".
std::optional<std::size_t> Selector::owner_by_tag(std::size_t i) const {
    std::optional<std::size_t> best;
    for (const std::int32_t id : at(i).dependencies) {
        const auto needed = toc_.find(id);
        if (!needed || !is_relation(at(*needed)) || at(*needed).schema != at(i).schema) {
            continue;
        }
        const std::string_view name = at(*needed).tag;
        const std::string_view tag = at(i).tag;
        const bool fits =
            tag.size() > name.size() && tag.starts_with(name) && tag[name.size()] == ' ';
        if (fits && (!best || name.size() > at(*best).tag.size())) {
            best = needed;
        }
    }
    return best;
}

std::optional<std::size_t> Selector::owner_of(std::size_t i) const {
    const TocEntry& entry = at(i);
    if (is_remark(entry) || entry.desc == "STATISTICS DATA") {
        return first_dependency(i);
    }
    static constexpr std::array<std::string_view, 5> kNamedAsOwner{
        "TABLE DATA", "MATERIALIZED VIEW DATA", "ROW SECURITY", "SEQUENCE SET", "SEQUENCE OWNED BY"
    };
    if (is_one_of(entry.desc, kNamedAsOwner)) {
        return relation(entry.schema, entry.tag);
    }
    if (entry.desc == "SEQUENCE") {
        // Only an owned sequence depends on a table.
        for (const std::int32_t id : entry.dependencies) {
            const auto needed = toc_.find(id);
            if (needed && is_table(at(*needed))) {
                return needed;
            }
        }
        return std::nullopt;
    }
    if (const auto name = owner_in_definition(entry)) {
        if (const auto owner = relation(name->schema, name->name)) {
            return owner;
        }
    }
    static constexpr std::array<std::string_view, 7> kTaggedWithOwner{
        "DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "TRIGGER", "RULE", "POLICY"
    };
    return is_one_of(entry.desc, kTaggedWithOwner) ? owner_by_tag(i) : std::nullopt;
}

void Selector::add_candidate(std::size_t i) {
    std::vector<std::size_t> pending{i};
    while (!pending.empty()) {
        const std::size_t next = pending.back();
        pending.pop_back();
        if (states_[next] != State::kOut) {
            continue;
        }
        states_[next] = State::kCandidate;
        pending.insert(pending.end(), parts_[next].begin(), parts_[next].end());
    }
}

void Selector::gather_table(const std::string& schema, const std::string& name) {
    root_ = relation(schema, name);
    if (!root_) {
        throw Error{
            ErrorKind::kRestoreItemNotFound,
            {.message = fmt::format(
                 "The backup of database {} holds no table {}.",
                 repair_utf8(toc_.header().database),
                 request_.item.to_string()
             ),
             .target = request_.item.to_string(),
             .recommended_actions =
                 {"Check the spelling: schema/table, in the case in which they were created."}}
        };
    }
    add_candidate(*root_);
}

void Selector::gather_schema(const std::string& schema) {
    bool found = false;
    for (std::size_t i = 0; i < toc_.entries().size(); ++i) {
        const TocEntry& entry = at(i);
        const bool is_the_schema = entry.desc == "SCHEMA" && entry.tag == schema;
        if (!is_the_schema && (entry.schema.data() == nullptr || entry.schema != schema)) {
            continue;
        }
        found = true;
        if (is_publication(entry)) {
            leave_out(i, "publications are not part of a schema or table");
        } else if (!is_the_schema && !is_attachment(entry)) {
            add_candidate(i);
        }
    }
    if (!found) {
        throw Error{
            ErrorKind::kRestoreItemNotFound,
            {.message = fmt::format(
                 "The backup of database {} holds no schema {}.",
                 repair_utf8(toc_.header().database),
                 request_.item.to_string()
             ),
             .target = request_.item.to_string(),
             .recommended_actions = {"Check the spelling, in the case in which it was created."}}
        };
    }
    for (std::size_t i = 0; i < toc_.entries().size(); ++i) {
        if (at(i).desc == "SCHEMA" && at(i).tag == schema) {
            include_schema(i);
        }
    }
}

void Selector::gather_attachments() {
    for (std::size_t i = 0; i < toc_.entries().size(); ++i) {
        if (!is_attachment(at(i))) {
            continue;
        }
        std::size_t inside = 0;
        std::optional<std::size_t> outside;
        for (const std::int32_t id : at(i).dependencies) {
            if (const auto needed = toc_.find(id)) {
                if (states_[*needed] == State::kOut) {
                    outside = needed;
                } else {
                    ++inside;
                }
            }
        }
        if (inside > 0 && !outside) {
            states_[i] = State::kCandidate;
        } else if (inside > 0 && at(i).desc == "TABLE ATTACH") {
            leave_out(i, fmt::format("{} is not part of the selection", describe(*outside)));
        }
    }
}

bool Selector::exists(std::size_t i) const {
    return request_.exists_in_target && request_.exists_in_target(at(i));
}

void Selector::expect(std::size_t i) {
    if (expected_.insert(i).second) {
        selection_.expected.push_back({i, describe(i)});
    }
}

void Selector::leave_out(std::size_t i, std::string why) {
    states_[i] = State::kLeftOut;
    if (!is_remark(at(i))) {
        selection_.left_out.push_back({describe(i), std::move(why)});
    }
}

void Selector::include_schema(std::size_t i) {
    if (states_[i] == State::kChosen || expected_.contains(i)) {
        return;
    }
    if (at(i).definition.starts_with("--")) {
        return;  // `public`, which every database has: its owner and grants are the target's own.
    }
    if (exists(i)) {
        expect(i);
        return;
    }
    states_[i] = State::kChosen;
    include_remarks(i);
}

void Selector::include_remarks(std::size_t i) {
    for (const std::size_t part : parts_[i]) {
        if (states_[part] == State::kOut &&
            (is_remark(at(part)) || at(part).desc == "SEQUENCE SET")) {
            states_[part] = State::kChosen;
        }
    }
}

/// Chooses something that is needed although it is no part of the item, with what that needs in
/// turn.
std::optional<std::string> Selector::include(std::size_t i) {
    if (exists(i)) {
        expect(i);
        return std::nullopt;
    }
    states_[i] = State::kChosen;  // Before its needs: functions and types may need each other.
    if (auto why = obstacle(i)) {
        states_[i] = State::kOut;
        return why;
    }
    selection_.also_included.push_back({i, describe(i)});
    if (at(i).desc != "EXTENSION") {  // Its comment comes with it.
        include_remarks(i);
    }
    return std::nullopt;
}

/// Needs that a restore can do without.
bool Selector::may_be_missing(std::size_t i, std::size_t needed) const {
    const TocEntry& entry = at(i);
    const TocEntry& other = at(needed);
    if (other.desc == "ACL") {
        return true;  // The order of grants for a table and its columns.
    }
    if (is_table(entry) && partitions_.contains({i, needed})) {
        return true;  // A partition is created by itself and attached later.
    }
    const auto is_index = [](const TocEntry& one) {
        return one.desc == "INDEX" || one.desc == "CONSTRAINT";
    };
    if (is_index(entry) && is_index(other)) {
        return true;  // The index of the partitioned table.
    }
    // An owned sequence is created by itself; an identity column's is not.
    return entry.desc == "SEQUENCE" && entry.definition.starts_with("CREATE SEQUENCE") &&
           is_table(other);
}

std::optional<std::string> Selector::satisfy_relation(std::size_t i, std::size_t needed) {
    const TocEntry& entry = at(i);
    if (at(needed).desc == "SEQUENCE") {
        return include(needed);
    }
    if (entry.desc != "FK CONSTRAINT") {
        if (exists(needed)) {
            expect(needed);
            return std::nullopt;
        }
        if (is_table(entry) && is_table(at(needed))) {
            return include(needed
            );  // A parent, or a table whose row type is used: only its definition.
        }
    }
    return fmt::format("{} is not part of the selection", describe(needed));
}

std::optional<std::string> Selector::satisfy(std::size_t i, std::size_t needed) {
    if (needed == i || states_[needed] == State::kChosen || states_[needed] == State::kCandidate ||
        expected_.contains(needed) || may_be_missing(i, needed)) {
        return std::nullopt;
    }
    if (states_[needed] == State::kLeftOut) {
        return fmt::format("{} is left out", describe(needed));
    }
    const TocEntry& other = at(needed);
    if (other.desc == "SCHEMA") {
        // What moves to another schema does not need its old one; what it is made of stays where it
        // was.
        const bool moves =
            request_.target_schema.has_value() && (i == root_ || states_[i] == State::kCandidate);
        if (!moves) {
            include_schema(needed);
        }
        return std::nullopt;
    }
    if (is_followed(other)) {
        return include(needed);
    }
    return satisfy_relation(i, needed);
}

std::optional<std::string> Selector::obstacle(std::size_t i) {
    for (const std::int32_t id : at(i).dependencies) {
        if (const auto needed = toc_.find(id)) {
            if (auto why = satisfy(i, *needed)) {
                return why;
            }
        }
    }
    return std::nullopt;
}

void Selector::settle_candidates() {
    for (std::size_t i = 0; i < states_.size(); ++i) {
        if (states_[i] != State::kCandidate) {
            continue;
        }
        if (i == root_) {
            own_.push_back(i);
            states_[i] = State::kChosen;
            for (const std::int32_t id : at(i).dependencies) {
                const auto needed = toc_.find(id);
                if (needed && satisfy(i, *needed)) {
                    expect(*needed);
                }
            }
            continue;
        }
        const bool orphan = at(i).had_data && !owner_of(i);
        if (orphan) {
            leave_out(i, "its table is made by an extension");
        } else if (auto why = obstacle(i)) {
            leave_out(i, std::move(*why));
        } else {
            states_[i] = State::kChosen;
            own_.push_back(i);
        }
    }
}

Selection Selector::run() {
    const auto in_archive = [this](const std::string& name) {
        // A name that the archive's encoding cannot express is not in the archive.
        return from_utf8(name, encoding_).value_or(name);
    };
    index_relations();
    index_parts();
    const std::string schema = in_archive(request_.item.schema);
    if (request_.item.table) {
        gather_table(schema, in_archive(*request_.item.table));
    } else {
        gather_schema(schema);
    }
    gather_attachments();
    settle_candidates();
    for (std::size_t i = 0; i < states_.size(); ++i) {
        if (states_[i] == State::kChosen) {
            selection_.entries.push_back(i);
        }
    }
    return std::move(selection_);
}

}  // namespace

Selection select_item(const Toc& toc, const SelectionRequest& request) {
    Selector selector{toc, request};
    Selection selection = selector.run();
    if (request.rename_to || request.target_schema) {
        rename_item(toc, request, {.root = selector.root(), .own = selector.own()}, selection);
    }
    return selection;
}

std::vector<ArchiveItem> list_items(const Toc& toc) {
    const std::string encoding = archive_encoding(toc);
    std::vector<ArchiveItem> items;
    for (const TocEntry& entry : toc.entries()) {
        if (entry.desc == "SCHEMA") {
            items.push_back({to_utf8(entry.tag, encoding), "", "SCHEMA"});
        } else if (is_relation(entry)) {
            items.push_back(
                {to_utf8(entry.schema, encoding),
                 to_utf8(entry.tag, encoding),
                 std::string{entry.desc}}
            );
        }
    }
    return items;
}

ItemPath ItemPath::parse(std::string_view text) {
    const std::vector<std::string> parts = split(text, '/');
    const bool well_formed =
        parts.size() <= 2 &&
        std::none_of(parts.begin(), parts.end(), [](const auto& part) { return part.empty(); });
    if (!well_formed) {
        throw Error{
            ErrorKind::kInvalidParameter,
            {.message =
                 fmt::format("\"{}\" names neither a schema nor a table.", repair_utf8(text)),
             .target = repair_utf8(text),
             .recommended_actions = {"Write schema or schema/table; a '/' within a name is %2F."}}
        };
    }
    ItemPath path{.schema = percent_decode(parts[0])};
    if (parts.size() == 2) {
        path.table = percent_decode(parts[1]);
    }
    return path;
}

std::string ItemPath::to_string() const {
    const auto encode = [](std::string_view name) {
        std::string out;
        for (const char c : name) {
            out += c == '/'   ? std::string{"%2F"}
                   : c == '%' ? std::string{"%25"}
                              : std::string(1, c);
        }
        return out;
    };
    return table ? encode(schema) + "/" + encode(*table) : encode(schema);
}

namespace {

/// A function by its name and the types of its arguments. Its tag is both, the name unquoted.
std::optional<std::string> function_exists(const TocEntry& entry, std::string_view encoding) {
    const auto tokens = tokenize_sql(entry.drop_statement);  // DROP FUNCTION schema.name(...)
    if (!tokens) {
        return std::nullopt;
    }
    const auto name = qualified_name_at(*tokens, 2);
    if (!name || !entry.tag.starts_with(name->name)) {
        return std::nullopt;
    }
    const std::string types = to_utf8(entry.tag.substr(name->name.size()), encoding);
    return fmt::format(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = "
        "p.pronamespace "
        "WHERE n.nspname = {} AND p.proname = {} AND '(' || "
        "pg_catalog.oidvectortypes(p.proargtypes) || ')' = {})",
        quote_literal(to_utf8(name->schema, encoding)),
        quote_literal(to_utf8(name->name, encoding)),
        quote_literal(types == "(*)" ? "()" : types)
    );
}

std::string exists_row(std::string_view table, std::string_view column, const std::string& name) {
    return fmt::format(
        "SELECT EXISTS (SELECT FROM pg_catalog.{} WHERE {} = {})",
        table,
        column,
        quote_literal(name)
    );
}

std::string exists_in_schema(
    std::string_view table,
    std::string_view prefix,
    const std::string& schema,
    const std::string& name
) {
    return fmt::format(
        "SELECT EXISTS (SELECT FROM pg_catalog.{0} o JOIN pg_catalog.pg_namespace n ON n.oid = "
        "o.{1}namespace "
        "WHERE n.nspname = {2} AND o.{1}name = {3})",
        table,
        prefix,
        quote_literal(schema),
        quote_literal(name)
    );
}

}  // namespace

std::optional<std::string> existence_query(const Toc& toc, const TocEntry& entry) {
    struct Lookup {
        std::string_view desc;
        std::string_view table;
        std::string_view prefix;
    };
    static constexpr std::array<Lookup, 10> kInSchema{{
        {"COLLATION", "pg_collation", "coll"},
        {"CONVERSION", "pg_conversion", "con"},
        {"OPERATOR CLASS", "pg_opclass", "opc"},
        {"OPERATOR FAMILY", "pg_opfamily", "opf"},
        {"TEXT SEARCH PARSER", "pg_ts_parser", "prs"},
        {"TEXT SEARCH DICTIONARY", "pg_ts_dict", "dict"},
        {"TEXT SEARCH TEMPLATE", "pg_ts_template", "tmpl"},
        {"TEXT SEARCH CONFIGURATION", "pg_ts_config", "cfg"},
        {"TYPE", "pg_type", "typ"},
        {"DOMAIN", "pg_type", "typ"},
    }};
    static constexpr std::array<Lookup, 6> kGlobal{{
        {"SCHEMA", "pg_namespace", "nspname"},
        {"EXTENSION", "pg_extension", "extname"},
        {"PROCEDURAL LANGUAGE", "pg_language", "lanname"},
        {"FOREIGN DATA WRAPPER", "pg_foreign_data_wrapper", "fdwname"},
        {"SERVER", "pg_foreign_server", "srvname"},
        {"ACCESS METHOD", "pg_am", "amname"},
    }};
    const std::string encoding = archive_encoding(toc);
    const std::string schema = to_utf8(entry.schema, encoding);
    const std::string name = to_utf8(entry.tag, encoding);
    for (const Lookup& lookup : kInSchema) {
        if (lookup.desc == entry.desc) {
            return exists_in_schema(lookup.table, lookup.prefix, schema, name);
        }
    }
    for (const Lookup& lookup : kGlobal) {
        if (lookup.desc == entry.desc) {
            return exists_row(lookup.table, lookup.prefix, name);
        }
    }
    if (is_relation(entry)) {
        return exists_in_schema("pg_class", "rel", schema, name);
    }
    if (entry.desc == "FUNCTION" || entry.desc == "PROCEDURE" || entry.desc == "AGGREGATE") {
        return function_exists(entry, encoding);
    }
    return std::nullopt;
}

}  // namespace holdfast::postgres
