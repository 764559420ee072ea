// role assignment … and role definition …, as az has them.
#include "base/error.h"
#include "base/ids.h"
#include "base/text.h"
#include "cli/commands/common.h"
#include "cli/output.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kAssignmentVersion = "api-version=2022-04-01";
constexpr std::string_view kDefinitionVersion = "api-version=2022-05-01-preview";

std::string text_of(const Json& object, std::string_view name) {
    const Json* found = find_member(object, name);
    return found != nullptr && found->is_string() ? found->get<std::string>() : std::string{};
}

/// `/subscriptions/S/…` for a URL: each segment encoded, `/` alone empty.
std::string scope_path(std::string_view scope) {
    std::string out;
    for (const std::string& segment : split(scope, '/')) {
        if (!segment.empty()) {
            out += "/" + percent_encode(segment);
        }
    }
    return out;
}

std::string scope_of(const Arguments& arguments, Session& session) {
    if (arguments.given("--scope")) {
        const std::string& scope = arguments.string("--scope");
        if (!scope.starts_with('/')) {
            throw Error{
                ErrorKind::kUsage,
                ErrorText{
                    .message = fmt::format("'{}' is not a scope.", scope),
                    .recommended_actions = {"Give / or an ARM id like /subscriptions/S."},
                }
            };
        }
        return scope;
    }
    const std::string subscription = "/subscriptions/" + session.subscription();
    return arguments.given("--resource-group")
               ? subscription + "/resourceGroups/" + arguments.string("--resource-group")
               : subscription;
}

/// az shows the properties beside id and name.
Json flattened(const Json& resource) {
    Json out = resource;
    if (const Json* properties = find_member(resource, "properties")) {
        for (const auto& [name, value] : properties->items()) {
            // Both levels have a `type`; az calls the inner one of a role `roleType`.
            out[name == "type" ? std::string{"roleType"} : name] = value;
        }
        out.erase("properties");
    }
    return out;
}

Json roles_at(Session& session, const std::string& scope) {
    return session.list(fmt::format(
        "{}/providers/Microsoft.Authorization/roleDefinitions?{}",
        scope_path(scope),
        kDefinitionVersion
    ));
}

std::string guid_of(std::string_view id) {
    const auto slash = id.rfind('/');
    return std::string{slash == std::string_view::npos ? id : id.substr(slash + 1)};
}

/// By name, GUID or id.
Json find_role(Session& session, const std::string& scope, const std::string& wanted) {
    for (const Json& role : roles_at(session, scope)) {
        if (equal_ignoring_case(text_of(role, "name"), guid_of(wanted)) ||
            equal_ignoring_case(text_of(role["properties"], "roleName"), wanted)) {
            return role;
        }
    }
    throw Error{
        ErrorKind::kRoleDefinitionNotFound,
        ErrorText{
            .message = fmt::format("Role '{}' doesn't exist.", wanted),
            .recommended_actions = {"See the roles: holdfast role definition list"},
        }
    };
}

std::string in_quotes(std::string_view text) {
    std::string out = "'";
    for (const char c : text) {
        out += c == '\'' ? "''" : std::string(1, c);
    }
    return out + "'";
}

struct Assignee {
    std::string object_id;
    std::string type;
};

/// A user name, client id or object id, looked up as az does.
Assignee resolve(Session& session, const std::string& text) {
    const auto first = [&](const std::string& path, const std::string& filter) {
        const Json found = session.list(path + "?$filter=" + percent_encode(filter));
        return found.empty() ? std::string{} : text_of(found[0], "id");
    };
    if (text.find('@') != std::string::npos) {
        const auto id = first("/v1.0/users", "userPrincipalName eq " + in_quotes(text));
        if (!id.empty()) {
            return {id, "User"};
        }
    }
    const auto id = first(
        "/v1.0/servicePrincipals", "servicePrincipalNames/any(c:c eq " + in_quotes(text) + ")"
    );
    if (!id.empty()) {
        return {id, "ServicePrincipal"};
    }
    if (is_guid(text)) {
        const Json body{{"ids", Json::array({text})}};
        const Response response = session.call("POST", "/v1.0/directoryObjects/getByIds", &body);
        const Json found =
            parse_json(response.body, ErrorKind::kInternal, "The server's answer")["value"];
        if (!found.empty()) {
            const bool user = text_of(found[0], "@odata.type") == "#microsoft.graph.user";
            return {text_of(found[0], "id"), user ? "User" : "ServicePrincipal"};
        }
    }
    throw Error{
        ErrorKind::kPrincipalNotFound,
        ErrorText{
            .message = fmt::format("Cannot find user or service principal '{}'.", text),
            .recommended_actions = {"See: holdfast ad sp list, holdfast ad user list"},
        }
    };
}

