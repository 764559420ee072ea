#pragma once

#include "catalog/catalog.h"
#include "control/route.h"

#include <cstddef>
#include <string_view>

// Vaults that were deleted under an api-version that deletes softly: they come back whole until
// their time is over.
namespace holdfast::control {

/// From this api-version on, the deletion of a vault is a soft one.
inline constexpr std::string_view kVaultSoftDeleteFrom = "2025-09-01";

/// DELETE of a vault that holds nothing but soft-deleted instances (and policies). Throws
/// kVaultNotEmpty.
[[nodiscard]] Reply soft_delete_vault(
    const RequestContext& context, const catalog::VaultRecord& vault
);

/// Before a PUT: brings the vault back that x-ms-deleted-vault-id names. Throws kConflict when the
/// vault is soft-deleted and the header does not name it, kResourceNotFound for a header that names
/// no deleted vault.
void undelete_if_asked(const RequestContext& context);

/// Removes, with its repository, every soft-deleted vault whose time is over and whose instances
/// have been purged. Called by the server's housekeeping; never while the clock is in doubt.
std::size_t purge_deleted_vaults(Services& services);

/// In backup_vaults.cc: what was granted to the vault's identity, and on the vault.
void remove_grants(catalog::Transaction& transaction, const catalog::VaultRecord& vault);

}  // namespace holdfast::control
