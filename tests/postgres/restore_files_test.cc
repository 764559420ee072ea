#include "postgres/restore_files.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/sha256.h"
#include "postgres/archive_composer.h"
#include "postgres/logical_restore.h"
#include "postgres/server_fixture.h"

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

using testing::PostgresServer;

class RestoreFilesTest : public ServerTest {
protected:
    void write(const std::string& name, ByteSpan bytes) {
        write_file_durably(directory_.path() / name, bytes, 0600, Overwrite::kYes);
    }

    /// The files of a restore, as the server writes them.
    void write_files(const StreamSource& source, RolePasswords passwords) {
        RestoreScriptInput input{
            .roles_file = "x_roles.sql",
            .tablespace_file = "x_tablespace.sql",
            .manifest_file = "x_manifest.json",
            .databases = {},
            .client_major_min = 15
        };
        const auto add = [&](const std::string& file, ByteSpan content) {
            write(file, content);
            Sha256 hash;
            hash.update(content);
            input.sha256[file] = to_hex(hash.finish());
        };
        add("x_roles.sql", as_bytes(render_roles_sql(source, passwords)));
        add("x_tablespace.sql", as_bytes(render_tablespaces_sql(source)));
        for (const std::string& name : databases_in(source)) {
            const ArchiveComposer composer{source, database_prefix(name)};
            MemoryBytes archive;
            composer.compose(ComposePlan{}, archive);
            const std::string file =
                "x_database_" + std::to_string(input.databases.size()) + ".sql";
            add(file, archive.bytes());
            input.databases.push_back(
                {.database = read_database_settings(source, name), .file_name = file}
            );
        }
        write("x_restore.sh", as_bytes(render_restore_script(input)));
    }

    RunResult run_script(const PostgresServer& server, std::vector<std::string> arguments = {}) {
        ProcessSpec spec;
        spec.program = "/bin/sh";
        spec.arguments = {(directory_.path() / "x_restore.sh").string()};
        spec.arguments.insert(spec.arguments.end(), arguments.begin(), arguments.end());
        spec.environment = server.environment();
        spec.environment["PATH"] = server.programs().string() + ":/usr/bin:/bin";
        return run_process(spec, kMiB, {});
    }

    TemporaryDirectory directory_{"restore-files"};
};

TEST_F(RestoreFilesTest, TheScriptRestoresAnotherServer) {
    PostgresServer source;
    source.sql(
        "postgres",
        "CREATE ROLE \"odd 'role\" LOGIN PASSWORD 'hunter2'; CREATE ROLE grp; GRANT grp TO \"odd "
        "'role\" WITH ADMIN OPTION;"
        "ALTER ROLE grp SET search_path TO 'a b', public; ALTER ROLE grp SET my.thing TO "
        "'two;\nlines';"
        "CREATE DATABASE \"a=b\" OWNER \"odd 'role\"; CREATE DATABASE \"it's $(id) `id`\";"
        "ALTER DATABASE \"a=b\" SET work_mem TO '7MB'; COMMENT ON DATABASE \"a=b\" IS 'what''s \\ "
        "it';"
        "REVOKE ALL ON DATABASE \"a=b\" FROM PUBLIC; GRANT CONNECT ON DATABASE \"a=b\" TO grp"
    );
    source.sql("a=b", rich_schema_sql());
    source.sql("a=b", "ALTER TABLE app.orders OWNER TO grp");
    MemoryStreams streams;
    static_cast<void>(run_logical_backup(superuser(source), {}, tools_, clock_, streams, {}));
    write_files(streams, RolePasswords::kInclude);

    if (std::filesystem::exists("/usr/bin/shellcheck")) {
        ProcessSpec spec;
        spec.program = "/usr/bin/shellcheck";
        spec.arguments = {"--severity=warning", (directory_.path() / "x_restore.sh").string()};
        spec.environment = {{"LC_ALL", "C.UTF-8"}};
        const RunResult judged = run_process(spec, kMiB, {});
        EXPECT_TRUE(judged.status.ok()) << judged.output << judged.error;
    }
    PostgresServer target;
    const RunResult listed = run_script(target, {"--list"});
    EXPECT_EQ(listed.output, "a=b\nit's $(id) `id`\npostgres\n") << listed.error;
    const RunResult result = run_script(target, {"-j", "3"});
    ASSERT_TRUE(result.status.ok()) << result.output << result.error;
    EXPECT_NE(result.output.find("database postgres exists: left alone"), std::string::npos)
        << result.output;
    EXPECT_EQ(first_difference(fingerprint(source, "a=b"), fingerprint(target, "a=b")), "");
    const std::string facts =
        "SELECT datname, datdba::regrole, datacl, shobj_description(d.oid, 'pg_database'), "
        "setconfig"
        " FROM pg_database d LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid"
        " WHERE NOT datistemplate ORDER BY 1;"
        "SELECT a.rolname, a.rolpassword, r.rolconfig, a.rolcanlogin FROM pg_authid a"
        " JOIN pg_roles r ON r.oid = a.oid WHERE a.rolname !~ '^pg_' ORDER BY 1;"
        "SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members ORDER BY 1, 2";
    EXPECT_EQ(first_difference(source.sql("postgres", facts), target.sql("postgres", facts)), "");

    const RunResult again = run_script(target);
    EXPECT_TRUE(again.status.ok()) << again.error;
    EXPECT_NE(again.output.find("database a=b exists: left alone"), std::string::npos)
        << again.output;
    EXPECT_EQ(first_difference(fingerprint(source, "a=b"), fingerprint(target, "a=b")), "");
}

