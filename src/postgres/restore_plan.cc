#include "postgres/restore_plan.h"

#include "base/json.h"
#include "postgres/archive_format.h"
#include "postgres/role_references.h"
#include "postgres/toc_encoding.h"
#include "postgres/toc_selection.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

constexpr std::uint64_t kSettingsBytesMax = 16 * kMiB;

bool has_stream(const StreamSource& source, const std::string& name) {
    bool found = false;
    source.list(name, [&](const StreamInfo& stream) { found = found || stream.spec.name == name; });
    return found;
}

int leading_number(std::string_view text) {
    int number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

/// pg_restore never restores these without --create; the database is made here instead.
bool is_about_the_database(const TocEntry& entry) {
    return entry.desc == "DATABASE" || entry.desc == "DATABASE PROPERTIES" ||
           entry.tag.starts_with("DATABASE ");
}

/// What can be looked up by name and dropped by name. The rest (operators, casts, languages…)
/// hardly ever comes with an item, and stays when it does.
constexpr std::array<std::string_view, 12> kDroppable{
    "TABLE",
    "VIEW",
    "MATERIALIZED VIEW",
    "SEQUENCE",
    "FOREIGN TABLE",
    "TYPE",
    "DOMAIN",
    "SCHEMA",
    "EXTENSION",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE"
};

/// `DROP FUNCTION app.f(integer);` -> `app.f(integer)`: the one place where pg_dump writes an
/// object's full name.
std::string dropped_name(std::string_view statement, std::string_view kind) {
    const std::string start = fmt::format("DROP {} ", kind);
    if (!statement.starts_with(start)) {
        return {};
    }
    statement.remove_prefix(start.size());
    return std::string{statement.substr(0, statement.rfind(';'))};
}

}  // namespace

TargetState read_target(
    Connection& maintenance,
    const ConnectionParameters& target,
    const std::string& database,
    const std::stop_token& stop
) {
    TargetState state;
    state.server_major = maintenance.server_major();
    const QueryResult me = maintenance.query(
        "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole FROM pg_catalog.pg_roles WHERE "
        "rolname = current_user",
        {},
        {.stop = stop}
    );
    state.role.name = me.text(0, "rolname");
    state.role.superuser = me.boolean(0, "rolsuper");
    state.role.create_database = me.boolean(0, "rolcreatedb");
    state.role.create_role = me.boolean(0, "rolcreaterole");
    state.database = read_database_info(maintenance, database, stop);
    if (!state.database || !state.database->may_connect || !state.database->allows_connections) {
        return state;
    }
    state.session =
        std::make_unique<Connection>(Connection::open(target.with_database(database), stop));
    return state;
}

RestorePlan::RestorePlan(
    const StreamSource& source, const RestoreOptions& options, TargetState target
)
    : options_{options}, target_{std::move(target)} {
    const std::string prefix = database_prefix(options.source_database);
    const std::string settings_name = prefix + "settings.json";
    if (!has_stream(source, settings_name)) {
        throw Error{
            ErrorKind::kRestoreItemNotFound,
            {.message = fmt::format(
                 "The recovery point holds no database {}.",
                 quote_identifier(options.source_database)
             ),
             .target = options.source_database}
        };
    }
    const Bytes bytes = read_stream(source, settings_name, kSettingsBytesMax);
    const Json json =
        parse_json(as_text(bytes), ErrorKind::kVaultCorrupt, "settings of the database");
    settings_ = database_from_json(json);
    const auto version = json.find("serverVersionNumber");
    source_major_ =
        version != json.end() && version->is_number_integer() ? version->get<int>() / 10000 : 0;

    if (has_stream(source, prefix + "toc")) {
        composer_ = std::make_unique<ArchiveComposer>(source, prefix);
        encoding_ = archive_encoding(composer_->toc());
        select_items();
    } else {
        archive_stream_ = prefix + "archive";
        if (!whole_database()) {
            throw Error{
                ErrorKind::kUnsupportedOperation,
                {.message = fmt::format(
                     "The archive of database {} is kept as one piece: it restores as a whole, not "
                     "by item.",
                     quote_identifier(options.source_database)
                 ),
                 .recommended_actions =
                     {"Restore the whole database under another name and copy the table from it."}}
            };
        }
    }
    sum_up();
}

