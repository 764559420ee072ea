#include "control/routes/testing/api_fixture.h"

#include <atomic>
#include <thread>

namespace holdfast::control {
namespace {

using testing::HasSubstr;

class BackupVaults : public ApiFixture {};

TEST_F(BackupVaults, CreateAnswersAsAzureDoes) {
    const Answer answer = put(vault(), vault_body());
    ASSERT_EQ(answer.status, 201) << answer.body.dump();
    EXPECT_EQ(answer.body["properties"]["provisioningState"], "Provisioning");
    EXPECT_THAT(
        answer.header("Azure-AsyncOperation"),
        testing::StartsWith("https://localhost:8443" + vault() + "/operationStatus/")
    );
    const Json status = wait(answer);
    EXPECT_EQ(status["status"], "Succeeded");
    EXPECT_FALSE(status.contains("properties"));
    const Json shown = get(vault()).body;
    EXPECT_EQ(shown["id"], vault());
    EXPECT_EQ(shown["type"], "Microsoft.DataProtection/backupVaults");
    EXPECT_EQ(shown["location"], "westus");
    EXPECT_EQ(shown["identity"]["type"], "SystemAssigned");
    EXPECT_EQ(shown["identity"]["tenantId"], kTenant);
    EXPECT_EQ(shown["properties"]["provisioningState"], "Succeeded");
    EXPECT_EQ(
        shown["properties"]["storageSettings"], vault_body()["properties"]["storageSettings"]
    );
    EXPECT_EQ(shown["properties"]["isVaultProtectedByResourceGuard"], false);
    EXPECT_EQ(shown["properties"]["secureScore"], "None");
    EXPECT_EQ(shown["properties"]["bcdrSecurityLevel"], "Poor");
    EXPECT_EQ(shown["properties"]["holdfast"]["usable"], true);
    EXPECT_EQ(shown["properties"]["holdfast"]["warnings"].size(), 1U);  // No recovery kit yet.
    // The group was made with it.
    EXPECT_EQ(get(group()).status, 200);
}

TEST_F(BackupVaults, UserAssignedIdentitiesAreShownAsTheyWereGiven) {
    const std::string id =
        group() + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u1";
    Json body = vault_body();
    body["identity"] = {
        {"type", "SystemAssigned,UserAssigned"}, {"userAssignedIdentities", {{id, Json::object()}}}
    };
    const Answer made = put(vault(), body);
    ASSERT_EQ(made.status, 201) << made.body.dump();
    const Json identity = get(vault()).body["identity"];
    EXPECT_EQ(identity["type"], "SystemAssigned,UserAssigned");
    EXPECT_EQ(identity["userAssignedIdentities"][id]["principalId"], identity["principalId"]);
    // What was shown comes back, and changes nothing.
    Json whole = get(vault()).body;
    EXPECT_EQ(put(vault(), whole).body["identity"], identity);
    whole["identity"] = {{"type", "UserAssigned"}, {"userAssignedIdentities", {{id, nullptr}}}};
    const Json alone = put(vault(), whole).body["identity"];
    EXPECT_FALSE(alone.contains("principalId"));
    EXPECT_EQ(alone["userAssignedIdentities"][id]["principalId"], identity["principalId"]);
    whole["identity"] = {{"type", "SystemAssigned"}};
    EXPECT_FALSE(put(vault(), whole).body["identity"].contains("userAssignedIdentities"));
    EXPECT_FALSE(get(vault()).body["properties"].contains("assignedIdentities"));
    body["identity"]["userAssignedIdentities"] = {{"no-id", Json::object()}};
    EXPECT_EQ(put(vault(), body).code(), "InvalidResourceId");
}

TEST_F(BackupVaults, AnUpdateKeepsTheIdentity) {
    make_vault();
    Json whole = get(vault()).body;
    const std::string principal = whole["identity"]["principalId"];
    whole["identity"] = {{"type", "SystemAssigned"}};
    whole["properties"]["securitySettings"]["immutabilitySettings"] = {{"state", "Unlocked"}};
    whole["tags"] = {{"k", "v"}};
    const Answer answer = put(vault(), whole);
    ASSERT_EQ(answer.status, 200) << answer.body.dump();
    EXPECT_EQ(answer.body["properties"]["provisioningState"], "Updating");
    EXPECT_EQ(answer.header("x-holdfast-ignored"), "");
    const Json shown = get(vault()).body;
    EXPECT_EQ(shown["identity"]["principalId"], principal);
    EXPECT_EQ(shown["tags"]["k"], "v");
    EXPECT_EQ(shown["properties"]["secureScore"], "Minimum");
    EXPECT_EQ(shown["properties"]["bcdrSecurityLevel"], "Fair");
    whole["identity"] = {{"type", "None"}};
    EXPECT_FALSE(put(vault(), whole).body.contains("identity"));
    whole["identity"] = {{"type", "SystemAssigned"}};
    EXPECT_EQ(put(vault(), whole).body["identity"]["principalId"], principal);
}

TEST_F(BackupVaults, OfTwoWritersAtOnceNoneIsUndoneUnseen) {
    make_vault();
    std::vector<std::thread> writers;
    std::atomic<int> done = 0;
    std::atomic<int> refused = 0;
    for (int i = 0; i < 4; ++i) {
        writers.emplace_back([&, i] {
            const Json body{{"tags", {{fmt::format("writer{}", i), "1"}}}};
            const int status = call("PATCH", vault(), body).status;
            (status == 200 ? done : refused) += 1;
            EXPECT_THAT(status, testing::AnyOf(200, 409));
        });
    }
    for (std::thread& writer : writers) {
        writer.join();
    }
    EXPECT_GE(done, 1);
    EXPECT_EQ(done + refused, 4);
}

TEST_F(BackupVaults, PatchChangesOnlyWhatItNames) {
    make_vault();
    EXPECT_EQ(call("PATCH", vault(), {{"tags", {{"a", "1"}}}}).status, 200);
    const Answer answer = call(
        "PATCH",
        vault(),
        Json::parse(
            R"({"properties":{"securitySettings":{"softDeleteSettings":{"state":"AlwaysOn"}}}})"
        )
    );
    ASSERT_EQ(answer.status, 200) << answer.body.dump();
    EXPECT_EQ(answer.body["tags"]["a"], "1");
    EXPECT_EQ(answer.body["properties"]["secureScore"], "Adequate");
    EXPECT_EQ(put(vault(), vault_body()).code(), "UserErrorDisableSoftDeleteNotAllowed");
    EXPECT_EQ(call("PATCH", vault("None"), Json::object()).code(), "ResourceNotFound");
}

TEST_F(BackupVaults, NamesFollowTheRule) {
    for (const char* name : {"a", "1abc", "-abc", "abc-", "a_b", "a.b"}) {
        EXPECT_EQ(put(vault(name), vault_body()).code(), "InvalidResourceName") << name;
    }
    EXPECT_EQ(put(vault(std::string(51, 'a')), vault_body()).code(), "InvalidResourceName");
    EXPECT_EQ(put(vault(std::string(50, 'a')), vault_body()).status, 201);
}

TEST_F(BackupVaults, AVaultDoesNotMove) {
    make_vault();
    Json body = vault_body();
    body["location"] = "eastus";
    EXPECT_EQ(put(vault(), body).code(), "Conflict");
    EXPECT_EQ(get(vault()).body["location"], "westus");
}

TEST_F(BackupVaults, AreListedByGroupAndSubscription) {
    make_vault("VaultA");
    make_vault("VaultB");
    EXPECT_EQ(
        get(group() + "/providers/Microsoft.DataProtection/backupVaults").body["value"].size(), 2U
    );
    const std::string all = fmt::format(
        "/subscriptions/{}/providers/Microsoft.DataProtection/backupVaults", kSubscription
    );
    const Json first = get(all + "?$top=1").body;
    ASSERT_EQ(first["value"].size(), 1U);
    std::string next = first["nextLink"];
    EXPECT_THAT(next, HasSubstr("api-version=2024-04-01"));
    const Json second = get(next.substr(std::string{"https://localhost:8443"}.size())).body;
    EXPECT_EQ(second["value"].size(), 1U);
    EXPECT_NE(second["value"][0]["name"], first["value"][0]["name"]);
    EXPECT_FALSE(second.contains("nextLink"));
}

TEST_F(BackupVaults, DeleteIsRefusedWhileAnythingIsInside) {
    EXPECT_EQ(del(vault()).status, 204);
    make_vault();
    make_policy();
    const Answer refused = del(vault());
    EXPECT_EQ(refused.status, 400);
    EXPECT_THAT(
        refused.body["error"]["message"].get<std::string>(),
        HasSubstr("Cannot delete the Backup vault as there are existing backup instances or backup "
                  "policies in the vault")
    );
    EXPECT_EQ(del(vault() + "/backupPolicies/P").status, 200);
    const Answer gone = del(vault());
    ASSERT_EQ(gone.status, 202) << gone.body.dump();
    EXPECT_TRUE(gone.body.is_null());
    EXPECT_THAT(
        gone.header("Azure-AsyncOperation"), HasSubstr("/locations/westus/operationStatus/")
    );
    EXPECT_THAT(gone.header("Location"), HasSubstr("/locations/westus/operationResults/"));
    EXPECT_EQ(wait(gone)["status"], "Succeeded");
    EXPECT_EQ(get(vault()).status, 404);
    EXPECT_EQ(put(vault(), vault_body()).status, 201);
}

TEST_F(BackupVaults, NameAvailability) {
    const std::string check = group() +
                              "/providers/Microsoft.DataProtection/locations/westus/"
                              "checkNameAvailability";
    const Json body{{"name", "TestBkpVault"}, {"type", "Microsoft.DataProtection/BackupVaults"}};
    EXPECT_EQ(post(check, body).body["nameAvailable"], true);
    make_vault();
    EXPECT_EQ(post(check, body).body["reason"], "AlreadyExists");
    EXPECT_EQ(post(check, {{"name", "-"}}).body["reason"], "Invalid");
    EXPECT_EQ(post(check, Json::object()).code(), "InvalidRequestContent");
}

}  // namespace
}  // namespace holdfast::control
