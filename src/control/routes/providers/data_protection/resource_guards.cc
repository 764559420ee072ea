// …/providers/Microsoft.DataProtection/resourceGuards and the requests for what they protect
#include "alerts/outbox.h"
#include "base/ids.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/alert_rules.h"
#include "control/arm.h"
#include "control/config.h"
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
using catalog::GuardRequestRecord;
using catalog::ResourceGuardRecord;

constexpr NameRule kGuardRule{
    .what = "resource guard", .length_min = 1, .length_max = 90, .extra_characters = "-_.()"
};
constexpr NameRule kRequestRule{
    .what = "request", .length_min = 1, .length_max = 90, .extra_characters = "-_.()"
};
constexpr std::string_view kReadGuard = "Microsoft.DataProtection/resourceGuards/read";
constexpr std::int64_t kApprovalMinutesDefault = 60;
constexpr std::int64_t kApprovalMinutesMax = 24 * 60;
constexpr std::size_t kJustificationMax = 1024;

ResourceId guard_id_of(const RequestContext& context) {
    return ResourceId::resource_group(
               context.path.at("subscriptionId"), context.path.at("resourceGroupName")
    )
        .provider_child(kDataProtection, "resourceGuards", context.path.at("guardName"));
}

ResourceGuardRecord require_guard(const catalog::View& view, const RequestContext& context) {
    const ResourceId id = guard_id_of(context);
    auto found = view.get<ResourceGuardRecord>(id.key());
    if (!found) {
        (void)require_group(view, context);
        throw not_found(ErrorKind::kResourceNotFound, kGuardType, id.name(), id.text());
    }
    return *std::move(found);
}

Json guard_document(const ResourceGuardRecord& guard) {
    Json operations = Json::array();
    for (const CriticalOperationRow& row : critical_operations()) {
        operations.push_back(
            {{"vaultCriticalOperation", row.wire_name},
             {"requestResourceType", fmt::format("{}/{}", kGuardType, row.request_kind)}}
        );
    }
    return Json{
        {"id", guard.id},
        {"name", guard.name},
        {"type", kGuardType},
        {"location", guard.location},
        {"tags", guard.tags},
        {"properties",
         {{"provisioningState", "Succeeded"},
          {"allowAutoApprovals", true},
          {"resourceGuardOperations", std::move(operations)},
          {"vaultCriticalOperationExclusionList", guard.exclusions},
          {"description",
           "A vault that is mapped to this guard needs a second person's approval for these "
           "operations."}}}
    };
}

Reply guard_reply(int status, const ResourceGuardRecord& guard) {
    Reply reply = Reply::json(status, guard_document(guard));
    reply.headers.set("ETag", quote_etag(guard.etag));
    return reply;
}

std::vector<Json> readable_guards(
    const RequestContext& context, const catalog::View& view, const catalog::Query& query
) {
    std::vector<Json> items;
    view.each<ResourceGuardRecord>(query, [&](const ResourceGuardRecord& guard) {
        if (context.services.authorizer.allows(context.principal, kReadGuard, guard.id)) {
            items.push_back(guard_document(guard));
        }
        return true;
    });
    return items;
}

Reply list_by_subscription(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto subscription = require_subscription(view, context.path.at("subscriptionId"));
        items = readable_guards(
            context, view, {.parent_prefix = fmt::format("/subscriptions/{}/", subscription.id)}
        );
    });
    return list_reply(context, std::move(items));
}

Reply list_by_group(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        items = readable_guards(context, view, {.parent = require_group(view, context).id});
    });
    return list_reply(context, std::move(items));
}

Reply get_guard(const RequestContext& context) {
    ResourceGuardRecord guard;
    context.services.catalog.read([&](const catalog::View& view) {
        guard = require_guard(view, context);
    });
    return guard_reply(200, guard);
}

