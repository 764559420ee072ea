#include "base/text.h"
#include "postgres/physical_fixture.h"
#include "postgres/tcp_proxy.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using testing::PostgresServer;
using testing::PostgresServerOptions;

class PhysicalFaultsTest : public PhysicalTest {
protected:
    /// What a slow backup runs into when `event` happens after its first bytes.
    Error fails_after(
        const PostgresServer& server,
        const ConnectionParameters& parameters,
        const std::function<void()>& event
    ) {
        (void)server;
        MemoryStreams streams;
        bool happened = false;
        Error error = error_of([&] {
            (void)run_physical_backup(
                parameters,
                clock_,
                streams,
                {.rate_max_kib = 2048,
                 .progress =
                     [&](const BaseBackupProgress&) {
                         if (!std::exchange(happened, true)) {
                             event();
                         }
                     }}
            );
        });
        EXPECT_TRUE(happened);
        EXPECT_FALSE(streams.streams().contains("cluster.json"));
        return error;
    }
    void wait_until_gone(const PostgresServer& server) {
        const SteadyInstant deadline = clock_.steady_now() + std::chrono::seconds{30};
        std::string left;
        do {
            left = trim(server.sql(
                "postgres",
                "SELECT count(*) FROM pg_stat_replication UNION ALL "
                "SELECT count(*) FROM pg_replication_slots"
            ));
        } while (left != "0\n0" && clock_.steady_now() < deadline);
        EXPECT_EQ(left, "0\n0");
    }
};

TEST_F(PhysicalFaultsTest, WhatIsMissingIsSaidBeforeAnythingStarts) {
    PostgresServer server{options()};
    server.sql("postgres", "CREATE ROLE plain LOGIN");
    ConnectionParameters plain = superuser(server);
    plain.user = "plain";
    MemoryStreams streams;
    const auto refusal = [&](const ConnectionParameters& parameters) {
        return error_of([&] { (void)run_physical_backup(parameters, clock_, streams, {}); });
    };
    const Error right = refusal(plain);
    EXPECT_EQ(right.kind(), ErrorKind::kMissingReplicationRight) << right.log_line();
    EXPECT_EQ(right.text().recommended_actions.at(0), "ALTER ROLE \"plain\" REPLICATION;");

    server.set_hba("local all all trust\n");
    const Error hba = refusal(superuser(server));
    EXPECT_EQ(hba.kind(), ErrorKind::kServerAuthFailed) << hba.log_line();
    EXPECT_THAT(hba.text().recommended_actions.at(0), HasSubstr("host replication \"postgres\""));

    PostgresServerOptions few = options();
    few.settings = {{"max_wal_senders", "1"}};
    const PostgresServer full{few};
    const Error senders = refusal(superuser(full));
    EXPECT_EQ(senders.kind(), ErrorKind::kNoFreeWalSender) << senders.log_line();
    EXPECT_THAT(senders.text().recommended_actions.at(0), HasSubstr("max_wal_senders"));

    PostgresServerOptions slots = options();
    slots.settings = {{"max_replication_slots", "0"}};
    const PostgresServer taken{slots};
    const Error slot = refusal(superuser(taken));
    EXPECT_EQ(slot.kind(), ErrorKind::kNoFreeWalSender) << slot.log_line();
    EXPECT_THAT(slot.text().recommended_actions.at(0), HasSubstr("max_replication_slots"));

    PostgresServerOptions minimal = options();
    minimal.settings = {{"wal_level", "minimal"}, {"max_wal_senders", "0"}};
    const PostgresServer without{minimal};
    const Error level = refusal(superuser(without));
    EXPECT_EQ(level.kind(), ErrorKind::kBaseBackupFailed) << level.log_line();
    EXPECT_THAT(level.what(), HasSubstr("wal_level"));
    EXPECT_EQ(level.text().recommended_actions.at(0), "ALTER SYSTEM SET wal_level = 'replica';");
    EXPECT_TRUE(streams.streams().empty());
}

void write_into(const fs::path& path, std::uint32_t block, std::size_t offset, char byte) {
    std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
    file.seekp(static_cast<std::streamoff>(block * kPageBytes + offset));
    file.put(byte);
}

