// GET /metadata/endpoints: what `az cloud register` reads.
#include "control/arm.h"
#include "control/config.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

/// One cloud as api-versions from 2019-05-01 describe it.
Json cloud_description(const std::string& base, const std::string& key_vault_dns) {
    const std::string origin = base + "/";
    // The authority must end in /adfs: only then do the clients stay away from Microsoft's
    // directory of authorities.
    const Json authentication{
        {"loginEndpoint", base + "/adfs"},
        {"audiences", Json::array({origin})},
        {"tenant", "common"},
        {"identityProvider", "ADFS"}
    };
    std::string host = base.substr(base.find("://") + 3);
    std::string port;
    if (const auto colon = host.rfind(':'); colon != std::string::npos && !host.ends_with(']')) {
        port = host.substr(colon);
        host.resize(colon);
    }
    return Json{
        {"name", "Holdfast"},
        {"portal", base},
        {"resourceManager", origin},
        {"graph", origin},
        {"graphAudience", origin},
        {"microsoftGraphResourceId", origin},
        {"gallery", origin},
        {"batch", origin},
        {"sqlManagement", origin},
        {"media", origin},
        {"vmImageAliasDoc", origin + "aliases.json"},
        {"activeDirectoryDataLake", origin},
        {"authentication", authentication},
        {"suffixes",
         {{"storage", host},
          // Clients put a vault's name in front and https before it: the port has to be there.
          {"keyVaultDns", (key_vault_dns.empty() ? host : key_vault_dns) + port},
          {"sqlServerHostname", host},
          {"acrLoginServer", host}}}
    };
}

Reply get_endpoints(const RequestContext& context) {
    const std::string version = context.request.query.get_or("api-version", "");
    const std::string& base = context.base_url;
    const std::string origin = base + "/";
    if (version < "2018-01-01") {
        return Reply::ok(Json{
            {"galleryEndpoint", origin},
            {"graphEndpoint", origin},
            {"portalEndpoint", origin},
            {"authentication",
             {{"loginEndpoint", base + "/adfs"}, {"audiences", Json::array({origin})}}}
        });
    }
    const Json cloud = cloud_description(base, context.services.config.service.key_vault_dns);
    // ARM_CLOUD_METADATA_URL is read with the versions that answered a list of clouds.
    return Reply::ok(version < "2022-01-01" ? Json::array({cloud}) : cloud);
}

}  // namespace

void add_metadata_routes(std::vector<Route>& routes) {
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/metadata/endpoints",
        .action = "Microsoft.Resources/metadata/read",
        .summary = "Describes this cloud to clients that register it.",
        .handler = get_endpoints,
        .access = Access::kAnonymous,
    });
}

}  // namespace holdfast::control
