#include "base/error.h"
#include "base/file.h"
#include "catalog/audit_chain.h"
#include "catalog/catalog.h"
#include "catalog/sqlite_connection.h"

#include <cerrno>
#include <mutex>

#include <SQLiteCpp/SQLiteCpp.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

namespace holdfast::catalog {
namespace {

// All record tables, in the order in which an exported document is put back. Operations and jobs
// belong to one life of the server, points are read from the repositories: they are not exported.
struct TableRow {
    std::string_view name;
    enum class Exported { kNo, kYes } exported;
};
constexpr TableRow kTables[] = {
    {"subscriptions", TableRow::Exported::kYes},
    {"resource_groups", TableRow::Exported::kYes},
    {"servers", TableRow::Exported::kYes},
    {"vaults", TableRow::Exported::kYes},
    {"policies", TableRow::Exported::kYes},
    {"instances", TableRow::Exported::kYes},
    {"secrets", TableRow::Exported::kYes},
    {"principals", TableRow::Exported::kYes},
    {"tokens", TableRow::Exported::kYes},
    {"role_assignments", TableRow::Exported::kYes},
    {"resource_guards", TableRow::Exported::kYes},
    {"guard_proxies", TableRow::Exported::kYes},
    {"guard_requests", TableRow::Exported::kYes},
    {"policy_versions", TableRow::Exported::kYes},
    {"role_definitions", TableRow::Exported::kYes},
    {"signing_keys", TableRow::Exported::kYes},
    {"alert_mutes", TableRow::Exported::kYes},
    {"alerts", TableRow::Exported::kNo},
    {"points", TableRow::Exported::kNo},
    {"jobs", TableRow::Exported::kNo},
    {"operations", TableRow::Exported::kNo},
};

bool is_exported(std::string_view table) {
    for (const TableRow& row : kTables) {
        if (row.name == table) {
            return row.exported == TableRow::Exported::kYes;
        }
    }
    return false;
}

// Readers beyond this wait for each other; the HTTP pool is smaller.
constexpr std::size_t kReadersKept = 8;

[[noreturn]] void throw_sqlite(const SQLite::Exception& fault) {
    const int code = fault.getErrorCode();
    ErrorText text{
        .message = fmt::format("The catalog could not be read or written: {}.", fault.what()),
        .recommended_actions = {"Check the disk of the state directory; the log has the details."},
    };
    if (code == SQLITE_FULL) {
        text.message = "The disk that holds the catalog is full.";
        text.recommended_actions = {"Free space on the file system of the state directory."};
        throw Error{ErrorKind::kStoreFull, std::move(text)};
    }
    throw Error{ErrorKind::kCatalogUnavailable, std::move(text)};
}

/// Runs SQLite calls and turns their exceptions into ours; what `body`'s own callbacks throw passes
/// through.
template <typename Body>
auto guarded(const Body& body) {
    try {
        return body();
    } catch (const SQLite::Exception& fault) {
        throw_sqlite(fault);
    }
}

// ---- schema
// ------------------------------------------------------------------------------------------------

void create_tables(SQLite::Database& database, std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) {
        database.exec(fmt::format(
            "CREATE TABLE {0} (key TEXT PRIMARY KEY NOT NULL, parent TEXT NOT NULL, subject TEXT "
            "NOT NULL,"
            " state TEXT NOT NULL COLLATE NOCASE, at INTEGER NOT NULL, document TEXT NOT NULL);"
            "CREATE INDEX {0}_parent ON {0} (parent, at, key);"
            "CREATE INDEX {0}_subject ON {0} (subject, at, key);"
            "CREATE INDEX {0}_state ON {0} (state, at, key);"
            "CREATE INDEX {0}_at ON {0} (at, key);",
            name
        ));
    }
}

void migrate_to_1(SQLite::Database& database) {
    create_tables(
        database,
        {"subscriptions",
         "resource_groups",
         "servers",
         "vaults",
         "policies",
         "instances",
         "secrets",
         "principals",
         "tokens",
         "role_assignments",
         "points",
         "jobs",
         "operations"}
    );
    database.exec(
        "CREATE TABLE audit (sequence INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL,"
        " document TEXT NOT NULL);"
        "CREATE INDEX audit_at ON audit (at);"
        "CREATE TABLE settings (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);"
    );
}

/// Resource guards, versions of policies, and what the resource graph asks of jobs as columns.
void migrate_to_2(SQLite::Database& database) {
    create_tables(
        database, {"resource_guards", "guard_proxies", "guard_requests", "policy_versions"}
    );
    database.exec(
        "ALTER TABLE jobs ADD COLUMN activity TEXT NOT NULL DEFAULT '' COLLATE NOCASE;"
        "ALTER TABLE jobs ADD COLUMN datasource TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE jobs ADD COLUMN datasource_type TEXT NOT NULL DEFAULT '' COLLATE NOCASE;"
        "ALTER TABLE jobs ADD COLUMN started INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE jobs ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;"
        "UPDATE jobs SET"
        " activity = CASE WHEN document ->> '$.operation' LIKE 'backup%' THEN"
        "   iif(document ->> '$.user_triggered', 'OnDemand', 'Scheduled') ELSE '' END"
        "   || (document ->> '$.operation'),"
        " datasource = lower(document ->> '$.datasource_id'),"
        " datasource_type = document ->> '$.datasource_type',"
        " started = coalesce(document ->> '$.started_at', document ->> '$.created_at'),"
        " ended = coalesce(document ->> '$.ended_at', 0);"
        // These two hold all that a search looks at, so that finding a page among 100,000 jobs (in
        // their order) and counting what there is (by what is asked for most) read no document.
        "CREATE INDEX jobs_search ON jobs"
        " (at, key, parent, state, activity, datasource_type, started, ended);"
        "CREATE INDEX jobs_count ON jobs"
        " (state, activity, started, ended, datasource_type, parent, at, key);"
        "CREATE INDEX jobs_datasource ON jobs (datasource, at, key);"
    );
}

/// What tokens are signed with, and custom roles.
void migrate_to_3(SQLite::Database& database) {
    create_tables(database, {"signing_keys", "role_definitions"});
}

/// The outbox of alerts.
void migrate_to_4(SQLite::Database& database) {
    create_tables(database, {"alerts", "alert_mutes"});
}

using Migration = void (*)(SQLite::Database&);
// Entry n brings version n to n + 1. Never edited once released: only appended to.
constexpr Migration kMigrations[] = {migrate_to_1, migrate_to_2, migrate_to_3, migrate_to_4};

void migrate(SQLite::Database& database) {
    const int found = database.execAndGet("PRAGMA user_version").getInt();
    const int wanted = static_cast<int>(std::size(kMigrations));
    if (found > wanted) {
        throw Error{
            ErrorKind::kCatalogNewer,
            ErrorText{
                .message = fmt::format(
                    "The catalog has schema version {}; this program knows versions up to {}.",
                    found,
                    wanted
                ),
                .recommended_actions =
                    {"Start the version of Holdfast that wrote it, or a newer one."},
            }
        };
    }
    for (int version = found; version < wanted; ++version) {
        SQLite::Transaction transaction{database, SQLite::TransactionBehavior::IMMEDIATE};
        kMigrations[version](database);
        database.exec(fmt::format("PRAGMA user_version = {}", version + 1));
        transaction.commit();
    }
}

// ---- queries
// ------------------------------------------------------------------------------------------------

std::string marks(std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) {
        out += i == 0 ? "?" : ",?";
    }
    return out;
}

