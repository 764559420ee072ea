#include "postgres/logical_backup.h"

#include "base/text.h"
#include "postgres/archive_splitter.h"
#include "postgres/streams.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
namespace holdfast::postgres {
namespace {

constexpr std::size_t kReadBytes = kMiB;
/// Of roles and tablespaces: far beyond any real server, and what is held in memory.
constexpr std::size_t kGlobalsBytesMax = 256 * kMiB;
/// bytea leaves COPY as hexadecimal, and a row must fit into 1 GiB - 1 bytes of it (MaxAllocSize in
/// PostgreSQL).
constexpr std::string_view kRowLimit = "1 GB";

std::string between(std::string_view text, std::string_view begin, std::string_view end) {
    const std::size_t from = text.find(begin);
    if (from == std::string_view::npos) {
        return {};
    }
    const std::size_t start = from + begin.size();
    const std::size_t to = text.find(end, start);
    return std::string{text.substr(start, to == std::string_view::npos ? to : to - start)};
}

/// The table that pg_dump was reading: from the COPY statement it quotes, else from its own
/// message.
std::string table_in(std::string_view standard_error) {
    if (std::string copied = between(standard_error, "Command was: COPY ", " ("); !copied.empty()) {
        return copied;
    }
    return between(standard_error, "Dumping the contents of table \"", "\"");
}

bool is_row_too_large(std::string_view standard_error) {
    for (const std::string_view words :
         {"Cannot enlarge string buffer",                  // stringinfo.c
          "invalid memory alloc request size",             // mcxt.c
          "string buffer exceeds maximum allowed length",  // stringinfo.c, 18
          "out of memory for query result",
          "cannot allocate memory for input buffer"}) {  // libpq
        if (standard_error.find(words) != std::string_view::npos) {
            return true;
        }
    }
    return false;
}

[[noreturn]] void throw_row_too_large(
    const std::string& table, const ToolFailure& failure, const ConnectionParameters& connection
) {
    const Error plain = tool_error(failure, ErrorKind::kRowTooLarge, connection);
    ErrorText text = plain.text();
    text.message = fmt::format(
        "Table {} of database {} has a row that is larger than PostgreSQL can hand out: COPY is "
        "limited to {} a row, "
        "and bytea counts double, as it travels in hexadecimal.",
        table.empty() ? "(unknown)" : table,
        quote_identifier(connection.database),
        kRowLimit
    );
    text.target = table;
    text.recommended_actions = {
        "Split the value over several rows, or keep it as a large object: those have no such "
        "limit.",
        "Store bytea of at most 500 MB and text of at most 900 MB in one row.",
        "Exclude the database from the backup until the row is gone.",
    };
    throw Error{ErrorKind::kRowTooLarge, std::move(text)};
}

/// The server's words may be in any language; whether it still answers can be seen.
[[noreturn]] void throw_dump_failure(
    const ToolFailure& failure, const ConnectionParameters& connection
) {
    if (is_row_too_large(failure.standard_error)) {
        throw_row_too_large(table_in(failure.standard_error), failure, connection);
    }
    const Error error = tool_error(failure, ErrorKind::kDumpFailed, connection);
    if (error.kind() == ErrorKind::kTimeout) {
        ErrorText text = error.text();
        text.message = fmt::format(
            "A table of database {} stayed locked by another session for longer than the lock-wait "
            "timeout.",
            quote_identifier(connection.database)
        );
        text.recommended_actions = {
            "Find the session that holds an ACCESS EXCLUSIVE lock (pg_locks), and run the backup "
            "again.",
            "Or schedule the backup away from ALTER TABLE, VACUUM FULL, REINDEX and CLUSTER."
        };
        throw Error{ErrorKind::kTimeout, std::move(text)};
    }
    if (error.kind() != ErrorKind::kDumpFailed) {
        throw Error{error};
    }
    std::optional<ErrorKind> reachable;
    run_boundary(
        [&] { [[maybe_unused]] const Connection probe = Connection::open(connection); },
        [&](const Error& refused) { reachable = refused.kind(); }
    );
    if (reachable == ErrorKind::kServerUnreachable ||
        reachable == ErrorKind::kServerConnectionClosed) {
        throw Error{ErrorKind::kServerConnectionClosed, error.text()};
    }
    throw Error{error};
}

/// `pg_dump: warning: …` with the lines that go with it.
std::vector<std::string> warnings_in(
    std::string_view standard_error, const ConnectionParameters& connection
) {
    constexpr std::string_view kMark = "warning: ";
    constexpr std::size_t kWarningsMax = 50;
    std::vector<std::string> warnings;
    for (const std::string& line : split(standard_error, '\n')) {
        const std::size_t at = line.find(kMark);
        if (at != std::string::npos && warnings.size() < kWarningsMax) {
            warnings.push_back(fmt::format(
                "pg_dump of {}: {}",
                quote_identifier(connection.database),
                redact(line.substr(at + kMark.size()), connection)
            ));
        }
    }
    return warnings;
}

/// Calls the user's function at most every 100 ms, and always at the end of a step.
class ProgressMeter {
public:
    ProgressMeter(const BackupOptions& options, Clock& clock) : options_{options}, clock_{clock} {}

