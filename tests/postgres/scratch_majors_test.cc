#include "postgres/cluster_check.h"
#include "postgres/cluster_restore.h"
#include "postgres/physical_fixture.h"
#include "postgres/scratch_server.h"
#include "postgres/test_restore.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::PostgresServer;
using testing::PostgresServerOptions;

/// The server programs of other majors, as far as the suite has them. They come without
/// pg_controldata, pg_checksums and pg_amcheck: Debian's of 15 read the same pg_control (13 to 16).
class ScratchMajorTest : public PhysicalTest, public ::testing::WithParamInterface<int> {
protected:
    void SetUp() override {
        PhysicalTest::SetUp();
        const auto found = server_programs(GetParam());
        if (!found) {
            GTEST_SKIP() << "PostgreSQL " << GetParam()
                         << " is not on this machine: run tools/postgres-versions.sh";
        }
        options_ = options();
        options_.programs = *found;
        assemble(*found);
        try {
            const ScratchDirectory directory{scratch_.path()};
            const Sandbox sandbox{directory.cluster(), {}};
        } catch (const Error& error) {
            GTEST_SKIP() << error.what();
        }
    }

    void assemble(const fs::path& found) const {
        const fs::path debian = PostgresServerOptions{}.programs;
        const fs::path bin = home_ / "bin";
        fs::create_directory(bin);
        fs::copy_file(found / "postgres", bin / "postgres");
        for (const char* name : {"lib", "share"}) {
            fs::copy(
                found.parent_path() / name,
                home_ / name,
                fs::copy_options::recursive | fs::copy_options::copy_symlinks
            );
        }
        for (const char* name : {"pg_checksums", "pg_amcheck", "pg_controldata"}) {
            fs::copy_file(debian / name, bin / name);
        }
        if (GetParam() >= kOtherControlFileSince) {
            std::ofstream{bin / "pg_controldata"}
                << "#!/bin/sh\necho 'Database system identifier: 1'\necho 'Database cluster state: "
                   "in production'\necho 'max_prepared_xacts setting: 0'\necho 'max_locks_per_xact "
                   "setting: 64'\necho 'Data page checksum version: 1'\n";
        }
    }

    static constexpr int kOtherControlFileSince = 17;
    OpenDirectory home_;
    TemporaryDirectory scratch_{"hf-scratch"};
    PostgresServerOptions options_;
};

TEST_P(ScratchMajorTest, ATestRestoreProvesIt) {
    const PostgresServer server{options_};
    fill(server, 3000);
    MemoryStreams streams;
    static_cast<void>(back_up(server, streams));
    const ServerPrograms programs{{home_ / "bin"}};
    TestRestoreOptions how;
    how.heap_all_indexed = HeapAllIndexed::kYes;
    how.page_checksums =
        GetParam() < kOtherControlFileSince ? PageChecksums::kYes : PageChecksums::kNo;
    const TestRestore proof =
        run_test_restore(streams, {.directory = scratch_.path()}, programs, clock_, how);
    EXPECT_TRUE(proof.passed()) << to_json(proof).dump(2);
    EXPECT_THAT(proof.warnings, ::testing::IsEmpty());
    EXPECT_EQ(proof.check.rows_counted, 3000U);
    EXPECT_EQ(proof.check.databases_checked, 2U);  // postgres, template1
    EXPECT_FALSE(proof.recovery.consistent_at.empty());
    EXPECT_TRUE(proof.server_version.starts_with(fmt::format("{}", GetParam())));
}

/// 17 has login triggers: code that runs before a session's first statement.
class LoginTriggerTest : public ScratchMajorTest {};

TEST_P(LoginTriggerTest, DoesNotFire) {
    const PostgresServer server{options_};
    server.sql(
        "postgres",
        "CREATE FUNCTION on_login() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF "
        "current_setting('wal_level') = 'minimal' THEN RAISE EXCEPTION 'fired'; END IF; END $$; "
        "CREATE EVENT TRIGGER login ON login EXECUTE FUNCTION on_login(); ALTER EVENT TRIGGER login "
        "ENABLE ALWAYS; ALTER DATABASE postgres SET event_triggers TO on"
    );
    MemoryStreams streams;
    static_cast<void>(back_up(server, streams));
    ScratchDirectory directory{scratch_.path()};
    RestoreClusterOptions where;
    where.target = directory.data();
    static_cast<void>(restore(streams, where));
    const ServerPrograms programs{{home_ / "bin"}};
    const auto scratch = ScratchServer::start(directory, programs, clock_, {});
    Connection session = Connection::open(scratch->connection("postgres"));
    EXPECT_EQ(session.query("SHOW event_triggers").text(0, "event_triggers"), "off");
}

INSTANTIATE_TEST_SUITE_P(
    Majors,
    ScratchMajorTest,
    ::testing::Values(13, 14, 16, 17, 18),
    ::testing::PrintToStringParamName()
);
INSTANTIATE_TEST_SUITE_P(
    Majors, LoginTriggerTest, ::testing::Values(17, 18), ::testing::PrintToStringParamName()
);

}  // namespace
}  // namespace holdfast::postgres
