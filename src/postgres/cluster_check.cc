#include "postgres/cluster_check.h"

#include "base/error.h"
#include "base/process.h"
#include "base/text.h"
#include "postgres/client_tools.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

constexpr std::size_t kDamagesMax = 50;
constexpr std::size_t kWarningsMax = 50;
constexpr std::size_t kSessionsMax = 8;
/// Of one database; those beyond are in the total alone.
constexpr int kTablesListedMax = 20'000;
/// amcheck's own statements have none; ours look at the catalog only.
constexpr std::chrono::minutes kCatalogTimeout{5};
constexpr int kAmcheckSince = 14;

struct TableToCount {
    TableCount facts;
    std::uint32_t oid = 0;
};

std::chrono::microseconds since(SteadyInstant begin, const Clock& clock) {
    return std::chrono::duration_cast<std::chrono::microseconds>(clock.steady_now() - begin);
}

/// `Bad checksums:  3`
std::optional<std::uint64_t> number_after(std::string_view text, std::string_view mark) {
    const std::size_t at = text.find(mark);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view rest = trim(text.substr(at + mark.size()));
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    return error == std::errc{} ? std::optional{number} : std::nullopt;
}

class Checker {
public:
    Checker(ScratchServer& server, const ClusterCheckOptions& options)
        : server_{server}, options_{options}, clock_{server.clock()} {}

    ClusterCheck run() {
        const std::vector<std::string> databases = list_databases();
        check_databases(databases);
        count_rows(databases);
        sessions_.clear();
        server_.stop();
        if (options_.page_checksums == PageChecksums::kYes) {
            check_pages();
        }
        return std::move(result_);
    }

private:
    void report(std::string_view step, std::uint64_t done, std::uint64_t total) const {
        if (options_.progress) {
            options_.progress(step, done, total);
        }
    }
    void warn(std::string text) {
        if (result_.warnings.size() < kWarningsMax) {
            result_.warnings.push_back(std::move(text));
        }
    }
    void damaged(std::string what, std::string message) {
        ++result_.damage_count;
        if (result_.damages.size() < kDamagesMax) {
            result_.damages.push_back({std::move(what), std::move(message)});
        }
    }
    [[nodiscard]] QueryOptions catalog_query() const {
        return {.stop = server_.stop_token(), .timeout = kCatalogTimeout};
    }

    /// A failure on a part of the cluster: a lack of this machine is a warning, the end of the
    /// server or of our time is thrown, anything else is damage.
    void judge(const std::string& what, const Error& error) {
        server_.throw_cause_of(error);
        if (error.kind() == ErrorKind::kCancelled) {
            throw Error{error};
        }
        if (is_lack_of_environment(error.what())) {
            warn(fmt::format("{} could not be checked here: {}", what, error.what()));
        } else {
            damaged(what, error.what());
        }
    }
    template <typename Body>
    bool attempt(const std::string& what, Body&& body) {
        try {
            body();
            return true;
        } catch (const Error& error) {
            judge(what, error);
            return false;
        }
    }

    std::vector<std::string> list_databases() {
        Connection session = Connection::open(server_.connection(), server_.stop_token());
        const QueryResult rows = session.query(
            "SELECT datname, datallowconn, datistemplate FROM pg_catalog.pg_database ORDER BY 1",
            {},
            catalog_query()
        );
        std::vector<std::string> names;
        for (std::size_t i = 0; i < rows.row_count(); ++i) {
            if (rows.boolean(i, "datallowconn")) {
                names.push_back(rows.text(i, "datname"));
            } else if (!rows.boolean(i, "datistemplate")) {
                warn(fmt::format(
                    "Database {} allows no connections: only its pages are checked.",
                    quote_identifier(rows.text(i, "datname"))
                ));
            }
        }
        has_amcheck_ = session
                           .query(
                               "SELECT 1 FROM pg_catalog.pg_available_extensions WHERE name = "
                               "'amcheck'",
                               {},
                               catalog_query()
                           )
                           .row_count() > 0;
        if (!has_amcheck_) {
            warn(fmt::format(
                "The extension amcheck is not there for PostgreSQL {0}: install postgresql-{0} (or "
                "its contrib package), so that tables and indexes are checked.",
                server_.major()
            ));
        }
        return names;
    }

