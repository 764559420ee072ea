#pragma once

#include "catalog/catalog.h"
#include "control/identity/password_hash.h"
#include "control/identity/tokens.h"

#include <optional>
#include <string>
#include <string_view>

// The principals of this server's own directory. All within the caller's transaction.
namespace holdfast::control {

/// By client id, user name or object id; nothing for an empty name.
[[nodiscard]] std::optional<catalog::PrincipalRecord> find_principal(
    const catalog::View& view, std::string_view login_name_or_id
);
/// Throws kPrincipalNotFound.
[[nodiscard]] catalog::PrincipalRecord require_principal(
    const catalog::View& view, std::string_view login_name_or_id
);

/// A service principal with a new client id and no credential yet. Throws kInvalidParameter.
[[nodiscard]] catalog::PrincipalRecord add_service_principal(
    catalog::Transaction& transaction, const std::string& display_name, Json tags
);

/// `password_hash`: of PasswordHasher. Throws kInvalidParameter for a name that is not like
/// alice@example.org, kConflict when there is one of that name.
[[nodiscard]] catalog::PrincipalRecord add_user(
    catalog::Transaction& transaction,
    const std::string& user_name,
    const std::string& display_name,
    std::string password_hash
);

/// Its tokens and role assignments with it. Throws kConflict for a vault's identity.
void remove_principal(catalog::Transaction& transaction, const catalog::PrincipalRecord& principal);

/// Everything that it logged in with or got until now is refused from the commit on: client
/// secrets, tokens, refresh tokens. Its password stays.
void revoke_credentials(catalog::Transaction& transaction, catalog::PrincipalRecord& principal);

}  // namespace holdfast::control
