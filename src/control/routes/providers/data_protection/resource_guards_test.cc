#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

using testing::HasSubstr;

class ResourceGuards : public ApiFixture {
protected:
    static constexpr std::string_view kOperator = "owner";     // Runs the vault, has every right.
    static constexpr std::string_view kApprover = "approver";  // The second person.

    void SetUp() override {
        protect();
        grant(std::string{kApprover}, "Owner", "/");
        ASSERT_EQ(put(guard(), {{"location", "westus"}}).status, 200);
    }

    [[nodiscard]] std::string guard(std::string_view name = "G") const {
        return fmt::format(
            "{}/providers/Microsoft.DataProtection/resourceGuards/{}", group("security"), name
        );
    }
    [[nodiscard]] std::string proxy() const {
        return vault() + "/backupResourceGuardProxies/DppResourceGuardProxy";
    }
    [[nodiscard]] std::string request(std::string_view kind) const {
        return fmt::format("{}/{}/default", guard(), kind);
    }
    void map(std::string_view to = "G") {
        const Answer answer =
            put(proxy(), {{"properties", {{"resourceGuardResourceId", guard(to)}}}});
        ASSERT_EQ(answer.status, 200) << answer.body.dump();
    }
    Answer as_approver(const std::string& path, const Json& body = nullptr) {
        return call("POST", path, body, {}, std::string{kApprover});
    }
    void ask_and_approve(std::string_view kind) {
        ASSERT_EQ(call("PUT", request(kind)).status, 200);
        const Answer approved = as_approver(request(kind) + "/approve");
        ASSERT_EQ(approved.status, 200) << approved.body.dump();
        ASSERT_EQ(approved.body["properties"]["status"], "Approved");
    }
    [[nodiscard]] Json naming(std::string_view kind) const {
        return {{"resourceGuardOperationRequests", Json::array({request(kind)})}};
    }
    [[nodiscard]] std::string instance(std::string_view verb = "") const {
        return vault() + "/backupInstances/BI" + (verb.empty() ? "" : "/" + std::string{verb});
    }
};

TEST_F(ResourceGuards, AreMadeShownListedChangedAndDeleted) {
    const Answer made = put(guard("H"), {{"location", "West US"}, {"tags", {{"team", "sec"}}}});
    ASSERT_EQ(made.status, 200) << made.body.dump();
    EXPECT_EQ(made.body["location"], "westus");
    EXPECT_EQ(made.body["type"], "Microsoft.DataProtection/resourceGuards");
    EXPECT_EQ(made.body["properties"]["resourceGuardOperations"].size(), 9U);
    EXPECT_EQ(get(guard("h")).body["name"], "H");
    EXPECT_EQ(
        get(group("security") + "/providers/microsoft.dataprotection/RESOURCEGUARDS")
            .body["value"]
            .size(),
        2U
    );
    EXPECT_EQ(
        get(fmt::format(
                "/subscriptions/{}/providers/Microsoft.DataProtection/resourceGuards", kSubscription
            ))
            .body["value"]
            .size(),
        2U
    );
    const std::string restore =
        "Microsoft.DataProtection/backupVaults/backupInstances/restore/action";
    Json body{{"properties", {{"vaultCriticalOperationExclusionList", {restore}}}}};
    const Answer changed = call("PATCH", guard("H"), body);
    EXPECT_EQ(changed.body["properties"]["vaultCriticalOperationExclusionList"][0], restore);
    EXPECT_EQ(changed.body["tags"]["team"], "sec");
    body["properties"]["vaultCriticalOperationExclusionList"] = {
        "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/delete"
    };
    EXPECT_EQ(call("PATCH", guard("H"), body).status, 400);
    Headers stale;
    stale.set("If-Match", "\"other\"");
    EXPECT_EQ(call("PATCH", guard("H"), {{"tags", Json::object()}}, stale).status, 412);
    EXPECT_EQ(del(guard("H")).status, 200);
    EXPECT_EQ(del(guard("H")).status, 204);
    EXPECT_EQ(get(guard("H")).status, 404);
    // A guard in use stays, and so does the group that holds it.
    map();
    EXPECT_EQ(del(guard()).status, 409);
    EXPECT_EQ(del(group("security") + "?api-version=2021-04-01").status, 409);
}

