#include "control/routes/routes.h"

#include "control/routes/route_groups.h"

namespace holdfast::control {

std::vector<Route> all_routes() {
    std::vector<Route> routes;
    add_metadata_routes(routes);
    add_subscription_routes(routes);
    add_resource_group_routes(routes);
    return routes;
}

}  // namespace holdfast::control
