#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "jobs/data_plane.h"
#include "jobs/detail/instance_health.h"
#include "jobs/detail/runners.h"
#include "jobs/point_streams.h"
#include "jobs/repositories.h"
#include "jobs/user_error.h"
#include "vault/vault.h"

#include <chrono>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr int kRestoreTask = 1;
constexpr int kCheckTask = 2;
constexpr std::string_view kRestoreName = "Restore into a scratch server";
constexpr std::string_view kCheckName = "Check the restored cluster";

struct Plan {
    VerifyRequest request;
    catalog::InstanceRecord instance;
    catalog::VaultRecord vault;
    catalog::PointRecord point;
};

Plan make_plan(const EngineParts& parts, const catalog::JobRecord& job) {
    Plan plan;
    plan.request = verify_request_from_json(job.request);
    parts.catalog.read([&](const catalog::View& view) {
        plan.instance = require_instance(view, plan.request.instance_id);
        plan.vault = require_vault(view, plan.instance.vault_id);
        plan.point = require_point(view, plan.instance, plan.request.point_id);
    });
    require_physical(plan.point);
    return plan;
}

double seconds(std::chrono::microseconds duration) {
    return std::chrono::duration<double>(duration).count();
}

std::chrono::microseconds check_time(const postgres::ClusterCheck& check) {
    return check.amcheck_time + check.count_time + check.page_time;
}

/// What stays of it on the recovery point.
Json result_document(
    const postgres::TestRestore& result, const catalog::JobRecord& job, Instant at
) {
    return Json{
        {"result", result.passed() ? "Passed" : "Failed"},
        {"time", format_instant(at)},
        {"jobId", job.id},
        {"restoreSeconds", seconds(result.restore_time)},
        {"startSeconds", seconds(result.recovery_time)},
        {"checkSeconds", seconds(check_time(result.check))},
        {"report", postgres::to_json(result)},
    };
}

Json failure_document(const Error& error, const catalog::JobRecord& job, Instant at) {
    return Json{
        {"result", "Failed"},
        {"time", format_instant(at)},
        {"jobId", job.id},
        {"code", error.code()},
        {"message", error.text().message},
    };
}

Error damage_error(const Plan& plan, const postgres::ClusterCheck& check) {
    std::vector<ErrorDetail> details;
    for (const postgres::Damage& damage : check.damages) {
        details.push_back(
            {.code = "Damage", .message = damage.message, .target = damage.what}
        );
    }
    return Error{
        ErrorKind::kScratchServerFailed,
        ErrorText{
            .message = fmt::format(
                "The recovery point {} restores and starts, but {} damaged {} found in it.",
                plan.point.id,
                check.damage_count,
                check.damage_count == 1 ? "object was" : "objects were"
            ),
            .target = plan.point.id,
            .recommended_actions =
                {"Look whether the source is damaged too (pg_amcheck there), and test an earlier "
                 "recovery point: holdfast dataprotection backup-instance verify "
                 "--recovery-point-id."},
            .details = std::move(details),
        }
    };
}

/// Result, point and instance change together; the instance's copy is what a snapshot of the
/// catalog carries into the vault.
void keep_result(
    catalog::Transaction& transaction, const Plan& plan, const Json& document, const Json& problem
) {
    if (auto point = transaction.get<catalog::PointRecord>(plan.point.id)) {
        point->test_restore = document;
        transaction.put(*point);
    }
    if (auto instance = transaction.get<catalog::InstanceRecord>(plan.instance.id)) {
        instance->last_test_restore = document;
        instance->last_test_restore["recoveryPointId"] = plan.point.id;
        instance->last_test_restore["recoveryPointTime"] = format_instant(plan.point.time);
        transaction.put(*instance);
    }
    put_instance_health(transaction, plan.instance.id, problem);
}

/// True for what says something about the recovery point, not about this machine.
bool is_verdict(ErrorKind kind) {
    return kind == ErrorKind::kScratchServerFailed || kind == ErrorKind::kVaultCorrupt ||
           kind == ErrorKind::kObjectNotFound;
}

/// Why there is no verdict: said on the instance, so that the policy's next attempt waits.
void keep_attempt(
    const EngineParts& parts, const Plan& plan, const Error& error, const catalog::JobRecord& job
) {
    Json document = failure_document(error, job, parts.clock.now());
    document["result"] = "NotDone";
    document["recoveryPointId"] = plan.point.id;
    run_boundary(
        [&] {
            parts.catalog.write([&](catalog::Transaction& transaction) {
                if (auto instance = transaction.get<catalog::InstanceRecord>(plan.instance.id)) {
                    instance->last_test_restore = document;
                    transaction.put(*instance);
                }
            });
        },
        [](const Error& failed) {
            log_warning("A test restore's end was not kept", {{"reason", failed.log_line()}});
        }
    );
}

