#pragma once

#include "base/clock.h"
#include "protection/instance_state.h"
#include "protection/policy.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// How long a point is kept, and which points may go now.
namespace holdfast::protection {

/// The stay of a point in one store.
struct StoreStay {
    DataStoreType store = DataStoreType::kVaultStore;
    Instant arrives;
    Instant expires;
};

struct PointExpiry {
    std::vector<StoreStay> stays;  ///< In order of arrival.
    /// When the point is to vanish: the end of the last stay. A vault that has no archive yet keeps
    /// the point until then.
    Instant expires;
};

/// What the retention rule named `tag_name` (Default when there is none) means for a point made at
/// `created`. A stay in a store counts from the arrival there: creation, or for a copy the end of
/// the source's stay (copy on expiry), creation (immediate) or creation plus the custom span.
[[nodiscard]] PointExpiry expiry_of(
    const BackupPolicy& policy, std::string_view tag_name, Instant created
);

/// What is known of a point when its removal is decided.
struct PointFacts {
    Instant created;
    std::optional<Instant> expires = {};  ///< Absent: unknown, so it is kept.
    bool good = true;   ///< Complete and not known to be damaged: can be restored.
    bool held = false;  ///< Somebody put a hold on it.
};

enum class ExpiryVerdict {
    kRemove,
    kNotExpired,
    kHeld,
    kExpiryUnknown,
    kLastGoodPoint,  ///< Expired, but the last one that restores.
    kFrozen,         ///< The instance's state keeps everything (protection stopped, soft-deleted).
    kClockSuspect,   ///< The wall clock has leapt; nothing goes until an owner confirms.
};

enum class LastGoodPoint { kKeep, kMayExpire };
enum class ClockTrust { kTrusted, kSuspect };

struct ExpiryOptions {
    LastGoodPoint last_good_point =
        LastGoodPoint::kKeep;  ///< The override must be asked for explicitly.
    ClockTrust clock = ClockTrust::kTrusted;
};

/// One verdict per point, in the order given. Nothing is removed here: this is the plan. While the
/// instance is alive the latest good point stays, whatever its expiry; suspended instances keep it
/// even with the override.
[[nodiscard]] std::vector<ExpiryVerdict> expirable(
    const std::vector<PointFacts>& points,
    ProtectionState state,
    Instant now,
    const ExpiryOptions& options = {}
);

}  // namespace holdfast::protection
