#include "base/error.h"
#include "base/text.h"
#include "jobs/data_plane.h"
#include "jobs/detail/restore_plan.h"
#include "jobs/detail/runners.h"
#include "jobs/repositories.h"
#include "jobs/user_error.h"

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr int kTriggerTask = 1;
constexpr std::string_view kTriggerName = "Trigger Restore";

JobResult result_of(std::vector<WarningText> warnings, std::uint64_t bytes, Json more) {
    JobResult result;
    result.ending = warnings.empty() ? JobEnding::kCompleted : JobEnding::kCompletedWithWarnings;
    result.finish = [warnings = std::move(warnings),
                     bytes,
                     more = std::move(more)](catalog::Transaction&, catalog::JobRecord& row) {
        row.bytes_transferred = static_cast<std::int64_t>(bytes);
        for (Json& task : row.sub_tasks) {
            task["taskStatus"] = "Completed";
        }
        set_sub_task_detail(row, kTriggerTask, "DataTransferredInBytes", std::to_string(bytes));
        for (const auto& [name, value] : more.items()) {
            row.details["additionalDetails"][name] = value;
        }
        for (const WarningText& warning : warnings) {
            row.warnings.push_back(warning_detail(warning));
        }
    };
    return result;
}

JobResult run_files(const EngineParts& parts, JobContext& job, const RestorePlan& plan) {
    job.update([](catalog::JobRecord& row) {
        set_sub_task(row, 2, "Write files", SubTaskStatus::kInProgress);
    });
    FilesRestore restore = files_restore(parts, plan, job.stop());
    restore.progress = [&](std::uint64_t done, std::uint64_t total) {
        job.report({.phase = "writing files", .bytes_done = done, .bytes_total = total});
    };
    const FilesRestoreReport report = restore_as_files(restore);
    std::vector<WarningText> warnings;
    for (const std::string& text : report.warnings) {
        warnings.push_back({plan.instance.friendly_name, "RestoreIncomplete", text, {}});
    }
    return result_of(
        std::move(warnings), report.bytes, Json{{"FileCount", std::to_string(report.files.size())}}
    );
}

/// What earlier steps did stays; the error says so, because the caller must know.
Error with_history(const Error& error, const std::vector<std::string>& done) {
    if (done.empty()) {
        return error;
    }
    ErrorText text = error.text();
    for (const std::string& step : done) {
        text.details.push_back({.code = "RestoredBefore", .message = step, .target = {}});
    }
    text.message += " What was restored before stays; see the details.";
    return Error{error.kind(), std::move(text), error.where()};
}

postgres::LogicalRestore restore_step(
    const EngineParts& parts, const RestorePlan& plan, const postgres::RestoreOptions& step
) {
    const postgres::ConnectionParameters& target = plan.target->connection;
    if (plan.method == BackupMethod::kPhysical) {
        return parts.data_plane.restore_from_physical(target, *plan.source, step);
    }
    return parts.data_plane.restore(target, *plan.source, step);
}

JobResult run_server(const EngineParts& parts, JobContext& job, RestorePlan& plan) {
    std::vector<WarningText> warnings;
    for (postgres::RestoreOptions& step : plan.steps) {
        step.stop = job.stop();
        (void)check_step(parts, plan, step);
    }
    std::uint64_t bytes = 0;
    std::vector<std::string> done;
    int task = kTriggerTask;
    for (postgres::RestoreOptions& step : plan.steps) {
        ++task;
        const std::string name = fmt::format("Restore database {}", step.target_database);
        job.update([&](catalog::JobRecord& row) {
            set_sub_task(row, task, name, SubTaskStatus::kInProgress);
        });
        step.progress = [&](const postgres::RestoreProgress& progress) {
            job.report(
                {.phase = fmt::format("{}: {}", step.target_database, progress.step),
                 .bytes_done = progress.bytes_done,
                 .bytes_total = progress.bytes_total}
            );
        };
        try {
            const postgres::LogicalRestore restored = restore_step(parts, plan, step);
            bytes += restored.bytes;
            done.insert(done.end(), restored.done.begin(), restored.done.end());
            for (const std::string& text : restored.warnings) {
                warnings.push_back({step.target_database, "RestoreIncomplete", text, {}});
            }
        } catch (const Error& error) {
            throw with_history(error, done);
        }
        job.change([&](catalog::JobRecord& row) {
            set_sub_task(row, task, name, SubTaskStatus::kCompleted);
        });
    }
    return result_of(std::move(warnings), bytes, Json{{"Done", join(done, "; ")}});
}

}  // namespace

JobResult run_restore(const EngineParts& parts, JobContext& job) {
    const catalog::JobRecord asked = job.record();
    const RestoreRequest request = restore_request_from_json(asked.request);
    if (parts.identity_check != nullptr) {
        catalog::VaultRecord vault;
        parts.catalog.read([&](const catalog::View& view) {
            vault = require_vault(view, asked.vault_id);
        });
        parts.identity_check->require_restore(vault, request);
    }
    job.update([](catalog::JobRecord& row) {
        set_sub_task(row, kTriggerTask, kTriggerName, SubTaskStatus::kInProgress);
    });
    const std::unique_ptr<RestorePlan> plan = plan_restore(parts, request, job.stop());
    if (plan->directory) {
        return run_files(parts, job, *plan);
    }
    return run_server(parts, job, *plan);
}

Engine::RestoreValidation validate_restore(
    const EngineParts& parts, const RestoreRequest& request, std::stop_token stop
) {
    Engine::RestoreValidation validation;
    const std::unique_ptr<RestorePlan> plan = plan_restore(parts, request, stop);
    if (plan->directory) {
        check_files_absent(files_restore(parts, *plan, stop));
        return validation;
    }
    for (postgres::RestoreOptions& step : plan->steps) {
        step.stop = stop;
        const std::vector<std::string> warnings = check_step(parts, *plan, step);
        validation.warnings.insert(validation.warnings.end(), warnings.begin(), warnings.end());
    }
    for (const std::string& warning : plan->target->warnings) {
        validation.warnings.push_back(warning);
    }
    return validation;
}

}  // namespace holdfast::jobs
