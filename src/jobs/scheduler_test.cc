#include "jobs/engine.h"
#include "jobs/engine_testing.h"
#include "jobs/rebuild.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using std::chrono::hours;
using testing::at;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::kVault;
using ::testing::SizeIs;
using testing::World;
using testing::WorldOptions;

const std::string kInstance = kVault + "/backupInstances/app";

/// Moves the clock on and lets the scheduler look, at most a day at a time: a longer step is a
/// leap.
void pass(World& world, hours span) {
    for (hours done{0}; done < span; done += hours{12}) {
        world.clock.advance(std::min(hours{12}, span - done));
        world.engine->look();
        world.wait_idle();
    }
}

std::vector<std::string> tags(World& world) {
    std::vector<std::string> found;
    for (const auto& point : world.points("app")) {
        found.push_back(point.tag);
    }
    return found;
}

TEST(SchedulerTest, SchedulesFireTagAndStampTheExpiry) {
    World world;  // 2026-01-05 12:00, daily at 22:00, FirstOfMonth is Monthly.
    world.start();
    world.protect("app");
    EXPECT_EQ(world.engine->next_run(world.instance("app")), at("2026-01-05T22:00:00Z"));
    pass(world, hours{48});
    const auto points = world.points("app");
    ASSERT_THAT(points, SizeIs(2));
    EXPECT_EQ(points[0].scheduled_at, at("2026-01-05T22:00:00Z"));
    EXPECT_THAT(tags(world), ElementsAre("Monthly", "Default"));
    EXPECT_EQ(points[1].expires_at, at("2026-04-07T00:00:00Z"));
    EXPECT_FALSE(world.job(points[0].job_id).user_triggered);
}

TEST(SchedulerTest, TheFirstSuccessfulBackupOfThePeriodGetsTheTag) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.backup_error = Error{ErrorKind::kDumpFailed, "Broken."};
    pass(world, hours{24});
    world.data_plane.backup_error.reset();
    pass(world, hours{48});
    EXPECT_THAT(tags(world), ElementsAre("Monthly", "Default"));
}

TEST(SchedulerTest, NothingIsBackFilledForANewInstance) {
    World world;
    world.start();
    world.protect("app");
    world.engine->look();
    world.wait_idle();
    EXPECT_THAT(world.jobs(), IsEmpty());
}

TEST(SchedulerTest, MissedSchedulesRunOnceAtStart) {
    World world{WorldOptions{.intervals = {"R/2026-01-01T00:00:00+00:00/PT4H"}}};
    world.start();
    world.protect("app");
    world.engine->stop();
    world.restart();
    world.clock.advance(hours{23});  // 03:00 of the next day: three runs were missed.
    world.start();
    world.engine->look();
    world.wait_idle();
    ASSERT_THAT(world.points("app"), SizeIs(1));
    EXPECT_EQ(world.points("app")[0].scheduled_at, at("2026-01-06T08:00:00Z"));
    world.engine->look();
    world.wait_idle();
    EXPECT_THAT(world.jobs(), SizeIs(1));
}

TEST(SchedulerTest, ARunThatFindsThePreviousOneStillWaitingIsLeftOut) {
    World world;
    world.protect("app");  // The engine is not started: nothing takes from the queue.
    for (int day = 0; day < 3; ++day) {
        world.clock.advance(hours{24});
        world.engine->look();
    }
    EXPECT_THAT(world.jobs(), SizeIs(1));
}

TEST(SchedulerTest, StoppedAndSuspendedInstancesAreNotBackedUpAndResumeDoesNotCatchUp) {
    World world;
    world.start();
    world.protect("app");
    world.service->suspend_backups(kInstance, {});
    pass(world, hours{48});
    EXPECT_THAT(world.jobs(), IsEmpty());
    EXPECT_FALSE(world.engine->next_run(world.instance("app")).has_value());
    world.service->resume_protection(kInstance, {});
    world.engine->look();
    world.wait_idle();
    EXPECT_THAT(world.jobs(), IsEmpty());
    pass(world, hours{24});
    EXPECT_THAT(world.points("app"), SizeIs(1));
}

