// {scope}/providers/Microsoft.Authorization/roleAssignments
#include "base/ids.h"
#include "base/text.h"
#include "control/arm.h"
#include "control/identity/directory.h"
#include "control/resource_id.h"
#include "control/routes/providers/authorization/role_scope.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::RoleAssignmentRecord;

constexpr std::string_view kType = "Microsoft.Authorization/roleAssignments";
constexpr std::size_t kDescriptionMax = 1024;

Json assignment_document(const catalog::View& view, const RoleAssignmentRecord& record) {
    const std::string under = record.scope == "/" ? "" : record.scope;
    return Json{
        {"id", fmt::format("{}/providers/{}/{}", under, kType, record.id)},
        {"name", record.id},
        {"type", kType},
        {"properties",
         {{"roleDefinitionId",
           role_definition_id(first_subscription(view), role_guid(record.role_definition_id))},
          {"principalId", record.principal_id},
          {"principalType", record.principal_type},
          {"scope", record.scope},
          {"description", record.description.empty() ? Json(nullptr) : Json(record.description)},
          {"condition", nullptr},
          {"conditionVersion", nullptr},
          {"createdOn", format_instant(record.created_at)},
          {"updatedOn", format_instant(record.modified_at)},
          {"createdBy", record.created_by},
          {"updatedBy", record.created_by}}}
    };
}

/// `$filter`: atScope(), principalId eq 'X', assignedTo('X'), joined by `and`.
struct AssignmentFilter {
    bool at_scope = false;
    std::string principal_id;
};

AssignmentFilter read_assignment_filter(const RequestContext& context) {
    AssignmentFilter filter;
    const std::string text = context.request.query.get_or("$filter", "");
    std::string_view rest = trim(text);
    while (!rest.empty()) {
        const auto join = to_lower(rest).find(" and ");
        const std::string_view clause = trim(rest.substr(0, join));
        rest = join == std::string::npos ? std::string_view{} : trim(rest.substr(join + 5));
        const auto quoted = [&]() -> std::string {
            const auto open = clause.find('\'');
            const auto close = clause.rfind('\'');
            return open == std::string_view::npos || close <= open
                       ? std::string{}
                       : std::string{clause.substr(open + 1, close - open - 1)};
        };
        if (equal_ignoring_case(clause, "atScope()")) {
            filter.at_scope = true;
        } else if ((starts_with_ignoring_case(clause, "principalId eq '") ||
                    starts_with_ignoring_case(clause, "assignedTo('")) &&
                   !quoted().empty()) {
            filter.principal_id = quoted();
        } else {
            throw Error{
                ErrorKind::kInvalidQuery,
                ErrorText{
                    .message = fmt::format(
                        "The filter '{}' is not supported for role assignments.",
                        clause.substr(0, 200)
                    ),
                    .target = "$filter",
                    .recommended_actions =
                        {"Use atScope(), principalId eq 'GUID' or assignedTo('GUID')."},
                }
            };
        }
    }
    return filter;
}

/// All that apply at the scope, and, unless only those are asked for, the ones below it.
Reply list_assignments(const RequestContext& context) {
    const AssignmentFilter filter = read_assignment_filter(context);
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const std::string scope = scope_of_path(view, context);
        view.each<RoleAssignmentRecord>({}, [&](const RoleAssignmentRecord& record) {
            const bool in_reach = scope_contains(record.scope, scope) ||
                                  (!filter.at_scope && scope_contains(scope, record.scope));
            const bool theirs = filter.principal_id.empty() ||
                                equal_ignoring_case(record.principal_id, filter.principal_id);
            if (in_reach && theirs) {
                items.push_back(assignment_document(view, record));
            }
            return true;
        });
    });
    return list_reply(context, std::move(items));
}

std::optional<RoleAssignmentRecord> find_assignment(
    const catalog::View& view, const RequestContext& context
) {
    const std::string scope = scope_of_path(view, context);
    auto record = view.get<RoleAssignmentRecord>(context.path.at("roleAssignmentName"));
    return record && equal_ignoring_case(record->scope, scope) ? record : std::nullopt;
}

