#pragma once

#include "base/clock.h"
#include "base/secret.h"
#include "catalog/catalog.h"
#include "control/config.h"
#include "control/identity/tokens.h"

#include <optional>
#include <string>

// What the first start makes, and every later one finds again.
namespace holdfast::control {

/// Refuses to begin anew beside vaults of an earlier server: with another key and an empty catalog
/// their backups would be out of reach, and look lost. Throws kKeyMissing when the key file is gone
/// too, kCatalogUnavailable when only the catalog is.
void check_first_start(const Config& config);

/// The key-encryption key: read, or made at the first start. Throws kKeyMissing when this catalog
/// was used with a key that is gone (never makes another then), kKeyWrong when the file holds
/// another one, kKeyPermissions.
[[nodiscard]] Secret open_key(const KeysConfig& config, catalog::Catalog& catalog);

struct ServiceIds {
    std::string subscription_id;
    std::string tenant_id;
};
/// The subscription with its tenant and the default resource group, made where they are missing.
/// Configured ids win over those made earlier.
ServiceIds ensure_service(const ServiceConfig& config, catalog::Catalog& catalog, Clock& clock);

/// What the owner logs in with: the token itself (holdfast login), or the client id with the token
/// as its secret (az login --service-principal).
struct OwnerCredential {
    std::string client_id;
    IssuedToken token;
};

/// The owner's principal with its roles at `/`: Owner, and those for data that Owner does not have;
/// at the first start also its credential.
std::optional<OwnerCredential> ensure_owner(
    catalog::Catalog& catalog, TokenAuthority& tokens, Clock& clock
);
/// One more token for the owner, for whoever lost the first. REQUIRES: ensure_owner().
[[nodiscard]] IssuedToken issue_owner_token(catalog::Catalog& catalog, TokenAuthority& tokens);

}  // namespace holdfast::control
