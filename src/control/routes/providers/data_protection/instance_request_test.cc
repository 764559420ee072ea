#include "control/routes/providers/data_protection/instance_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

const Json kGuide = Json::parse(R"({
  "dataSourceInfo":{"datasourceType":"Microsoft.DBforPostgreSQL/flexibleServers","objectType":"Datasource",
    "resourceID":"/subscriptions/s/resourcegroups/ossrg/providers/Microsoft.DBforPostgreSQL/flexibleServers/SRV/databases/DB",
    "resourceLocation":"westus","resourceName":"DB","resourceType":"Microsoft.DBforPostgreSQL/flexibleServers",
    "resourceUri":"/subscriptions/s/resourcegroups/ossrg/providers/Microsoft.DBforPostgreSQL/flexibleServers/SRV/databases/DB"},
  "friendlyName":"DB","objectType":"BackupInstance",
  "policyInfo":{"policyId":"/subscriptions/s/resourceGroups/rg/providers/Microsoft.DataProtection/backupVaults/V/backupPolicies/P"}})"
);

InstanceRequest read(const Json& properties) {
    IgnoredProperties ignored;
    InstanceRequest request =
        read_instance({properties, "properties", ErrorKind::kInvalidRequestContent}, ignored);
    EXPECT_THAT(ignored.paths(), testing::IsEmpty());
    return request;
}

Error fault_of(const Json& properties) {
    try {
        (void)read(properties);
    } catch (const Error& error) {
        return error;
    }
    return Error{ErrorKind::kInternal, "no fault"};
}

TEST(InstanceRequest, ReadsTheGuidesInstance) {
    const InstanceRequest request = read(kGuide);
    EXPECT_EQ(request.record.friendly_name, "DB");
    EXPECT_EQ(request.record.datasource_type, "Microsoft.DBforPostgreSQL/flexibleServers");
    EXPECT_EQ(request.record.properties["dataSourceInfo"], kGuide["dataSourceInfo"]);
    EXPECT_EQ(request.record.properties["policyInfo"], kGuide["policyInfo"]);
    EXPECT_EQ(request.record.secret_uri, "");
    EXPECT_EQ(request.validation, jobs::ProtectionService::Validation::kDeep);
}

TEST(InstanceRequest, TheStandaloneValidationsSpellingMeansTheSame) {
    Json sent = kGuide;
    sent["dataSourceInfo"].erase("resourceID");
    sent["dataSourceInfo"]["resourceId"] = kGuide["dataSourceInfo"]["resourceID"];
    sent["dataSourceSetInfo"] = nullptr;
    sent["datasourceAuthCredentials"] = nullptr;
    sent["policyInfo"]["policyParameters"] = nullptr;
    EXPECT_EQ(read(sent).record.properties, read(kGuide).record.properties);
}

TEST(InstanceRequest, ReadsTheCommandLinesSnakeCase) {
    const Json sent = Json::parse(R"({
      "data_source_info":{"datasource_type":"AzureDatabaseForPostgreSQLFlexibleServer","object_type":"Datasource",
        "resource_id":"/subscriptions/s/resourceGroups/g/providers/Microsoft.DBforPostgreSQL/flexibleServers/SRV"},
      "policy_info":{"policy_id":"/subscriptions/s/resourceGroups/rg/providers/Microsoft.DataProtection/backupVaults/V/backupPolicies/P"},
      "datasource_auth_credentials":{"object_type":"SecretStoreBasedAuthCredentials",
        "secret_store_resource":{"secret_store_type":"AzureKeyVault","uri":"https://kv/secrets/name","value":null}}})"
    );
    const InstanceRequest request = read(sent);
    EXPECT_EQ(request.record.friendly_name, "SRV");
    EXPECT_EQ(request.record.secret_uri, "https://kv/secrets/name");
    EXPECT_TRUE(request.record.properties["dataSourceInfo"].contains("resourceID"));
    EXPECT_EQ(
        request.record.properties["datasourceAuthCredentials"]["secretStoreResource"]["uri"],
        "https://kv/secrets/name"
    );
}

TEST(InstanceRequest, ReadsWhatGosClientsSendOfWhatTheyLeaveOut) {
    Json sent = kGuide;
    sent["objectType"] = "";
    sent["datasourceAuthCredentials"] = nullptr;
    EXPECT_EQ(read(sent).record.properties, read(kGuide).record.properties);
    sent["objectType"] = "Something";
    EXPECT_EQ(fault_of(sent).text().target, "properties.objectType");
}

TEST(InstanceRequest, KeepsWhatNewerVersionsSay) {
    Json sent = kGuide;
    sent["identityDetails"] = {{"useSystemAssignedIdentity", true}};
    sent["dataSourceInfo"]["resourceProperties"] = {{"objectType", "DefaultResourceProperties"}};
    const InstanceRequest request = read(sent);
    EXPECT_EQ(request.record.properties["identityDetails"], sent["identityDetails"]);
    EXPECT_EQ(request.record.properties["dataSourceInfo"], sent["dataSourceInfo"]);
    sent["identityDetails"]["useSystemAssignedIdentity"] = "yes";
    EXPECT_EQ(fault_of(sent).text().target, "properties.identityDetails.useSystemAssignedIdentity");
}

TEST(InstanceRequest, RefusesWhatIsWrongAndSaysWhere) {
    Json sent = kGuide;
    sent.erase("dataSourceInfo");
    EXPECT_EQ(fault_of(sent).text().target, "properties.dataSourceInfo");

    sent = kGuide;
    sent["dataSourceInfo"]["resourceID"] = "not-an-arm-id";
    EXPECT_EQ(fault_of(sent).kind(), ErrorKind::kInvalidResourceId);
    EXPECT_EQ(fault_of(sent).text().target, "properties.dataSourceInfo.resourceID");

    sent = kGuide;
    sent["dataSourceInfo"]["datasourceType"] = "Microsoft.Storage/disks";
    EXPECT_EQ(fault_of(sent).kind(), ErrorKind::kDatasourceUnsupported);

    sent = kGuide;
    sent["policyInfo"]["policyId"] = 7;
    EXPECT_EQ(fault_of(sent).text().target, "properties.policyInfo.policyId");

    sent = kGuide;
    sent["datasourceAuthCredentials"]["secretStoreResource"]["value"] = "hunter2";
    const Error leak = fault_of(sent);
    EXPECT_EQ(leak.text().target, "properties.datasourceAuthCredentials.secretStoreResource.value");
    EXPECT_THAT(leak.what(), testing::Not(testing::HasSubstr("hunter2")));
}

}  // namespace
}  // namespace holdfast::control
