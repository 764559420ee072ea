#include "protection/simulate.h"

#include "base/error.h"
#include "protection/schedule.h"
#include "protection/tagging.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::protection {
namespace {

using std::chrono::days;

constexpr std::size_t kRunsShownMax = 10'000;
// Ten years of a backup each hour are 87,660 runs. Beyond, counting run by run would let one
// request hold a core.
constexpr std::size_t kRunsCountedMax = 100'000;

struct CountedPoint {
    Instant created;
    Instant expires;
    std::string tag_name;
};

std::string time_zone_of(const BackupPolicy& policy) {
    for (const BackupRule& rule : policy.backup_rules) {
        if (rule.schedule) {
            return rule.schedule->zone().name();
        }
    }
    return "UTC";
}

/// Follows the policy run by run, every one succeeding.
class Walker {
public:
    Walker(const BackupPolicy& policy, Instant from) : policy_{policy}, at_{from} {}

    /// The runs from where the last call ended, up to `count`.
    std::vector<SimulatedRun> walk(std::size_t count) {
        std::vector<SimulatedRun> out;
        for (ScheduledRun& run : next_runs(policy_, at_, count)) {
            const PointToTag point{.rule_name = run.rule_name, .scheduled = run.scheduled};
            // Only the last runs matter: a period that holds any earlier run also holds the latest
            // before this one, and several rules may interleave.
            std::string tag = tag_for(policy_, point, history_);
            PointExpiry expiry = expiry_of(policy_, tag, run.scheduled);
            remember(run.scheduled);
            at_ = run.scheduled;
            out.push_back(
                {.scheduled = run.scheduled,
                 .rule_name = std::move(run.rule_name),
                 .tag_name = std::move(tag),
                 .expiry = std::move(expiry)}
            );
        }
        return out;
    }

private:
    void remember(Instant run) {
        if (history_.size() == kHistoryKept) {
            history_.erase(history_.begin());
        }
        history_.push_back(run);
    }

    static constexpr std::size_t kHistoryKept = 4;

    const BackupPolicy& policy_;
    Instant at_;
    std::vector<Instant> history_;
};

HeldPoints held_at(
    const BackupPolicy& policy, const std::vector<CountedPoint>& points, Instant at
) {
    HeldPoints out{.at = at};
    for (const RetentionRule& rule : policy.retention_rules) {
        out.by_tag[rule.name] = 0;
    }
    for (const CountedPoint& point : points) {
        if (point.created <= at && point.expires > at) {
            ++out.by_tag[point.tag_name];
            ++out.total;
        }
    }
    return out;
}

/// The longest time that any tag of the policy keeps a point.
Instant longest_expiry(const BackupPolicy& policy, Instant from) {
    Instant out = from;
    for (const RetentionRule& rule : policy.retention_rules) {
        out = std::max(out, expiry_of(policy, rule.name, from).expires);
    }
    return out;
}

/// Points that the first year gives by tag, stretched over each tag's retention.
HeldPoints estimate(
    const BackupPolicy& policy, const std::vector<CountedPoint>& points, Instant from, Instant at
) {
    HeldPoints out = held_at(policy, {}, at);
    if (points.empty()) {
        return out;
    }
    const double counted_span =
        std::chrono::duration<double>(
            std::max(points.back().created - from, Instant::duration{days{1}})
        )
            .count();
    std::map<std::string, std::uint64_t> made;
    for (const CountedPoint& point : points) {
        ++made[point.tag_name];
    }
    for (const auto& [tag, count] : made) {
        const double kept =
            std::chrono::duration<double>(expiry_of(policy, tag, from).expires - from).count();
        const auto held =
            static_cast<std::uint64_t>(static_cast<double>(count) / counted_span * kept + 0.5);
        out.by_tag[tag] = held;
        out.total += held;
    }
    return out;
}

/// Instants at which people ask how much there will be, up to `end`.
std::vector<Instant> sample_times(Instant from, Instant end) {
    std::vector<Instant> out;
    for (const std::string_view span :
         {"P1W", "P1M", "P3M", "P6M", "P1Y", "P2Y", "P3Y", "P5Y", "P7Y", "P10Y"}) {
        const auto duration = parse_calendar_duration(span);
        HOLDFAST_CHECK(duration.has_value());
        const Instant at = add(from, *duration);
        if (at < end) {
            out.push_back(at);
        }
    }
    return out;
}

Json held_json(const HeldPoints& held) {
    return {
        {"time", format_instant_seconds(held.at)},
        {"recoveryPoints", held.total},
        {"recoveryPointsByTag", held.by_tag},
    };
}

}  // namespace

Simulation simulate(const BackupPolicy& policy, Instant from, std::size_t count) {
    if (count > kRunsShownMax) {
        throw Error{
            ErrorKind::kInvalidParameter,
            ErrorText{
                .message = fmt::format(
                    "count: {} runs are too many. Allowed: 0 to {}.", count, kRunsShownMax
                ),
                .target = "count",
                .recommended_actions = {"Ask for fewer runs."},
            }
        };
    }
    Simulation out{.from = from, .time_zone = time_zone_of(policy)};
    const Instant end = longest_expiry(policy, from);
    Walker walker{policy, from};
    std::vector<CountedPoint> points;
    bool ended = false;
    while (!ended) {
        std::vector<SimulatedRun> runs = walker.walk(std::max<std::size_t>(count, 1000));
        ended = runs.empty() || runs.back().scheduled > end ||
                points.size() + runs.size() > kRunsCountedMax;
        for (SimulatedRun& run : runs) {
            points.push_back({run.scheduled, run.expiry.expires, run.tag_name});
            if (out.runs.size() < count) {
                run.held = static_cast<std::uint64_t>(std::count_if(
                    points.begin(),
                    points.end(),
                    [&run](const CountedPoint& point) { return point.expires > run.scheduled; }
                ));
                out.runs.push_back(std::move(run));
            }
        }
    }
    const Instant counted_to = points.empty() ? end : points.back().created;
    for (const Instant at : sample_times(from, std::min(end, counted_to))) {
        out.held.push_back(held_at(policy, points, at));
    }
    out.steady_is_estimate = counted_to < end;
    out.steady =
        out.steady_is_estimate ? estimate(policy, points, from, end) : held_at(policy, points, end);
    return out;
}

Json to_json(const Simulation& simulation) {
    Json runs = Json::array();
    for (const SimulatedRun& run : simulation.runs) {
        Json stays = Json::array();
        for (const StoreStay& stay : run.expiry.stays) {
            stays.push_back({
                {"dataStoreType", to_string(stay.store)},
                {"startTime", format_instant_seconds(stay.arrives)},
                {"expiryTime", format_instant_seconds(stay.expires)},
            });
        }
        runs.push_back({
            {"scheduledTime", format_instant_seconds(run.scheduled)},
            {"ruleName", run.rule_name},
            {"retentionTagName", run.tag_name},
            {"expiryTime", format_instant_seconds(run.expiry.expires)},
            {"dataStores", std::move(stays)},
            {"recoveryPointsHeld", run.held},
        });
    }
    Json held = Json::array();
    for (const HeldPoints& sample : simulation.held) {
        held.push_back(held_json(sample));
    }
    Json steady = held_json(simulation.steady);
    steady["estimated"] = simulation.steady_is_estimate;
    return {
        {"startTime", format_instant_seconds(simulation.from)},
        {"timeZone", simulation.time_zone},
        {"runs", std::move(runs)},
        {"heldOverTime", std::move(held)},
        {"steadyState", std::move(steady)},
    };
}

}  // namespace holdfast::protection