/// A WHERE clause and the texts and numbers to bind to it, in order.
struct Conditions {
    std::string sql;
    std::vector<std::variant<std::string, std::int64_t>> values;

    void add(std::string_view condition, std::variant<std::string, std::int64_t> value) {
        sql += fmt::format("{}{}", sql.empty() ? " WHERE " : " AND ", condition);
        values.push_back(std::move(value));
    }
    /// `column` has any of `wanted`; no row passes when there is none.
    void add_any(std::string_view column, std::vector<std::string> wanted) {
        sql += fmt::format(
            "{}{} IN ({})", sql.empty() ? " WHERE " : " AND ", column, marks(wanted.size())
        );
        values.insert(
            values.end(),
            std::make_move_iterator(wanted.begin()),
            std::make_move_iterator(wanted.end())
        );
    }
    void bind(SQLite::Statement& statement) const {
        int index = 0;
        for (const auto& value : values) {
            std::visit([&](const auto& bound) { statement.bind(++index, bound); }, value);
        }
    }
};

std::string_view column_of(JobCondition::Column column) {
    switch (column) {
        case JobCondition::Column::kActivity:
            return "activity";
        case JobCondition::Column::kDatasource:
            return "datasource";
        case JobCondition::Column::kDatasourceType:
            return "datasource_type";
        case JobCondition::Column::kStarted:
            return "started";
        case JobCondition::Column::kEnded:
            return "ended";
    }
    return "";
}

