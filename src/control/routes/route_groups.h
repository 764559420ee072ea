#pragma once

#include "control/route.h"

#include <vector>

// What each file below routes/ adds to the API; all_routes() calls them all. The folders mirror the
// URL.
namespace holdfast::control {

// metadata/
void add_metadata_routes(std::vector<Route>& routes);

// subscriptions/
void add_subscription_routes(std::vector<Route>& routes);
void add_resource_group_routes(std::vector<Route>& routes);

}  // namespace holdfast::control
