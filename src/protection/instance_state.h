#pragma once

#include "base/clock.h"
#include "base/error.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// The life of a backup instance as pure transitions. Nothing here stores or locks anything.
namespace holdfast::protection {

enum class ProtectionState {
    kConfiguringProtection,
    kConfiguringProtectionFailed,
    kProtectionConfigured,
    kProtectionError,  ///< Configured, but the last check or backup could not reach the datasource.
    kUpdatingProtection,
    kProtectionStopped,  ///< No backups, nothing expires.
    kBackupsSuspended,   ///< No backups; points expire, the latest good one stays.
    kSoftDeleting,
    kSoftDeleted,
};

enum class ProtectionEvent {
    kConfigure,   ///< PUT of the instance, new or again.
    kConfigured,  ///< The configuration work ended well.
    kConfigureFailed,
    kUpdatePolicy,  ///< PUT with another policy.
    kPolicyUpdated,
    kDatasourceFailed,  ///< Unreachable, rights missing…
    kDatasourceRecovered,
    kStop,     ///< POST stopProtection
    kSuspend,  ///< POST suspendBackups
    kResume,   ///< POST resumeProtection or resumeBackups
    kDelete,   ///< DELETE
    kDeleted,  ///< The deletion work ended.
    kUndelete,
    kPurge,  ///< The soft-delete time is over, or soft delete is off.
};

/// The wire's spelling: `protectionStatus.status` and `currentProtectionState`.
[[nodiscard]] std::string_view to_string(ProtectionState state) noexcept;
/// Also accepts the specification's BackupSchedulesSuspended and RetentionSchedulesSuspended.
[[nodiscard]] std::optional<ProtectionState> parse_protection_state(std::string_view text) noexcept;

/// `deletionInfo`. `retention_days` is the vault's value at the time of deletion and governs from
/// then on.
struct DeletionInfo {
    Instant deletion_time;
    Instant billing_end;
    Instant scheduled_purge;
};
[[nodiscard]] DeletionInfo deletion_info(Instant now, double retention_days);

enum class SoftDelete { kOff, kOn, kAlwaysOn };
enum class Immutability { kDisabled, kUnlocked, kLocked };

/// What kDelete and kPurge depend on besides the state. Unused by the other events.
struct DeleteContext {
    SoftDelete soft_delete = SoftDelete::kOn;
    Immutability immutability = Immutability::kDisabled;
    /// Recovery points whose expiry is still to come, or unknown, or that are held.
    std::uint64_t unexpired_points = 0;
    /// For kPurge of a soft-deleted instance.
    std::optional<Instant> scheduled_purge = {};
    Instant now = {};
};

struct Moved {
    ProtectionState to;
};
/// Nothing to do: the request is answered with success and an empty body (resume of a configured
/// instance).
struct Unchanged {};
/// The instance ends, with all its points.
struct Removed {};
struct Refused {
    ErrorKind kind;
    std::string message;  ///< Complete sentences, with the instance called "the backup instance".
    std::vector<std::string> recommended_actions;
};
using Transition = std::variant<Moved, Unchanged, Removed, Refused>;

/// `from` is absent when no such instance exists.
[[nodiscard]] Transition transition(
    std::optional<ProtectionState> from, ProtectionEvent event, const DeleteContext& context = {}
);

/// transition(), but a refusal is thrown as an Error with `target`.
[[nodiscard]] Transition transition_or_throw(
    std::optional<ProtectionState> from,
    ProtectionEvent event,
    std::string_view target,
    const DeleteContext& context = {}
);

/// Whether a backup, scheduled or on demand, may start in this state.
[[nodiscard]] bool accepts_backup(ProtectionState state) noexcept;
/// Restores are possible in every state but the two of soft deletion.
[[nodiscard]] bool accepts_restore(ProtectionState state) noexcept;
/// Listed below deletedBackupInstances instead of backupInstances.
[[nodiscard]] bool is_soft_deleted(ProtectionState state) noexcept;
/// The error for a backup or restore that the state does not accept. The caller throws it.
[[nodiscard]] Error not_accepted(
    ProtectionState state, std::string_view operation, std::string_view target
);

}  // namespace holdfast::protection
