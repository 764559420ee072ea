#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"
#include "protection/retention.h"

#include <string>
#include <vector>

namespace holdfast::jobs {

/// What may be removed from one vault now. A value: planned, shown, then executed.
struct ExpiryPlan {
    struct Removal {
        catalog::PointRecord point;
        std::string reason;
        std::string job_id = {};
    };
    std::vector<Removal> remove;
    std::vector<catalog::InstanceRecord> purge;  ///< Instances that end once their points are gone.
    [[nodiscard]] bool empty() const noexcept { return remove.empty() && purge.empty(); }
};

struct ExpiryContext {
    Instant now;
    protection::ClockTrust clock = protection::ClockTrust::kTrusted;
};
/// Now, and whether the clock may be believed (jobs/detail/clock_guard.h).
[[nodiscard]] ExpiryContext expiry_context(const catalog::Catalog& catalog, Clock& clock);

[[nodiscard]] ExpiryPlan plan_expiry(
    const catalog::View& view, const std::string& vault_id, const ExpiryContext& context
);

}  // namespace holdfast::jobs
