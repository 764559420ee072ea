#pragma once

#include "catalog/catalog.h"
#include "jobs/containers.h"
#include "jobs/engine.h"
#include "jobs/requests.h"
#include "protection/schedule.h"

#include <optional>
#include <string>

namespace holdfast::jobs {

// Job rows as they are queued. Each returns the new job's name.

[[nodiscard]] std::string queue_adhoc_backup(
    catalog::Transaction& transaction,
    const EngineSettings& settings,
    const AdhocBackupRequest& request
);
[[nodiscard]] std::string queue_restore(
    catalog::Transaction& transaction, const EngineSettings& settings, const RestoreRequest& request
);
/// Nothing when one for this instance waits already: it will do for both.
[[nodiscard]] std::optional<std::string> queue_scheduled_backup(
    catalog::Transaction& transaction,
    const catalog::InstanceRecord& instance,
    const protection::ScheduledRun& run
);
/// A test restore of the named point, or of the newest one. Throws kGenericResourceNotFound,
/// kRecoveryPointNotFound, kUnsupportedOperation for a logical point.
[[nodiscard]] std::string queue_verify(
    catalog::Transaction& transaction, const VerifyRequest& request
);
[[nodiscard]] bool is_verify_open(
    const catalog::View& view, const catalog::InstanceRecord& instance
);
/// Nothing when one for this vault is queued or running.
[[nodiscard]] std::optional<std::string> queue_expiry(
    catalog::Transaction& transaction, const catalog::VaultRecord& vault
);
/// Likewise: gives back the space of what no recovery point needs.
[[nodiscard]] std::optional<std::string> queue_collection(
    catalog::Transaction& transaction, const catalog::VaultRecord& vault
);

}  // namespace holdfast::jobs