    BackupProgress state;

    void add(std::size_t bytes) {
        state.bytes_done += bytes;
        constexpr std::chrono::milliseconds kInterval{100};
        const SteadyInstant now = clock_.steady_now();
        if (now - last_ >= kInterval) {
            last_ = now;
            report();
        }
    }
    void report() const {
        if (options_.progress) {
            options_.progress(state);
        }
    }

private:
    const BackupOptions& options_;
    Clock& clock_;
    SteadyInstant last_{};
};

void write_stream(StreamSink& sink, std::string name, StreamKind kind, std::string_view contents) {
    sink.begin({.name = std::move(name), .kind = kind});
    sink.write(as_bytes(contents));
    sink.end();
}

ProcessSpec dump_spec(const ToolSet& tools, const BackupOptions& options) {
    ProcessSpec spec;
    spec.program = tools.program("pg_dump");
    // pg_dump writes to a pipe in pieces of 4 KiB. Larger ones save about 0.6 CPU seconds a GiB.
    if (const std::filesystem::path stdbuf{"/usr/bin/stdbuf"}; std::filesystem::exists(stdbuf)) {
        spec.arguments = {"--output=256K", spec.program.string()};
        spec.program = stdbuf;
    }
    spec.arguments.insert(
        spec.arguments.end(),
        {"--format=custom",
         "--compress=0",
         fmt::format("--lock-wait-timeout={}", options.lock_wait_timeout.count())}
    );
    for (const std::string& table : options.without_rows_of) {
        spec.arguments.push_back("--exclude-table-data=" + table);
    }
    if (options.large_objects == LargeObjects::kExclude) {
        spec.arguments.emplace_back("--no-blobs");
    }
    spec.output = ChildStream::kPipe;
    return spec;
}

/// Everything about one database that a dump does not tell; and where the WAL was just before.
struct DatabaseFacts {
    Json settings;
    Json extensions = Json::array();
    std::string wal_position;
    int server_major = 0;
};

DatabaseFacts read_facts(const ConnectionParameters& connection, const std::stop_token& stop) {
    Connection session = Connection::open(connection, stop);
    DatabaseFacts facts;
    facts.server_major = session.server_major();
    const auto database = read_database_info(session, connection.database, stop);
    if (!database) {
        throw Error{
            ErrorKind::kDatabaseNotFound,
            fmt::format("The server has no database {}.", quote_identifier(connection.database))
        };
    }
    facts.settings = to_json(*database);
    for (const ExtensionInfo& extension : read_extensions(session)) {
        facts.extensions.push_back(
            {{"name", extension.name}, {"version", extension.version}, {"schema", extension.schema}}
        );
    }
    facts.settings["extensions"] = facts.extensions;
    facts.settings["serverVersionNumber"] = session.server_version();
    facts.wal_position = read_wal_position(session);
    return facts;
}

/// Runs pg_dump to its end, its output into the splitter.
SplitResult pump(
    const ProcessSpec& spec,
    const ConnectionParameters& connection,
    StreamSink& sink,
    const BackupOptions& options,
    ProgressMeter& meter,
    std::vector<std::string>& warnings
) {
    Process process = Process::start(spec);
    ArchiveSplitter splitter{sink, database_prefix(connection.database)};
    Bytes buffer(kReadBytes);
    while (const std::size_t count = process.read_output(buffer, options.stop)) {
        splitter.write(ByteSpan{buffer}.first(count));
        meter.add(count);
    }
    // A dump that broke off looks damaged to the splitter; pg_dump knows why it did.
    const ExitStatus status = process.wait(options.stop);
    if (!status.ok()) {
        if (options.stop.stop_requested()) {
            throw Error{ErrorKind::kCancelled, "pg_dump was stopped by request."};
        }
        throw_dump_failure({"pg_dump", process.standard_error(), status}, connection);
    }
    warnings = warnings_in(process.standard_error(), connection);
    return splitter.finish();
}

struct DumpInput {
    const ConnectionParameters& connection;
    const ClientTools& tools;
    Clock& clock;
    StreamSink& sink;
    const BackupOptions& options;
};

DatabaseBackup dump_one(
    const DumpInput& input, const std::string& database, ProgressMeter& meter, Json* extensions
) {
    const ConnectionParameters connection = input.connection.with_database(database);
    DatabaseBackup result;
    result.name = database;
    result.started = input.clock.now();
    const DatabaseFacts facts = read_facts(connection, input.options.stop);
    result.wal_position = facts.wal_position;
    if (extensions != nullptr) {
        *extensions = facts.extensions;
    }
    write_stream(
        input.sink,
        database_prefix(database) + "settings.json",
        StreamKind::kSettings,
        facts.settings.dump(2)
    );

    const ToolConnection tool_connection{connection};
    ProcessSpec spec = dump_spec(input.tools.at_least(facts.server_major), input.options);
    tool_connection.apply(spec);
    const SplitResult split_result =
        pump(spec, connection, input.sink, input.options, meter, result.warnings);
    result.bytes = split_result.bytes_in;
    result.archive_version = split_result.header.version.to_string();
    result.format = split_result.understood ? "split" : "opaque";
    if (!split_result.understood) {
        result.warnings.push_back(fmt::format(
            "The archive of database {} is kept as one piece ({}): it restores as a whole, not by "
            "table.",
            quote_identifier(database),
            split_result.opaque_reason
        ));
    }
    result.ended = input.clock.now();
    return result;
}

/// A server's databases come and go. One that has gone since they were listed is nothing, and no
/// failure of the others.
std::optional<DatabaseBackup> dump_unless_dropped(
    const DumpInput& input,
    const BackupScope& scope,
    const std::string& name,
    ProgressMeter& meter,
    Json& extensions
) {
    try {
        return dump_one(input, name, meter, &extensions);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kDatabaseNotFound || scope.database) {
            throw;
        }
        return std::nullopt;
    }
}

std::string run_dumpall(
    const ConnectionParameters& connection,
    const ToolSet& tools,
    std::vector<std::string> arguments,
    const BackupOptions& options
) {
    ProcessSpec spec;
    spec.program = tools.program("pg_dumpall");
    spec.arguments = std::move(arguments);
    const ToolConnection tool_connection{connection};
    tool_connection.apply(spec);
    const RunResult result = run_process(spec, kGlobalsBytesMax, options.stop);
    if (!result.status.ok()) {
        throw tool_error(
            {"pg_dumpall", result.error, result.status}, ErrorKind::kDumpFailed, connection
        );
    }
    return result.output;
}

/// pg_dumpall writes when it ran and its own version into comments; two dumps of the same roles
/// must be the same bytes.
std::string without_comments(std::string_view sql) {
    std::string kept;
    for (const std::string& line : split(sql, '\n')) {
        // \restrict and \unrestrict carry a fresh random key in every run.
        const bool noise = line.starts_with("--") || line.starts_with("\\restrict") ||
                           line.starts_with("\\unrestrict");
        if (!noise && !line.empty()) {
            kept += line;
            kept.push_back('\n');
        }
    }
    return kept;
}

Json describe(const DatabaseBackup& database, const ServerInfo& server, Json extensions) {
    Json json{
        {"name", database.name},
        {"startTime", format_instant(database.started)},
        {"endTime", format_instant(database.ended)},
        {"walPosition", database.wal_position},
        {"archiveBytes", database.bytes},
        {"archiveVersion", database.archive_version},
        {"format", database.format},
        {"extensions", std::move(extensions)},
    };
    if (const DatabaseInfo* info = server.find_database(database.name); info != nullptr) {
        json["encoding"] = info->encoding;
        json["owner"] = info->owner;
        if (info->size_bytes) {
            json["sizeBytes"] = *info->size_bytes;
        }
    }
    return json;
}

Json make_manifest(
    const ConnectionParameters& connection,
    const BackupScope& scope,
    const PreflightReport& report,
    const LogicalBackup& backup
) {
    Json skipped = Json::array();
    for (const SkippedDatabase& database : backup.skipped) {
        skipped.push_back({{"name", database.name}, {"reason", database.reason}});
    }
    Json manifest{
        {"objectType", "HoldfastLogicalBackup"},
        {"version", 1},
        {"scope", scope.database ? "database" : "server"},
        {"server",
         {{"host", connection.host},
          {"port", connection.port},
          {"version", report.server.version},
          {"versionNumber", report.server.version_number},
          {"systemIdentifier", report.server.system_identifier},
          {"standby", report.server.in_recovery},
          {"userName", report.server.current_role.name},
          {"rolePasswords", report.server.may_read_passwords}}},
        {"backupTool", "pg_dump"},
        {"backupToolVersion", report.client_version},
        {"backupToolArguments", "--format=custom --compress=0"},
        {"skippedDatabases", std::move(skipped)},
        {"warnings", backup.warnings},
        {"dataSourceSizeBytes", report.size_estimate_bytes},
        {"archiveBytes", backup.bytes},
    };
    return manifest;
}

}  // namespace

