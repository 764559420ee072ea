// …/backupVaults/{vaultName}/backupResourceGuardProxies
#include "alerts/outbox.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/alert_rules.h"
#include "control/arm.h"
#include "control/guards.h"
#include "control/identity/authorize.h"
#include "control/resource_id.h"
#include "control/routes/lookup.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::GuardProxyRecord;
using catalog::ResourceGuardRecord;
using catalog::VaultRecord;

constexpr NameRule kProxyRule{
    .what = "resource guard mapping", .length_min = 1, .length_max = 90, .extra_characters = "-_"
};
constexpr auto kUnlockWindow = std::chrono::minutes{30};

std::string proxy_id(const RequestContext& context, const VaultRecord& vault) {
    return child_id(vault.id, "backupResourceGuardProxies", context.path.at("proxyName"));
}

GuardProxyRecord require_proxy(
    const catalog::View& view, const RequestContext& context, const VaultRecord& vault
) {
    const std::string id = proxy_id(context, vault);
    auto found = view.get<GuardProxyRecord>(id);
    if (!found) {
        throw not_found(ErrorKind::kResourceNotFound, kProxyType, context.path.at("proxyName"), id);
    }
    return *std::move(found);
}

/// Also names what can be asked for at the guard; what it leaves out is not there.
Json proxy_document(const catalog::View& view, const GuardProxyRecord& proxy) {
    const auto guard = view.get<ResourceGuardRecord>(proxy.guard_id);
    Json operations = Json::array();
    for (const CriticalOperationRow& row : critical_operations()) {
        const bool excluded =
            guard && std::any_of(
                         guard->exclusions.begin(),
                         guard->exclusions.end(),
                         [&](const std::string& one) { return one == row.wire_name; }
                     );
        if (!excluded) {
            operations.push_back(
                {{"vaultCriticalOperation", row.wire_name},
                 {"defaultResourceRequest",
                  fmt::format("{}/{}/default", proxy.guard_id, row.request_kind)}}
            );
        }
    }
    return Json{
        {"id", proxy.id},
        {"name", proxy.name},
        {"type", kProxyType},
        {"properties",
         {{"resourceGuardResourceId", proxy.guard_id},
          {"resourceGuardOperationDetails", std::move(operations)},
          {"lastUpdatedTime", format_instant(proxy.modified_at)}}}
    };
}

Reply proxy_reply(const catalog::View& view, const GuardProxyRecord& proxy) {
    Reply reply = Reply::ok(proxy_document(view, proxy));
    reply.headers.set("ETag", quote_etag(proxy.etag));
    return reply;
}

Reply list_proxies(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const VaultRecord vault = require_vault(view, context);
        for (const GuardProxyRecord& proxy : view.list<GuardProxyRecord>({.parent = vault.id})) {
            items.push_back(proxy_document(view, proxy));
        }
    });
    return list_reply(context, std::move(items));
}

Reply get_proxy(const RequestContext& context) {
    Reply reply;
    context.services.catalog.read([&](const catalog::View& view) {
        reply = proxy_reply(view, require_proxy(view, context, require_vault(view, context)));
    });
    return reply;
}

ResourceGuardRecord require_named_guard(
    const catalog::View& view, const RequestContext& context, const JsonReader& member
) {
    const ResourceId id = ResourceId::parse(member.as_string(), member.path());
    if (!id.is_type(kGuardType)) {
        member.fail("This is no resource guard's id.", std::string{kGuardType});
    }
    // Who may not see the guard does not learn whether it is there.
    context.services.authorizer.authorize(
        context.principal, fmt::format("{}/read", kGuardType), id.text()
    );
    auto guard = view.get<ResourceGuardRecord>(id.key());
    if (!guard) {
        throw not_found(ErrorKind::kResourceNotFound, kGuardType, id.name(), member.path());
    }
    return *std::move(guard);
}

Reply put_proxy(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(body, {"id", "name", "type", "properties", "systemData"});
    const JsonReader properties = body.member("properties");
    ignored.note_unknown(
        properties,
        {"resourceGuardResourceId",
         "resourceGuardOperationDetails",
         "lastUpdatedTime",
         "description"}
    );
    const JsonReader named = properties.member("resourceGuardResourceId");
    Reply reply;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const VaultRecord vault = require_vault(transaction, context);
        const ResourceGuardRecord guard = require_named_guard(transaction, context, named);
        const std::string id = proxy_id(context, vault);
        const auto existing = transaction.get<GuardProxyRecord>(id);
        check_preconditions(
            context.request, existing ? std::optional{existing->etag} : std::nullopt
        );
        GuardProxyRecord proxy;
        if (existing) {
            proxy = *existing;
            if (!equal_ignoring_case(proxy.guard_id, guard.id)) {
                // To put a guard of one's own in the place of the present one is to remove it.
                require_unlocked(transaction, context, vault, CriticalOperation::kRemoveMapping);
                proxy.unlocks = Json::array();
                context.services.alerts.raise_in(
                    transaction,
                    event_by(
                        context,
                        alerts::Kind::kGuardRemoved,
                        proxy.id,
                        fmt::format(
                            "replaced the guard {} of the vault {} by {}",
                            proxy.guard_id,
                            vault.id,
                            guard.id
                        )
                    )
                );
            }
        } else {
            proxy.name = context.path.at("proxyName");
            require_name(proxy.name, kProxyRule);
            proxy.id = id;
            proxy.vault_id = vault.id;
            proxy.created_at = transaction.now();
        }
        proxy.guard_id = guard.id;
        transaction.put(proxy);
        reply = proxy_reply(transaction, proxy);
    });
    // 200 for a new one too: the clients take no other status here.
    ignored.report(context, reply);
    return reply;
}

