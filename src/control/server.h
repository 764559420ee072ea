#pragma once

#include "base/clock.h"
#include "control/config.h"

#include <stop_token>

namespace holdfast::control {

/// Builds the object graph and serves until SIGTERM, SIGINT or `stop`: state directory lock, KEK,
/// catalog, first-start bootstrapping, jobs, routes, HTTPS. Tells systemd about readiness. Returns
/// the exit code; throws Error when it cannot start (kStateDirectoryLocked, kConfigInvalid,
/// kKeyMissing…).
int serve(const Config& config, Clock& clock, std::stop_token stop);

/// `holdfast serve --check-config`: loads nothing, opens nothing for writing; throws what serve()
/// would throw for the paths, certificate and key files named.
void check_config(const Config& config);

}  // namespace holdfast::control
