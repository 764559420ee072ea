#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "jobs/detail/expiry.h"
#include "jobs/detail/runners.h"
#include "jobs/detail/submit.h"
#include "jobs/repositories.h"
#include "vault/vault.h"

#include <set>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

/// Points that a queued or running restore or test restore reads.
std::set<std::string> points_in_use(const catalog::View& view, const std::string& vault_id) {
    std::set<std::string> ids;
    view.each<catalog::JobRecord>(
        catalog::Query{.parent = vault_id, .states = {"Queued", "InProgress", "Cancelling"}},
        [&](const catalog::JobRecord& job) {
            if (job.operation == kRestoreOperation) {
                ids.insert(restore_request_from_json(job.request).point_id);
            } else if (job.operation == kVerifyOperation) {
                ids.insert(verify_request_from_json(job.request).point_id);
            }
            return true;
        }
    );
    return ids;
}

protection::PointFacts facts_of(const catalog::PointRecord& point) {
    return protection::PointFacts{
        .created = point.time,
        .expires = point.expires_at,
        .good = point.state == "Completed",
        .held = point.held,
    };
}

bool is_purge_due(const catalog::InstanceRecord& instance, Instant now) {
    return instance.soft_deleted && instance.purge_at && *instance.purge_at <= now;
}

void plan_instance(
    const catalog::View& view,
    const catalog::InstanceRecord& instance,
    const std::set<std::string>& in_use,
    const ExpiryContext& context,
    ExpiryPlan& plan
) {
    const auto points = view.list<catalog::PointRecord>(catalog::Query{.parent = instance.id});
    if (is_purge_due(instance, context.now)) {
        bool whole = true;
        for (const catalog::PointRecord& point : points) {
            if (point.held || in_use.contains(point.id)) {
                whole = false;
            } else if (context.clock == protection::ClockTrust::kTrusted) {
                plan.remove.push_back({point, "purged after soft delete"});
            }
        }
        if (whole && context.clock == protection::ClockTrust::kTrusted) {
            plan.purge.push_back(instance);
        }
        return;
    }
    const auto state = protection::parse_protection_state(instance.state);
    if (!state) {
        return;
    }
    std::vector<protection::PointFacts> facts;
    for (const catalog::PointRecord& point : points) {
        facts.push_back(facts_of(point));
    }
    const auto verdicts = protection::expirable(
        facts,
        *state,
        context.now,
        {.last_good_point = protection::LastGoodPoint::kKeep, .clock = context.clock}
    );
    for (std::size_t i = 0; i < points.size(); ++i) {
        if (verdicts[i] == protection::ExpiryVerdict::kRemove && !in_use.contains(points[i].id)) {
            plan.remove.push_back({points[i], "expired"});
        }
    }
}

void remove_point(
    const EngineParts& parts,
    vault::Repository& repository,
    const ExpiryPlan::Removal& removal,
    std::stop_token stop
) {
    const auto id = vault::PointId::parse(removal.point.id);
    HOLDFAST_CHECK(id.has_value());
    const Json why{
        {"reason", removal.reason},
        {"jobId", removal.job_id},
        {"instanceId", removal.point.instance_id},
    };
    repository.remove_point(*id, why.dump(), stop);
    parts.catalog.write([&](catalog::Transaction& transaction) {
        transaction.remove<catalog::PointRecord>(removal.point.id);
    });
}

}  // namespace

ExpiryPlan plan_expiry(
    const catalog::View& view, const std::string& vault_id, const ExpiryContext& context
) {
    ExpiryPlan plan;
    const std::set<std::string> in_use = points_in_use(view, vault_id);
    for (const auto& instance :
         view.list<catalog::InstanceRecord>(catalog::Query{.parent = vault_id})) {
        plan_instance(view, instance, in_use, context, plan);
    }
    return plan;
}

JobResult run_expire(const EngineParts& parts, JobContext& job) {
    const catalog::JobRecord row = job.record();
    catalog::VaultRecord vault;
    ExpiryPlan plan;
    const ExpiryContext context = expiry_context(parts.catalog, parts.clock);
    parts.catalog.read([&](const catalog::View& view) {
        vault = require_vault(view, row.vault_id);
        plan = plan_expiry(view, vault.id, context);
    });
    job.update([&](catalog::JobRecord& record) {
        set_sub_task(record, 1, "Remove expired recovery points", SubTaskStatus::kInProgress);
    });
    const auto repository = parts.repositories.open(vault, job.stop());
    std::size_t removed = 0;
    for (ExpiryPlan::Removal& removal : plan.remove) {
        job.check_stop();
        removal.job_id = row.id;
        remove_point(parts, *repository, removal, job.stop());
        ++removed;
        log_info(
            "Removed a recovery point",
            {{"point", removal.point.id},
             {"instance", removal.point.instance_id},
             {"reason", removal.reason}}
        );
    }
    JobResult result;
    result.finish = [removed, vault, purge = plan.purge](
                        catalog::Transaction& transaction, catalog::JobRecord& record
                    ) {
        if (removed > 0) {
            (void)queue_collection(transaction, vault);
        }
        set_sub_task(record, 1, "Remove expired recovery points", SubTaskStatus::kCompleted);
        set_sub_task_detail(record, 1, "RecoveryPointsRemoved", std::to_string(removed));
        for (const catalog::InstanceRecord& instance : purge) {
            transaction.remove<catalog::InstanceRecord>(instance.id);
        }
        record.details["additionalDetails"]["RecoveryPointsRemoved"] = std::to_string(removed);
        record.details["additionalDetails"]["InstancesPurged"] = std::to_string(purge.size());
    };
    return result;
}

}  // namespace holdfast::jobs
