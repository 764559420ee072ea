#include "jobs/engine.h"

#include "jobs/engine_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using testing::at;
using testing::Deadline;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kServer;
using testing::kVault;
using ::testing::SizeIs;
using testing::World;
using testing::WorldOptions;

ErrorKind kind_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.kind();
    }
    ADD_FAILURE() << "nothing was thrown";
    return ErrorKind::kInternal;
}

RestoreRequest restore_files(
    const std::string& database, const std::string& point, std::string prefix
) {
    return RestoreRequest{
        .instance_id = kVault + "/backupInstances/" + database,
        .point_id = point,
        .target = FilesTarget{.url = "/restore/files", .file_prefix = std::move(prefix)},
        .requester = {},
    };
}

RestoreRequest restore_server(
    const std::string& database, const std::string& point, std::string target
) {
    return RestoreRequest{
        .instance_id = kVault + "/backupInstances/" + database,
        .point_id = point,
        .target = ServerTarget{.datasource_id = kServer + "/databases/" + target},
        .requester = {},
    };
}

TEST(EngineTest, ABackupBecomesAPointAndRestores) {
    World world;
    world.start();
    world.protect("app");
    const std::string job_id = world.backup("app", "Monthly");
    world.wait_idle();

    const catalog::JobRecord job = world.job(job_id);
    EXPECT_EQ(job.status, "Completed") << job.errors.dump(2);
    EXPECT_EQ(job.operation, "Backup");
    EXPECT_TRUE(job.user_triggered);
    EXPECT_EQ(job.principal_id, "someone");
    EXPECT_GT(job.bytes_transferred, 300'000);
    EXPECT_EQ(job.sub_tasks.at(0).at("taskName"), "Trigger Backup");
    EXPECT_EQ(job.sub_tasks.at(0).at("taskStatus"), "Completed");
    EXPECT_EQ(job.details.at("additionalDetails").at("RetentionTag"), "Monthly");
    // The recovery kit was never written: every backup says so, and is none the worse for it.
    EXPECT_THAT(job.warnings.dump(), HasSubstr("RecoveryKitNotWritten"));

    const auto points = world.points("app");
    ASSERT_THAT(points, SizeIs(1));
    EXPECT_EQ(points[0].tag, "Monthly");
    EXPECT_EQ(points[0].expires_at, at("2026-07-05T12:00:00Z"));
    EXPECT_EQ(points[0].job_id, job_id);
    EXPECT_EQ(job.details.at("targetRecoverPoint").at("recoveryPointID"), points[0].id);

    const std::string restore =
        world.engine->submit_restore(restore_server("app", points[0].id, "copy"));
    world.wait_idle();
    EXPECT_EQ(world.job(restore).status, "Completed") << world.job(restore).errors.dump(2);
    EXPECT_EQ(world.job(restore).sub_tasks.at(0).at("taskName"), "Trigger Restore");
    EXPECT_EQ(world.data_plane.restored().at("copy"), world.data_plane.databases.at("app"));
}

TEST(EngineTest, ASecondBackupOfTheSameInstanceIsRefusedNamingTheFirst) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.close_gate();
    const std::string first = world.backup("app");
    const Deadline deadline;
    ASSERT_TRUE(world.data_plane.wait_for_waiting(1, deadline.token()));
    try {
        (void)world.backup("app");
        FAIL() << "accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kOperationLimitReached);
        EXPECT_THAT(error.text().message, HasSubstr(first));
    }
    EXPECT_THAT(world.jobs(), SizeIs(1));
    world.data_plane.open_gate();
    world.wait_idle();
}

TEST(EngineTest, OneOperationPerDatasourceTheNextWaits) {
    World world{WorldOptions{.engine = {.max_jobs = 4, .max_jobs_per_server = 4}}};
    world.start();
    world.protect("app");
    world.data_plane.databases["other"] = "x";
    world.protect("other");
    (void)world.backup("app");
    world.wait_idle();
    const std::string point = world.points("app").at(0).id;

    world.data_plane.close_gate();
    const std::string restore = world.engine->submit_restore(restore_server("app", point, "copy"));
    const Deadline deadline;
    ASSERT_TRUE(world.data_plane.wait_for_waiting(1, deadline.token()));
    const std::string same = world.backup("app");
    const std::string other = world.backup("other");
    ASSERT_TRUE(world.data_plane.wait_for_waiting(2, deadline.token()));
    EXPECT_EQ(world.job(restore).status, "InProgress");
    EXPECT_EQ(world.job(same).status, "Queued");
    EXPECT_EQ(world.job(other).status, "InProgress");
    world.data_plane.open_gate();
    world.wait_idle();
    EXPECT_EQ(world.job(same).status, "Completed");
}

TEST(EngineTest, MaxJobsPerServerHolds) {
    World world{WorldOptions{.engine = {.max_jobs = 4, .max_jobs_per_server = 2}}};
    world.start();
    world.data_plane.close_gate();
    for (const std::string name : {"a", "b", "c", "d"}) {
        world.data_plane.databases[name] = name;
        world.protect(name);
        (void)world.backup(name);
    }
    const Deadline deadline;
    ASSERT_TRUE(world.data_plane.wait_for_waiting(2, deadline.token()));
    world.data_plane.open_gate();
    world.wait_idle();
    EXPECT_EQ(world.data_plane.waiting_max(), 2U);
    for (const catalog::JobRecord& job : world.jobs()) {
        EXPECT_EQ(job.status, "Completed");
    }
}

