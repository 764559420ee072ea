#include "alerts/alert.h"
#include "catalog/alert_records.h"
#include "control/alert_rules.h"
#include "control/routes/routes.h"
#include "control/routes/testing/api_fixture.h"
#include "control/services.h"
#include "jobs/engine.h"

namespace holdfast::control {
namespace {

using catalog::AlertRecord;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class Alerts : public ApiFixture {
protected:
    std::vector<std::string> kinds() {
        std::vector<std::string> found;
        for (const AlertRecord& record : catalog().list<AlertRecord>()) {
            if (record.security) {
                found.push_back(record.kind);
            }
        }
        return found;
    }
    std::string alerts_path() {
        return fmt::format(
            "/subscriptions/{}/providers/Microsoft.AlertsManagement/alerts", kSubscription
        );
    }
    Answer mute(const std::string& name, const Json& properties) {
        return put("/providers/Holdfast.Alerts/mutes/" + name, {{"properties", properties}});
    }
    Json with_security(std::string_view member, const Json& value) {
        Json body = vault_body();
        body["properties"]["securitySettings"][std::string{member}] = value;
        return body;
    }
};

TEST_F(Alerts, EveryRuleNamesAnActionOfARoute) {
    for (const AlertRule& rule : alert_rules()) {
        bool found = false;
        for (const Route& route : all_routes()) {
            found = found || route.action == rule.action;
        }
        EXPECT_TRUE(found) << rule.action;
        EXPECT_EQ(alerts::traits(rule.kind).concern, alerts::Concern::kSecurity) << rule.action;
    }
}

TEST_F(Alerts, DeletionsAreToldWithWhoDidIt) {
    protect();
    EXPECT_THAT(kinds(), IsEmpty());
    const std::string instance = vault() + "/backupInstances/BI";
    (void)wait(del(instance));
    ASSERT_THAT(kinds(), ElementsAre("BackupInstanceDeleted"));
    const AlertRecord record = catalog().list<AlertRecord>().back();
    EXPECT_EQ(record.scope, instance);
    EXPECT_EQ(record.severity, "Critical");
    EXPECT_EQ(record.details["principalId"], "owner");
    EXPECT_THAT(record.message, HasSubstr("deleted the backup instance"));
    EXPECT_EQ(del(vault() + "/backupInstances/ghost").status, 204);
    EXPECT_EQ(kinds().size(), 1U) << "nothing was there, nothing was deleted";
}

TEST_F(Alerts, ARefusedDeletionIsNoDeletion) {
    protect();
    grant("reader", "Reader", "/");
    EXPECT_EQ(
        call("DELETE", vault() + "/backupInstances/BI", nullptr, {}, "reader").status, 403
    );
    EXPECT_THAT(kinds(), IsEmpty());
}

TEST_F(Alerts, AStoppedProtectionIsTold) {
    protect();
    (void)wait(post(vault() + "/backupInstances/BI/stopProtection"));
    EXPECT_THAT(kinds(), ElementsAre("ProtectionStopped"));
}

TEST_F(Alerts, WeakeningsOfAVaultAreTold) {
    ASSERT_EQ(
        put(vault(), with_security("immutabilitySettings", {{"state", "Unlocked"}})).status, 201
    );
    EXPECT_THAT(kinds(), IsEmpty());
    ASSERT_EQ(
        put(vault(), with_security("immutabilitySettings", {{"state", "Disabled"}})).status, 200
    );
    EXPECT_THAT(kinds(), ElementsAre("ImmutabilityWeakened"));
    const Json shorter{{"state", "On"}, {"retentionDurationInDays", 30.0}};
    ASSERT_EQ(put(vault(), with_security("softDeleteSettings", shorter)).status, 200);
    EXPECT_EQ(kinds().size(), 1U) << "longer is no weakening";
    ASSERT_EQ(
        call("PATCH",
             vault(),
             Json::parse(
                 R"({"properties":{"securitySettings":{"softDeleteSettings":{"state":"Off"}}}})"
             ))
            .status,
        200
    );
    EXPECT_THAT(kinds(), UnorderedElementsAre("ImmutabilityWeakened", "SoftDeleteWeakened"));
}

TEST_F(Alerts, GuardsThatGoOrProtectLessAreTold) {
    make_vault();
    const std::string guard = group() + "/providers/Microsoft.DataProtection/resourceGuards/G";
    const std::string proxy = vault() + "/backupResourceGuardProxies/DppResourceGuardProxy";
    ASSERT_EQ(put(guard, {{"location", "westus"}, {"properties", Json::object()}}).status, 200);
    ASSERT_EQ(put(proxy, {{"properties", {{"resourceGuardResourceId", guard}}}}).status, 200);
    EXPECT_THAT(kinds(), IsEmpty());
    const Json excluded = Json::array(
        {"Microsoft.DataProtection/backupVaults/backupInstances/stopProtection/action"}
    );
    ASSERT_EQ(
        put(guard,
            {{"location", "westus"},
             {"properties", {{"vaultCriticalOperationExclusionList", excluded}}}})
            .status,
        200
    );
    EXPECT_THAT(kinds(), ElementsAre("GuardWeakened"));
    ASSERT_EQ(put(guard, {{"location", "westus"}, {"properties", Json::object()}}).status, 200);
    EXPECT_EQ(kinds().size(), 1U) << "an exclusion taken back is none";
}

TEST_F(Alerts, ShorterRetentionIsTold) {
    protect();
    const std::string instance = vault() + "/backupInstances/BI";
    (void)wait(post(
        instance + "/backup",
        {{"backupRuleOptions", {{"ruleName", "BackupWeekly"}, {"triggerOption", Json::object()}}}}
    ));
    run_jobs();
    Json policy = policy_body();
    policy["properties"]["policyRules"][1]["lifecycles"][0]["deleteAfter"]["duration"] = "P1M";
    ASSERT_EQ(put(vault() + "/backupPolicies/P", policy).status, 200);
    const Answer shown = post(instance + "/reapplyRetention");
    ASSERT_EQ(shown.status, 200) << shown.body.dump();
    EXPECT_THAT(kinds(), IsEmpty());
    ASSERT_EQ(
        post(
            instance + "/reapplyRetention",
            {{"apply", true}, {"effectToken", shown.body["effectToken"]}}
        )
            .status,
        200
    );
    EXPECT_THAT(kinds(), ElementsAre("RetentionShortened"));
}

TEST_F(Alerts, ListsWhatTheCallerMaySee) {
    protect();
    (void)wait(del(vault() + "/backupInstances/BI"));
    const Answer listed = get(alerts_path() + "?api-version=2019-03-01");
    ASSERT_EQ(listed.status, 200) << listed.body.dump();
    ASSERT_EQ(listed.body["value"].size(), 1U);
    const Json alert = listed.body["value"][0];
    EXPECT_EQ(alert["type"], "Microsoft.AlertsManagement/alerts");
    EXPECT_EQ(alert["properties"]["essentials"]["severity"], "Sev0");
    EXPECT_EQ(alert["properties"]["essentials"]["targetResourceName"], "BI");
    EXPECT_EQ(alert["properties"]["context"]["state"], "Recorded");
    EXPECT_EQ(get(alert["id"]).body, alert);
    EXPECT_EQ(get(alerts_path() + "?state=Pending").body["value"].size(), 0U);
    grant("beside", "Backup Reader", group("other"));
    grant("vaultreader", "Backup Reader", vault());
    const auto seen = [&](const std::string& who) {
        return call("GET", alerts_path(), nullptr, {}, who).body["value"].size();
    };
    EXPECT_EQ(seen("beside"), 0U);
    EXPECT_EQ(seen("vaultreader"), 1U);
    EXPECT_EQ(call("GET", alert["id"], nullptr, {}, "beside").status, 404);
    EXPECT_EQ(get(alerts_path() + "?$skipToken=x").status, 400);
}

TEST_F(Alerts, PagesLongLists) {
    catalog().write([&](catalog::Transaction& transaction) {
        for (int i = 0; i < 205; ++i) {
            AlertRecord record;
            record.id = fmt::format("a{:03}", i);
            record.kind = "JobFailed";
            record.scope = "/";
            record.created_at = transaction.now();
            transaction.put(record);
        }
    });
    std::size_t count = 0;
    std::string next = alerts_path() + "?api-version=2019-03-01";
    for (int page = 0; page < 3; ++page) {
        const Answer answer = get(next);
        count += answer.body["value"].size();
        next = answer.body.value("nextLink", std::string{});
        EXPECT_EQ(next.empty(), page == 2);
        next = next.substr(std::min(next.size(), next.find("/subscriptions")));
    }
    EXPECT_EQ(count, 205U);
}

TEST_F(Alerts, MutesWhatIsNoMatterOfSecurity) {
    make_vault();
    ASSERT_EQ(
        mute("night", {{"kind", "jobfailed"}, {"scope", vault()}, {"reason", "move"}}).status, 201
    );
    const Json rule = get("/providers/Holdfast.Alerts/mutes").body["value"][0];
    EXPECT_EQ(rule["properties"]["kind"], "JobFailed");
    EXPECT_EQ(rule["properties"]["createdBy"], "owner");
    EXPECT_EQ(del("/providers/Holdfast.Alerts/mutes/night").status, 200);
    EXPECT_EQ(del("/providers/Holdfast.Alerts/mutes/night").status, 204);
    for (const alerts::KindTraits& kind : alerts::all_kinds()) {
        if (kind.concern == alerts::Concern::kSecurity) {
            const Answer refused = mute("sly", {{"kind", kind.name}});
            EXPECT_EQ(refused.status, 400) << kind.name;
            EXPECT_EQ(refused.code(), "BMSUserErrorInvalidInput");
        }
    }
    EXPECT_EQ(mute("x", {{"kind", "Nothing"}}).status, 400);
    EXPECT_EQ(mute("x", {{"kind", "JobFailed"}, {"until", "soon"}}).status, 400);
    EXPECT_EQ(mute("x", {{"kind", "JobFailed"}, {"scope", "nowhere"}}).status, 400);
    EXPECT_EQ(mute("x", Json::object()).status, 400);
    EXPECT_EQ(get("/providers/Holdfast.Alerts/mutes").body["value"].size(), 0U);
    grant("contributor", "Backup Contributor", "/");
    EXPECT_EQ(
        call(
            "PUT",
            "/providers/Holdfast.Alerts/mutes/x",
            {{"properties", {{"kind", "JobFailed"}}}},
            {},
            "contributor"
        )
            .status,
        403
    );
}

TEST_F(Alerts, TheTestSaysWhenThereIsNoChannel) {
    const Answer answer = post("/providers/Holdfast.Alerts/test");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body["channels"], Json::array());
}

// ---- the vault's identity, when a job runs

TEST_F(Alerts, AScheduledBackupAsksForTheVaultsPermissions) {
    protect();
    const std::string assignments =
        server() + "/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01";
    const Json granted = get(assignments).body["value"];
    ASSERT_FALSE(granted.empty());
    for (const Json& each : granted) {
        ASSERT_EQ(del(each["id"]).status, 200);
    }
    const std::string identity = get(vault()).body["identity"]["principalId"];
    clock().advance(std::chrono::hours{24 * 7});
    services().jobs.look();
    run_jobs();
    const Json jobs = get(vault() + "/backupJobs").body["value"];
    ASSERT_FALSE(jobs.empty());
    const Json job = jobs[0]["properties"];
    EXPECT_EQ(job["isUserTriggered"], false);
    EXPECT_EQ(job["status"], "Failed");
    EXPECT_EQ(job["errorDetails"][0]["code"], "UserErrorMissingRequiredPermissions");
    EXPECT_THAT(
        job["errorDetails"].dump(),
        HasSubstr("holdfast role assignment create --assignee-object-id " + identity)
    );
    bool told = false;
    for (const AlertRecord& record : catalog().list<AlertRecord>()) {
        told = told || record.kind == "JobFailed";
    }
    EXPECT_TRUE(told);
}

}  // namespace
}  // namespace holdfast::control