TEST_F(RestoreFilesTest, AFailureDropsTheUnfinishedDatabase) {
    PostgresServer& server = PostgresServer::shared();
    const std::string name = server.create_database("script");
    server.sql(
        name,
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE ROLE script_owner; ALTER TABLE t "
        "OWNER TO script_owner"
    );
    MemoryStreams streams;
    static_cast<void>(back_up(server, name, streams));
    write_files(streams, RolePasswords::kLeaveOut);
    server.sql("postgres", "DROP DATABASE " + name + "; DROP ROLE script_owner");

    const RunResult failed = run_script(server, {"--no-roles"});
    EXPECT_EQ(failed.status.code, 1) << failed.output;
    EXPECT_NE(failed.error.find("dropping it again"), std::string::npos) << failed.error;
    EXPECT_EQ(
        server.sql("postgres", "SELECT 1 FROM pg_database WHERE datname = " + quote_literal(name)),
        ""
    );

    const RunResult unowned = run_script(server, {"--no-owner", name});
    EXPECT_TRUE(unowned.status.ok()) << unowned.error;
    EXPECT_EQ(server.sql(name, "SELECT a FROM t"), "1\n");
    EXPECT_EQ(run_script(server, {"--nonsense"}).status.code, 2);
    const RunResult unknown = run_script(server, {name, "nonesuch"});
    EXPECT_EQ(unknown.status.code, 1);
    EXPECT_NE(unknown.error.find("no database nonesuch"), std::string::npos) << unknown.error;
}

TEST_F(RestoreFilesTest, ADamagedFileIsRefusedBeforeAnythingIsMade) {
    PostgresServer& server = PostgresServer::shared();
    const std::string name = server.create_database("damaged");
    server.sql(name, "CREATE ROLE damaged_owner; CREATE TABLE t (a int)");
    MemoryStreams streams;
    static_cast<void>(back_up(server, name, streams));
    write_files(streams, RolePasswords::kLeaveOut);
    server.sql("postgres", "DROP DATABASE " + name + "; DROP ROLE damaged_owner");
    const auto made = [&] {
        return server.sql(
            "postgres",
            "SELECT datname FROM pg_database WHERE datname = " + quote_literal(name) +
                " UNION ALL SELECT rolname FROM pg_roles WHERE rolname = 'damaged_owner'"
        );
    };
    for (const char* file : {"x_database_0.sql", "x_roles.sql"}) {
        const std::string content = *read_file(directory_.path() / file, kMiB);
        write(file, as_bytes(content + "-"));
        const RunResult refused = run_script(server);
        EXPECT_EQ(refused.status.code, 1);
        EXPECT_NE(refused.error.find(std::string{file} + " is damaged"), std::string::npos)
            << refused.error;
        EXPECT_EQ(made(), "") << file;
        std::filesystem::remove(directory_.path() / file);
        EXPECT_NE(run_script(server).error.find("is missing"), std::string::npos);
        write(file, as_bytes(content));
    }
    const RunResult whole = run_script(server);
    EXPECT_TRUE(whole.status.ok()) << whole.error;
    EXPECT_EQ(made(), name + "\ndamaged_owner\n");
}

TEST_F(RestoreFilesTest, RendersSchemaAndPasswords) {
    PostgresServer& server = PostgresServer::shared();
    server.sql("postgres", "CREATE ROLE hashed PASSWORD 'hunter2'");
    const std::string name = server.create_database("rendered");
    server.sql(name, rich_schema_sql());
    MemoryStreams streams;
    static_cast<void>(back_up(server, name, streams));
    const std::string schema = render_schema_sql(streams, tools_, {});
    for (const std::string part :
         {"CREATE TABLE app.orders",
          "CREATE INDEX orders_placed",
          "CREATE POLICY mine",
          "COMMENT ON SCHEMA app"}) {
        EXPECT_NE(schema.find(part), std::string::npos) << part;
    }
    EXPECT_EQ(schema.find("COPY app."), std::string::npos);
    EXPECT_NE(
        render_roles_sql(streams, RolePasswords::kInclude).find("SCRAM-SHA-256$"), std::string::npos
    );
    EXPECT_EQ(render_roles_sql(streams, RolePasswords::kLeaveOut).find("SCRAM"), std::string::npos);

    MemoryStreams without;
    without.begin({.name = "globals/roles.sql", .kind = StreamKind::kGlobals});
    without.end();
    EXPECT_EQ(
        error_of([&] { static_cast<void>(render_roles_sql(without, RolePasswords::kInclude)); }
        ).kind(),
        ErrorKind::kMissingDatabasePermissions
    );
}

}  // namespace
}  // namespace holdfast::postgres
