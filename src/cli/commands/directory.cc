// ad sp …, ad user … and ad signed-in-user, as az has them.
#include "base/error.h"
#include "base/ids.h"
#include "base/text.h"
#include "cli/commands/common.h"
#include "cli/output.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

std::string text_of(const Json& object, std::string_view name) {
    const Json* found = find_member(object, name);
    return found != nullptr && found->is_string() ? found->get<std::string>() : std::string{};
}

Json answer_of(const Response& response) {
    return parse_json(response.body, ErrorKind::kInternal, "The server's answer");
}

std::string object_path(std::string_view type, const Arguments& arguments) {
    return fmt::format("/v1.0/{}/{}", type, percent_encode(arguments.string("--id")));
}

std::string tenant_of(Session& session) {
    const Json tenants = session.list("/tenants?api-version=2022-12-01");
    return tenants.empty() ? std::string{} : text_of(tenants[0], "tenantId");
}

/// A secret that is valid for `--years`, in the words that scripts for az look for.
Json add_secret(
    const Arguments& arguments, Session& session, const Json& principal, std::string_view name
) {
    const auto years = whole_number(arguments, {.option = "--years", .fallback = 1, .max = 20});
    const Instant end = session.clock().now() + std::chrono::hours{24 * 365} * years;
    const Json body{
        {"passwordCredential", {{"displayName", name}, {"endDateTime", format_instant_seconds(end)}}
        }
    };
    const Json secret = answer_of(session.call(
        "POST",
        fmt::format("/v1.0/servicePrincipals/{}/addPassword", text_of(principal, "id")),
        &body
    ));
    session.warn("The output includes credentials that you must protect: they are shown only now.");
    return Json{
        {"appId", text_of(principal, "appId")},
        {"displayName", text_of(principal, "displayName")},
        {"password", text_of(secret, "secretText")},
        {"tenant", tenant_of(session)}
    };
}

void assign(
    Session& session, const Json& principal, const std::string& role, const std::string& scope
) {
    const Json found = session.list(fmt::format(
        "{}/providers/Microsoft.Authorization/roleDefinitions?api-version=2022-05-01-preview"
        "&$filter={}",
        scope == "/" ? "" : scope,
        percent_encode(fmt::format("roleName eq '{}'", role))
    ));
    if (found.empty()) {
        throw Error{
            ErrorKind::kRoleDefinitionNotFound,
            ErrorText{
                .message = fmt::format("Role '{}' doesn't exist.", role),
                .recommended_actions = {"See the roles: holdfast role definition list"},
            }
        };
    }
    const Json body{
        {"properties",
         {{"roleDefinitionId", text_of(found[0], "id")},
          {"principalId", text_of(principal, "id")},
          {"principalType", "ServicePrincipal"}}}
    };
    (void)session.call(
        "PUT",
        fmt::format(
            "{}/providers/Microsoft.Authorization/roleAssignments/{}?api-version=2022-04-01",
            scope == "/" ? "" : scope,
            new_guid()
        ),
        &body
    );
}

Json create_for_rbac(const Arguments& arguments, Session& session) {
    if (arguments.given("--role") != arguments.given("--scopes")) {
        throw Error{
            ErrorKind::kUsage,
            "Usage error: To create role assignments, specify both --role and --scopes."
        };
    }
    const std::string name = arguments.given("--name")
                                 ? arguments.string("--name")
                                 : "holdfast-" + format_instant_seconds(session.clock().now());
    const Json body{{"displayName", name}};
    const Json principal = answer_of(session.call("POST", "/v1.0/applications", &body));
    for (const std::string& scope : arguments.list("--scopes")) {
        assign(session, principal, arguments.string("--role"), scope);
    }
    return add_secret(arguments, session, principal, "rbac");
}

Json list_sps(const Arguments& arguments, Session& session) {
    std::string path = "/v1.0/servicePrincipals";
    if (arguments.given("--display-name")) {
        path += "?$filter=" + percent_encode(fmt::format(
                                  "startswith(displayName,'{}')", arguments.string("--display-name")
                              ));
    }
    return session.list(path);
}

