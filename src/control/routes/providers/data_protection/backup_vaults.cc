// …/providers/Microsoft.DataProtection/backupVaults
#include "alerts/outbox.h"
#include "base/ids.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/alert_rules.h"
#include "control/arm.h"
#include "control/config.h"
#include "control/guards.h"
#include "control/identity/authorize.h"
#include "control/operations.h"
#include "control/resource_id.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"
#include "control/routes/providers/data_protection/deleted_vaults.h"
#include "control/routes/providers/data_protection/vault_settings.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/protection_service.h"
#include "jobs/repositories.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::GuardProxyRecord;
using catalog::InstanceRecord;
using catalog::PrincipalRecord;
using catalog::ResourceGroupRecord;
using catalog::RoleAssignmentRecord;
using catalog::SubscriptionRecord;
using catalog::VaultRecord;

constexpr NameRule kVaultRule{
    .what = "backup vault",
    .length_min = 2,
    .length_max = 50,
    .extra_characters = "-",
    .first_is_letter = true
};
constexpr std::string_view kReadVault = "Microsoft.DataProtection/backupVaults/read";

void require_vault_name(const std::string& name) {
    require_name(name, kVaultRule);
    if (name.ends_with('-')) {
        throw Error{
            ErrorKind::kInvalidResourceName,
            ErrorText{
                .message = fmt::format("'{}' ends with a hyphen.", name),
                .target = "vaultName",
                .recommended_actions =
                    {"Choose 2 to 50 letters, digits and hyphens that begin with a letter and end "
                     "with a letter or a digit."},
            }
        };
    }
}

std::string tenant_of(const catalog::View& view, const VaultRecord& vault) {
    const auto subscription = view.get<SubscriptionRecord>(vault.subscription_id);
    return subscription ? subscription->tenant_id : std::string{};
}

Json document_of(const catalog::View& view, const VaultRecord& vault) {
    const auto mapping =
        is_mapped_to_guard(view, vault.id) ? GuardMapping::kMapped : GuardMapping::kNone;
    return vault_document(vault, tenant_of(view, vault), mapping);
}

Json document_of(const RequestContext& context, const VaultRecord& vault) {
    Json document;
    context.services.catalog.read([&](const catalog::View& view) {
        document = document_of(view, vault);
    });
    return document;
}

/// One vault by itself also says what its owner must know of its repository.
Reply vault_reply(const RequestContext& context, const VaultRecord& vault, Json document) {
    const jobs::RepositoryStatus status = context.services.repositories.status(vault);
    document["properties"]["holdfast"] = Json{
        {"usable", status.usable},
        {"recoveryKitWritten", status.recovery_kit_written},
        {"warnings", status.warnings}
    };
    Reply reply = Reply::ok(std::move(document));
    reply.headers.set("ETag", quote_etag(vault.etag));
    return reply;
}

Reply vault_reply(const RequestContext& context, const VaultRecord& vault) {
    return vault_reply(context, vault, document_of(context, vault));
}

Reply get_vault(const RequestContext& context) {
    VaultRecord vault;
    Json document;
    context.services.catalog.read([&](const catalog::View& view) {
        vault = require_vault(view, context);
        document = document_of(view, vault);
    });
    return vault_reply(context, vault, std::move(document));
}

std::vector<Json> readable_vaults(
    const RequestContext& context, const catalog::View& view, const catalog::Query& query
) {
    std::vector<Json> items;
    view.each<VaultRecord>(query, [&](const VaultRecord& vault) {
        if (!vault.soft_deleted &&
            context.services.authorizer.allows(context.principal, kReadVault, vault.id)) {
            items.push_back(document_of(view, vault));
        }
        return true;
    });
    return items;
}

Reply list_by_subscription(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto subscription = require_subscription(view, context.path.at("subscriptionId"));
        items = readable_vaults(
            context, view, {.parent_prefix = fmt::format("/subscriptions/{}/", subscription.id)}
        );
    });
    return list_reply(context, std::move(items));
}