    void check_databases(const std::vector<std::string>& databases) {
        const SteadyInstant begin = clock_.steady_now();
        std::uint64_t done = 0;
        for (const std::string& database : databases) {
            report("amcheck", done++, databases.size());
            const std::string what = "database " + quote_identifier(database);
            if (attempt(what, [&] { prepare(database); }) && has_amcheck_) {
                attempt(what, [&] { check_database(database); });
                ++result_.databases_checked;
            }
        }
        report("amcheck", done, databases.size());
        result_.amcheck_time = since(begin, clock_);
    }

    /// Event triggers would fire when the extension is made; a prepared transaction may hold locks
    /// for ever.
    void prepare(const std::string& database) {
        Connection session = Connection::open(server_.connection(database), server_.stop_token());
        static_cast<void>(session.query(
            "UPDATE pg_catalog.pg_event_trigger SET evtenabled = 'D' WHERE evtenabled <> 'D'",
            {},
            catalog_query()
        ));
        const QueryResult prepared = session.query(
            "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = "
            "pg_catalog.current_database()",
            {},
            catalog_query()
        );
        for (std::size_t i = 0; i < prepared.row_count(); ++i) {
            static_cast<void>(session.execute(
                "ROLLBACK PREPARED " + quote_literal(prepared.text(i, "gid")), catalog_query()
            ));
        }
        if (has_amcheck_) {
            static_cast<void>(session.execute(
                "CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA pg_catalog; "
                "ALTER EXTENSION amcheck UPDATE",
                catalog_query()
            ));
        }
        warn_of_collations(session, database);
    }

    /// Indexes on text are only as good as the library that sorts it.
    void warn_of_collations(Connection& session, const std::string& database) {
        const QueryResult rows = session.query(
            "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(collname), ', ') AS names FROM "
            "pg_catalog.pg_collation WHERE collversion IS NOT NULL AND collversion <> "
            "pg_catalog.pg_collation_actual_version(oid)",
            {},
            catalog_query()
        );
        if (!rows.is_null(0, "names")) {
            warn(fmt::format(
                "Database {} was made with other versions of these collations than this machine "
                "has; its indexes on text may look damaged here and not be: {}.",
                quote_identifier(database),
                rows.text(0, "names").substr(0, 400)
            ));
        }
        if (server_.major() < 15) {
            return;
        }
        const QueryResult own = session.query(
            "SELECT datcollversion, pg_catalog.pg_database_collation_actual_version(oid) AS actual "
            "FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database() AND "
            "datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)",
            {},
            catalog_query()
        );
        if (own.row_count() > 0) {
            warn(fmt::format(
                "Database {} was made with version {} of its collation, and this machine has {}: "
                "its indexes on text may look damaged here and not be.",
                quote_identifier(database),
                own.text(0, "datcollversion"),
                own.text(0, "actual")
            ));
        }
    }

    void check_database(const std::string& database) {
        if (server_.major() >= kAmcheckSince) {
            run_amcheck(database);
        } else {
            check_indexes(database);
        }
    }

    void run_amcheck(const std::string& database) {
        const ToolConnection connection{server_.connection(database)};
        ProcessSpec spec;
        spec.program = server_.programs().program("pg_amcheck");
        spec.arguments = {fmt::format("--jobs={}", std::max<std::size_t>(options_.workers, 1))};
        if (options_.heap_all_indexed == HeapAllIndexed::kYes) {
            spec.arguments.emplace_back("--heapallindexed");
        }
        connection.apply(spec);
        // pg_amcheck takes a conninfo string as its argument only: its --database is a pattern.
        constexpr std::string_view kOption = "--dbname=";
        std::string& last = spec.arguments.back();
        HOLDFAST_CHECK(last.starts_with(kOption));
        last.erase(0, kOption.size());
        spec.output = ChildStream::kPipe;

        Process process = Process::start(spec);
        AmcheckOutput output{kDamagesMax};
        Bytes buffer(64 * kKiB);
        while (const std::size_t count = process.read_output(buffer, server_.stop_token())) {
            output.append(as_text(ByteSpan{buffer}.first(count)));
        }
        output.finish();
        const ExitStatus status = process.wait(server_.stop_token());
        take(output);
        // 2 is its word for "something is damaged", which its output says.
        constexpr int kDamageFound = 2;
        const bool explained = output.damage_count() + output.not_checked_count() > 0;
        if (!status.ok() && !(status.code == kDamageFound && explained)) {
            const Error error = tool_error(
                {"pg_amcheck", process.standard_error(), status},
                ErrorKind::kScratchServerFailed,
                server_.connection(database)
            );
            judge("database " + quote_identifier(database), error);
        }
    }

