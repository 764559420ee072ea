// Backup and restore through the engine, with a real PostgreSQL and a vault on disk; and what must
// hold when the service is killed, the server dies or the disk is full.

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "catalog/secret_store.h"
#include "jobs/containers.h"
#include "jobs/credentials.h"
#include "jobs/data_plane.h"
#include "jobs/engine.h"
#include "jobs/engine_testing.h"
#include "jobs/protection_service.h"
#include "jobs/repositories.h"
#include "postgres/client_tools.h"
#include "postgres/server_programs.h"
#include "postgres/connection.h"
#include "postgres/server_fixture.h"
#include "postgres/testing/postgres_server.h"

#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

namespace holdfast::jobs {
namespace {

using postgres::testing::PostgresServer;
using testing::Deadline;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kGroup;
using testing::kPolicy;
using testing::kServer;
using testing::kSubscription;
using testing::kVault;
using ::testing::SizeIs;

/// Everything between the catalog and PostgreSQL, on one directory.
struct Service {
    explicit Service(const std::filesystem::path& home, std::string vaults = "vaults")
        : catalog{catalog::open_sqlite_catalog(home / "catalog.db", clock)},
          secrets{Secret{"0123456789abcdef0123456789abcdef"}, clock},
          repositories{
              RepositorySettings{.root = home / vaults},
              vault::read_or_create_key_file((home / "kek.key").string()),
              clock
          },
          credentials{*catalog, secrets},
          containers{ContainerSettings{
              .containers = {{.name = "files", .directory = home / "restore"}},
              .file_roots = {},
              .origins = {}
          }},
          data_plane{postgres_data_plane({tools, servers}, clock)},
          protection{*catalog, repositories, credentials, *data_plane, clock},
          engine{
              EngineParts{*catalog, repositories, credentials, containers, *data_plane, clock}, {}
          } {
        std::filesystem::create_directories(home / "restore");
    }

    void seed(const PostgresServer& server) {
        catalog::VaultRecord vault;
        vault.id = kVault;
        vault.subscription_id = kSubscription;
        vault.resource_group = "rg";
        vault.name = "vault";
        vault.location = "local";
        protection.create_vault(vault);
        catalog->write([&](catalog::Transaction& transaction) {
            catalog::ServerRecord record;
            record.id = kServer;
            record.subscription_id = kSubscription;
            record.resource_group = "rg";
            record.name = "pg";
            record.host = server.socket_directory();
            record.port = server.port();
            record.login = PostgresServer::superuser();
            transaction.put(record);
            catalog::PolicyRecord policy;
            policy.id = kPolicy;
            policy.vault_id = kVault;
            policy.name = "policy";
            policy.properties = testing::policy_json({"R/2026-01-01T22:00:00+00:00/P1W"});
            transaction.put(policy);
        });
    }

    /// An instance named `name` for one database, or for the whole server.
    std::string protect(const std::string& name, const std::optional<std::string>& database) {
        catalog::InstanceRecord instance;
        instance.id = kVault + "/backupInstances/" + name;
        instance.vault_id = kVault;
        instance.name = name;
        instance.friendly_name = name;
        instance.datasource_id = database ? kServer + "/databases/" + *database : kServer;
        instance.datasource_type = "Microsoft.DBforPostgreSQL/flexibleServers";
        instance.policy_id = kPolicy;
        protection.begin_protection(instance);
        protection.finish_protection(instance.id, ProtectionService::Validation::kDeep, {});
        return instance.id;
    }

