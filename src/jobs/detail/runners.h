#pragma once

#include "jobs/detail/job_context.h"
#include "jobs/engine.h"
#include "jobs/recovery_points.h"

#include <functional>
#include <set>
#include <string>

namespace holdfast::jobs {

enum class JobEnding { kCompleted, kCompletedWithWarnings };

/// How a run ended well, and the rows that become durable together with the job's last state.
struct JobResult {
    JobEnding ending = JobEnding::kCompleted;
    std::function<void(catalog::Transaction&, catalog::JobRecord&)> finish = {};
};

// Each runs one job on the calling thread and throws what ends it. The engine writes the row's last
// state.

[[nodiscard]] JobResult run_backup(const EngineParts& parts, JobContext& job);
[[nodiscard]] JobResult run_restore(const EngineParts& parts, JobContext& job);
[[nodiscard]] JobResult run_expire(const EngineParts& parts, JobContext& job);
[[nodiscard]] JobResult run_collect(const EngineParts& parts, JobContext& job);
[[nodiscard]] JobResult run_verify(const EngineParts& parts, JobContext& job);

/// Engine::validate_restore().
[[nodiscard]] Engine::RestoreValidation validate_restore(
    const EngineParts& parts, const RestoreRequest& request, std::stop_token stop
);

/// By JobRecord::operation.
[[nodiscard]] JobResult run_job(const EngineParts& parts, JobContext& job);

inline constexpr std::string_view kBackupOperation = "Backup";
inline constexpr std::string_view kRestoreOperation = "Restore";
inline constexpr std::string_view kExpireOperation = "Expire";
inline constexpr std::string_view kCollectOperation = "Collect";
inline constexpr std::string_view kVerifyOperation = "Verify";

/// Records a runner needs; each throws kGenericResourceNotFound, naming it.
[[nodiscard]] catalog::InstanceRecord require_instance(
    const catalog::View& view, std::string_view id
);
[[nodiscard]] catalog::VaultRecord require_vault(const catalog::View& view, std::string_view id);
[[nodiscard]] catalog::PolicyRecord require_policy(const catalog::View& view, std::string_view id);
/// Throws kUnsupportedOperation: only a physical point can be started as a server.
void require_physical(const catalog::PointRecord& point);

}  // namespace holdfast::jobs
