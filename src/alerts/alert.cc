#include "alerts/alert.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>

namespace holdfast::alerts {

const std::vector<KindTraits>& all_kinds() {
    using enum Kind;
    constexpr auto kOps = Concern::kOperation;
    constexpr auto kSec = Concern::kSecurity;
    static const std::vector<KindTraits> table{
        {kJobFailed, "JobFailed", Severity::kError, kOps, "A job failed"},
        {kNoGoodPoint, "NoGoodPoint", Severity::kCritical, kOps, "No recovery point for too long"},
        {kInstanceDeleted,
         "BackupInstanceDeleted",
         Severity::kCritical,
         kSec,
         "A backup instance was deleted"},
        {kVaultDeleted,
         "BackupVaultDeleted",
         Severity::kCritical,
         kSec,
         "A backup vault was deleted"},
        {kPointsDeleted,
         "RecoveryPointsDeleted",
         Severity::kCritical,
         kSec,
         "Recovery points were deleted by request"},
        {kRetentionShortened,
         "RetentionShortened",
         Severity::kCritical,
         kSec,
         "Recovery points will expire earlier"},
        {kProtectionStopped,
         "ProtectionStopped",
         Severity::kWarning,
         kSec,
         "Backups of an instance were stopped"},
        {kSoftDeleteWeakened,
         "SoftDeleteWeakened",
         Severity::kCritical,
         kSec,
         "A vault's soft delete was weakened"},
        {kImmutabilityWeakened,
         "ImmutabilityWeakened",
         Severity::kCritical,
         kSec,
         "A vault's immutability was weakened"},
        {kGuardRemoved, "GuardRemoved", Severity::kCritical, kSec, "A resource guard was removed"},
        {kGuardWeakened,
         "GuardWeakened",
         Severity::kCritical,
         kSec,
         "A resource guard protects less than before"},
        {kAuditChainBroken,
         "AuditChainBroken",
         Severity::kCritical,
         kSec,
         "The audit trail was tampered with"},
        {kClockLeap, "ClockLeap", Severity::kCritical, kSec, "The clock leapt"},
        {kRecoveryKitUnwritten,
         "RecoveryKitUnwritten",
         Severity::kInformation,
         kOps,
         "A vault has no recovery kit"},
        {kAlertsSuppressed,
         "AlertsSuppressed",
         Severity::kCritical,
         kSec,
         "More alerts than can be sent"},
        {kTest, "Test", Severity::kInformation, kOps, "A test of the alerts"},
    };
    return table;
}

const KindTraits& traits(Kind kind) {
    const auto& table = all_kinds();
    const auto found = std::find_if(table.begin(), table.end(), [&](const KindTraits& row) {
        return row.kind == kind;
    });
    HOLDFAST_CHECK(found != table.end());
    return *found;
}

const KindTraits* find_kind(std::string_view name) {
    for (const KindTraits& row : all_kinds()) {
        if (equal_ignoring_case(row.name, name)) {
            return &row;
        }
    }
    return nullptr;
}

std::string_view to_string(Severity severity) {
    switch (severity) {
        case Severity::kInformation:
            return "Information";
        case Severity::kWarning:
            return "Warning";
        case Severity::kError:
            return "Error";
        case Severity::kCritical:
            break;
    }
    return "Critical";
}

}  // namespace holdfast::alerts
