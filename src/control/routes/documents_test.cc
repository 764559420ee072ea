#include "control/routes/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

const std::string kVault =
    "/subscriptions/SUB/resourceGroups/RG/providers/Microsoft.DataProtection/backupVaults/V";

catalog::JobRecord job() {
    catalog::JobRecord record;
    record.id = "0b1c2d3e-0000-4000-8000-000000000001";
    record.vault_id = kVault;
    record.instance_id = kVault + "/backupInstances/BI";
    record.friendly_name = "DB";
    record.datasource_id =
        "/subscriptions/DSUB/resourceGroups/ossrg/providers/Microsoft.DBforPostgreSQL/"
        "flexibleServers/S/databases/DB";
    record.operation = "Backup";
    record.status = "Queued";
    record.created_at = *parse_instant("2026-01-02T03:04:05Z");
    record.details = {{"additionalDetails", {{"RetentionTag", "Monthly"}, {"Count", 5}}}};
    record.sub_tasks = Json::array({Json{
        {"taskId", 1},
        {"taskName", "Trigger Backup"},
        {"taskStatus", "InProgress"},
        {"additionalDetails", {{"OriginalDatasourceSizeInBytes", 7844323}}}
    }});
    return record;
}

TEST(Documents, ARunningJobHasTheTypesThatTheClientsDemand) {
    const Json document = job_document(
        job(), JobDetail::kFull, std::nullopt, *parse_instant("2026-01-02T03:04:06.5Z")
    );
    const Json& properties = document["properties"];
    EXPECT_EQ(document["id"], kVault + "/backupJobs/0b1c2d3e-0000-4000-8000-000000000001");
    EXPECT_EQ(properties["status"], "InProgress");
    EXPECT_EQ(properties["startTime"], "2026-01-02T03:04:05.0000000Z");
    EXPECT_TRUE(properties["endTime"].is_null());
    EXPECT_EQ(properties["duration"], "PT1.5S");
    EXPECT_TRUE(properties["destinationDataStoreName"].is_null());
    EXPECT_TRUE(properties["errorDetails"].is_null());
    EXPECT_EQ(properties["sourceResourceGroup"], "ossrg");
    EXPECT_EQ(properties["sourceSubscriptionID"], "DSUB");
    EXPECT_EQ(properties["dataSourceName"], "DB");
    const Json& info = properties["extendedInfo"];
    EXPECT_TRUE(info["dataTransferredInBytes"].is_number());
    EXPECT_EQ(info["additionalDetails"]["RetentionTag"], "Monthly");
    EXPECT_EQ(info["additionalDetails"]["Count"], "5");
    EXPECT_TRUE(info["subTasks"][0]["taskId"].is_number_integer());
    EXPECT_EQ(info["subTasks"][0]["additionalDetails"]["OriginalDatasourceSizeInBytes"], "7844323");
    EXPECT_TRUE(info["warningDetails"].is_null());
}

TEST(Documents, AListedJobHasNoExtendedInfoAndAClocksDuration) {
    catalog::JobRecord record = job();
    record.status = "Completed";
    record.started_at = record.created_at;
    record.ended_at =
        *record.started_at + std::chrono::microseconds{3LL * 60 * 1'000'000 + 12'718'905};
    const Json properties = job_document(record, JobDetail::kSummary)["properties"];
    EXPECT_TRUE(properties["extendedInfo"].is_null());
    EXPECT_EQ(properties["duration"], "00:03:12.7189050");
    EXPECT_EQ(properties["destinationDataStoreName"], "VaultStore");
    EXPECT_EQ(properties["supportedActions"], Json::array({""}));
}

TEST(Documents, ASoftDeletedInstanceIsShownBelowTheDeletedOnes) {
    catalog::InstanceRecord instance;
    instance.id = kVault + "/backupInstances/BI";
    instance.vault_id = kVault;
    instance.name = "BI";
    instance.state = "SoftDeleted";
    instance.soft_deleted = true;
    instance.deleted_at = *parse_instant("2026-01-02T00:00:00Z");
    instance.purge_at = *parse_instant("2026-01-16T00:00:00Z");
    const Json document = instance_document(instance);
    EXPECT_EQ(document["id"], kVault + "/deletedBackupInstances/BI");
    EXPECT_EQ(document["properties"]["objectType"], "DeletedBackupInstance");
    EXPECT_EQ(
        document["properties"]["deletionInfo"]["scheduledPurgeTime"], "2026-01-16T00:00:00.0000000Z"
    );
    instance.soft_deleted = false;
    EXPECT_FALSE(instance_document(instance)["properties"].contains("deletionInfo"));
}

TEST(Documents, AServersOwnSecretIsNobodyElsesBusiness) {
    catalog::ServerRecord server;
    server.host = "db.example";
    server.version = "15.14";
    server.secret_uri = "https://registered-servers.holdfast.internal/secrets/server-1";
    Json properties = server_document(server)["properties"];
    EXPECT_TRUE(properties["holdfast"]["secretUri"].is_null());
    EXPECT_EQ(properties["version"], "15");
    EXPECT_EQ(properties["minorVersion"], "14");
    server.secret_uri = "/secrets/mine";
    properties = server_document(server)["properties"];
    EXPECT_EQ(properties["holdfast"]["secretUri"], "/secrets/mine");
}

TEST(Documents, APointNamesItsStoreAndExpiry) {
    catalog::PointRecord point;
    point.id = "0123456789abcdef0123456789abcdef";
    point.time = *parse_instant("2026-01-02T03:04:05Z");
    point.tag = "Monthly";
    point.metadata = {{"databases", Json::array({"DB"})}};
    const Json document = point_document(point, kVault + "/backupInstances/BI", PointDetail::kFull);
    const Json& properties = document["properties"];
    EXPECT_TRUE(properties["expiryTime"].is_null());
    EXPECT_EQ(properties["retentionTagName"], "Monthly");
    const Json& store = properties["recoveryPointDataStoresDetails"][0];
    EXPECT_EQ(store["id"], "01234567-89ab-cdef-0123-456789abcdef");
    EXPECT_EQ(store["metaData"], R"({"databases":["DB"]})");
    EXPECT_EQ(store["state"], "COMMITTED");
}

}  // namespace
}  // namespace holdfast::control
