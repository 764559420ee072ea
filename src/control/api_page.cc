#include "control/health.h"
#include "control/metrics.h"
#include "control/reference_pages.h"
#include "control/routes/routes.h"

namespace holdfast::control {

std::string describe_api() {
    std::vector<Route> routes = all_routes();
    add_health_routes(routes, nullptr);
    add_metrics_route(routes, nullptr);
    return describe_routes(routes);
}

}  // namespace holdfast::control
