#include "control/routes/lookup.h"

#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::PolicyRecord;
using catalog::ResourceGroupRecord;
using catalog::ServerRecord;
using catalog::SubscriptionRecord;
using catalog::VaultRecord;

constexpr NameRule kGroupRule{
    .what = "resource group", .length_min = 1, .length_max = 90, .extra_characters = "-_.()"
};

ResourceId group_id_of(const RequestContext& context) {
    return ResourceId::resource_group(
        context.path.at("subscriptionId"), context.path.at("resourceGroupName")
    );
}

}  // namespace

Error not_found(
    ErrorKind kind, std::string_view type, std::string_view name, std::string_view target
) {
    return Error{
        kind,
        ErrorText{
            .message = fmt::format("The resource '{}/{}' was not found.", type, name),
            .target = std::string{target},
            .recommended_actions =
                {"Check the name, the resource group and the subscription; list what exists."},
        }
    };
}

std::string child_id(std::string_view parent, std::string_view type, std::string_view name) {
    return fmt::format("{}/{}/{}", parent, type, name);
}

SubscriptionRecord require_subscription(
    const catalog::View& view, std::string_view subscription_id
) {
    auto found = view.get<SubscriptionRecord>(subscription_id);
    if (!found) {
        throw Error{
            ErrorKind::kSubscriptionNotFound,
            ErrorText{
                .message =
                    fmt::format("The subscription '{}' could not be found.", subscription_id),
                .target = fmt::format("/subscriptions/{}", subscription_id),
                .recommended_actions = {"List the subscriptions with GET /subscriptions."},
            }
        };
    }
    return *std::move(found);
}

ResourceGroupRecord require_group(const catalog::View& view, const RequestContext& context) {
    const ResourceId id = group_id_of(context);
    auto found = view.get<ResourceGroupRecord>(id.key());
    if (!found) {
        (void)require_subscription(view, id.subscription_id());
        throw Error{
            ErrorKind::kResourceGroupNotFound,
            ErrorText{
                .message = fmt::format("Resource group '{}' could not be found.", id.group_name()),
                .target = id.text(),
                .recommended_actions =
                    {"Create it, or list the groups of the subscription and correct the name."},
            }
        };
    }
    return *std::move(found);
}

ResourceGroupRecord ensure_group(
    catalog::Transaction& transaction, const RequestContext& context, const std::string& location
) {
    const std::string& name = context.path.at("resourceGroupName");
    const ResourceId id = group_id_of(context);
    if (auto found = transaction.get<ResourceGroupRecord>(id.key())) {
        return *std::move(found);
    }
    const SubscriptionRecord subscription = require_subscription(transaction, id.subscription_id());
    require_name(name, kGroupRule);
    ResourceGroupRecord group;
    group.id = ResourceId::resource_group(subscription.id, name).text();
    group.subscription_id = subscription.id;
    group.name = name;
    group.location = location;
    group.created_at = transaction.now();
    transaction.put(group);
    return group;
}

ResourceId vault_id_of(const RequestContext& context) {
    return group_id_of(context).provider_child(
        kDataProtection, "backupVaults", context.path.at("vaultName")
    );
}

VaultRecord require_vault(const catalog::View& view, const RequestContext& context) {
    const ResourceId id = vault_id_of(context);
    auto found = view.get<VaultRecord>(id.key());
    if (!found) {
        (void)require_group(view, context);
        throw not_found(ErrorKind::kResourceNotFound, kVaultType, id.name(), id.text());
    }
    if (found->soft_deleted) {
        const Error error =
            not_found(ErrorKind::kResourceNotFound, kVaultType, id.name(), id.text());
        ErrorText text = error.text();
        text.message = fmt::format("The backup vault '{}' is soft-deleted.", found->name);
        text.recommended_actions = {fmt::format(
            "Bring it back: PUT it with the header x-ms-deleted-vault-id: {}.", found->deleted_name
        )};
        throw Error{ErrorKind::kResourceNotFound, std::move(text)};
    }
    return *std::move(found);
}

PolicyRecord require_policy(const catalog::View& view, const RequestContext& context) {
    const VaultRecord vault = require_vault(view, context);
    const std::string& name = context.path.at("backupPolicyName");
    const std::string id = child_id(vault.id, "backupPolicies", name);
    auto found = view.get<PolicyRecord>(id);
    if (!found) {
        throw not_found(ErrorKind::kResourceNotFound, kPolicyType, name, id);
    }
    return *std::move(found);
}

ServerRecord require_server(const catalog::View& view, const RequestContext& context) {
    const ResourceId id = group_id_of(context).provider_child(
        "Microsoft.DBforPostgreSQL", "flexibleServers", context.path.at("serverName")
    );
    auto found = view.get<ServerRecord>(id.key());
    if (!found) {
        (void)require_group(view, context);
        throw not_found(ErrorKind::kResourceNotFound, kServerType, id.name(), id.text());
    }
    return *std::move(found);
}

InstanceRecord require_instance(const catalog::View& view, const RequestContext& context) {
    const VaultRecord vault = require_vault(view, context);
    const std::string& name = context.path.at("backupInstanceName");
    const std::string id = child_id(vault.id, "backupInstances", name);
    auto found = view.get<InstanceRecord>(id);
    if (found && !found->soft_deleted) {
        return *std::move(found);
    }
    Error error = not_found(ErrorKind::kGenericResourceNotFound, kInstanceType, name, id);
    if (!found) {
        throw error;
    }
    ErrorText text = error.text();
    text.message = fmt::format("The backup instance '{}' is soft-deleted.", name);
    text.recommended_actions = {
        "Undelete it first (deletedBackupInstances/" + name + "/undelete) to use it again."
    };
    throw Error{ErrorKind::kGenericResourceNotFound, std::move(text)};
}

}  // namespace holdfast::control
