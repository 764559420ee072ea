#pragma once

#include "control/identity/principal.h"

#include <optional>
#include <string_view>

namespace holdfast::control {

/// Turns a bearer credential into the principal that it stands for. One for each kind of
/// credential. Safe from any thread.
class Authenticator {
public:
    virtual ~Authenticator() = default;
    /// Nothing when `credential` is not of this kind. Throws kAuthenticationFailed when it is, but
    /// is unknown, revoked, expired or forged; the message does not say which to whom could not
    /// know.
    [[nodiscard]] virtual std::optional<Principal> authenticate(std::string_view credential) = 0;
};

}  // namespace holdfast::control
