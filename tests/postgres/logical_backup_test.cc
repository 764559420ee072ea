#include "postgres/logical_backup.h"

#include "base/json.h"
#include "base/text.h"
#include "postgres/preflight.h"
#include "postgres/server_fixture.h"
#include "postgres/server_info.h"

#include <filesystem>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

using testing::PostgresServer;
using testing::PostgresServerOptions;

using LogicalBackupTest = ServerTest;

std::string text_of(const MemoryStreams& streams, const std::string& name) {
    const auto found = streams.streams().find(name);
    return found == streams.streams().end() ? "(absent)"
                                            : std::string{as_text(found->second.bytes)};
}

TEST_F(LogicalBackupTest, TakesAWholeDatabase) {
    PostgresServer& server = PostgresServer::shared();
    const std::string database = server.create_database("whole");
    server.sql(database, rich_schema_sql());
    server.sql(
        database,
        fmt::format(
            "CREATE ROLE whole_app; ALTER DATABASE {0} SET work_mem = '7MB'; ALTER ROLE whole_app "
            "IN DATABASE {0} SET "
            "lock_timeout = '3s'; GRANT CONNECT ON DATABASE {0} TO whole_app; COMMENT ON DATABASE "
            "{0} IS 'it''s';",
            database
        )
    );
    MemoryStreams streams;
    std::uint64_t last_bytes = 0;
    BackupOptions options;
    options.progress = [&](const BackupProgress& progress) { last_bytes = progress.bytes_done; };
    const LogicalBackup backup = run_logical_backup(
        superuser(server),
        {.database = database, .excluded_databases = {}},
        tools_,
        clock_,
        streams,
        options
    );

    ASSERT_EQ(backup.databases.size(), 1U);
    EXPECT_EQ(backup.databases[0].format, "split");
    EXPECT_GT(backup.bytes, 100000U);
    EXPECT_EQ(last_bytes, backup.bytes);
    EXPECT_TRUE(backup.warnings.empty()) << backup.warnings.front();
    EXPECT_NE(backup.databases[0].wal_position.find('/'), std::string::npos);
    const std::string prefix = database_prefix(database);
    EXPECT_GT(text_of(streams, prefix + "data/app/orders").size(), 50000U);
    EXPECT_NE(text_of(streams, prefix + "toc"), "(absent)");
    EXPECT_NE(
        text_of(streams, "globals/roles.sql").find("CREATE ROLE whole_app"), std::string::npos
    );
    EXPECT_NE(text_of(streams, "globals/roles_with_passwords.sql"), "(absent)");
    EXPECT_NE(text_of(streams, "globals/tablespaces.sql"), "(absent)");

    const DatabaseInfo info =
        database_from_json(Json::parse(text_of(streams, prefix + "settings.json")));
    EXPECT_EQ(info.encoding, "UTF8");
    EXPECT_EQ(info.comment, "it's");
    ASSERT_EQ(info.settings.size(), 2U);
    EXPECT_EQ(info.settings[0].name, "work_mem");
    EXPECT_EQ(info.settings[0].role, "");
    EXPECT_EQ(info.settings[1].role, "whole_app");
    ASSERT_TRUE(info.acl);
    EXPECT_EQ(database_from_json(to_json(info)).acl->size(), info.acl->size());
    const Json manifest = Json::parse(text_of(streams, "server/manifest.json"));
    EXPECT_EQ(manifest.at("databases").at(0).at("name"), database);
    EXPECT_EQ(manifest, backup.manifest);

    MemoryStreams again;
    const LogicalBackup second = back_up(server, database, again);
    for (const auto& [name, stream] : streams.streams()) {
        if (name != "server/manifest.json") {
            EXPECT_EQ(as_text(stream.bytes), text_of(again, name))
                << name << " differs without a change";
        }
    }
}