DatabaseBackup dump_database(
    const ConnectionParameters& connection,
    const std::string& database,
    const ClientTools& tools,
    Clock& clock,
    StreamSink& sink,
    const BackupOptions& options
) {
    ProgressMeter meter{options, clock};
    meter.state.database = database;
    meter.state.databases_total = 1;
    return dump_one({connection, tools, clock, sink, options}, database, meter, nullptr);
}

void dump_globals(
    const ConnectionParameters& connection,
    const ServerInfo& server,
    const ClientTools& tools,
    StreamSink& sink,
    const BackupOptions& options
) {
    const ToolSet& set = tools.at_least(server.major());
    // pg_dumpall ignores the database of its conninfo and would look for `postgres` and
    // `template1`.
    const std::string database = "--database=" + make_conninfo({{"dbname", connection.database}});
    const auto dump = [&](std::vector<std::string> arguments) {
        arguments.push_back(database);
        return without_comments(run_dumpall(connection, set, std::move(arguments), options));
    };
    write_stream(
        sink,
        "globals/roles.sql",
        StreamKind::kGlobals,
        dump({"--roles-only", "--no-role-passwords"})
    );
    if (server.may_read_passwords) {
        write_stream(
            sink, "globals/roles_with_passwords.sql", StreamKind::kGlobals, dump({"--roles-only"})
        );
    }
    // pg_dumpall reads pg_authid for the owners of tablespaces unless told not to.
    write_stream(
        sink,
        "globals/tablespaces.sql",
        StreamKind::kGlobals,
        dump({"--tablespaces-only", "--no-role-passwords"})
    );
}

