// GET /subscriptions, /tenants and what lies directly below a subscription.
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/config.h"
#include "control/identity/authorize.h"
#include "control/routes/lookup.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <array>
#include <set>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::RoleAssignmentRecord;
using catalog::ServerRecord;
using catalog::SubscriptionRecord;
using catalog::VaultRecord;

constexpr std::string_view kReadSubscription = "Microsoft.Resources/subscriptions/read";

Json subscription_document(const SubscriptionRecord& record) {
    return Json{
        {"id", "/subscriptions/" + record.id},
        {"subscriptionId", record.id},
        {"displayName", record.display_name},
        {"state", "Enabled"},
        {"tenantId", record.tenant_id},
        {"authorizationSource", "RoleBased"},
        {"managedByTenants", Json::array()},
        {"subscriptionPolicies", {{"quotaId", "Internal_2014-09-01"}, {"spendingLimit", "Off"}}}
    };
}

/// As in Azure, a role on anything inside a subscription shows the subscription.
bool may_see(
    const RequestContext& context, const catalog::View& view, const SubscriptionRecord& subscription
) {
    const std::string scope = "/subscriptions/" + subscription.id;
    if (context.services.authorizer.allows(context.principal, kReadSubscription, scope)) {
        return true;
    }
    bool found = false;
    view.each<RoleAssignmentRecord>(
        {.subject = context.principal.object_id},
        [&](const RoleAssignmentRecord& assignment) {
            found = scope_contains(scope, assignment.scope);
            return !found;
        }
    );
    return found;
}

Reply list_subscriptions(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        for (const SubscriptionRecord& record : view.list<SubscriptionRecord>()) {
            if (may_see(context, view, record)) {
                items.push_back(subscription_document(record));
            }
        }
    });
    return list_reply(context, std::move(items));
}

Reply get_subscription(const RequestContext& context) {
    Json document;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto record = require_subscription(view, context.path.at("subscriptionId"));
        if (!may_see(context, view, record)) {
            context.services.authorizer.authorize(
                context.principal, kReadSubscription, "/subscriptions/" + record.id
            );
        }
        document = subscription_document(record);
    });
    return Reply::ok(std::move(document));
}

Reply list_tenants(const RequestContext& context) {
    std::set<std::string> tenants;
    for (const auto& record : context.services.catalog.list<SubscriptionRecord>()) {
        tenants.insert(record.tenant_id);
    }
    std::vector<Json> items;
    for (const std::string& tenant : tenants) {
        items.push_back(
            Json{{"id", "/tenants/" + tenant}, {"tenantId", tenant}, {"displayName", "Holdfast"}}
        );
    }
    return list_reply(context, std::move(items));
}

struct Region {
    std::string_view name;
    std::string_view display_name;
};

/// So that scripts written with Azure's display names keep working: the clients map `West US` with
/// this list. A location is only a label here, and any other is accepted too.
constexpr std::array<Region, 32> kRegions{{
    {"australiacentral", "Australia Central"},
    {"australiaeast", "Australia East"},
    {"australiasoutheast", "Australia Southeast"},
    {"brazilsouth", "Brazil South"},
    {"canadacentral", "Canada Central"},
    {"canadaeast", "Canada East"},
    {"centralindia", "Central India"},
    {"centralus", "Central US"},
    {"eastasia", "East Asia"},
    {"eastus", "East US"},
    {"eastus2", "East US 2"},
    {"francecentral", "France Central"},
    {"germanywestcentral", "Germany West Central"},
    {"israelcentral", "Israel Central"},
    {"italynorth", "Italy North"},
    {"japaneast", "Japan East"},
    {"japanwest", "Japan West"},
    {"koreacentral", "Korea Central"},
    {"northcentralus", "North Central US"},
    {"northeurope", "North Europe"},
    {"norwayeast", "Norway East"},
    {"polandcentral", "Poland Central"},
    {"southafricanorth", "South Africa North"},
    {"southcentralus", "South Central US"},
    {"southeastasia", "Southeast Asia"},
    {"swedencentral", "Sweden Central"},
    {"switzerlandnorth", "Switzerland North"},
    {"uaenorth", "UAE North"},
    {"uksouth", "UK South"},
    {"westeurope", "West Europe"},
    {"westus", "West US"},
    {"westus2", "West US 2"},
}};

Reply list_locations(const RequestContext& context) {
    const std::string& subscription = context.path.at("subscriptionId");
    std::map<std::string, std::string> names;
    for (const Region& region : kRegions) {
        names.emplace(region.name, region.display_name);
    }
    const std::string& own = context.services.config.service.location;
    names.emplace(canonical_location(own), own);
    context.services.catalog.read([&](const catalog::View& view) {
        (void)require_subscription(view, subscription);
        view.each<VaultRecord>({}, [&](const VaultRecord& vault) {
            names.emplace(vault.location, vault.location);
            return true;
        });
        view.each<ServerRecord>({}, [&](const ServerRecord& server) {
            names.emplace(server.location, server.location);
            return true;
        });
    });
    std::vector<Json> items;
    for (const auto& [name, display_name] : names) {
        items.push_back(Json{
            {"id", fmt::format("/subscriptions/{}/locations/{}", subscription, name)},
            {"name", name},
            {"displayName", display_name},
            {"regionalDisplayName", display_name},
            {"type", "Region"},
            {"metadata", {{"regionType", "Physical"}}}
        });
    }
    return list_reply(context, std::move(items));
}

}  // namespace

void add_subscription_routes(std::vector<Route>& routes) {
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/subscriptions",
        .action = std::string{kReadSubscription},
        .summary = "Lists the subscriptions that the caller may see.",
        .handler = list_subscriptions,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/subscriptions/{subscriptionId}",
        .action = std::string{kReadSubscription},
        .summary = "Shows a subscription.",
        .handler = get_subscription,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/tenants",
        .action = "Microsoft.Resources/tenants/read",
        .summary = "Lists the tenants.",
        .handler = list_tenants,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/subscriptions/{subscriptionId}/locations",
        .action = "Microsoft.Resources/subscriptions/locations/read",
        .summary = "Lists the locations that resources may be labelled with.",
        .handler = list_locations,
        .access = Access::kAuthenticated,
    });
}

}  // namespace holdfast::control