void add_job_condition(const JobCondition& condition, Conditions& conditions) {
    const std::string_view column = column_of(condition.column);
    const bool lowered = condition.column == JobCondition::Column::kDatasource;
    if (!condition.any_of.empty()) {
        std::vector<std::string> values = condition.any_of;
        for (std::string& value : values) {
            value = lowered ? to_lower(value) : value;
        }
        conditions.add_any(column, std::move(values));
    }
    if (condition.later_than) {
        conditions.add(
            fmt::format("{0} <> 0 AND {0} > ?", column),
            condition.later_than->time_since_epoch().count()
        );
    }
    if (condition.sooner_than) {
        conditions.add(
            fmt::format("{0} <> 0 AND {0} < ?", column),
            condition.sooner_than->time_since_epoch().count()
        );
    }
}

/// The first text that sorts behind every text with this prefix.
std::string behind_prefix(std::string prefix) {
    prefix.back() = static_cast<char>(prefix.back() + 1);
    return prefix;
}

Conditions conditions_of(const Query& query) {
    Conditions conditions;
    if (query.parent) {
        conditions.add("parent = ?", to_lower(*query.parent));
    }
    if (query.parent_prefix && !query.parent_prefix->empty()) {
        const std::string prefix = to_lower(*query.parent_prefix);
        conditions.add("parent >= ?", prefix);
        conditions.add("parent < ?", behind_prefix(prefix));
    }
    if (query.parents) {
        std::vector<std::string> parents;
        for (const std::string& parent : *query.parents) {
            parents.push_back(to_lower(parent));
        }
        conditions.add_any("parent", std::move(parents));
    }
    if (query.subject) {
        conditions.add("subject = ?", to_lower(*query.subject));
    }
    if (!query.states.empty()) {
        conditions.add_any("state", query.states);
    }
    for (const JobCondition& condition : query.job_conditions) {
        add_job_condition(condition, conditions);
    }
    if (query.from) {
        conditions.add("at >= ?", query.from->time_since_epoch().count());
    }
    if (query.until) {
        conditions.add("at < ?", query.until->time_since_epoch().count());
    }
    if (query.after) {
        const bool newest_first = query.order == Order::kNewestFirst;
        conditions.add(newest_first ? "(at, key) < (?, ?)" : "(at, key) > (?, ?)", query.after->at);
        conditions.values.emplace_back(query.after->key);
    }
    return conditions;
}

/// Whether the columns that only jobs have are asked for, and an index holds all of them.
bool asks_searchable(const Query& query) {
    return !query.job_conditions.empty() && !query.subject &&
           std::none_of(
               query.job_conditions.begin(),
               query.job_conditions.end(),
               [](const JobCondition& condition) {
                   return condition.column == JobCondition::Column::kDatasource;
               }
           );
}

/// What View and Transaction share: reads on one connection.
class Reader {
public:
    explicit Reader(SqliteConnection& connection) : connection_{connection} {}

