// …/backupVaults/{vaultName}/backupInstances, deletedBackupInstances and validateForBackup
#include "base/ids.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/guards.h"
#include "control/operations.h"
#include "control/resource_id.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"
#include "control/routes/providers/authorization/vault_permissions.h"
#include "control/routes/providers/data_protection/instance_request.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/protection_service.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::VaultRecord;
using jobs::ProtectionService;

constexpr NameRule kInstanceRule{// The clients make names of the database's name twice and a GUID.
                                 .what = "backup instance",
                                 .length_min = 1,
                                 .length_max = 260,
                                 .extra_characters = "-_.()$+=@~"
};
/// From this api-version on, a deletion is always a soft one.
constexpr std::string_view kSoftDeleteAlwaysFrom = "2025-09-01";

jobs::Requester requester_of(const RequestContext& context) {
    return {
        .principal_id = context.principal.object_id,
        .correlation_id = context.request.correlation_id
    };
}

Reply instance_reply(int status, const InstanceRecord& instance) {
    Reply reply = Reply::json(status, instance_document(instance));
    reply.headers.set("ETag", quote_etag(instance.etag));
    return reply;
}

enum class Listed { kActive, kDeleted };

Reply list_of(const RequestContext& context, Listed which) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const VaultRecord vault = require_vault(view, context);
        view.each<InstanceRecord>({.parent = vault.id}, [&](const InstanceRecord& instance) {
            if (instance.soft_deleted == (which == Listed::kDeleted)) {
                items.push_back(instance_document(instance));
            }
            return true;
        });
    });
    return list_reply(context, std::move(items));
}

Reply list_instances(const RequestContext& context) {
    return list_of(context, Listed::kActive);
}

Reply list_deleted_instances(const RequestContext& context) {
    return list_of(context, Listed::kDeleted);
}

Reply get_instance(const RequestContext& context) {
    InstanceRecord instance;
    context.services.catalog.read([&](const catalog::View& view) {
        instance = require_instance(view, context);
    });
    return instance_reply(200, instance);
}

InstanceRecord require_deleted_instance(const RequestContext& context) {
    std::optional<InstanceRecord> found;
    const std::string& name = context.path.at("backupInstanceName");
    std::string id;
    context.services.catalog.read([&](const catalog::View& view) {
        const VaultRecord vault = require_vault(view, context);
        id = child_id(vault.id, "deletedBackupInstances", name);
        found = view.get<InstanceRecord>(child_id(vault.id, "backupInstances", name));
    });
    if (!found || !found->soft_deleted) {
        throw not_found(ErrorKind::kGenericResourceNotFound, kDeletedInstanceType, name, id);
    }
    return *std::move(found);
}

Reply get_deleted_instance(const RequestContext& context) {
    return instance_reply(200, require_deleted_instance(context));
}

OperationSpec instance_operation(const VaultRecord& vault, std::string kind) {
    return {.kind = std::move(kind), .vault_id = vault.id, .location = vault.location};
}

VaultRecord vault_of(const RequestContext& context) {
    VaultRecord vault;
    context.services.catalog.read([&](const catalog::View& view) {
        vault = require_vault(view, context);
    });
    return vault;
}

/// The second half of a PUT, in an operation's worker; here and now when they are all busy, so that
/// an instance whose row is stored is never left unsettled.
std::string finish_protection(
    const RequestContext& context,
    const VaultRecord& vault,
    const InstanceRecord& instance,
    ProtectionService::Validation validation
) {
    ProtectionService& protection = context.services.protection;
    const OperationSpec spec = instance_operation(vault, "configureProtection");
    try {
        return context.services.operations.start(
            context,
            spec,
            [&protection, id = instance.id, validation](std::stop_token stop) -> Json {
                (void)protection.finish_protection(id, validation, stop);
                return nullptr;
            }
        );
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kTooManyRequests) {
            throw;
        }
    }
    (void)protection.finish_protection(instance.id, validation, {});
    return context.services.operations.completed(context, spec);
}

