#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"
#include "jobs/engine.h"
#include "protection/policy.h"

#include <chrono>
#include <optional>

namespace holdfast::jobs {

/// How long an instance may go without a recovery point: `setting`, and where it is 0 twice the
/// longest time between two of the policy's next runs. Nothing for a policy without a schedule.
[[nodiscard]] std::optional<std::chrono::seconds> allowed_without_point(
    const protection::BackupPolicy& policy, std::chrono::hours setting, Instant now
);

/// Raises an alert when the newest complete point (without one: the instance itself) is older than
/// that. A new point ends it: the next time is another event.
void raise_missing_point(
    const EngineParts& parts,
    const catalog::InstanceRecord& instance,
    const protection::BackupPolicy& policy,
    std::chrono::hours setting,
    Instant now
);

}  // namespace holdfast::jobs
