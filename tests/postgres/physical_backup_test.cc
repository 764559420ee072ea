#include "postgres/physical_backup.h"

#include "base/text.h"
#include "postgres/physical_fixture.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::PostgresServer;
using testing::PostgresServerOptions;

class PhysicalMajorTest : public PhysicalTest, public ::testing::WithParamInterface<int> {
protected:
    void SetUp() override {
        PhysicalTest::SetUp();
        const auto programs = server_programs(GetParam());
        if (!programs) {
            GTEST_SKIP() << "PostgreSQL " << GetParam()
                         << " is not on this machine: run tools/postgres-versions.sh";
        }
        options_ = options();
        options_.programs = *programs;
    }
    PostgresServerOptions options_;
};

TEST_P(PhysicalMajorTest, ARestoredServerHasWhatTheOldOneHad) {
    const OpenDirectory home;
    make_for_server(home / "old-space");
    PostgresServer server{options_};
    fill(server);
    server.sql(
        "postgres",
        fmt::format("CREATE TABLESPACE away LOCATION '{}'", (home / "old-space").string())
    );
    server.sql(
        "postgres",
        "CREATE TABLE elsewhere TABLESPACE away AS SELECT g AS id FROM generate_series(1, 5000) g; "
        "CREATE UNLOGGED TABLE loose AS SELECT 1 AS a"
    );
    MemoryStreams streams;
    const PhysicalBackup backup = back_up(server, streams);
    EXPECT_EQ(backup.warnings, std::vector<std::string>{});
    EXPECT_EQ(backup.cluster.major(), GetParam());
    EXPECT_EQ(backup.manifest.at("method"), "physical");
    ASSERT_EQ(backup.cluster.tablespaces.size(), 1U);
    EXPECT_GT(backup.cluster.tablespaces[0].bytes, 100U * kKiB);
    EXPECT_GT(backup.cluster.pages_checked, 500U);
    EXPECT_EQ(backup.cluster.page_failure_count, 0U);
    const std::string before = digest(server);
    // What comes later is not in it.
    server.sql("postgres", "DELETE FROM rows; DROP TABLE elsewhere; CHECKPOINT");
    server.stop();

    const RestoredCluster restored = restore_cluster(
        streams,
        {.target = home / "data",
         .tablespaces = {{.from = (home / "old-space").string(), .to = home / "new-space"}}}
    );
    EXPECT_EQ(restored.bytes, restored.bytes_written);
    EXPECT_EQ(restored.warnings, std::vector<std::string>{});
    EXPECT_THAT(
        restored.next_steps.back(),
        ::testing::HasSubstr(fmt::format("Start PostgreSQL {}", GetParam()))
    );
    {
        const PostgresServer again{home / "data", options_};
        EXPECT_EQ(digest(again), before);
        EXPECT_EQ(again.sql("postgres", "SELECT count(*) FROM elsewhere"), "5000\n");
        EXPECT_EQ(again.sql("postgres", "SELECT count(*) FROM loose"), "0\n");
        EXPECT_EQ(
            trim(again.sql(
                "postgres",
                "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'away'"
            )),
            (home / "new-space").string()
        );
    }
    EXPECT_FALSE(fs::is_empty(home / "old-space"));
}

INSTANTIATE_TEST_SUITE_P(
    Majors,
    PhysicalMajorTest,
    ::testing::Values(13, 14, 15, 16, 17, 18),
    [](const auto& major) { return fmt::format("Postgres{}", major.param); }
);

}  // namespace
}  // namespace holdfast::postgres
