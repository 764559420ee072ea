#include "postgres/test_restore.h"

#include "base/text.h"
#include "postgres/physical_backup.h"
#include "postgres/scratch_fixture.h"

#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::PostgresServer;
using ::testing::HasSubstr;

/// From a recovery point's streams to the proof, as the jobs do it.
class TestRestoreTest : public ScratchTest {
protected:
    void back_up_cluster(const PostgresServer& source, MemoryStreams& streams) {
        ConnectionParameters parameters = superuser(source);
        parameters.session = SessionKind::kReplication;
        static_cast<void>(run_physical_backup(parameters, clock_, streams, {}));
    }
    [[nodiscard]] ScratchSettings settings() const { return {.directory = root_.path()}; }
};

TEST_F(TestRestoreTest, APhysicalPointIsProvenAndGivesItsTables) {
    PostgresServer source{source_options()};
    const fs::path elsewhere = source.data_directory().parent_path() / "socket" / "space";
    source.sql(
        "postgres",
        fmt::format("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; mkdir {}'", elsewhere.string())
    );
    source.sql(
        "postgres", fmt::format("CREATE TABLESPACE far LOCATION '{}'", elsewhere.string())
    );
    source.sql(
        "postgres",
        "CREATE TABLE rows AS SELECT g FROM generate_series(1, 3000) g; CREATE TABLE apart "
        "TABLESPACE far AS SELECT g FROM generate_series(1, 500) g"
    );
    MemoryStreams streams;
    back_up_cluster(source, streams);

    std::vector<std::string> steps;
    TestRestoreOptions options;
    options.progress = [&](const TestRestoreProgress& progress) {
        if (steps.empty() || steps.back() != progress.step) {
            steps.push_back(progress.step);
        }
    };
    const TestRestore proof =
        run_test_restore(streams, settings(), programs_, clock_, options);
    EXPECT_TRUE(proof.passed());
    EXPECT_EQ(proof.check.rows_counted, 3500U);
    EXPECT_FALSE(proof.recovery.consistent_at.empty());
    EXPECT_GT(proof.restored_bytes, 1'000'000U);
    EXPECT_EQ(steps, (std::vector<std::string>{"restore", "start", "amcheck", "count", "pages"}));
    EXPECT_EQ(to_json(proof)["check"]["rowsCounted"], 3500);

    PostgresServer target{source_options()};
    RestoreOptions one;
    one.source_database = "postgres";
    one.target_database = target.create_database("got");
    one.items = {{.schema = "public", .table = "apart"}};
    one.tablespaces = Tablespaces::kSkip;
    static_cast<void>(restore_from_physical(
        superuser(target), streams, settings(), programs_, tools_, clock_, one
    ));
    EXPECT_EQ(
        trim(target.sql(one.target_database, "SELECT count(*), sum(g) FROM apart")), "500|125250"
    );
    // The source's own tablespace is as it was, and nothing is left of the scratch servers.
    EXPECT_EQ(trim(source.sql("postgres", "SELECT count(*) FROM apart")), "500");
    EXPECT_TRUE(fs::is_empty(root_.path()));
}

TEST_F(TestRestoreTest, WhatIsMissingIsSaidBeforeAnythingIsRestored) {
    PostgresServer source{source_options()};
    MemoryStreams streams;
    back_up_cluster(source, streams);
    const auto failure = [&](const ScratchSettings& how, const ServerPrograms& programs) {
        bool restored = false;
        TestRestoreOptions options;
        options.progress = [&](const TestRestoreProgress&) { restored = true; };
        const Error error = error_of([&] {
            static_cast<void>(run_test_restore(streams, how, programs, clock_, options));
        });
        EXPECT_FALSE(restored);
        EXPECT_TRUE(fs::is_empty(root_.path()));
        return error;
    };
    const ServerPrograms none{{"/nonexistent"}};
    const Error programs = failure(settings(), none);
    EXPECT_EQ(programs.kind(), ErrorKind::kServerProgramsMissing);
    EXPECT_THAT(programs.text().recommended_actions.at(0), HasSubstr("postgresql-15"));

    ScratchSettings bare = settings();
    bare.sandbox.bubblewrap = "/nonexistent/bwrap";
    const Error sandbox = failure(bare, programs_);
    EXPECT_EQ(sandbox.kind(), ErrorKind::kSandboxUnavailable);
    EXPECT_THAT(sandbox.text().recommended_actions.at(0), HasSubstr("bubblewrap"));

    ScratchSettings full = settings();
    full.sandbox.limits.disk_free_bytes = 1'000'000 * kGiB;
    EXPECT_EQ(failure(full, programs_).kind(), ErrorKind::kRestoreTargetFull);

    const MemoryStreams logical;
    const Error other = error_of([&] {
        static_cast<void>(run_test_restore(logical, settings(), programs_, clock_, {}));
    });
    EXPECT_EQ(other.kind(), ErrorKind::kObjectNotFound);
}

}  // namespace
}  // namespace holdfast::postgres
