#include "base/error.h"
#include "base/text.h"
#include "cli/commands/common.h"
#include "cli/shorthand.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

/// One value of the settings that create and update share.
struct Setting {
    Option option;
    /// JSON pointer in the vault's document.
    const char* pointer;
};

std::vector<Setting> settings() {
    return {
        {one_of(
             {"--soft-delete-state"},
             {"On", "Off", "AlwaysOn"},
             "Whether deleted instances can be brought back. AlwaysOn cannot be undone."
         ),
         "/properties/securitySettings/softDeleteSettings/state"},
        {optional(
             {"--soft-delete-retention", "--retention-duration-in-days"},
             "Days that deleted instances are kept."
         ),
         "/properties/securitySettings/softDeleteSettings/retentionDurationInDays"},
        {one_of(
             {"--immutability-state", "--immutability"},
             {"Disabled", "Unlocked", "Locked"},
             "Whether points can be removed before their time. Locked cannot be undone."
         ),
         "/properties/securitySettings/immutabilitySettings/state"},
        {one_of(
             {"--cross-region-restore-state", "--cross-region-restore"},
             {"Disabled", "Enabled"},
             "Restores from another region."
         ),
         "/properties/featureSettings/crossRegionRestoreSettings/state"},
        {one_of(
             {"--cross-subscription-restore-state", "--cross-subscription-restore"},
             {"Disabled", "Enabled", "PermanentlyDisabled"},
             "Restores into another subscription."
         ),
         "/properties/featureSettings/crossSubscriptionRestoreSettings/state"},
        {one_of(
             {"--azure-monitor-alerts-for-job-failures", "--job-failure-alerts"},
             {"Disabled", "Enabled"},
             "Alerts for jobs that fail."
         ),
         "/properties/monitoringSettings/azureMonitorAlertSettings/alertsForAllJobFailures"},
        {one_of(
             {"--cmk-encryption-state"},
             {"Disabled", "Enabled", "Inconsistent"},
             "Encryption under a key of your own."
         ),
         "/properties/securitySettings/encryptionSettings/state"},
        {optional({"--cmk-encryption-key-uri"}, "URI of that key."),
         "/properties/securitySettings/encryptionSettings/keyVaultProperties/keyUri"},
        {one_of(
             {"--cmk-identity-type"},
             {"SystemAssigned", "UserAssigned"},
             "Identity that may use that key."
         ),
         "/properties/securitySettings/encryptionSettings/kekIdentity/identityType"},
        {optional({"--cmk-user-assigned-identity-id", "--cmk-uami"}, "Id of that identity."),
         "/properties/securitySettings/encryptionSettings/kekIdentity/identityId"},
        {one_of(
             {"--cmk-infrastructure-encryption", "--cmk-infra-encryption"},
             {"Disabled", "Enabled"},
             "Second layer of encryption."
         ),
         "/properties/securitySettings/encryptionSettings/infrastructureEncryption"},
    };
}

std::vector<Option> common_options() {
    std::vector<Option> out;
    for (const Setting& setting : settings()) {
        out.push_back(setting.option);
    }
    out.push_back(optional(
        {"--type", "--identity-type"},
        "Managed identity: SystemAssigned, UserAssigned, \"SystemAssigned,UserAssigned\" or None."
    ));
    out.push_back(list({"--user-assigned-identities", "--uami"}, "Ids of user-assigned identities.")
    );
    out.push_back(list({"--tags"}, "Tags, key=value; \"\" clears them."));
    out.push_back(no_wait_option());
    return out;
}

/// Writes what was given into the vault's document.
void apply_settings(const Arguments& arguments, Json& vault) {
    for (const Setting& setting : settings()) {
        const std::string_view name = setting.option.names.front();
        if (!arguments.given(name)) {
            continue;
        }
        Json& place = vault[Json::json_pointer{setting.pointer}];
        if (name == "--soft-delete-retention") {
            place = static_cast<double>(
                whole_number(arguments, {.option = name, .fallback = 14, .max = 36500})
            );
        } else {
            place = arguments.string(name);
        }
    }
    if (arguments.given("--type")) {
        vault["identity"]["type"] = arguments.string("--type");
    }
    for (const std::string& id : arguments.list("--user-assigned-identities")) {
        vault["identity"]["userAssignedIdentities"][id] = Json::object();
    }
    if (arguments.given("--tags")) {
        vault["tags"] = tags_of(arguments.list("--tags"));
    }
}

/// "West US" is a display name, "" means the group's own.
std::string location_of(const Arguments& arguments, Session& session) {
    const std::string& given = arguments.string("--location");
    if (given.empty()) {
        const Json group = session.get(group_path(arguments, session) + "?api-version=2021-04-01");
        return JsonReader{group, "resourceGroup", ErrorKind::kInternal}.string("location");
    }
    if (given.find(' ') == std::string::npos) {
        return given;
    }
    const Json locations = session.list(
        fmt::format("/subscriptions/{}/locations?api-version=2022-12-01", session.subscription())
    );
    for (const Json& location : locations) {
        const JsonReader reader{location, "locations", ErrorKind::kInternal};
        if (equal_ignoring_case(reader.string_or("displayName", ""), given)) {
            return reader.string("name");
        }
    }
    std::string plain = to_lower(given);
    std::erase(plain, ' ');
    return plain;
}