    std::string submit_backup(const std::string& instance_id) {
        return engine.submit_backup(AdhocBackupRequest{
            .instance_id = instance_id,
            .rule_name = "BackupDaily",
            .tag_override = {},
            .requester = {}
        });
    }
    catalog::JobRecord job(const std::string& id) {
        return catalog->get<catalog::JobRecord>(id).value();
    }
    catalog::JobRecord wait(const std::string& id) {
        const Deadline deadline{std::chrono::seconds{180}};
        EXPECT_TRUE(engine.wait_idle(deadline.token())) << "jobs did not end";
        return job(id);
    }
    catalog::PointRecord back_up(const std::string& instance_id) {
        const catalog::JobRecord done = wait(submit_backup(instance_id));
        EXPECT_EQ(done.status, "Completed") << done.errors.dump(2) << done.warnings.dump(2);
        const auto points = this->points(instance_id);
        return points.empty() ? catalog::PointRecord{} : points.back();
    }
    std::vector<catalog::PointRecord> points(const std::string& instance_id) {
        return catalog->list<catalog::PointRecord>(catalog::Query{.parent = instance_id});
    }
    catalog::JobRecord restore(
        const std::string& instance_id,
        const std::string& point_id,
        std::variant<FilesTarget, ServerTarget, ItemsTarget> target
    ) {
        return wait(engine.submit_restore(RestoreRequest{
            .instance_id = instance_id,
            .point_id = point_id,
            .target = std::move(target),
            .requester = {}
        }));
    }

    SystemClock clock;
    std::unique_ptr<catalog::Catalog> catalog;
    catalog::SecretStore secrets;
    RepositoryPool repositories;
    CredentialResolver credentials;
    RestoreContainers containers;
    postgres::ClientTools tools;
    postgres::ServerPrograms servers;
    std::unique_ptr<DataPlane> data_plane;
    ProtectionService protection;
    Engine engine;
};

ServerTarget into(const std::string& database) {
    return ServerTarget{.datasource_id = kServer + "/databases/" + database};
}

class JobsE2eTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (!PostgresServer::available()) {
            GTEST_SKIP() << "PostgreSQL 15 is not installed";
        }
    }

    PostgresServer& server() { return PostgresServer::shared(); }

    std::string rich_database() {
        const std::string name = server().create_database("rich");
        server().sql(name, postgres::rich_schema_sql());
        return name;
    }
    void expect_equal(const std::string& source, const std::string& restored) {
        EXPECT_EQ(
            postgres::first_difference(
                postgres::fingerprint(server(), source), postgres::fingerprint(server(), restored)
            ),
            ""
        );
    }

    /// Keeps a table locked, so that pg_dump waits in the middle of a backup.
    class TableLock {
    public:
        TableLock(
            const PostgresServer& server, const std::string& database, const std::string& table
        )
            : connection_{postgres::Connection::open(parameters(server, database))} {
            connection_.execute("BEGIN; LOCK TABLE " + table + " IN ACCESS EXCLUSIVE MODE");
        }
        void release() { connection_.execute("ROLLBACK"); }
        /// Waits until somebody waits for the lock.
        void wait_for_waiter(SystemClock& clock) {
            const Deadline deadline{std::chrono::seconds{60}};
            while (!deadline.token().stop_requested()) {
                const auto rows = connection_.query(
                    "SELECT count(*) AS n FROM pg_catalog.pg_locks WHERE NOT granted AND database "
                    "= "
                    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
                );
                if (rows.integer(0, "n") > 0) {
                    return;
                }
                clock.wait_for(std::chrono::milliseconds{20}, deadline.token());
            }
            FAIL() << "pg_dump never waited for the lock";
        }

    private:
        static postgres::ConnectionParameters parameters(
            const PostgresServer& server, const std::string& database
        ) {
            postgres::ConnectionParameters parameters;
            parameters.host = server.socket_directory();
            parameters.port = server.port();
            parameters.user = PostgresServer::superuser();
            parameters.database = database;
            return parameters;
        }
        postgres::Connection connection_;
    };

    TemporaryDirectory home_{"holdfast-e2e"};
};

TEST_F(JobsE2eTest, ADatabaseComesBackEqualAndASecondBackupAddsLittle) {
    Service service{home_.path()};
    service.seed(server());
    service.engine.start();
    const std::string database = rich_database();
    server().sql(
        database,
        "CREATE TABLE bulk AS SELECT i AS id, md5(i::text) || md5((i * 7)::text) AS text "
        "FROM generate_series(1, 40000) i"
    );
    const std::string instance = service.protect("one", database);
    const catalog::PointRecord first = service.back_up(instance);
    ASSERT_FALSE(first.id.empty());
    EXPECT_GT(first.logical_bytes, 2'000'000);

    const std::string copy = database + "_copy";
    const catalog::JobRecord restored = service.restore(instance, first.id, into(copy));
    ASSERT_EQ(restored.status, "Completed") << restored.errors.dump(2) << restored.warnings.dump(2);
    expect_equal(database, copy);

    const catalog::PointRecord second = service.back_up(instance);
    EXPECT_LT(second.stored_bytes * 20, first.stored_bytes)
        << "unchanged: " << second.stored_bytes << " of " << first.stored_bytes;

    // The target exists now.
    const catalog::JobRecord again = service.restore(instance, first.id, into(copy));
    EXPECT_EQ(again.status, "Failed");
    EXPECT_EQ(again.errors.at(0).at("code"), "UserErrorDatabaseNameAlreadyInUse");
    expect_equal(database, copy);
}

