#pragma once

#include "control/identity/access_tokens.h"
#include "control/identity/key_ring.h"
#include "control/identity/login.h"
#include "control/identity/password_hash.h"
#include "control/identity/tokens.h"

#include <chrono>
#include <string>

namespace holdfast::control {

struct IdentitySettings {
    std::string tenant_id;
    std::chrono::seconds access_token_life{3600};
};

/// The built-in identity provider, whole. Safe from any thread.
class Identity {
public:
    /// `root`: the key-encryption key; every part derives a key of its own from it.
    Identity(
        catalog::Catalog& catalog,
        const Secret& root,
        const IdentitySettings& settings,
        Clock& clock
    );

    /// What is due now and then: new signing keys, old ones and revocations that nobody needs.
    void tick();

    const std::string tenant_id;
    TokenAuthority tokens;  ///< Client secrets; also bearer tokens in themselves.
    KeyRing keys;
    PasswordHasher passwords;
    AccessTokens access_tokens;
    LoginService logins;

private:
    catalog::Catalog& catalog_;
    Clock& clock_;
};

}  // namespace holdfast::control
