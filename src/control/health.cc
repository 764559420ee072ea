#include "control/health.h"

namespace holdfast::control {
namespace {

Route health_row(std::string pattern, std::string summary, Handler handler) {
    return Route{
        .verb = Verb::kGet,
        .pattern = std::move(pattern),
        .action = "Holdfast/health/read",
        .summary = std::move(summary),
        .handler = std::move(handler),
        .access = Access::kAnonymous,
        .api_version = ApiVersion::kExempt,
    };
}

}  // namespace

void add_health_routes(std::vector<Route>& routes, Readiness readiness) {
    routes.push_back(health_row("/healthz", "The process is alive.", [](const RequestContext&) {
        return Reply::ok(Json{{"status", "ok"}});
    }));
    routes.push_back(health_row(
        "/readyz",
        "The catalog answers and jobs can run; 503 with the reason otherwise.",
        [readiness = std::move(readiness)](const RequestContext&) {
            if (const auto reason = readiness()) {
                return Reply::json(503, Json{{"status", "not ready"}, {"reason", *reason}});
            }
            return Reply::ok(Json{{"status", "ready"}});
        }
    ));
}

}  // namespace holdfast::control
