#include "control/guards.h"

#include "base/text.h"
#include "control/identity/authorize.h"
#include "control/services.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::GuardProxyRecord;
using catalog::GuardRequestRecord;
using catalog::ResourceGuardRecord;
using catalog::RoleAssignmentRecord;
using catalog::VaultRecord;
using Exclusion = CriticalOperationRow::Exclusion;

constexpr std::array<CriticalOperationRow, 9> kRows{{
    {CriticalOperation::kDeleteInstance,
     "DeleteBackupInstance",
     "Microsoft.DataProtection/backupVaults/backupInstances/delete",
     "deleteBackupInstanceRequests"},
    {CriticalOperation::kRemoveMapping,
     "DisableMUA",
     "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/delete",
     "deleteResourceGuardProxyRequests",
     Exclusion::kNever},
    {CriticalOperation::kReduceImmutability,
     "DataProtectionDisableImmutability",
     "Microsoft.DataProtection/backupVaults/write#reduceImmutabilityState",
     "dppReduceImmutabilityStateRequests"},
    {CriticalOperation::kReduceSoftDelete,
     "DataProtectionSoftDelete",
     "Microsoft.DataProtection/backupVaults/write#reduceSoftDeleteSecurity",
     "dppReduceSoftDeleteSecurityRequests"},
    {CriticalOperation::kModifyEncryption,
     "DataProtectionModifyEncryptionSettings",
     "Microsoft.DataProtection/backupVaults/write#modifyEncryptionSettings",
     "dppModifyEncryptionSettingsRequests"},
    {CriticalOperation::kStopProtection,
     "DataProtectionStopProtection",
     "Microsoft.DataProtection/backupVaults/backupInstances/stopProtection/action",
     "dppDisableStopProtectionRequests"},
    {CriticalOperation::kSuspendBackups,
     "DataProtectionSuspendBackup",
     "Microsoft.DataProtection/backupVaults/backupInstances/suspendBackups/action",
     "dppDisableSuspendBackupsRequests"},
    {CriticalOperation::kModifyInstance,
     "DataProtectionModifyBackupInstance",
     "Microsoft.DataProtection/backupVaults/backupInstances/write",
     "dppModifyPolicy"},
    {CriticalOperation::kRestore,
     "DataProtectionRestore",
     "Microsoft.DataProtection/backupVaults/backupInstances/restore/action",
     "dppTriggerRestoreRequests"},
}};

/// What the guards of the first api versions called the requests.
struct Alias {
    std::string_view kind;
    CriticalOperation operation;
};
constexpr std::array<Alias, 4> kAliases{{
    {"deleteProtectedItemRequests", CriticalOperation::kDeleteInstance},
    {"disableSoftDeleteRequests", CriticalOperation::kReduceSoftDelete},
    {"updateProtectionPolicyRequests", CriticalOperation::kModifyInstance},
    {"updateProtectedItemRequests", CriticalOperation::kModifyInstance},
}};

constexpr std::string_view kDefaultRequest = "default";
/// Backup MUA Operator.
constexpr std::string_view kMuaOperatorRoleId = "f54b6d04-23c6-443e-b462-9c16ab7b4a52";

bool protects(const ResourceGuardRecord& guard, const CriticalOperationRow& row) {
    return row.exclusion == Exclusion::kNever ||
           std::none_of(guard.exclusions.begin(), guard.exclusions.end(), [&](const auto& one) {
               return equal_ignoring_case(one, row.wire_name);
           });
}

[[noreturn]] void refuse(
    const RequestContext& context,
    const VaultRecord& vault,
    const ResourceGuardRecord& guard,
    const CriticalOperationRow& row,
    std::string how
) {
    throw Error{
        ErrorKind::kGuardApprovalRequired,
        ErrorText{
            .message = fmt::format(
                "The operation {} on the backup vault '{}' is protected by the resource guard '{}' "
                "and needs an approval that '{}' does not have.",
                row.wire_name,
                vault.name,
                guard.name,
                context.principal.display_name
            ),
            .target = vault.id,
            .recommended_actions =
                {fmt::format(
                     "Ask for it: PUT {}/{}/default; somebody else approves it there with POST "
                     "…/default/approve.",
                     guard.id,
                     row.request_kind
                 ),
                 std::move(how)},
            .properties =
                {{"ResourceGuardId", guard.id}, {"Operation", std::string{row.short_name}}}
        }
    };
}

bool is_live(
    const GuardRequestRecord& request, const RequestContext& context, const VaultRecord& vault
) {
    const Instant now = context.services.clock.now();
    return request.status == "Approved" && request.expires_at && *request.expires_at > now &&
           equal_ignoring_case(request.requester_id, context.principal.object_id) &&
           !equal_ignoring_case(request.approver_id, request.requester_id) &&
           (request.vault_id.empty() || equal_ignoring_case(request.vault_id, vault.id));
}

/// Azure's own way: somebody else made the caller an operator of this very guard. What comes down
/// from a higher scope, or what the caller granted himself, is nobody else's word.
bool was_made_operator(
    const catalog::View& view, const RequestContext& context, const ResourceGuardRecord& guard
) {
    bool found = false;
    const std::string& caller = context.principal.object_id;
    view.each<RoleAssignmentRecord>({.subject = caller}, [&](const RoleAssignmentRecord& one) {
        found = equal_ignoring_case(one.scope, guard.id) &&
                equal_ignoring_case(role_guid(one.role_definition_id), kMuaOperatorRoleId) &&
                !one.created_by.empty() && !equal_ignoring_case(one.created_by, caller);
        return !found;
    });
    return found;
}