Reply list_by_group(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        items = readable_vaults(context, view, {.parent = require_group(view, context).id});
    });
    return list_reply(context, std::move(items));
}

/// The ids of user-assigned identities, in the client's spelling; what it was shown of each comes
/// back with it.
Json read_assigned_identities(const JsonReader& identities) {
    identities.require_object();
    Json ids = Json::array();
    for (const auto& [id, unused] : identities.value().items()) {
        ids.push_back(ResourceId::parse(id, identities.path()).text());
    }
    return ids;
}

/// What a request says about the identity. The vault's own principal is made with its first
/// identity and stays for the vault's life, so that what was granted to it keeps its meaning. No
/// user-assigned identity exists apart from a vault: it is kept as a name of that principal.
void read_identity(const JsonReader& body, VaultRecord& vault, IgnoredProperties& ignored) {
    const auto identity = body.optional_member("identity");
    if (!identity) {
        return;
    }
    ignored.note_unknown(*identity, {"type", "principalId", "tenantId", "userAssignedIdentities"});
    if (const auto type = identity->optional_member("type")) {
        // The command line writes the pair without a blank, the published API with one.
        vault.identity_type = type->as_one_of(
            {"SystemAssigned",
             "UserAssigned",
             "SystemAssigned,UserAssigned",
             "SystemAssigned, UserAssigned",
             "None"}
        );
    }
    if (!vault.identity_type.ends_with("UserAssigned")) {
        vault.properties.erase(kAssignedIdentities);
    } else if (const auto assigned = identity->optional_member("userAssignedIdentities")) {
        vault.properties[kAssignedIdentities] = read_assigned_identities(*assigned);
    }
    if (!vault.identity_type.empty() && vault.identity_type != "None" &&
        vault.principal_id.empty()) {
        vault.principal_id = new_guid();
    }
}

void put_principal(catalog::Transaction& transaction, const VaultRecord& vault) {
    if (vault.principal_id.empty() ||
        transaction.get<PrincipalRecord>(vault.principal_id).has_value()) {
        return;
    }
    PrincipalRecord principal;
    principal.id = vault.principal_id;
    principal.kind = "ManagedIdentity";
    principal.display_name = vault.name;
    principal.resource_id = vault.id;
    principal.created_at = transaction.now();
    transaction.put(principal);
}

/// Both PUT and PATCH: what the body says, on top of `vault`.
void apply_body(
    const RequestContext& context,
    const JsonReader& body,
    VaultRecord& vault,
    IgnoredProperties& ignored
) {
    ignored.note_unknown(
        body,
        {"id", "name", "type", "location", "tags", "identity", "properties", "systemData", "eTag"}
    );
    const std::string location = read_location(body, vault.location);
    if (!vault.location.empty() && location != vault.location) {
        throw Error{
            ErrorKind::kConflict,
            ErrorText{
                .message = fmt::format(
                    "The vault '{}' already exists in location '{}'.", vault.name, vault.location
                ),
                .target = "location",
                .recommended_actions = {"Give that location: a vault does not move."},
            }
        };
    }
    vault.location = location;
    const bool replaces = context.request.verb == Verb::kPut;
    if (const auto tags = read_tags(body)) {
        vault.tags = *tags;
    } else if (replaces) {
        vault.tags = Json::object();
    }
    const auto properties = body.optional_member("properties");
    if (properties || replaces) {
        const bool is_new = vault.etag.empty();
        vault.properties = apply_vault_settings(
            properties ? *properties : body.member("properties"),
            is_new ? Json{} : vault.properties,
            ignored
        );
    }
    read_identity(body, vault, ignored);
}

