#pragma once

#include "base/json.h"
#include "catalog/catalog.h"
#include "control/route.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

// Multi-user approval: a vault that is mapped to a resource guard lets its critical operations pass
// only with the word of a second person.
namespace holdfast::control {

inline constexpr std::string_view kGuardType = "Microsoft.DataProtection/resourceGuards";
inline constexpr std::string_view kProxyType =
    "Microsoft.DataProtection/vaults/backupResourceGuardProxies";

enum class CriticalOperation {
    kDeleteInstance,
    kRemoveMapping,
    kReduceImmutability,
    kReduceSoftDelete,
    kModifyEncryption,
    kStopProtection,
    kSuspendBackups,
    kModifyInstance,  ///< Another policy, or a weaker one.
    kRestore,
};

/// What the wire calls an operation that a guard can protect.
struct CriticalOperationRow {
    CriticalOperation operation;
    std::string_view short_name;    ///< What the command line's `--operation-requests` takes.
    std::string_view wire_name;     ///< vaultCriticalOperation.
    std::string_view request_kind;  ///< The segment below the guard.
    enum class Exclusion { kPossible, kNever } exclusion = Exclusion::kPossible;
};
/// In the order in which a guard shows them.
[[nodiscard]] std::span<const CriticalOperationRow> critical_operations();
[[nodiscard]] const CriticalOperationRow& row_of(CriticalOperation operation);
/// By request kind (without case), also under the names that older clients ask for; or nullptr.
[[nodiscard]] const CriticalOperationRow* find_request_kind(std::string_view kind);

/// `resourceGuardOperationRequests` of an object; empty when absent. Throws kInvalidRequestContent.
[[nodiscard]] std::vector<std::string> read_guard_requests(const JsonReader& object);

[[nodiscard]] bool is_mapped_to_guard(const catalog::View& view, std::string_view vault_id);

/// Passes when the vault is mapped to no guard that protects `operation`, or when one of `requests`
/// is an approved request of the caller's (`…/default`: any that the caller has). Throws
/// kGuardApprovalRequired, which says what to ask for. Call it inside the transaction that changes
/// something, or before work that the caller does afterwards.
void require_guard_approval(
    const catalog::View& view,
    const RequestContext& context,
    const catalog::VaultRecord& vault,
    CriticalOperation operation,
    const std::vector<std::string>& requests
);

/// For deletions, which carry no body: passes while a window that the caller opened with
/// unlockDelete is open.
void require_unlocked(
    const catalog::View& view,
    const RequestContext& context,
    const catalog::VaultRecord& vault,
    CriticalOperation operation
);

}  // namespace holdfast::control
