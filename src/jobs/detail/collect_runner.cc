#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "jobs/detail/runners.h"
#include "jobs/repositories.h"
#include "jobs/user_error.h"
#include "vault/collect.h"

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr std::string_view kFind = "Find unused space";
constexpr std::string_view kReclaim = "Reclaim space";

std::string describe(const vault::SessionInfo& session) {
    return fmt::format(
        "A {} that began at {} {} the vault's data; what it may need stays until it has ended.",
        session.point ? "backup" : "rebuilding of the index",
        format_instant_seconds(session.started_at),
        session.elsewhere ? "in another process, or was interrupted there, may still use"
                          : "still uses"
    );
}

void add_figures(catalog::JobRecord& record, const vault::CollectReport& report) {
    const std::vector<std::pair<std::string_view, std::uint64_t>> figures{
        {"ReclaimedBytes", report.removed.bytes},
        {"RemovedPacks", report.removed.packs},
        {"RewrittenBytes", report.copied_bytes},
        {"BytesToReclaimLater", report.condemned_left.bytes + report.suspects.bytes},
        {"InterruptedBackupsEnded", report.ended_sessions},
    };
    for (const auto& [name, value] : figures) {
        set_sub_task_detail(record, 2, name, std::to_string(value));
        record.details["additionalDetails"][std::string{name}] = std::to_string(value);
    }
}

void add_warnings(
    catalog::JobRecord& record,
    const catalog::VaultRecord& vault,
    const vault::CollectReport& report
) {
    for (const vault::DamagedObject& object : report.kept_damaged) {
        record.warnings.push_back(warning_detail(
            {vault.name,
             "DamagedDataKept",
             fmt::format(
                 "'{}' was to be removed and stays, because something needed of it cannot be "
                 "read.",
                 object.object_key
             ),
             {"Run 'holdfast vault check' on the vault."}}
        ));
    }
    for (const vault::SessionInfo& session : report.waiting_for) {
        if (session.elsewhere) {
            record.warnings.push_back(warning_detail(
                {vault.name,
                 "SpaceHeldElsewhere",
                 describe(session),
                 {"When no other process works on the vault any more, stop the server and run "
                  "'holdfast vault collect --end-foreign-sessions'."}}
            ));
        }
    }
}

}  // namespace

JobResult run_collect(const EngineParts& parts, JobContext& job) {
    const catalog::JobRecord row = job.record();
    catalog::VaultRecord vault;
    parts.catalog.read([&](const catalog::View& view) { vault = require_vault(view, row.vault_id); }
    );
    job.update([&](catalog::JobRecord& record) {
        set_sub_task(record, 1, kFind, SubTaskStatus::kInProgress);
        set_sub_task(record, 2, kReclaim, SubTaskStatus::kPending);
    });
    const auto repository = parts.repositories.open(vault, job.stop());
    vault::CollectOptions options;
    options.repack_dead_percent = parts.collect.repack_dead_percent;
    options.unused_percent_max = parts.collect.unused_percent_max;
    options.on_progress = [&job](std::string_view what, std::uint64_t done, std::uint64_t total) {
        job.report({.phase = what, .bytes_done = done, .bytes_total = total});
    };
    const vault::CollectPlan plan = repository->plan_collection(options, job.stop());
    job.update([&](catalog::JobRecord& record) {
        set_sub_task(record, 1, kFind, SubTaskStatus::kCompleted);
        set_sub_task_detail(record, 1, "StoredBytes", std::to_string(plan.stored.bytes));
        set_sub_task_detail(record, 1, "NeededBytes", std::to_string(plan.live_bytes));
        set_sub_task(record, 2, kReclaim, SubTaskStatus::kInProgress);
    });
    vault::CollectReport report = repository->collect(plan, job.stop());
    log_info(
        "Reclaimed space of a vault",
        {{"vault", vault.id},
         {"bytes", std::to_string(report.removed.bytes)},
         {"packs", std::to_string(report.removed.packs)}}
    );
    JobResult result;
    const bool whole = report.kept_damaged.empty();
    result.ending = whole ? JobEnding::kCompleted : JobEnding::kCompletedWithWarnings;
    result.finish = [report = std::move(report), vault, whole](
                        catalog::Transaction&, catalog::JobRecord& record
                    ) {
        set_sub_task(
            record,
            2,
            kReclaim,
            whole ? SubTaskStatus::kCompleted : SubTaskStatus::kCompletedWithWarnings
        );
        add_figures(record, report);
        add_warnings(record, vault, report);
    };
    return result;
}

}  // namespace holdfast::jobs
