#include "control/identity/authorize.h"

#include "base/error.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool any_matches(const std::vector<std::string>& patterns, std::string_view action) noexcept {
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
        return action_matches(pattern, action);
    });
}

}  // namespace

const std::vector<RoleDefinition>& builtin_roles() {
    // Ids, names and actions are Azure's own (the public list of built-in roles), cut to what this
    // server has.
    static const std::vector<RoleDefinition> roles{
        {
            .id = std::string{kOwnerRoleId},
            .name = "Owner",
            .description = "Full access to all resources, including the right to assign roles.",
            .actions = {"*"},
        },
        {
            .id = "b24988ac-6180-42a0-ab88-20f7382dd24c",
            .name = "Contributor",
            .description = "Full access to all resources, without the right to assign roles.",
            .actions = {"*"},
            .not_actions =
                {"Microsoft.Authorization/*/Delete",
                 "Microsoft.Authorization/*/Write",
                 "Microsoft.Authorization/elevateAccess/Action"},
        },
        {
            .id = std::string{kReaderRoleId},
            .name = "Reader",
            .description = "View all resources, change nothing.",
            .actions = {"*/read"},
        },
        {
            .id = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
            .name = "User Access Administrator",
            .description = "View all resources and say who has access to them.",
            .actions = {"*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"},
        },
        {
            .id = "5e467623-bb1f-42f4-a55d-6e525e11384b",
            .name = "Backup Contributor",
            .description =
                "Manage backups, but not delete vaults' security or give access to others.",
            .actions =
                {"Microsoft.Authorization/*/read",
                 "Microsoft.DataProtection/*",
                 "Microsoft.DBforPostgreSQL/flexibleServers/read",
                 "Microsoft.DBforPostgreSQL/flexibleServers/databases/read",
                 "Microsoft.Insights/eventtypes/values/read",
                 "Microsoft.ResourceGraph/resources/read",
                 "Microsoft.Resources/subscriptions/read",
                 "Microsoft.Resources/subscriptions/resourceGroups/read"},
            .not_actions = {"Microsoft.DataProtection/resourceGuards/*"},
        },
        {
            .id = "00c29273-979b-4161-815c-10b084fb9324",
            .name = "Backup Operator",
            .description =
                "Run backups and restores; not remove backups, change policies or create vaults.",
            .actions =
                {"Microsoft.Authorization/*/read",
                 "Microsoft.DataProtection/*/read",
                 "Microsoft.DataProtection/backupVaults/backupInstances/backup/action",
                 "Microsoft.DataProtection/backupVaults/backupInstances/restore/action",
                 "Microsoft.DataProtection/backupVaults/backupInstances/validateRestore/action",
                 "Microsoft.DataProtection/backupVaults/backupInstances/verify/action",
                 "Microsoft.DataProtection/backupVaults/backupInstances/findRestorableTimeRanges/"
                 "action",
                 "Microsoft.DataProtection/backupVaults/backupInstances/write",
                 "Microsoft.DataProtection/backupVaults/backupJobs/cancel/action",
                 "Microsoft.DataProtection/backupVaults/validateForBackup/action",
                 "Microsoft.DBforPostgreSQL/flexibleServers/read",
                 "Microsoft.DBforPostgreSQL/flexibleServers/databases/read",
                 "Microsoft.ResourceGraph/resources/read",
                 "Microsoft.Resources/subscriptions/read",
                 "Microsoft.Resources/subscriptions/resourceGroups/read"},
        },
        {
            .id = "a795c7a0-d4a2-40c1-ae25-d81f01202912",
            .name = "Backup Reader",
            .description = "View backups, change nothing.",
            .actions =
                {"Microsoft.Authorization/*/read",
                 "Microsoft.DataProtection/*/read",
                 "Microsoft.ResourceGraph/resources/read",
                 "Microsoft.Resources/subscriptions/read",
                 "Microsoft.Resources/subscriptions/resourceGroups/read"},
        },
        {
            .id = "f54b6d04-23c6-443e-b462-9c16ab7b4a52",
            .name = "Backup MUA Operator",
            .description = "Carry out critical operations that a resource guard protects.",
            .actions =
                {"Microsoft.Authorization/*/read",
                 "Microsoft.DataProtection/*/read",
                 "Microsoft.DataProtection/resourceGuards/*/getDefaultOperationRequest/action",
                 "Microsoft.DataProtection/resourceGuards/*/read",
                 "Microsoft.DataProtection/resourceGuards/operationRequests/*",
                 "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/unlockDelete/"
                 "action",
                 "Microsoft.Resources/subscriptions/read",
                 "Microsoft.Resources/subscriptions/resourceGroups/read"},
        },
        {
            .id = "c2a970b4-16a7-4a51-8c84-8a8ea6ee0bb8",
            .name = "Backup MUA Admin",
            .description = "Manage resource guards and decide on what they protect.",
            .actions =
                {"Microsoft.Authorization/*/read",
                 "Microsoft.DataProtection/resourceGuards/*",
                 "Microsoft.DataProtection/backupVaults/read",
                 "Microsoft.Resources/subscriptions/read",
                 "Microsoft.Resources/subscriptions/resourceGroups/read"},
        },
        {
            .id = std::string{kLongTermBackupRoleId},
            .name = "PostgreSQL Flexible Server Long Term Retention Backup Role",
            .description = "Lets a backup vault's identity back up and restore a server.",
            .actions =
                {"Microsoft.DBforPostgreSQL/flexibleServers/ltrBackupOperations/read",
                 "Microsoft.DBforPostgreSQL/flexibleServers/ltrPreBackup/action",
                 "Microsoft.DBforPostgreSQL/flexibleServers/startLtrBackup/action",
                 "Microsoft.DBforPostgreSQL/locations/azureAsyncOperation/read",
                 "Microsoft.DBforPostgreSQL/locations/operationResults/read",
                 "Microsoft.Resources/subscriptions/read",
                 "Microsoft.Resources/subscriptions/resourceGroups/read"},
        },
        {
            .id = std::string{kBlobContributorRoleId},
            .name = "Storage Blob Data Contributor",
            .description = "Read, write and delete restored files in restore containers.",
            .actions =
                {"Microsoft.Storage/storageAccounts/blobServices/containers/delete",
                 "Microsoft.Storage/storageAccounts/blobServices/containers/read",
                 "Microsoft.Storage/storageAccounts/blobServices/containers/write",
                 "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action"},
            .data_actions =
                {"Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
                 "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
                 "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
                 "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/move/action",
                 "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action"},
        },
        {
            // Not Azure's: nothing there hands out the contents of a recovery point.
            .id = std::string{kPointDataRoleId},
            .name = "Backup Recovery Point Data Reader",
            .description = "Read the contents of recovery points: holdfast restore.",
            .actions =
                {"Microsoft.DataProtection/backupVaults/read",
                 "Microsoft.DataProtection/backupVaults/backupInstances/read",
                 "Microsoft.DataProtection/backupVaults/backupInstances/recoveryPoints/read",
                 "Microsoft.Resources/subscriptions/read",
                 "Microsoft.Resources/subscriptions/resourceGroups/read"},
            .data_actions =
                {"Microsoft.DataProtection/backupVaults/backupInstances/recoveryPoints/streams/"
                 "read"},
        },
        {
            .id = std::string{kSecretsUserRoleId},
            .name = "Key Vault Secrets User",
            .description = "Read the values of secrets.",
            .data_actions =
                {"Microsoft.KeyVault/vaults/secrets/getSecret/action",
                 "Microsoft.KeyVault/vaults/secrets/readMetadata/action"},
        },
        {
            .id = std::string{kSecretsOfficerRoleId},
            .name = "Key Vault Secrets Officer",
            .description = "Do everything with secrets but say who has access to them.",
            .actions =
                {"Microsoft.Authorization/*/read",
                 "Microsoft.KeyVault/vaults/read",
                 "Microsoft.KeyVault/operations/read",
                 "Microsoft.Resources/subscriptions/read",
                 "Microsoft.Resources/subscriptions/resourceGroups/read"},
            .data_actions = {"Microsoft.KeyVault/vaults/secrets/*"},
        },
    };
    return roles;
}