TEST_F(LogicalBackupTest, TakesAWholeServerWithOddNamesAndEncodings) {
    PostgresServer server;
    for (const std::string& name : odd_database_names()) {
        server.sql("postgres", "CREATE DATABASE " + quote_identifier(name));
    }
    server.sql(
        "postgres",
        "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"
    );
    server.sql(
        "latin",
        "SET client_encoding = 'UTF8'; CREATE TABLE t (a text); INSERT INTO t VALUES ('größe')"
    );
    server.sql("postgres", "CREATE DATABASE closed ALLOW_CONNECTIONS false");
    server.sql("postgres", "CREATE DATABASE unwanted");
    server.sql("postgres", "CREATE DATABASE mould IS_TEMPLATE true");

    MemoryStreams streams;
    const LogicalBackup backup = run_logical_backup(
        superuser(server),
        {.database = {}, .excluded_databases = {"unwanted"}},
        tools_,
        clock_,
        streams,
        {}
    );
    EXPECT_EQ(backup.databases.size(), odd_database_names().size() + 2);  // postgres, latin
    EXPECT_EQ(backup.skipped.size(), 3U);
    EXPECT_EQ(backup.warnings.size(), 3U);
    EXPECT_EQ(backup.manifest.at("skippedDatabases").size(), 3U);
    for (const std::string& name : odd_database_names()) {
        const std::string settings = text_of(streams, database_prefix(name) + "settings.json");
        ASSERT_NE(settings, "(absent)") << name;
        EXPECT_EQ(database_from_json(Json::parse(settings)).name, name);
    }
    EXPECT_EQ(
        text_of(streams, "databases/latin/data/public/t"),
        "gr\xf6\xdf"
        "e\n\\.\n\n\n"
    ) << "bytes as the database keeps them";
}

TEST_F(LogicalBackupTest, NamesEveryMissingRightWithItsCure) {
    PostgresServer& server = PostgresServer::shared();
    const std::string database = server.create_database("rights");
    server.sql(database, rich_schema_sql());
    server.sql(
        database,
        fmt::format(
            "CREATE ROLE \"low priv\" LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE "
            "CONNECT ON DATABASE {0} FROM "
            "PUBLIC; CREATE DATABASE {0}_hidden; REVOKE CONNECT ON DATABASE {0}_hidden FROM PUBLIC;"
            "GRANT CONNECT ON DATABASE {0} TO \"low priv\"",
            database
        )
    );
    ConnectionParameters low = superuser(server, database);
    low.user = "low priv";
    const BackupScope scope{.database = database, .excluded_databases = {}};
    const PreflightReport report = preflight_backup(low, scope, tools_);
    EXPECT_FALSE(report.ok());
    std::set<std::string> codes;
    for (const Finding& finding : report.findings) {
        codes.insert(finding.code);
    }
    EXPECT_EQ(
        codes,
        (std::set<std::string>{
            "MissingUsageOnSchemas",
            "MissingSelectOnTables",
            "MissingSelectOnSequences",
            "MissingSelectOnLargeObjects",
            "RowSecurity"
        })
    );
    MemoryStreams streams;
    const Error error = error_of([&] {
        static_cast<void>(run_logical_backup(low, scope, tools_, clock_, streams, {}));
    });
    EXPECT_EQ(error.kind(), ErrorKind::kMissingDatabasePermissions);
    EXPECT_EQ(error.text().details.size(), 5U);
    EXPECT_TRUE(streams.streams().empty());

    // The statements given are the cure.
    for (const std::string& statement : error.text().recommended_actions) {
        server.sql(database, statement);
    }
    EXPECT_TRUE(preflight_backup(low, scope, tools_).ok());
    const LogicalBackup backup = run_logical_backup(low, scope, tools_, clock_, streams, {});
    EXPECT_EQ(backup.databases.size(), 1U);
    EXPECT_EQ(text_of(streams, "globals/roles_with_passwords.sql"), "(absent)");
    EXPECT_NE(text_of(streams, "globals/roles.sql").find("low priv"), std::string::npos);

    const PreflightReport whole = preflight_backup(low, {}, tools_);
    const bool names_hidden =
        std::any_of(whole.findings.begin(), whole.findings.end(), [&](const Finding& finding) {
            return finding.code == "MissingConnect" && finding.database == database + "_hidden" &&
                   finding.remedies.front().starts_with("GRANT CONNECT ON DATABASE");
        });
    EXPECT_TRUE(names_hidden);
}