/// The wire names of the operations that the guard is not to protect, in canonical spelling.
std::vector<std::string> read_exclusions(const JsonReader& list) {
    std::vector<std::string> out;
    for (const JsonReader& one : list.elements()) {
        const std::string& name = one.as_string();
        const CriticalOperationRow* found = nullptr;
        std::string allowed;
        for (const CriticalOperationRow& row : critical_operations()) {
            if (row.exclusion == CriticalOperationRow::Exclusion::kNever) {
                continue;
            }
            allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", row.wire_name);
            if (equal_ignoring_case(row.wire_name, name)) {
                found = &row;
            }
        }
        if (found == nullptr) {
            one.fail("No operation that a guard may leave out.", allowed);
        }
        if (std::find(out.begin(), out.end(), found->wire_name) == out.end()) {
            out.emplace_back(found->wire_name);
        }
    }
    return out;
}

/// Both PUT and PATCH: what the body says, on top of `guard`.
void apply_body(
    const RequestContext& context,
    const JsonReader& body,
    ResourceGuardRecord& guard,
    IgnoredProperties& ignored
) {
    ignored.note_unknown(
        body,
        {"id", "name", "type", "location", "tags", "properties", "systemData", "eTag", "identity"}
    );
    const bool replaces = context.request.verb == Verb::kPut;
    if (const auto tags = read_tags(body)) {
        guard.tags = *tags;
    } else if (replaces) {
        guard.tags = Json::object();
    }
    const std::string location = read_location(body, guard.location);
    if (!guard.location.empty() && location != guard.location) {
        throw Error{
            ErrorKind::kConflict,
            ErrorText{
                .message = fmt::format(
                    "The resource guard '{}' already exists in location '{}'.",
                    guard.name,
                    guard.location
                ),
                .target = "location",
                .recommended_actions = {"Give that location: a guard does not move."},
            }
        };
    }
    guard.location =
        location.empty() ? canonical_location(context.services.config.service.location) : location;
    const auto properties = body.optional_member("properties");
    if (!properties) {
        if (replaces) {
            guard.exclusions.clear();
        }
        return;
    }
    ignored.note_unknown(
        *properties,
        {"provisioningState",
         "allowAutoApprovals",
         "resourceGuardOperations",
         "vaultCriticalOperationExclusionList",
         "description"}
    );
    if (const auto list = properties->optional_member("vaultCriticalOperationExclusionList")) {
        guard.exclusions = read_exclusions(*list);
    } else if (replaces) {
        guard.exclusions.clear();
    }
}

/// An operation that is excluded from now on needs nobody's word any more.
void raise_new_exclusions(
    catalog::Transaction& transaction,
    const RequestContext& context,
    const ResourceGuardRecord& before,
    const ResourceGuardRecord& after
) {
    std::vector<std::string> added;
    for (const std::string& operation : after.exclusions) {
        const bool known = std::any_of(
            before.exclusions.begin(),
            before.exclusions.end(),
            [&](const std::string& each) { return equal_ignoring_case(each, operation); }
        );
        if (!known) {
            added.push_back(operation);
        }
    }
    if (added.empty()) {
        return;
    }
    context.services.alerts.raise_in(
        transaction,
        event_by(
            context,
            alerts::Kind::kGuardWeakened,
            after.id,
            fmt::format("excluded {} from the guard {}", join(added, ", "), after.id)
        )
    );
}

Reply put_guard(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ResourceGuardRecord guard;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const ResourceId id = guard_id_of(context);
        const auto existing = transaction.get<ResourceGuardRecord>(id.key());
        check_preconditions(
            context.request, existing ? std::optional{existing->etag} : std::nullopt
        );
        ignored = {};
        guard = existing.value_or(ResourceGuardRecord{});
        if (!existing) {
            require_name(id.name(), kGuardRule);
            guard.name = id.name();
        }
        apply_body(context, body, guard, ignored);
        if (!existing) {
            const auto group = ensure_group(transaction, context, guard.location);
            guard.subscription_id = group.subscription_id;
            guard.resource_group = group.name;
            guard.id = ResourceId::resource_group(group.subscription_id, group.name)
                           .provider_child(kDataProtection, "resourceGuards", guard.name)
                           .text();
            guard.created_at = transaction.now();
        } else {
            raise_new_exclusions(transaction, context, *existing, guard);
        }
        transaction.put(guard);
    });
    Reply reply = guard_reply(200, guard);
    ignored.report(context, reply);
    return reply;
}

