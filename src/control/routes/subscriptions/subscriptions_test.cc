#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

class Subscriptions : public ApiFixture {};

TEST_F(Subscriptions, AreListedAsALoginReadsThem) {
    const Answer answer = get("/subscriptions?api-version=2019-11-01");
    ASSERT_EQ(answer.status, 200) << answer.body.dump();
    const Json& row = answer.body["value"][0];
    EXPECT_EQ(row["id"], fmt::format("/subscriptions/{}", kSubscription));
    EXPECT_EQ(row["subscriptionId"], kSubscription);
    EXPECT_EQ(row["state"], "Enabled");
    EXPECT_EQ(row["tenantId"], kTenant);
    EXPECT_EQ(get("/tenants?api-version=2019-11-01").body["value"][0]["tenantId"], kTenant);
    EXPECT_EQ(get("/subscriptions/nope?api-version=2019-11-01").code(), "SubscriptionNotFound");
}

TEST_F(Subscriptions, ARoleOnAnythingInsideShowsTheSubscription) {
    EXPECT_TRUE(call("GET", "/subscriptions", nullptr, {}, "nobody").body["value"].empty());
    catalog().write([&](catalog::Transaction& transaction) {
        catalog::RoleAssignmentRecord assignment;
        assignment.id = "1";
        assignment.scope = vault();
        assignment.principal_id = "somebody";
        transaction.put(assignment);
    });
    EXPECT_EQ(call("GET", "/subscriptions", nullptr, {}, "somebody").body["value"].size(), 1U);
}

TEST_F(Subscriptions, LocationsMapDisplayNames) {
    const Answer answer =
        get(fmt::format("/subscriptions/{}/locations?api-version=2019-11-01", kSubscription));
    const auto& rows = answer.body["value"];
    const auto west = std::find_if(rows.begin(), rows.end(), [](const Json& row) {
        return row["displayName"] == "West US";
    });
    ASSERT_NE(west, rows.end());
    EXPECT_EQ((*west)["name"], "westus");
}

TEST_F(Subscriptions, TheTwoDiscoveryDocumentsAreAsTheClientsNeedThem) {
    const Json old = get("/metadata/endpoints?api-version=2015-01-01").body;
    EXPECT_EQ(old["authentication"]["loginEndpoint"], "https://localhost:8443/adfs");
    EXPECT_EQ(old["authentication"]["audiences"], Json::array({"https://localhost:8443/"}));
    const Json cloud = get("/metadata/endpoints?api-version=2022-09-01").body;
    EXPECT_TRUE(cloud.is_object());
    EXPECT_EQ(cloud["resourceManager"], "https://localhost:8443/");
    EXPECT_EQ(cloud["suffixes"]["keyVaultDns"], "localhost:8443");
    EXPECT_TRUE(get("/metadata/endpoints?api-version=2019-05-01").body.is_array());
}

TEST_F(Subscriptions, GroupsComeAndGo) {
    EXPECT_EQ(call("HEAD", group()).status, 404);
    EXPECT_EQ(put(group(), {{"location", "West US"}}).status, 201);
    EXPECT_EQ(call("HEAD", group()).status, 204);
    EXPECT_EQ(get(group()).body["location"], "westus");
    EXPECT_EQ(put(group(), {{"location", "westus"}, {"tags", {{"a", "b"}}}}).status, 200);
    EXPECT_EQ(get(group("RG")).body["tags"]["a"], "b");
    EXPECT_EQ(put(group(), {{"location", "eastus"}}).code(), "Conflict");
    EXPECT_EQ(put(group(), {{"location", "westus"}, {"tags", {{"a", 1}}}}).status, 400);
    EXPECT_EQ(put(group("no/slash"), {{"location", "westus"}}).status, 404);
    EXPECT_EQ(put(group("a$b"), {{"location", "westus"}}).code(), "InvalidResourceName");
    EXPECT_EQ(put(group("b%20lank"), {{"location", "westus"}}).code(), "InvalidResourceId");
    const std::string all =
        fmt::format("/subscriptions/{}/resourcegroups?api-version=2021-04-01", kSubscription);
    EXPECT_EQ(get(all).body["value"].size(), 1U);
    EXPECT_EQ(del(group()).status, 200);
    EXPECT_EQ(del(group()).code(), "ResourceGroupNotFound");
    EXPECT_TRUE(get(all).body["value"].empty());
}

TEST_F(Subscriptions, AGroupThatHoldsSomethingIsNotDeleted) {
    make_vault();
    EXPECT_EQ(del(group()).code(), "Conflict");
    EXPECT_EQ(get(vault()).status, 200);
}

}  // namespace
}  // namespace holdfast::control