TEST_F(JobsE2eTest, AServersFilesRestoreWithTheirScript) {
    PostgresServer source;
    Service service{home_.path()};
    service.seed(source);
    service.engine.start();
    source.sql("postgres", "CREATE ROLE \"app owner\" LOGIN PASSWORD 'secret'");
    source.sql("postgres", "CREATE DATABASE \"my db\" OWNER \"app owner\"");
    source.sql("my db", postgres::rich_schema_sql());
    source.sql(
        "postgres",
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    source.sql("latin", "CREATE TABLE t(x text); INSERT INTO t VALUES (chr(228))");
    const std::string instance = service.protect("server", std::nullopt);
    const catalog::PointRecord point = service.back_up(instance);
    ASSERT_FALSE(point.id.empty());
    const std::string before = postgres::fingerprint(source, "my db");

    const catalog::JobRecord job = service.restore(
        instance, point.id, FilesTarget{.url = "/restore/files", .file_prefix = "night 1"}
    );
    ASSERT_EQ(job.status, "Completed") << job.errors.dump(2);
    const std::filesystem::path out = home_.path() / "restore";
    for (const char* name :
         {"night 1_database_my%20db.sql",
          "night 1_database_latin.sql",
          "night 1_roles.sql",
          "night 1_schema.sql",
          "night 1_tablespace.sql",
          "night 1_manifest.json",
          "night 1_restore.sh"}) {
        ASSERT_TRUE(std::filesystem::exists(out / name)) << name;
        EXPECT_EQ(
            std::filesystem::status(out / name).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write
        );
    }
    EXPECT_THAT(
        read_file(out / "night 1_roles.sql", 1 << 20).value(), ::testing::Not(HasSubstr("SCRAM"))
    );

    const std::string script = read_file(out / "night 1_restore.sh", 1 << 20).value();
    const std::string major =
        source.sql("postgres", "SELECT current_setting('server_version_num')::int / 10000");
    EXPECT_THAT(
        script, HasSubstr("pg_restore must be of version " + std::string{trim(major)} + " or newer")
    );
    const Json manifest =
        Json::parse(read_file(out / "night 1_manifest.json", 1 << 20).value())["files"];
    for (const Json& file : manifest) {
        const bool is_read = file["name"] != "night 1_restore.sh" &&
                             file["name"] != "night 1_schema.sql";  // The one for reading.
        EXPECT_EQ(script.find(file["sha256"].get<std::string>()) != std::string::npos, is_read)
            << file;
    }

    source.sql("postgres", "DROP DATABASE \"my db\"");
    source.sql("postgres", "DROP DATABASE latin");
    source.sql("postgres", "DROP ROLE \"app owner\"");
    auto environment = source.environment();
    environment["PATH"] = source.programs().string() + ":/usr/bin:/bin";
    const RunResult run = run_process(
        ProcessSpec{
            .program = "/bin/sh",
            .arguments = {(out / "night 1_restore.sh").string()},
            .environment = environment,
            .output = ChildStream::kPipe,
        },
        1 << 20,
        {}
    );
    ASSERT_TRUE(run.status.ok()) << run.error << run.output;
    EXPECT_EQ(postgres::first_difference(before, postgres::fingerprint(source, "my db")), "");
    EXPECT_EQ(
        source.sql("latin", "SELECT ascii(x), current_setting('server_encoding') FROM t"),
        "228|LATIN1\n"
    );
}

TEST_F(JobsE2eTest, ATableComesBackUnderAnotherName) {
    Service service{home_.path()};
    service.seed(server());
    service.engine.start();
    const std::string database = server().create_database("items");
    server().sql(
        database,
        "CREATE SCHEMA sales; CREATE TABLE sales.orders(id int PRIMARY KEY, note text);"
        "INSERT INTO sales.orders SELECT i, 'n' || i FROM generate_series(1, 100) i"
    );
    const std::string instance = service.protect("items", database);
    const catalog::PointRecord point = service.back_up(instance);
    server().sql(database, "DELETE FROM sales.orders WHERE id > 10");
    const catalog::JobRecord job = service.restore(
        instance,
        point.id,
        ItemsTarget{
            .datasource_id = kServer + "/databases/" + database,
            .items = {ItemPath{
                .database = database,
                .schema = "sales",
                .table = "orders",
                .target_table = "orders_before"
            }},
        }
    );
    ASSERT_TRUE(job.status.starts_with("Completed")) << job.errors.dump(2);
    EXPECT_EQ(server().sql(database, "SELECT count(*) FROM sales.orders_before"), "100\n");
    EXPECT_EQ(server().sql(database, "SELECT count(*) FROM sales.orders"), "10\n");
}

TEST_F(JobsE2eTest, CancelInTheMiddleEndsTheDumpAndLeavesNothing) {
    Service service{home_.path()};
    service.seed(server());
    service.engine.start();
    const std::string database = server().create_database("cancel");
    server().sql(database, "CREATE TABLE t(x int)");
    const std::string instance = service.protect("cancel", database);
    TableLock lock{server(), database, "public.t"};
    const std::string id = service.submit_backup(instance);
    lock.wait_for_waiter(service.clock);
    EXPECT_EQ(service.engine.cancel(id), Engine::CancelOutcome::kRequested);
    EXPECT_EQ(service.wait(id).status, "Cancelled");
    lock.release();
    EXPECT_THAT(service.points(instance), IsEmpty());
    EXPECT_EQ(
        server().sql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '" + database +
                "' AND application_name = 'pg_dump'"
        ),
        "0\n"
    );
    EXPECT_FALSE(service.back_up(instance).id.empty());
}

