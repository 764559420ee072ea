// …/locations/{location}/deletedVaults
#include "control/routes/providers/data_protection/deleted_vaults.h"

#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"
#include "control/arm.h"
#include "control/identity/authorize.h"
#include "control/operations.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"
#include "control/routes/providers/data_protection/vault_settings.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/engine.h"
#include "jobs/protection_service.h"
#include "protection/instance_state.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::GuardProxyRecord;
using catalog::InstanceRecord;
using catalog::PolicyRecord;
using catalog::VaultRecord;

constexpr std::string_view kDeletedVaultType = "Microsoft.DataProtection/locations/deletedVaults";

Json time_or_null(const std::optional<Instant>& time) {
    return time ? Json(format_instant(*time)) : Json{};
}

Json document_of(const VaultRecord& vault, const std::string& tenant) {
    Json document = vault_document(vault, tenant, GuardMapping::kNone);
    Json& properties = document["properties"];
    properties["originalBackupVaultId"] = vault.id;
    properties["originalBackupVaultName"] = vault.name;
    properties["originalBackupVaultResourcePath"] = vault.id;
    properties["resourceDeletionInfo"] = {
        {"deletionTime", time_or_null(vault.deleted_at)},
        {"scheduledPurgeTime", time_or_null(vault.purge_at)},
        {"deleteActivityID", vault.delete_activity_id}
    };
    return Json{
        {"id",
         fmt::format(
             "/subscriptions/{}/providers/Microsoft.DataProtection/locations/{}/deletedVaults/{}",
             vault.subscription_id,
             vault.location,
             vault.deleted_name
         )},
        {"name", vault.deleted_name},
        {"type", kDeletedVaultType},
        {"location", vault.location},
        {"tags", vault.tags},
        {"properties", std::move(properties)}
    };
}

/// The deleted vaults of the path's location that the caller may read.
std::vector<Json> readable(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto subscription = require_subscription(view, context.path.at("subscriptionId"));
        view.each<VaultRecord>(
            {.parent_prefix = fmt::format("/subscriptions/{}/", subscription.id)},
            [&](const VaultRecord& vault) {
                if (vault.soft_deleted &&
                    equal_ignoring_case(vault.location, context.path.at("location")) &&
                    context.services.authorizer.allows(
                        context.principal, fmt::format("{}/read", kVaultType), vault.id
                    )) {
                    items.push_back(document_of(vault, subscription.tenant_id));
                }
                return true;
            }
        );
    });
    return items;
}

Reply list_deleted(const RequestContext& context) {
    return list_reply(context, readable(context));
}

Reply get_deleted(const RequestContext& context) {
    const std::string& name = context.path.at("deletedVaultName");
    for (Json& item : readable(context)) {
        if (equal_ignoring_case(item["name"].get_ref<const std::string&>(), name)) {
            return Reply::ok(std::move(item));
        }
    }
    throw not_found(ErrorKind::kResourceNotFound, kDeletedVaultType, name, name);
}

void require_only_deleted_instances(const catalog::View& view, const VaultRecord& vault) {
    std::size_t active = 0;
    view.each<InstanceRecord>({.parent = vault.id}, [&](const InstanceRecord& instance) {
        active += instance.soft_deleted ? 0U : 1U;
        return true;
    });
    if (active == 0) {
        return;
    }
    throw Error{
        ErrorKind::kVaultNotEmpty,
        ErrorText{
            .message = fmt::format(
                "Cannot delete the Backup vault as there are {} backup instances in the vault that "
                "are not deleted.",
                active
            ),
            .target = vault.id,
            .recommended_actions = {"Delete its backup instances first."},
        }
    };
}

bool names(std::string_view header, const VaultRecord& vault) {
    const auto slash = header.rfind('/');
    const std::string_view last =
        slash == std::string_view::npos ? header : header.substr(slash + 1);
    return equal_ignoring_case(trim(last), vault.deleted_name);
}

}  // namespace

