#pragma once

#include "catalog/catalog.h"
#include "control/http/message.h"
#include "control/identity/access_tokens.h"
#include "control/identity/login_limiter.h"
#include "control/identity/password_hash.h"
#include "control/identity/tokens.h"

#include <functional>
#include <optional>
#include <string>

namespace holdfast::control {

struct LoginRequest {
    const Query& form;
    std::string origin;  ///< `https://host:port`, as the client reached us.
    std::string peer;
};

struct LoginOutcome {
    int status = 200;
    Json body;            ///< A token answer, or OAuth's error.
    std::string code;     ///< OAuth's error code; empty after a success.
    std::string account;  ///< Client id or user name, as given: at most 256 characters.
    std::optional<catalog::PrincipalRecord> principal = {};  ///< After a success.
    std::optional<std::chrono::seconds> retry_after = {};
};

/// The token endpoint: client credentials, user and password, refresh tokens. Says the same of an
/// unknown account and of a wrong secret. Safe from any thread.
class LoginService {
public:
    struct Parts {
        catalog::Catalog& catalog;
        TokenAuthority& secrets;
        AccessTokens& tokens;
        PasswordHasher& passwords;
        Clock& clock;
    };
    explicit LoginService(Parts parts) : parts_{parts}, limiter_{parts.clock} {}

    [[nodiscard]] LoginOutcome login(const LoginRequest& request);

private:
    [[nodiscard]] std::optional<catalog::PrincipalRecord> check(
        const LoginRequest& request, const std::string& grant, const std::string& account
    );
    [[nodiscard]] std::optional<catalog::PrincipalRecord> check_secret(
        const std::string& client_id, const Secret& secret
    );

    Parts parts_;
    LoginLimiter limiter_;
};

}  // namespace holdfast::control
