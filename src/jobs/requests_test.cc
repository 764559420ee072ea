#include "jobs/requests.h"

#include "base/error.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPoint = "0123456789abcdef0123456789abcdef";
constexpr const char* kServer =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.DBforPostgreSQL/flexibleServers/pg";

Json request_with(Json target) {
    return Json{
        {"objectType", "AzureBackupRecoveryPointBasedRestoreRequest"},
        {"recoveryPointId", kPoint},
        {"sourceDataStoreType", "VaultStore"},
        {"restoreTargetInfo", std::move(target)},
    };
}

Json files_target() {
    return Json{
        {"objectType", "RestoreFilesTargetInfo"},
        {"recoveryOption", "FailIfExists"},
        {"restoreLocation", "westus"},
        {"targetDetails",
         {{"filePrefix", "dump1"},
          {"restoreTargetLocationType", "AzureBlobs"},
          {"url", "/restore/x"}}},
    };
}

Json items_target(Json criteria) {
    return Json{
        {"objectType", "ItemLevelRestoreTargetInfo"},
        {"recoveryOption", "FailIfExists"},
        {"restoreCriteria", std::move(criteria)},
        {"datasourceInfo", {{"resourceId", std::string{kServer} + "/databases/copy"}}},
    };
}

RestoreRequest parse(const Json& body) {
    return parse_restore_request(body, "", "/instance", {"who", "why"});
}

struct Refusal {
    ErrorKind kind;
    std::string target;
    std::string message;
};
Refusal refusal_of(const Json& body) {
    try {
        (void)parse(body);
    } catch (const Error& error) {
        return {error.kind(), error.text().target, error.text().message};
    }
    ADD_FAILURE() << "accepted: " << body.dump();
    return {ErrorKind::kInternal, "", ""};
}

TEST(RestoreRequestTest, ReadsFilesAndKeepsThemThroughTheQueue) {
    const RestoreRequest request =
        restore_request_from_json(to_json(parse(request_with(files_target()))));
    const auto& files = std::get<FilesTarget>(request.target);
    EXPECT_EQ(request.point_id, kPoint);
    EXPECT_EQ(request.requester.principal_id, "who");
    EXPECT_EQ(files.url, "/restore/x");
    EXPECT_EQ(files.file_prefix, "dump1");
    EXPECT_EQ(files.role_passwords, RolePasswordFiles::kLeaveOut);
}

TEST(RestoreRequestTest, PasswordsOnlyOnRequest) {
    Json target = files_target();
    target["holdfast"] = {{"includeRolePasswords", true}};
    const RestoreRequest request = restore_request_from_json(to_json(parse(request_with(target))));
    EXPECT_EQ(std::get<FilesTarget>(request.target).role_passwords, RolePasswordFiles::kInclude);
}

TEST(RestoreRequestTest, ReadsAServerTargetInSnakeCaseToo) {
    const Json body{
        {"object_type", "AzureBackupRecoveryPointBasedRestoreRequest"},
        {"recovery_point_id", "01234567-89AB-cdef-0123-456789abcdef"},
        {"restore_target_info",
         {{"object_type", "RestoreTargetInfo"},
          {"recovery_option", "FailIfExists"},
          {"datasource_info", {{"resource_id", kServer}}},
          {"datasource_auth_credentials",
           {{"object_type", "SecretStoreBasedAuthCredentials"},
            {"secret_store_resource", {{"uri", "https://kv/secrets/x"}, {"value", nullptr}}}}}}},
    };
    const RestoreRequest request = restore_request_from_json(to_json(parse(body)));
    const auto& server = std::get<ServerTarget>(request.target);
    EXPECT_EQ(request.point_id, kPoint);
    EXPECT_EQ(server.datasource_id, kServer);
    EXPECT_EQ(server.secret_uri, "https://kv/secrets/x");
}

