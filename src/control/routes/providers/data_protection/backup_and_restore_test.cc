#include "control/key_vault_names.h"
#include "control/routes/testing/api_fixture.h"
#include "control/services.h"
#include "jobs/engine.h"

namespace holdfast::control {
namespace {

using testing::HasSubstr;

class BackupAndRestore : public ApiFixture {
protected:
    void SetUp() override { protect(); }
    [[nodiscard]] std::string instance() const { return vault() + "/backupInstances/BI"; }
    [[nodiscard]] static Json adhoc(std::string_view rule) {
        return Json{{"backupRuleOptions", {{"ruleName", rule}, {"triggerOption", Json::object()}}}};
    }
    /// Backs up and returns the job.
    Json back_up() {
        const Answer outcome = result(post(instance() + "/backup", adhoc("Monthly")));
        EXPECT_EQ(outcome.status, 200) << outcome.body.dump();
        run_jobs();
        return get(outcome.body["jobId"].get<std::string>()).body;
    }
    [[nodiscard]] static Json as_files(const std::string& point, std::string_view prefix) {
        return Json{
            {"objectType", "AzureBackupRecoveryPointBasedRestoreRequest"},
            {"recoveryPointId", point},
            {"sourceDataStoreType", "VaultStore"},
            {"restoreTargetInfo",
             {{"objectType", "RestoreFilesTargetInfo"},
              {"recoveryOption", "FailIfExists"},
              {"restoreLocation", "westus"},
              {"targetDetails",
               {{"filePrefix", prefix},
                {"restoreTargetLocationType", "AzureBlobs"},
                {"url", "https://localhost:8443/restore/restored"}}}}}
        };
    }
};

TEST_F(BackupAndRestore, AnOnDemandBackupNamesItsJobAtOnce) {
    const Answer accepted = post(instance() + "/backup", adhoc("Monthly"));
    ASSERT_EQ(accepted.status, 202) << accepted.body.dump();
    EXPECT_EQ(accepted.header("Retry-After"), "1");
    const Json status = wait(accepted);
    EXPECT_EQ(status["status"], "Succeeded");
    const std::string job = status["properties"]["jobId"];
    EXPECT_THAT(job, testing::StartsWith(vault() + "/backupJobs/"));
    EXPECT_EQ(get(job).body["properties"]["status"], "InProgress");
    EXPECT_EQ(post(instance() + "/backup", adhoc("Monthly")).status, 409);
    run_jobs();
    const Json done = get(job).body;
    EXPECT_EQ(done["properties"]["status"], "Completed") << done.dump(1);
    EXPECT_EQ(done["properties"]["operationCategory"], "Backup");
    EXPECT_EQ(done["properties"]["isUserTriggered"], true);
    EXPECT_EQ(done["properties"]["extendedInfo"]["additionalDetails"]["RetentionTag"], "Monthly");
    EXPECT_TRUE(
        done["properties"]["extendedInfo"]["targetRecoverPoint"]["recoveryPointID"].is_string()
    );
    EXPECT_EQ(done["properties"]["extendedInfo"]["subTasks"][0]["taskStatus"], "Completed");
    const Json listed = get(vault() + "/backupJobs").body["value"];
    ASSERT_EQ(listed.size(), 1U);
    EXPECT_TRUE(listed[0]["properties"]["extendedInfo"].is_null());
    EXPECT_EQ(get(vault() + "/backupJobs?$filter=status%20eq%20'Failed'").body["value"].size(), 0U);
    EXPECT_EQ(
        get(vault() + "/backupJobs/00000000-0000-4000-8000-000000000000").code(),
        "UserErrorGenericResourceNotFound"
    );
}

TEST_F(BackupAndRestore, AnUnknownRuleListsTheValidOnes) {
    const Answer answer = post(instance() + "/backup", adhoc("Hourly"));
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.code(), "BMSUserErrorInvalidInput");
    EXPECT_THAT(answer.body.dump(), HasSubstr("BackupWeekly"));
    EXPECT_EQ(post(instance() + "/backup", Json::object()).status, 400);
    EXPECT_EQ(
        post(
            instance() + "/backup", {{"backupRuleOptions", {{"ruleName", 3}}}}
        ).body["error"]["target"],
        "backupRuleOptions.ruleName"
    );
    EXPECT_EQ(get(vault() + "/backupJobs").body["value"], Json::array());
}

TEST_F(BackupAndRestore, AQueuedJobCanBeCancelled) {
    const std::string job =
        result(post(instance() + "/backup", adhoc("BackupWeekly"))).body["jobId"];
    const Answer cancelled = post(job + "/cancel");
    ASSERT_EQ(cancelled.status, 200) << cancelled.body.dump();
    EXPECT_EQ(cancelled.body["properties"]["status"], "Cancelled");
    EXPECT_EQ(post(job + "/cancel").status, 200);
    run_jobs();
    EXPECT_EQ(get(instance() + "/recoveryPoints").body["value"], Json::array());
    const std::string done = back_up()["id"];
    EXPECT_EQ(post(done + "/cancel").code(), "Conflict");
}

TEST_F(BackupAndRestore, RecoveryPointsAreListedByTime) {
    (void)back_up();
    const Json all = get(instance() + "/recoveryPoints?$filter=").body["value"];
    ASSERT_EQ(all.size(), 1U);
    const Json& point = all[0];
    EXPECT_EQ(point["properties"]["retentionTagName"], "Monthly");
    EXPECT_EQ(point["properties"]["recoveryPointDataStoresDetails"][0]["type"], "VaultStore");
    EXPECT_EQ(point["properties"]["policyName"], "P");
    const auto count = [&](const std::string& filter) {
        return get(instance() + "/recoveryPoints?$filter=" + percent_encode(filter))
            .body["value"]
            .size();
    };
    EXPECT_EQ(count("startDate eq '2026-01-01T00:00:00.0000000Z'"), 1U);
    EXPECT_EQ(count("startDate eq '2026-02-01T00:00:00.0000000Z'"), 0U);
    EXPECT_EQ(
        count("startDate eq '2021-01-01T00:00:00Z' and endDate eq '2031-01-01T00:00:00Z'"), 1U
    );
    EXPECT_EQ(
        count("startDate eq '2031-01-01T00:00:00Z' and endDate eq '2021-01-01T00:00:00Z'"), 0U
    );
    EXPECT_EQ(get(instance() + "/recoveryPoints?$filter=nonsense").code(), "InvalidQuery");
    const std::string name = point["name"];
    EXPECT_EQ(get(instance() + "/recoveryPoints/" + name).body["name"], name);
    EXPECT_EQ(
        get(instance() + "/recoveryPoints/00000000000000000000000000000000").code(),
        "UserErrorRecoveryPointNotFound"
    );
    EXPECT_EQ(
        post(instance() + "/findRestorableTimeRanges", {{"sourceDataStoreType", "VaultStore"}})
            .body["properties"]["restorableTimeRanges"],
        Json::array()
    );
}

TEST_F(BackupAndRestore, RestoreAsFiles) {
    (void)back_up();
    const std::string point = get(instance() + "/recoveryPoints").body["value"][0]["name"];
    const Answer validated = result(
        post(instance() + "/validateRestore", {{"restoreRequestObject", as_files(point, "dump1")}})
    );
    EXPECT_EQ(validated.status, 200) << validated.body.dump();
    Json request = as_files(point, "dump1");
    request["restoreTargetInfo"]["targetDetails"]["mood"] = "calm";
    const Answer accepted = post(instance() + "/restore", request);
    EXPECT_EQ(accepted.header("x-holdfast-ignored"), "restoreTargetInfo.targetDetails.mood");
    const std::string id = result(accepted).body["jobId"];
    run_jobs();
    const Json job = get(id).body;
    EXPECT_EQ(job["properties"]["operation"], "Restore");
    EXPECT_EQ(job["properties"]["status"], "Completed") << job.dump(1);
    EXPECT_FALSE(job["properties"]["extendedInfo"]["recoveryDestination"].is_null());
    const Json files = get("/restore/restored").body["value"];
    ASSERT_FALSE(files.empty());
    EXPECT_EQ(call("GET", "/restore/restored", nullptr, {}, "stranger").status, 403);
    EXPECT_EQ(get(files[0]["id"].get<std::string>()).status, 200);
    EXPECT_EQ(get("/restore/restored/missing").status, 404);
    EXPECT_EQ(get("/restore/elsewhere").status, 404);
    EXPECT_THAT(get("/restore/restored/..%2f..%2fsecret").status, testing::AnyOf(400, 404));
}

TEST_F(BackupAndRestore, ARestoreThatCannotBeIsRefused) {
    (void)back_up();
    const std::string point = get(instance() + "/recoveryPoints").body["value"][0]["name"];
    for (const char* prefix : {"../up", "a/b", "", ".hidden"}) {
        const Answer answer = post(instance() + "/restore", as_files(point, prefix));
        EXPECT_EQ(answer.status, 400) << prefix;
        EXPECT_EQ(answer.code(), "DppPluginInvalidInputParameters") << prefix;
    }
    EXPECT_EQ(
        post(instance() + "/restore", as_files("00000000000000000000000000000000", "x")).code(),
        "UserErrorRecoveryPointNotFound"
    );
    Json elsewhere = as_files(point, "x");
    elsewhere["restoreTargetInfo"]["targetDetails"]["url"] = "https://evil.example/c";
    EXPECT_EQ(post(instance() + "/restore", elsewhere).code(), "UserErrorContainerNotAccessible");
    EXPECT_EQ(post(instance() + "/restore", Json::object()).status, 400);
    EXPECT_EQ(post(instance() + "/validateRestore", Json::object()).status, 400);
    EXPECT_EQ(
        get(vault() + "/backupJobs?$filter=operation%20eq%20'Restore'").body["value"].size(), 0U
    );
}

TEST_F(BackupAndRestore, ARefusedRestoreGrantsNothing) {
    (void)back_up();
    const std::string container =
        restore_container_id(services().config, kSubscription, "restored");
    const std::string nowhere(32, 'a');
    EXPECT_EQ(
        post(instance() + "/restore", as_files(nowhere, "x")).code(),
        "UserErrorRecoveryPointNotFound"
    );
    EXPECT_EQ(
        post(
            instance() + "/validateRestore", Json{{"restoreRequestObject", as_files(nowhere, "x")}}
        )
            .code(),
        "UserErrorRecoveryPointNotFound"
    );
    EXPECT_EQ(
        get(container + "/providers/Microsoft.Authorization/roleAssignments").body["value"],
        Json::array()
    );
}

/// Between the request and the job, somebody takes the vault's identity what it may do.
TEST_F(BackupAndRestore, ARestoreFailsWhoseRoleWasTakenAwayBeforeItRuns) {
    (void)back_up();
    const std::string point = get(instance() + "/recoveryPoints").body["value"][0]["name"];
    services().jobs.stop();  // What is asked for now waits.
    const Answer accepted = post(instance() + "/restore", as_files(point, "late"));
    ASSERT_EQ(accepted.status, 202) << accepted.body.dump();
    const std::string job = result(accepted).body["jobId"];
    const std::string identity = get(vault()).body["identity"]["principalId"];
    const std::string container =
        restore_container_id(services().config, kSubscription, "restored");
    const Json assignments =
        get(container + "/providers/Microsoft.Authorization/roleAssignments").body["value"];
    int taken = 0;
    for (const Json& each : assignments) {
        if (each["properties"]["principalId"] == identity) {
            ASSERT_EQ(del(each["id"]).status, 200);
            ++taken;
        }
    }
    ASSERT_GT(taken, 0);
    run_jobs();
    const Json failed = get(job).body["properties"];
    EXPECT_EQ(failed["status"], "Failed") << failed.dump(1);
    ASSERT_EQ(failed["errorDetails"].size(), 1U);
    const Json& error = failed["errorDetails"][0];
    EXPECT_EQ(error["code"], "UserErrorMissingRequiredPermissions");
    EXPECT_THAT(error.dump(), HasSubstr("role assignment create"));
    EXPECT_THAT(error.dump(), HasSubstr(container));
    EXPECT_EQ(get("/restore/restored").body["value"], Json::array());
    // Given back, the same request is carried out.
    const Answer again = post(instance() + "/restore", as_files(point, "late"));
    const std::string second = result(again).body["jobId"];
    run_jobs();
    EXPECT_EQ(get(second).body["properties"]["status"], "Completed");
}

TEST_F(BackupAndRestore, TheStatusSummaryIsForMonitors) {
    const std::string place = fmt::format(
        "/subscriptions/{}/providers/Microsoft.DataProtection/holdfastStatus", kSubscription
    );
    Json row = get(place).body["instances"][0];
    EXPECT_EQ(row["healthy"], false);
    EXPECT_TRUE(row["lastGoodPoint"].is_null());
    EXPECT_TRUE(row["nextRunTime"].is_string());
    (void)back_up();
    const Json summary = get(place).body;
    row = summary["instances"][0];
    EXPECT_EQ(row["healthy"], true) << row.dump(1);
    EXPECT_EQ(row["consecutiveFailures"], 0);
    EXPECT_EQ(row["lastGoodPoint"]["ageInSeconds"], 0);
    EXPECT_EQ(summary["vaults"][0]["recoveryKitWritten"], false);
    EXPECT_EQ(call("GET", place, nullptr, {}, "stranger").body["instances"], Json::array());
}

TEST_F(BackupAndRestore, APointInAVaultThatIsGoneMakesNobodyWell) {
    (void)back_up();
    const std::string place = fmt::format(
        "/subscriptions/{}/providers/Microsoft.DataProtection/holdfastStatus", kSubscription
    );
    EXPECT_EQ(get(place).body["instances"][0]["healthy"], true);
    catalog().write([this](catalog::Transaction& transaction) {
        auto record = *transaction.get<catalog::VaultRecord>(vault());
        record.repository_directory = "gone";
        transaction.put(record);
    });
    const Json summary = get(place).body;
    EXPECT_EQ(summary["vaults"][0]["usable"], false);
    EXPECT_EQ(summary["instances"][0]["healthy"], false);
    EXPECT_THAT(summary["instances"][0]["problems"].dump(), HasSubstr("Its vault cannot be used."));
}

TEST_F(BackupAndRestore, OnlyAnOwnerConfirmsTheClock) {
    const std::string provider =
        fmt::format("/subscriptions/{}/providers/Microsoft.DataProtection/", kSubscription);
    catalog().write([](catalog::Transaction& transaction) {
        const Json leap{
            {"highestSeen", "2026-01-01T00:00:00Z"}, {"observed", "2027-01-01T00:00:00Z"}
        };
        transaction.set_setting("clock_leap", leap.dump());
    });
    const Json status = get(provider + "holdfastStatus").body["clock"];
    EXPECT_EQ(status["trusted"], false);
    EXPECT_THAT(status["message"].get<std::string>(), HasSubstr("until an owner confirms"));
    for (const char* role : {"Contributor", "Backup Contributor", "Reader"}) {
        grant(role, role, "/");
        EXPECT_EQ(call("POST", provider + "holdfastConfirmClock", nullptr, {}, role).status, 403)
            << role;
    }
    EXPECT_EQ(get(provider + "holdfastStatus").body["clock"]["trusted"], false);
    EXPECT_EQ(post(provider + "holdfastConfirmClock").body["trusted"], true);
    EXPECT_EQ(get(provider + "holdfastStatus").body["clock"]["trusted"], true);
}

}  // namespace
}  // namespace holdfast::control