Reply put_instance(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body, {"id", "name", "type", "tags", "properties", "systemData"});
    InstanceRequest request = read_instance(body.member("properties"), ignored);
    const VaultRecord vault = vault_of(context);
    InstanceRecord& record = request.record;
    record.vault_id = vault.id;
    record.name = context.path.at("backupInstanceName");
    record.id = child_id(vault.id, "backupInstances", record.name);
    const auto existing = context.services.catalog.get<InstanceRecord>(record.id);
    check_preconditions(context.request, existing ? std::optional{existing->etag} : std::nullopt);
    if (existing) {
        record.id = existing->id;
        record.name = existing->name;
        // Judged again, in the transaction, when the client made it a condition.
        record.etag = context.request.headers.has("If-Match") ? existing->etag : std::string{};
    } else {
        require_name(record.name, kInstanceRule);
    }
    record.tags = read_tags(body).value_or(Json::object());
    const std::vector<std::string> approvals = read_guard_requests(body.member("properties"));
    const bool new_policy = existing && !equal_ignoring_case(existing->policy_id, record.policy_id);
    if (new_policy) {
        context.services.catalog.read([&](const catalog::View& view) {
            require_guard_approval(
                view, context, vault, CriticalOperation::kModifyInstance, approvals
            );
        });
    }
    context.services.protection.check_instance(record);
    require_vault_permissions(
        context, vault, needed_for_backup(context, record.datasource_id, record.secret_uri)
    );
    const InstanceRecord stored = context.services.protection.begin_protection(record);
    const std::string operation = finish_protection(context, vault, stored, request.validation);
    Reply reply = context.services.operations.with_resource(
        context, operation, 201, instance_document(stored)
    );
    ignored.report(context, reply);
    return reply;
}

/// What both validations have in common: the cheap checks at once, the server's own in an
/// operation.
Reply validate(const RequestContext& context, const VaultRecord& vault, InstanceRecord record) {
    ProtectionService& protection = context.services.protection;
    protection.check_instance(record);
    require_vault_permissions(
        context, vault, needed_for_backup(context, record.datasource_id, record.secret_uri)
    );
    const std::string operation = context.services.operations.start(
        context,
        instance_operation(vault, "validateForBackup"),
        [&protection, record = std::move(record)](std::stop_token stop) -> Json {
            const ProtectionService::MethodChoice choice = protection.preflight(record, stop);
            Json result;
            if (jobs::is_server_datasource(record)) {
                result["backupSolutionType"] = jobs::to_string(choice.method);
                result["backupSolutionReason"] = choice.reason;
            }
            if (!choice.warnings.empty()) {
                result["warnings"] = choice.warnings;
            }
            return result;
        }
    );
    return context.services.operations.accepted(context, operation);
}

Reply validate_for_backup(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body, {"backupInstance"});
    InstanceRequest request = read_instance(body.member("backupInstance"), ignored);
    const VaultRecord vault = vault_of(context);
    request.record.vault_id = vault.id;
    // It has no name yet.
    request.record.name = new_guid();
    request.record.id = child_id(vault.id, "backupInstances", request.record.name);
    Reply reply = validate(context, vault, std::move(request.record));
    ignored.report(context, reply);
    return reply;
}

Reply validate_for_modify(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body, {"backupInstance"});
    InstanceRequest request = read_instance(body.member("backupInstance"), ignored);
    const VaultRecord vault = vault_of(context);
    InstanceRecord present;
    context.services.catalog.read([&](const catalog::View& view) {
        present = require_instance(view, context);
    });
    request.record.vault_id = vault.id;
    request.record.id = present.id;
    request.record.name = present.name;
    request.record.backup_method = present.backup_method;
    request.record.backup_method_reason = present.backup_method_reason;
    Reply reply = validate(context, vault, std::move(request.record));
    ignored.report(context, reply);
    return reply;
}

Reply delete_instance(const RequestContext& context) {
    const VaultRecord vault = vault_of(context);
    const auto instance = context.services.catalog.get<InstanceRecord>(
        child_id(vault.id, "backupInstances", context.path.at("backupInstanceName"))
    );
    if (!instance || instance->soft_deleted) {
        return Reply::empty(204);
    }
    check_preconditions(context.request, instance->etag);
    context.services.catalog.read([&](const catalog::View& view) {
        require_unlocked(view, context, vault, CriticalOperation::kDeleteInstance);
    });
    const auto rule = context.api_version >= kSoftDeleteAlwaysFrom
                          ? ProtectionService::SoftDeleteRule::kAlways
                          : ProtectionService::SoftDeleteRule::kAsVault;
    (void)context.services.protection.delete_instance(instance->id, rule, requester_of(context));
    const std::string operation = context.services.operations.completed(
        context, instance_operation(vault, "deleteBackupInstance")
    );
    return context.services.operations.accepted(context, operation);
}

Reply undelete_instance(const RequestContext& context) {
    const InstanceRecord instance = require_deleted_instance(context);
    const VaultRecord vault = vault_of(context);
    (void)context.services.protection.undelete_instance(instance.id, requester_of(context));
    const std::string operation = context.services.operations.completed(
        context, instance_operation(vault, "undeleteBackupInstance")
    );
    return context.services.operations.accepted(context, operation);
}

