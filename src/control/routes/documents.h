#pragma once

#include "base/json.h"
#include "catalog/records.h"
#include "control/routes/providers/data_protection/vault_settings.h"
#include "jobs/engine.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

// Records as ARM documents: what GET answers. The clients judge JSON types strictly: texts are
// texts, numbers numbers, lists lists; null is always allowed.
namespace holdfast::control {

[[nodiscard]] Json vault_document(
    const catalog::VaultRecord& vault, std::string_view tenant_id, GuardMapping mapping
);
[[nodiscard]] Json policy_document(const catalog::PolicyRecord& policy);
/// Also of a soft-deleted one, in the shape of deletedBackupInstances.
[[nodiscard]] Json instance_document(const catalog::InstanceRecord& instance);
[[nodiscard]] Json server_document(const catalog::ServerRecord& server);

enum class JobDetail {
    kSummary,   ///< A row of the job list: `extendedInfo` is null, the duration a clock's.
    kGraphRow,  ///< As the list, with `extendedInfo`.
    kFull,      ///< GET of one job.
};
/// `progress`: of a running job, newer than the record's.
[[nodiscard]] Json job_document(
    const catalog::JobRecord& job,
    JobDetail detail,
    const std::optional<jobs::JobProgress>& progress = std::nullopt,
    std::optional<Instant> now = std::nullopt
);
/// Job states of the catalog as the wire has them: a queued job is InProgress.
[[nodiscard]] std::string wire_job_status(std::string_view status);

enum class PointDetail { kListed, kFull };
[[nodiscard]] Json point_document(
    const catalog::PointRecord& point, std::string_view instance_id, PointDetail detail
);

/// `00:03:12.7189058`
[[nodiscard]] std::string format_clock_duration(std::chrono::microseconds duration);

/// The store of the secrets that belong to server registrations: nobody lists or reads them.
inline constexpr std::string_view kServerSecretStore = "registered-servers";

}  // namespace holdfast::control