    [[nodiscard]] std::optional<std::string> document(std::string_view table, std::string_view key)
        const {
        return guarded([&]() -> std::optional<std::string> {
            const auto statement =
                connection_.prepare(fmt::format("SELECT document FROM {} WHERE key = ?", table));
            statement->bind(1, std::string{key});
            if (!statement->executeStep()) {
                return std::nullopt;
            }
            return statement->getColumn(0).getString();
        });
    }

    void visit(
        std::string_view table,
        const Query& query,
        const std::function<bool(const std::string&)>& visitor
    ) const {
        const Conditions conditions = conditions_of(query);
        const std::string_view direction = query.order == Order::kNewestFirst ? "DESC" : "ASC";
        const std::string order = fmt::format("ORDER BY at {0}, key {0}", direction);
        std::string sql = fmt::format("SELECT document FROM {}{} {}", table, conditions.sql, order);
        if (query.limit >= 0 || query.offset > 0) {
            // The rows of a page are found in an index before any document is read.
            sql = fmt::format(
                "SELECT document FROM {0} WHERE rowid IN (SELECT rowid FROM {0}{1} {2} LIMIT {3} "
                "OFFSET {4}) {2}",
                table,
                (asks_searchable(query) ? " INDEXED BY jobs_search" : "") + conditions.sql,
                order,
                query.limit,
                query.offset
            );
        }
        guarded([&] {
            const auto statement = connection_.prepare(sql);
            conditions.bind(*statement);
            // One buffer for all rows: to allocate and free a kilobyte between many small things,
            // as the visitor makes them of each, is what malloc is slowest at.
            std::string document;
            while (statement->executeStep()) {
                const SQLite::Column column = statement->getColumn(0);
                const char* text = column.getText();
                document.assign(text, static_cast<std::size_t>(column.getBytes()));
                if (!visitor(document)) {
                    return;
                }
            }
        });
    }

    [[nodiscard]] std::int64_t count(std::string_view table, const Query& query) const {
        const Conditions conditions = conditions_of(query);
        return guarded([&] {
            const auto statement = connection_.prepare(fmt::format(
                "SELECT count(*) FROM {}{}{}",
                table,
                asks_searchable(query) ? " INDEXED BY jobs_count" : "",
                conditions.sql
            ));
            conditions.bind(*statement);
            statement->executeStep();
            return statement->getColumn(0).getInt64();
        });
    }

    [[nodiscard]] std::vector<AuditRecord> audit(
        std::optional<std::int64_t> before, std::int64_t limit
    ) const {
        return audit_rows(
            "SELECT sequence, document FROM audit WHERE sequence < ? ORDER BY sequence DESC "
            "LIMIT ?",
            before.value_or(INT64_MAX),
            limit
        );
    }

    [[nodiscard]] std::vector<AuditRecord> audit_after(std::int64_t after, std::int64_t limit)
        const {
        return audit_rows(
            "SELECT sequence, document FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?",
            after,
            limit
        );
    }

    [[nodiscard]] std::optional<std::string> setting(std::string_view name) const {
        return guarded([&]() -> std::optional<std::string> {
            const auto statement = connection_.prepare("SELECT value FROM settings WHERE name = ?");
            statement->bind(1, std::string{name});
            if (!statement->executeStep()) {
                return std::nullopt;
            }
            return statement->getColumn(0).getString();
        });
    }

private:
    [[nodiscard]] std::vector<AuditRecord> audit_rows(
        const char* sql, std::int64_t bound, std::int64_t limit
    ) const {
        return guarded([&] {
            const auto statement = connection_.prepare(sql);
            statement->bind(1, bound);
            statement->bind(2, limit);
            std::vector<AuditRecord> found;
            while (statement->executeStep()) {
                auto record =
                    parse_own_json(statement->getColumn(1).getString()).get<AuditRecord>();
                record.sequence = statement->getColumn(0).getInt64();
                found.push_back(std::move(record));
            }
            return found;
        });
    }

    SqliteConnection& connection_;
};

class SqliteView final : public View {
public:
    explicit SqliteView(SqliteConnection& connection) : reader_{connection} {}