TEST_F(LogicalBackupTest, ADatabaseThatIsDroppedMeanwhileIsNoFailure) {
    PostgresServer server;
    server.sql("postgres", "CREATE DATABASE a");
    server.sql("postgres", "CREATE DATABASE b");
    server.sql("postgres", "CREATE DATABASE locked ALLOW_CONNECTIONS false");
    BackupOptions options;
    options.progress = [&](const BackupProgress& progress) {
        if (progress.databases_done == 1) {
            server.sql("postgres", "DROP DATABASE IF EXISTS b");
        }
    };
    MemoryStreams streams;
    const LogicalBackup backup =
        run_logical_backup(superuser(server), {}, tools_, clock_, streams, options);
    EXPECT_EQ(backup.databases.size(), 2U);  // a, postgres
    EXPECT_EQ(backup.skipped.size(), 2U);
    EXPECT_EQ(backup.warnings.size(), 2U);
    EXPECT_EQ(backup.manifest.at("skippedDatabases").size(), 2U);
    EXPECT_EQ(text_of(streams, database_prefix("b") + "settings.json"), "(absent)");

    const Error error = error_of([&] {
        static_cast<void>(run_logical_backup(
            superuser(server),
            {.database = "locked", .excluded_databases = {}},
            tools_,
            clock_,
            streams,
            {}
        ));
    });
    EXPECT_EQ(error.kind(), ErrorKind::kDatasourceUnsupported) << error.log_line();
}

TEST_F(LogicalBackupTest, PredefinedReadRoleNeedsOnlyWhatItLacks) {
    PostgresServer& server = PostgresServer::shared();
    const std::string database = server.create_database("reader");
    server.sql(
        database,
        "CREATE SCHEMA s; CREATE TABLE s.t (a serial); CREATE ROLE all_reader LOGIN; GRANT "
        "pg_read_all_data TO all_reader"
    );
    ConnectionParameters reader = superuser(server, database);
    reader.user = "all_reader";
    EXPECT_TRUE(
        preflight_backup(reader, {.database = database, .excluded_databases = {}}, tools_).ok()
    );
}

TEST_F(LogicalBackupTest, RefusalsNameTheirCause) {
    PostgresServerOptions options;
    options.tcp = PostgresServerOptions::Tcp::kLoopback;
    PostgresServer server{options};
    server.sql("postgres", "CREATE ROLE app LOGIN PASSWORD 'rightone'");
    ConnectionParameters parameters;
    parameters.host = "127.0.0.1";
    parameters.port = server.port();
    parameters.user = "app";
    parameters.password = Secret{std::string_view{"wrongone"}};
    Error error = error_of([&] { static_cast<void>(Connection::open(parameters)); });
    EXPECT_EQ(error.kind(), ErrorKind::kServerAuthFailed);
    EXPECT_EQ(error.text().properties.at("sqlstate"), "28P01");
    EXPECT_EQ(error.log_line().find("wrongone"), std::string::npos);

    parameters.password = Secret{std::string_view{"rightone"}};
    EXPECT_EQ(Connection::open(parameters).server_major(), 15);
    error =
        error_of([&] { static_cast<void>(Connection::open(parameters.with_database("absent"))); });
    EXPECT_EQ(error.kind(), ErrorKind::kDatabaseNotFound);
    MemoryStreams streams;
    error = error_of([&] {
        static_cast<void>(run_logical_backup(
            parameters,
            {.database = "absent", .excluded_databases = {}},
            tools_,
            clock_,
            streams,
            {}
        ));
    });
    EXPECT_EQ(error.kind(), ErrorKind::kDatabaseNotFound);

    parameters.ssl_mode = SslMode::kVerifyFull;
    EXPECT_EQ(
        error_of([&] { static_cast<void>(Connection::open(parameters)); }).kind(),
        ErrorKind::kServerTls
    );
    parameters.ssl_mode.reset();
    server.stop();
    error = error_of([&] { static_cast<void>(Connection::open(parameters)); });
    EXPECT_EQ(error.kind(), ErrorKind::kServerUnreachable);
}

