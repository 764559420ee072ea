#include "postgres/physical_fixture.h"

#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace holdfast::postgres {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::PostgresServer;
using testing::PostgresServerOptions;

class PhysicalOptionsTest : public PhysicalTest {};

TEST_F(PhysicalOptionsTest, TheWholeOfItGoesOverTls) {
    if (!std::filesystem::exists("/usr/bin/openssl")) {
        GTEST_SKIP() << "openssl is not installed";
    }
    const OpenDirectory home;
    PostgresServerOptions listening = options();
    listening.tcp = PostgresServerOptions::Tcp::kLoopback;
    listening.hba =
        "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        "hostssl replication all 127.0.0.1/32 scram-sha-256\n";
    listening.settings = {{"log_connections", "on"}};
    PostgresServer server{listening};
    fill(server);
    server.sql("postgres", "CREATE ROLE backup LOGIN REPLICATION SUPERUSER PASSWORD 'secret'");
    const std::string expected = digest(server);
    const std::string certificate = turn_on_tls(server, "IP:127.0.0.1");

    ConnectionParameters parameters;
    parameters.host = "127.0.0.1";
    parameters.port = server.port();
    parameters.user = "backup";
    parameters.password = Secret{std::string_view{"secret"}};
    MemoryStreams streams;
    const auto succeeds = [&] {
        streams = {};
        const PhysicalBackup backup = run_physical_backup(parameters, clock_, streams, {});
        EXPECT_EQ(backup.warnings, std::vector<std::string>{});
        EXPECT_GT(backup.cluster.pages_checked, 500U);
    };
    const auto refusal = [&] {
        MemoryStreams none;
        const Error error =
            error_of([&] { (void)run_physical_backup(parameters, clock_, none, {}); });
        EXPECT_TRUE(none.streams().empty());
        return error;
    };
    parameters.ssl_mode = SslMode::kRequire;
    succeeds();
    EXPECT_THAT(
        server.log(), HasSubstr("replication connection authorized: user=backup application_name=")
    );
    EXPECT_THAT(server.log(), HasSubstr("SSL enabled"));

    parameters.ssl_mode = SslMode::kVerifyFull;
    EXPECT_EQ(refusal().kind(), ErrorKind::kServerTls) << "an unknown authority";
    parameters.ssl_root_cert = certificate;
    succeeds();
    (void)restore(streams, {.target = home / "data"});
    EXPECT_EQ(digest(PostgresServer{home / "data", options()}), expected);

    parameters.host = "localhost";
    EXPECT_EQ(refusal().kind(), ErrorKind::kServerTls) << "not the certificate's name";
    parameters.host = "127.0.0.1";
    parameters.ssl_mode = SslMode::kDisable;
    EXPECT_EQ(refusal().kind(), ErrorKind::kServerAuthFailed);
}

TEST_F(PhysicalOptionsTest, CheckpointAndRateAreTheServersToKeep) {
    PostgresServerOptions talkative = options();
    talkative.settings = {
        {"log_checkpoints", "on"},
        {"log_replication_commands", "on"},
        // Behind its plan from the first page on, a spread checkpoint does not pause.
        {"checkpoint_completion_target", "0"},
    };
    {
        const PostgresServer server{talkative};
        fill(server, 1000);
        MemoryStreams streams;
        (void)back_up(server, streams, {.checkpoint = CheckpointMode::kSpread});
        EXPECT_THAT(server.log(), HasSubstr("checkpoint starting: force wait"));
        EXPECT_THAT(server.log(), Not(HasSubstr("MAX_RATE")));
    }
    const PostgresServer server{talkative};
    MemoryStreams streams;
    (void)back_up(server, streams, {.rate_max_kib = 1048576});
    EXPECT_THAT(server.log(), HasSubstr("MAX_RATE 1048576"));
    EXPECT_THAT(server.log(), HasSubstr("checkpoint starting: immediate force wait"));

    // One kibibyte a second more than the server knows.
    const Error error =
        error_of([&] { (void)back_up(server, streams, {.rate_max_kib = 1048577}); });
    EXPECT_EQ(error.kind(), ErrorKind::kBaseBackupFailed) << error.log_line();
}

// Unpacked on arrival: everything behind it is as without, tablespaces and manifest too.
TEST_F(PhysicalOptionsTest, WhatTheServerCompressesArrivesWhole) {
    const OpenDirectory home;
    make_for_server(home / "space");
    PostgresServerOptions talkative = options();
    talkative.settings = {{"log_replication_commands", "on"}};
    PostgresServer server{talkative};
    fill(server);
    server.sql(
        "postgres", fmt::format("CREATE TABLESPACE away LOCATION '{}'", (home / "space").string())
    );
    server.sql(
        "postgres",
        "CREATE TABLE elsewhere TABLESPACE away AS SELECT g AS id FROM generate_series(1, 5000) g"
    );
    const std::string expected = digest(server);
    MemoryStreams streams;
    const PhysicalBackup backup =
        back_up(server, streams, {.compression = ServerCompression::kZstd});
    EXPECT_THAT(server.log(), HasSubstr("COMPRESSION 'zstd'"));
    EXPECT_EQ(backup.warnings, std::vector<std::string>{});
    EXPECT_EQ(backup.notes, std::vector<std::string>{});
    EXPECT_GT(backup.cluster.pages_checked, 500U);
    server.stop();
    (void)restore(
        streams,
        {.target = home / "data",
         .tablespaces = {{.from = (home / "space").string(), .to = home / "new-space"}}}
    );
    const PostgresServer again{home / "data", options()};
    EXPECT_EQ(digest(again), expected);
    EXPECT_EQ(again.sql("postgres", "SELECT count(*) FROM elsewhere"), "5000\n");
}

}  // namespace
}  // namespace holdfast::postgres
