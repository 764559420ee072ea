#include "cli/client_side/requests.h"

#include "base/error.h"

#include <functional>

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

constexpr const char* kFlexible = "AzureDatabaseForPostgreSQLFlexibleServer";
constexpr const char* kSingle = "AzureDatabaseForPostgreSQL";
constexpr const char* kDatabase =
    "/subscriptions/S/resourcegroups/ossrg/providers/Microsoft.DBforPostgreSQL/flexibleServers/SRV/"
    "databases/DB";
constexpr const char* kSingleDatabase =
    "/subscriptions/S/resourcegroups/ossrg/providers/Microsoft.DBforPostgreSQL/servers/SRV/"
    "databases/DB";

InstanceArguments instance(const char* type, const char* id) {
    return {
        .datasource_type = type,
        .datasource_id = id,
        .datasource_location = "westus",
        .policy_id = "/policies/P",
        .guid = "GUID",
    };
}

TEST(InitializeInstance, FlexibleServer) {
    const InitializedInstance made = initialize_backup_instance(instance(kFlexible, kDatabase));
    Json expected = Json::parse(R"({"backup_instance_name":"DB-DB-GUID","properties":{
      "data_source_info":{"datasource_type":"Microsoft.DBforPostgreSQL/flexibleServers","object_type":"Datasource",
        "resource_id":"ID","resource_location":"westus","resource_name":"DB",
        "resource_type":"Microsoft.DBforPostgreSQL/flexibleServers","resource_uri":"ID"},
      "data_source_set_info":null,"datasource_auth_credentials":null,"friendly_name":"DB","object_type":"BackupInstance",
      "policy_info":{"policy_id":"/policies/P","policy_parameters":null}},"tags":null})");
    expected["properties"]["data_source_info"]["resource_id"] = kDatabase;
    expected["properties"]["data_source_info"]["resource_uri"] = kDatabase;
    EXPECT_EQ(made.request, expected) << Json::diff(expected, made.request).dump(1);
    EXPECT_TRUE(made.warnings.empty());
}

TEST(InitializeInstance, SingleServer) {
    InstanceArguments arguments = instance(kSingle, kSingleDatabase);
    arguments.secret_store = {.type = "AzureKeyVault", .uri = "https://kv/secrets/name"};
    const Json made = initialize_backup_instance(arguments).request;
    EXPECT_EQ(made["backup_instance_name"], "SRV-DB-GUID");
    const Json& properties = made["properties"];
    EXPECT_EQ(properties["friendly_name"], "SRV/DB");
    EXPECT_EQ(properties["data_source_info"]["resource_uri"], "");
    EXPECT_EQ(
        properties["data_source_info"]["datasource_type"],
        "Microsoft.DBforPostgreSQL/servers/databases"
    );
    EXPECT_EQ(
        properties["data_source_set_info"],
        Json::parse(
            R"({"datasource_type":"Microsoft.DBforPostgreSQL/servers/databases","object_type":"DatasourceSet",
          "resource_id":"/subscriptions/S/resourcegroups/ossrg/providers/Microsoft.DBforPostgreSQL/servers/SRV",
          "resource_location":"westus","resource_name":"SRV","resource_type":"Microsoft.DBforPostgreSQL/servers","resource_uri":""})"
        )
    );
    EXPECT_EQ(
        properties["datasource_auth_credentials"],
        Json::parse(R"({"object_type":"SecretStoreBasedAuthCredentials","secret_store_resource":
          {"secret_store_type":"AzureKeyVault","uri":"https://kv/secrets/name","value":null}})")
    );
}

TEST(InitializeInstance, KeepsTheSecretOfAFlexibleServerUnlessExact) {
    InstanceArguments arguments = instance(kFlexible, kDatabase);
    arguments.secret_store = {.type = "AzureKeyVault", .uri = "https://kv/secrets/name"};
    EXPECT_EQ(
        initialize_backup_instance(arguments)
            .request["properties"]["datasource_auth_credentials"]["secret_store_resource"]["uri"],
        "https://kv/secrets/name"
    );
    arguments.compatibility = AzCompatibility::kExact;
    EXPECT_TRUE(initialize_backup_instance(arguments)
                    .request["properties"]["datasource_auth_credentials"]
                    .is_null());
    arguments.secret_store.type.reset();  // The Azure CLI doesn't look at them at all.
    EXPECT_NO_THROW((void)initialize_backup_instance(arguments));
}

TEST(InitializeInstance, DoesNotJudgeTheId) {
    EXPECT_EQ(
        initialize_backup_instance(instance(kFlexible, "not-an-arm-id"))
            .request["backup_instance_name"],
        "not-an-arm-id-not-an-arm-id-GUID"
    );
}