TEST_F(LogicalBackupTest, TlsIsVerifiedWithTheGivenAuthority) {
    if (!std::filesystem::exists("/usr/bin/openssl")) {
        GTEST_SKIP() << "openssl is not installed";
    }
    PostgresServerOptions options;
    options.tcp = PostgresServerOptions::Tcp::kLoopback;
    options.hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
    PostgresServer server{options};
    server.sql("postgres", "CREATE ROLE app SUPERUSER LOGIN PASSWORD 'secret'");
    const std::string certificate = turn_on_tls(server, "IP:127.0.0.1");

    ConnectionParameters parameters;
    parameters.host = "127.0.0.1";
    parameters.port = server.port();
    parameters.user = "app";
    parameters.password = Secret{std::string_view{"secret"}};
    parameters.ssl_mode = SslMode::kVerifyFull;
    EXPECT_EQ(
        error_of([&] { static_cast<void>(Connection::open(parameters)); }).kind(),
        ErrorKind::kServerTls
    ) << "an unknown authority";
    parameters.ssl_root_cert = certificate;  // The text itself, as a registration may hold it.
    EXPECT_TRUE(Connection::open(parameters).uses_tls());
    MemoryStreams streams;
    EXPECT_EQ(run_logical_backup(parameters, {}, tools_, clock_, streams, {}).databases.size(), 1U);

    parameters.host = "localhost";  // Not the name in the certificate.
    EXPECT_EQ(
        error_of([&] { static_cast<void>(Connection::open(parameters)); }).kind(),
        ErrorKind::kServerTls
    );
    parameters.ssl_mode = SslMode::kDisable;
    EXPECT_EQ(
        error_of([&] { static_cast<void>(Connection::open(parameters)); }).kind(),
        ErrorKind::kServerAuthFailed
    );
}

TEST_F(LogicalBackupTest, PasswordsReachPgDumpThroughMemory) {
    PostgresServerOptions options;
    options.tcp = PostgresServerOptions::Tcp::kLoopback;
    PostgresServer server{options};
    const std::string password = "it's:a\\b \"c\"=d";
    server.sql("postgres", "CREATE ROLE app SUPERUSER LOGIN PASSWORD " + quote_literal(password));
    ConnectionParameters parameters;
    parameters.host = "127.0.0.1";
    parameters.port = server.port();
    parameters.user = "app";
    parameters.password = Secret{std::string_view{password}};
    MemoryStreams streams;
    const LogicalBackup backup = run_logical_backup(parameters, {}, tools_, clock_, streams, {});
    EXPECT_EQ(backup.databases.size(), 1U);
}

TEST_F(LogicalBackupTest, ClientOlderThanTheServerNamesThePackage) {
    const Error error = error_of([&] { static_cast<void>(tools_.at_least(99)); });
    EXPECT_EQ(error.kind(), ErrorKind::kClientToolMissing);
    EXPECT_NE(
        error.text().recommended_actions.front().find("postgresql-client-99"), std::string::npos
    );
    const ClientTools none{{"/nonexistent"}};
    EXPECT_TRUE(none.found().empty());
    EXPECT_EQ(
        error_of([&] { static_cast<void>(none.at_least(13)); }).kind(),
        ErrorKind::kClientToolMissing
    );
}

TEST_F(LogicalBackupTest, AStopCancelsThePgDumpThatWaitsForALock) {
    PostgresServer& server = PostgresServer::shared();
    const std::string database = server.create_database("locked");
    server.sql(database, "CREATE TABLE t (a int)");
    Connection locker = Connection::open(superuser(server, database));
    static_cast<void>(locker.execute("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE"));
    std::stop_source stop;
    BackupOptions options;
    options.stop = stop.get_token();
    std::jthread stopper{[&] {
        // pg_dump is seen waiting before it is stopped.
        const SteadyInstant deadline = clock_.steady_now() + std::chrono::seconds{30};
        Connection watcher = Connection::open(superuser(server, database));
        while (clock_.steady_now() < deadline) {
            const auto rows = watcher.execute(
                "SELECT FROM pg_catalog.pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                "application_name = 'holdfast'"
            );
            if (rows.row_count() > 0) {
                break;
            }
        }
        stop.request_stop();
    }};
    MemoryStreams streams;
    const Error error = error_of([&] {
        static_cast<void>(
            dump_database(superuser(server), database, tools_, clock_, streams, options)
        );
    });
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
    stopper.join();

    options.stop = {};
    options.lock_wait_timeout = std::chrono::milliseconds{50};
    MemoryStreams others;
    const Error timeout = error_of([&] {
        static_cast<void>(
            dump_database(superuser(server), database, tools_, clock_, others, options)
        );
    });
    EXPECT_EQ(timeout.kind(), ErrorKind::kTimeout) << timeout.log_line();
}

/// Calls a function once, when the first table's bytes arrive.
class TrippingSink final : public StreamSink {
public:
    explicit TrippingSink(std::function<void()> trip) : trip_{std::move(trip)} {}
    void begin(const StreamSpec& spec) override { in_table_ = spec.kind == StreamKind::kTableData; }
    void write(ByteSpan) override {
        if (in_table_ && trip_) {
            std::exchange(trip_, nullptr)();
        }
    }
    void end() override {}

private:
    std::function<void()> trip_;
    bool in_table_ = false;
};

