#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

using testing::HasSubstr;

class ResourceGraph : public ApiFixture {
protected:
    void SetUp() override { protect(); }
    Answer ask(const std::string& query, Json options = nullptr, const std::string& who = "owner") {
        return call(
            "POST",
            "/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01",
            Json{
                {"subscriptions", Json::array({kSubscription})},
                {"query", query},
                {"options", std::move(options)}
            },
            {},
            who
        );
    }
};

const std::string kInstances =
    "RecoveryServicesResources | where type =~ "
    "'microsoft.dataprotection/backupvaults/backupinstances'"
    "| extend vaultName = split(split(id, '/Microsoft.DataProtection/backupVaults/')[1],'/')[0]"
    "| extend protectionState = properties.currentProtectionState"
    "| extend datasourceId = properties.dataSourceInfo.resourceID";
const std::string kJobs =
    "RecoveryServicesResources | where type =~ 'microsoft.dataprotection/backupvaults/backupjobs'"
    "| extend vaultName = properties.vaultName| extend status = properties.status"
    "| extend operation = case( tolower(properties.operationCategory) startswith 'backup' and "
    "properties.isUserTriggered == 'true', strcat('OnDemand',properties.operationCategory), "
    "tolower(properties.operationCategory) startswith 'backup' and properties.isUserTriggered == "
    "'false', strcat('Scheduled', properties.operationCategory), type =~ "
    "'microsoft.dataprotection/backupVaults/backupJobs', properties.operationCategory, 'Invalid')"
    "| extend datasourceId = properties.dataSourceId";

TEST_F(ResourceGraph, FindsVaultsInstancesAndJobs) {
    const Answer vaults =
        ask("resources | where type =~ 'microsoft.dataprotection/backupvaults'"
            " | where resourceGroup in~ ('RG') | where name in~ ('testbkpvault')");
    ASSERT_EQ(vaults.status, 200) << vaults.body.dump();
    EXPECT_EQ(vaults.body["count"], 1);
    EXPECT_EQ(vaults.body["resultTruncated"], "false");
    EXPECT_EQ(vaults.body["data"][0]["type"], "microsoft.dataprotection/backupvaults");
    EXPECT_EQ(vaults.body["data"][0]["tenantId"], kTenant);

    const Answer instances =
        ask(kInstances +
            " | where properties.dataSourceInfo.datasourceType in~ "
            "('Microsoft.DBforPostgreSQL/flexibleServers') | where vaultName in~ ('TestBkpVault')"
            " | where protectionState in~ ('ProtectionConfigured')");
    ASSERT_EQ(instances.body["data"].size(), 1U) << instances.body.dump();
    EXPECT_EQ(instances.body["data"][0]["vaultName"], "TestBkpVault");

    ASSERT_EQ(
        post(
            vault() + "/backupInstances/BI/backup",
            {{"backupRuleOptions", {{"ruleName", "BackupWeekly"}}}}
        ).status,
        202
    );
    EXPECT_EQ(ask(kJobs + " | where status in~ ('Completed')").body["count"], 0);
    EXPECT_EQ(ask(kJobs + " | where status in~ ('Nonsense')").body["count"], 0);
    EXPECT_EQ(
        ask(kJobs + " | where operation in~ ('OnDemandBackup') | where status in~ ('InProgress')")
            .body["count"],
        1
    );
    run_jobs();
    const Answer done = ask(kJobs + " | where status in~ ('Completed')");
    ASSERT_EQ(done.body["count"], 1);
    EXPECT_EQ(done.body["data"][0]["operation"], "OnDemandBackup");
    EXPECT_TRUE(done.body["data"][0]["properties"]["extendedInfo"].is_object());
    EXPECT_EQ(ask(kJobs, nullptr, "stranger").body["count"], 0);
}

TEST_F(ResourceGraph, AnythingElseIsAnErrorWithItsPlace) {
    for (const char* query :
         {"", "SecurityResources", "resources | project id", "resources | where nme == 'x'"}) {
        const Answer answer = ask(query);
        EXPECT_EQ(answer.status, 400) << query;
        EXPECT_EQ(answer.code(), "InvalidQuery") << query;
        EXPECT_THAT(answer.body["error"]["message"].get<std::string>(), HasSubstr("character"));
        EXPECT_FALSE(answer.body["error"]["details"].empty());
    }
    EXPECT_EQ(ask("resources", {{"resultFormat", "table"}}).status, 400);
    EXPECT_EQ(ask("resources", {{"$top", 0}}).status, 400);
}

TEST_F(ResourceGraph, PagesAreCut) {
    make_vault("Second");
    const Answer first = ask("resources", {{"$top", 1}});
    EXPECT_EQ(first.body["count"], 1);
    EXPECT_EQ(first.body["totalRecords"], 2);
    const Answer second = ask("resources", {{"$top", 1}, {"$skipToken", first.body["$skipToken"]}});
    EXPECT_EQ(second.body["count"], 1);
    EXPECT_NE(second.body["data"][0]["name"], first.body["data"][0]["name"]);
    EXPECT_FALSE(second.body.contains("$skipToken"));
}

}  // namespace
}  // namespace holdfast::control