/// Where the data lie is decided before the first instance.
void refuse_storage_change(
    const catalog::View& view, const VaultRecord& before, const VaultRecord& after
) {
    if (same_storage(before.properties, after.properties) ||
        view.count<InstanceRecord>({.parent = before.id}) == 0) {
        return;
    }
    throw Error{
        ErrorKind::kUnsupportedOperation,
        ErrorText{
            .message = "The storage redundancy of a vault cannot change once it protects a backup "
                       "instance.",
            .target = "properties.storageSettings",
            .recommended_actions = {"Leave storageSettings as they are, or create another vault."},
        }
    };
}

/// A setting that protects the vault's data is lowered with a second person's word only.
void require_approvals(
    const catalog::View& view,
    const RequestContext& context,
    const VaultRecord& before,
    const VaultRecord& after,
    const std::vector<std::string>& approvals
) {
    const auto require = [&](CriticalOperation operation) {
        require_guard_approval(view, context, before, operation, approvals);
    };
    if (immutability_of(after.properties) < immutability_of(before.properties)) {
        require(CriticalOperation::kReduceImmutability);
    }
    if (soft_delete_of(after.properties) < soft_delete_of(before.properties) ||
        soft_delete_retention_of(after.properties) < soft_delete_retention_of(before.properties)) {
        require(CriticalOperation::kReduceSoftDelete);
    }
}

/// What was lowered is told at once, also where a second person agreed.
void raise_weakenings(
    catalog::Transaction& transaction,
    const RequestContext& context,
    const VaultRecord& before,
    const VaultRecord& after
) {
    const auto raise = [&](alerts::Kind kind, std::string_view what) {
        context.services.alerts.raise_in(
            transaction,
            event_by(context, kind, after.id, fmt::format("{} of the vault {}", what, after.id))
        );
    };
    if (immutability_of(after.properties) < immutability_of(before.properties)) {
        raise(alerts::Kind::kImmutabilityWeakened, "weakened the immutability");
    }
    if (soft_delete_of(after.properties) < soft_delete_of(before.properties)) {
        raise(alerts::Kind::kSoftDeleteWeakened, "switched off the soft delete");
    } else if (soft_delete_retention_of(after.properties) <
               soft_delete_retention_of(before.properties)) {
        raise(alerts::Kind::kSoftDeleteWeakened, "shortened the soft delete");
    }
}

OperationSpec vault_operation(const VaultRecord& vault, std::string kind) {
    return {.kind = std::move(kind), .vault_id = vault.id, .location = vault.location};
}

Reply create_vault(const RequestContext& context, const JsonReader& body) {
    VaultRecord vault;
    vault.name = context.path.at("vaultName");
    require_vault_name(vault.name);
    context.services.catalog.read([&](const catalog::View& view) {
        vault.subscription_id = require_subscription(view, context.path.at("subscriptionId")).id;
        const ResourceId id = vault_id_of(context);
        vault.resource_group = id.group_name();
        const auto group = view.get<ResourceGroupRecord>(id.parent()->key());
        // Within a group that exists, its own spelling.
        vault.resource_group = group ? group->name : id.group_name();
    });
    vault.id = ResourceId::resource_group(vault.subscription_id, vault.resource_group)
                   .provider_child(kDataProtection, "backupVaults", vault.name)
                   .text();
    IgnoredProperties ignored;
    apply_body(context, body, vault, ignored);
    if (vault.location.empty()) {
        vault.location = canonical_location(context.services.config.service.location);
    }
    std::string operation;
    vault = context.services.protection.create_vault(vault, [&](catalog::Transaction& transaction) {
        (void)ensure_group(transaction, context, vault.location);
        put_principal(transaction, vault);
        operation = context.services.operations.completed_in(
            transaction, context, vault_operation(vault, "createVault")
        );
    });
    Json document = document_of(context, vault);
    document["properties"]["provisioningState"] = "Provisioning";
    Reply reply =
        context.services.operations.with_resource(context, operation, 201, std::move(document));
    reply.headers.set("ETag", quote_etag(vault.etag));
    ignored.report(context, reply);
    return reply;
}