Reply patch_guard(const RequestContext& context) {
    const JsonReader body = body_reader(context);
    IgnoredProperties ignored;
    ResourceGuardRecord guard;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        guard = require_guard(transaction, context);
        check_preconditions(context.request, guard.etag);
        ignored = {};
        const ResourceGuardRecord before = guard;
        apply_body(context, body, guard, ignored);
        raise_new_exclusions(transaction, context, before, guard);
        transaction.put(guard);
    });
    Reply reply = guard_reply(200, guard);
    ignored.report(context, reply);
    return reply;
}

Reply delete_guard(const RequestContext& context) {
    bool removed = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const auto guard = transaction.get<ResourceGuardRecord>(guard_id_of(context).key());
        if (!guard) {
            return;
        }
        check_preconditions(context.request, guard->etag);
        const auto mapped = transaction.list<GuardProxyRecord>({.subject = guard->id, .limit = 1});
        if (!mapped.empty()) {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = fmt::format(
                        "The resource guard '{}' protects a backup vault: {}.",
                        guard->name,
                        mapped.front().vault_id
                    ),
                    .target = guard->id,
                    .recommended_actions = {"Delete the vault's mapping to the guard first."},
                }
            };
        }
        for (const auto& request : transaction.list<GuardRequestRecord>({.parent = guard->id})) {
            transaction.remove<GuardRequestRecord>(request.id);
        }
        removed = transaction.remove<ResourceGuardRecord>(guard->id);
    });
    return Reply::empty(removed ? 200 : 204);
}

// ---- Requests

Json time_or_null(const std::optional<Instant>& time) {
    return time ? Json(format_instant(*time)) : Json{};
}

Json request_document(const RequestContext& context, const GuardRequestRecord& request) {
    const bool over = request.status == "Approved" && request.expires_at &&
                      *request.expires_at <= context.services.clock.now();
    return Json{
        {"id", request.id},
        {"name", request.name},
        {"type", fmt::format("{}/{}", kGuardType, request.kind)},
        {"properties",
         {{"status", over ? "Expired" : request.status},
          {"principalId", request.requester_id},
          {"vaultId", request.vault_id.empty() ? Json{} : Json(request.vault_id)},
          {"justification", request.justification},
          {"approverId", request.approver_id.empty() ? Json{} : Json(request.approver_id)},
          {"requestedTime", format_instant(request.created_at)},
          {"decidedTime", time_or_null(request.decided_at)},
          {"expiryTime", time_or_null(request.expires_at)}}}
    };
}

const CriticalOperationRow& require_kind(const RequestContext& context) {
    const std::string& kind = context.path.at("requestKind");
    const CriticalOperationRow* row = find_request_kind(kind);
    if (row == nullptr) {
        std::string known;
        for (const CriticalOperationRow& each : critical_operations()) {
            known += fmt::format("{}{}", known.empty() ? "" : ", ", each.request_kind);
        }
        throw Error{
            ErrorKind::kResourceNotFound,
            ErrorText{
                .message = fmt::format("There are no requests of the kind '{}'.", kind),
                .target = "requestKind",
                .recommended_actions = {fmt::format("Use one of: {}.", known)},
            }
        };
    }
    return *row;
}

std::string request_id(
    const ResourceGuardRecord& guard, const CriticalOperationRow& row, std::string_view name
) {
    return fmt::format("{}/{}/{}", guard.id, row.request_kind, name);
}

/// `default` is what the clients always name: it is there before anybody has asked.
Json default_document(const ResourceGuardRecord& guard, const CriticalOperationRow& row) {
    return Json{
        {"id", request_id(guard, row, "default")},
        {"name", "default"},
        {"type", fmt::format("{}/{}", kGuardType, row.request_kind)},
        {"properties", {{"status", "NotRequested"}}}
    };
}

