// …/providers/Microsoft.KeyVault/vaults and Microsoft.Storage/storageAccounts: the ARM side of what
// has only a data plane here, as clients look it up before they use it; and the firewall of a
// single server, which `update-msi-permissions` asks for.
#include "base/text.h"
#include "catalog/catalog.h"
#include "catalog/secret_store.h"
#include "control/arm.h"
#include "control/config.h"
#include "control/identity/authorize.h"
#include "control/key_vault_names.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <set>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::ServerRecord;

constexpr std::string_view kKeyVaultType = "Microsoft.KeyVault/vaults";
constexpr std::string_view kAccountType = "Microsoft.Storage/storageAccounts";
constexpr std::string_view kAccount = "holdfast";

/// `https://kv1.HOST:PORT/`; of the default vault, the server's own origin.
std::string uri_of(const RequestContext& context, const std::string& vault) {
    const Config& config = context.services.config;
    const std::string& origin = context.base_url;
    if (vault == catalog::SecretStore::kDefaultStore) {
        return origin + "/";
    }
    const std::size_t host = origin.find("://") + 3;
    const std::size_t colon = origin.find(':', host);
    const std::string port = colon == std::string::npos ? "" : origin.substr(colon);
    const std::string suffix = config.service.key_vault_dns.empty()
                                   ? origin.substr(host, colon - host)
                                   : config.service.key_vault_dns;
    return fmt::format("{}{}.{}{}/", origin.substr(0, host), vault, suffix, port);
}

std::set<std::string> key_vaults_of(const Config& config) {
    std::set<std::string> names{std::string{catalog::SecretStore::kDefaultStore}};
    for (const std::string& name : config.service.key_vaults) {
        names.insert(to_lower(name));
    }
    return names;
}

struct Owner {
    std::string subscription;
    std::string tenant;
};

Owner owner_of(const RequestContext& context) {
    Owner owner;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto record = require_subscription(view, context.path.at("subscriptionId"));
        owner = {.subscription = record.id, .tenant = record.tenant_id};
    });
    return owner;
}

Json key_vault_document(
    const RequestContext& context, const Owner& owner, const std::string& vault
) {
    const Config& config = context.services.config;
    return Json{
        {"id", key_vault_id(config, owner.subscription, vault)},
        {"name", vault},
        {"type", kKeyVaultType},
        {"location", config.service.location},
        {"tags", Json::object()},
        {"properties",
         {{"tenantId", owner.tenant},
          {"sku", {{"family", "A"}, {"name", "standard"}}},
          {"vaultUri", uri_of(context, vault)},
          {"enableRbacAuthorization", true},
          {"enableSoftDelete", false},
          {"accessPolicies", Json::array()},
          {"networkAcls",
           {{"bypass", "AzureServices"},
            {"defaultAction", "Allow"},
            {"ipRules", Json::array()},
            {"virtualNetworkRules", Json::array()}}},
          {"publicNetworkAccess", "Enabled"},
          {"provisioningState", "Succeeded"}}}
    };
}

Json account_document(const RequestContext& context, const Owner& owner) {
    const Config& config = context.services.config;
    return Json{
        {"id", restore_container_id(config, owner.subscription, "")},
        {"name", kAccount},
        {"type", kAccountType},
        {"kind", "BlobStorage"},
        {"sku", {{"name", "Standard_LRS"}, {"tier", "Standard"}}},
        {"location", config.service.location},
        {"tags", Json::object()},
        {"properties",
         {{"provisioningState", "Succeeded"},
          {"statusOfPrimary", "available"},
          {"allowCrossTenantReplication", true},
          {"publicNetworkAccess", "Enabled"},
          {"primaryEndpoints", {{"blob", context.base_url + "/restore/"}}}}}
    };
}

/// Both kinds lie in the default group alone.
bool in_default_group(const RequestContext& context) {
    return !context.path.has("resourceGroupName") ||
           equal_ignoring_case(
               context.path.at("resourceGroupName"), context.services.config.service.resource_group
           );
}

bool may_read(const RequestContext& context, std::string_view type, const Json& document) {
    return context.services.authorizer.allows(
        context.principal,
        fmt::format("{}/read", type),
        document.at("id").get_ref<const std::string&>()
    );
}