Assignee assignee_of(const Arguments& arguments, Session& session) {
    if (arguments.given("--assignee") == arguments.given("--assignee-object-id")) {
        throw Error{
            ErrorKind::kUsage, "usage error: --assignee STRING | --assignee-object-id GUID"
        };
    }
    if (arguments.given("--assignee")) {
        return resolve(session, arguments.string("--assignee"));
    }
    return {
        arguments.string("--assignee-object-id"), arguments.string("--assignee-principal-type")
    };
}

std::string assignment_path(const std::string& scope, const std::string& name) {
    return fmt::format(
        "{}/providers/Microsoft.Authorization/roleAssignments{}{}",
        scope_path(scope),
        name.empty() ? "" : "/" + name,
        "?" + std::string{kAssignmentVersion}
    );
}

Json create_assignment(const Arguments& arguments, Session& session) {
    const std::string scope = scope_of(arguments, session);
    const Assignee assignee = assignee_of(arguments, session);
    const Json role = find_role(session, scope, arguments.string("--role"));
    Json properties{{"roleDefinitionId", text_of(role, "id")}, {"principalId", assignee.object_id}};
    if (!assignee.type.empty()) {
        properties["principalType"] = assignee.type;
    }
    if (arguments.given("--description")) {
        properties["description"] = arguments.string("--description");
    }
    const Json body{{"properties", std::move(properties)}};
    const Response response = session.send(
        "PUT",
        assignment_path(scope, arguments.given("--name") ? arguments.string("--name") : new_guid()),
        &body
    );
    if (response.status == 409 && response.body.find("RoleAssignmentExists") != std::string::npos) {
        // Doing it twice is no mistake: as az, show the one that there is.
        for (const Json& each : session.list(assignment_path(scope, "") + "&$filter=atScope()")) {
            const Json& there = each["properties"];
            if (equal_ignoring_case(text_of(there, "principalId"), assignee.object_id) &&
                equal_ignoring_case(text_of(there, "scope"), scope) &&
                guid_of(text_of(there, "roleDefinitionId")) == text_of(role, "name")) {
                return flattened(each);
            }
        }
    }
    if (response.status >= 400) {
        throw server_error(response.status, response.body);
    }
    return flattened(parse_json(response.body, ErrorKind::kInternal, "The server's answer"));
}

/// The assignments that the options choose, with the names of roles and principals.
Json chosen_assignments(const Arguments& arguments, Session& session) {
    const bool all = arguments.given("--all");
    const std::string scope =
        all ? "/subscriptions/" + session.subscription() : scope_of(arguments, session);
    std::string assignee;
    if (arguments.given("--assignee")) {
        assignee = resolve(session, arguments.string("--assignee")).object_id;
    }
    const Json roles = roles_at(session, scope);
    Json out = Json::array();
    Json ids = Json::array();
    for (const Json& each :
         session.list(assignment_path(scope, "") + (all ? "" : "&$filter=atScope()"))) {
        Json flat = flattened(each);
        const bool inherited = !equal_ignoring_case(text_of(flat, "scope"), scope);
        if (!all && inherited && !arguments.given("--include-inherited")) {
            continue;
        }
        for (const Json& role : roles) {
            if (text_of(role, "name") == guid_of(text_of(flat, "roleDefinitionId"))) {
                flat["roleDefinitionName"] = text_of(role["properties"], "roleName");
            }
        }
        const std::string wanted = arguments.string("--role");
        const bool fits =
            (assignee.empty() || equal_ignoring_case(text_of(flat, "principalId"), assignee)) &&
            (wanted.empty() || equal_ignoring_case(text_of(flat, "roleDefinitionName"), wanted) ||
             equal_ignoring_case(guid_of(text_of(flat, "roleDefinitionId")), guid_of(wanted)));
        if (fits) {
            ids.push_back(text_of(flat, "principalId"));
            out.push_back(std::move(flat));
        }
    }
    if (out.empty()) {
        return out;
    }
    const Json body{{"ids", std::move(ids)}};
    const Response response = session.send("POST", "/v1.0/directoryObjects/getByIds", &body);
    const Json known = response.status == 200
                           ? parse_json(response.body, ErrorKind::kInternal, "The answer")["value"]
                           : Json::array();
    for (Json& each : out) {
        each["principalName"] = "";
        for (const Json& principal : known) {
            if (text_of(principal, "id") == text_of(each, "principalId")) {
                const std::string user = text_of(principal, "userPrincipalName");
                each["principalName"] = user.empty() ? text_of(principal, "displayName") : user;
            }
        }
    }
    return out;
}