Reply list_requests(const RequestContext& context) {
    const CriticalOperationRow& row = require_kind(context);
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const ResourceGuardRecord guard = require_guard(view, context);
        bool has_default = false;
        view.each<GuardRequestRecord>({.parent = guard.id}, [&](const GuardRequestRecord& request) {
            if (equal_ignoring_case(request.kind, row.request_kind)) {
                has_default = has_default || equal_ignoring_case(request.name, "default");
                items.push_back(request_document(context, request));
            }
            return true;
        });
        if (!has_default) {
            items.insert(items.begin(), default_document(guard, row));
        }
    });
    return list_reply(context, std::move(items));
}

/// A request by the name in the path. One name may have been used by several people for `default`:
/// then the newest is meant.
std::optional<GuardRequestRecord> find_request(
    const catalog::View& view,
    const RequestContext& context,
    const ResourceGuardRecord& guard,
    const CriticalOperationRow& row
) {
    return view.get<GuardRequestRecord>(request_id(guard, row, context.path.at("requestName")));
}

Error no_such_request(
    const RequestContext& context, const ResourceGuardRecord& guard, const CriticalOperationRow& row
) {
    const std::string& name = context.path.at("requestName");
    return not_found(
        ErrorKind::kResourceNotFound,
        fmt::format("{}/{}", kGuardType, row.request_kind),
        name,
        request_id(guard, row, name)
    );
}

Reply get_request(const RequestContext& context) {
    const CriticalOperationRow& row = require_kind(context);
    Json document;
    context.services.catalog.read([&](const catalog::View& view) {
        const ResourceGuardRecord guard = require_guard(view, context);
        if (const auto request = find_request(view, context, guard, row)) {
            document = request_document(context, *request);
        } else if (equal_ignoring_case(context.path.at("requestName"), "default")) {
            document = default_document(guard, row);
        } else {
            throw no_such_request(context, guard, row);
        }
    });
    return Reply::ok(std::move(document));
}

/// Somebody asks for an approval for himself.
Reply put_request(const RequestContext& context) {
    const CriticalOperationRow& row = require_kind(context);
    GuardRequestRecord request;
    request.name = context.path.at("requestName");
    require_name(request.name, kRequestRule);
    request.kind = row.request_kind;
    request.requester_id = context.principal.object_id;
    if (context.body.is_object()) {
        const JsonReader body = body_reader(context);
        if (const auto properties = body.optional_member("properties")) {
            request.justification = properties->string_or("justification", "");
            if (request.justification.size() > kJustificationMax) {
                properties->member("justification").fail("Too long.", "1024 bytes at most");
            }
            if (const auto vault = properties->optional_member("vaultId")) {
                request.vault_id = ResourceId::parse(vault->as_string(), vault->path()).text();
            }
        }
    }
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const ResourceGuardRecord guard = require_guard(transaction, context);
        request.id = request_id(guard, row, request.name);
        request.guard_id = guard.id;
        request.created_at = transaction.now();
        const auto present = transaction.get<GuardRequestRecord>(request.id);
        if (present && present->status != "Rejected" &&
            !equal_ignoring_case(present->requester_id, request.requester_id) &&
            (!present->expires_at || *present->expires_at > transaction.now())) {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = fmt::format(
                        "The request '{}' of another principal is {}.",
                        present->name,
                        to_lower(present->status)
                    ),
                    .target = present->id,
                    .recommended_actions = {"Ask under another name than 'default'."},
                }
            };
        }
        transaction.put(request);
    });
    return Reply::ok(request_document(context, request));
}

enum class Verdict { kApproved, kRejected };

