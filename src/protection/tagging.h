#pragma once

#include "base/clock.h"
#include "protection/policy.h"

#include <span>
#include <string>
#include <string_view>

/// Which tag a scheduled point gets: one tag, the matching one with the smallest priority number.
namespace holdfast::protection {

/// A scheduled backup that is about to be committed.
struct PointToTag {
    std::string_view rule_name;  ///< The backup rule that made it.
    Instant scheduled;           ///< Of the run; not when it really started or ended.
};

/// The scheduled times of the earlier *successful* scheduled points of this instance, in any order;
/// they must reach back to the start of the year in which the point lies (days are enough when no
/// tag asks for more). On-demand points do not belong here: they never take the place of the first
/// of a period.
using PointHistory = std::span<const Instant>;

/// The tag's name, which is also its retention rule's. Everything is judged in the policy's zone at
/// the scheduled time; FirstOfX is the first successful point of the period. An unknown rule name
/// gives the Default tag.
[[nodiscard]] std::string tag_for(
    const BackupPolicy& policy, const PointToTag& point, PointHistory history
);

/// The earliest instant that the history handed to tag_for must reach back to: the start of the
/// longest period that a FirstOf criterion of the rule looks at. Equal to `point.scheduled` when
/// there is none.
[[nodiscard]] Instant history_needed_from(const BackupPolicy& policy, const PointToTag& point);

}  // namespace holdfast::protection