LogicalBackup run_logical_backup(
    const ConnectionParameters& connection,
    const BackupScope& scope,
    const ClientTools& tools,
    Clock& clock,
    StreamSink& sink,
    const BackupOptions& options
) {
    const PreflightReport report = preflight_backup(connection, scope, tools, options.stop);
    report.throw_if_failed();

    LogicalBackup backup;
    backup.skipped = report.skipped;
    backup.warnings = report.warnings();
    ProgressMeter meter{options, clock};
    meter.state.databases_total = report.databases.size();
    meter.state.bytes_estimate = report.size_estimate_bytes;
    meter.report();

    const ConnectionParameters maintenance =
        scope.database ? connection.with_database(*scope.database) : connection.clone();
    dump_globals(maintenance, report.server, tools, sink, options);
    Json databases = Json::array();
    const DumpInput input{connection, tools, clock, sink, options};
    for (const std::string& name : report.databases) {
        meter.state.database = name;
        Json extensions = Json::array();
        auto database = dump_unless_dropped(input, scope, name, meter, extensions);
        if (database) {
            backup.bytes += database->bytes;
            backup.warnings.insert(
                backup.warnings.end(), database->warnings.begin(), database->warnings.end()
            );
            databases.push_back(describe(*database, report.server, std::move(extensions)));
            backup.databases.push_back(std::move(*database));
        } else {
            backup.skipped.push_back({name, SkipCause::kDropped, "was dropped while the backup ran"}
            );
            backup.warnings.push_back(fmt::format(
                "Database {} is not backed up: it was dropped while the backup ran.",
                quote_identifier(name)
            ));
        }
        ++meter.state.databases_done;
        meter.report();
    }
    backup.manifest = make_manifest(connection, scope, report, backup);
    backup.manifest["databases"] = std::move(databases);
    Connection session = Connection::open(maintenance, options.stop);
    backup.manifest["serverParameters"] = read_changed_settings(session);
    write_stream(sink, "server/manifest.json", StreamKind::kManifest, backup.manifest.dump(2));
    return backup;
}

}  // namespace holdfast::postgres
