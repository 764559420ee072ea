#include "postgres/logical_restore.h"

#include "base/json.h"
#include "base/text.h"
#include "postgres/server_fixture.h"
#include "postgres/server_info.h"

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

using testing::PostgresServer;
using testing::PostgresServerOptions;

class LogicalRestoreTest : public ServerTest {
protected:
    /// A database with one of everything, made and backed up once for all tests.
    struct Sample {
        std::string database;
        std::string fingerprint;
        MemoryStreams streams;
    };
    Sample& sample() {
        static Sample made;
        if (made.database.empty()) {
            PostgresServer& server = PostgresServer::shared();
            made.database = server.create_database("sample");
            server.sql(
                "postgres",
                "CREATE ROLE sample_owner; CREATE ROLE \"Sample Reader\"; CREATE ROLE sample_login "
                "LOGIN"
            );
            server.sql(made.database, rich_schema_sql());
            server.sql(
                made.database,
                fmt::format(
                    "ALTER DATABASE {0} OWNER TO sample_owner; REVOKE CONNECT ON DATABASE {0} FROM "
                    "PUBLIC;"
                    "GRANT CONNECT ON DATABASE {0} TO \"Sample Reader\" WITH GRANT OPTION;"
                    "COMMENT ON DATABASE {0} IS 'it''s a \\ sample';"
                    "ALTER DATABASE {0} SET search_path TO \"$user\", app, public;"
                    "ALTER DATABASE {0} SET default_transaction_read_only TO on;"
                    "ALTER DATABASE {0} SET my.own TO 'a ''quoted'' value';"
                    "ALTER ROLE sample_login IN DATABASE {0} SET work_mem TO '7MB';"
                    "ALTER DATABASE {0} CONNECTION LIMIT 17;",
                    made.database
                )
            );
            server.sql(
                made.database,
                "SET default_transaction_read_only = off; ALTER TABLE app.orders OWNER TO "
                "sample_owner;"
                "GRANT SELECT ON app.customers TO \"Sample Reader\"; REVOKE INSERT ON app.orders "
                "FROM sample_owner;"
                "ALTER DEFAULT PRIVILEGES FOR ROLE sample_owner IN SCHEMA app GRANT SELECT ON "
                "TABLES TO \"Sample Reader\""
            );
            made.fingerprint = fingerprint(server, made.database);
            static_cast<void>(back_up(server, made.database, made.streams));
        }
        return made;
    }

    [[nodiscard]] RestoreOptions options(const std::string& target) {
        RestoreOptions made;
        made.source_database = sample().database;
        made.target_database = target;
        return made;
    }

    [[nodiscard]] bool exists(const PostgresServer& server, const std::string& database) {
        return !server
                    .sql(
                        "postgres",
                        "SELECT 1 FROM pg_database WHERE datname = " + quote_literal(database)
                    )
                    .empty();
    }

    LogicalRestore restore(const RestoreOptions& how, const MemoryStreams& streams) {
        return run_logical_restore(superuser(PostgresServer::shared()), streams, tools_, how);
    }
    Error failure(const RestoreOptions& how, const MemoryStreams& streams) {
        return error_of([&] { static_cast<void>(restore(how, streams)); });
    }

    /// The streams with the bytes of one replaced.
    static MemoryStreams with_stream(
        const MemoryStreams& streams, const std::string& changed, std::string_view bytes
    ) {
        MemoryStreams copy;
        for (const auto& [name, stream] : streams.streams()) {
            copy.begin(stream.spec);
            copy.write(name == changed ? as_bytes(bytes) : ByteSpan{stream.bytes});
            copy.end();
        }
        return copy;
    }
};

/// The row of pg_database and what hangs on it, without what a new name and OID change.
std::string properties(const PostgresServer& server, const std::string& database) {
    const std::string name = quote_literal(database);
    return server.sql(
        "postgres",
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datlocprovider, "
        "datcollate, datctype, daticulocale, "
        "datconnlimit, datistemplate, datallowconn, (SELECT array_agg(a::text ORDER BY a::text) "
        "FROM unnest(datacl) a), "
        "shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = " +
            name +
            "; "
            "SELECT s.setrole::regrole, s.setconfig FROM pg_db_role_setting s JOIN pg_database d "
            "ON d.oid = s.setdatabase "
            "WHERE d.datname = " +
            name + " ORDER BY 1"
    );
}