constexpr const char* kWideTable =
    "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 30) AS filler FROM generate_series(1, 60000) "
    "i";

TEST_F(LogicalBackupTest, AServerKilledInTheMiddleEndsWithItsMessage) {
    PostgresServer server;
    const std::string database = server.create_database("killed");
    server.sql(database, kWideTable);
    TrippingSink sink{[&] { server.kill(); }};
    const Error error = error_of([&] {
        static_cast<void>(dump_database(superuser(server), database, tools_, clock_, sink, {}));
    });
    EXPECT_EQ(error.kind(), ErrorKind::kServerConnectionClosed) << error.log_line();
    ASSERT_FALSE(error.text().details.empty());
    EXPECT_NE(error.text().properties.count("sqlstate"), 0U) << error.log_line();
    EXPECT_EQ(error.log_line().find("passfile"), std::string::npos);
    server.start();
    MemoryStreams streams;
    EXPECT_EQ(back_up(server, database, streams).databases.size(), 1U)
        << "and works again afterwards";
}

TEST_F(LogicalBackupTest, ATerminatedBackendAndACancelInTheMiddle) {
    PostgresServer& server = PostgresServer::shared();
    const std::string database = server.create_database("terminated");
    server.sql(database, kWideTable);
    TrippingSink terminating{[&] {
        server.sql(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
            "'holdfast' AND datname = current_database()"
        );
    }};
    const Error lost = error_of([&] {
        static_cast<void>(
            dump_database(superuser(server), database, tools_, clock_, terminating, {})
        );
    });
    EXPECT_EQ(lost.kind(), ErrorKind::kServerConnectionClosed) << lost.log_line();
    // In the middle of COPY libpq often sees only the end of the connection.
    const std::string sqlstate = lost.text().properties.at("sqlstate");
    EXPECT_TRUE(sqlstate == "57P01" || sqlstate == "08006") << lost.log_line();

    std::stop_source stop;
    TrippingSink stopping{[&] { stop.request_stop(); }};
    BackupOptions options;
    options.stop = stop.get_token();
    const Error cancelled = error_of([&] {
        static_cast<void>(
            dump_database(superuser(server), database, tools_, clock_, stopping, options)
        );
    });
    EXPECT_EQ(cancelled.kind(), ErrorKind::kCancelled);
}

TEST_F(LogicalBackupTest, ASinkThatFailsEndsTheDump) {
    PostgresServer& server = PostgresServer::shared();
    const std::string database = server.create_database("full");
    server.sql(database, kWideTable);
    TrippingSink sink{[] { throw Error{ErrorKind::kStoreFull, "The disk is full."}; }};
    const Error error = error_of([&] {
        static_cast<void>(dump_database(superuser(server), database, tools_, clock_, sink, {}));
    });
    EXPECT_EQ(error.kind(), ErrorKind::kStoreFull);
}

TEST_F(LogicalBackupTest, ConnectionsCancelAndTimeOut) {
    Connection connection = Connection::open(superuser(PostgresServer::shared()));
    EXPECT_EQ(
        error_of([&] {
            static_cast<void>(connection.query(
                "SELECT pg_sleep(100)", {}, {.timeout = std::chrono::milliseconds{20}}
            ));
        }).kind(),
        ErrorKind::kTimeout
    );
    // The request to cancel may overtake the statement.
    for (int round = 0; round < 20; ++round) {
        EXPECT_EQ(
            error_of([&] {
                static_cast<void>(connection.query(
                    "SELECT pg_sleep(100)", {}, {.timeout = std::chrono::milliseconds{0}}
                ));
            }).kind(),
            ErrorKind::kTimeout
        );
    }
    EXPECT_EQ(
        connection.query("SELECT $1::pg_catalog.int4 + 1 AS two", {"1"}).integer(0, "two"), 2
    );
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(
        error_of([&] {
            static_cast<void>(
                connection.query("SELECT pg_sleep(100)", {}, {.stop = stop.get_token()})
            );
        }).kind(),
        ErrorKind::kCancelled
    );
    const Error error = error_of([&] { static_cast<void>(connection.execute("SELECT 1/0")); });
    EXPECT_EQ(error.kind(), ErrorKind::kPostgresQuery);
    EXPECT_EQ(error.text().properties.at("sqlstate"), "22012");
}

}  // namespace
}  // namespace holdfast::postgres
