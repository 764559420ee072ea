#include "protection/instance_state.h"

#include "base/text.h"

#include <array>
#include <cmath>

#include <fmt/format.h>

namespace holdfast::protection {
namespace {

using enum ProtectionState;

struct Spelling {
    std::string_view text;
    ProtectionState state;
};

// The first spelling of a state is the one that is written.
constexpr std::array<Spelling, 11> kSpellings{{
    {"ConfiguringProtection", kConfiguringProtection},
    {"ConfiguringProtectionFailed", kConfiguringProtectionFailed},
    {"ProtectionConfigured", kProtectionConfigured},
    {"ProtectionError", kProtectionError},
    {"UpdatingProtection", kUpdatingProtection},
    {"ProtectionStopped", kProtectionStopped},
    {"BackupsSuspended", kBackupsSuspended},
    {"SoftDeleting", kSoftDeleting},
    {"SoftDeleted", kSoftDeleted},
    {"BackupSchedulesSuspended", kBackupsSuspended},
    {"RetentionSchedulesSuspended", kProtectionStopped},
}};

Refused absent(ProtectionEvent event) {
    return {
        event == ProtectionEvent::kUndelete ? ErrorKind::kGenericResourceNotFound
                                            : ErrorKind::kResourceNotFound,
        event == ProtectionEvent::kUndelete
            ? "The deleted backup instance was not found: it was purged, or never deleted."
            : "The backup instance was not found.",
        {"List the vault's backup instances, and the deleted ones, and check the name."}
    };
}

Refused busy(ProtectionState from) {
    return {
        ErrorKind::kObjectLocked,
        fmt::format(
            "The backup instance is being changed by another operation ({}).", to_string(from)
        ),
        {"Wait until that operation has ended and try again."}
    };
}

Refused wrong_state(ProtectionState from, std::string_view why, std::string_view action) {
    return {
        ErrorKind::kInvalidProtectionState,
        fmt::format("{} The backup instance is in the state {}.", why, to_string(from)),
        {std::string{action}}
    };
}

Transition deletion(ProtectionState from, const DeleteContext& context) {
    if (from == kSoftDeleting || from == kSoftDeleted) {
        return Unchanged{};
    }
    if (context.immutability != Immutability::kDisabled && context.unexpired_points > 0) {
        return Refused{
            ErrorKind::kImmutableData,
            fmt::format(
                "The vault is immutable, and {} recovery point{} of the backup instance {} not "
                "expired yet, so it "
                "cannot be deleted.",
                context.unexpired_points,
                context.unexpired_points == 1 ? "" : "s",
                context.unexpired_points == 1 ? "has" : "have"
            ),
            {"Stop the protection instead (holdfast backup-instance stop-protection), or wait "
             "until the points have "
             "expired."}
        };
    }
    if (context.soft_delete == SoftDelete::kOff) {
        return Removed{};
    }
    return Moved{kSoftDeleting};
}

Transition purge(ProtectionState from, const DeleteContext& context) {
    if (from != kSoftDeleted) {
        return wrong_state(
            from,
            "Only a soft-deleted backup instance is purged.",
            "Delete the backup instance first."
        );
    }
    if (!context.scheduled_purge || context.now < *context.scheduled_purge) {
        return Refused{
            ErrorKind::kInvalidProtectionState,
            context.scheduled_purge ? fmt::format(
                                          "The soft-deleted backup instance is kept until {}.",
                                          format_instant_seconds(*context.scheduled_purge)
                                      )
                                    : std::string{"The time until which the soft-deleted backup "
                                                  "instance is kept is not known."},
            {"Wait for the scheduled purge time; until then it can be undeleted."}
        };
    }
    return Removed{};
}

/// Events from the outside while configuration or a policy change runs.
Transition while_configuring(ProtectionState from, ProtectionEvent event) {
    switch (event) {
        case ProtectionEvent::kConfigured:
        case ProtectionEvent::kPolicyUpdated:
            return Moved{kProtectionConfigured};
        case ProtectionEvent::kConfigureFailed:
            // A failed change leaves an instance that was protected before; its schedule goes on.
            return Moved{
                from == kUpdatingProtection ? kProtectionError : kConfiguringProtectionFailed
            };
        case ProtectionEvent::kDatasourceFailed:
        case ProtectionEvent::kDatasourceRecovered:
            return Unchanged{};
        case ProtectionEvent::kConfigure:
        case ProtectionEvent::kUpdatePolicy:
        case ProtectionEvent::kStop:
        case ProtectionEvent::kSuspend:
        case ProtectionEvent::kResume:
        case ProtectionEvent::kDelete:
        case ProtectionEvent::kDeleted:
        case ProtectionEvent::kUndelete:
        case ProtectionEvent::kPurge:
            break;
    }
    return busy(from);
}

Transition while_protected(ProtectionState from, ProtectionEvent event) {
    const bool failed = from == kConfiguringProtectionFailed;
    switch (event) {
        case ProtectionEvent::kConfigure:
        case ProtectionEvent::kUpdatePolicy:
            return Moved{failed ? kConfiguringProtection : kUpdatingProtection};
        case ProtectionEvent::kStop:
            return Moved{kProtectionStopped};
        case ProtectionEvent::kSuspend:
            return Moved{kBackupsSuspended};
        case ProtectionEvent::kResume:
            if (failed) {
                return wrong_state(
                    from,
                    "There is no protection to resume.",
                    "Cure what the instance's error details name and create the backup instance "
                    "again."
                );
            }
            return Unchanged{};
        case ProtectionEvent::kDatasourceFailed:
            return failed ? Transition{Unchanged{}} : Transition{Moved{kProtectionError}};
        case ProtectionEvent::kDatasourceRecovered:
            return from == kProtectionError ? Transition{Moved{kProtectionConfigured}}
                                            : Transition{Unchanged{}};
        case ProtectionEvent::kUndelete:
            return wrong_state(
                from, "The backup instance is not deleted.", "Nothing needs to be undeleted."
            );
        case ProtectionEvent::kConfigured:
        case ProtectionEvent::kPolicyUpdated:
        case ProtectionEvent::kConfigureFailed:
            // Such work can end late, after a crash has already settled its outcome.
            return Unchanged{};
        case ProtectionEvent::kDelete:
        case ProtectionEvent::kDeleted:
        case ProtectionEvent::kPurge:
            break;
    }
    return wrong_state(
        from, "The event does not fit.", "Read the backup instance and decide anew."
    );
}

/// kProtectionStopped and kBackupsSuspended.
Transition while_paused(ProtectionState from, ProtectionEvent event) {
    switch (event) {
        case ProtectionEvent::kConfigure:
        case ProtectionEvent::kUpdatePolicy:
        case ProtectionEvent::kConfigured:
        case ProtectionEvent::kPolicyUpdated:
            // Settings may change, but backups only resume when asked to.
            return Moved{from};
        case ProtectionEvent::kConfigureFailed:
        case ProtectionEvent::kDatasourceFailed:
        case ProtectionEvent::kDatasourceRecovered:
            return Unchanged{};
        case ProtectionEvent::kResume:
            return Moved{kProtectionConfigured};
        case ProtectionEvent::kStop:
            return from == kProtectionStopped ? Transition{Unchanged{}}
                                              : Transition{Moved{kProtectionStopped}};
        case ProtectionEvent::kSuspend:
            if (from == kBackupsSuspended) {
                return Unchanged{};
            }
            return wrong_state(
                from,
                "Suspending would let recovery points expire that stopping the protection keeps.",
                "Resume the protection first, then suspend the backups."
            );
        case ProtectionEvent::kUndelete:
            // A repeated undelete finds its work done.
            return from == kProtectionStopped ? Transition{Unchanged{}}
                                              : wrong_state(
                                                    from,
                                                    "The backup instance is not deleted.",
                                                    "Nothing needs to be undeleted."
                                                );
        case ProtectionEvent::kDelete:
        case ProtectionEvent::kDeleted:
        case ProtectionEvent::kPurge:
            break;
    }
    return wrong_state(
        from, "The event does not fit.", "Read the backup instance and decide anew."
    );
}

Transition while_deleted(ProtectionState from, ProtectionEvent event) {
    switch (event) {
        case ProtectionEvent::kDeleted:
            return from == kSoftDeleting ? Transition{Moved{kSoftDeleted}}
                                         : Transition{Unchanged{}};
        case ProtectionEvent::kUndelete:
            return from == kSoftDeleted ? Transition{Moved{kProtectionStopped}}
                                        : Transition{busy(from)};
        case ProtectionEvent::kConfigure:
        case ProtectionEvent::kUpdatePolicy:
            return wrong_state(
                from,
                "A backup instance of this name is soft-deleted in this vault.",
                "Undelete it (holdfast deleted-backup-instance undelete) and resume its protection."
            );
        case ProtectionEvent::kStop:
        case ProtectionEvent::kSuspend:
        case ProtectionEvent::kResume:
            return Refused{
                ErrorKind::kResourceNotFound,
                "The backup instance was not found; it is soft-deleted.",
                {"Undelete it (holdfast deleted-backup-instance undelete) first."}
            };
        case ProtectionEvent::kConfigured:
        case ProtectionEvent::kPolicyUpdated:
        case ProtectionEvent::kConfigureFailed:
        case ProtectionEvent::kDatasourceFailed:
        case ProtectionEvent::kDatasourceRecovered:
        case ProtectionEvent::kDelete:
        case ProtectionEvent::kPurge:
            break;
    }
    return Unchanged{};
}

}  // namespace

std::string_view to_string(ProtectionState state) noexcept {
    for (const Spelling& spelling : kSpellings) {
        if (spelling.state == state) {
            return spelling.text;
        }
    }
    return {};
}

std::optional<ProtectionState> parse_protection_state(std::string_view text) noexcept {
    for (const Spelling& spelling : kSpellings) {
        if (equal_ignoring_case(trim(text), spelling.text)) {
            return spelling.state;
        }
    }
    return std::nullopt;
}

DeletionInfo deletion_info(Instant now, double retention_days) {
    const auto span = std::chrono::microseconds{std::llround(retention_days * 86'400e6)};
    return {.deletion_time = now, .billing_end = now, .scheduled_purge = now + span};
}

Transition transition(
    std::optional<ProtectionState> from, ProtectionEvent event, const DeleteContext& context
) {
    if (!from) {
        return event == ProtectionEvent::kConfigure ? Transition{Moved{kConfiguringProtection}}
                                                    : Transition{absent(event)};
    }
    if (event == ProtectionEvent::kDelete) {
        return deletion(*from, context);
    }
    if (event == ProtectionEvent::kPurge) {
        return purge(*from, context);
    }
    if (event == ProtectionEvent::kDeleted && !is_soft_deleted(*from)) {
        return wrong_state(*from, "No deletion is under way.", "Delete the backup instance first.");
    }
    switch (*from) {
        case kConfiguringProtection:
        case kUpdatingProtection:
            return while_configuring(*from, event);
        case kProtectionConfigured:
        case kProtectionError:
        case kConfiguringProtectionFailed:
            return while_protected(*from, event);
        case kProtectionStopped:
        case kBackupsSuspended:
            return while_paused(*from, event);
        case kSoftDeleting:
        case kSoftDeleted:
            break;
    }
    return while_deleted(*from, event);
}

Transition transition_or_throw(
    std::optional<ProtectionState> from,
    ProtectionEvent event,
    std::string_view target,
    const DeleteContext& context
) {
    Transition result = transition(from, event, context);
    if (const auto* refused = std::get_if<Refused>(&result)) {
        throw Error{
            refused->kind,
            ErrorText{
                .message = refused->message,
                .target = std::string{target},
                .recommended_actions = refused->recommended_actions,
            }
        };
    }
    return result;
}

bool accepts_backup(ProtectionState state) noexcept {
    // An update in progress or a failing datasource is no reason to skip a backup: the backup
    // itself will say.
    return state == kProtectionConfigured || state == kProtectionError ||
           state == kUpdatingProtection;
}

bool accepts_restore(ProtectionState state) noexcept {
    return !is_soft_deleted(state);
}

bool is_soft_deleted(ProtectionState state) noexcept {
    return state == kSoftDeleting || state == kSoftDeleted;
}

Error not_accepted(ProtectionState state, std::string_view operation, std::string_view target) {
    const bool deleted = is_soft_deleted(state);
    const bool paused = state == kProtectionStopped || state == kBackupsSuspended;
    return Error{
        ErrorKind::kInvalidProtectionState,
        ErrorText{
            .message = fmt::format(
                "{} is not possible while the backup instance is in the state {}.",
                operation,
                to_string(state)
            ),
            .target = std::string{target},
            .recommended_actions =
                {deleted ? "Undelete the backup instance first (holdfast deleted-backup-instance "
                           "undelete)."
                 : paused
                     ? "Resume the protection first (holdfast backup-instance resume-protection)."
                     : "Wait until the backup instance is in the state ProtectionConfigured."},
        }
    };
}

}  // namespace holdfast::protection