[[noreturn]] void fail(
    const EngineParts& parts,
    const Plan& plan,
    const Json& document,
    const Error& error,
    const catalog::JobRecord& job
) {
    parts.catalog.write([&](catalog::Transaction& transaction) {
        keep_result(transaction, plan, document, user_error(error, job.correlation_id));
    });
    throw Error{error};
}

std::string_view phase_of(std::string_view step) {
    if (step == "restore") {
        return "restoring into the scratch directory";
    }
    if (step == "start") {
        return "recovering";
    }
    if (step == "amcheck") {
        return "checking tables and indexes";
    }
    return step == "count" ? "counting rows" : "checking page checksums";
}

postgres::TestRestore test_restore(const EngineParts& parts, JobContext& job, const Plan& plan) {
    const auto id = vault::PointId::parse(plan.point.id);
    HOLDFAST_CHECK(id.has_value());
    const auto repository = parts.repositories.open(plan.vault, job.stop());
    const auto reader = repository->open_point(*id, job.stop());
    const PointSource source{*reader, job.stop()};
    postgres::TestRestoreOptions options;
    options.stop = job.stop();
    bool checking = false;
    options.progress = [&](const postgres::TestRestoreProgress& progress) {
        const bool restores = progress.step == "restore";
        if (!restores && progress.step != "start" && !checking) {
            checking = true;
            job.update([](catalog::JobRecord& row) {
                set_sub_task(row, kRestoreTask, kRestoreName, SubTaskStatus::kCompleted);
                set_sub_task(row, kCheckTask, kCheckName, SubTaskStatus::kInProgress);
            });
        }
        job.report(
            {.phase = phase_of(progress.step),
             .bytes_done = restores ? progress.done : 0,
             .bytes_total = restores ? progress.total : 0}
        );
    };
    return parts.data_plane.test_restore(source, options);
}

JobResult result_of(const Plan& plan, const Json& document, const postgres::TestRestore& tested) {
    JobResult result;
    result.ending =
        tested.warnings.empty() ? JobEnding::kCompleted : JobEnding::kCompletedWithWarnings;
    result.finish = [plan, document, tested](
                        catalog::Transaction& transaction, catalog::JobRecord& row
                    ) {
        keep_result(transaction, plan, document, nullptr);
        row.bytes_transferred = static_cast<std::int64_t>(tested.restored_bytes);
        set_sub_task(row, kRestoreTask, kRestoreName, SubTaskStatus::kCompleted);
        set_sub_task(row, kCheckTask, kCheckName, SubTaskStatus::kCompleted);
        Json& more = row.details["additionalDetails"];
        more["TestRestoreResult"] = "Passed";
        more["RestoreSeconds"] = fmt::format("{:.1f}", seconds(tested.restore_time));
        more["StartSeconds"] = fmt::format("{:.1f}", seconds(tested.recovery_time));
        more["CheckSeconds"] = fmt::format("{:.1f}", seconds(check_time(tested.check)));
        more["DatabasesChecked"] = std::to_string(tested.check.databases_checked);
        more["TablesCounted"] = std::to_string(tested.check.tables_counted);
        more["RowsCounted"] = std::to_string(tested.check.rows_counted);
        for (const std::string& text : tested.warnings) {
            row.warnings.push_back(
                warning_detail({plan.instance.friendly_name, "CheckIncomplete", text, {}})
            );
        }
    };
    return result;
}

}  // namespace

JobResult run_verify(const EngineParts& parts, JobContext& job) {
    const catalog::JobRecord row = job.record();
    const Plan plan = make_plan(parts, row);
    job.update([](catalog::JobRecord& record) {
        set_sub_task(record, kRestoreTask, kRestoreName, SubTaskStatus::kInProgress);
        set_sub_task(record, kCheckTask, kCheckName, SubTaskStatus::kPending);
    });
    postgres::TestRestore tested;
    try {
        tested = test_restore(parts, job, plan);
    } catch (const Error& error) {
        parts.repositories.note_failure(plan.vault, error);
        if (!is_verdict(error.kind())) {
            if (job.stop_reason() == StopReason::kNone) {
                keep_attempt(parts, plan, error, row);
            }
            throw;
        }
        fail(parts, plan, failure_document(error, row, parts.clock.now()), error, row);
    }
    const Json document = result_document(tested, row, parts.clock.now());
    if (!tested.passed()) {
        fail(parts, plan, document, damage_error(plan, tested.check), row);
    }
    return result_of(plan, document, tested);
}

}  // namespace holdfast::jobs