    void take(const AmcheckOutput& output) {
        for (const Damage& damage : output.damages()) {
            if (result_.damages.size() < kDamagesMax) {
                result_.damages.push_back(damage);
            }
        }
        result_.damage_count += output.damage_count();
        for (const Damage& item : output.not_checked()) {
            warn(fmt::format("{} could not be checked here: {}", item.what, item.message));
        }
    }

    void check_indexes(const std::string& database) {
        Connection session = Connection::open(server_.connection(database), server_.stop_token());
        const QueryResult rows = session.query(
            "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_index i JOIN "
            "pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid "
            "= c.relnamespace JOIN pg_catalog.pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' "
            "AND c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisvalid AND i.indisready",
            {},
            catalog_query()
        );
        for (std::size_t i = 0; i < rows.row_count(); ++i) {
            const std::string what = fmt::format(
                "btree index \"{}.{}.{}\"",
                database,
                rows.text(i, "nspname"),
                rows.text(i, "relname")
            );
            attempt(what, [&] {
                static_cast<void>(session.query(
                    "SELECT pg_catalog.bt_index_check($1::pg_catalog.oid, $2::pg_catalog.bool)",
                    {rows.text(i, "oid"),
                     options_.heap_all_indexed == HeapAllIndexed::kYes ? "true" : "false"},
                    {.stop = server_.stop_token(), .timeout = std::chrono::hours{24}}
                ));
            });
        }
    }

    std::vector<TableToCount> list_tables(const std::string& database) {
        Connection session = Connection::open(server_.connection(database), server_.stop_token());
        const QueryResult rows = session.query(
            fmt::format(
                "SELECT c.oid, n.nspname, c.relname, pg_catalog.pg_relation_size(c.oid) AS bytes, "
                "pg_catalog.count(*) OVER () AS total FROM pg_catalog.pg_class c JOIN "
                "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') "
                "AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', "
                "'information_schema', 'pg_toast') ORDER BY 4 DESC, 2, 3 LIMIT {}",
                kTablesListedMax
            ),
            {},
            catalog_query()
        );
        std::vector<TableToCount> tables;
        for (std::size_t i = 0; i < rows.row_count(); ++i) {
            TableToCount table;
            table.facts.database = database;
            table.facts.schema = rows.text(i, "nspname");
            table.facts.table = rows.text(i, "relname");
            table.facts.bytes = static_cast<std::uint64_t>(rows.integer(i, "bytes"));
            table.oid = static_cast<std::uint32_t>(rows.integer(i, "oid"));
            tables.push_back(std::move(table));
        }
        if (!tables.empty()) {
            result_.table_count += static_cast<std::size_t>(rows.integer(0, "total"));
        }
        return tables;
    }

    Connection& session_in(const std::string& database) {
        const auto at = sessions_.find(database);
        if (at != sessions_.end()) {
            return at->second;
        }
        if (sessions_.size() >= kSessionsMax) {
            sessions_.erase(sessions_.begin());
        }
        return sessions_
            .emplace(
                database, Connection::open(server_.connection(database), server_.stop_token())
            )
            .first->second;
    }

    void count_rows(const std::vector<std::string>& databases) {
        const SteadyInstant begin = clock_.steady_now();
        std::vector<TableToCount> tables;
        for (const std::string& database : databases) {
            attempt("database " + quote_identifier(database), [&] {
                std::ranges::move(list_tables(database), std::back_inserter(tables));
            });
        }
        std::ranges::stable_sort(tables, std::ranges::greater{}, [](const TableToCount& table) {
            return table.facts.bytes;
        });
        for (TableToCount& table : tables) {
            const auto left = options_.count_time - (clock_.steady_now() - begin);
            if (left <= left.zero() || !count_one(table, left)) {
                break;
            }
            report("count", result_.tables_counted, result_.table_count);
        }
        if (result_.tables_counted < result_.table_count) {
            warn(fmt::format(
                "The rows of {} of {} tables were counted, largest first: the time for it is {} s.",
                result_.tables_counted,
                result_.table_count,
                options_.count_time.count()
            ));
        }
        result_.count_time = since(begin, clock_);
    }

