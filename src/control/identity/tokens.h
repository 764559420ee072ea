#pragma once

#include "base/clock.h"
#include "base/secret.h"
#include "catalog/catalog.h"
#include "control/identity/authenticator.h"

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::control {

struct IssuedToken {
    std::string id;
    Secret text;  ///< `hf_<id>_<256 random bits, base64url>`: the only time that it is known.
};

struct TokenRequest {
    std::string principal_id;
    std::string description;
    std::optional<Instant> expires_at = {};
};

/// Opaque access tokens. The catalog keeps HMAC-SHA-256 of each under a key that is not in the
/// catalog, so that a copy of it opens nothing and forges nothing. Safe from any thread.
class TokenAuthority final : public Authenticator {
public:
    /// `hash_key`: 32 bytes, used for nothing else.
    TokenAuthority(catalog::Catalog& catalog, Secret hash_key, std::string tenant_id, Clock& clock);

    [[nodiscard]] IssuedToken issue(catalog::Transaction& transaction, const TokenRequest& request);
    /// From the commit on, the token is refused. Returns false when there is none of that id.
    bool revoke(catalog::Transaction& transaction, std::string_view token_id);

    [[nodiscard]] std::optional<Principal> authenticate(std::string_view credential) override;

private:
    [[nodiscard]] std::string hash_of(std::string_view token) const;

    catalog::Catalog& catalog_;
    const Secret hash_key_;
    const std::string tenant_id_;
    Clock& clock_;
};

}  // namespace holdfast::control
