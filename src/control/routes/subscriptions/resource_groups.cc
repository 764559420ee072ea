// /subscriptions/{subscriptionId}/resourceGroups
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/arm.h"
#include "control/config.h"
#include "control/identity/authorize.h"
#include "control/routes/lookup.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::ResourceGroupRecord;
using catalog::ResourceGuardRecord;
using catalog::ServerRecord;
using catalog::VaultRecord;

constexpr std::string_view kReadGroup = "Microsoft.Resources/subscriptions/resourceGroups/read";

Json group_document(const ResourceGroupRecord& group) {
    return Json{
        {"id", group.id},
        {"name", group.name},
        {"type", "Microsoft.Resources/resourceGroups"},
        {"location", group.location},
        {"tags", group.tags},
        {"properties", {{"provisioningState", "Succeeded"}}}
    };
}

Reply group_reply(int status, const ResourceGroupRecord& group) {
    Reply reply = Reply::json(status, group_document(group));
    reply.headers.set("ETag", quote_etag(group.etag));
    return reply;
}

Reply list_groups(const RequestContext& context) {
    if (!context.request.query.get_or("$filter", "").empty()) {
        throw Error{
            ErrorKind::kUnsupportedOperation,
            ErrorText{
                .message = "Resource groups are listed without a filter only.",
                .target = "$filter",
                .recommended_actions = {"Leave $filter out and choose on the client's side."},
            }
        };
    }
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto subscription = require_subscription(view, context.path.at("subscriptionId"));
        view.each<ResourceGroupRecord>(
            {.parent = subscription.id},
            [&](const ResourceGroupRecord& group) {
                if (context.services.authorizer.allows(context.principal, kReadGroup, group.id)) {
                    items.push_back(group_document(group));
                }
                return true;
            }
        );
    });
    return list_reply(context, std::move(items));
}

Reply get_group(const RequestContext& context) {
    ResourceGroupRecord group;
    context.services.catalog.read([&](const catalog::View& view) {
        group = require_group(view, context);
    });
    return group_reply(200, group);
}

Reply head_group(const RequestContext& context) {
    (void)get_group(context);
    return Reply::empty(204);
}

Reply put_group(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ignored.note_unknown(
        body, {"id", "name", "type", "location", "tags", "properties", "managedBy"}
    );
    const std::string given = read_location(body, "");
    const auto tags = read_tags(body);
    ResourceGroupRecord group;
    bool created = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const ResourceId id = ResourceId::resource_group(
            context.path.at("subscriptionId"), context.path.at("resourceGroupName")
        );
        const auto existing = transaction.get<ResourceGroupRecord>(id.key());
        check_preconditions(
            context.request, existing ? std::optional{existing->etag} : std::nullopt
        );
        created = !existing.has_value();
        const std::string& fallback = context.services.config.service.location;
        group = ensure_group(transaction, context, given.empty() ? fallback : given);
        if (!given.empty() && group.location != given) {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = fmt::format(
                        "The resource group '{}' already exists in location '{}'.",
                        group.name,
                        group.location
                    ),
                    .target = "location",
                    .recommended_actions =
                        {"Give that location, or another name: a group does not move."},
                }
            };
        }
        group.tags = tags.value_or(Json::object());
        transaction.put(group);
    });
    Reply reply = group_reply(created ? 201 : 200, group);
    ignored.report(context, reply);
    return reply;
}

Reply patch_group(const RequestContext& context) {
    const auto tags = read_tags(body_reader(context));
    ResourceGroupRecord group;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        group = require_group(transaction, context);
        check_preconditions(context.request, group.etag);
        if (tags) {
            group.tags = *tags;
            transaction.put(group);
        }
    });
    return group_reply(200, group);
}

Reply delete_group(const RequestContext& context) {
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const ResourceGroupRecord group = require_group(transaction, context);
        check_preconditions(context.request, group.etag);
        const auto vaults = transaction.count<VaultRecord>({.parent = group.id});
        const auto servers = transaction.count<ServerRecord>({.parent = group.id});
        // A guard that went with its group would leave its vaults open or locked for ever.
        const auto guards = transaction.count<ResourceGuardRecord>({.parent = group.id});
        if (vaults + servers + guards != 0) {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = fmt::format(
                        "The resource group '{}' holds {} backup vault(s), {} server(s) and {} "
                        "resource "
                        "guard(s); deleting a group never deletes what it holds.",
                        group.name,
                        vaults,
                        servers,
                        guards
                    ),
                    .target = group.id,
                    .recommended_actions = {"Delete what it holds, one by one, first."},
                }
            };
        }
        transaction.remove<ResourceGroupRecord>(group.id);
    });
    return Reply::empty(200);
}

}  // namespace

void add_resource_group_routes(std::vector<Route>& routes) {
    const std::string group{kGroupPattern};
    const std::string action = "Microsoft.Resources/subscriptions/resourceGroups/";
    const auto add = [&](Verb verb, std::string verb_action, std::string summary, Handler handler) {
        routes.push_back(Route{
            .verb = verb,
            .pattern = group,
            .action = action + std::move(verb_action),
            .summary = std::move(summary),
            .handler = std::move(handler),
            .body =
                verb == Verb::kPut || verb == Verb::kPatch ? BodyRule::kRequired : BodyRule::kNone,
        });
    };
    add(Verb::kGet, "read", "Shows a resource group.", get_group);
    add(Verb::kHead, "read", "Tells whether a resource group exists.", head_group);
    add(Verb::kPut, "write", "Creates a resource group or replaces its tags.", put_group);
    add(Verb::kPatch, "write", "Changes a resource group's tags.", patch_group);
    add(Verb::kDelete, "delete", "Deletes an empty resource group.", delete_group);
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/subscriptions/{subscriptionId}/resourceGroups",
        .action = std::string{kReadGroup},
        .summary = "Lists the resource groups of a subscription that the caller may read.",
        .handler = list_groups,
        .access = Access::kAuthenticated,
    });
}

}  // namespace holdfast::control