TEST(SchedulerTest, PointsExpireButNeverTheLastGoodOne) {
    World world{
        WorldOptions{.intervals = {"R/2026-01-01T22:00:00+00:00/P1W"}, .default_retention = "P8D"}
    };
    world.start();
    world.protect("app");
    (void)world.backup("app");
    world.wait_idle();
    world.clock.advance(hours{1});
    (void)world.backup("app");
    world.wait_idle();
    world.service->suspend_backups(kInstance, {});
    ASSERT_THAT(world.points("app"), SizeIs(2));
    const std::string newer = world.points("app")[1].id;
    pass(world, hours{24 * 20});
    ASSERT_THAT(world.points("app"), SizeIs(1));
    EXPECT_EQ(world.points("app")[0].id, newer);
    EXPECT_THAT(world.repositories->open(world.vault())->list_points({}).points, SizeIs(1));
    bool expired = false;
    for (const auto& job : world.jobs()) {
        expired = expired || (job.operation == "Expire" && job.status == "Completed");
    }
    EXPECT_TRUE(expired);
}

TEST(SchedulerTest, StoppedProtectionKeepsEverythingAndAHoldKeepsItsPoint) {
    World world{
        WorldOptions{.intervals = {"R/2026-01-01T22:00:00+00:00/P1W"}, .default_retention = "P8D"}
    };
    world.start();
    world.protect("app");
    for (int i = 0; i < 3; ++i) {
        (void)world.backup("app");
        world.wait_idle();
        world.clock.advance(hours{1});
    }
    world.service->stop_protection(kInstance, {});
    pass(world, hours{24 * 20});
    EXPECT_THAT(world.points("app"), SizeIs(3));
    const std::string held = world.points("app")[0].id;
    world.catalog->write([&](catalog::Transaction& transaction) {
        auto point = transaction.get<catalog::PointRecord>(held).value();
        point.held = true;
        transaction.put(point);
    });
    world.service->resume_protection(kInstance, {});
    world.engine->look();
    world.wait_idle();
    const auto left = world.points("app");
    ASSERT_THAT(left, SizeIs(2));  // The held one and the latest.
    EXPECT_EQ(left[0].id, held);
}

TEST(SchedulerTest, AClockThatLeapsStopsExpiryUntilConfirmedAndBackupsGoOn) {
    World world{WorldOptions{.default_retention = "P8D"}};
    world.start();
    world.protect("app");
    pass(world, hours{48});
    ASSERT_THAT(world.points("app"), SizeIs(2));
    world.clock.advance(hours{24 * 400});
    world.engine->look();
    world.wait_idle();
    ASSERT_TRUE(world.engine->clock_leap().has_value());
    EXPECT_THAT(world.points("app"), SizeIs(3));  // Nothing gone, one more made.
    world.restart();
    world.start();
    world.engine->look();
    world.wait_idle();
    EXPECT_TRUE(world.engine->clock_leap().has_value());
    EXPECT_THAT(world.points("app"), SizeIs(3));
    world.engine->confirm_clock();
    world.engine->look();
    world.wait_idle();
    EXPECT_FALSE(world.engine->clock_leap().has_value());
    EXPECT_THAT(world.points("app"), SizeIs(1));
}

TEST(SchedulerTest, AClockThatGoesBackStillBacksUp) {
    World world;
    world.start();
    world.protect("app");
    pass(world, hours{24});
    world.clock.set(at("2025-06-01T12:00:00Z"));
    world.engine->look();
    world.wait_idle();
    EXPECT_TRUE(world.engine->clock_leap().has_value());
    const std::size_t before = world.jobs().size();
    world.engine->look();
    world.clock.advance(hours{12});
    world.engine->look();
    world.wait_idle();
    // The policy starts in 2026, so nothing is due in 2025; the run of the future is forgotten,
    // though.
    EXPECT_EQ(world.jobs().size(), before);
    world.clock.set(at("2026-01-03T23:00:00Z"));
    world.engine->look();
    world.wait_idle();
    EXPECT_EQ(world.jobs().size(), before + 1);
}

TEST(SchedulerTest, SoftDeletedInstancesArePurgedWhenTheirTimeHasCome) {
    World world;
    world.start();
    world.protect("app");
    (void)world.backup("app");
    world.wait_idle();
    const auto deleted =
        world.service->delete_instance(kInstance, ProtectionService::SoftDeleteRule::kAsVault, {});
    ASSERT_TRUE(deleted.has_value());
    EXPECT_EQ(deleted->state, "SoftDeleted");
    EXPECT_EQ(deleted->purge_at, at("2026-01-19T12:00:00Z"));
    pass(world, hours{24 * 13});
    EXPECT_THAT(world.points("app"), SizeIs(1));
    pass(world, hours{48});
    EXPECT_THAT(world.points("app"), IsEmpty());
    EXPECT_FALSE(world.catalog->get<catalog::InstanceRecord>(kInstance).has_value());
    EXPECT_THAT(world.repositories->open(world.vault())->list_points({}).points, IsEmpty());
}

