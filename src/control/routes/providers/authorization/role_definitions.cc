// {scope}/providers/Microsoft.Authorization/roleDefinitions
#include "base/ids.h"
#include "base/text.h"
#include "control/arm.h"
#include "control/identity/catalog_grants.h"
#include "control/routes/filter.h"
#include "control/routes/providers/authorization/role_scope.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::RoleAssignmentRecord;
using catalog::RoleDefinitionRecord;

constexpr std::string_view kType = "Microsoft.Authorization/roleDefinitions";
constexpr std::size_t kListMax = 1000;
constexpr std::size_t kTextMax = 512;

Json role_document(const catalog::View& view, const FoundRole& found) {
    const RoleDefinition& role = found.role;
    return Json{
        {"id", role_definition_id(first_subscription(view), role.id)},
        {"name", role.id},
        {"type", kType},
        {"properties",
         {{"roleName", role.name},
          {"type", found.record ? "CustomRole" : "BuiltInRole"},
          {"description", role.description},
          {"assignableScopes", found.assignable_scopes},
          {"permissions",
           Json::array(
               {{{"actions", role.actions},
                 {"notActions", role.not_actions},
                 {"dataActions", role.data_actions},
                 {"notDataActions", role.not_data_actions}}}
           )}}}
    };
}

bool touches(const FoundRole& found, const std::string& scope) {
    const auto& scopes = found.assignable_scopes;
    return std::any_of(scopes.begin(), scopes.end(), [&](const std::string& at) {
        return scope_contains(at, scope) || scope_contains(scope, at);
    });
}

/// `roleName eq '…'`, `type eq 'CustomRole'`, `atScopeAndBelow()`.
Reply list_definitions(const RequestContext& context) {
    std::string filter = context.request.query.get_or("$filter", "");
    if (const auto at = to_lower(filter).find("atscopeandbelow()"); at != std::string::npos) {
        filter.erase(at);
        if (const auto join = to_lower(filter).rfind(" and"); join != std::string::npos) {
            filter.erase(join);
        }
    }
    const auto clauses = parse_filter(filter, {"roleName", "type"});
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const std::string scope = scope_of_path(view, context);
        const auto consider = [&](const FoundRole& found) {
            for (const FilterClause& clause : clauses) {
                const std::string& is =
                    clause.name == "type" ? std::string{found.record ? "CustomRole" : "BuiltInRole"}
                                          : found.role.name;
                if (!equal_ignoring_case(is, clause.value)) {
                    return;
                }
            }
            if (touches(found, scope)) {
                items.push_back(role_document(view, found));
            }
        };
        for (const RoleDefinition& role : builtin_roles()) {
            consider({.role = role});
        }
        view.each<RoleDefinitionRecord>({}, [&](const RoleDefinitionRecord& record) {
            consider(
                {.role = role_of(record),
                 .assignable_scopes = record.assignable_scopes,
                 .record = record}
            );
            return true;
        });
    });
    return list_reply(context, std::move(items));
}

Error no_such_role(const RequestContext& context) {
    return Error{
        ErrorKind::kRoleDefinitionNotFound,
        ErrorText{
            .message = fmt::format(
                "The specified role definition with ID '{}' does not exist.",
                context.path.at("roleDefinitionId").substr(0, 100)
            ),
            .target = "roleDefinitionId",
            .recommended_actions = {"See the roles: holdfast role definition list"},
        }
    };
}

Reply get_definition(const RequestContext& context) {
    Json document;
    context.services.catalog.read([&](const catalog::View& view) {
        (void)scope_of_path(view, context);
        const auto found = find_role(view, context.path.at("roleDefinitionId"));
        if (!found) {
            throw no_such_role(context);
        }
        document = role_document(view, *found);
    });
    return Reply::ok(std::move(document));
}

std::vector<std::string> texts_of(const JsonReader& object, std::string_view name) {
    std::vector<std::string> out;
    if (const auto list = object.optional_member(name)) {
        for (const JsonReader& element : list->elements()) {
            const std::string& text = element.as_string();
            if (text.empty() || text.size() > kTextMax) {
                element.fail("Expected an action like Microsoft.DataProtection/*/read.");
            }
            out.push_back(text);
        }
        if (out.size() > kListMax) {
            list->fail("The list is too long.");
        }
    }
    return out;
}

/// What the body says; scopes are checked, rights on them are not yet.
RoleDefinitionRecord read_definition(
    const catalog::View& view, const RequestContext& context, IgnoredProperties& ignored
) {
    const JsonReader body = body_reader(context);
    ignored.note_unknown(body, {"id", "name", "type", "properties"});
    const JsonReader properties = body.member("properties");
    ignored.note_unknown(
        properties,
        {"roleName",
         "type",
         "description",
         "assignableScopes",
         "permissions",
         "createdOn",
         "updatedOn",
         "createdBy",
         "updatedBy"}
    );
    RoleDefinitionRecord record;
    record.name = properties.string("roleName");
    if (trim(record.name).empty() || record.name.size() > kTextMax) {
        properties.member("roleName").fail("Expected a name.");
    }
    record.description = properties.string_or("description", "");
    if (properties.has("type") && !equal_ignoring_case(properties.string("type"), "CustomRole")) {
        properties.member("type").fail("Only custom roles can be written.", "CustomRole");
    }
    for (const JsonReader& permission : properties.member("permissions").elements()) {
        permission.require_object();
        const auto append = [&](std::vector<std::string>& to, std::string_view name) {
            for (std::string& text : texts_of(permission, name)) {
                to.push_back(std::move(text));
            }
        };
        append(record.actions, "actions");
        append(record.not_actions, "notActions");
        append(record.data_actions, "dataActions");
        append(record.not_data_actions, "notDataActions");
    }
    for (const JsonReader& scope : properties.member("assignableScopes").elements()) {
        record.assignable_scopes.push_back(checked_scope(view, scope.as_string(), scope.path()));
    }
    if (record.assignable_scopes.empty()) {
        properties.member("assignableScopes").fail("At least one scope is needed.");
    }
    return record;
}