/// The changed vault is stored, together with what `also` writes.
VaultRecord change_vault(
    const RequestContext& context,
    const JsonReader& body,
    IgnoredProperties& ignored,
    const std::function<void(catalog::Transaction&, const VaultRecord&)>& also
) {
    VaultRecord before;
    context.services.catalog.read([&](const catalog::View& view) {
        before = require_vault(view, context);
    });
    check_preconditions(context.request, before.etag);
    VaultRecord after = before;
    apply_body(context, body, after, ignored);
    const auto properties = body.optional_member("properties");
    const std::vector<std::string> approvals =
        properties ? read_guard_requests(*properties) : std::vector<std::string>{};
    context.services.catalog.read([&](const catalog::View& view) {
        // Before the repository hears of it.
        require_approvals(view, context, before, after, approvals);
    });
    return context.services.protection.update_vault(after, [&](catalog::Transaction& transaction) {
        refuse_storage_change(transaction, before, after);
        require_approvals(transaction, context, before, after, approvals);
        put_principal(transaction, after);
        raise_weakenings(transaction, context, before, after);
        also(transaction, after);
    });
}

/// What a PUT that brings a vault back would be refused for: judged before it is back.
void check_change(const RequestContext& context, const JsonReader& body) {
    const auto deleted = context.services.catalog.get<VaultRecord>(vault_id_of(context).key());
    if (!deleted || !deleted->soft_deleted) {
        return;
    }
    VaultRecord after = *deleted;
    IgnoredProperties ignored;
    apply_body(context, body, after, ignored);
    const auto properties = body.optional_member("properties");
    const std::vector<std::string> approvals =
        properties ? read_guard_requests(*properties) : std::vector<std::string>{};
    context.services.catalog.read([&](const catalog::View& view) {
        require_approvals(view, context, *deleted, after, approvals);
    });
}

Reply put_vault(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    check_change(context, body);
    undelete_if_asked(context);
    const auto existing = context.services.catalog.get<VaultRecord>(vault_id_of(context).key());
    if (!existing) {
        check_preconditions(context.request, std::nullopt);
        return create_vault(context, body);
    }
    IgnoredProperties ignored;
    std::string operation;
    const VaultRecord vault = change_vault(
        context,
        body,
        ignored,
        [&](catalog::Transaction& transaction, const VaultRecord& after) {
            operation = context.services.operations.completed_in(
                transaction, context, vault_operation(after, "updateVault")
            );
        }
    );
    Json document = document_of(context, vault);
    document["properties"]["provisioningState"] = "Updating";
    Reply reply =
        context.services.operations.with_resource(context, operation, 200, std::move(document));
    reply.headers.set("ETag", quote_etag(vault.etag));
    ignored.report(context, reply);
    return reply;
}

Reply patch_vault(const RequestContext& context) {
    IgnoredProperties ignored;
    const VaultRecord vault = change_vault(
        context, body_reader(context), ignored, [](catalog::Transaction&, const VaultRecord&) {}
    );
    Reply reply = vault_reply(context, vault);
    ignored.report(context, reply);
    return reply;
}

}  // namespace

/// What was granted to the vault's identity, and on the vault, goes with it.
void remove_grants(catalog::Transaction& transaction, const VaultRecord& vault) {
    std::vector<std::string> gone;
    transaction.each<RoleAssignmentRecord>({}, [&](const RoleAssignmentRecord& assignment) {
        const bool own = !vault.principal_id.empty() &&
                         equal_ignoring_case(assignment.principal_id, vault.principal_id);
        if (own || (assignment.scope != "/" && scope_contains(vault.id, assignment.scope))) {
            gone.push_back(assignment.id);
        }
        return true;
    });
    for (const std::string& id : gone) {
        transaction.remove<RoleAssignmentRecord>(id);
    }
    if (!vault.principal_id.empty()) {
        transaction.remove<PrincipalRecord>(vault.principal_id);
    }
}