TEST(EngineTest, CancelRunningAndQueued) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.databases["other"] = "x";
    world.protect("other");
    world.data_plane.close_gate();
    const std::string running = world.backup("app");
    const Deadline deadline;
    ASSERT_TRUE(world.data_plane.wait_for_waiting(1, deadline.token()));
    const std::string queued = world.backup("other");
    const auto progress = world.engine->progress(running);
    ASSERT_TRUE(progress.has_value());
    EXPECT_EQ(progress->percent, 50);

    EXPECT_EQ(world.engine->cancel(queued), Engine::CancelOutcome::kCancelled);
    EXPECT_EQ(world.engine->cancel(running), Engine::CancelOutcome::kRequested);
    world.wait_idle();
    EXPECT_EQ(world.job(running).status, "Cancelled");
    EXPECT_EQ(world.job(queued).status, "Cancelled");
    EXPECT_EQ(world.engine->cancel(running), Engine::CancelOutcome::kEnded);
    EXPECT_THAT(world.points("app"), IsEmpty());
    EXPECT_EQ(
        kind_of([&] { (void)world.engine->cancel("nonesuch"); }), ErrorKind::kResourceNotFound
    );

    // And the datasource is free again.
    world.data_plane.open_gate();
    (void)world.backup("app");
    world.wait_idle();
    EXPECT_THAT(world.points("app"), SizeIs(1));
}

TEST(EngineTest, AFailureIsAUserFacingErrorAndLeavesNothing) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.backup_error = Error{
        ErrorKind::kServerConnectionClosed,
        ErrorText{
            .message = "The server closed the connection.",
            .recommended_actions = {"Look at its log."},
            .properties = {{"sqlstate", "57P01"}},
        }
    };
    const std::string id = world.backup("app");
    world.wait_idle();
    const catalog::JobRecord job = world.job(id);
    EXPECT_EQ(job.status, "Failed");
    ASSERT_THAT(job.errors, SizeIs(1));
    EXPECT_EQ(job.errors[0].at("code"), "UserErrorServerConnectionClosed");
    EXPECT_EQ(job.errors[0].at("properties").at("sqlstate"), "57P01");
    EXPECT_EQ(job.errors[0].at("recommendedAction").at(0), "Look at its log.");
    EXPECT_THAT(world.points("app"), IsEmpty());
    EXPECT_THAT(world.repositories->open(world.vault())->list_points({}).points, IsEmpty());
}

TEST(EngineTest, ExcludedDatabasesAreWarnings) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.skipped = {{.name = "huge", .reason = "excluded by configuration"}};
    const std::string id = world.backup("app");
    world.wait_idle();
    EXPECT_EQ(world.job(id).status, "CompletedWithWarnings");
    EXPECT_THAT(world.job(id).warnings.dump(), HasSubstr("huge"));
}

TEST(EngineTest, AnUnreachableServerShowsOnTheInstanceUntilABackupWorks) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.backup_error = Error{ErrorKind::kServerUnreachable, "No route to host."};
    (void)world.backup("app");
    world.wait_idle();
    EXPECT_EQ(world.instance("app").state, "ProtectionError");
    EXPECT_EQ(world.instance("app").protection_error.at("code"), "UserErrorServerConnectionFailed");
    world.data_plane.backup_error.reset();
    (void)world.backup("app");
    world.wait_idle();
    EXPECT_EQ(world.instance("app").state, "ProtectionConfigured");
    EXPECT_TRUE(world.instance("app").protection_error.is_null());
}

TEST(EngineTest, SubmittedWithTheCallersTransactionOrNotAtAll) {
    World world;
    world.start();
    world.protect("app");
    const AdhocBackupRequest request{
        .instance_id = kVault + "/backupInstances/app",
        .rule_name = "BackupDaily",
        .tag_override = {},
        .requester = {},
    };
    EXPECT_THROW(
        world.catalog->write([&](catalog::Transaction& transaction) {
            (void)world.engine->submit_backup(transaction, request);
            throw Error{ErrorKind::kConflict, "The caller's own row was refused."};
        }),
        Error
    );
    EXPECT_THAT(world.jobs(), IsEmpty());
}

