#pragma once

#include "catalog/catalog.h"
#include "control/resource_id.h"
#include "control/route.h"

#include <string>
#include <string_view>

// From a request's path to the records that it names. Ids are compared without case; what is found
// keeps the casing in which it was first written.
namespace holdfast::control {

inline constexpr std::string_view kDataProtection = "Microsoft.DataProtection";
inline constexpr std::string_view kVaultType = "Microsoft.DataProtection/backupVaults";
inline constexpr std::string_view kPolicyType =
    "Microsoft.DataProtection/backupVaults/backupPolicies";
inline constexpr std::string_view kInstanceType =
    "Microsoft.DataProtection/backupVaults/backupInstances";
inline constexpr std::string_view kDeletedInstanceType =
    "Microsoft.DataProtection/backupVaults/deletedBackupInstances";
inline constexpr std::string_view kJobType = "Microsoft.DataProtection/backupVaults/backupJobs";
inline constexpr std::string_view kPointType =
    "Microsoft.DataProtection/backupVaults/backupInstances/recoveryPoints";
inline constexpr std::string_view kServerType = "Microsoft.DBforPostgreSQL/flexibleServers";

/// Pattern prefixes of the rows below a resource group and below a vault.
inline constexpr std::string_view kGroupPattern =
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}";
inline constexpr std::string_view kVaultPattern =
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
    "/providers/Microsoft.DataProtection/backupVaults/{vaultName}";
inline constexpr std::string_view kInstancePattern =
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
    "/providers/Microsoft.DataProtection/backupVaults/{vaultName}"
    "/backupInstances/{backupInstanceName}";

/// Throws kSubscriptionNotFound.
[[nodiscard]] catalog::SubscriptionRecord require_subscription(
    const catalog::View& view, std::string_view subscription_id
);
/// Throws kResourceGroupNotFound.
[[nodiscard]] catalog::ResourceGroupRecord require_group(
    const catalog::View& view, const RequestContext& context
);
/// The group, made with `location` when there is none: a group is only a label here, and none of
/// the clients' commands makes one first. Throws kSubscriptionNotFound, kInvalidResourceName.
[[nodiscard]] catalog::ResourceGroupRecord ensure_group(
    catalog::Transaction& transaction, const RequestContext& context, const std::string& location
);

/// The id that the path names, as written.
[[nodiscard]] ResourceId vault_id_of(const RequestContext& context);

/// Throw kResourceNotFound (kResourceGroupNotFound where not even the group exists).
[[nodiscard]] catalog::VaultRecord require_vault(
    const catalog::View& view, const RequestContext& context
);
[[nodiscard]] catalog::PolicyRecord require_policy(
    const catalog::View& view, const RequestContext& context
);
[[nodiscard]] catalog::ServerRecord require_server(
    const catalog::View& view, const RequestContext& context
);
/// Throws kGenericResourceNotFound; a soft-deleted instance is not found here.
[[nodiscard]] catalog::InstanceRecord require_instance(
    const catalog::View& view, const RequestContext& context
);

/// `{parent}/{type}/{name}`
[[nodiscard]] std::string child_id(
    std::string_view parent, std::string_view type, std::string_view name
);

/// ARM's 404 for one resource.
[[nodiscard]] Error not_found(
    ErrorKind kind, std::string_view type, std::string_view name, std::string_view target
);

}  // namespace holdfast::control
