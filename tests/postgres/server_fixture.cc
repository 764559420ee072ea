#include "postgres/server_fixture.h"

#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast::postgres {

const std::vector<std::string>& odd_database_names() {
    static const std::vector<std::string> names{
        "a=b",
        "-x",
        "my db",
        "q\"'\\",
        "postgresql://h/",
        "ü",
        "dbname=postgres",
        "%41",
        "..",
        "a/b",
        "$(id)",
        "UPPER"
    };
    return names;
}

void ServerTest::SetUp() {
    if (!testing::PostgresServer::available()) {
        GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
}

ConnectionParameters ServerTest::superuser(
    const testing::PostgresServer& server, std::string_view database
) {
    ConnectionParameters parameters;
    parameters.host = server.socket_directory();
    parameters.port = server.port();
    parameters.user = testing::PostgresServer::superuser();
    parameters.database = database;
    return parameters;
}

LogicalBackup ServerTest::back_up(
    const testing::PostgresServer& server, const std::string& database, MemoryStreams& streams
) {
    return run_logical_backup(
        superuser(server),
        {.database = database, .excluded_databases = {}},
        tools_,
        clock_,
        streams,
        {}
    );
}

Error ServerTest::error_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error;
    }
    ADD_FAILURE() << "nothing was thrown";
    return Error{ErrorKind::kInternal, "nothing was thrown"};
}

std::string turn_on_tls(testing::PostgresServer& server, const std::string& subject_name) {
    const std::filesystem::path directory = server.data_directory();
    ProcessSpec spec;
    spec.program = "/usr/bin/openssl";
    spec.arguments = {
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=holdfast test",
        "-addext",
        "subjectAltName=" + subject_name,
        "-keyout",
        (directory / "server.key").string(),
        "-out",
        (directory / "server.crt").string()
    };
    spec.environment = {{"PATH", "/usr/bin:/bin"}, {"HOME", "/nonexistent"}};
    const RunResult result = run_process(spec, kMiB, {});
    EXPECT_TRUE(result.status.ok()) << result.error;
    struct stat owner {};
    EXPECT_EQ(::stat(directory.c_str(), &owner), 0);
    for (const char* name : {"server.key", "server.crt"}) {
        EXPECT_EQ(::chown((directory / name).c_str(), owner.st_uid, owner.st_gid), 0);
        EXPECT_EQ(::chmod((directory / name).c_str(), 0600), 0);
    }
    server.sql("postgres", "ALTER SYSTEM SET ssl = on");
    server.stop();
    server.start();
    return read_file(directory / "server.crt", kMiB).value_or("");
}

const std::string& rich_schema_sql() {
    static const std::string sql = R"sql(
CREATE SCHEMA app;
COMMENT ON SCHEMA app IS 'the application''s';
CREATE EXTENSION pgcrypto WITH SCHEMA public;
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN app.positive AS integer CHECK (VALUE > 0);
CREATE TABLE app.customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    mood app.mood DEFAULT 'ok',
    "Upper Case" text DEFAULT 'tab	and "quotes"',
    doubled bigint GENERATED ALWAYS AS (length(name) * 2) STORED
);
INSERT INTO app.customers (name, mood) SELECT 'name ' || i, 'happy' FROM generate_series(1, 500) i;
CREATE TABLE app.orders (
    id serial PRIMARY KEY,
    customer bigint NOT NULL REFERENCES app.customers (id),
    amount app.positive,
    payload bytea,
    placed timestamptz DEFAULT '2026-01-01 00:00:00+00'
);
INSERT INTO app.orders (customer, amount, payload)
    SELECT 1 + i % 500, i, decode(md5(i::text), 'hex') FROM generate_series(1, 2000) i;
CREATE INDEX orders_placed ON app.orders (placed, amount DESC) WHERE amount > 10;
CREATE STATISTICS app.orders_statistics ON customer, amount FROM app.orders;
COMMENT ON COLUMN app.orders.amount IS 'in cents';
CREATE VIEW app.happy AS SELECT * FROM app.customers WHERE mood = 'happy';
CREATE MATERIALIZED VIEW app.totals AS
    SELECT customer, sum(amount) AS total FROM app.orders GROUP BY customer;
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN NEW.placed := NEW.placed; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TABLE app.events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE app.events_2025 PARTITION OF app.events
    FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE app.events_2026 PARTITION OF app.events
    FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO app.events SELECT date '2025-06-01' + i, 'event ' || i FROM generate_series(1, 400) i;
CREATE TABLE public.secret_rows (owner name, what text);
ALTER TABLE public.secret_rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON public.secret_rows USING (owner = current_user);
INSERT INTO public.secret_rows VALUES ('postgres', 'a'), ('somebody', 'b');
CREATE SEQUENCE public.lonely START 42 INCREMENT 7;
SELECT nextval('public.lonely');
SELECT lo_from_bytea(4711, decode(repeat('00ff10', 30000), 'hex'));
SELECT lo_from_bytea(4712, '');
COMMENT ON LARGE OBJECT 4711 IS 'a picture';
)sql";
    return sql;
}

std::string fingerprint(const testing::PostgresServer& server, const std::string& database) {
    std::string print;
    const std::string tables = server.sql(
        database,
        "SELECT format('SELECT %L, count(*), md5(string_agg(r, ''|'' ORDER BY r COLLATE \"C\"))"
        " FROM (SELECT row(%s)::text AS r FROM %s t) x;', c.oid::regclass,"
        " CASE c.relkind WHEN 'S' THEN 'last_value, is_called' ELSE 't.*' END, c.oid::regclass)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'm', 'S') AND n.nspname !~ '^pg_'"
        " AND n.nspname <> 'information_schema' ORDER BY n.nspname, c.relname"
    );
    print += server.sql(database, tables);
    print += server.sql(
        database,
        "SELECT oid, md5(lo_get(oid)), obj_description(oid, 'pg_largeobject')"
        " FROM "
        "pg_largeobject_metadata ORDER BY oid"
    );
    const RunResult schema =
        server.run("pg_dump", {"--schema-only", "--dbname=" + server.conninfo(database)});
    EXPECT_TRUE(schema.status.ok()) << schema.error;
    print += schema.output;
    // A fresh key in every run.
    for (const std::string word : {"\\restrict ", "\\unrestrict "}) {
        for (std::size_t at = print.find(word); at != std::string::npos;
             at = print.find(word, at)) {
            print.erase(at, print.find('\n', at) - at);
        }
    }
    return print;
}

std::string first_difference(std::string_view expected, std::string_view found) {
    const std::vector<std::string> left = split(expected, '\n');
    const std::vector<std::string> right = split(found, '\n');
    for (std::size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
        const std::string a = i < left.size() ? left[i] : "(end)";
        const std::string b = i < right.size() ? right[i] : "(end)";
        if (a != b) {
            return fmt::format("line {}: \"{}\" became \"{}\"", i + 1, a, b);
        }
    }
    return {};
}

}  // namespace holdfast::postgres