TEST_F(LogicalRestoreTest, RestoresAWholeDatabaseAsItWas) {
    PostgresServer& server = PostgresServer::shared();
    std::vector<std::string> steps;
    std::uint64_t bytes_total = 0;
    RestoreOptions how = options("restored whole");
    how.analyze = Analyze::kYes;
    how.progress = [&](const RestoreProgress& progress) {
        if (steps.empty() || steps.back() != progress.step) {
            steps.push_back(progress.step);
        }
        bytes_total = progress.bytes_total;
    };
    const LogicalRestore result = restore(how, sample().streams);
    EXPECT_TRUE(result.database_created);
    EXPECT_TRUE(result.warnings.empty());
    EXPECT_GE(result.bytes, bytes_total);
    EXPECT_GT(bytes_total, 100000U);
    EXPECT_EQ(
        steps,
        (std::vector<std::string>{
            "create", "pre-data", "data", "post-data", "analyze", "properties"
        })
    );
    EXPECT_EQ(first_difference(sample().fingerprint, fingerprint(server, "restored whole")), "");
    EXPECT_EQ(properties(server, "restored whole"), properties(server, sample().database));

    EXPECT_EQ(failure(how, sample().streams).kind(), ErrorKind::kDatabaseExists);
    EXPECT_TRUE(exists(server, "restored whole")) << "an existing database is left alone";
}

TEST_F(LogicalRestoreTest, RestoresUnderAnyNameFromAnyName) {
    PostgresServer& server = PostgresServer::shared();
    for (const std::string& name : odd_database_names()) {
        server.sql("postgres", "CREATE DATABASE " + quote_identifier(name));
        Connection session = Connection::open(superuser(server, name));
        static_cast<void>(
            session.execute("CREATE TABLE public.t AS SELECT " + quote_literal(name) + " AS name")
        );
        MemoryStreams streams;
        static_cast<void>(back_up(server, name, streams));
        EXPECT_EQ(databases_in(streams), std::vector<std::string>{name});
        RestoreOptions how;
        how.source_database = name;
        how.target_database = name + "'2\\";
        static_cast<void>(restore(how, streams));
        Connection restored = Connection::open(superuser(server, how.target_database));
        EXPECT_EQ(restored.execute("SELECT name FROM public.t").text(0, "name"), name);
    }
}

TEST_F(LogicalRestoreTest, KeepsAnotherEncoding) {
    PostgresServer& server = PostgresServer::shared();
    server.sql(
        "postgres",
        "CREATE DATABASE latin_source TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE "
        "'C'"
    );
    server.sql(
        "latin_source",
        "SET client_encoding = 'UTF8'; CREATE TABLE \"größe\" (a text); INSERT INTO \"größe\" "
        "VALUES ('ÄÖÜ')"
    );
    MemoryStreams streams;
    static_cast<void>(back_up(server, "latin_source", streams));
    RestoreOptions how;
    how.source_database = "latin_source";
    how.target_database = "latin_target";
    static_cast<void>(restore(how, streams));
    EXPECT_EQ(
        first_difference(fingerprint(server, "latin_source"), fingerprint(server, "latin_target")),
        ""
    );
    EXPECT_EQ(properties(server, "latin_target"), properties(server, "latin_source"));
    Connection session = Connection::open(superuser(server, "latin_target"));
    EXPECT_EQ(session.execute("SELECT a FROM public.\"größe\"").text(0, "a"), "ÄÖÜ");
}

