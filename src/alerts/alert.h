#pragma once

#include "base/json.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::alerts {

/// What there is to say. The table in alert.cc gives each its name on the wire, its severity and
/// whether it is a matter of security.
enum class Kind {
    kJobFailed,
    kNoGoodPoint,
    kInstanceDeleted,
    kVaultDeleted,
    kPointsDeleted,
    kRetentionShortened,
    kProtectionStopped,
    kSoftDeleteWeakened,
    kImmutabilityWeakened,
    kGuardRemoved,
    kGuardWeakened,
    kAuditChainBroken,
    kClockLeap,
    kRecoveryKitUnwritten,
    kAlertsSuppressed,  ///< There are more alerts than the outbox holds.
    kTest,
};

enum class Severity { kInformation, kWarning, kError, kCritical };
/// Who loosens a vault's protection, or the record of it, may also wish that nobody hears of it.
enum class Concern { kOperation, kSecurity };

struct KindTraits {
    Kind kind;
    std::string_view name;  ///< `JobFailed`
    Severity severity;
    Concern concern;
    std::string_view title;
};

[[nodiscard]] const KindTraits& traits(Kind kind);
[[nodiscard]] const std::vector<KindTraits>& all_kinds();
/// By name, without case; nothing when there is none.
[[nodiscard]] const KindTraits* find_kind(std::string_view name);
[[nodiscard]] std::string_view to_string(Severity severity);

/// How the same event within a window is dealt with.
enum class Repeat {
    kCounted,    ///< Each one counts.
    kStandsFor,  ///< A state that is looked at again and again: nothing is written while it stands.
};

/// Something happened that somebody has to hear of.
struct Event {
    Kind kind = Kind::kTest;
    std::string scope = "/";   ///< ARM id of what it is about; "/" for the service.
    std::string subject = {};  ///< What else makes it another event than one of the same scope.
    std::string message = {};  ///< Sentences: what, on what. No secrets.
    std::vector<std::string> actions = {};  ///< What to do, one sentence each.
    Json details = Json::object();          ///< Texts. No secrets.
    Repeat repeat = Repeat::kCounted;
};

}  // namespace holdfast::alerts