Reply list_key_vaults(const RequestContext& context) {
    const Owner owner = owner_of(context);
    std::vector<Json> items;
    for (const std::string& name : key_vaults_of(context.services.config)) {
        Json document = key_vault_document(context, owner, name);
        if (in_default_group(context) && may_read(context, kKeyVaultType, document)) {
            items.push_back(std::move(document));
        }
    }
    return list_reply(context, std::move(items));
}

Reply get_key_vault(const RequestContext& context) {
    const Owner owner = owner_of(context);
    const std::string name = to_lower(context.path.at("keyVaultName"));
    if (!in_default_group(context) || !key_vaults_of(context.services.config).contains(name)) {
        throw not_found(ErrorKind::kResourceNotFound, kKeyVaultType, name, context.scope);
    }
    return Reply::ok(key_vault_document(context, owner, name));
}

Reply list_accounts(const RequestContext& context) {
    std::vector<Json> items;
    Json document = account_document(context, owner_of(context));
    if (in_default_group(context) && may_read(context, kAccountType, document)) {
        items.push_back(std::move(document));
    }
    return list_reply(context, std::move(items));
}

Reply get_account(const RequestContext& context) {
    const Owner owner = owner_of(context);
    const std::string& name = context.path.at("accountName");
    if (!in_default_group(context) || !equal_ignoring_case(name, kAccount)) {
        throw not_found(ErrorKind::kResourceNotFound, kAccountType, name, context.scope);
    }
    return Reply::ok(account_document(context, owner));
}

/// Whether "Azure services" reach the server is what the client wants to know, and would open the
/// firewall for. They do: a registered server is one that this server connects to.
Reply list_firewall_rules(const RequestContext& context) {
    ServerRecord server;
    context.services.catalog.read([&](const catalog::View& view) {
        server = require_server(view, context);
    });
    const std::string id = fmt::format(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.DBforPostgreSQL/servers/{}",
        server.subscription_id,
        server.resource_group,
        server.name
    );
    constexpr std::string_view kRule = "AllowAllWindowsAzureIps";
    return list_reply(
        context,
        {Json{
            {"id", child_id(id, "firewallRules", kRule)},
            {"name", kRule},
            {"type", "Microsoft.DBforPostgreSQL/servers/firewallRules"},
            {"properties", {{"startIpAddress", "0.0.0.0"}, {"endIpAddress", "0.0.0.0"}}}
        }}
    );
}

/// One collection, below a subscription and below a group, and its items.
void add_read_routes(
    std::vector<Route>& routes,
    std::string_view type,
    std::string_view parameter,
    std::string_view what,
    const Handler& list,
    const Handler& get
) {
    const std::string below = fmt::format("/providers/{}", type);
    const auto add = [&](std::string pattern, std::string summary, Handler handler, Access access) {
        routes.push_back(Route{
            .verb = Verb::kGet,
            .pattern = std::move(pattern),
            .action = fmt::format("{}/read", type),
            .summary = std::move(summary),
            .handler = std::move(handler),
            .access = access,
        });
    };
    add("/subscriptions/{subscriptionId}" + below,
        fmt::format("Lists the {}s that the caller may read.", what),
        list,
        Access::kAuthenticated);
    add(std::string{kGroupPattern} + below,
        fmt::format("Lists the {}s of a resource group that the caller may read.", what),
        list,
        Access::kAuthenticated);
    add(fmt::format("{}{}/{{{}}}", kGroupPattern, below, parameter),
        fmt::format("Shows a {} and where it is reached.", what),
        get,
        Access::kAuthorized);
}

}  // namespace

void add_key_vault_routes(std::vector<Route>& routes) {
    add_read_routes(
        routes, kKeyVaultType, "keyVaultName", "key vault", list_key_vaults, get_key_vault
    );
    add_read_routes(
        routes, kAccountType, "accountName", "storage account", list_accounts, get_account
    );
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = std::string{kGroupPattern} +
                   "/providers/Microsoft.DBforPostgreSQL/servers/{serverName}/firewallRules",
        .action = "Microsoft.DBforPostgreSQL/servers/firewallRules/read",
        .summary = "Lists the one rule that a registered server has: this server reaches it.",
        .handler = list_firewall_rules,
    });
}

}  // namespace holdfast::control