int RestorePlan::tool_major() const noexcept {
    const int dumped_by =
        composer_ ? leading_number(composer_->toc().header().dump_version) : source_major_;
    return std::max({dumped_by, target_.server_major, source_major_});
}

void RestorePlan::select_items() {
    if (whole_database()) {
        return;
    }
    std::set<std::size_t> chosen;
    for (const RestoreItem& item : options_.items) {
        if (item.schema.empty()) {
            throw Error{ErrorKind::kInvalidParameter, "An item to restore has no schema."};
        }
        select_one(item, chosen);
    }
    join_items(chosen);
    for (const LeftOut& left : left_out_) {
        warnings_.push_back(fmt::format("{} is left out: {}", left.what, left.why));
    }
    entries_ = std::vector<std::size_t>(chosen.begin(), chosen.end());
}

void RestorePlan::select_one(const RestoreItem& item, std::set<std::size_t>& chosen) {
    SelectionRequest request;
    request.item.schema = item.schema;
    if (!item.table.empty()) {
        request.item.table = item.table;
    }
    if (!item.target_table.empty()) {
        request.rename_to = item.target_table;
    }
    if (!item.target_schema.empty() && item.target_schema != item.schema) {
        request.target_schema = item.target_schema;
        const bool present =
            target_.session != nullptr &&
            object_oid(*target_.session, {"SCHEMA", quote_identifier(item.target_schema)});
        if (!present) {
            new_schemas_.insert(item.target_schema);
        }
    }
    if (target_.session != nullptr) {
        request.exists_in_target = [this](const TocEntry& entry) {
            return exists_in_target(entry);
        };
    }
    Selection selection = select_item(composer_->toc(), request);
    chosen.insert(selection.entries.begin(), selection.entries.end());
    overrides_.merge(selection.overrides);
    left_out_.insert(left_out_.end(), selection.left_out.begin(), selection.left_out.end());
    for (const SelectedObject& object : selection.also_included) {
        notes_.push_back(fmt::format("restored {} too, which is needed", object.what));
    }
}

/// Each item is selected as if it were alone. What was left out because of another item, as a
/// foreign key from one to the other, comes back here.
void RestorePlan::join_items(std::set<std::size_t>& chosen) {
    if (options_.items.size() < 2 || !overrides_.empty() || left_out_.empty()) {
        return;
    }
    const Toc& toc = composer_->toc();
    const auto all_chosen = [&](const TocEntry& entry) {
        return std::all_of(
            entry.dependencies.begin(),
            entry.dependencies.end(),
            [&](std::int32_t id) {
                const auto needed = toc.find(id);
                return !needed || chosen.contains(*needed);
            }
        );
    };
    for (std::size_t i = 0; i < toc.entries().size(); ++i) {
        const std::string what = describe_entry(toc.entries()[i], encoding_);
        const bool left = std::any_of(left_out_.begin(), left_out_.end(), [&](const LeftOut& one) {
            return one.what == what;
        });
        if (left && all_chosen(toc.entries()[i])) {
            chosen.insert(i);
            std::erase_if(left_out_, [&](const LeftOut& one) { return one.what == what; });
        }
    }
}

bool RestorePlan::exists_in_target(const TocEntry& entry) const {
    const std::optional<std::string> query = existence_query(composer_->toc(), entry);
    if (!query) {
        return false;
    }
    const QueryResult rows = target_.session->execute(*query, {.stop = options_.stop});
    return rows.row_count() == 1 && rows.first_column_is_true();
}

std::vector<std::size_t> RestorePlan::chosen_entries() const {
    std::vector<std::size_t> positions;
    if (entries_) {
        positions = *entries_;
    } else if (composer_) {
        for (std::size_t i = 0; i < composer_->toc().entries().size(); ++i) {
            positions.push_back(i);
        }
    }
    std::erase_if(positions, [this](std::size_t i) {
        return is_about_the_database(composer_->toc().entries()[i]);
    });
    return positions;
}

void RestorePlan::sum_up() {
    for (const std::size_t i : chosen_entries()) {
        data_bytes_ += composer_->data_size(i);
        if (composer_->toc().entries()[i].desc == "TABLE DATA") {
            ++table_count_;
        }
    }
}