/// The second person's word. Nobody gives it to himself.
Reply decide(const RequestContext& context, Verdict verdict) {
    const CriticalOperationRow& row = require_kind(context);
    std::int64_t minutes = kApprovalMinutesDefault;
    if (context.body.is_object()) {
        const JsonReader body = body_reader(context);
        minutes = body.optional_integer("durationInMinutes").value_or(minutes);
        if (minutes < 1 || minutes > kApprovalMinutesMax) {
            body.member("durationInMinutes").fail("The number is out of range.", "1 to 1440");
        }
    }
    GuardRequestRecord request;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const ResourceGuardRecord guard = require_guard(transaction, context);
        auto found = find_request(transaction, context, guard, row);
        if (!found) {
            throw no_such_request(context, guard, row);
        }
        request = *std::move(found);
        const bool own = equal_ignoring_case(request.requester_id, context.principal.object_id);
        if (verdict == Verdict::kApproved && own) {
            throw Error{
                ErrorKind::kGuardApprovalRequired,
                ErrorText{
                    .message = "Nobody approves a request of his own.",
                    .target = request.id,
                    .recommended_actions =
                        {"Let another principal with rights on the resource guard approve it."},
                }
            };
        }
        request.status = verdict == Verdict::kApproved ? "Approved" : "Rejected";
        request.approver_id = context.principal.object_id;
        request.decided_at = transaction.now();
        request.expires_at.reset();
        if (verdict == Verdict::kApproved) {
            request.expires_at = transaction.now() + std::chrono::minutes{minutes};
        }
        transaction.put(request);
    });
    return Reply::ok(request_document(context, request));
}

Reply approve_request(const RequestContext& context) {
    return decide(context, Verdict::kApproved);
}

Reply reject_request(const RequestContext& context) {
    return decide(context, Verdict::kRejected);
}

struct Row {
    Verb verb;
    std::string pattern;
    std::string action;
    std::string summary;
    Handler handler;
    BodyRule body = BodyRule::kNone;
    Access access = Access::kAuthorized;
};

void add(std::vector<Route>& routes, Row row) {
    routes.push_back(Route{
        .verb = row.verb,
        .pattern = std::move(row.pattern),
        .action = fmt::format("{}/{}", kGuardType, row.action),
        .summary = std::move(row.summary),
        .handler = std::move(row.handler),
        .body = row.body,
        .access = row.access,
    });
}

void add_request_routes(std::vector<Route>& routes, const std::string& item) {
    const std::string requests = item + "/{requestKind}";
    const std::string request = requests + "/{requestName}";
    add(routes,
        {Verb::kGet,
         requests,
         "read",
         "Lists the requests for one guarded operation.",
         list_requests});
    add(routes,
        {Verb::kGet, request, "read", "Shows a request for a guarded operation.", get_request});
    // To ask gives nothing yet: who may see the guard may ask.
    add(routes,
        {Verb::kPut,
         request,
         "read",
         "Asks for the approval of a guarded operation.",
         put_request,
         BodyRule::kOptional});
    add(routes,
        {Verb::kPost,
         request + "/approve",
         "requests/approve/action",
         "Approves the request of another principal for a while.",
         approve_request,
         BodyRule::kOptional});
    add(routes,
        {Verb::kPost,
         request + "/reject",
         "requests/approve/action",
         "Rejects a request, or takes an approval back.",
         reject_request,
         BodyRule::kOptional});
}

}  // namespace

void add_resource_guard_routes(std::vector<Route>& routes) {
    const std::string below_subscription =
        "/subscriptions/{subscriptionId}/providers/Microsoft.DataProtection/resourceGuards";
    const std::string collection =
        std::string{kGroupPattern} + "/providers/Microsoft.DataProtection/resourceGuards";
    const std::string item = collection + "/{guardName}";
    add(routes,
        {Verb::kGet,
         below_subscription,
         "read",
         "Lists the resource guards of a subscription.",
         list_by_subscription,
         BodyRule::kNone,
         Access::kAuthenticated});
    add(routes,
        {Verb::kGet,
         collection,
         "read",
         "Lists the resource guards of a resource group.",
         list_by_group,
         BodyRule::kNone,
         Access::kAuthenticated});
    add(routes, {Verb::kGet, item, "read", "Shows a resource guard.", get_guard});
    add(routes,
        {Verb::kPut,
         item,
         "write",
         "Creates a resource guard or replaces its settings.",
         put_guard,
         BodyRule::kRequired});
    add(routes,
        {Verb::kPatch,
         item,
         "write",
         "Changes tags or settings of a resource guard.",
         patch_guard,
         BodyRule::kRequired});
    add(routes,
        {Verb::kDelete,
         item,
         "delete",
         "Deletes a resource guard that no vault is mapped to.",
         delete_guard});
    add_request_routes(routes, item);
}

}  // namespace holdfast::control
