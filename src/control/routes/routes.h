#pragma once

#include "control/route.h"

#include <vector>

namespace holdfast::control {

/// Every row of the API; each file below routes/ adds its own.
[[nodiscard]] std::vector<Route> all_routes();

}  // namespace holdfast::control