using Change = InstanceRecord (ProtectionService::*)(
    std::string_view, const jobs::Requester&, std::stop_token
);

/// stopProtection and its kin: 202, or 200 without a body where nothing had to change.
Handler changes_state(
    Change change, std::string kind, std::optional<CriticalOperation> critical = std::nullopt
) {
    return [change, kind = std::move(kind), critical](const RequestContext& context) {
        const VaultRecord vault = vault_of(context);
        InstanceRecord before;
        context.services.catalog.read([&](const catalog::View& view) {
            before = require_instance(view, context);
            if (critical) {
                require_guard_approval(
                    view, context, vault, *critical, read_guard_requests(body_reader(context))
                );
            }
        });
        const InstanceRecord after =
            (context.services.protection.*change)(before.id, requester_of(context), {});
        if (after.state == before.state) {
            return Reply::empty(200);
        }
        const std::string operation =
            context.services.operations.completed(context, instance_operation(vault, kind));
        return context.services.operations.accepted(context, operation);
    };
}

void add_deleted_instance_routes(std::vector<Route>& routes) {
    const std::string collection = std::string{kVaultPattern} + "/deletedBackupInstances";
    const std::string item = collection + "/{backupInstanceName}";
    const std::string action = std::string{kDeletedInstanceType} + "/";
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = collection,
        .action = action + "read",
        .summary = "Lists the soft-deleted backup instances of a vault.",
        .handler = list_deleted_instances,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = item,
        .action = action + "read",
        .summary = "Shows a soft-deleted backup instance and when it will be purged.",
        .handler = get_deleted_instance,
    });
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = item + "/undelete",
        .action = action + "undelete/action",
        .summary = "Brings a soft-deleted backup instance back, with protection stopped.",
        .handler = undelete_instance,
    });
}

}  // namespace

void add_backup_instance_routes(std::vector<Route>& routes) {
    const std::string collection = std::string{kVaultPattern} + "/backupInstances";
    const std::string item{kInstancePattern};
    const std::string action = std::string{kInstanceType} + "/";
    const auto add = [&](Verb verb,
                         std::string pattern,
                         std::string full_action,
                         std::string summary,
                         Handler handler,
                         BodyRule body = BodyRule::kNone) {
        routes.push_back(Route{
            .verb = verb,
            .pattern = std::move(pattern),
            .action = std::move(full_action),
            .summary = std::move(summary),
            .handler = std::move(handler),
            .body = body,
        });
    };
    add(Verb::kGet,
        collection,
        action + "read",
        "Lists the backup instances of a vault.",
        list_instances);
    add(Verb::kGet, item, action + "read", "Shows a backup instance.", get_instance);
    add(Verb::kPut,
        item,
        action + "write",
        "Protects a datasource, or changes its policy.",
        put_instance,
        BodyRule::kRequired);
    add(Verb::kDelete,
        item,
        action + "delete",
        "Deletes a backup instance, softly where the vault says so.",
        delete_instance);
    add(Verb::kPost,
        std::string{kVaultPattern} + "/validateForBackup",
        "Microsoft.DataProtection/backupVaults/validateForBackup/action",
        "Checks whether a datasource can be backed up, and names all that is missing.",
        validate_for_backup,
        BodyRule::kRequired);
    add(Verb::kPost,
        item + "/validateForModifyBackup",
        action + "validateForModifyBackup/action",
        "Checks a change to a backup instance.",
        validate_for_modify,
        BodyRule::kRequired);
    add(Verb::kPost,
        item + "/stopProtection",
        action + "stopProtection/action",
        "Ends backups and keeps every recovery point.",
        changes_state(
            &ProtectionService::stop_protection,
            "stopProtection",
            CriticalOperation::kStopProtection
        ),
        BodyRule::kOptional);
    add(Verb::kPost,
        item + "/suspendBackups",
        action + "suspendBackups/action",
        "Ends backups; recovery points expire, but for the latest.",
        changes_state(
            &ProtectionService::suspend_backups,
            "suspendBackups",
            CriticalOperation::kSuspendBackups
        ),
        BodyRule::kOptional);
    for (const char* verb : {"resumeProtection", "resumeBackups"}) {
        add(Verb::kPost,
            fmt::format("{}/{}", item, verb),
            fmt::format("{}{}/action", action, verb),
            "Takes backups up again.",
            changes_state(&ProtectionService::resume_protection, verb),
            BodyRule::kOptional);
    }
    add_deleted_instance_routes(routes);
}

}  // namespace holdfast::control