/// A role's definition says what it gives everywhere it is assigned: who changes it needs the right
/// on all of its scopes, those of before and those of after.
void require_on_all(
    const RequestContext& context, std::string_view action, const std::vector<std::string>& scopes
) {
    for (const std::string& scope : scopes) {
        context.services.authorizer.authorize(context.principal, action, scope);
    }
}

Reply put_definition(const RequestContext& context) {
    const std::string& guid = context.path.at("roleDefinitionId");
    if (!is_guid(guid)) {
        throw Error{
            ErrorKind::kInvalidResourceName,
            ErrorText{
                .message = fmt::format("The role's id '{}' must be a GUID.", guid.substr(0, 100)),
                .target = "roleDefinitionId",
                .recommended_actions = {"Make a new GUID: uuidgen"},
            }
        };
    }
    IgnoredProperties ignored;
    Json document;
    bool created = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        RoleDefinitionRecord wanted = read_definition(transaction, context, ignored);
        require_on_all(context, context.route.action, wanted.assignable_scopes);
        const auto existing = transaction.get<RoleDefinitionRecord>(guid);
        const auto same_name = find_role(transaction, wanted.name);
        const bool taken = find_builtin_role(guid) != nullptr ||
                           (same_name && !equal_ignoring_case(same_name->role.id, guid));
        if (taken) {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = fmt::format("There is another role named '{}'.", wanted.name),
                    .target = "properties.roleName",
                    .recommended_actions = {"Choose another name; built-in roles are fixed."},
                }
            };
        }
        created = !existing;
        wanted.id = to_lower(guid);
        wanted.created_at = transaction.now();
        wanted.created_by = context.principal.object_id;
        if (existing) {
            require_on_all(context, context.route.action, existing->assignable_scopes);
            wanted.created_at = existing->created_at;
            wanted.created_by = existing->created_by;
        }
        transaction.put(wanted);
        document = role_document(
            transaction,
            {.role = role_of(wanted),
             .assignable_scopes = wanted.assignable_scopes,
             .record = wanted}
        );
    });
    Reply reply = Reply::json(created ? 201 : 200, std::move(document));
    ignored.report(context, reply);
    return reply;
}

Reply delete_definition(const RequestContext& context) {
    Reply reply = Reply::empty(204);
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const auto found = find_role(transaction, context.path.at("roleDefinitionId"));
        if (!found) {
            return;
        }
        if (!found->record) {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = fmt::format("The role '{}' is built in.", found->role.name),
                    .target = found->role.id,
                    .recommended_actions = {"Only custom roles can be deleted."},
                }
            };
        }
        require_on_all(context, context.route.action, found->assignable_scopes);
        std::int64_t uses = 0;
        transaction.each<RoleAssignmentRecord>({}, [&](const RoleAssignmentRecord& each) {
            uses += equal_ignoring_case(role_guid(each.role_definition_id), found->role.id);
            return true;
        });
        if (uses != 0) {
            throw Error{
                ErrorKind::kRoleDefinitionInUse,
                ErrorText{
                    .message = fmt::format(
                        "The role '{}' is used by {} role assignment(s).", found->role.name, uses
                    ),
                    .target = found->role.id,
                    .recommended_actions = {"Delete those assignments first."},
                }
            };
        }
        reply = Reply::ok(role_document(transaction, *found));
        transaction.remove<RoleDefinitionRecord>(found->role.id);
    });
    return reply;
}

}  // namespace

void add_role_definition_routes(std::vector<Route>& routes) {
    const std::string collection = "/{*scope}/providers/Microsoft.Authorization/roleDefinitions";
    const std::string one = collection + "/{roleDefinitionId}";
    const auto add = [&](Verb verb,
                         const std::string& pattern,
                         std::string_view action,
                         std::string summary,
                         Handler handler) {
        routes.push_back(Route{
            .verb = verb,
            .pattern = pattern,
            .action = fmt::format("{}/{}", kType, action),
            .summary = std::move(summary),
            .handler = std::move(handler),
            .body = verb == Verb::kPut ? BodyRule::kRequired : BodyRule::kNone,
        });
    };
    add(Verb::kGet, collection, "read", "Lists the roles that can be assigned.", list_definitions);
    add(Verb::kGet, one, "read", "Shows a role.", get_definition);
    add(Verb::kPut,
        one,
        "write",
        "Writes a custom role; needs the right to on all its assignable scopes.",
        put_definition);
    add(Verb::kDelete, one, "delete", "Deletes a custom role that is not in use.", delete_definition
    );
}

}  // namespace holdfast::control