    [[nodiscard]] std::vector<AuditRecord> audit(
        std::optional<std::int64_t> before, std::int64_t limit
    ) const override {
        return reader_.audit(before, limit);
    }
    [[nodiscard]] std::vector<AuditRecord> audit_after(std::int64_t after, std::int64_t limit)
        const override {
        return reader_.audit_after(after, limit);
    }
    [[nodiscard]] std::optional<std::string> setting(std::string_view name) const override {
        return reader_.setting(name);
    }

private:
    [[nodiscard]] std::optional<std::string> get_document(
        std::string_view table, std::string_view key
    ) const override {
        return reader_.document(table, key);
    }
    void visit_documents(
        std::string_view table,
        const Query& query,
        const std::function<bool(const std::string&)>& visitor
    ) const override {
        reader_.visit(table, query, visitor);
    }
    [[nodiscard]] std::int64_t count_documents(std::string_view table, const Query& query)
        const override {
        return reader_.count(table, query);
    }

    Reader reader_;
};

class SqliteTransaction final : public Transaction {
public:
    SqliteTransaction(SqliteConnection& connection, Instant now)
        : connection_{connection}, reader_{connection}, now_{now} {}

    [[nodiscard]] bool resources_changed() const noexcept { return resources_changed_; }

    [[nodiscard]] std::vector<AuditRecord> audit(
        std::optional<std::int64_t> before, std::int64_t limit
    ) const override {
        return reader_.audit(before, limit);
    }
    [[nodiscard]] std::vector<AuditRecord> audit_after(std::int64_t after, std::int64_t limit)
        const override {
        return reader_.audit_after(after, limit);
    }
    [[nodiscard]] std::optional<std::string> setting(std::string_view name) const override {
        return reader_.setting(name);
    }
    [[nodiscard]] Instant now() const override { return now_; }

    std::int64_t append_audit(const AuditRecord& record) override {
        return guarded([&] {
            AuditRecord chained = record;
            // The number that AUTOINCREMENT would give: never one that was used before.
            const auto next = connection_.prepare(
                "SELECT IFNULL(MAX(seq), 0) + 1 FROM sqlite_sequence WHERE name='audit'"
            );
            next->executeStep();
            chained.sequence = next->getColumn(0).getInt64();
            const auto last = reader_.audit(std::nullopt, 1);
            chained.hash = audit_hash(last.empty() ? "" : last.front().hash, chained);
            const auto statement =
                connection_.prepare("INSERT INTO audit (sequence, at, document) VALUES (?, ?, ?)");
            statement->bind(1, chained.sequence);
            statement->bind(2, chained.at.time_since_epoch().count());
            statement->bind(3, Json(chained).dump(-1, ' ', false, Json::error_handler_t::replace));
            statement->exec();
            return chained.sequence;
        });
    }

    void set_setting(std::string_view name, std::string_view value) override {
        guarded([&] {
            const auto statement =
                connection_.prepare("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)");
            statement->bind(1, std::string{name});
            statement->bind(2, std::string{value});
            statement->exec();
        });
    }

    void put_row(std::string_view table, const Row& row) override {
        std::string columns;
        std::string updates;
        for (const ExtraColumn& extra : row.extra) {
            columns += fmt::format(", {}", extra.name);
            updates += fmt::format(", {0} = excluded.{0}", extra.name);
        }
        guarded([&] {
            const auto statement = connection_.prepare(fmt::format(
                "INSERT INTO {0} (key, parent, subject, state, at, document{1}) VALUES ({2})"
                " ON CONFLICT (key) DO UPDATE SET parent = excluded.parent, subject = "
                "excluded.subject,"
                " state = excluded.state, at = excluded.at, document = excluded.document{3}",
                table,
                columns,
                marks(6 + row.extra.size()),
                updates
            ));
            statement->bind(1, row.key);
            statement->bind(2, row.parent);
            statement->bind(3, row.subject);
            statement->bind(4, row.state);
            statement->bind(5, row.at);
            statement->bind(6, row.document);
            int index = 6;
            for (const ExtraColumn& extra : row.extra) {
                ++index;
                std::visit([&](const auto& value) { statement->bind(index, value); }, extra.value);
            }
            statement->exec();
        });
        resources_changed_ = resources_changed_ || is_exported(table);
    }