TEST_F(PhysicalFaultsTest, ADamagedPageIsAWarningThatNamesIt) {
    PostgresServer server{options()};
    fill(server);
    const std::string path{trim(server.sql("postgres", "SELECT pg_relation_filepath('rows')"))};
    server.stop();
    const fs::path file = server.data_directory() / path;
    write_into(file, 5, 4000, '!');
    // The same in a page that says it was written after the backup's start: half a write, as far as
    // anybody can tell, which the log replaces.
    constexpr std::size_t kHighByteOfTheLsn = 3;
    write_into(file, 7, 4000, '!');
    write_into(file, 7, kHighByteOfTheLsn, '\x7f');
    server.start();
    MemoryStreams streams;
    const PhysicalBackup backup = back_up(server, streams);
    ASSERT_EQ(backup.warnings.size(), 1U);
    EXPECT_THAT(backup.warnings[0], HasSubstr(fmt::format("Block 5 of \"{}\"", path)));
    EXPECT_EQ(backup.cluster.page_failure_count, 1U);
    EXPECT_EQ(read_cluster_description(streams).page_failures.at(0).path, path);
    // What the server has is what the point has.
    const auto& stored = streams.streams().at("data/" + path).bytes;
    EXPECT_EQ(stored.at(5 * kPageBytes + 4000), std::byte{'!'});
}

TEST_F(PhysicalFaultsTest, ATablespaceThatTheServerLeavesOutEndsIt) {
    // PostgreSQL 15 sends none that lies in its own data directory, and says nothing of it.
    PostgresServer server{options()};
    server.sql(
        "postgres", "SET allow_in_place_tablespaces = on; CREATE TABLESPACE inside LOCATION ''"
    );
    MemoryStreams streams;
    const Error error = error_of([&] { (void)back_up(server, streams); });
    EXPECT_EQ(error.kind(), ErrorKind::kBaseBackupFailed) << error.log_line();
    EXPECT_THAT(error.what(), HasSubstr("\"inside\""));
    EXPECT_FALSE(streams.streams().contains("cluster.json"));

    // Where nobody may ask the server which tablespaces it has, the point says so.
    server.sql("postgres", "CREATE ROLE backup LOGIN REPLICATION");
    server.set_hba("local all postgres trust\nlocal replication all trust\n");
    ConnectionParameters plain = superuser(server);
    plain.user = "backup";
    MemoryStreams unasked;
    const PhysicalBackup backup = run_physical_backup(plain, clock_, unasked, {});
    EXPECT_THAT(backup.notes, ::testing::Contains(HasSubstr("allow_in_place_tablespaces")));
}

TEST_F(PhysicalFaultsTest, RelationsGoWhileTheyAreRead) {
    const OpenDirectory home;
    PostgresServer server{options()};
    fill(server);
    server.sql(
        "postgres",
        "CREATE TABLE shrinks AS SELECT * FROM rows; CREATE TABLE goes AS SELECT * FROM rows; "
        "CREATE TABLE comes (a int)"
    );
    MemoryStreams streams;
    bool happened = false;
    const PhysicalBackup backup = back_up(
        server,
        streams,
        {.rate_max_kib = 16384,
         .progress =
             [&](const BaseBackupProgress&) {
                 if (!std::exchange(happened, true)) {
                     server.sql(
                         "postgres",
                         "TRUNCATE shrinks; DROP TABLE goes; DELETE FROM rows WHERE id % 2 = 0; "
                         "INSERT INTO comes SELECT generate_series(1, 1000);"
                     );
                     server.sql("postgres", "VACUUM rows");
                     server.sql("postgres", "CHECKPOINT");
                 }
             }}
    );
    EXPECT_TRUE(happened);
    EXPECT_EQ(backup.warnings, std::vector<std::string>{});
    const std::string expected = digest(server);
    (void)restore(streams, {.target = home / "data"});
    const PostgresServer again{home / "data", options()};
    EXPECT_EQ(digest(again), expected);
    EXPECT_EQ(
        again.sql(
            "postgres", "SELECT (SELECT count(*) FROM shrinks), (SELECT count(*) FROM comes)"
        ),
        "0|1000\n"
    );
    EXPECT_EQ(again.sql("postgres", "SELECT to_regclass('goes') IS NULL"), "t\n");
}