TEST(EngineTest, BadRequestsAreRefused) {
    World world;
    world.start();
    world.protect("app");
    const auto adhoc = [&](std::string instance, std::string rule, std::string tag) {
        (void)world.engine->submit_backup(
            AdhocBackupRequest{std::move(instance), std::move(rule), std::move(tag), {}}
        );
    };
    const std::string id = kVault + "/backupInstances/app";
    EXPECT_EQ(
        kind_of([&] { adhoc(id + "x", "BackupDaily", ""); }), ErrorKind::kGenericResourceNotFound
    );
    EXPECT_EQ(kind_of([&] { adhoc(id, "Nonesuch", ""); }), ErrorKind::kInvalidInput);
    EXPECT_EQ(kind_of([&] { adhoc(id, "BackupDaily", "Nonesuch"); }), ErrorKind::kInvalidInput);
    EXPECT_EQ(
        kind_of([&] {
            (void)world.engine->submit_restore(restore_files("app", std::string(32, '0'), "x"));
        }),
        ErrorKind::kRecoveryPointNotFound
    );
    world.service->stop_protection(id, {});
    EXPECT_EQ(kind_of([&] { adhoc(id, "BackupDaily", ""); }), ErrorKind::kInvalidProtectionState);
    EXPECT_THAT(world.jobs(), IsEmpty());
}

TEST(EngineTest, ShutdownFailsTheRunningJobAndKeepsTheQueue) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.databases["other"] = "x";
    world.protect("other");
    world.data_plane.close_gate();
    const std::string running = world.backup("app");
    const Deadline deadline;
    ASSERT_TRUE(world.data_plane.wait_for_waiting(1, deadline.token()));
    const std::string queued = world.backup("other");
    world.engine->stop();
    EXPECT_EQ(world.job(running).status, "Failed");
    EXPECT_EQ(world.job(running).errors.at(0).at("code"), "UserErrorJobInterruptedByRestart");
    EXPECT_EQ(world.job(queued).status, "Queued");
    world.data_plane.open_gate();
    world.restart();
    world.start();
    world.wait_idle();
    EXPECT_EQ(world.job(queued).status, "Completed");
    EXPECT_THAT(world.points("app"), IsEmpty());
}

TEST(EngineTest, AHungJobIsGivenUpAndNeverHoldsUpTheScheduler) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.close_gate();
    const std::string hung = world.backup("app");
    const Deadline deadline;
    ASSERT_TRUE(world.data_plane.wait_for_waiting(1, deadline.token()));
    world.clock.advance(std::chrono::hours{12});
    world.engine->look();  // The scheduled run of 22:00 is queued behind the hung one.
    EXPECT_THAT(world.jobs(), SizeIs(2));
    world.clock.advance(std::chrono::hours{13});
    world.engine->look();
    ASSERT_TRUE(world.data_plane.wait_for_waiting(1, deadline.token()));
    world.data_plane.open_gate();
    world.wait_idle();
    EXPECT_EQ(world.job(hung).status, "Failed");
    EXPECT_EQ(world.job(hung).errors.at(0).at("code"), "OperationTimedOut");
    EXPECT_THAT(world.points("app"), SizeIs(1));
}

TEST(EngineTest, RowsOfLongEndedJobsGo) {
    World world;
    world.start();
    world.protect("app");
    (void)world.backup("app");
    world.wait_idle();
    world.service->stop_protection(kVault + "/backupInstances/app", {});
    world.clock.advance(std::chrono::hours{24 * 399});
    world.engine->look();
    EXPECT_THAT(world.jobs(), SizeIs(1));
    world.clock.advance(std::chrono::hours{48});
    world.engine->look();
    EXPECT_THAT(world.jobs(), IsEmpty());
    EXPECT_THAT(world.points("app"), SizeIs(1));
}

TEST(EngineTest, RestoreAsFilesWritesAllOrNothing) {
    World world;
    world.start();
    world.protect("app");
    (void)world.backup("app");
    world.wait_idle();
    const std::string point = world.points("app").at(0).id;
    const RestoreRequest request = restore_files("app", point, "dump1");
    EXPECT_NO_THROW((void)world.engine->validate_restore(request, {}));
    const std::string id = world.engine->submit_restore(request);
    world.wait_idle();
    const catalog::JobRecord job = world.job(id);
    ASSERT_EQ(job.status, "Completed") << job.errors.dump(2);
    EXPECT_EQ(job.details.at("additionalDetails").at("Restore File Prefix"), "dump1");
    EXPECT_EQ(job.details.at("recoveryDestination"), "/restore/files");
    const std::filesystem::path out = world.directory.path() / "restore";
    EXPECT_EQ(
        read_file(out / "dump1_database_app.sql", 1 << 20), world.data_plane.databases.at("app")
    );
    const auto manifest = parse_json(
        read_file(out / "dump1_manifest.json", 1 << 20).value(), ErrorKind::kInternal, "manifest"
    );
    EXPECT_EQ(manifest.at("recoveryPoint").at("id"), point);
    EXPECT_THAT(manifest.at("files"), SizeIs(3));

    // Again with the same prefix: refused before anything is written.
    EXPECT_EQ(
        kind_of([&] { (void)world.engine->validate_restore(request, {}); }),
        ErrorKind::kRestoreTargetExists
    );
    std::filesystem::remove(out / "dump1_schema.sql");
    const std::string again = world.engine->submit_restore(request);
    world.wait_idle();
    EXPECT_EQ(world.job(again).status, "Failed");
    EXPECT_EQ(world.job(again).errors.at(0).at("code"), "UserErrorRestoreTargetExists");
    EXPECT_FALSE(std::filesystem::exists(out / "dump1_schema.sql"));
}

}  // namespace
}  // namespace holdfast::jobs
