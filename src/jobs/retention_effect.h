#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::jobs {

/// What the policy of today would make of a point that was made under an older one.
struct PointRetention {
    std::string point_id;
    Instant time;
    std::string tag;
    std::int64_t made_under = 1;     ///< The policy's version then.
    std::optional<Instant> expires;  ///< As it is.
    Instant would_expire;
    [[nodiscard]] bool is_shorter() const { return !expires || would_expire < *expires; }
    [[nodiscard]] bool is_longer() const { return expires && would_expire > *expires; }
};

/// The effect of reapplying an instance's policy to all its points, before anything is changed.
struct RetentionEffect {
    std::string policy_id;
    std::int64_t policy_version = 1;
    std::vector<PointRetention> points;  ///< Newest first.
    std::size_t shortened = 0;
    std::size_t extended = 0;
    std::size_t expiring = 0;  ///< Of the shortened: those that would be over at once.
    /// Stands for exactly this effect: applied is what was shown, or nothing.
    std::string token;
};
/// Throws kResourceNotFound when the policy is gone.
[[nodiscard]] RetentionEffect retention_effect(
    const catalog::View& view, const catalog::InstanceRecord& instance, Instant now
);

}  // namespace holdfast::jobs