TEST_F(PhysicalFaultsTest, AServerStoppedInTheMiddleEndsIt) {
    PostgresServer server{options()};
    fill(server);
    const Error error = fails_after(server, superuser(server), [&] { server.kill(); });
    EXPECT_EQ(error.kind(), ErrorKind::kServerConnectionClosed) << error.log_line();
}

TEST_F(PhysicalFaultsTest, ACutNetworkEndsIt) {
    PostgresServerOptions listening = options();
    listening.tcp = PostgresServerOptions::Tcp::kLoopback;
    PostgresServer server{listening};
    fill(server);
    TcpProxy proxy{server.port()};
    ConnectionParameters through = superuser(server);
    through.host = "127.0.0.1";
    through.port = proxy.port();
    const Error error = fails_after(server, through, [&] { proxy.cut(); });
    EXPECT_EQ(error.kind(), ErrorKind::kServerConnectionClosed) << error.log_line();
    wait_until_gone(server);
}

TEST_F(PhysicalFaultsTest, AStopEndsTheServersSideToo) {
    PostgresServer server{options()};
    fill(server);
    std::stop_source stop;
    MemoryStreams streams;
    const Error error = error_of([&] {
        (void)back_up(
            server,
            streams,
            {.rate_max_kib = 32,
             .stop = stop.get_token(),
             .progress = [&](const BaseBackupProgress&) { stop.request_stop(); }}
        );
    });
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled) << error.log_line();
    wait_until_gone(server);
}

TEST_F(PhysicalFaultsTest, AStandbyIsBackedUpAndMayNotBePromotedMeanwhile) {
    const OpenDirectory home;
    PostgresServerOptions durable = options();
    durable.settings["full_page_writes"] = "on";
    PostgresServer primary{durable};
    fill(primary);
    MemoryStreams of_primary;
    (void)back_up(primary, of_primary);
    (void)restore(of_primary, {.target = home / "standby"});
    std::ofstream{home / "standby" / "standby.signal"};
    std::ofstream{home / "standby" / "postgresql.auto.conf", std::ios::app} << fmt::format(
        "primary_conninfo = 'host={} port={} user=postgres'\nhot_standby = on\n",
        primary.socket_directory(),
        primary.port()
    );
    PostgresServer standby{home / "standby", durable};
    primary.sql("postgres", "CREATE TABLE later AS SELECT 1 AS a");
    const std::string target{trim(primary.sql("postgres", "SELECT pg_current_wal_lsn()"))};
    const SteadyInstant deadline = clock_.steady_now() + std::chrono::seconds{30};
    while (standby.sql(
               "postgres", fmt::format("SELECT pg_last_wal_replay_lsn() >= '{}'", target)
           ) != "t\n") {
        ASSERT_LT(clock_.steady_now(), deadline);
    }
    MemoryStreams of_standby;
    const PhysicalBackup backup = back_up(standby, of_standby);
    EXPECT_TRUE(backup.cluster.from_standby);
    const std::string before = digest(standby);
    (void)restore(of_standby, {.target = home / "restored"});
    EXPECT_FALSE(fs::exists(home / "restored" / "standby.signal"));
    {
        const PostgresServer restored{home / "restored", durable};
        EXPECT_EQ(digest(restored), before);
        EXPECT_EQ(restored.sql("postgres", "SELECT a FROM later"), "1\n");
        EXPECT_EQ(restored.sql("postgres", "SELECT pg_is_in_recovery()"), "f\n");
    }
    const Error promoted = fails_after(standby, superuser(standby), [&] {
        standby.sql("postgres", "SELECT pg_promote()");
    });
    EXPECT_EQ(promoted.kind(), ErrorKind::kBaseBackupFailed) << promoted.log_line();
    EXPECT_THAT(promoted.what(), HasSubstr("promoted"));
}

}  // namespace
}  // namespace holdfast::postgres
