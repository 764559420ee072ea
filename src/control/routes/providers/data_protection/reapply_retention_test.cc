#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

class ReapplyRetention : public ApiFixture {
protected:
    void SetUp() override {
        protect();
        ASSERT_EQ(
            post(
                instance("backup"), {{"backupRuleOptions", {{"ruleName", "BackupWeekly"}}}}
            ).status,
            202
        );
        run_jobs();
    }
    [[nodiscard]] std::string instance(std::string_view verb) const {
        return fmt::format("{}/backupInstances/BI/{}", vault(), verb);
    }
    Json point() { return get(instance("recoveryPoints")).body["value"][0]["properties"]; }
    Answer edit(std::string_view duration) {
        Json policy = policy_body();
        policy["properties"]["policyRules"][1]["lifecycles"][0]["deleteAfter"]["duration"] =
            duration;
        return put(vault() + "/backupPolicies/P", policy);
    }
    void set_immutability(std::string_view state) {
        Json body = vault_body();
        body["properties"]["securitySettings"]["immutabilitySettings"] = {{"state", state}};
        ASSERT_EQ(put(vault(), body).status, 200);
    }
};

TEST_F(ReapplyRetention, AnEditAloneChangesNoPoint) {
    const Json before = point();
    EXPECT_EQ(before["expiryTime"], "2026-04-02T03:04:05.0000000Z");
    EXPECT_EQ(before["policyVersion"], "1");
    ASSERT_EQ(edit("P1M").status, 200);
    EXPECT_EQ(point(), before);
    const Json versions = get(vault() + "/backupPolicies/P/versions").body["value"];
    ASSERT_EQ(versions.size(), 2U);
    EXPECT_EQ(versions[0]["name"], "2");
    EXPECT_EQ(
        versions[1]["properties"]["policy"]["policyRules"][1]["lifecycles"][0]["deleteAfter"]
                ["duration"],
        "P3M"
    );
}

TEST_F(ReapplyRetention, ShowsTheEffectThenBringsItAbout) {
    ASSERT_EQ(edit("P1M").status, 200);
    const Answer shown = post(instance("reapplyRetention"));
    ASSERT_EQ(shown.status, 200) << shown.body.dump();
    EXPECT_EQ(shown.body["shortened"], 1);
    EXPECT_EQ(shown.body["extended"], 0);
    EXPECT_EQ(shown.body["policyVersion"], 2);
    EXPECT_EQ(shown.body["changes"][0]["newExpiryTime"], "2026-02-02T03:04:05.0000000Z");
    EXPECT_EQ(shown.body["changes"][0]["madeUnderPolicyVersion"], 1);
    EXPECT_EQ(point()["expiryTime"], "2026-04-02T03:04:05.0000000Z");

    EXPECT_EQ(post(instance("reapplyRetention"), {{"apply", true}}).status, 400);
    EXPECT_EQ(
        post(instance("reapplyRetention"), {{"apply", true}, {"effectToken", "no"}}).status, 409
    );
    const Json apply{{"apply", true}, {"effectToken", shown.body["effectToken"]}};
    const Answer applied = post(instance("reapplyRetention"), apply);
    ASSERT_EQ(applied.status, 200) << applied.body.dump();
    EXPECT_EQ(point()["expiryTime"], "2026-02-02T03:04:05.0000000Z");
    EXPECT_EQ(point()["policyVersion"], "1");
    // What was shown is no longer so: the same token does nothing a second time.
    EXPECT_EQ(post(instance("reapplyRetention"), apply).status, 409);
    EXPECT_EQ(post(instance("reapplyRetention")).body["shortened"], 0);
}

TEST_F(ReapplyRetention, AnImmutableVaultLetsPointsLiveLongerOnly) {
    set_immutability("Unlocked");
    ASSERT_EQ(edit("P1M").status, 200);
    Json effect = post(instance("reapplyRetention")).body;
    const Answer refused = post(
        instance("reapplyRetention"), {{"apply", true}, {"effectToken", effect["effectToken"]}}
    );
    EXPECT_EQ(refused.status, 400);
    EXPECT_EQ(refused.code(), "UserErrorOperationNotAllowedOnImmutableVault");
    EXPECT_EQ(point()["expiryTime"], "2026-04-02T03:04:05.0000000Z");
    ASSERT_EQ(edit("P1Y").status, 200);
    effect = post(instance("reapplyRetention")).body;
    EXPECT_EQ(effect["extended"], 1);
    EXPECT_EQ(
        post(
            instance("reapplyRetention"), {{"apply", true}, {"effectToken", effect["effectToken"]}}
        ).status,
        200
    );
    EXPECT_EQ(point()["expiryTime"], "2027-01-02T03:04:05.0000000Z");
}

TEST_F(ReapplyRetention, APolicyMadeAgainGoesOnCounting) {
    const std::string other = vault() + "/backupPolicies/Q";
    ASSERT_EQ(put(other, policy_body()).status, 200);
    ASSERT_EQ(del(other).status, 200);
    ASSERT_EQ(put(other, policy_body()).status, 200);
    EXPECT_EQ(get(other + "/versions").body["value"][0]["name"], "2");
}

}  // namespace
}  // namespace holdfast::control
