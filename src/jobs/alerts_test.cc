// What the engine tells of, and whom it asks before it works.
#include "base/log.h"
#include "catalog/alert_records.h"
#include "jobs/engine_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using catalog::AlertRecord;
using std::chrono::hours;
using ::testing::HasSubstr;
using testing::kVault;
using testing::World;
using testing::WorldOptions;

const std::string kInstance = kVault + "/backupInstances/app";

std::vector<AlertRecord> alerts_of(World& world, std::string_view kind) {
    std::vector<AlertRecord> found;
    for (const AlertRecord& record : world.catalog->list<AlertRecord>()) {
        if (record.kind == kind) {
            found.push_back(record);
        }
    }
    return found;
}

void pass(World& world, hours span) {
    for (hours done{0}; done < span; done += hours{12}) {
        world.clock.advance(std::min(hours{12}, span - done));
        world.engine->look();
        world.wait_idle();
    }
}

TEST(JobAlertsTest, AFailedJobIsToldOnceWithACount) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.backup_error = Error{ErrorKind::kDumpFailed, "pg_dump broke."};
    const std::string job = world.backup("app");
    world.wait_idle();
    world.backup("app");
    world.wait_idle();
    const auto told = alerts_of(world, "JobFailed");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].count, 2);
    EXPECT_EQ(told[0].scope, kInstance);
    EXPECT_EQ(told[0].severity, "Error");
    EXPECT_THAT(told[0].message, HasSubstr("pg_dump broke."));
    EXPECT_EQ(told[0].details["jobId"], job);
    EXPECT_EQ(told[0].details["errorCode"], "UserErrorPostgreSQLDumpFailed");
}

TEST(JobAlertsTest, AVaultMayKeepItsFailuresToItself) {
    World world;
    world.start();
    world.protect("app");
    world.catalog->write([&](catalog::Transaction& transaction) {
        auto vault = *transaction.get<catalog::VaultRecord>(kVault);
        vault.properties["monitoringSettings"]["azureMonitorAlertSettings"]
                        ["alertsForAllJobFailures"] = "Disabled";
        transaction.put(vault);
    });
    world.data_plane.backup_error = Error{ErrorKind::kDumpFailed, "pg_dump broke."};
    world.backup("app");
    world.wait_idle();
    EXPECT_TRUE(alerts_of(world, "JobFailed").empty());
}

TEST(JobAlertsTest, AJobThatTheProcessLeftBehindIsTold) {
    World world;
    world.protect("app");
    const std::string job = world.backup("app");
    world.catalog->write([&](catalog::Transaction& transaction) {
        auto row = *transaction.get<catalog::JobRecord>(job);
        row.status = "InProgress";
        transaction.put(row);
    });
    world.restart();
    world.start();
    const auto told = alerts_of(world, "JobFailed");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_THAT(told[0].message, HasSubstr("interrupted"));
}

TEST(JobAlertsTest, NoGoodPointForTwiceThePolicysInterval) {
    World world;  // Daily.
    world.start();
    world.protect("app");
    pass(world, hours{24});
    ASSERT_EQ(world.points("app").size(), 1U);
    world.data_plane.backup_error = Error{ErrorKind::kDumpFailed, "Broken."};
    pass(world, hours{36});
    EXPECT_TRUE(alerts_of(world, "NoGoodPoint").empty()) << "48 hours are allowed";
    pass(world, hours{24});
    const auto told = alerts_of(world, "NoGoodPoint");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].scope, kInstance);
    EXPECT_EQ(told[0].count, 1) << "a state is told once a day";
    EXPECT_THAT(told[0].message, HasSubstr("48 hours are allowed"));
    EXPECT_EQ(told[0].details["lastPoint"], world.points("app").front().id);
    // A new point ends it; the next time is another one.
    world.data_plane.backup_error.reset();
    pass(world, hours{24});
    world.data_plane.backup_error = Error{ErrorKind::kDumpFailed, "Broken."};
    pass(world, hours{72});
    EXPECT_GE(alerts_of(world, "NoGoodPoint").size(), 2U);
    EXPECT_EQ(alerts_of(world, "NoGoodPoint").back().details["lastPoint"], world.points("app").back().id);
}

TEST(JobAlertsTest, TheSettingCountsInsteadOfThePolicy) {
    World world{WorldOptions{.engine = {.no_point_after = hours{100}}}};
    world.start();
    world.protect("app");
    world.data_plane.backup_error = Error{ErrorKind::kDumpFailed, "Broken."};
    pass(world, hours{96});
    EXPECT_TRUE(alerts_of(world, "NoGoodPoint").empty());
    pass(world, hours{12});
    ASSERT_EQ(alerts_of(world, "NoGoodPoint").size(), 1U);
    EXPECT_THAT(alerts_of(world, "NoGoodPoint")[0].message, HasSubstr("It never had one."));
}

TEST(JobAlertsTest, TheMissingRecoveryKitIsInformation) {
    World world;
    world.start();
    world.protect("app");
    world.backup("app");
    world.wait_idle();
    world.backup("app");
    world.wait_idle();
    const auto told = alerts_of(world, "RecoveryKitUnwritten");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].severity, "Information");
    EXPECT_EQ(told[0].scope, kVault);
    EXPECT_EQ(told[0].count, 1);
}

TEST(JobAlertsTest, ALeapOfTheClockIsAMatterOfSecurity) {
    World world;
    world.start();
    world.engine->look();
    world.clock.advance(hours{48});
    world.engine->look();
    world.engine->look();
    const auto told = alerts_of(world, "ClockLeap");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_TRUE(told[0].security);
    EXPECT_EQ(told[0].scope, "/");
}

class RefusingCheck final : public IdentityCheck {
public:
    void require_backup(const catalog::VaultRecord& vault, const catalog::InstanceRecord&)
        const override {
        refuse(vault);
    }
    void require_restore(const catalog::VaultRecord& vault, const RestoreRequest&) const override {
        refuse(vault);
    }

private:
    static void refuse(const catalog::VaultRecord& vault) {
        throw Error{
            ErrorKind::kMissingPermissions,
            ErrorText{
                .message = "The identity of the backup vault '" + vault.name + "' lacks it.",
                .recommended_actions = {"holdfast role assignment create"},
            }
        };
    }
};

TEST(IdentityCheckTest, AScheduledBackupWithoutItsPermissionsFails) {
    const RefusingCheck check;
    World world{WorldOptions{.identity_check = &check}};
    world.start();
    world.protect("app");
    pass(world, hours{12});
    const auto jobs = world.jobs();
    ASSERT_EQ(jobs.size(), 1U);
    EXPECT_FALSE(jobs[0].user_triggered);
    EXPECT_EQ(jobs[0].status, "Failed");
    EXPECT_EQ(jobs[0].errors[0]["code"], "UserErrorMissingRequiredPermissions");
    EXPECT_THAT(jobs[0].errors[0].dump(), HasSubstr("role assignment create"));
    EXPECT_TRUE(world.points("app").empty());
}

}  // namespace
}  // namespace holdfast::jobs
