// Where long-running operations are asked about; the clients know them by half a dozen paths.
#include "control/operations.h"

#include "control/routes/lookup.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

namespace holdfast::control {
namespace {

Reply get_status(const RequestContext& context) {
    return context.services.operations.status_reply(context, context.path.at("operationId"));
}

Reply get_result(const RequestContext& context) {
    return context.services.operations.result_reply(context, context.path.at("operationId"));
}

void add(std::vector<Route>& routes, const std::string& place) {
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = place + "/operationStatus/{operationId}",
        .action = "Microsoft.DataProtection/backupVaults/operationStatus/read",
        .summary = "Shows the status of a long-running operation.",
        .handler = get_status,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = place + "/operationResults/{operationId}",
        .action = "Microsoft.DataProtection/backupVaults/operationResults/read",
        .summary = "Shows the result of a long-running operation: 202 while it runs.",
        .handler = get_result,
        .access = Access::kAuthenticated,
    });
}

}  // namespace

void add_operation_routes(std::vector<Route>& routes) {
    const std::string group{kGroupPattern};
    add(routes, std::string{kVaultPattern});
    add(routes, std::string{kInstancePattern});
    add(routes, group + "/providers/Microsoft.DataProtection");
    add(routes, group + "/providers/Microsoft.DataProtection/locations/{location}");
    add(routes,
        "/subscriptions/{subscriptionId}/providers/Microsoft.DataProtection/locations/{location}");
}

}  // namespace holdfast::control
