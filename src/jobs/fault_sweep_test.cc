// Fails, then crashes, at the k-th storage call of a backup and of a restore, for every k; then
// starts the service anew on what is left and checks what must always hold.

#include "jobs/detail/job_queue.h"
#include "jobs/engine_testing.h"
#include "jobs/point_streams.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using ::testing::IsEmpty;
using testing::kVault;
using ::testing::SizeIs;
using testing::World;
using testing::WorldOptions;
using vault::FaultyStore;

constexpr std::uint64_t kCallsMax = 500;  // No sweep ends here; a bound against endless tests.

enum class Ended { kByItself, kByCrash };

/// Runs the job on this thread as far as it comes.
Ended run_job_here(World& world, const std::string& job_id) {
    JobQueue queue{world.parts(), world.options.engine};
    try {
        queue.run_here(job_id);
    } catch (const vault::SimulatedCrash&) {
        return Ended::kByCrash;
    }
    return Ended::kByItself;
}

void start_anew(World& world) {
    world.heal();
    world.restart();
    world.start();
    world.wait_idle();
}

std::string contents_of(World& world, const std::string& point_id) {
    const auto repository = world.repositories->open(world.vault());
    const auto reader = repository->open_point(vault::PointId::parse(point_id).value(), {});
    const PointSource source{*reader, {}};
    return std::string{as_text(postgres::read_stream(source, "databases/app/archive", 1 << 30))};
}

/// The invariants of the whole: every stored byte is sound, catalog and repository agree, every
/// listed point restores bit for bit, and the service works on.
void check_invariants(World& world) {
    const auto repository = world.repositories->open(world.vault());
    const vault::CheckReport report = repository->check({.read_data_percent = 100}, {});
    EXPECT_TRUE(report.sound()) << (report.damaged.empty() ? "" : report.damaged[0].problem);
    const auto points = world.points("app");
    EXPECT_EQ(repository->list_points({}).points.size(), points.size());
    for (const catalog::PointRecord& point : points) {
        EXPECT_EQ(contents_of(world, point.id), world.data_plane.databases.at("app"));
    }
    const std::string next = world.backup("app");
    world.wait_idle();
    EXPECT_EQ(world.job(next).status, "Completed") << world.job(next).errors.dump();
    EXPECT_THAT(world.points("app"), SizeIs(points.size() + 1));
}

class BackupSweep : public ::testing::TestWithParam<FaultyStore::Fault> {};

TEST_P(BackupSweep, EveryWrite) {
    const bool crashes = GetParam() == FaultyStore::Fault::kCrashBefore ||
                         GetParam() == FaultyStore::Fault::kCrashAfter;
    std::uint64_t call = 1;
    for (; call < kCallsMax; ++call) {
        SCOPED_TRACE(call);
        World world;
        world.protect("app");
        const std::string id = world.backup("app");
        world.inject({.call = call, .fault = GetParam()}, FaultyStore::Count::kMutations);
        const Ended ended = run_job_here(world, id);
        const bool reached = world.last_faulty()->calls() >= call;
        start_anew(world);
        const catalog::JobRecord job = world.job(id);
        if (!reached) {
            EXPECT_EQ(job.status, "Completed");
            EXPECT_THAT(world.points("app"), SizeIs(1));
            break;
        }
        if (crashes) {
            EXPECT_EQ(ended, Ended::kByCrash);
            EXPECT_EQ(job.status, "Failed");
            EXPECT_EQ(job.errors.at(0).at("code"), "UserErrorJobInterruptedByRestart");
        } else {
            EXPECT_TRUE(is_ended(job.status));
            EXPECT_EQ(job.status == "Completed", world.points("app").size() == 1) << job.status;
        }
        check_invariants(world);
        if (::testing::Test::HasFailure()) {
            return;
        }
    }
    EXPECT_GT(call, 4U) << "a backup has at least session, pack, manifest and commit";
    EXPECT_LT(call, kCallsMax);
}

INSTANTIATE_TEST_SUITE_P(
    Faults,
    BackupSweep,
    ::testing::Values(
        FaultyStore::Fault::kFail,
        FaultyStore::Fault::kFailAfterEffect,
        FaultyStore::Fault::kCrashBefore,
        FaultyStore::Fault::kCrashAfter
    )
);

TEST(BackupFaultTest, EveryReadMayFail) {
    for (std::uint64_t call = 1; call < kCallsMax; ++call) {
        SCOPED_TRACE(call);
        World world;
        world.protect("app");
        (void)run_job_here(world, world.backup("app"));  // So that there is something to read.
        const std::string id = world.backup("app");
        world.restart();
        world.inject(
            {.call = call, .fault = FaultyStore::Fault::kFail}, FaultyStore::Count::kAllCalls
        );
        (void)run_job_here(world, id);
        const bool reached = world.last_faulty()->calls() >= call;
        start_anew(world);
        EXPECT_TRUE(is_ended(world.job(id).status));
        const std::size_t points = world.points("app").size();
        EXPECT_TRUE(points == 1 || points == 2);
        if (world.job(id).status.starts_with("Completed")) {
            EXPECT_EQ(points, 2U);
        }
        check_invariants(world);
        if (!reached || ::testing::Test::HasFailure()) {
            return;
        }
    }
}