TEST(RestoreRequestTest, ReadsItemPaths) {
    const Json criteria = Json::array(
        {{{"objectType", "ItemPathBasedRestoreCriteria"},
          {"itemPath", "shop/sales/orders"},
          {"isPathRelativeToBackupItem", true},
          {"subItemPathPrefix", nullptr},
          {"renameTo", "orders_before"}},
         {{"objectType", "ItemPathBasedRestoreCriteria"}, {"itemPath", "shop/a%2Fb"}},
         {{"objectType", "ItemPathBasedRestoreCriteria"},
          {"itemPath", "shop"},
          {"subItemPathPrefix", {"public/x", "public/y"}}}}
    );
    const RestoreRequest request =
        restore_request_from_json(to_json(parse(request_with(items_target(criteria)))));
    const auto& items = std::get<ItemsTarget>(request.target).items;
    ASSERT_EQ(items.size(), 4U);
    EXPECT_EQ(items[0].database, "shop");
    EXPECT_EQ(items[0].schema, "sales");
    EXPECT_EQ(items[0].table, "orders");
    EXPECT_EQ(items[0].target_table, "orders_before");
    EXPECT_EQ(items[1].schema, "a/b");
    EXPECT_EQ(items[1].table, "");
    EXPECT_EQ(items[3].table, "y");
}

TEST(RestoreRequestTest, RefusalsNameTheProperty) {
    Json body = request_with(files_target());
    body["recoveryPointId"] = "latest";
    EXPECT_THAT(refusal_of(body).target, HasSubstr("recoveryPointId"));

    body = request_with(files_target());
    body.erase("restoreTargetInfo");
    EXPECT_THAT(refusal_of(body).message, HasSubstr("restoreTargetInfo"));

    body = request_with(files_target());
    body["objectType"] = "AzureBackupRecoveryTimeBasedRestoreRequest";
    EXPECT_EQ(refusal_of(body).kind, ErrorKind::kUnsupportedOperation);

    body = request_with(files_target());
    body["sourceDataStoreType"] = "OperationalStore";
    EXPECT_EQ(refusal_of(body).kind, ErrorKind::kUnsupportedOperation);

    body = request_with(files_target());
    body["restoreTargetInfo"]["recoveryOption"] = "Overwrite";
    EXPECT_EQ(refusal_of(body).kind, ErrorKind::kInvalidRequestContent);

    body = request_with(files_target());
    body["restoreTargetInfo"]["targetDetails"]["filePrefix"] = "../x";
    EXPECT_EQ(refusal_of(body).kind, ErrorKind::kPluginInvalidInput);

    body = request_with(files_target());
    body["restoreTargetInfo"]["holdfast"] = {{"includeRolePassword", true}};
    EXPECT_EQ(refusal_of(body).kind, ErrorKind::kInvalidRequestContent);

    EXPECT_EQ(
        refusal_of(request_with(items_target(Json::array()))).kind,
        ErrorKind::kInvalidRequestContent
    );
    for (const char* path : {"", "/", "a//b", "a/b/c/d"}) {
        const Json criteria =
            Json::array({{{"objectType", "ItemPathBasedRestoreCriteria"}, {"itemPath", path}}});
        EXPECT_THAT(refusal_of(request_with(items_target(criteria))).target, HasSubstr("itemPath"))
            << path;
    }
    const Json range = Json::array({{{"objectType", "RangeBasedItemLevelRestoreCriteria"}}});
    EXPECT_EQ(refusal_of(request_with(items_target(range))).kind, ErrorKind::kUnsupportedOperation);
}

TEST(AdhocRequestTest, ReadsRuleAndOverride) {
    const Json body{
        {"backupRuleOptions",
         {{"ruleName", "BackupWeekly"}, {"triggerOption", {{"retentionTagOverride", "Monthly"}}}}}
    };
    const AdhocBackupRequest request = parse_adhoc_backup(body, "/i", {});
    EXPECT_EQ(request.rule_name, "BackupWeekly");
    EXPECT_EQ(request.tag_override, "Monthly");
    EXPECT_THROW((void)parse_adhoc_backup(Json::object(), "/i", {}), Error);
    EXPECT_THROW((void)parse_adhoc_backup(Json::array(), "/i", {}), Error);
}

TEST(QueuedBackupTest, SurvivesTheQueue) {
    const QueuedBackup backup = queued_backup_from_json(to_json(QueuedBackup{
        .instance_id = "/i",
        .rule_name = "r",
        .tag = "",
        .scheduled_at = parse_instant("2026-01-04T22:00:00Z"),
    }));
    EXPECT_EQ(backup.scheduled_at, parse_instant("2026-01-04T22:00:00Z"));
}

}  // namespace
}  // namespace holdfast::jobs