    /// False when the time is over.
    bool count_one(TableToCount& table, std::chrono::nanoseconds left) {
        const std::string name =
            quote_identifier(table.facts.schema) + "." + quote_identifier(table.facts.table);
        bool in_time = true;
        attempt(fmt::format("table {} of {}", name, table.facts.database), [&] {
            try {
                const QueryResult rows =
                    session_in(table.facts.database)
                        .query(
                            "SELECT pg_catalog.count(*) AS n FROM ONLY " + name,
                            {},
                            {.stop = server_.stop_token(),
                             .timeout = std::chrono::ceil<std::chrono::milliseconds>(left)}
                        );
                table.facts.rows = static_cast<std::uint64_t>(rows.integer(0, "n"));
            } catch (const Error& error) {
                if (error.kind() != ErrorKind::kTimeout) {
                    throw;
                }
                in_time = false;
            }
        });
        if (!in_time) {
            return false;
        }
        ++result_.tables_counted;
        result_.rows_counted += table.facts.rows;
        if (result_.counts.size() < options_.counts_kept_max) {
            result_.counts.push_back(table.facts);
        }
        return true;
    }

    void check_pages() {
        if (!server_.data_checksums()) {
            warn(
                "The cluster has no data checksums: damage that leaves a page's form intact can't "
                "be found."
            );
            return;
        }
        report("pages", 0, 0);
        const SteadyInstant begin = clock_.steady_now();
        const RunResult said = server_.run_program(
            "pg_checksums", {"--check", "-D", (Sandbox::inside() / "data").string()}
        );
        result_.page_time = since(begin, clock_);
        const auto scanned = number_after(said.output, "Blocks scanned:");
        const auto bad = number_after(said.output, "Bad checksums:");
        if (!scanned || !bad) {
            damaged(
                "page checksums",
                fmt::format(
                    "pg_checksums ended with {}: {}",
                    said.status.describe(),
                    trim(said.error).substr(0, 1000)
                )
            );
            return;
        }
        result_.pages_checked = *scanned;
        result_.page_failures = *bad;
        take_page_failures(said.error, *bad);
    }

    void take_page_failures(std::string_view said, std::uint64_t count) {
        constexpr std::string_view kMark = "error: ";
        std::uint64_t named = 0;
        for (const std::string& line : split(said, '\n')) {
            const std::size_t at = line.find(kMark);
            if (at != std::string::npos && named < count) {
                damaged("page checksums", line.substr(at + kMark.size(), 400));
                ++named;
            }
        }
        result_.damage_count += count - named;
    }

    ScratchServer& server_;
    const ClusterCheckOptions& options_;
    Clock& clock_;
    ClusterCheck result_;
    bool has_amcheck_ = false;
    std::map<std::string, Connection> sessions_;
};

}  // namespace

ClusterCheck check_cluster(ScratchServer& server, const ClusterCheckOptions& options) {
    try {
        return Checker{server, options}.run();
    } catch (const Error&) {
        // What a limit or the caller's stop ended looks like anything.
        server.throw_if_over();
        throw;
    }
}

Json to_json(const ClusterCheck& check) {
    const auto seconds = [](std::chrono::microseconds time) {
        return std::chrono::duration<double>{time}.count();
    };
    Json damages = Json::array();
    for (const Damage& damage : check.damages) {
        damages.push_back({{"what", damage.what}, {"message", damage.message}});
    }
    Json counts = Json::array();
    for (const TableCount& count : check.counts) {
        counts.push_back(
            {{"database", count.database},
             {"schema", count.schema},
             {"table", count.table},
             {"rows", count.rows},
             {"bytes", count.bytes}}
        );
    }
    Json json{
        {"passed", check.passed()},
        {"damageCount", check.damage_count},
        {"damages", std::move(damages)},
        {"warnings", check.warnings},
        {"databasesChecked", check.databases_checked},
        {"pageFailures", check.page_failures},
        {"tables", check.table_count},
        {"tablesCounted", check.tables_counted},
        {"rowsCounted", check.rows_counted},
        {"rowCounts", std::move(counts)},
        {"amcheckSeconds", seconds(check.amcheck_time)},
        {"countSeconds", seconds(check.count_time)},
        {"pageSeconds", seconds(check.page_time)},
    };
    if (check.pages_checked) {
        json["pagesChecked"] = *check.pages_checked;
    }
    return json;
}

}  // namespace holdfast::postgres
