#pragma once

#include "control/route.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::control {

/// Says why the server is not ready, or nothing when it is.
using Readiness = std::function<std::optional<std::string>()>;

/// GET /healthz: 200 while the process answers. GET /readyz: 200 when it can do its work, 503 with
/// the reason else. Nobody needs a token, so neither says anything about what is stored here.
void add_health_routes(std::vector<Route>& routes, Readiness readiness);

}  // namespace holdfast::control
