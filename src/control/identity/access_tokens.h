#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"
#include "control/identity/authenticator.h"
#include "control/identity/key_ring.h"
#include "control/identity/verified_tokens.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::control {

/// The signed tokens of this server: bearer tokens, what a user's client learns of its user, and
/// what it gets new bearer tokens with. Each is good for its own purpose only: by its type and its
/// audience. Safe from any thread.
class AccessTokens final : public Authenticator {
public:
    static constexpr std::chrono::hours kRefreshLife{24 * 14};

    /// `tenant_id`: of every principal here. `life`: of a bearer token.
    AccessTokens(
        catalog::Catalog& catalog,
        KeyRing& keys,
        std::string tenant_id,
        std::chrono::seconds life,
        Clock& clock
    );

    [[nodiscard]] std::chrono::seconds life() const noexcept { return life_; }
    /// `origin`: the server as its client reached it; the token's issuer is below it.
    [[nodiscard]] std::string issue(
        const catalog::PrincipalRecord& principal, const std::string& origin
    );
    [[nodiscard]] std::string issue_refresh(
        const catalog::PrincipalRecord& principal, const std::string& origin
    );
    /// OpenID Connect's, for the client `client_id`.
    [[nodiscard]] std::string issue_id(
        const catalog::PrincipalRecord& principal,
        const std::string& origin,
        const std::string& client_id
    );

    [[nodiscard]] std::optional<Principal> authenticate(std::string_view credential) override;
    /// The principal that a refresh token was issued to. Throws kAuthenticationFailed.
    [[nodiscard]] catalog::PrincipalRecord open_refresh(std::string_view token);

    /// From the commit on, this one token is refused.
    static void revoke(catalog::Transaction& transaction, const Json& claims);

    /// Of tokens that are sent with requests.
    [[nodiscard]] std::string audience() const { return "urn:holdfast:" + tenant_id_ + ":api"; }

private:
    struct Checked {
        std::shared_ptr<const VerifiedToken> token;
        catalog::PrincipalRecord principal;
    };
    /// Nothing when none of our keys is named. Throws when the named one's signature is not there.
    [[nodiscard]] std::shared_ptr<const VerifiedToken> verify(std::string_view token);
    [[nodiscard]] Json common_claims(
        const catalog::PrincipalRecord& principal,
        const std::string& origin,
        std::chrono::seconds life
    ) const;
    [[nodiscard]] std::optional<Checked> check(
        std::string_view token, std::string_view type, const std::string& audience
    );

    catalog::Catalog& catalog_;
    KeyRing& keys_;
    const std::string tenant_id_;
    const std::chrono::seconds life_;
    Clock& clock_;
    VerifiedTokens verified_;
};

}  // namespace holdfast::control