    bool remove_row(std::string_view table, std::string_view key) override {
        const bool removed = guarded([&] {
            const auto statement =
                connection_.prepare(fmt::format("DELETE FROM {} WHERE key = ?", table));
            statement->bind(1, std::string{key});
            return statement->exec() > 0;
        });
        resources_changed_ = resources_changed_ || (removed && is_exported(table));
        return removed;
    }

private:
    [[nodiscard]] std::optional<std::string> get_document(
        std::string_view table, std::string_view key
    ) const override {
        return reader_.document(table, key);
    }
    void visit_documents(
        std::string_view table,
        const Query& query,
        const std::function<bool(const std::string&)>& visitor
    ) const override {
        reader_.visit(table, query, visitor);
    }
    [[nodiscard]] std::int64_t count_documents(std::string_view table, const Query& query)
        const override {
        return reader_.count(table, query);
    }

    SqliteConnection& connection_;
    Reader reader_;
    const Instant now_;
    bool resources_changed_ = false;
};

class SqliteCatalog final : public Catalog {
public:
    SqliteCatalog(std::filesystem::path path, Clock& clock)
        : path_{std::move(path)}, clock_{clock} {
        if (path_ == ":memory:") {
            // A file that nobody else sees: readers and the writer behave as they do in production.
            scratch_.emplace("holdfast-catalog");
            path_ = scratch_->path() / "catalog.sqlite";
        }
        create_private_file(path_);
        readers_.reserve(kReadersKept);
        writer_ = connect();
        guarded([&] { migrate(writer_->database()); });
    }

    void write(const std::function<void(Transaction&)>& body) override {
        std::function<void()> changed;
        {
            const std::lock_guard lock{writer_mutex_};
            SqliteTransaction transaction{*writer_, clock_.now()};
            guarded([&] {
                SqliteConnection::Scope scope{*writer_, SqliteConnection::Purpose::kWrite};
                body(transaction);
                scope.commit();
            });
            if (transaction.resources_changed()) {
                changed = on_changed_;
            }
        }
        if (changed) {
            changed();
        }
    }

    void read(const std::function<void(const View&)>& body) const override {
        const ReaderLease connection{*this};
        guarded([&] {
            const SqliteConnection::Scope scope{*connection, SqliteConnection::Purpose::kRead};
            body(SqliteView{*connection});
        });
    }

    void on_resources_changed(std::function<void()> callback) override {
        const std::lock_guard lock{writer_mutex_};
        on_changed_ = std::move(callback);
    }

    [[nodiscard]] Json export_resources() const override {
        Json tables = Json::object();
        Json settings = Json::object();
        const ReaderLease connection{*this};
        guarded([&] {
            const SqliteConnection::Scope scope{*connection, SqliteConnection::Purpose::kRead};
            for (const TableRow& table : kTables) {
                if (table.exported == TableRow::Exported::kYes) {
                    tables[std::string{table.name}] = export_table(*connection, table.name);
                }
            }
            const auto statement = connection->prepare("SELECT name, value FROM settings");
            while (statement->executeStep()) {
                settings[statement->getColumn(0).getString()] = statement->getColumn(1).getString();
            }
        });
        return {
            {"schemaVersion", std::size(kMigrations)},
            {"tables", std::move(tables)},
            {"settings", std::move(settings)}
        };
    }