const RoleDefinition* find_builtin_role(std::string_view id_or_name) {
    id_or_name = role_guid(id_or_name);
    for (const RoleDefinition& role : builtin_roles()) {
        if (equal_ignoring_case(role.id, id_or_name) ||
            equal_ignoring_case(role.name, id_or_name)) {
            return &role;
        }
    }
    return nullptr;
}

bool action_matches(std::string_view pattern, std::string_view action) noexcept {
    // Greedy matching with one point of return: linear for the short texts of this field.
    std::size_t p = 0;
    std::size_t a = 0;
    std::size_t star = std::string_view::npos;
    std::size_t resume = 0;
    while (a < action.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = a;
        } else if (p < pattern.size() && lower(pattern[p]) == lower(action[a])) {
            ++p;
            ++a;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            a = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') {
        ++p;
    }
    return p == pattern.size();
}

bool is_data_action(std::string_view action) noexcept {
    return starts_with_ignoring_case(action, "Microsoft.KeyVault/vaults/secrets/") ||
           starts_with_ignoring_case(
               action, "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/"
           ) ||
           starts_with_ignoring_case(
               action,
               "Microsoft.DataProtection/backupVaults/backupInstances/recoveryPoints/streams/"
           );
}

bool role_permits(const RoleDefinition& role, std::string_view action) noexcept {
    if (is_data_action(action)) {
        return any_matches(role.data_actions, action) &&
               !any_matches(role.not_data_actions, action);
    }
    return any_matches(role.actions, action) && !any_matches(role.not_actions, action);
}