Reply get_assignment(const RequestContext& context) {
    Json document;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto record = find_assignment(view, context);
        if (!record) {
            throw Error{
                ErrorKind::kResourceNotFound,
                ErrorText{
                    .message = fmt::format(
                        "The role assignment '{}' is not found.",
                        context.path.at("roleAssignmentName").substr(0, 100)
                    ),
                    .target = context.scope,
                    .recommended_actions = {"List the role assignments of the scope."},
                }
            };
        }
        document = assignment_document(view, *record);
    });
    return Reply::ok(std::move(document));
}

struct AssignmentRequest {
    std::string role;
    std::string principal_id;
    std::string description;
};

AssignmentRequest read_assignment_request(
    const RequestContext& context, IgnoredProperties& ignored
) {
    const JsonReader body = body_reader(context);
    ignored.note_unknown(body, {"id", "name", "type", "properties"});
    const JsonReader properties = body.member("properties");
    ignored.note_unknown(
        properties,
        {"roleDefinitionId",
         "principalId",
         "principalType",
         "scope",
         "description",
         "condition",
         "conditionVersion",
         "canDelegate",
         "delegatedManagedIdentityResourceId",
         "createdOn",
         "updatedOn",
         "createdBy",
         "updatedBy"}
    );
    if (!properties.string_or("condition", "").empty()) {
        // A right without the condition that was asked for would be a wider one.
        properties.member("condition").fail("Conditions are not supported.");
    }
    AssignmentRequest request{
        .role = properties.string("roleDefinitionId"),
        .principal_id = properties.string("principalId"),
        .description = properties.string_or("description", ""),
    };
    if (request.description.size() > kDescriptionMax) {
        properties.member("description").fail("It is too long.");
    }
    return request;
}

FoundRole require_assignable_role(
    const catalog::View& view, const std::string& role, const std::string& scope
) {
    auto found = find_role(view, role);
    if (!found) {
        throw Error{
            ErrorKind::kRoleDefinitionNotFound,
            ErrorText{
                .message = fmt::format(
                    "The specified role definition with ID '{}' does not exist.",
                    role_guid(role).substr(0, 100)
                ),
                .target = "properties.roleDefinitionId",
                .recommended_actions = {"See the roles: holdfast role definition list"},
            }
        };
    }
    const auto& scopes = found->assignable_scopes;
    const bool assignable = std::any_of(scopes.begin(), scopes.end(), [&](const std::string& at) {
        return scope_contains(at, scope);
    });
    if (!assignable) {
        throw Error{
            ErrorKind::kInvalidRequestContent,
            ErrorText{
                .message = fmt::format(
                    "The role '{}' cannot be assigned at scope '{}'.", found->role.name, scope
                ),
                .target = "properties.roleDefinitionId",
                .recommended_actions = {fmt::format(
                    "Assign it at or below one of its assignable scopes: {}.", join(scopes, ", ")
                )},
            }
        };
    }
    return std::move(*found);
}

void refuse_duplicate(const catalog::View& view, const RoleAssignmentRecord& wanted) {
    view.each<RoleAssignmentRecord>(
        {.parent = wanted.scope, .subject = wanted.principal_id},
        [&](const RoleAssignmentRecord& each) {
            if (!equal_ignoring_case(each.id, wanted.id) &&
                equal_ignoring_case(
                    role_guid(each.role_definition_id), wanted.role_definition_id
                )) {
                throw Error{
                    ErrorKind::kRoleAssignmentExists,
                    ErrorText{
                        .message = fmt::format(
                            "The role assignment already exists. The ID of the existing role "
                            "assignment is {}.",
                            each.id
                        ),
                        .target = each.id,
                        .recommended_actions = {"Use the assignment that exists."},
                    }
                };
            }
            return true;
        }
    );
}