ComposePlan RestorePlan::compose_plan(ComposeShape shape) const {
    ComposePlan plan;
    plan.entries = entries_;
    plan.shape = shape;
    plan.overrides = overrides_;
    return plan;
}

std::vector<RestoreShare> RestorePlan::shares() const {
    return composer_->plan_shares(std::max<std::size_t>(options_.workers, 1), entries_);
}

std::set<std::string> RestorePlan::owners() const {
    std::set<std::string> roles;
    if (options_.ownership == Ownership::kSkip) {
        return roles;
    }
    for (const std::size_t i : chosen_entries()) {
        add_roles_of(composer_->toc().entries()[i], RoleUse::kOwner, encoding_, roles);
    }
    if (creates_database() && whole_database()) {
        roles.insert(settings_.owner);
    }
    return roles;
}

std::set<std::string> RestorePlan::mentioned_roles() const {
    std::set<std::string> roles;
    for (const std::size_t i : chosen_entries()) {
        const TocEntry& entry = composer_->toc().entries()[i];
        // Without grants there are still policies and user mappings: pg_restore has no option to
        // leave roles out of those.
        const bool grants = entry.desc == "ACL" || entry.desc == "DEFAULT ACL";
        if (!grants || options_.ownership == Ownership::kRestore) {
            add_roles_of(entry, RoleUse::kMention, encoding_, roles);
        }
    }
    if (creates_database() && whole_database() && options_.ownership == Ownership::kRestore) {
        for (const std::string& role : database_roles(settings_)) {
            roles.insert(role);
        }
    }
    return roles;
}

std::set<std::string> RestorePlan::tablespaces() const {
    std::set<std::string> names;
    if (options_.tablespaces == Tablespaces::kSkip) {
        return names;
    }
    for (const std::size_t i : chosen_entries()) {
        names.insert(to_utf8(composer_->toc().entries()[i].tablespace, encoding_));
    }
    if (creates_database()) {
        names.insert(settings_.tablespace);
    }
    names.erase("");
    names.erase("pg_default");
    return names;
}

std::set<std::string> RestorePlan::extensions() const {
    std::set<std::string> names;
    for (const std::size_t i : chosen_entries()) {
        const TocEntry& entry = composer_->toc().entries()[i];
        if (entry.desc == "EXTENSION") {
            names.insert(to_utf8(entry.tag, encoding_));
        }
    }
    return names;
}

std::vector<PlannedObject> RestorePlan::objects() const {
    std::vector<PlannedObject> planned;
    if (whole_database()) {
        return planned;
    }
    for (const std::size_t i : chosen_entries()) {
        const TocEntry& entry = composer_->toc().entries()[i];
        if (std::find(kDroppable.begin(), kDroppable.end(), entry.desc) == kDroppable.end()) {
            continue;
        }
        const auto change = overrides_.find(i);
        const bool renamed = change != overrides_.end() && change->second.drop_statement;
        const std::string name = dropped_name(
            renamed ? *change->second.drop_statement : entry.drop_statement, entry.desc
        );
        if (!name.empty()) {
            planned.push_back({std::string{entry.desc}, to_utf8(name, encoding_)});
        }
    }
    return planned;
}

std::optional<std::uint32_t> object_oid(Connection& session, const PlannedObject& object) {
    std::string sql;
    if (object.desc == "TYPE" || object.desc == "DOMAIN") {
        sql = "SELECT pg_catalog.to_regtype($1)::pg_catalog.oid AS oid";
    } else if (object.desc == "SCHEMA") {
        sql = "SELECT pg_catalog.to_regnamespace($1)::pg_catalog.oid AS oid";
    } else if (object.desc == "EXTENSION") {
        sql = "SELECT oid FROM pg_catalog.pg_extension WHERE pg_catalog.quote_ident(extname) = $1";
    } else if (object.desc == "FUNCTION" || object.desc == "PROCEDURE" ||
               object.desc == "AGGREGATE") {
        sql = "SELECT pg_catalog.to_regprocedure($1)::pg_catalog.oid AS oid";
    } else {
        sql = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid AS oid";
    }
    const QueryResult rows = session.query(sql, {object.reference});
    if (rows.row_count() == 0 || rows.is_null(0, "oid")) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(rows.integer(0, "oid"));
}

}  // namespace holdfast::postgres
