#include "jobs/engine.h"
#include "jobs/engine_testing.h"
#include "vault/collect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using std::chrono::hours;
using testing::kVault;
using ::testing::SizeIs;
using testing::World;
using testing::WorldOptions;

const std::string kInstance = kVault + "/backupInstances/app";

void pass(World& world, hours span) {
    for (hours done{0}; done < span; done += hours{12}) {
        world.clock.advance(std::min(hours{12}, span - done));
        world.engine->look();
        world.wait_idle();
    }
}

std::vector<catalog::JobRecord> collections(World& world) {
    std::vector<catalog::JobRecord> found;
    for (const auto& job : world.jobs()) {
        if (job.operation == "Collect") {
            found.push_back(job);
        }
    }
    return found;
}

TEST(CollectJobTest, FollowsAnExpiryThatRemovedSomething) {
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
    EXPECT_THAT(collections(world), SizeIs(0));
    pass(world, hours{24 * 20});
    ASSERT_THAT(world.points("app"), SizeIs(1));
    world.wait_idle();
    const auto jobs = collections(world);
    ASSERT_THAT(jobs, SizeIs(1));
    EXPECT_EQ(jobs.front().status, "Completed");
    const auto& figures = jobs.front().details.at("additionalDetails");
    EXPECT_TRUE(figures.contains("ReclaimedBytes")) << figures.dump();
    const auto repository = world.repositories->open(world.vault());
    EXPECT_TRUE(repository->check({.read_data_percent = 100}, {}).sound());
    const auto plan = repository->plan_collection({}, {});
    EXPECT_EQ(plan.dead.packs, 0U);
    EXPECT_EQ(plan.condemned_before.packs, 0U);
}

TEST(CollectJobTest, ComesOncePerIntervalAndVault) {
    World world{WorldOptions{.collect = {.interval = hours{24}}}};
    world.start();
    world.engine->look();
    EXPECT_THAT(collections(world), SizeIs(0));  // Counted from when the vault was first seen.
    pass(world, hours{24 * 3});
    EXPECT_THAT(collections(world), SizeIs(3));
}

// What cannot be read keeps everything: the job fails and names it.
TEST(CollectJobTest, FailsClosedAndNamesWhy) {
    World world{WorldOptions{.collect = {.interval = hours{24}}}};
    world.start();
    world.protect("app");
    (void)world.backup("app");
    world.wait_idle();
    std::optional<vault::ObjectKey> victim;
    world.memory().list(
        "points/",
        [&](const vault::ObjectInfo& info) {
            if (info.key.text().ends_with("manifest")) {
                victim = info.key;
            }
            return !victim.has_value();
        },
        {}
    );
    ASSERT_TRUE(victim.has_value());
    world.memory().flip_byte(*victim, 200);
    pass(world, hours{24});
    const auto jobs = collections(world);
    ASSERT_THAT(jobs, SizeIs(1));
    EXPECT_EQ(jobs.front().status, "Failed");
}

}  // namespace
}  // namespace holdfast::jobs