Reply delete_proxy(const RequestContext& context) {
    bool removed = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const VaultRecord vault = require_vault(transaction, context);
        const auto proxy = transaction.get<GuardProxyRecord>(proxy_id(context, vault));
        if (!proxy) {
            return;
        }
        check_preconditions(context.request, proxy->etag);
        require_unlocked(transaction, context, vault, CriticalOperation::kRemoveMapping);
        removed = transaction.remove<GuardProxyRecord>(proxy->id);
    });
    return Reply::empty(removed ? 200 : 204);
}

/// The deletions that a window can be opened for.
std::vector<CriticalOperation> named_deletions(
    const JsonReader& body, const std::vector<std::string>& requests
) {
    std::vector<CriticalOperation> out;
    for (const std::string& request : requests) {
        for (const CriticalOperation operation :
             {CriticalOperation::kDeleteInstance, CriticalOperation::kRemoveMapping}) {
            for (const std::string& segment : split(request, '/')) {
                const CriticalOperationRow* row = find_request_kind(segment);
                if (row != nullptr && row->operation == operation) {
                    out.push_back(operation);
                }
            }
        }
    }
    if (out.empty()) {
        body.member("resourceGuardOperationRequests")
            .fail(
                "No request for a deletion is named.",
                "{guard}/deleteBackupInstanceRequests/default or "
                "{guard}/deleteResourceGuardProxyRequests/default"
            );
    }
    return out;
}

/// An approved request opens a short window, in which its holder may delete.
Reply unlock_delete(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    const std::vector<std::string> requests = read_guard_requests(body);
    const std::vector<CriticalOperation> operations = named_deletions(body, requests);
    Instant until{};
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const VaultRecord vault = require_vault(transaction, context);
        GuardProxyRecord proxy = require_proxy(transaction, context, vault);
        until = transaction.now() + kUnlockWindow;
        const std::int64_t now = transaction.now().time_since_epoch().count();
        Json windows = Json::array();
        for (const Json& window : proxy.unlocks) {
            if (window.value("until", std::int64_t{0}) > now) {
                windows.push_back(window);
            }
        }
        for (const CriticalOperation operation : operations) {
            require_guard_approval(transaction, context, vault, operation, requests);
            windows.push_back(
                {{"principalId", context.principal.object_id},
                 {"operation", row_of(operation).short_name},
                 {"until", until.time_since_epoch().count()}}
            );
        }
        proxy.unlocks = std::move(windows);
        transaction.put(proxy);
    });
    return Reply::ok(Json{{"unlockDeleteExpiryTime", format_instant(until)}});
}

}  // namespace

void add_guard_proxy_routes(std::vector<Route>& routes) {
    const std::string collection = std::string{kVaultPattern} + "/backupResourceGuardProxies";
    const std::string item = collection + "/{proxyName}";
    const std::string action = "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/";
    const auto add = [&](Verb verb,
                         const std::string& pattern,
                         const std::string& last,
                         std::string summary,
                         Handler handler,
                         BodyRule body = BodyRule::kNone) {
        routes.push_back(Route{
            .verb = verb,
            .pattern = pattern,
            .action = action + last,
            .summary = std::move(summary),
            .handler = std::move(handler),
            .body = body,
        });
    };
    add(Verb::kGet, collection, "read", "Lists the resource guards of a vault.", list_proxies);
    add(Verb::kGet, item, "read", "Shows which resource guard protects a vault.", get_proxy);
    add(Verb::kPut,
        item,
        "write",
        "Puts a vault under a resource guard.",
        put_proxy,
        BodyRule::kRequired);
    add(Verb::kDelete,
        item,
        "delete",
        "Takes a vault from under its resource guard, once unlockDelete allowed it.",
        delete_proxy);
    add(Verb::kPost,
        item + "/unlockDelete",
        "unlockDelete/action",
        "Opens a window of thirty minutes in which the caller may delete what was approved.",
        unlock_delete,
        BodyRule::kRequired);
}

}  // namespace holdfast::control