TEST_F(LogicalRestoreTest, NamesEverythingThatIsMissingBeforeItStarts) {
    PostgresServer other;  // Knows none of the roles.
    const std::string prefix = database_prefix(sample().database);
    Json settings =
        Json::parse(as_text(sample().streams.streams().at(prefix + "settings.json").bytes));
    settings["tablespace"] = "fast";
    const MemoryStreams streams =
        with_stream(sample().streams, prefix + "settings.json", settings.dump());
    const Error error = error_of([&] {
        static_cast<void>(run_logical_restore(superuser(other), streams, tools_, options("x")));
    });
    EXPECT_EQ(error.kind(), ErrorKind::kRestorePrerequisites);
    std::set<std::string> missing;
    for (const ErrorDetail& detail : error.text().details) {
        missing.insert(detail.code + " " + detail.target);
    }
    EXPECT_EQ(
        missing,
        (std::set<std::string>{
            "MissingRole Sample Reader",
            "MissingRole sample_login",
            "MissingRole sample_owner",
            "MissingTablespace fast"
        })
    );
    EXPECT_FALSE(exists(other, "x"));

    RestoreOptions without = options("x");
    without.ownership = Ownership::kSkip;
    without.tablespaces = Tablespaces::kSkip;
    static_cast<void>(run_logical_restore(superuser(other), streams, tools_, without));
    EXPECT_EQ(other.sql("x", "SELECT count(*) FROM app.orders"), "2000\n");
    EXPECT_EQ(other.sql("x", "SHOW my.own"), "a 'quoted' value\n");
}

TEST_F(LogicalRestoreTest, RefusesALowerVersion) {
    const std::string prefix = database_prefix(sample().database);
    Json settings =
        Json::parse(as_text(sample().streams.streams().at(prefix + "settings.json").bytes));
    settings["serverVersionNumber"] = 990001;
    const MemoryStreams streams =
        with_stream(sample().streams, prefix + "settings.json", settings.dump());
    EXPECT_EQ(failure(options("lower"), streams).kind(), ErrorKind::kRestoreToLowerVersion);
    EXPECT_FALSE(exists(PostgresServer::shared(), "lower"));
}

TEST_F(LogicalRestoreTest, ARoleWithoutRightsLearnsAllOfThem) {
    PostgresServer& server = PostgresServer::shared();
    server.sql("postgres", "CREATE ROLE plain LOGIN");
    ConnectionParameters plain = superuser(server);
    plain.user = "plain";
    const RestoreCheck check = check_restore(plain, sample().streams, tools_, options("plain db"));
    std::set<std::string> missing;
    for (const ErrorDetail& detail : check.missing) {
        missing.insert(detail.code + " " + detail.target);
    }
    EXPECT_EQ(
        missing,
        (std::set<std::string>{
            "MissingCreateDatabase plain",
            "MissingMembership postgres",
            "MissingMembership sample_owner"
        })
    );
    server.sql("postgres", "ALTER ROLE plain CREATEDB");
    RestoreOptions how = options("plain db");
    how.ownership = Ownership::kSkip;
    const LogicalRestore result = run_logical_restore(plain, sample().streams, tools_, how);
    EXPECT_TRUE(result.database_created);
    ASSERT_EQ(result.warnings.size(), 1U) << "a custom setting takes more rights";
    EXPECT_NE(result.warnings.front().find("\"my\".\"own\""), std::string::npos);
    EXPECT_EQ(server.sql("plain db", "SELECT count(*) FROM app.orders"), "2000\n");
}

TEST_F(LogicalRestoreTest, DamagedDataFailsAndLeavesNothing) {
    const std::string stream = database_prefix(sample().database) + "data/app/orders";
    const MemoryStreams streams =
        with_stream(sample().streams, stream, "1\tnot a number\t\\N\n\\.\n\n\n");
    const Error error = failure(options("damaged"), streams);
    EXPECT_EQ(error.kind(), ErrorKind::kRestoreFailed) << error.log_line();
    EXPECT_NE(error.log_line().find("Undone"), std::string::npos) << error.log_line();
    EXPECT_NE(error.text().message.find("created database"), std::string::npos);
    EXPECT_FALSE(exists(PostgresServer::shared(), "damaged"));
}

TEST_F(LogicalRestoreTest, CancelInTheMiddleLeavesNothing) {
    std::stop_source stop;
    RestoreOptions how = options("cancelled");
    how.stop = stop.get_token();
    how.progress = [&](const RestoreProgress& progress) {
        if (progress.step == "data") {
            stop.request_stop();
        }
    };
    EXPECT_EQ(failure(how, sample().streams).kind(), ErrorKind::kCancelled);
    EXPECT_FALSE(exists(PostgresServer::shared(), "cancelled"));
}