TEST(BackupFaultTest, AFullVaultFailsTheJobWithItsCodeAndLeavesTheOldPoints) {
    World world;
    world.protect("app");
    (void)run_job_here(world, world.backup("app"));
    world.data_plane.databases["app"] = std::string(200'000, 'b') + "new";
    const std::string id = world.backup("app");
    world.restart();
    world.inject(
        {.call = 2,
         .fault = FaultyStore::Fault::kFail,
         .kind = ErrorKind::kStoreFull,
         .repeat = FaultyStore::Repeat::kForever},
        FaultyStore::Count::kMutations
    );
    (void)run_job_here(world, id);
    EXPECT_EQ(world.job(id).status, "Failed");
    EXPECT_EQ(world.job(id).errors.at(0).at("code"), "UserErrorVaultStorageFull");
    world.data_plane.databases["app"] = std::string(300'000, 'a');
    start_anew(world);
    EXPECT_THAT(world.points("app"), SizeIs(1));
    check_invariants(world);
}

class RestoreSweep : public ::testing::TestWithParam<FaultyStore::Fault> {};

TEST_P(RestoreSweep, EveryCallOfARestoreAsFiles) {
    World world;
    world.protect("app");
    (void)run_job_here(world, world.backup("app"));
    const std::string point = world.points("app").at(0).id;
    const std::filesystem::path out = world.directory.path() / "restore";
    std::uint64_t call = 1;
    for (; call < kCallsMax; ++call) {
        SCOPED_TRACE(call);
        world.heal();
        world.restart();  // The engine is not started: nobody takes the job before the fault is in.
        const std::string id = world.engine->submit_restore(RestoreRequest{
            .instance_id = kVault + "/backupInstances/app",
            .point_id = point,
            .target = FilesTarget{.url = "/restore/files", .file_prefix = "r"},
            .requester = {},
        });
        world.inject({.call = call, .fault = GetParam()}, FaultyStore::Count::kAllCalls);
        (void)run_job_here(world, id);
        const bool reached = world.last_faulty()->calls() >= call;
        start_anew(world);
        if (!reached) {
            EXPECT_EQ(world.job(id).status, "Completed");
            EXPECT_EQ(
                read_file(out / "r_database_app.sql", 1 << 20), world.data_plane.databases.at("app")
            );
            break;
        }
        EXPECT_EQ(world.job(id).status, "Failed");
        EXPECT_TRUE(std::filesystem::is_empty(out));
        if (::testing::Test::HasFailure()) {
            return;
        }
    }
    EXPECT_GT(call, 3U);
    EXPECT_LT(call, kCallsMax);
}

INSTANTIATE_TEST_SUITE_P(
    Faults,
    RestoreSweep,
    ::testing::Values(FaultyStore::Fault::kFail, FaultyStore::Fault::kCrashBefore)
);

TEST(ExpiryFaultTest, ACrashWhileRemovingIsCompletedLater) {
    for (std::uint64_t call = 1; call < kCallsMax; ++call) {
        SCOPED_TRACE(call);
        World world{WorldOptions{.default_retention = "P8D"}};
        world.protect("app");
        (void)run_job_here(world, world.backup("app"));
        world.clock.advance(std::chrono::hours{1});
        (void)run_job_here(world, world.backup("app"));
        world.service->suspend_backups(kVault + "/backupInstances/app", {});
        world.engine->look();
        for (int day = 0; day < 9; ++day) {
            world.clock.advance(std::chrono::hours{24});
            world.engine->look();
        }
        const auto jobs =
            world.catalog->list<catalog::JobRecord>(catalog::Query{.states = {"Queued"}});
        ASSERT_THAT(jobs, SizeIs(1));
        world.restart();
        world.inject(
            {.call = call, .fault = FaultyStore::Fault::kCrashBefore},
            FaultyStore::Count::kMutations
        );
        const Ended ended = run_job_here(world, jobs[0].id);
        start_anew(world);
        EXPECT_EQ(world.job(jobs[0].id).status, ended == Ended::kByCrash ? "Failed" : "Completed");
        world.engine->look();
        world.wait_idle();
        EXPECT_THAT(world.points("app"), SizeIs(1));
        EXPECT_THAT(world.repositories->open(world.vault())->list_points({}).points, SizeIs(1));
        if (ended == Ended::kByItself || ::testing::Test::HasFailure()) {
            EXPECT_GT(call, 2U);
            return;
        }
    }
}

}  // namespace
}  // namespace holdfast::jobs
