// GET /providers/Microsoft.DataProtection/operations
#include "control/arm.h"
#include "control/routes/lookup.h"
#include "control/routes/route_groups.h"
#include "control/routes/routes.h"

#include <map>

namespace holdfast::control {
namespace {

/// The provider's actions, read off the route table itself.
std::vector<Json> list_actions() {
    std::map<std::string, std::string> summaries;
    for (const Route& route : all_routes()) {
        if (route.action.starts_with(kDataProtection)) {
            summaries.emplace(route.action, route.summary);
        }
    }
    std::vector<Json> items;
    for (const auto& [action, summary] : summaries) {
        const std::string rest = action.substr(kDataProtection.size() + 1);
        const bool is_verb = rest.ends_with("/action");
        const std::string path = is_verb ? rest.substr(0, rest.size() - 7) : rest;
        const auto cut = path.rfind('/');
        items.push_back(Json{
            {"id", action},
            {"name", action},
            {"isDataAction", false},
            {"origin", "user"},
            {"display",
             {{"provider", kDataProtection},
              {"resource", path.substr(0, cut)},
              {"operation", cut == std::string::npos ? path : path.substr(cut + 1)},
              {"description", summary}}}
        });
    }
    return items;
}

Reply list_operations(const RequestContext& context) {
    static const std::vector<Json> items = list_actions();
    return list_reply(context, items);
}

}  // namespace

void add_provider_routes(std::vector<Route>& routes) {
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/providers/Microsoft.DataProtection/operations",
        .action = "Microsoft.DataProtection/operations/read",
        .summary = "Lists the actions that roles can name.",
        .handler = list_operations,
        .access = Access::kAuthenticated,
    });
}

}  // namespace holdfast::control