TEST_F(JobsE2eTest, ALostServerEndsTheJobWithPostgresqlsMessage) {
    PostgresServer source;
    Service service{home_.path()};
    service.seed(source);
    service.engine.start();
    const std::string database = source.create_database("lost");
    source.sql(database, "CREATE TABLE t(x int)");
    const std::string instance = service.protect("lost", database);
    std::string id;
    {
        TableLock lock{source, database, "public.t"};
        id = service.submit_backup(instance);
        lock.wait_for_waiter(service.clock);
        source.kill();
    }
    const catalog::JobRecord job = service.wait(id);
    EXPECT_EQ(job.status, "Failed");
    EXPECT_EQ(job.errors.at(0).at("code"), "UserErrorServerConnectionClosed") << job.errors.dump(2);
    EXPECT_THAT(service.points(instance), IsEmpty());
    source.start();
    EXPECT_FALSE(service.back_up(instance).id.empty());
}

TEST_F(JobsE2eTest, AWrongPasswordIsSaidSoAndNeverShown) {
    PostgresServer source{{.tcp = postgres::testing::PostgresServerOptions::Tcp::kLoopback}};
    Service service{home_.path()};
    service.seed(source);
    source.sql("postgres", "CREATE ROLE backup SUPERUSER LOGIN PASSWORD 'right'");
    service.catalog->write([&](catalog::Transaction& transaction) {
        service.secrets.set(transaction, "default", "pw", Secret{"wrong-hunter2"});
        auto record = transaction.get<catalog::ServerRecord>(kServer).value();
        record.host = "127.0.0.1";
        record.login = "backup";
        record.secret_uri = "secret:pw";
        transaction.put(record);
    });
    try {
        service.protect("pw", "postgres");
        FAIL() << "accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kServerAuthFailed);
        EXPECT_THAT(error.log_line(), ::testing::Not(HasSubstr("hunter2")));
    }
    const auto row = service.catalog->get<catalog::InstanceRecord>(kVault + "/backupInstances/pw");
    EXPECT_EQ(row.value().state, "ConfiguringProtectionFailed");
    service.catalog->write([&](catalog::Transaction& transaction) {
        service.secrets.set(transaction, "default", "pw", Secret{"right"});
    });
    service.engine.start();
    const std::string instance = service.protect("pw", "postgres");
    EXPECT_FALSE(service.back_up(instance).id.empty());
}