TEST_F(ResourceGuards, MappingShowsWhatMustBeAskedFor) {
    EXPECT_EQ(get(vault()).body["properties"]["isVaultProtectedByResourceGuard"], false);
    map();
    const Json shown = get(proxy()).body;
    EXPECT_EQ(shown["type"], "Microsoft.DataProtection/vaults/backupResourceGuardProxies");
    EXPECT_EQ(shown["properties"]["resourceGuardResourceId"], guard());
    EXPECT_EQ(
        shown["properties"]["resourceGuardOperationDetails"][0]["defaultResourceRequest"],
        request("deleteBackupInstanceRequests")
    );
    EXPECT_EQ(get(vault()).body["properties"]["isVaultProtectedByResourceGuard"], true);
    EXPECT_EQ(
        put(proxy(), {{"properties", {{"resourceGuardResourceId", guard("none")}}}}).status, 404
    );
    EXPECT_EQ(put(proxy(), {{"properties", {{"resourceGuardResourceId", vault()}}}}).status, 400);
    EXPECT_EQ(get(request("dppTriggerRestoreRequests")).body["name"], "default");
    EXPECT_EQ(get(guard() + "/deleteProtectedItemRequests").body["value"].size(), 1U);
    EXPECT_EQ(get(guard() + "/nothingRequests").status, 404);
}

TEST_F(ResourceGuards, GuardedOperationsNeedTheWordOfAnotherPrincipal) {
    map();
    const Json named = naming("dppDisableStopProtectionRequests");
    const Answer refused = post(instance("stopProtection"));
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(refused.code(), "UserErrorResourceGuardApprovalRequired");
    EXPECT_THAT(
        refused.body["error"]["additionalInfo"][0]["info"]["recommendedAction"].dump(),
        HasSubstr("dppDisableStopProtectionRequests/default")
    );
    // Naming a request that nobody made, made but did not approve, or approved for oneself.
    EXPECT_EQ(post(instance("stopProtection"), named).status, 403);
    ASSERT_EQ(call("PUT", request("dppDisableStopProtectionRequests")).status, 200);
    EXPECT_EQ(post(instance("stopProtection"), named).status, 403);
    EXPECT_EQ(post(request("dppDisableStopProtectionRequests") + "/approve").status, 403);
    EXPECT_EQ(post(instance("stopProtection"), named).status, 403);
    ASSERT_EQ(as_approver(request("dppDisableStopProtectionRequests") + "/approve").status, 200);
    // An approval of one thing is none of another, nor one for somebody else.
    EXPECT_EQ(post(instance("suspendBackups"), named).status, 403);
    EXPECT_EQ(as_approver(instance("stopProtection"), named).status, 403);
    EXPECT_EQ(post(instance("stopProtection"), named).status, 202);
    EXPECT_EQ(get(instance()).body["properties"]["currentProtectionState"], "ProtectionStopped");
}

TEST_F(ResourceGuards, AnOperatorOfTheGuardByAnothersHandNeedsNoRequest) {
    map();
    const Json named = naming("dppDisableStopProtectionRequests");
    const auto assign = [&](const std::string& scope, std::string_view role, std::string_view by) {
        catalog().write([&](catalog::Transaction& transaction) {
            catalog::RoleAssignmentRecord record;
            record.id = "11111111-1111-4111-8111-111111111111";
            record.scope = scope;
            record.role_definition_id =
                fmt::format("/providers/Microsoft.Authorization/roleDefinitions/{}", role);
            record.principal_id = kOperator;
            record.created_by = by;
            transaction.put(record);
        });
    };
    constexpr std::string_view kMuaOperator = "f54b6d04-23c6-443e-b462-9c16ab7b4a52";
    assign(guard(), kMuaOperator, kOperator);  // By himself.
    EXPECT_EQ(post(instance("stopProtection"), named).status, 403);
    assign(guard(), kMuaOperator, "");  // By the service.
    EXPECT_EQ(post(instance("stopProtection"), named).status, 403);
    assign(group("security"), kMuaOperator, kApprover);  // Not of this guard alone.
    EXPECT_EQ(post(instance("stopProtection"), named).status, 403);
    assign(guard(), "acdd72a7-3385-48ef-bd42-f606fba81ae7", kApprover);  // A reader.
    EXPECT_EQ(post(instance("stopProtection"), named).status, 403);
    assign(guard(), kMuaOperator, kApprover);
    EXPECT_EQ(post(instance("stopProtection")).status, 403);  // It still has to be named.
    EXPECT_EQ(post(instance("stopProtection"), named).status, 202);
}