TEST(InitializeInstance, WarnsAboutWhatIsNotUsed) {
    InstanceArguments arguments = instance(kFlexible, kDatabase);
    arguments.friendly_name = "mine";
    arguments.has_backup_configuration = true;
    arguments.tags = Json{{"owner", "me"}};
    const InitializedInstance made = initialize_backup_instance(arguments);
    EXPECT_EQ(made.request["properties"]["friendly_name"], "DB");
    EXPECT_EQ(made.request["tags"]["owner"], "me");
    EXPECT_EQ(
        made.warnings,
        (std::vector<std::string>{
            "--friendly-name is not a required parameter for the given DatasourceType, and the "
            "user input will be overridden",
            "--backup-configuration is not required for the given DatasourceType, and will not be "
            "used"
        })
    );
}

RestorePoint point(const char* type = kFlexible) {
    return {
        .datasource_type = type,
        .source_datastore = "VaultStore",
        .restore_location = "westus",
        .recovery_point_id = "RP",
    };
}

FilesRecoveryArguments files() {
    return {
        .point = point(), .target_blob_container_url = "https://x/c", .target_file_name = "dump1"
    };
}

TEST(InitializeRestore, AsFiles) {
    EXPECT_EQ(
        initialize_for_data_recovery_as_files(files()),
        Json::parse(
            R"({"object_type":"AzureBackupRecoveryPointBasedRestoreRequest","recovery_point_id":"RP",
          "source_data_store_type":"VaultStore","restore_target_info":{"object_type":"RestoreFilesTargetInfo",
          "recovery_option":"FailIfExists","restore_location":"westus",
          "target_details":{"file_prefix":"dump1","restore_target_location_type":"AzureBlobs","url":"https://x/c"}}})"
        )
    );
    FilesRecoveryArguments more = files();
    more.target_resource_id = "/arm";
    more.include_role_passwords = true;
    const Json info = initialize_for_data_recovery_as_files(more)["restore_target_info"];
    EXPECT_EQ(info["target_details"]["target_resource_arm_id"], "/arm");
    EXPECT_EQ(info["holdfast"]["include_role_passwords"], true);
}

TEST(InitializeRestore, WithRehydration) {
    FilesRecoveryArguments arguments = files();
    arguments.point.rehydration_priority = "Standard";
    const Json made = initialize_for_data_recovery_as_files(arguments);
    EXPECT_EQ(made["object_type"], "AzureBackupRestoreWithRehydrationRequest");
    EXPECT_EQ(made["rehydration_priority"], "Standard");
    EXPECT_EQ(made["rehydration_retention_duration"], "P15D");
}

DataRecoveryArguments data(const char* type = kFlexible, const char* id = kDatabase) {
    return {.point = point(type), .target = {.target_resource_id = id}};
}

TEST(InitializeRestore, ToADatabase) {
    Json expected = Json::parse(
        R"({"object_type":"AzureBackupRecoveryPointBasedRestoreRequest","recovery_point_id":"RP",
      "source_data_store_type":"VaultStore","restore_target_info":{"object_type":"RestoreTargetInfo",
      "recovery_option":"FailIfExists","restore_location":"westus","datasource_info":{
        "datasource_type":"Microsoft.DBforPostgreSQL/flexibleServers","object_type":"Datasource","resource_id":"",
        "resource_location":"westus","resource_name":"DB","resource_type":"Microsoft.DBforPostgreSQL/flexibleServers",
        "resource_uri":""}}})"
    );
    expected["restore_target_info"]["datasource_info"]["resource_id"] = kDatabase;
    expected["restore_target_info"]["datasource_info"]["resource_uri"] = kDatabase;
    EXPECT_EQ(initialize_for_data_recovery(data()), expected);

    const Json single =
        initialize_for_data_recovery(data(kSingle, kSingleDatabase))["restore_target_info"];
    EXPECT_EQ(single["datasource_set_info"]["resource_name"], "SRV");
    EXPECT_TRUE(single["datasource_auth_credentials"].is_null());
}

TEST(InitializeRestore, AsksForTheDatasourceOfAnInstanceOnce) {
    int calls = 0;
    DataRecoveryArguments arguments = data();
    arguments.target = {
        .backup_instance_id = "/bi",
        .datasource_of =
            [&](const std::string& id) {
                ++calls;
                EXPECT_EQ(id, "/bi");
                return std::string{kDatabase};
            },
    };
    EXPECT_EQ(
        initialize_for_data_recovery(arguments
        )["restore_target_info"]["datasource_info"]["resource_id"],
        kDatabase
    );
    EXPECT_EQ(calls, 1);
    arguments.point.recovery_point_id.reset();
    EXPECT_THROW((void)initialize_for_data_recovery(arguments), Error);
    EXPECT_EQ(calls, 1);
}

TEST(InitializeRestore, OfItems) {
    ItemRecoveryArguments arguments{.point = point(), .target = {.target_resource_id = kDatabase}};
    arguments.items = {"DB", "DB/public", "DB/public/orders=orders_old", "a%2Fb/public/t"};
    arguments.skip_ownership = true;
    const Json info = initialize_for_item_recovery(arguments)["restore_target_info"];
    EXPECT_EQ(info["object_type"], "ItemLevelRestoreTargetInfo");
    EXPECT_EQ(info["holdfast"]["skip_ownership"], true);
    ASSERT_EQ(info["restore_criteria"].size(), 4U);
    EXPECT_EQ(
        info["restore_criteria"][2],
        Json::parse(R"({"object_type":"ItemPathBasedRestoreCriteria","item_path":"DB/public/orders",
          "is_path_relative_to_backup_item":false,"rename_to":"orders_old"})")
    );
    EXPECT_EQ(info["restore_criteria"][3]["item_path"], "a%2Fb/public/t");
}