    void import_resources(const Json& exported) override {
        if (!exported.is_object() || !exported.contains("tables") ||
            exported.value("schemaVersion", std::size_t{0}) > std::size(kMigrations)) {
            throw Error{
                ErrorKind::kCatalogNewer,
                "The catalog snapshot was written by a newer version of Holdfast, or is no "
                "snapshot."
            };
        }
        write([&](Transaction& transaction) {
            auto& concrete = static_cast<SqliteTransaction&>(transaction);
            const Json settings = exported.value("settings", Json::object());
            for (const auto& [name, value] : settings.items()) {
                transaction.set_setting(name, value.get<std::string>());
            }
            for (const TableRow& table : kTables) {
                const auto rows = exported.at("tables").find(table.name);
                if (table.exported == TableRow::Exported::kNo ||
                    rows == exported.at("tables").end()) {
                    continue;
                }
                for (const Json& row : *rows) {
                    concrete.put_row(
                        table.name,
                        Row{
                            .key = row.at("key"),
                            .parent = row.at("parent"),
                            .subject = row.at("subject"),
                            .state = row.at("state"),
                            .at = row.at("at"),
                            .document = row.at("document").dump(),
                        }
                    );
                }
            }
        });
    }

private:
    static void create_private_file(const std::filesystem::path& path) {
        const FileDescriptor fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
        if (!fd.valid()) {
            throw_errno("open", path.string(), errno);
        }
    }

    static Json export_table(SqliteConnection& connection, std::string_view table) {
        const auto statement = connection.prepare(fmt::format(
            "SELECT key, parent, subject, state, at, document FROM {} ORDER BY key", table
        ));
        Json rows = Json::array();
        while (statement->executeStep()) {
            rows.push_back({
                {"key", statement->getColumn(0).getString()},
                {"parent", statement->getColumn(1).getString()},
                {"subject", statement->getColumn(2).getString()},
                {"state", statement->getColumn(3).getString()},
                {"at", statement->getColumn(4).getInt64()},
                {"document", parse_own_json(statement->getColumn(5).getString())},
            });
        }
        return rows;
    }

    [[nodiscard]] std::unique_ptr<SqliteConnection> connect() const {
        return guarded([&] {
            return std::make_unique<SqliteConnection>(path_, scratch_ ? "OFF" : "FULL");
        });
    }

    [[nodiscard]] std::unique_ptr<SqliteConnection> take_reader() const {
        {
            const std::lock_guard lock{readers_mutex_};
            if (!readers_.empty()) {
                auto connection = std::move(readers_.back());
                readers_.pop_back();
                return connection;
            }
        }
        return connect();
    }

    void give_back(std::unique_ptr<SqliteConnection> connection) const {
        if (connection->in_transaction()) {
            return;
        }
        const std::lock_guard lock{readers_mutex_};
        if (readers_.size() < kReadersKept) {
            readers_.push_back(std::move(connection));
        }
    }

    /// A connection for reading, kept for the next one however the reading ends: a body that finds
    /// nothing throws.
    class ReaderLease {
    public:
        explicit ReaderLease(const SqliteCatalog& catalog)
            : catalog_{catalog}, connection_{catalog.take_reader()} {}
        ~ReaderLease() { catalog_.give_back(std::move(connection_)); }
        ReaderLease(const ReaderLease&) = delete;
        ReaderLease& operator=(const ReaderLease&) = delete;

        SqliteConnection& operator*() const noexcept { return *connection_; }
        SqliteConnection* operator->() const noexcept { return connection_.get(); }

    private:
        const SqliteCatalog& catalog_;
        std::unique_ptr<SqliteConnection> connection_;
    };

    // Constant after construction.
    std::optional<TemporaryDirectory> scratch_;
    std::filesystem::path path_;
    Clock& clock_;
    // Guarded by writer_mutex_.
    std::mutex writer_mutex_;
    std::unique_ptr<SqliteConnection> writer_;
    std::function<void()> on_changed_;
    // Guarded by readers_mutex_.
    mutable std::mutex readers_mutex_;
    mutable std::vector<std::unique_ptr<SqliteConnection>> readers_;
};

}  // namespace

std::unique_ptr<Catalog> open_sqlite_catalog(const std::filesystem::path& path, Clock& clock) {
    return std::make_unique<SqliteCatalog>(path, clock);
}

}  // namespace holdfast::catalog