Json reset_credential(const Arguments& arguments, Session& session) {
    const Json principal = session.get(object_path("servicePrincipals", arguments));
    Json result = add_secret(arguments, session, principal, "rbac");
    if (!arguments.given("--append")) {
        for (const Json& old : principal["passwordCredentials"]) {
            const Json body{{"keyId", text_of(old, "keyId")}};
            (void)session.call(
                "POST",
                fmt::format("/v1.0/servicePrincipals/{}/removePassword", text_of(principal, "id")),
                &body
            );
        }
    }
    return result;
}

Json delete_credential(const Arguments& arguments, Session& session) {
    const Json body{{"keyId", arguments.string("--key-id")}};
    (void
    )session.call("POST", object_path("servicePrincipals", arguments) + "/removePassword", &body);
    return nullptr;
}

Json create_user(const Arguments& arguments, Session& session) {
    const Secret password = secret_from_file(arguments.string("--password-file"), session);
    const std::string name = arguments.string("--user-principal-name");
    const Json body{
        {"userPrincipalName", name},
        {"displayName",
         arguments.given("--display-name") ? arguments.string("--display-name") : name},
        {"accountEnabled", true},
        {"passwordProfile", {{"password", password.expose_text()}}}
    };
    return answer_of(session.call("POST", "/v1.0/users", &body));
}

Json update_user(const Arguments& arguments, Session& session) {
    Json body = Json::object();
    if (arguments.given("--password-file")) {
        const Secret password = secret_from_file(arguments.string("--password-file"), session);
        body["passwordProfile"] = {{"password", password.expose_text()}};
    }
    if (arguments.given("--account-enabled")) {
        body["accountEnabled"] = arguments.string("--account-enabled") == "true";
    }
    if (arguments.given("--display-name")) {
        body["displayName"] = arguments.string("--display-name");
    }
    (void)session.call("PATCH", object_path("users", arguments), &body);
    return nullptr;
}

Json rotate_signing_key(const Arguments& arguments, Session& session) {
    const Json body{{"oldKeys", arguments.flag("--remove-old") ? "Remove" : "Keep"}};
    return answer_of(session.call("POST", "/providers/Holdfast.Identity/rotateSigningKey", &body));
}

Handler show_of(std::string_view type) {
    return [type](const Arguments& arguments, Session& session) {
        return session.get(object_path(type, arguments));
    };
}

Handler delete_of(std::string_view type) {
    return [type](const Arguments& arguments, Session& session) -> Json {
        (void)session.call("DELETE", object_path(type, arguments));
        return nullptr;
    };
}

Option id_option(std::string_view help) {
    return required({"--id"}, help);
}

void add_sp_commands(std::vector<Command>& table) {
    constexpr std::string_view kId = "Client id or object id.";
    table.push_back({
        .path = "ad sp create-for-rbac",
        .summary = "Make a service principal with a client secret, and give it roles.",
        .options =
            {optional({"--name", "-n", "--display-name"}, "Display name."),
             optional({"--role"}, "Name of a role."),
             list({"--scopes"}, "Where it has the role."),
             optional({"--years"}, "How long the secret is good; 1.")},
        .examples =
            {{"For a script that runs backups",
              "holdfast ad sp create-for-rbac -n nightly --role \"Backup Operator\" --scopes "
              "/subscriptions/SUB/resourceGroups/rg"}},
        .handler = create_for_rbac,
    });
    table.push_back({
        .path = "ad sp list",
        .summary = "List the service principals, vaults' identities among them.",
        .options =
            {optional({"--display-name"}, "How the display name begins."),
             flag({"--all"}, "As always; for scripts written for az.")},
        .examples = {{"All of them", "holdfast ad sp list -o table"}},
        .handler = list_sps,
        .table = "[].{DisplayName: displayName, AppId: appId, Id: id, Type: servicePrincipalType}",
    });
    table.push_back({
        .path = "ad sp show",
        .summary = "Show a service principal.",
        .options = {id_option(kId)},
        .examples = {{"Its object id", "holdfast ad sp show --id CLIENT --query id -o tsv"}},
        .handler = show_of("servicePrincipals"),
    });
    table.push_back({
        .path = "ad sp delete",
        .summary = "Delete a service principal with its secrets and roles.",
        .options = {id_option(kId)},
        .examples = {{"By client id", "holdfast ad sp delete --id CLIENT"}},
        .handler = delete_of("servicePrincipals"),
    });
    table.push_back({
        .path = "ad sp credential reset",
        .summary = "Make a new client secret; the old ones and all tokens end.",
        .options =
            {id_option(kId),
             flag({"--append"}, "Keep the old secrets."),
             optional({"--years"}, "How long the secret is good; 1.")},
        .examples = {{"A secret was lost", "holdfast ad sp credential reset --id CLIENT"}},
        .handler = reset_credential,
    });
    table.push_back({
        .path = "ad sp credential list",
        .summary = "List the client secrets of a service principal, without their values.",
        .options = {id_option(kId)},
        .examples = {{"When they end", "holdfast ad sp credential list --id CLIENT -o table"}},
        .handler = [](const Arguments& arguments, Session& session) -> Json {
            return session.get(object_path("servicePrincipals", arguments))["passwordCredentials"];
        },
    });
    table.push_back({
        .path = "ad sp credential delete",
        .summary = "Revoke a client secret, and the tokens of its service principal.",
        .options = {id_option(kId), required({"--key-id"}, "Id of the secret.")},
        .examples =
            {{"One of two", "holdfast ad sp credential delete --id CLIENT --key-id 0123456789abcdef"
            }},
        .handler = delete_credential,
    });
}