TEST(SchedulerTest, UndeletedInTimeNothingIsLost) {
    World world;
    world.start();
    world.protect("app");
    (void)world.backup("app");
    world.wait_idle();
    world.service->delete_instance(kInstance, ProtectionService::SoftDeleteRule::kAsVault, {});
    pass(world, hours{24});
    EXPECT_EQ(world.service->undelete_instance(kInstance, {}).state, "ProtectionStopped");
    pass(world, hours{24 * 20});
    EXPECT_THAT(world.points("app"), SizeIs(1));
}

TEST(SchedulerTest, SnapshotsOfTheCatalogGoIntoTheRepository) {
    World world;
    world.start();
    world.protect("app");
    world.clock.advance(hours{1});
    world.engine->look();
    world.engine->stop();
    const auto repository = world.repositories->open(world.vault());
    ASSERT_TRUE(repository->latest_catalog_snapshot({}).has_value());
}

TEST(RebuildTest, ALostCatalogComesBackWithStatesAndPoints) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.databases["other"] = "other's data";
    world.protect("other");
    world.catalog->write([](catalog::Transaction& transaction) {
        transaction.set_setting(kKeyFingerprintSetting, "old");
    });
    (void)world.backup("app", "Monthly");
    world.wait_idle();
    (void)world.backup("other");
    world.wait_idle();
    world.engine->stop();  // The last snapshot.
    // Later than the snapshot: known to the state records only.
    world.service->stop_protection(kInstance, {});

    const auto fresh = catalog::open_sqlite_catalog(":memory:", world.clock);
    const auto repository = world.repositories->open(world.vault());
    const RebuildReport report =
        rebuild_catalog(*fresh, {{*repository, world.vault().repository_directory}});
    EXPECT_EQ(report.sealed_under, "old");
    fresh->read([](const catalog::View& view) {
        EXPECT_EQ(view.setting(kKeyFingerprintSetting), "") << "the next start finds its own key";
    });
    ASSERT_THAT(report.vaults, SizeIs(1));
    EXPECT_EQ(report.vaults[0].points, 2U);
    EXPECT_EQ(report.instances_from_points, 0U);
    EXPECT_TRUE(fresh->get<catalog::ServerRecord>(testing::kServer).has_value());
    const auto instance = fresh->get<catalog::InstanceRecord>(kInstance);
    ASSERT_TRUE(instance.has_value());
    EXPECT_EQ(instance->state, "ProtectionStopped");
    const auto points = fresh->list<catalog::PointRecord>(catalog::Query{.parent = kInstance});
    ASSERT_THAT(points, SizeIs(1));
    EXPECT_EQ(points[0].tag, "Monthly");
    EXPECT_EQ(points[0].expires_at, world.points("app")[0].expires_at);
}

TEST(RebuildTest, WithoutASnapshotInstancesComeFromTheirPointsAndNothingExpires) {
    World world;
    world.start();
    world.protect("app");
    (void)world.backup("app");
    world.wait_idle();
    world.engine->stop();
    // The repository as if no snapshot had ever been written.
    auto objects = world.memory().contents();
    std::erase_if(objects, [](const auto& object) {
        return object.first.text().starts_with("catalog/");
    });
    vault::MemoryStore store;
    store.replace_contents(std::move(objects));
    const auto repository = vault::Repository::open(store, world.key(), world.clock);
    const auto fresh = catalog::open_sqlite_catalog(":memory:", world.clock);
    const RebuildReport report = rebuild_catalog(*fresh, {{*repository, "dir"}});
    EXPECT_FALSE(report.vaults.at(0).snapshot_at.has_value());
    EXPECT_EQ(report.instances_from_points, 1U);
    const auto instance = fresh->get<catalog::InstanceRecord>(kInstance);
    ASSERT_TRUE(instance.has_value());
    EXPECT_EQ(instance->state, "ProtectionStopped");
    EXPECT_EQ(instance->datasource_id, world.instance("app").datasource_id);
    EXPECT_TRUE(fresh->get<catalog::VaultRecord>(kVault).has_value());
    EXPECT_TRUE(fresh->get<catalog::PolicyRecord>(testing::kPolicy).has_value());
}

}  // namespace
}  // namespace holdfast::jobs
