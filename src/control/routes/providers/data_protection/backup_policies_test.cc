#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

using testing::HasSubstr;

class BackupPolicies : public ApiFixture {
protected:
    void SetUp() override { make_vault(); }
    [[nodiscard]] std::string policy(std::string_view name = "P") const {
        return fmt::format("{}/backupPolicies/{}", vault(), name);
    }
};

TEST_F(BackupPolicies, TheGuidesPolicyIsStoredInCanonicalForm) {
    const Answer answer = put(policy(), policy_body());
    ASSERT_EQ(answer.status, 200) << answer.body.dump();
    EXPECT_EQ(answer.body["id"], policy());
    EXPECT_EQ(answer.body["type"], "Microsoft.DataProtection/backupVaults/backupPolicies");
    const Json& properties = answer.body["properties"];
    EXPECT_FALSE(properties.contains("name"));
    const Json& tag = properties["policyRules"][0]["trigger"]["taggingCriteria"][1];
    EXPECT_EQ(tag["tagInfo"]["id"], "Monthly_");
    EXPECT_EQ(tag["criteria"][0]["daysOfTheWeek"], Json::array({"Sunday", "Friday"}));
    EXPECT_FALSE(tag["criteria"][0].contains("days_of_month"));
    EXPECT_EQ(
        properties["policyRules"][2]["lifecycles"][0]["targetDataStoreCopySettings"], Json::array()
    );
    EXPECT_EQ(get(policy("p")).body, answer.body);
    EXPECT_EQ(get(vault() + "/backupPolicies").body["value"], Json::array({answer.body}));
}

TEST_F(BackupPolicies, AnUnknownPropertyInARuleIsRefusedWithItsPath) {
    Json body = policy_body();
    body["properties"]["policyRules"][1]["retainForever"] = true;
    const Answer answer = put(policy(), body);
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.code(), "UserErrorDppInvalidBackupPolicy");
    EXPECT_EQ(answer.body["error"]["target"], "properties.policyRules[1].retainForever");
    EXPECT_EQ(get(policy()).code(), "ResourceNotFound");
}

TEST_F(BackupPolicies, AnUnknownPropertyOutsideTheRulesIsIgnored) {
    Json body = policy_body();
    body["properties"]["colour"] = "blue";
    body["extra"] = 1;
    const Answer answer = put(policy(), body);
    EXPECT_EQ(answer.status, 200);
    EXPECT_THAT(answer.header("x-holdfast-ignored"), HasSubstr("properties.colour"));
    EXPECT_THAT(answer.header("x-holdfast-ignored"), HasSubstr("extra"));
}

TEST_F(BackupPolicies, AnInvalidEditLeavesThePolicyAsItWas) {
    make_policy();
    const Json before = get(policy()).body;
    Json body = policy_body();
    body["properties"]["policyRules"][1]["lifecycles"][0]["deleteAfter"]["duration"] = "P-6M";
    EXPECT_EQ(put(policy(), body).status, 400);
    EXPECT_EQ(get(policy()).body, before);
}

TEST_F(BackupPolicies, AnEditCountsTheVersion) {
    make_policy();
    make_policy();
    EXPECT_EQ(catalog().get<catalog::PolicyRecord>(policy())->version, 1);
    Json body = policy_body();
    body["properties"]["policyRules"][1]["lifecycles"][0]["deleteAfter"]["duration"] = "P4M";
    ASSERT_EQ(put(policy(), body).status, 200);
    EXPECT_EQ(catalog().get<catalog::PolicyRecord>(policy())->version, 2);
}

TEST_F(BackupPolicies, NamesFollowTheRule) {
    EXPECT_EQ(put(policy(std::string(151, 'a')), policy_body()).code(), "InvalidResourceName");
    EXPECT_EQ(put(policy("a.b.c"), policy_body()).code(), "InvalidResourceName");
    EXPECT_EQ(put(vault("None") + "/backupPolicies/P", policy_body()).code(), "ResourceNotFound");
}

TEST_F(BackupPolicies, OneThatIsUsedIsNotDeleted) {
    EXPECT_EQ(del(policy()).status, 204);
    make_server();
    make_policy("Pol");
    ASSERT_EQ(
        wait(put(vault() + "/backupInstances/BI", instance_body("empdb11", "POL")))["status"],
        "Succeeded"
    );
    const Answer refused = del(policy("Pol"));
    EXPECT_EQ(refused.code(), "UserErrorDppPolicyObjectInUse");
    EXPECT_THAT(refused.body["error"]["details"][0]["message"].get<std::string>(), HasSubstr("BI"));
    EXPECT_EQ(get(policy("Pol")).status, 200);
}

TEST_F(BackupPolicies, SimulationTellsWhatWillHappen) {
    make_policy();
    const Answer answer =
        post(policy() + "/simulate", {{"count", 3}, {"from", "2026-01-02T00:00:00Z"}});
    ASSERT_EQ(answer.status, 200) << answer.body.dump();
    EXPECT_EQ(answer.body["runs"].size(), 3U);
    EXPECT_EQ(post(policy() + "/simulate").status, 200);
    EXPECT_EQ(post(policy() + "/simulate", {{"count", 0}}).body["error"]["target"], "count");
    EXPECT_EQ(post(policy() + "/simulate", {{"from", "soon"}}).status, 400);
}

}  // namespace
}  // namespace holdfast::control
