// /subscriptions/{subscriptionId}/providers: what generic clients (`az resource`, Terraform) ask
// before they send anything else.
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/routes/lookup.h"
#include "control/routes/route_groups.h"
#include "control/routes/routes.h"
#include "control/services.h"

#include <map>
#include <set>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

/// The version that a generic client picks is the first: the newest whose shape the namespace has.
std::vector<std::string> versions_of(std::string_view name) {
    if (name == kDataProtection) {
        return {
            "2024-04-01",
            "2026-03-01",
            "2025-09-01",
            "2025-07-01",
            "2025-02-01",
            "2025-01-01",
            "2024-03-01",
            "2023-12-01",
            "2023-11-01",
            "2023-05-01",
            "2023-01-01",
            "2022-12-01",
            "2022-05-01",
            "2022-04-01",
            "2022-03-01",
            "2022-01-01",
            "2021-07-01",
            "2021-01-01"
        };
    }
    if (name == "Microsoft.DBforPostgreSQL") {
        return {"2022-12-01"};
    }
    if (name == "Microsoft.KeyVault") {
        return {"2023-02-01"};
    }
    return {name == "Microsoft.Authorization" ? "2022-04-01" : "2022-09-01"};
}

/// The namespace of a pattern and the resource type that it names, read off its last `/providers/`:
/// literals and parameters take turns from there on; what comes behind is a verb.
struct NamedType {
    std::string provider;
    std::string type;
};

std::optional<NamedType> type_of(const Route& route) {
    const std::size_t at = route.pattern.rfind("/providers/");
    if (at == std::string::npos || !route.pattern.starts_with("/subscriptions/")) {
        return std::nullopt;
    }
    const std::vector<std::string> parts = split(route.pattern.substr(at + 11), '/');
    NamedType out{.provider = parts.front(), .type = {}};
    for (std::size_t i = 1; i < parts.size(); i += 2) {
        const bool named = !parts[i].starts_with('{') &&
                           (i + 1 == parts.size() || parts[i + 1].starts_with('{'));
        if (!named || (route.verb == Verb::kPost && i + 1 == parts.size())) {
            break;
        }
        out.type += (out.type.empty() ? "" : "/") + parts[i];
    }
    return out.type.empty() || out.provider.starts_with('{') ? std::nullopt : std::optional{out};
}

using TypesByProvider = std::map<std::string, std::set<std::string>>;

TypesByProvider read_off_the_routes() {
    TypesByProvider types;
    for (const Route& route : all_routes()) {
        if (const auto named = type_of(route)) {
            types[named->provider].insert(named->type);
        }
    }
    types["Microsoft.Authorization"] = {"roleAssignments", "roleDefinitions"};
    types["Microsoft.Resources"] = {"subscriptions", "resourceGroups"};
    return types;
}

const TypesByProvider& types_by_provider() {
    static const TypesByProvider types = read_off_the_routes();
    return types;
}

Json provider_document(
    const RequestContext& context, const std::string& name, const std::set<std::string>& types
) {
    Json list = Json::array();
    for (const std::string& type : types) {
        list.push_back(
            {{"resourceType", type},
             {"locations", Json::array()},
             {"apiVersions", versions_of(name)},
             {"capabilities", "SupportsTags"}}
        );
    }
    return Json{
        {"id",
         fmt::format("/subscriptions/{}/providers/{}", context.path.at("subscriptionId"), name)},
        {"namespace", name},
        {"registrationState", "Registered"},
        {"registrationPolicy", "RegistrationFree"},
        {"resourceTypes", std::move(list)}
    };
}

void require_known_subscription(const RequestContext& context) {
    context.services.catalog.read([&](const catalog::View& view) {
        (void)require_subscription(view, context.path.at("subscriptionId"));
    });
}

Reply list_providers(const RequestContext& context) {
    require_known_subscription(context);
    std::vector<Json> items;
    for (const auto& [name, types] : types_by_provider()) {
        items.push_back(provider_document(context, name, types));
    }
    return list_reply(context, std::move(items));
}

/// Also the answer to `register`: there is nothing that would have to be switched on.
Reply get_provider(const RequestContext& context) {
    require_known_subscription(context);
    const std::string& wanted = context.path.at("providerNamespace");
    for (const auto& [name, types] : types_by_provider()) {
        if (equal_ignoring_case(name, wanted)) {
            return Reply::ok(provider_document(context, name, types));
        }
    }
    throw Error{
        ErrorKind::kResourceNotFound,
        ErrorText{
            .message =
                fmt::format("The resource namespace '{}' is not one of this server.", wanted),
            .target = wanted,
            .recommended_actions = {"List the namespaces: GET /subscriptions/{id}/providers."},
        }
    };
}

}  // namespace

void add_resource_provider_routes(std::vector<Route>& routes) {
    const std::string collection = "/subscriptions/{subscriptionId}/providers";
    const auto add = [&](Verb verb, std::string pattern, std::string summary, Handler handler) {
        routes.push_back(Route{
            .verb = verb,
            .pattern = std::move(pattern),
            .action = "Microsoft.Resources/subscriptions/providers/read",
            .summary = std::move(summary),
            .handler = std::move(handler),
            .access = Access::kAuthenticated,
            .auditing = Auditing::kNever,
        });
    };
    add(Verb::kGet,
        collection,
        "Lists the resource providers of this server with their types.",
        list_providers);
    add(Verb::kGet,
        collection + "/{providerNamespace}",
        "Shows a resource provider with its types and api-versions.",
        get_provider);
    add(Verb::kPost,
        collection + "/{providerNamespace}/register",
        "Answers what is true already: every provider is registered.",
        get_provider);
}

}  // namespace holdfast::control
