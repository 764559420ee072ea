#pragma once

#include "base/clock.h"
#include "protection/policy.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// When a policy runs. P1D and P1W keep the wall clock of the policy's zone, PTnH counts absolute
/// hours; an interval's start is its first run and nothing is back-filled.
namespace holdfast::protection {

struct ScheduledRun {
    Instant scheduled;  ///< The identity of the run together with the rule; tags are judged at this
                        ///< time.
    std::string rule_name;  ///< The backup rule.

    friend bool operator==(const ScheduledRun&, const ScheduledRun&) = default;
};

/// The next `count` runs strictly after `after`, earliest first. Intervals of one rule that
/// coincide give one run. Shorter when the policy has no schedule.
[[nodiscard]] std::vector<ScheduledRun> next_runs(
    const BackupPolicy& policy, Instant after, std::size_t count
);

/// The latest run at or before `at`, or nothing before the first start. What a server that was down
/// has missed: run it once, however many were missed.
[[nodiscard]] std::optional<ScheduledRun> previous_run(const BackupPolicy& policy, Instant at);

/// Reads one `R/<start>/<duration>`; the start is YYYY-MM-DDThh:mm[:ss[.fff]][Z|±hh:mm]. On a fault
/// returns nothing and puts what is wrong and what is allowed into `problem`.
[[nodiscard]] std::optional<RepeatingInterval> parse_repeating_interval(
    std::string_view text, std::string& problem
);

}  // namespace holdfast::protection
