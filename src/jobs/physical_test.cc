// Physical backups through the whole of jobs/: method, backup, restore, test restore.
#include "jobs/backup_method.h"
#include "jobs/engine_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kServer;
using testing::kVault;
using ::testing::SizeIs;
using testing::World;

const std::string kInstance = kVault + "/backupInstances/server";

Error error_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error;
    }
    ADD_FAILURE() << "nothing was thrown";
    return Error{ErrorKind::kInternal, ""};
}

/// A world whose login may replicate and whose server is backed up once.
struct PhysicalWorld : World {
    explicit PhysicalWorld(const std::string& test_restore = {}) {
        data_plane.physical_findings.clear();
        if (!test_restore.empty()) {
            set_test_restore(test_restore);
        }
        protect_server();
        start();
    }
    void set_test_restore(const std::string& rule) {
        catalog->write([&](catalog::Transaction& transaction) {
            auto policy = transaction.get<catalog::PolicyRecord>(testing::kPolicy).value();
            policy.properties["holdfast"]["testRestore"] = rule;
            transaction.put(policy);
        });
    }
    catalog::JobRecord run_backup() {
        const std::string id = backup("server");
        wait_idle();
        return job(id);
    }
    catalog::PointRecord point() { return points("server").front(); }
    catalog::JobRecord run_verify() {
        const std::string id =
            engine->submit_verify(VerifyRequest{.instance_id = kInstance, .requester = {}});
        wait_idle();
        return job(id);
    }
    RestoreRequest to_server(const std::string& datasource) {
        return RestoreRequest{
            .instance_id = kInstance,
            .point_id = point().id,
            .target = ServerTarget{.datasource_id = datasource},
            .requester = {},
        };
    }
};

TEST(PhysicalTest, AServerIsBackedUpPhysicallyWhereItsLoginMayReplicate) {
    World world;
    world.data_plane.physical_findings.clear();
    const auto instance = world.protect_server("");
    EXPECT_EQ(instance.backup_method, "PhysicalBackup");
    EXPECT_THAT(instance.backup_method_reason, HasSubstr("\"postgres\" may replicate"));
}

TEST(PhysicalTest, ElseLogicallyAndTheInstanceSaysWhy) {
    World world;
    const auto instance = world.protect_server("");
    EXPECT_EQ(instance.backup_method, "LogicalBackup");
    EXPECT_THAT(instance.backup_method_reason, HasSubstr("The login may not replicate."));
}

TEST(PhysicalTest, WhatIsAskedForIsCheckedAndSaid) {
    World world;
    const Error error = error_of([&] { world.protect_server("PhysicalBackup"); });
    EXPECT_THAT(
        error.text().message +
            (error.text().details.empty() ? std::string{} : error.text().details.front().message),
        HasSubstr("may not replicate")
    );
    EXPECT_EQ(world.instance("server").state, "ConfiguringProtectionFailed");
    EXPECT_EQ(world.instance("server").backup_method, "");
}

TEST(PhysicalTest, ADatabaseIsNeverBackedUpPhysically) {
    World world;
    catalog::InstanceRecord instance = world.protect("app");
    EXPECT_EQ(instance.backup_method, "LogicalBackup");
    instance.properties["policyInfo"]["policyParameters"]["backupDatasourceParametersList"] =
        Json::array({{{"backupSolutionType", "PhysicalBackup"}}});
    instance.etag.clear();
    EXPECT_EQ(
        error_of([&] { world.service->begin_protection(instance); }).kind(),
        ErrorKind::kUnsupportedOperation
    );
}

TEST(PhysicalTest, AnInstanceOfBeforeStaysLogicalUntilSomebodyAsks) {
    World world;
    world.data_plane.physical_findings.clear();
    world.protect_server("LogicalBackup");
    world.catalog->write([&](catalog::Transaction& transaction) {
        auto old = transaction.get<catalog::InstanceRecord>(kInstance).value();
        old.backup_method.clear();
        old.properties = Json::object();
        transaction.put(old);
    });
    EXPECT_EQ(method_of(world.instance("server")), BackupMethod::kLogical);
    EXPECT_EQ(world.protect_server("").backup_method, "LogicalBackup");
    EXPECT_EQ(world.protect_server("PhysicalBackup").backup_method, "PhysicalBackup");
    world.start();
    world.backup("server");
    world.wait_idle();
    EXPECT_EQ(method_of(world.points("server").front()), BackupMethod::kPhysical);
}

