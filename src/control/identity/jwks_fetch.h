#pragma once

#include "control/config.h"

#include <string>

namespace holdfast::control {

/// GET of an issuer's `jwks_uri`: TLS with verification, no redirect, five seconds and 256 KiB at
/// most. Throws kServerNotReachable.
[[nodiscard]] std::string fetch_jwks(const IssuerConfig& issuer);

}  // namespace holdfast::control