TEST_F(JobsE2eTest, KilledInTheMiddleTheJobIsFailedAfterTheRestart) {
    const std::string database = server().create_database("killed");
    server().sql(
        database, "CREATE TABLE a AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i"
    );
    server().sql(database, "CREATE TABLE z(x int)");
    std::string instance;
    {
        Service service{home_.path()};
        service.seed(server());
        instance = service.protect("killed", database);
    }
    {
        TableLock lock{server(), database, "public.z"};
        Process child = Process::start(ProcessSpec{
            .program = "/proc/self/exe",
            .arguments = {"--run-backup", home_.path().string(), instance},
            .environment = {},
            .output = ChildStream::kPipe,
        });
        SystemClock clock;
        lock.wait_for_waiter(clock);
        ::kill(child.pid(), SIGKILL);
        const ExitStatus status = child.wait({});
        EXPECT_EQ(status.signal, SIGKILL);
    }
    Service service{home_.path()};
    const auto rows = service.catalog->list<catalog::JobRecord>();
    ASSERT_THAT(rows, SizeIs(1));
    EXPECT_EQ(rows[0].status, "InProgress");
    service.engine.start();
    const catalog::JobRecord job = service.job(rows[0].id);
    EXPECT_EQ(job.status, "Failed");
    EXPECT_EQ(job.errors.at(0).at("code"), "UserErrorJobInterruptedByRestart");
    EXPECT_THAT(job.errors.at(0).at("message").get<std::string>(), HasSubstr("interrupted"));
    EXPECT_THAT(service.points(instance), IsEmpty());
    const auto vault = service.catalog->get<catalog::VaultRecord>(kVault).value();
    EXPECT_TRUE(service.repositories.open(vault)->check({.read_data_percent = 100}, {}).sound());
    EXPECT_FALSE(service.back_up(instance).id.empty());
}

TEST_F(JobsE2eTest, AFullDiskFailsTheBackupAndLosesNothing) {
    const std::filesystem::path small = home_.path() / "small";
    std::filesystem::create_directories(small);
    if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=6m") != 0) {
        GTEST_SKIP() << "mounting is not allowed here";
    }
    const std::shared_ptr<void> unmount{nullptr, [&](void*) {
                                            ::umount2(small.c_str(), MNT_DETACH);
                                        }};
    Service service{home_.path(), "small"};
    service.seed(server());
    service.engine.start();
    const std::string database = server().create_database("full");
    server().sql(database, "CREATE TABLE t(x int)");
    const std::string instance = service.protect("full", database);
    const catalog::PointRecord good = service.back_up(instance);
    server().sql(
        database,
        "CREATE TABLE noise AS SELECT string_agg(md5((random() + i)::text), '') AS x "
        "FROM generate_series(1, 600000) i GROUP BY i % 100"
    );
    const catalog::JobRecord job = service.wait(service.submit_backup(instance));
    EXPECT_EQ(job.status, "Failed");
    EXPECT_EQ(job.errors.at(0).at("code"), "UserErrorVaultStorageFull") << job.errors.dump(2);
    ASSERT_THAT(service.points(instance), SizeIs(1));
    const catalog::JobRecord restored =
        service.restore(instance, good.id, into(database + "_copy"));
    EXPECT_EQ(restored.status, "Completed") << restored.errors.dump(2);
}

}  // namespace

/// The child of the kill test: a service that runs one backup and waits for it.
int run_backup_child(const std::filesystem::path& home, const std::string& instance_id) {
    Service service{home};
    service.engine.start();
    const std::string id = service.submit_backup(instance_id);
    const catalog::JobRecord job = service.wait(id);
    return job.status == "Completed" ? 0 : 1;
}

}  // namespace holdfast::jobs

int main(int argc, char** argv) {
    if (argc == 4 && std::string{argv[1]} == "--run-backup") {
        return holdfast::jobs::run_backup_child(argv[2], argv[3]);
    }
    ::testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
