#include "protection/retention.h"

#include "base/error.h"

#include <algorithm>

namespace holdfast::protection {
namespace {

const Lifecycle* find_lifecycle(const RetentionRule& rule, DataStoreType store) {
    for (const Lifecycle& lifecycle : rule.lifecycles) {
        if (lifecycle.source == store) {
            return &lifecycle;
        }
    }
    return nullptr;
}

bool is_copy_target(const RetentionRule& rule, DataStoreType store) {
    for (const Lifecycle& lifecycle : rule.lifecycles) {
        for (const CopySetting& copy : lifecycle.copies) {
            if (copy.target == store) {
                return true;
            }
        }
    }
    return false;
}

Instant arrival(const CopyOption& option, const StoreStay& source) {
    if (std::holds_alternative<CopyOnExpiry>(option)) {
        return source.expires;
    }
    if (const auto* custom = std::get_if<CustomCopy>(&option)) {
        return add(source.arrives, custom->after);
    }
    return source.arrives;
}

/// Whether an expired point goes in this state, were it not the last good one.
bool expires_points(ProtectionState state) noexcept {
    switch (state) {
        case ProtectionState::kConfiguringProtection:
        case ProtectionState::kConfiguringProtectionFailed:
        case ProtectionState::kProtectionConfigured:
        case ProtectionState::kProtectionError:
        case ProtectionState::kUpdatingProtection:
        case ProtectionState::kBackupsSuspended:
            return true;
        case ProtectionState::kProtectionStopped:
        case ProtectionState::kSoftDeleting:
        case ProtectionState::kSoftDeleted:
            return false;
    }
    return false;
}

/// The index of the latest good point; without any good one, of the latest: it may be all there is
/// to rescue.
std::optional<std::size_t> latest_to_keep(const std::vector<PointFacts>& points) {
    std::optional<std::size_t> latest;
    for (std::size_t i = 0; i < points.size(); ++i) {
        if (!latest || std::pair{points[i].good, points[i].created} >
                           std::pair{points[*latest].good, points[*latest].created}) {
            latest = i;
        }
    }
    return latest;
}

}  // namespace

PointExpiry expiry_of(const BackupPolicy& policy, std::string_view tag_name, Instant created) {
    const RetentionRule* named = policy.find_retention_rule(tag_name);
    const RetentionRule& rule = named != nullptr ? *named : policy.default_retention_rule();
    PointExpiry out;
    for (const Lifecycle& lifecycle : rule.lifecycles) {
        if (!is_copy_target(rule, lifecycle.source)) {
            out.stays.push_back({lifecycle.source, created, add(created, lifecycle.delete_after)});
        }
    }
    // A copy's target has no copies of its own before it has arrived, so one pass over the growing
    // list meets all. The list is bounded by the number of lifecycles: parse_policy lets each store
    // be entered once.
    for (std::size_t i = 0; i < out.stays.size(); ++i) {
        const StoreStay source = out.stays[i];
        const Lifecycle* lifecycle = find_lifecycle(rule, source.store);
        HOLDFAST_CHECK(lifecycle != nullptr && out.stays.size() <= rule.lifecycles.size());
        for (const CopySetting& copy : lifecycle->copies) {
            if (const Lifecycle* target = find_lifecycle(rule, copy.target)) {
                const Instant arrives = arrival(copy.when, source);
                out.stays.push_back({copy.target, arrives, add(arrives, target->delete_after)});
            }
        }
    }
    out.expires = created;
    for (const StoreStay& stay : out.stays) {
        out.expires = std::max(out.expires, stay.expires);
    }
    return out;
}

std::vector<ExpiryVerdict> expirable(
    const std::vector<PointFacts>& points,
    ProtectionState state,
    Instant now,
    const ExpiryOptions& options
) {
    const bool keep_last = options.last_good_point == LastGoodPoint::kKeep ||
                           state == ProtectionState::kBackupsSuspended;
    const auto last = latest_to_keep(points);
    std::vector<ExpiryVerdict> out;
    out.reserve(points.size());
    for (std::size_t i = 0; i < points.size(); ++i) {
        const PointFacts& point = points[i];
        if (!point.expires) {
            out.push_back(ExpiryVerdict::kExpiryUnknown);
        } else if (*point.expires > now) {
            out.push_back(ExpiryVerdict::kNotExpired);
        } else if (point.held) {
            out.push_back(ExpiryVerdict::kHeld);
        } else if (!expires_points(state)) {
            out.push_back(ExpiryVerdict::kFrozen);
        } else if (options.clock == ClockTrust::kSuspect) {
            out.push_back(ExpiryVerdict::kClockSuspect);
        } else if (keep_last && i == last) {
            out.push_back(ExpiryVerdict::kLastGoodPoint);
        } else {
            out.push_back(ExpiryVerdict::kRemove);
        }
    }
    return out;
}

}  // namespace holdfast::protection
