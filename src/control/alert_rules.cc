#include "control/alert_rules.h"

#include "base/text.h"
#include "control/identity/login_limiter.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

struct Actor {
    std::string_view name;
    std::string_view id;
    std::string_view peer;
    std::string_view correlation_id;
};

alerts::Event event_from(
    const Actor& actor, alerts::Kind kind, std::string scope, std::string_view what
) {
    const std::string_view name = actor.name.empty() ? actor.id : actor.name;
    return {
        .kind = kind,
        .scope = std::move(scope),
        .message = fmt::format("'{}' {}.", name, what),
        .actions = {"If this was not meant to happen, disable the principal and look at the audit "
                    "trail: holdfast audit export."},
        .details =
            {{"principalName", actor.name},
             {"principalId", actor.id},
             {"address", address_of_peer(actor.peer)},
             {"correlationId", actor.correlation_id}},
    };
}

}  // namespace

std::span<const AlertRule> alert_rules() {
    using enum alerts::Kind;
    static constexpr AlertRule kRules[] = {
        {"Microsoft.DataProtection/backupVaults/delete", kVaultDeleted, "deleted the vault"},
        {"Microsoft.DataProtection/backupVaults/backupInstances/delete",
         kInstanceDeleted,
         "deleted the backup instance"},
        {"Microsoft.DataProtection/backupVaults/backupInstances/stopProtection/action",
         kProtectionStopped,
         "stopped the protection of the backup instance"},
        {"Microsoft.DataProtection/backupVaults/backupInstances/suspendBackups/action",
         kProtectionStopped,
         "suspended the backups of the backup instance"},
        {"Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/delete",
         kGuardRemoved,
         "removed the vault's mapping to its resource guard"},
        {"Microsoft.DataProtection/resourceGuards/delete",
         kGuardRemoved,
         "deleted the resource guard"},
    };
    return kRules;
}

std::optional<alerts::Event> event_of(const catalog::AuditRecord& record) {
    // 204: there was nothing to delete. 202: it is under way, and was allowed.
    if (record.status < 200 || record.status >= 300 || record.status == 204) {
        return std::nullopt;
    }
    for (const AlertRule& rule : alert_rules()) {
        if (equal_ignoring_case(rule.action, record.action)) {
            return event_from(
                {.name = record.principal_name,
                 .id = record.principal_id,
                 .peer = record.peer,
                 .correlation_id = record.correlation_id},
                rule.kind,
                record.scope,
                fmt::format("{} {}", rule.what, record.scope)
            );
        }
    }
    return std::nullopt;
}

alerts::Event event_by(
    const RequestContext& context, alerts::Kind kind, std::string scope, std::string_view what
) {
    return event_from(
        {.name = context.principal.display_name,
         .id = context.principal.object_id,
         .peer = context.request.peer_address,
         .correlation_id = context.request.correlation_id},
        kind,
        std::move(scope),
        what
    );
}

}  // namespace holdfast::control