namespace {

Reply delete_vault(const RequestContext& context) {
    const auto vault = context.services.catalog.get<VaultRecord>(vault_id_of(context).key());
    if (!vault || vault->soft_deleted) {
        return Reply::empty(204);
    }
    check_preconditions(context.request, vault->etag);
    if (context.api_version >= kVaultSoftDeleteFrom) {
        return soft_delete_vault(context, *vault);
    }
    OperationSpec spec = vault_operation(*vault, "deleteVault");
    spec.status_place = StatusPlace::kLocation;
    std::string operation;
    const bool removed =
        context.services.protection.delete_vault(vault->id, [&](catalog::Transaction& transaction) {
            require_unlocked(transaction, context, *vault, CriticalOperation::kRemoveMapping);
            remove_grants(transaction, *vault);
            for (const auto& proxy : transaction.list<GuardProxyRecord>({.parent = vault->id})) {
                transaction.remove<GuardProxyRecord>(proxy.id);
            }
            operation = context.services.operations.completed_in(transaction, context, spec);
        });
    return removed ? context.services.operations.accepted(context, operation) : Reply::empty(204);
}

Reply check_name(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    const std::string name = body.string("name");
    Json answer{{"nameAvailable", true}};
    const auto type = body.optional_string("type");
    if (type && !equal_ignoring_case(*type, kVaultType)) {
        body.member("type").fail("Names are checked for vaults only.", kVaultType);
    }
    const ResourceId id = ResourceId::resource_group(
        context.path.at("subscriptionId"), context.path.at("resourceGroupName")
    );
    const auto take = [&](std::string_view reason, std::string message) {
        answer =
            Json{{"nameAvailable", false}, {"reason", reason}, {"message", std::move(message)}};
    };
    try {
        require_vault_name(name);
    } catch (const Error& error) {
        take("Invalid", error.what());
        return Reply::ok(std::move(answer));
    }
    const auto key = fmt::format("{}/providers/{}/{}", id.key(), kVaultType, name);
    if (context.services.catalog.get<VaultRecord>(key)) {
        take("AlreadyExists", fmt::format("The vault '{}' already exists in this group.", name));
    }
    return Reply::ok(std::move(answer));
}

}  // namespace

void add_backup_vault_routes(std::vector<Route>& routes) {
    const std::string item{kVaultPattern};
    const std::string action = std::string{kVaultType} + "/";
    const auto add = [&](Verb verb, std::string verb_action, std::string summary, Handler handler) {
        routes.push_back(Route{
            .verb = verb,
            .pattern = item,
            .action = action + std::move(verb_action),
            .summary = std::move(summary),
            .handler = std::move(handler),
            .body =
                verb == Verb::kPut || verb == Verb::kPatch ? BodyRule::kRequired : BodyRule::kNone,
        });
    };
    add(Verb::kGet, "read", "Shows a backup vault.", get_vault);
    add(Verb::kPut, "write", "Creates a backup vault or changes its settings.", put_vault);
    add(Verb::kPatch, "write", "Changes tags, identity and settings of a vault.", patch_vault);
    add(Verb::kDelete, "delete", "Deletes an empty backup vault.", delete_vault);
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = std::string{kGroupPattern} + "/providers/Microsoft.DataProtection/backupVaults",
        .action = std::string{kReadVault},
        .summary = "Lists the backup vaults of a resource group that the caller may read.",
        .handler = list_by_group,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern =
            "/subscriptions/{subscriptionId}/providers/Microsoft.DataProtection/backupVaults",
        .action = std::string{kReadVault},
        .summary = "Lists the backup vaults of a subscription that the caller may read.",
        .handler = list_by_subscription,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = std::string{kGroupPattern} +
                   "/providers/Microsoft.DataProtection/locations/{location}/checkNameAvailability",
        .action = "Microsoft.DataProtection/locations/checkNameAvailability/action",
        .summary = "Tells whether a vault's name is valid and free.",
        .handler = check_name,
        .body = BodyRule::kRequired,
        .auditing = Auditing::kNever,
    });
}

}  // namespace holdfast::control
