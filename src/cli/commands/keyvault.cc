#include "base/error.h"
#include "base/text.h"
#include "cli/commands/common.h"
#include "cli/output.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kApiVersion = "api-version=7.4";

/// Where a secret is: `--id`, or `--vault-name` with `--name` and `--version`.
struct SecretPlace {
    std::string store;
    std::string path;  ///< "/secrets/NAME[/VERSION]".
};

SecretPlace place_of_id(const std::string& id) {
    const std::size_t scheme = id.find("://");
    const std::size_t slash = scheme == std::string::npos ? 0 : id.find('/', scheme + 3);
    if (slash == std::string::npos || !id.substr(slash).starts_with("/secrets/")) {
        throw Error{
            ErrorKind::kUsage,
            ErrorText{
                .message = fmt::format("'{}' is not the id of a secret.", id),
                .recommended_actions = {"Give it as https://VAULT.HOST/secrets/NAME."},
            }
        };
    }
    std::string store;
    if (scheme != std::string::npos) {
        const std::string host = id.substr(scheme + 3, slash - scheme - 3);
        store = host.substr(0, host.find('.'));
    }
    return {.store = std::move(store), .path = id.substr(slash)};
}

SecretPlace place_of(const Arguments& arguments) {
    if (arguments.given("--id")) {
        return place_of_id(arguments.string("--id"));
    }
    if (!arguments.given("--vault-name") || !arguments.given("--name")) {
        throw Error{
            ErrorKind::kUsage,
            "the following arguments are required: --vault-name with --name/-n, or --id"
        };
    }
    return {
        .store = arguments.string("--vault-name"),
        .path = "/secrets/" + percent_encode(arguments.string("--name"))
    };
}

/// The data plane of a key vault is a host of its own; here it is the same server under another
/// name.
std::map<std::string, std::string> headers_of(const SecretPlace& place, Session& session) {
    const std::string& server = session.profile().server;
    const std::string authority = server.substr(server.find("://") + 3);
    if (place.store.empty() || authority.starts_with('[')) {
        return {};
    }
    return {{"Host", place.store + "." + authority}};
}

Json send_secret(
    std::string_view method, const SecretPlace& place, std::string body, Session& session
) {
    const std::string path = fmt::format("{}?{}", place.path, kApiVersion);
    const Response response =
        session.send_raw(method, path, std::move(body), headers_of(place, session));
    if (response.status >= 400) {
        throw server_error(response.status, response.body);
    }
    if (trim(response.body).empty()) {
        return nullptr;
    }
    return parse_json(response.body, ErrorKind::kInternal, "The server's answer");
}

/// az adds the name, which the wire only has within the id.
Json with_name(Json secret) {
    const Json* id = find_member(secret, "id");
    if (secret.is_object() && id != nullptr && id->is_string()) {
        const std::vector<std::string> parts = split(id->get_ref<const std::string&>(), '/');
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
            if (equal_ignoring_case(parts[i], "secrets")) {
                secret["name"] = parts[i + 1];
                break;
            }
        }
    }
    return secret;
}

Json set_secret(const Arguments& arguments, Session& session) {
    if (arguments.given("--value") == arguments.given("--file")) {
        throw Error{
            ErrorKind::kUsage,
            ErrorText{
                .message = "incorrect usage: --value VALUE | --file FILE",
                .recommended_actions = {"Give --file FILE, or --file - for standard input."},
            }
        };
    }
    Secret value;
    if (arguments.given("--value")) {
        session.warn(
            "--value shows the secret to everybody who can list processes and stays in the "
            "shell's history; use --file FILE, or --file - for standard input."
        );
        value = Secret{arguments.string("--value")};
    } else {
        value = secret_from_file(arguments.string("--file"), session);
    }
    Json body{{"value", std::string{value.expose_text()}}};
    if (arguments.given("--content-type")) {
        body["contentType"] = arguments.string("--content-type");
    }
    if (arguments.given("--tags")) {
        body["tags"] = tags_of(arguments.list("--tags"));
    }
    if (arguments.given("--disabled")) {
        body["attributes"] = {{"enabled", false}};
    }
    const SecretPlace place{
        .store = arguments.string("--vault-name"),
        .path = "/secrets/" + percent_encode(arguments.string("--name"))
    };
    return with_name(send_secret(
        "PUT", place, body.dump(-1, ' ', false, Json::error_handler_t::replace), session
    ));
}

Json show_secret(const Arguments& arguments, Session& session) {
    SecretPlace place = place_of(arguments);
    if (arguments.given("--version")) {
        place.path += "/" + percent_encode(arguments.string("--version"));
    }
    return with_name(send_secret("GET", place, {}, session));
}

Json list_secrets(const Arguments& arguments, Session& session) {
    const SecretPlace place{.store = arguments.string("--vault-name"), .path = "/secrets"};
    Json all = Json::array();
    const Json page = send_secret("GET", place, {}, session);
    for (const JsonReader& secret :
         JsonReader{page, "secrets", ErrorKind::kInternal}.member("value").elements()) {
        all.push_back(with_name(secret.value()));
    }
    return cut_to_max_items(std::move(all), arguments);
}

Json delete_secret(const Arguments& arguments, Session& session) {
    return with_name(send_secret("DELETE", place_of(arguments), {}, session));
}

Option store_option() {
    return optional({"--vault-name"}, "Name of the secret store; 'default' is the server's own.");
}

Option secret_name_option() {
    return optional({"--name", "-n"}, "Name of the secret.");
}

}  // namespace

void add_keyvault_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "keyvault secret set",
        .summary = "Store a secret: a password, a libpq URI or an ADO.NET string.",
        .options =
            {as_required(store_option()),
             as_required(secret_name_option()),
             optional(
                 {"--file", "-f"},
                 "File that holds it; - is standard input. A line end at "
                 "its end is not part of it."
             ),
             optional({"--value"}, "The secret itself; others can see it, so better use --file."),
             optional({"--content-type", "--description"}, "What it is."),
             flag({"--disabled"}, "Store it disabled."),
             list({"--tags"}, "Tags, key=value.")},
        .examples =
            {{"From a prompt or a pipe",
              "holdfast keyvault secret set --vault-name default --name empdb11 --file -"}},
        .handler = set_secret,
    });
    table.push_back({
        .path = "keyvault secret show",
        .summary = "Show a secret.",
        .options =
            {store_option(),
             secret_name_option(),
             optional({"--id"}, "URI of the secret."),
             optional({"--version"}, "A version; the newest when left out.")},
        .examples =
            {{"Its URI, for backup-instance initialize",
              "holdfast keyvault secret show --vault-name default --name empdb11 --query id -o "
              "tsv"}},
        .handler = show_secret,
    });
    table.push_back({
        .path = "keyvault secret list",
        .summary = "List the secrets of a store, without their values.",
        .options = {as_required(store_option()), max_items_option()},
        .examples = {{"All secrets", "holdfast keyvault secret list --vault-name default -o table"}
        },
        .handler = list_secrets,
        .table = "[].{Name: name, Enabled: attributes.enabled, ContentType: contentType}",
    });
    table.push_back({
        .path = "keyvault secret delete",
        .summary = "Delete a secret with all its versions.",
        .options = {store_option(), secret_name_option(), optional({"--id"}, "URI of the secret.")},
        .examples =
            {{"Delete a secret",
              "holdfast keyvault secret delete --vault-name default --name empdb11"}},
        .handler = delete_secret,
    });
}

}  // namespace holdfast::cli