/// Whether the caller has an approval that `named` (`{guard}/{kind}/{name}`) stands for.
bool is_approved(
    const catalog::View& view,
    const RequestContext& context,
    const VaultRecord& vault,
    const ResourceGuardRecord& guard,
    const CriticalOperationRow& row,
    std::string_view named
) {
    const std::string prefix = guard.id + "/";
    while (named.ends_with('/')) {
        named.remove_suffix(1);
    }
    if (!starts_with_ignoring_case(named, prefix)) {
        return false;  // Of another guard, whose people have nothing to say here.
    }
    named.remove_prefix(prefix.size());
    const std::size_t slash = named.find('/');
    const CriticalOperationRow* asked = find_request_kind(named.substr(0, slash));
    if (asked == nullptr || asked->operation != row.operation || slash == std::string_view::npos) {
        return false;
    }
    const std::string_view name = named.substr(slash + 1);
    bool found =
        equal_ignoring_case(name, kDefaultRequest) && was_made_operator(view, context, guard);
    if (found) {
        return true;
    }
    view.each<GuardRequestRecord>(
        {.parent = guard.id, .states = {"Approved"}},
        [&](const GuardRequestRecord& request) {
            const bool meant = equal_ignoring_case(name, kDefaultRequest) ||
                               equal_ignoring_case(name, request.name);
            found = meant && equal_ignoring_case(request.kind, row.request_kind) &&
                    is_live(request, context, vault);
            return !found;
        }
    );
    return found;
}

/// The guards that protect `row` on the vault, one after the other.
template <typename Visit>
void for_each_guard(
    const catalog::View& view,
    const VaultRecord& vault,
    const CriticalOperationRow& row,
    const Visit& visit
) {
    for (const GuardProxyRecord& proxy : view.list<GuardProxyRecord>({.parent = vault.id})) {
        ResourceGuardRecord guard;
        guard.id = proxy.guard_id;
        guard.name = proxy.guard_id;
        // A guard that cannot be found protects everything: its absence must open no door.
        guard = view.get<ResourceGuardRecord>(proxy.guard_id).value_or(guard);
        if (protects(guard, row)) {
            visit(proxy, guard);
        }
    }
}

}  // namespace

std::span<const CriticalOperationRow> critical_operations() {
    return kRows;
}

const CriticalOperationRow& row_of(CriticalOperation operation) {
    const auto found = std::find_if(kRows.begin(), kRows.end(), [&](const auto& row) {
        return row.operation == operation;
    });
    HOLDFAST_CHECK(found != kRows.end());
    return *found;
}

const CriticalOperationRow* find_request_kind(std::string_view kind) {
    for (const CriticalOperationRow& row : kRows) {
        if (equal_ignoring_case(row.request_kind, kind)) {
            return &row;
        }
    }
    for (const Alias& alias : kAliases) {
        if (equal_ignoring_case(alias.kind, kind)) {
            return &row_of(alias.operation);
        }
    }
    return nullptr;
}

std::vector<std::string> read_guard_requests(const JsonReader& object) {
    std::vector<std::string> out;
    if (!object.value().is_object()) {
        return out;
    }
    if (const auto list = object.optional_member("resourceGuardOperationRequests")) {
        for (const JsonReader& one : list->elements()) {
            out.push_back(one.as_string());
        }
    }
    return out;
}

bool is_mapped_to_guard(const catalog::View& view, std::string_view vault_id) {
    return view.count<GuardProxyRecord>({.parent = std::string{vault_id}}) > 0;
}

void require_guard_approval(
    const catalog::View& view,
    const RequestContext& context,
    const VaultRecord& vault,
    CriticalOperation operation,
    const std::vector<std::string>& requests
) {
    const CriticalOperationRow& row = row_of(operation);
    for_each_guard(
        view,
        vault,
        row,
        [&](const GuardProxyRecord&, const ResourceGuardRecord& guard) {
            const bool approved =
                std::any_of(requests.begin(), requests.end(), [&](const std::string& named) {
                    return is_approved(view, context, vault, guard, row, named);
                });
            if (!approved) {
                refuse(
                    context,
                    vault,
                    guard,
                    row,
                    fmt::format(
                        "Then name it in resourceGuardOperationRequests: {}/{}/default.",
                        guard.id,
                        row.request_kind
                    )
                );
            }
        }
    );
}

void require_unlocked(
    const catalog::View& view,
    const RequestContext& context,
    const VaultRecord& vault,
    CriticalOperation operation
) {
    const CriticalOperationRow& row = row_of(operation);
    const std::int64_t now = context.services.clock.now().time_since_epoch().count();
    for_each_guard(
        view,
        vault,
        row,
        [&](const GuardProxyRecord& proxy, const ResourceGuardRecord& guard) {
            const bool open =
                std::any_of(proxy.unlocks.begin(), proxy.unlocks.end(), [&](const Json& window) {
                    return window.value("operation", std::string{}) == row.short_name &&
                           equal_ignoring_case(
                               window.value("principalId", std::string{}),
                               context.principal.object_id
                           ) &&
                           window.value("until", std::int64_t{0}) > now;
                });
            if (!open) {
                refuse(
                    context,
                    vault,
                    guard,
                    row,
                    fmt::format(
                        "Then open the window for the deletion: POST {}/unlockDelete naming {}/{}/"
                        "default.",
                        proxy.id,
                        guard.id,
                        row.request_kind
                    )
                );
            }
        }
    );
}

}  // namespace holdfast::control