struct Refusal {
    std::string name;
    std::function<void()> run;
    std::string message;
    ErrorKind kind = ErrorKind::kInvalidInput;
};

class RequestRefusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(RequestRefusals, SayWhatTheAzureCliSays) {
    try {
        GetParam().run();
        FAIL() << "accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), GetParam().kind);
        EXPECT_EQ(traits(error.kind()).exit_code, 1);
        EXPECT_EQ(error.text().message, GetParam().message);
        EXPECT_FALSE(error.text().recommended_actions.empty());
    }
}

template <typename Change>
std::function<void()> bad_files(Change change) {
    return [change] {
        FilesRecoveryArguments arguments = files();
        change(arguments.point);
        (void)initialize_for_data_recovery_as_files(arguments);
    };
}

std::function<void()> bad_target(RestoreTarget target) {
    return [target] { (void)initialize_for_data_recovery({.point = point(), .target = target}); };
}

std::function<void()> bad_item(std::string item) {
    return [item] {
        (void)initialize_for_item_recovery(
            {.point = point(), .target = {.target_resource_id = kDatabase}, .items = {item}}
        );
    };
}

INSTANTIATE_TEST_SUITE_P(
    Table,
    RequestRefusals,
    ::testing::Values(
        Refusal{
            "HalfASecret",
            [] {
                InstanceArguments arguments = instance(kSingle, kSingleDatabase);
                arguments.secret_store.uri = "https://kv/secrets/name";
                (void)initialize_backup_instance(arguments);
            },
            "Either secret store uri or secret store type not provided."
        },
        Refusal{
            "ShortId",
            [] { (void)initialize_backup_instance(instance(kSingle, "x")); },
            "x is not a valid resource id"
        },
        Refusal{
            "Disk",
            [] { (void)initialize_backup_instance(instance("AzureDisk", kDatabase)); },
            "Holdfast protects PostgreSQL; the datasource type 'AzureDisk' is not one of it.",
            ErrorKind::kDatasourceUnsupported
        },
        Refusal{
            "NoPoint",
            bad_files([](RestorePoint& p) { p.recovery_point_id.reset(); }),
            "Please provide either recovery point id or point in time parameter."
        },
        Refusal{
            "BothPoints",
            bad_files([](RestorePoint& p) { p.point_in_time = "t"; }),
            "Please provide either recovery point id or point in time parameter, not both."
        },
        Refusal{
            "PointInTime",
            bad_files([](RestorePoint& p) {
                p.recovery_point_id.reset();
                p.point_in_time = "t";
            }),
            "PointInTimeBased restore mode is not supported for datasource type "
            "AzureDatabaseForPostgreSQLFlexibleServer. "
            "Supported restore modes are RecoveryPointBased"
        },
        Refusal{
            "OperationalStore",
            bad_files([](RestorePoint& p) { p.source_datastore = "OperationalStore"; }),
            "OperationalStore datastore type is not supported for datasource type "
            "AzureDatabaseForPostgreSQLFlexibleServer. Supported datastore types are "
            "VaultStore,ArchiveStore"
        },
        Refusal{
            "Rehydration",
            bad_files([](RestorePoint& p) {
                p.rehydration_priority = "Standard";
                p.rehydration_days = 31;
            }),
            "The allowed range of rehydration duration is 10 to 30 days."
        },
        Refusal{
            "NoTarget",
            bad_target({}),
            "Please provide either target-resource-id (for alternate location restore) or "
            "backup-instance-id (for original "
            "location restore)."
        },
        Refusal{
            "BothTargets",
            bad_target({.target_resource_id = "a", .backup_instance_id = "b"}),
            "Please provide either target-resource-id or backup-instance-id, not both."
        },
        Refusal{
            "NoItems",
            [] {
                (void)initialize_for_item_recovery(
                    {.point = point(kSingle), .target = {.target_resource_id = kDatabase}}
                );
            },
            "Specified DatasourceType AzureDatabaseForPostgreSQL doesn't support Item Level "
            "Recovery"
        },
        Refusal{
            "ItemTooDeep", bad_item("a/b/c/d"), "'a/b/c/d' is not an item that can be restored."
        },
        Refusal{"ItemWithHole", bad_item("a//c"), "'a//c' is not an item that can be restored."},
        Refusal{"RenamedSchema", bad_item("a/b=c"), "'a/b=c' is not an item that can be restored."},
        Refusal{
            "RenamedToNothing", bad_item("a/b/c="), "'a/b/c=' is not an item that can be restored."
        }
    ),
    [](const auto& row) { return row.param.name; }
);

}  // namespace
}  // namespace holdfast::cli