/// The record as it will be. What an assignment gives to whom never changes: that would be another
/// one.
RoleAssignmentRecord merge(
    const catalog::View& view,
    const RequestContext& context,
    const AssignmentRequest& request,
    const std::optional<RoleAssignmentRecord>& existing
) {
    const std::string scope = scope_of_path(view, context);
    const FoundRole role = require_assignable_role(view, request.role, scope);
    const auto principal = view.get<catalog::PrincipalRecord>(request.principal_id);
    if (!principal) {
        throw Error{
            ErrorKind::kPrincipalNotFound,
            ErrorText{
                .message = fmt::format(
                    "Principal {} does not exist in the directory {}.",
                    request.principal_id.substr(0, 100),
                    context.principal.tenant_id
                ),
                .target = "properties.principalId",
                .recommended_actions =
                    {"Give the object id of a principal, not its client id: holdfast ad sp show"},
            }
        };
    }
    if (existing) {
        const bool same =
            equal_ignoring_case(existing->scope, scope) &&
            equal_ignoring_case(existing->principal_id, principal->id) &&
            equal_ignoring_case(role_guid(existing->role_definition_id), role.role.id);
        if (!same) {
            throw Error{
                ErrorKind::kConflict,
                ErrorText{
                    .message = "A role assignment's scope, role and principal cannot be changed.",
                    .target = existing->id,
                    .recommended_actions = {"Create another assignment, then delete this one."},
                }
            };
        }
        return *existing;
    }
    RoleAssignmentRecord record;
    record.id = to_lower(context.path.at("roleAssignmentName"));
    record.scope = scope;
    record.role_definition_id = role.role.id;
    record.principal_id = principal->id;
    record.principal_type = principal->kind == "User" ? "User" : "ServicePrincipal";
    record.created_by = context.principal.object_id;
    refuse_duplicate(view, record);
    return record;
}

Reply put_assignment(const RequestContext& context) {
    const std::string& name = context.path.at("roleAssignmentName");
    if (!is_guid(name)) {
        throw Error{
            ErrorKind::kInvalidResourceName,
            ErrorText{
                .message = fmt::format(
                    "The role assignment's name '{}' must be a GUID.", name.substr(0, 100)
                ),
                .target = "roleAssignmentName",
                .recommended_actions = {"Make a new GUID: uuidgen"},
            }
        };
    }
    IgnoredProperties ignored;
    const AssignmentRequest request = read_assignment_request(context, ignored);
    Json document;
    bool created = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const auto existing = transaction.get<RoleAssignmentRecord>(name);
        RoleAssignmentRecord record = merge(transaction, context, request, existing);
        created = !existing;
        record.description = request.description;
        if (created) {
            record.created_at = transaction.now();
        }
        transaction.put(record);
        document = assignment_document(transaction, record);
    });
    Reply reply = Reply::json(created ? 201 : 200, std::move(document));
    ignored.report(context, reply);
    return reply;
}

Reply delete_assignment(const RequestContext& context) {
    Reply reply = Reply::empty(204);
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const auto record = find_assignment(transaction, context);
        if (!record) {
            return;
        }
        check_roles_stay_assignable(transaction, record->id);
        reply = Reply::ok(assignment_document(transaction, *record));
        transaction.remove<RoleAssignmentRecord>(record->id);
    });
    return reply;
}

}  // namespace

void add_role_assignment_routes(std::vector<Route>& routes) {
    const std::string collection = "/{*scope}/providers/Microsoft.Authorization/roleAssignments";
    const std::string one = collection + "/{roleAssignmentName}";
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
    add(Verb::kGet,
        collection,
        "read",
        "Lists the role assignments at, above and (without atScope()) below a scope.",
        list_assignments);
    add(Verb::kGet, one, "read", "Shows a role assignment.", get_assignment);
    add(Verb::kPut,
        one,
        "write",
        "Gives a principal a role at a scope; needs the right to at that scope.",
        put_assignment);
    add(Verb::kDelete, one, "delete", "Takes a role away.", delete_assignment);
}

}  // namespace holdfast::control