TEST_F(ResourceGuards, AnApprovalEnds) {
    map();
    ask_and_approve("dppDisableSuspendBackupsRequests");
    const Json named = naming("dppDisableSuspendBackupsRequests");
    clock().advance(std::chrono::minutes{61});
    EXPECT_EQ(post(instance("suspendBackups"), named).status, 403);
    ask_and_approve("dppDisableSuspendBackupsRequests");
    ASSERT_EQ(as_approver(request("dppDisableSuspendBackupsRequests") + "/reject").status, 200);
    EXPECT_EQ(post(instance("suspendBackups"), named).status, 403);
    ask_and_approve("dppDisableSuspendBackupsRequests");
    EXPECT_EQ(post(instance("suspendBackups"), named).status, 202);
}

TEST_F(ResourceGuards, DeletionNeedsAnOpenWindow) {
    map();
    EXPECT_EQ(del(instance()).status, 403);
    const Json named = naming("deleteBackupInstanceRequests");
    EXPECT_EQ(post(proxy() + "/unlockDelete", named).status, 403);
    EXPECT_EQ(post(proxy() + "/unlockDelete", Json::object()).status, 400);
    ask_and_approve("deleteBackupInstanceRequests");
    EXPECT_EQ(del(instance()).status, 403);
    const Answer unlocked = post(proxy() + "/unlockDelete", named);
    ASSERT_EQ(unlocked.status, 200) << unlocked.body.dump();
    EXPECT_EQ(unlocked.body["unlockDeleteExpiryTime"], "2026-01-02T03:34:05.0000000Z");
    // The window is the caller's own, for this one operation, and closes.
    EXPECT_EQ(call("DELETE", instance(), nullptr, {}, std::string{kApprover}).status, 403);
    EXPECT_EQ(del(proxy()).status, 403);
    clock().advance(std::chrono::minutes{31});
    EXPECT_EQ(del(instance()).status, 403);
    ASSERT_EQ(post(proxy() + "/unlockDelete", named).status, 200);
    EXPECT_EQ(del(instance()).status, 202);
}

TEST_F(ResourceGuards, NobodyTakesTheGuardAwayAlone) {
    map();
    EXPECT_EQ(del(proxy()).status, 403);
    // Nor puts a guard of his own in its place, nor maps the vault twice to get around the first.
    ASSERT_EQ(put(guard("Mine"), {{"location", "westus"}}).status, 200);
    EXPECT_EQ(
        put(proxy(), {{"properties", {{"resourceGuardResourceId", guard("Mine")}}}}).status, 403
    );
    EXPECT_EQ(
        put(vault() + "/backupResourceGuardProxies/Second",
            {{"properties", {{"resourceGuardResourceId", guard("Mine")}}}}
        ).status,
        200
    );
    EXPECT_EQ(post(instance("stopProtection")).status, 403);
    EXPECT_EQ(del(proxy()).status, 403);
    EXPECT_EQ(del(vault()).status, 400);  // Not empty; and see VaultsGoWithTheirMapping.
}

TEST_F(ResourceGuards, TheMappingGoesOnceItIsUnlocked) {
    map();
    ask_and_approve("deleteResourceGuardProxyRequests");
    ASSERT_EQ(
        post(proxy() + "/unlockDelete", naming("deleteResourceGuardProxyRequests")).status, 200
    );
    EXPECT_EQ(del(proxy()).status, 200);
    EXPECT_EQ(get(proxy()).status, 404);
    EXPECT_EQ(post(instance("stopProtection")).status, 202);
}

TEST_F(ResourceGuards, SecurityIsLoweredWithApprovalOnly) {
    Json body = vault_body();
    body["properties"]["securitySettings"]["immutabilitySettings"] = {{"state", "Unlocked"}};
    ASSERT_EQ(put(vault(), body).status, 200);
    map();
    Json weaker = body;
    weaker["properties"]["securitySettings"]["immutabilitySettings"]["state"] = "Disabled";
    EXPECT_EQ(put(vault(), weaker).status, 403);
    weaker = body;
    weaker["properties"]["securitySettings"]["softDeleteSettings"]["state"] = "Off";
    EXPECT_EQ(call("PATCH", vault(), weaker).status, 403);
    EXPECT_EQ(put(vault(), body).status, 200);  // Nothing is lowered.
    ask_and_approve("dppReduceSoftDeleteSecurityRequests");
    weaker["properties"].update(naming("dppReduceSoftDeleteSecurityRequests"));
    const Answer lowered = put(vault(), weaker);
    EXPECT_EQ(lowered.status, 200) << lowered.body.dump();
    EXPECT_FALSE(lowered.body["properties"].contains("resourceGuardOperationRequests"));
}