TEST_F(LogicalRestoreTest, AServerKilledInTheMiddleEndsWithItsMessage) {
    PostgresServer server;
    server.sql(
        "postgres",
        "CREATE TABLE wide AS SELECT i, repeat(md5(i::text), 30) AS filler FROM generate_series(1, "
        "60000) i"
    );
    MemoryStreams streams;
    static_cast<void>(back_up(server, "postgres", streams));
    RestoreOptions how;
    how.source_database = "postgres";
    how.target_database = "copy";
    bool killed = false;
    how.progress = [&](const RestoreProgress& progress) {
        if (progress.bytes_done > kMiB && !killed) {
            killed = true;
            server.kill();
        }
    };
    const Error error = error_of([&] {
        static_cast<void>(run_logical_restore(superuser(server), streams, tools_, how));
    });
    EXPECT_TRUE(killed);
    EXPECT_EQ(error.kind(), ErrorKind::kServerConnectionClosed) << error.log_line();
    EXPECT_NE(error.text().message.find("could not be cleaned up"), std::string::npos)
        << error.log_line();
}

TEST_F(LogicalRestoreTest, RestoresItemsIntoAnExistingDatabase) {
    PostgresServer& server = PostgresServer::shared();
    const std::string target = server.create_database("items");
    server.sql(target, "CREATE TABLE public.mine (a int); INSERT INTO public.mine VALUES (1)");
    RestoreOptions how = options(target);
    how.items = {{.schema = "app", .table = "orders"}, {.schema = "app", .table = "events"}};
    const LogicalRestore result = restore(how, sample().streams);
    EXPECT_FALSE(result.database_created);
    EXPECT_FALSE(result.warnings.empty()) << "the foreign key to app.customers is left out";
    EXPECT_EQ(server.sql(target, "SELECT count(*) FROM app.orders"), "2000\n");
    EXPECT_EQ(
        server.sql(target, "SELECT count(*) FROM app.events_2026"),
        server.sql(sample().database, "SELECT count(*) FROM app.events_2026")
    );
    EXPECT_EQ(server.sql(target, "SELECT nextval('app.orders_id_seq')"), "2001\n");
    EXPECT_EQ(server.sql(target, "SELECT to_regclass('app.customers') IS NULL"), "t\n");

    const Error again = failure(how, sample().streams);
    EXPECT_EQ(again.kind(), ErrorKind::kRestoreTargetExists) << again.log_line();
    EXPECT_EQ(server.sql(target, "SELECT count(*) FROM app.orders"), "2000\n");

    how.items = {{.schema = "app", .table = "customers", .target_table = "customers as of \"then\""}
    };
    static_cast<void>(restore(how, sample().streams));
    EXPECT_EQ(
        server.sql(target, "SELECT count(*) FROM app.\"customers as of \"\"then\"\"\""), "500\n"
    );

    how.items = {{.schema = "app", .table = "absent"}};
    EXPECT_EQ(failure(how, sample().streams).kind(), ErrorKind::kRestoreItemNotFound);
    EXPECT_EQ(server.sql(target, "SELECT a FROM public.mine"), "1\n");
}

TEST_F(LogicalRestoreTest, ItemsKeepTheForeignKeysAmongThem) {
    PostgresServer& server = PostgresServer::shared();
    RestoreOptions how = options("orders with customers");
    how.items = {{.schema = "app", .table = "orders"}, {.schema = "app", .table = "customers"}};
    const LogicalRestore result = restore(how, sample().streams);
    for (const std::string& warning : result.warnings) {
        EXPECT_EQ(warning.find("FK CONSTRAINT"), std::string::npos) << warning;
    }
    EXPECT_EQ(
        server.sql(how.target_database, "SELECT conname FROM pg_constraint WHERE contype = 'f'"),
        "orders_customer_fkey\n"
    );
}