Reply soft_delete_vault(const RequestContext& context, const VaultRecord& vault) {
    std::string operation;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        VaultRecord present = require_vault(transaction, context);
        require_only_deleted_instances(transaction, present);
        const auto info = protection::deletion_info(
            transaction.now(), soft_delete_retention_of(present.properties)
        );
        present.soft_deleted = true;
        present.deleted_name = new_guid();
        present.deleted_at = info.deletion_time;
        present.purge_at = info.scheduled_purge;
        present.delete_activity_id = context.request.correlation_id;
        transaction.put(present);
        operation = context.services.operations.completed_in(
            transaction,
            context,
            OperationSpec{
                .kind = "deleteVault",
                .vault_id = vault.id,
                .location = vault.location,
                .status_place = StatusPlace::kLocation
            }
        );
    });
    return context.services.operations.accepted(context, operation);
}

void undelete_if_asked(const RequestContext& context) {
    const std::string header = context.request.headers.get_or("x-ms-deleted-vault-id", "");
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        auto vault = transaction.get<VaultRecord>(vault_id_of(context).key());
        const bool deleted = vault && vault->soft_deleted;
        if (!deleted && !header.empty()) {
            throw not_found(
                ErrorKind::kResourceNotFound, kDeletedVaultType, header, "x-ms-deleted-vault-id"
            );
        }
        if (!deleted) {
            return;
        }
        if (!names(header, *vault)) {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = fmt::format(
                        "A backup vault '{}' is soft-deleted until {}.",
                        vault->name,
                        vault->purge_at ? format_instant(*vault->purge_at) : "it is purged"
                    ),
                    .target = vault->id,
                    .recommended_actions =
                        {fmt::format(
                             "Bring it back with the header x-ms-deleted-vault-id: {}.",
                             vault->deleted_name
                         ),
                         "Or choose another name."},
                }
            };
        }
        vault->soft_deleted = false;
        vault->deleted_name.clear();
        vault->deleted_at.reset();
        vault->purge_at.reset();
        vault->delete_activity_id.clear();
        transaction.put(*vault);
    });
}

std::size_t purge_deleted_vaults(Services& services) {
    if (services.jobs.clock_leap()) {
        return 0;
    }
    std::vector<VaultRecord> over;
    services.catalog.read([&](const catalog::View& view) {
        const Instant now = services.clock.now();
        view.each<VaultRecord>({}, [&](const VaultRecord& vault) {
            if (vault.soft_deleted && vault.purge_at && *vault.purge_at <= now &&
                view.count<InstanceRecord>({.parent = vault.id}) == 0) {
                over.push_back(vault);
            }
            return true;
        });
    });
    for (const VaultRecord& vault : over) {
        services.catalog.write([&](catalog::Transaction& transaction) {
            for (const auto& policy : transaction.list<PolicyRecord>({.parent = vault.id})) {
                transaction.remove<PolicyRecord>(policy.id);
            }
        });
        const auto also = [&](catalog::Transaction& transaction) {
            remove_grants(transaction, vault);
            for (const auto& proxy : transaction.list<GuardProxyRecord>({.parent = vault.id})) {
                transaction.remove<GuardProxyRecord>(proxy.id);
            }
        };
        (void)services.protection.delete_vault(vault.id, also);
        log_info("A soft-deleted vault was purged", {{"vault", vault.id}});
    }
    return over.size();
}

void add_deleted_vault_routes(std::vector<Route>& routes) {
    const std::string collection =
        "/subscriptions/{subscriptionId}/providers/Microsoft.DataProtection/locations/{location}"
        "/deletedVaults";
    const std::string action{"Microsoft.DataProtection/locations/deletedVaults/read"};
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = collection,
        .action = action,
        .summary = "Lists the soft-deleted backup vaults of a location.",
        .handler = list_deleted,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = collection + "/{deletedVaultName}",
        .action = action,
        .summary = "Shows a soft-deleted backup vault and when it will be purged.",
        .handler = get_deleted,
        .access = Access::kAuthenticated,
    });
}

}  // namespace holdfast::control