Json delete_assignments(const Arguments& arguments, Session& session) {
    std::vector<std::string> ids = arguments.list("--ids");
    if (ids.empty()) {
        const bool narrowed = arguments.given("--assignee") || arguments.given("--role") ||
                              arguments.given("--scope") || arguments.given("--resource-group");
        if (!narrowed) {
            throw Error{
                ErrorKind::kUsage,
                ErrorText{
                    .message = "At least one of --ids, --assignee, --role, --scope and "
                               "--resource-group is needed.",
                    .recommended_actions = {"See first: holdfast role assignment list"},
                }
            };
        }
        for (const Json& each : chosen_assignments(arguments, session)) {
            ids.push_back(text_of(each, "id"));
        }
    }
    for (const std::string& id : ids) {
        (void)session.call("DELETE", fmt::format("{}?{}", scope_path(id), kAssignmentVersion));
    }
    return nullptr;
}

Json list_definitions(const Arguments& arguments, Session& session) {
    Json out = Json::array();
    for (const Json& role : roles_at(session, scope_of(arguments, session))) {
        Json flat = flattened(role);
        const std::string wanted = arguments.string("--name");
        const bool custom = text_of(flat, "roleType") == "CustomRole";
        const bool fits = wanted.empty() ||
                          equal_ignoring_case(text_of(flat, "roleName"), wanted) ||
                          equal_ignoring_case(text_of(flat, "name"), wanted);
        if (fits && (custom || !arguments.given("--custom-role-only"))) {
            out.push_back(std::move(flat));
        }
    }
    return out;
}

/// az's role file: roleName or Name, Description, Actions…, AssignableScopes; in any casing.
Json definition_body(const Json& file) {
    const JsonReader reader{file, "", ErrorKind::kInvalidInput};
    reader.require_object();
    const auto list = [&](std::string_view name) {
        const Json* found = find_member(file, name);
        return found == nullptr ? Json::array() : *found;
    };
    Json permissions = list("permissions");
    if (permissions.empty()) {
        permissions = Json::array(
            {{{"actions", list("actions")},
              {"notActions", list("notActions")},
              {"dataActions", list("dataActions")},
              {"notDataActions", list("notDataActions")}}}
        );
    }
    return Json{
        {"properties",
         {{"roleName", reader.has("roleName") ? reader.string("roleName") : reader.string("name")},
          {"description", reader.string_or("description", "")},
          {"type", "CustomRole"},
          {"assignableScopes", list("assignableScopes")},
          {"permissions", std::move(permissions)}}}
    };
}

Json put_definition(Session& session, const std::string& guid, const Json& body) {
    const Json& scopes = body["properties"]["assignableScopes"];
    const std::string scope = !scopes.empty() && scopes[0].is_string()
                                  ? scopes[0].get<std::string>()
                                  : "/subscriptions/" + session.subscription();
    const Response response = session.call(
        "PUT",
        fmt::format(
            "{}/providers/Microsoft.Authorization/roleDefinitions/{}?{}",
            scope_path(scope),
            percent_encode(guid),
            kDefinitionVersion
        ),
        &body
    );
    return flattened(parse_json(response.body, ErrorKind::kInternal, "The server's answer"));
}

Json create_definition(const Arguments& arguments, Session& session) {
    const Json file = load_json_argument(arguments.string("--role-definition"), session);
    return put_definition(session, new_guid(), definition_body(file));
}

Json update_definition(const Arguments& arguments, Session& session) {
    const Json file = load_json_argument(arguments.string("--role-definition"), session);
    const Json body = definition_body(file);
    std::string guid = guid_of(text_of(file, "id"));
    if (guid.empty()) {
        const Json role = find_role(
            session,
            "/subscriptions/" + session.subscription(),
            body["properties"]["roleName"].get<std::string>()
        );
        guid = text_of(role, "name");
    }
    return put_definition(session, guid, body);
}

