#include "jobs/detail/missing_points.h"

#include "alerts/outbox.h"
#include "protection/schedule.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

// A week of daily runs, or the days of a week that a schedule names: longer than its pattern.
constexpr std::size_t kRunsLookedAt = 15;

}  // namespace

std::optional<std::chrono::seconds> allowed_without_point(
    const protection::BackupPolicy& policy, std::chrono::hours setting, Instant now
) {
    const auto runs = protection::next_runs(policy, now, kRunsLookedAt);
    if (runs.size() < 2) {
        return std::nullopt;
    }
    if (setting.count() > 0) {
        return setting;
    }
    Instant::duration longest{0};
    for (std::size_t i = 1; i < runs.size(); ++i) {
        longest = std::max(longest, runs[i].scheduled - runs[i - 1].scheduled);
    }
    return std::chrono::ceil<std::chrono::seconds>(2 * longest);
}

void raise_missing_point(
    const EngineParts& parts,
    const catalog::InstanceRecord& instance,
    const protection::BackupPolicy& policy,
    std::chrono::hours setting,
    Instant now
) {
    const auto allowed = allowed_without_point(policy, setting, now);
    if (parts.alerts == nullptr || !allowed) {
        return;
    }
    const auto points = parts.catalog.list<catalog::PointRecord>(
        {.parent = instance.id,
         .states = {"Completed"},
         .order = catalog::Order::kNewestFirst,
         .limit = 1}
    );
    const Instant since = points.empty() ? instance.created_at : points.front().time;
    if (now - since <= *allowed) {
        return;
    }
    const auto hours = std::chrono::floor<std::chrono::hours>(now - since).count();
    const auto allowed_hours = std::chrono::floor<std::chrono::hours>(*allowed).count();
    parts.catalog.write([&](catalog::Transaction& transaction) {
        parts.alerts->raise_in(
            transaction,
            {.kind = alerts::Kind::kNoGoodPoint,
             .scope = instance.id,
             .subject = points.empty() ? "none" : points.front().id,
             .message = fmt::format(
                 "\"{}\" has had no good recovery point for {} hours; {} hours are allowed. {}",
                 instance.friendly_name.empty() ? instance.name : instance.friendly_name,
                 hours,
                 allowed_hours,
                 points.empty() ? std::string{"It never had one."}
                                : fmt::format("The last one is of {}.", format_instant_seconds(since))
             ),
             .actions =
                 {"Look at its last jobs: holdfast dataprotection job list.",
                  "Start a backup: holdfast dataprotection backup-instance adhoc-backup."},
             .details =
                 {{"lastPoint", points.empty() ? "" : points.front().id},
                  {"since", format_instant(since)},
                  {"policy", instance.policy_name}},
             .repeat = alerts::Repeat::kStandsFor}
        );
    });
}

}  // namespace holdfast::jobs