TEST(PhysicalTest, TheParametersSayWhatABackupAsksOfTheServer) {
    catalog::InstanceRecord instance;
    EXPECT_EQ(physical_options_of(instance).compression, postgres::ServerCompression::kNone);
    Json& list =
        instance.properties["policyInfo"]["policyParameters"]["backupDatasourceParametersList"];
    list = Json::array({{{"objectType", "other"}}, {{"backupSolutionType", "PhysicalBackup"}}});
    EXPECT_EQ(physical_options_of(instance).checkpoint, postgres::CheckpointMode::kFast);
    list[1]["holdfast"] = {
        {"checkpoint", "Spread"}, {"compression", "Zstd"}, {"transferRateMaxKiB", 4096}
    };
    const postgres::PhysicalBackupOptions options = physical_options_of(instance);
    EXPECT_EQ(options.checkpoint, postgres::CheckpointMode::kSpread);
    EXPECT_EQ(options.compression, postgres::ServerCompression::kZstd);
    EXPECT_EQ(options.rate_max_kib, 4096U);
}

TEST(PhysicalTest, ABackupStoresFilesAndLogTogether) {
    PhysicalWorld world;
    const auto job = world.run_backup();
    EXPECT_EQ(job.status, "Completed") << job.errors.dump();
    EXPECT_EQ(job.details["additionalDetails"]["BackupSolutionType"], "PhysicalBackup");
    EXPECT_EQ(world.point().logical_bytes > 400'000, true);
    EXPECT_EQ(world.point().type, "Full");
    const auto repository = world.repositories->open(world.vault());
    const auto reader = repository->open_point(*vault::PointId::parse(world.point().id), {});
    EXPECT_TRUE(reader->find_stream("wal/000000010000000000000001", {}).has_value());
    EXPECT_EQ(reader->find_stream("data/base/1/1", {})->size_bytes, 300'000U);
}

TEST(PhysicalTest, DamagedPagesAreWarnings) {
    PhysicalWorld world;
    world.data_plane.warnings = {"base/1/1, block 7: the page does not match its checksum."};
    const auto job = world.run_backup();
    EXPECT_EQ(job.status, "CompletedWithWarnings");
    EXPECT_THAT(job.warnings.dump(), HasSubstr("base/1/1, block 7"));
}

TEST(PhysicalTest, AFailedOrCancelledBackupLeavesNoPoint) {
    PhysicalWorld world;
    world.data_plane.backup_error = Error{ErrorKind::kServerConnectionClosed, "The server left."};
    EXPECT_EQ(world.run_backup().status, "Failed");
    world.data_plane.backup_error.reset();
    world.data_plane.close_gate();
    const std::string id = world.backup("server");
    const testing::Deadline deadline;
    ASSERT_TRUE(world.data_plane.wait_for_waiting(1, deadline.token()));
    world.engine->cancel(id);
    world.wait_idle();
    EXPECT_EQ(world.job(id).status, "Cancelled");
    EXPECT_THAT(world.points("server"), IsEmpty());
}

TEST(PhysicalTest, AWholeClusterIsNotRestoredOverAServer) {
    PhysicalWorld world;
    world.run_backup();
    const Error error =
        error_of([&] { (void)world.engine->validate_restore(world.to_server(kServer), {}); });
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupportedOperation);
    EXPECT_THAT(error.text().recommended_actions, SizeIs(3));
    EXPECT_THAT(error.text().recommended_actions.front(), HasSubstr("holdfast restore"));
}

TEST(PhysicalTest, OneDatabaseComesOutOfIt) {
    PhysicalWorld world;
    world.run_backup();
    const auto wanted = [&](const std::string& name) {
        return world.to_server(kServer + "/databases/" + name);
    };
    EXPECT_EQ(
        error_of([&] { (void)world.engine->validate_restore(wanted("app"), {}); }).kind(),
        ErrorKind::kDatabaseExists
    );
    const std::string id = world.engine->submit_restore(wanted("copy"));
    world.wait_idle();
    EXPECT_EQ(world.job(id).status, "Completed") << world.job(id).errors.dump();
    EXPECT_EQ(world.data_plane.restored()["copy"], std::string(300'000, 'p'));
    world.data_plane.scratch_error = Error{ErrorKind::kServerProgramsMissing, "No PostgreSQL 15."};
    EXPECT_EQ(
        error_of([&] { (void)world.engine->validate_restore(wanted("third"), {}); }).kind(),
        ErrorKind::kServerProgramsMissing
    );
}

TEST(PhysicalTest, ATestRestoreStaysOnThePoint) {
    PhysicalWorld world;
    world.run_backup();
    const auto job = world.run_verify();
    EXPECT_EQ(job.status, "Completed") << job.errors.dump();
    EXPECT_EQ(job.operation, "Verify");
    EXPECT_EQ(job.details["additionalDetails"]["TestRestoreResult"], "Passed");
    EXPECT_EQ(job.details["additionalDetails"]["RestoreSeconds"], "3.0");
    EXPECT_EQ(world.point().test_restore["result"], "Passed");
    EXPECT_EQ(world.point().test_restore["startSeconds"], 2.0);
    EXPECT_EQ(world.instance("server").last_test_restore["recoveryPointId"], world.point().id);
}

TEST(PhysicalTest, DamageFailsTheJobAndShowsOnTheInstance) {
    PhysicalWorld world;
    world.run_backup();
    world.data_plane.damages = {{"btree index \"app.public.t_pkey\"", "item order is wrong"}};
    const auto job = world.run_verify();
    EXPECT_EQ(job.status, "Failed");
    EXPECT_THAT(job.errors.dump(), HasSubstr("item order is wrong"));
    EXPECT_EQ(world.point().test_restore["result"], "Failed");
    EXPECT_EQ(world.instance("server").state, "ProtectionError");
    world.data_plane.damages.clear();
    EXPECT_EQ(world.run_verify().status, "Completed");
    EXPECT_EQ(world.instance("server").state, "ProtectionConfigured");
}

TEST(PhysicalTest, WithoutASandboxThereIsNoVerdict) {
    PhysicalWorld world;
    world.run_backup();
    world.data_plane.scratch_error = Error{ErrorKind::kSandboxUnavailable, "No bubblewrap."};
    EXPECT_EQ(world.run_verify().status, "Failed");
    EXPECT_THAT(world.point().test_restore, IsEmpty());
    EXPECT_EQ(world.instance("server").state, "ProtectionConfigured");
    EXPECT_EQ(world.instance("server").last_test_restore["result"], "NotDone");
}

TEST(PhysicalTest, ALogicalPointIsNotTested) {
    World world;
    world.protect("app");
    world.start();
    world.backup("app");
    world.wait_idle();
    const VerifyRequest request{.instance_id = kVault + "/backupInstances/app", .requester = {}};
    EXPECT_EQ(
        error_of([&] { world.engine->submit_verify(request); }).kind(),
        ErrorKind::kUnsupportedOperation
    );
}

std::size_t verifications(World& world) {
    std::size_t count = 0;
    for (const auto& job : world.jobs()) {
        count += job.operation == "Verify" ? 1U : 0U;
    }
    return count;
}

TEST(PhysicalTest, ThePolicyTestsAfterEachBackup) {
    PhysicalWorld world{"AfterEachBackup"};
    world.run_backup();
    world.run_backup();
    world.wait_idle();
    EXPECT_EQ(verifications(world), 2U);
    for (const auto& point : world.points("server")) {
        EXPECT_EQ(point.test_restore["result"], "Passed");
    }
}

TEST(PhysicalTest, ThePolicyTestsWeekly) {
    PhysicalWorld world{"Weekly"};
    world.run_backup();
    const auto look = [&] {
        world.engine->look();
        world.wait_idle();
        return verifications(world);
    };
    EXPECT_EQ(look(), 1U);
    EXPECT_EQ(look(), 1U);
    world.clock.advance(std::chrono::hours{24 * 6});
    EXPECT_EQ(look(), 1U);
    world.clock.advance(std::chrono::hours{25});
    EXPECT_EQ(look(), 2U);
}

}  // namespace
}  // namespace holdfast::jobs