std::string_view role_guid(std::string_view id) noexcept {
    const auto slash = id.rfind('/');
    return slash == std::string_view::npos ? id : id.substr(slash + 1);
}

std::string role_definition_id(std::string_view subscription_id, std::string_view guid) {
    return fmt::format(
        "/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{}",
        subscription_id,
        guid
    );
}

bool scope_contains(std::string_view at, std::string_view scope) noexcept {
    while (!at.empty() && at.back() == '/') {
        at.remove_suffix(1);
    }
    if (at.empty()) {
        return true;
    }
    return starts_with_ignoring_case(scope, at) &&
           (scope.size() == at.size() || scope[at.size()] == '/');
}

Authorizer::Authorizer(GrantsOf grants_of, CustomRole custom_role)
    : grants_of_{std::move(grants_of)}, custom_role_{std::move(custom_role)} {}

bool Authorizer::any_grant(
    const Principal& principal,
    std::string_view action,
    const std::function<bool(const RoleGrant&)>& reaches
) const {
    if (principal.kind == PrincipalKind::kAnonymous || principal.object_id.empty()) {
        return false;
    }
    const auto permits = [&](const RoleGrant& grant) {
        if (!reaches(grant)) {
            return false;
        }
        if (const RoleDefinition* role = find_builtin_role(grant.role)) {
            return role_permits(*role, action);
        }
        const auto custom = custom_role_ ? custom_role_(role_guid(grant.role)) : std::nullopt;
        return custom && role_permits(*custom, action);
    };
    const std::vector<RoleGrant> grants = grants_of_(principal.object_id);
    return std::any_of(grants.begin(), grants.end(), permits) ||
           std::any_of(principal.claimed_grants.begin(), principal.claimed_grants.end(), permits);
}

bool Authorizer::allows(const Principal& principal, std::string_view action, std::string_view scope)
    const {
    return any_grant(principal, action, [&](const RoleGrant& grant) {
        return scope_contains(grant.scope, scope);
    });
}

bool Authorizer::allows_somewhere(const Principal& principal, std::string_view action) const {
    return any_grant(principal, action, [](const RoleGrant&) { return true; });
}

void Authorizer::authorize(
    const Principal& principal, std::string_view action, std::string_view scope
) const {
    if (allows(principal, action, scope)) {
        return;
    }
    throw Error{
        ErrorKind::kAuthorizationFailed,
        ErrorText{
            .message = fmt::format(
                "The client '{}' with object id '{}' does not have authorization to perform action "
                "'{}' over "
                "scope '{}' or the scope is invalid. If access was recently granted, please "
                "refresh your "
                "credentials.",
                principal.display_name,
                principal.object_id,
                action,
                scope
            ),
            .target = std::string{scope},
            .recommended_actions = {fmt::format(
                "Ask an owner of the scope for a role that allows {}.", action
            )},
        }
    };
}

}  // namespace holdfast::control