TEST_F(ResourceGuards, PolicyRestoreAndExclusions) {
    ASSERT_EQ(put(vault() + "/backupPolicies/Q", policy_body()).status, 200);
    map();
    EXPECT_EQ(put(instance(), instance_body("empdb11", "Q")).status, 403);
    EXPECT_EQ(put(instance(), instance_body("empdb11", "P")).status, 201);  // The same policy.
    Json shorter = policy_body();
    shorter["properties"]["policyRules"][1]["lifecycles"][0]["deleteAfter"]["duration"] = "P1M";
    EXPECT_EQ(put(vault() + "/backupPolicies/P", shorter).status, 403);
    EXPECT_EQ(put(vault() + "/backupPolicies/Q", shorter).status, 200);  // Nobody uses it.
    ask_and_approve("dppModifyPolicy");
    shorter["properties"].update(naming("dppModifyPolicy"));
    EXPECT_EQ(put(vault() + "/backupPolicies/P", shorter).status, 200);
    EXPECT_FALSE(get(vault() + "/backupPolicies/P")
                     .body["properties"]
                     .contains("resourceGuardOperationRequests"));
    // What the guard leaves out needs no approval.
    ASSERT_EQ(
        call(
            "PATCH",
            guard(),
            {{"properties",
              {{"vaultCriticalOperationExclusionList",
                {"microsoft.dataprotection/BACKUPVAULTS/backupInstances/stopProtection/action"}}}}}
        ).status,
        200
    );
    EXPECT_EQ(post(instance("stopProtection")).status, 202);
}

TEST_F(ResourceGuards, PointsAreNotShortenedAlone) {
    ASSERT_EQ(
        post(instance("backup"), {{"backupRuleOptions", {{"ruleName", "BackupWeekly"}}}}).status,
        202
    );
    run_jobs();
    Json shorter = policy_body();
    shorter["properties"]["policyRules"][1]["lifecycles"][0]["deleteAfter"]["duration"] = "P1M";
    ASSERT_EQ(put(vault() + "/backupPolicies/P", shorter).status, 200);
    map();
    const Json effect = post(instance("reapplyRetention")).body;
    ASSERT_EQ(effect["shortened"], 1);
    Json apply{{"apply", true}, {"effectToken", effect["effectToken"]}};
    EXPECT_EQ(post(instance("reapplyRetention"), apply).status, 403);
    ask_and_approve("dppModifyPolicy");
    EXPECT_EQ(post(instance("reapplyRetention"), apply).status, 403);
    apply.update(naming("dppModifyPolicy"));
    EXPECT_EQ(post(instance("reapplyRetention"), apply).status, 200);
}

TEST_F(ResourceGuards, ARestoreNeedsTheWordToo) {
    ASSERT_EQ(
        post(instance("backup"), {{"backupRuleOptions", {{"ruleName", "BackupWeekly"}}}}).status,
        202
    );
    run_jobs();
    map();
    const std::string target = server() + "/databases/copy";
    Json request{
        {"objectType", "AzureBackupRecoveryPointBasedRestoreRequest"},
        {"recoveryPointId", get(instance("recoveryPoints")).body["value"][0]["name"]},
        {"sourceDataStoreType", "VaultStore"},
        {"restoreTargetInfo",
         {{"objectType", "RestoreTargetInfo"},
          {"recoveryOption", "FailIfExists"},
          {"restoreLocation", "westus"},
          {"datasourceInfo", {{"objectType", "Datasource"}, {"resourceID", target}}}}}
    };
    EXPECT_EQ(post(instance("restore"), request).code(), "UserErrorResourceGuardApprovalRequired");
    ask_and_approve("dppTriggerRestoreRequests");
    request.update(naming("dppTriggerRestoreRequests"));
    const Answer allowed = post(instance("restore"), request);
    EXPECT_EQ(allowed.status, 202) << allowed.body.dump();
}

TEST_F(ResourceGuards, TheHighestScoreNeedsAGuard) {
    Json body = vault_body();
    body["properties"]["securitySettings"] = {
        {"softDeleteSettings", {{"state", "AlwaysOn"}, {"retentionDurationInDays", 14}}},
        {"immutabilitySettings", {{"state", "Locked"}}}
    };
    ASSERT_EQ(put(vault(), body).status, 200);
    EXPECT_EQ(get(vault()).body["properties"]["secureScore"], "Adequate");
    map();
    EXPECT_EQ(get(vault()).body["properties"]["secureScore"], "Maximum");
    EXPECT_EQ(get(vault()).body["properties"]["bcdrSecurityLevel"], "Excellent");
}

}  // namespace
}  // namespace holdfast::control