Json create_vault(const Arguments& arguments, Session& session) {
    Json vault{
        {"properties",
         {{"securitySettings",
           {{"softDeleteSettings", {{"state", "On"}, {"retentionDurationInDays", 14.0}}}}},
          {"storageSettings", Json::array()}}}
    };
    for (const std::vector<std::string>& words : arguments.groups("--storage-setting")) {
        const Json value = parse_shorthand(words, "--storage-setting");
        Json& settings_list = vault["properties"]["storageSettings"];
        if (value.is_array()) {
            settings_list.insert(settings_list.end(), value.begin(), value.end());
        } else {
            settings_list.push_back(value);
        }
    }
    apply_settings(arguments, vault);
    if (arguments.given("--e-tag")) {
        vault["eTag"] = arguments.string("--e-tag");
    }
    vault["location"] = location_of(arguments, session);
    return without_nulls(session.run_operation(
        "PUT", resource_path(kVaultResource, arguments, session), &vault, wait_of(arguments)
    ));
}

Json update_vault(const Arguments& arguments, Session& session) {
    const std::string path = resource_path(kVaultResource, arguments, session);
    Json vault = without_nulls(session.get(path));
    for (const char* name : {"id", "name", "type", "systemData", "eTag"}) {
        vault.erase(name);
    }
    for (const char* name :
         {"provisioningState",
          "secureScore",
          "bcdrSecurityLevel",
          "isVaultProtectedByResourceGuard",
          "resourceMoveState",
          "resourceMoveDetails"}) {
        vault["properties"].erase(name);
    }
    if (vault.contains("identity")) {
        vault["identity"].erase("principalId");
        vault["identity"].erase("tenantId");
    }
    apply_settings(arguments, vault);
    if (const auto& requests = arguments.list("--operation-requests"); !requests.empty()) {
        vault["properties"]["resourceGuardOperationRequests"] = requests;
    }
    return without_nulls(session.run_operation("PUT", path, &vault, wait_of(arguments)));
}

Json list_vaults(const Arguments& arguments, Session& session) {
    const std::string scope = arguments.given("--resource-group")
                                  ? group_path(arguments, session)
                                  : fmt::format("/subscriptions/{}", session.subscription());
    Json list = session.list(scope + "/providers/Microsoft.DataProtection/backupVaults");
    return cut_to_max_items(without_nulls(std::move(list)), arguments);
}

std::vector<Option> create_options() {
    std::vector<Option> options{
        resource_group_option(),
        vault_name_option(),
        as_required(key_values(
            {"--storage-setting", "--storage-settings"},
            "Where the data lies: datastore-type=VaultStore type=LocallyRedundant. Repeat the flag "
            "for several; JSON is taken too."
        )),
        optional({"--location", "-l"}, "Location; the resource group's when left out."),
        optional({"--e-tag"}, "ETag of the vault."),
    };
    for (Option& option : common_options()) {
        options.push_back(std::move(option));
    }
    return options;
}

std::vector<Option> update_options() {
    std::vector<Option> options{resource_group_option(), vault_name_option()};
    for (Option& option : common_options()) {
        options.push_back(std::move(option));
    }
    options.push_back(operation_requests_option());
    options.push_back(optional({"--tenant-id"}, "Tenant of the resource guard; not used here."));
    return options;
}

}  // namespace

void add_vault_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "dataprotection backup-vault create",
        .summary = "Create a backup vault.",
        .options = create_options(),
        .examples =
            {{"A vault on local storage",
              "holdfast dataprotection backup-vault create -g testBkpVaultRG --vault-name "
              "TestBkpVault -l westus --type SystemAssigned --storage-settings "
              "datastore-type=\"VaultStore\" type=\"LocallyRedundant\""}},
        .handler = create_vault,
    });
    table.push_back({
        .path = "dataprotection backup-vault show",
        .summary = "Show a backup vault.",
        .options = {resource_group_option(), vault_name_option()},
        .examples =
            {{"Show a vault",
              "holdfast dataprotection backup-vault show -g testBkpVaultRG -v TestBkpVault"}},
        .handler = show_handler(kVaultResource),
        .resource = kVaultResource,
    });
    table.push_back({
        .path = "dataprotection backup-vault list",
        .summary = "List the backup vaults of a resource group or of the subscription.",
        .options =
            {optional({"--resource-group", "-g"}, "Name of the resource group."), max_items_option()
            },
        .examples = {{"All vaults of the subscription", "holdfast dataprotection backup-vault list"}
        },
        .handler = list_vaults,
    });
    table.push_back({
        .path = "dataprotection backup-vault update",
        .summary = "Change the settings of a backup vault.",
        .options = update_options(),
        .examples =
            {{"Keep deleted instances for 60 days",
              "holdfast dataprotection backup-vault update -g testBkpVaultRG -v TestBkpVault "
              "--soft-delete-state On --soft-delete-retention 60"}},
        .handler = update_vault,
        .resource = kVaultResource,
    });
    table.push_back({
        .path = "dataprotection backup-vault delete",
        .summary = "Delete a backup vault that holds nothing any more.",
        .options = {resource_group_option(), vault_name_option(), yes_option(), no_wait_option()},
        .examples =
            {{"Delete a vault",
              "holdfast dataprotection backup-vault delete -g testBkpVaultRG -v TestBkpVault -y"}},
        .handler = delete_handler(kVaultResource),
        .resource = kVaultResource,
    });
    table.push_back(wait_command({
        .path = "dataprotection backup-vault wait",
        .summary = "Wait until a backup vault is in a state.",
        .options = {resource_group_option(), vault_name_option()},
        .examples =
            {{"Wait until it is made",
              "holdfast dataprotection backup-vault wait -g testBkpVaultRG -v TestBkpVault "
              "--created"}},
        .resource = kVaultResource,
    }));
}

}  // namespace holdfast::cli
