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
            .id = "acdd72a7-3385-48ef-bd42-f606fba81ae7",
            .name = "Reader",
            .description = "View all resources, change nothing.",
            .actions = {"*/read"},
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
    };
    return roles;
}

const RoleDefinition* find_builtin_role(std::string_view id_or_name) {
    if (const auto slash = id_or_name.rfind('/'); slash != std::string_view::npos) {
        id_or_name.remove_prefix(slash + 1);
    }
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

bool role_permits(const RoleDefinition& role, std::string_view action) noexcept {
    return (any_matches(role.actions, action) && !any_matches(role.not_actions, action)) ||
           (any_matches(role.data_actions, action) && !any_matches(role.not_data_actions, action));
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

Authorizer::Authorizer(std::function<std::vector<RoleGrant>(const std::string&)> grants_of)
    : grants_of_{std::move(grants_of)} {}

bool Authorizer::allows(const Principal& principal, std::string_view action, std::string_view scope)
    const {
    if (principal.kind == PrincipalKind::kAnonymous || principal.object_id.empty()) {
        return false;
    }
    for (const RoleGrant& grant : grants_of_(principal.object_id)) {
        const RoleDefinition* role = find_builtin_role(grant.role);
        if (role != nullptr && scope_contains(grant.scope, scope) && role_permits(*role, action)) {
            return true;
        }
    }
    return false;
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