Json delete_definition(const Arguments& arguments, Session& session) {
    const std::string scope = scope_of(arguments, session);
    const Json role = find_role(session, scope, arguments.string("--name"));
    (void)session.call(
        "DELETE",
        fmt::format(
            "{}/providers/Microsoft.Authorization/roleDefinitions/{}?{}",
            scope_path(scope),
            text_of(role, "name"),
            kDefinitionVersion
        )
    );
    return nullptr;
}

Option scope_option() {
    return optional({"--scope"}, "Scope, an ARM id or /; else the group or the subscription.");
}

Option group_option() {
    return optional({"--resource-group", "-g"}, "Resource group to take as the scope.");
}

}  // namespace

void add_role_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "role assignment create",
        .summary = "Give a principal a role at a scope.",
        .options =
            {required({"--role"}, "Name or id of the role."),
             optional({"--assignee"}, "User name, client id or object id."),
             optional({"--assignee-object-id"}, "Object id, without looking it up."),
             one_of(
                 {"--assignee-principal-type"},
                 {"ServicePrincipal", "User", "Group"},
                 "What --assignee-object-id is."
             ),
             scope_option(),
             group_option(),
             optional({"--name", "-n"}, "GUID of the assignment; else a new one."),
             optional({"--description"}, "Why it is.")},
        .examples =
            {{"Let an operator run backups of a group",
              "holdfast role assignment create --assignee ops@example.org --role \"Backup "
              "Operator\" -g rg"}},
        .handler = create_assignment,
    });
    table.push_back({
        .path = "role assignment list",
        .summary = "List who has which role at a scope.",
        .options =
            {optional({"--assignee"}, "User name, client id or object id."),
             optional({"--role"}, "Name or id of the role."),
             scope_option(),
             group_option(),
             flag({"--all"}, "Those of everything in the subscription."),
             flag({"--include-inherited"}, "Also those that are given above the scope.")},
        .examples = {{"Everybody with a role", "holdfast role assignment list --all -o table"}},
        .handler = chosen_assignments,
        .table = "[].{Principal: principalName, Role: roleDefinitionName, Scope: scope}",
    });
    table.push_back({
        .path = "role assignment delete",
        .summary = "Take roles away.",
        .options =
            {list({"--ids"}, "Ids of assignments."),
             optional({"--assignee"}, "User name, client id or object id."),
             optional({"--role"}, "Name or id of the role."),
             scope_option(),
             group_option(),
             flag({"--all"}, "Those of everything in the subscription."),
             flag({"--include-inherited"}, "Also those that are given above the scope."),
             yes_option()},
        .examples =
            {{"One of a principal's roles",
              "holdfast role assignment delete --assignee ops@example.org --role \"Backup "
              "Operator\" -g rg"}},
        .handler = delete_assignments,
    });
    table.push_back({
        .path = "role definition list",
        .summary = "List the roles that can be given.",
        .options =
            {optional({"--name", "-n"}, "Name or GUID of a role."),
             scope_option(),
             group_option(),
             flag({"--custom-role-only"}, "Without the built-in ones.")},
        .examples =
            {{"What a role permits", "holdfast role definition list --name \"Backup Operator\""}},
        .handler = list_definitions,
        .table = "[].{Name: roleName, Type: roleType, Description: description}",
    });
    table.push_back({
        .path = "role definition create",
        .summary = "Make a role of one's own.",
        .options = {required(
            {"--role-definition"},
            "JSON with Name, Description, Actions, NotActions, "
            "DataActions, NotDataActions, AssignableScopes."
        )},
        .examples = {{"From a file", "holdfast role definition create --role-definition role.json"}
        },
        .handler = create_definition,
    });
    table.push_back({
        .path = "role definition update",
        .summary = "Change a role of one's own, wherever it is assigned.",
        .options = {required({"--role-definition"}, "As for create, with id or roleName.")},
        .examples = {{"From a file", "holdfast role definition update --role-definition role.json"}
        },
        .handler = update_definition,
    });
    table.push_back({
        .path = "role definition delete",
        .summary = "Delete a role of one's own that nobody has.",
        .options =
            {required({"--name", "-n"}, "Name or GUID of the role."), scope_option(), group_option()
            },
        .examples = {{"By name", "holdfast role definition delete --name \"Restore Only\""}},
        .handler = delete_definition,
    });
}

}  // namespace holdfast::cli