void add_user_commands(std::vector<Command>& table) {
    constexpr std::string_view kId = "User name or object id.";
    constexpr std::string_view kPassword = "File with the password; - is standard input.";
    table.push_back({
        .path = "ad user create",
        .summary = "Make a user who logs in with a password.",
        .options =
            {required({"--user-principal-name"}, "Name, like alice@example.org."),
             optional({"--display-name"}, "Display name."),
             required({"--password-file"}, kPassword)},
        .examples =
            {{"A colleague",
              "holdfast ad user create --user-principal-name alice@example.org --password-file -"}},
        .handler = create_user,
        .details = "The password has 12 bytes or more. It is never an argument.",
    });
    table.push_back({
        .path = "ad user list",
        .summary = "List the users.",
        .options = {},
        .examples = {{"All of them", "holdfast ad user list -o table"}},
        .handler = [](const Arguments&, Session& session) { return session.list("/v1.0/users"); },
    });
    table.push_back({
        .path = "ad user show",
        .summary = "Show a user.",
        .options = {id_option(kId)},
        .examples = {{"By name", "holdfast ad user show --id alice@example.org"}},
        .handler = show_of("users"),
    });
    table.push_back({
        .path = "ad user update",
        .summary = "Change a user's password or name, or disable it; its tokens end.",
        .options =
            {id_option(kId),
             optional({"--display-name"}, "Display name."),
             optional({"--password-file"}, kPassword),
             one_of({"--account-enabled"}, {"true", "false"}, "Whether it may log in.")},
        .examples =
            {{"Somebody left",
              "holdfast ad user update --id alice@example.org --account-enabled "
              "false"}},
        .handler = update_user,
    });
    table.push_back({
        .path = "ad user delete",
        .summary = "Delete a user with its roles.",
        .options = {id_option(kId)},
        .examples = {{"By name", "holdfast ad user delete --id alice@example.org"}},
        .handler = delete_of("users"),
    });
    table.push_back({
        .path = "ad signed-in-user show",
        .summary = "Show who is logged in.",
        .options = {},
        .examples = {{"My object id", "holdfast ad signed-in-user show --query id -o tsv"}},
        .handler = [](const Arguments&, Session& session) { return session.get("/v1.0/me"); },
    });
}

}  // namespace

void add_directory_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "ad signing-key rotate",
        .summary = "Sign tokens with a new key from now on.",
        .options = {flag({"--remove-old"}, "End all tokens issued until now: a key was lost.")},
        .examples = {{"A key was lost", "holdfast ad signing-key rotate --remove-old"}},
        .handler = rotate_signing_key,
        .details = "Keys are rotated by themselves every 90 days; tokens issued before stay good.",
    });
    add_sp_commands(table);
    add_user_commands(table);
}

}  // namespace holdfast::cli
