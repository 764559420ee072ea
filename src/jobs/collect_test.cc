#include "jobs/engine.h"
#include "jobs/engine_testing.h"
#include "vault/collect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

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

/// Lets nothing through until it is opened.
class Gate {
public:
    void pass(std::stop_token stop) {
        std::unique_lock lock{mutex_};
        reached_ = true;
        changed_.notify_all();
        changed_.wait(lock, stop, [this] { return open_; });
    }
    bool wait_until_reached(std::stop_token stop) {
        std::unique_lock lock{mutex_};
        return changed_.wait(lock, stop, [this] { return reached_; });
    }
    void open() {
        {
            const std::lock_guard lock{mutex_};
            open_ = true;
        }
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable_any changed_;
    bool reached_ = false;
    bool open_ = false;
};

TEST(CollectJobTest, TakesNoWorkerFromBackupsNorWaitsForOne) {
    const auto gate = std::make_shared<Gate>();
    World world{WorldOptions{
        .engine = {.max_jobs = 1, .stall_max = hours{1000}},
        .intervals = {"R/2026-01-01T22:00:00+00:00/P1W"},
        .collect = {.interval = hours{24}},
        .before_put =
            [gate](const vault::ObjectKey& key, const std::stop_token& stop) {
                if (key.text().starts_with("collections/")) {
                    gate->pass(stop);
                }
            },
    }};
    world.start();
    world.protect("app");
    world.data_plane.databases["other"] = "x";
    world.protect("other");
    world.engine->look();

    // The only worker has a backup, and another backup waits; the collection starts all the same.
    world.data_plane.close_gate();
    const std::string first = world.backup("app");
    const testing::Deadline deadline;
    ASSERT_TRUE(world.data_plane.wait_for_waiting(1, deadline.token()));
    const std::string second = world.backup("other");
    world.clock.advance(hours{24});
    world.engine->look();
    ASSERT_TRUE(gate->wait_until_reached(deadline.token()));
    EXPECT_EQ(world.job(first).status, "InProgress");
    EXPECT_EQ(world.job(second).status, "Queued");
    ASSERT_THAT(collections(world), SizeIs(1));
    EXPECT_EQ(collections(world).front().status, "InProgress");

    // It holds no backup up: both end while it goes on.
    world.data_plane.open_gate();
    while (world.job(second).status != "Completed") {
        ASSERT_FALSE(deadline.token().stop_requested());
        std::this_thread::yield();
    }
    EXPECT_EQ(collections(world).front().status, "InProgress");
    gate->open();
    world.wait_idle();
    EXPECT_EQ(collections(world).front().status, "Completed");
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
