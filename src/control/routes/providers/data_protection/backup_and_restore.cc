// …/backupInstances/{backupInstanceName}/backup, restore and validateRestore
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/guards.h"
#include "control/operations.h"
#include "control/routes/lookup.h"
#include "control/routes/providers/authorization/vault_permissions.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/containers.h"
#include "jobs/credentials.h"
#include "jobs/engine.h"
#include "jobs/recovery_points.h"
#include "jobs/requests.h"

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::VaultRecord;

struct Place {
    VaultRecord vault;
    InstanceRecord instance;
};

Place require_place(const RequestContext& context) {
    Place place;
    context.services.catalog.read([&](const catalog::View& view) {
        place = {require_vault(view, context), require_instance(view, context)};
    });
    return place;
}

jobs::Requester requester_of(const RequestContext& context) {
    return {
        .principal_id = context.principal.object_id,
        .correlation_id = context.request.correlation_id
    };
}

/// The job and the operation that names it become durable together; the operation has succeeded as
/// soon as the job is registered.
Reply register_job(
    const RequestContext& context,
    const VaultRecord& vault,
    std::string kind,
    const std::function<std::string(catalog::Transaction&)>& submit
) {
    std::string operation;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        if (const auto first = Operations::find_replay(transaction, context)) {
            operation = *first;
            return;
        }
        const std::string job = submit(transaction);
        operation = context.services.operations.completed_in(
            transaction,
            context,
            OperationSpec{
                .kind = std::move(kind),
                .vault_id = vault.id,
                .location = vault.location,
                .job_id = child_id(vault.id, "backupJobs", job),
            }
        );
    });
    context.services.jobs.wake();
    return context.services.operations.accepted(context, operation);
}

/// The parsers of jobs/ read what they know; what they do not is said here.
void note_unknown_in_restore(const JsonReader& request, IgnoredProperties& ignored) {
    ignored.note_unknown(
        request,
        {"objectType",
         "recoveryPointId",
         "recoveryPointTime",
         "sourceDataStoreType",
         "sourceResourceId",
         "restoreTargetInfo",
         "rehydrationPriority",
         "rehydrationRetentionDuration",
         "identityDetails",
         "resourceGuardOperationRequests"}
    );
    const auto target = request.optional_member("restoreTargetInfo");
    if (!target) {
        return;
    }
    ignored.note_unknown(
        *target,
        {"objectType",
         "recoveryOption",
         "restoreLocation",
         "targetDetails",
         "datasourceInfo",
         "datasourceSetInfo",
         "datasourceAuthCredentials",
         "restoreCriteria",
         "holdfast"}
    );
    if (const auto details = target->optional_member("targetDetails")) {
        ignored.note_unknown(
            *details, {"filePrefix", "restoreTargetLocationType", "url", "targetResourceArmId"}
        );
    }
}

Reply start_backup(const RequestContext& context) {
    const Place place = require_place(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body_reader(context), {"backupRuleOptions"});
    const jobs::AdhocBackupRequest request =
        jobs::parse_adhoc_backup(context.body, place.instance.id, requester_of(context));
    require_vault_permissions(
        context,
        place.vault,
        needed_for_backup(context, place.instance.datasource_id, place.instance.secret_uri)
    );
    Reply reply =
        register_job(context, place.vault, "backup", [&](catalog::Transaction& transaction) {
            return context.services.jobs.submit_backup(transaction, request);
        });
    ignored.report(context, reply);
    return reply;
}

/// What is wrong and can be told at once: before there is a job that fails, and before the vault's
/// identity is given a role for it.
void check_restore(
    const RequestContext& context,
    const InstanceRecord& instance,
    const jobs::RestoreRequest& request
) {
    context.services.catalog.read([&](const catalog::View& view) {
        (void)jobs::require_point(view, instance, request.point_id);
    });
    if (const auto* files = std::get_if<jobs::FilesTarget>(&request.target)) {
        (void)context.services.containers.open(files->url);
    } else if (const auto* server = std::get_if<jobs::ServerTarget>(&request.target)) {
        (void)context.services.credentials.resolve(server->datasource_id, server->secret_uri);
    } else {
        const auto& items = std::get<jobs::ItemsTarget>(request.target);
        (void)context.services.credentials.resolve(items.datasource_id, items.secret_uri);
    }
}

Reply start_restore(const RequestContext& context) {
    const Place place = require_place(context);
    const jobs::RestoreRequest request =
        jobs::parse_restore_request(context.body, "", place.instance.id, requester_of(context));
    check_restore(context, place.instance, request);
    require_vault_permissions(context, place.vault, needed_for_restore(context, request));
    IgnoredProperties ignored;
    note_unknown_in_restore(body_reader(context), ignored);
    const std::vector<std::string> approvals = read_guard_requests(body_reader(context));
    Reply reply =
        register_job(context, place.vault, "restore", [&](catalog::Transaction& transaction) {
            require_guard_approval(
                transaction, context, place.vault, CriticalOperation::kRestore, approvals
            );
            return context.services.jobs.submit_restore(transaction, request);
        });
    ignored.report(context, reply);
    return reply;
}

/// An extension: Azure tests no restore.
Reply start_verify(const RequestContext& context) {
    const Place place = require_place(context);
    const jobs::VerifyRequest request =
        jobs::parse_verify(context.body, place.instance.id, requester_of(context));
    return register_job(context, place.vault, "verify", [&](catalog::Transaction& transaction) {
        return context.services.jobs.submit_verify(transaction, request);
    });
}

Reply validate_restore(const RequestContext& context) {
    const Place place = require_place(context);
    const JsonReader wrapped = body_reader(context).member("restoreRequestObject");
    IgnoredProperties ignored;
    note_unknown_in_restore(wrapped, ignored);
    jobs::RestoreRequest request = jobs::parse_restore_request(
        wrapped.value(), wrapped.path(), place.instance.id, requester_of(context)
    );
    check_restore(context, place.instance, request);
    require_vault_permissions(context, place.vault, needed_for_restore(context, request));
    jobs::Engine& engine = context.services.jobs;
    const std::string operation = context.services.operations.start(
        context,
        OperationSpec{
            .kind = "validateRestore",
            .vault_id = place.vault.id,
            .location = place.vault.location,
        },
        [&engine, request = std::move(request)](std::stop_token stop) -> Json {
            const auto validation = engine.validate_restore(request, stop);
            return validation.warnings.empty() ? Json{} : Json{{"warnings", validation.warnings}};
        }
    );
    Reply reply = context.services.operations.accepted(context, operation);
    ignored.report(context, reply);
    return reply;
}

}  // namespace

void add_backup_and_restore_routes(std::vector<Route>& routes) {
    const auto add = [&](std::string_view verb,
                         std::string summary,
                         Handler handler,
                         BodyRule body = BodyRule::kRequired) {
        routes.push_back(Route{
            .verb = Verb::kPost,
            .pattern = std::string{kInstancePattern} + "/" + std::string{verb},
            .action = std::string{kInstanceType} + "/" + std::string{verb} + "/action",
            .summary = std::move(summary),
            .handler = std::move(handler),
            .body = body,
        });
    };
    add("verify",
        "Starts a test restore of a physical recovery point, the newest unless one is named (an "
        "extension; see docs/azure.md).",
        start_verify,
        BodyRule::kOptional);
    add("backup", "Starts a backup on demand.", start_backup);
    add("restore", "Starts a restore as files, into a server, or of single items.", start_restore);
    add("validateRestore", "Checks a restore without changing anything.", validate_restore);
}

}  // namespace holdfast::control
