#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "protection/policy.h"
#include "protection/retention.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// What a policy will do, computed before it does it.
namespace holdfast::protection {

struct SimulatedRun {
    Instant scheduled;
    std::string rule_name;
    std::string tag_name;
    PointExpiry expiry;
    std::uint64_t held = 0;  ///< Points that exist right after it, counted as in HeldPoints.
};

/// How many points exist at one instant, when every run from the start of the simulation on
/// succeeds.
struct HeldPoints {
    Instant at;
    std::uint64_t total = 0;
    std::map<std::string, std::uint64_t> by_tag = {};  ///< Every tag of the policy, also with 0.
};

struct Simulation {
    Instant from;
    std::string time_zone = {};  ///< In which tags are judged.
    std::vector<SimulatedRun> runs = {};
    std::vector<HeldPoints> held = {};  ///< Over time, until the steady state is reached.
    HeldPoints steady = {};             ///< As many expire as are added.
    /// Set when the steady state lies too far ahead to be counted run by run and was extrapolated.
    bool steady_is_estimate = false;
};

/// The next `count` runs after `from` with tag and expiry of each, every one taken as successful,
/// and the number of points held over time. `count` is limited to 10,000: kInvalidParameter beyond.
[[nodiscard]] Simulation simulate(const BackupPolicy& policy, Instant from, std::size_t count);

/// The answer of the simulate action.
[[nodiscard]] Json to_json(const Simulation& simulation);

}  // namespace holdfast::protection
