// …/backupVaults/{vaultName}/backupJobs
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/routes/documents.h"
#include "control/routes/filter.h"
#include "control/routes/lookup.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/engine.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::JobRecord;
using catalog::VaultRecord;

Instant instant_of(const FilterClause& clause) {
    const auto instant = parse_instant(clause.value);
    if (!instant) {
        throw Error{
            ErrorKind::kInvalidQuery,
            ErrorText{
                .message = fmt::format(
                    "{}: '{}' is not a date and time.", clause.name, clause.value.substr(0, 80)
                ),
                .target = "$filter",
                .recommended_actions = {"Write it as 2026-01-31T22:00:00Z."},
            }
        };
    }
    return *instant;
}

/// A job's operation in the words of the wire, and in those of the resource graph.
catalog::JobCondition condition_of_operation(const std::string& operation) {
    catalog::JobCondition condition{.column = catalog::JobCondition::Column::kActivity};
    condition.any_of = {operation};
    if (equal_ignoring_case(operation, "Backup")) {
        condition.any_of = {"OnDemandBackup", "ScheduledBackup"};
    }
    return condition;
}

/// `operation` and `status` in the words of the wire; the times bound the job's start.
catalog::Query read_filter(const RequestContext& context, const VaultRecord& vault) {
    catalog::Query filter;
    filter.parent = vault.id;
    filter.order = catalog::Order::kNewestFirst;
    const std::string text = context.request.query.get_or("$filter", "");
    for (const FilterClause& clause : parse_filter(
             text, {"status", "operation", "backupInstanceName", "startTime", "endTime"}
         )) {
        if (clause.name == "status") {
            filter.states = {clause.value};
            if (equal_ignoring_case(clause.value, "InProgress")) {
                filter.states = {"InProgress", "Queued"};
            }
        } else if (clause.name == "operation") {
            filter.job_conditions.push_back(condition_of_operation(clause.value));
        } else if (clause.name == "backupInstanceName") {
            filter.subject = child_id(vault.id, "backupInstances", clause.value);
        } else if (clause.name == "startTime") {
            filter.from = instant_of(clause);
        } else {
            filter.until = instant_of(clause) + std::chrono::microseconds{1};
        }
    }
    return filter;
}

Reply list_jobs(const RequestContext& context) {
    const Page page = read_page(context.request.query);
    const Instant now = context.services.clock.now();
    Json items = Json::array();
    std::optional<catalog::Place> last;
    std::optional<catalog::Place> next;
    context.services.catalog.read([&](const catalog::View& view) {
        catalog::Query filter = read_filter(context, require_vault(view, context));
        bound(filter, page);
        view.each<JobRecord>(filter, [&](const JobRecord& job) {
            if (items.size() == page.size) {
                next = last;
                return false;
            }
            items.push_back(
                job_document(job, JobDetail::kSummary, context.services.jobs.progress(job.id), now)
            );
            last = catalog::place_of(job);
            return true;
        });
    });
    return page_reply(context, std::move(items), next);
}

JobRecord require_job(const RequestContext& context) {
    std::optional<JobRecord> job;
    const std::string& name = context.path.at("jobId");
    std::string id;
    context.services.catalog.read([&](const catalog::View& view) {
        const VaultRecord vault = require_vault(view, context);
        id = child_id(vault.id, "backupJobs", name);
        job = view.get<JobRecord>(name);
        if (job && !equal_ignoring_case(job->vault_id, vault.id)) {
            job.reset();
        }
    });
    if (!job) {
        throw not_found(ErrorKind::kGenericResourceNotFound, kJobType, name, id);
    }
    return *std::move(job);
}

Reply job_reply(const RequestContext& context, const JobRecord& job) {
    return Reply::ok(job_document(
        job, JobDetail::kFull, context.services.jobs.progress(job.id), context.services.clock.now()
    ));
}

Reply get_job(const RequestContext& context) {
    return job_reply(context, require_job(context));
}

Reply cancel_job(const RequestContext& context) {
    const JobRecord job = require_job(context);
    const auto outcome = context.services.jobs.cancel(job.id);
    const JobRecord after = require_job(context);
    if (outcome == jobs::Engine::CancelOutcome::kEnded && after.status != "Cancelled") {
        throw Error{
            ErrorKind::kConflict,
            ErrorText{
                .message = fmt::format("The job '{}' has ended already: {}.", job.id, after.status),
                .target = child_id(job.vault_id, "backupJobs", job.id),
                .recommended_actions = {"Nothing is left to cancel; look at the job's result."},
            }
        };
    }
    return job_reply(context, after);
}

}  // namespace

void add_backup_job_routes(std::vector<Route>& routes) {
    const std::string collection = std::string{kVaultPattern} + "/backupJobs";
    const std::string item = collection + "/{jobId}";
    const std::string action = std::string{kJobType} + "/";
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = collection,
        .action = action + "read",
        .summary = "Lists the jobs of a vault, newest first.",
        .handler = list_jobs,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = item,
        .action = action + "read",
        .summary = "Shows a job with sub-tasks, progress and errors.",
        .handler = get_job,
    });
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = item + "/cancel",
        .action = action + "cancel/action",
        .summary = "Asks a queued or running job to stop.",
        .handler = cancel_job,
    });
}

}  // namespace holdfast::control