TEST_F(LogicalRestoreTest, MovesATableToAnotherSchema) {
    PostgresServer& server = PostgresServer::shared();
    const std::string target = server.create_database("moved");
    RestoreOptions how = options(target);
    how.items = {
        {.schema = "app",
         .table = "orders",
         .target_schema = "As Of",
         .target_table = "Old \"orders"}
    };
    const LogicalRestore result = restore(how, sample().streams);
    EXPECT_EQ(
        server.sql(target, R"(SELECT count(*), sum(amount) FROM "As Of"."Old ""orders")"),
        "2000|2001000\n"
    );
    how.items[0].target_table = "damaged";
    how.items[0].target_schema = "new again";
    const std::string stream = database_prefix(sample().database) + "data/app/orders";
    const MemoryStreams broken =
        with_stream(sample().streams, stream, "1\tnot a number\t\\N\n\\.\n\n\n");
    EXPECT_EQ(failure(how, broken).kind(), ErrorKind::kRestoreFailed);
    EXPECT_EQ(server.sql(target, "SELECT to_regnamespace('\"new again\"') IS NULL"), "t\n");
    EXPECT_EQ(server.sql(target, R"(SELECT count(*) FROM "As Of"."Old ""orders")"), "2000\n");
}

TEST_F(LogicalRestoreTest, RestoresASchemaIntoANewDatabase) {
    PostgresServer& server = PostgresServer::shared();
    RestoreOptions how = options("schema only here");
    how.items = {{.schema = "app", .table = {}}};
    const LogicalRestore result = restore(how, sample().streams);
    EXPECT_TRUE(result.database_created);
    EXPECT_EQ(server.sql("schema only here", "SELECT count(*) FROM app.happy"), "500\n");
    EXPECT_EQ(
        server.sql("schema only here", "SELECT to_regclass('public.secret_rows') IS NULL"), "t\n"
    );
}

TEST_F(LogicalRestoreTest, AFailedItemRestoreDropsOnlyItsOwn) {
    PostgresServer& server = PostgresServer::shared();
    const std::string target = server.create_database("items_failed");
    server.sql(target, "CREATE SCHEMA app; CREATE TABLE app.customers (a int)");
    const std::string stream = database_prefix(sample().database) + "data/app/orders";
    const MemoryStreams streams =
        with_stream(sample().streams, stream, "1\tnot a number\t\\N\n\\.\n\n\n");
    RestoreOptions how = options(target);
    how.items = {{.schema = "app", .table = "orders"}};
    const Error error = failure(how, streams);
    EXPECT_EQ(error.kind(), ErrorKind::kRestoreFailed) << error.log_line();
    EXPECT_EQ(
        server.sql(
            target,
            "SELECT string_agg(relname, ',') FROM pg_class WHERE relnamespace = 'app'::regnamespace"
        ),
        "customers\n"
    ) << error.log_line();
    EXPECT_EQ(server.sql(target, "SELECT to_regtype('app.positive') IS NULL"), "t\n");
}

TEST_F(LogicalRestoreTest, AnArchiveThatIsNotUnderstoodRestoresAsAWhole) {
    PostgresServer& server = PostgresServer::shared();
    const std::string prefix = database_prefix(sample().database);
    const RunResult dump = server.run(
        "pg_dump", {"--format=custom", "--dbname=" + server.conninfo(sample().database)}
    );
    ASSERT_TRUE(dump.status.ok()) << dump.error;
    MemoryStreams streams;
    const auto& settings = sample().streams.streams().at(prefix + "settings.json");
    streams.begin(settings.spec);
    streams.write(settings.bytes);
    streams.end();
    streams.begin({.name = prefix + "archive", .kind = StreamKind::kArchive});
    streams.write(as_bytes(dump.output));
    streams.end();
    static_cast<void>(restore(options("from opaque"), streams));
    EXPECT_EQ(first_difference(sample().fingerprint, fingerprint(server, "from opaque")), "");

    RestoreOptions how = options("from opaque item");
    how.items = {{.schema = "app", .table = "orders"}};
    EXPECT_EQ(failure(how, streams).kind(), ErrorKind::kUnsupportedOperation);
}

}  // namespace
}  // namespace holdfast::postgres
