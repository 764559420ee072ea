#include "base/error.h"
#include "base/text.h"
#include "cli/commands/common.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kApiVersion = "?api-version=2022-12-01";

std::string path_of(std::string_view resource, const Arguments& arguments, Session& session) {
    return resource_path(resource, arguments, session) + std::string{kApiVersion};
}

/// The password of --password-file, or of the prompt when neither it nor a secret was named.
std::optional<Secret> password_of(const Arguments& arguments, Session& session) {
    const bool file = arguments.given("--password-file");
    const bool uri = arguments.given("--secret-uri");
    if (file && uri) {
        throw Error{ErrorKind::kUsage, "incorrect usage: --password-file FILE | --secret-uri URI"};
    }
    if (file) {
        return secret_from_file(arguments.string("--password-file"), session);
    }
    if (!uri && arguments.given("--login") && session.console().in_is_terminal) {
        return prompt_secret(
            session.console(), fmt::format("Password of {}: ", arguments.string("--login"))
        );
    }
    return std::nullopt;
}

Json own_settings(const Arguments& arguments) {
    Json own = Json::object();
    if (arguments.given("--port")) {
        own["port"] = whole_number(arguments, {.option = "--port", .fallback = 5432, .max = 65535});
    }
    if (arguments.given("--ssl-mode")) {
        own["sslMode"] = arguments.string("--ssl-mode");
    }
    if (arguments.given("--ssl-root-cert")) {
        own["sslRootCert"] = arguments.string("--ssl-root-cert");
    }
    if (arguments.given("--secret-uri")) {
        own["secretUri"] = arguments.string("--secret-uri");
    }
    if (arguments.given("--excluded-databases")) {
        own["excludedDatabases"] = arguments.list("--excluded-databases");
    }
    return own;
}

void warn_of_connection(const Json& server, Session& session) {
    const JsonReader reader{server, "server", ErrorKind::kInternal};
    const auto properties = reader.optional_member("properties");
    const auto own = properties ? properties->optional_member("holdfast") : std::nullopt;
    const auto connection = own ? own->optional_member("connection") : std::nullopt;
    if (!connection || connection->string_or("status", "Succeeded") == "Succeeded") {
        return;
    }
    const auto error = connection->optional_member("error");
    session.warn(fmt::format(
        "The server is registered, but could not be asked: {}",
        error ? error->string_or("message", "no reason given") : "no reason given"
    ));
}

Json register_server(const Arguments& arguments, Session& session) {
    const std::optional<Secret> password = password_of(arguments, session);
    Json properties{{"fullyQualifiedDomainName", arguments.string("--host")}};
    if (arguments.given("--login")) {
        properties["administratorLogin"] = arguments.string("--login");
    }
    if (password) {
        properties["administratorLoginPassword"] = std::string{password->expose_text()};
    }
    properties["holdfast"] = own_settings(arguments);
    Json body{{"properties", std::move(properties)}};
    if (arguments.given("--location")) {
        body["location"] = arguments.string("--location");
    }
    if (arguments.given("--tags")) {
        body["tags"] = tags_of(arguments.list("--tags"));
    }
    Json server = session.run_operation(
        "PUT", path_of(kServerResource, arguments, session), &body, Session::Wait::kYes
    );
    warn_of_connection(server, session);
    return without_nulls(std::move(server));
}

Json list_servers(const Arguments& arguments, Session& session) {
    const std::string scope = arguments.given("--resource-group")
                                  ? group_path(arguments, session)
                                  : fmt::format("/subscriptions/{}", session.subscription());
    return without_nulls(session.list(
        fmt::format("{}/providers/Microsoft.DBforPostgreSQL/flexibleServers{}", scope, kApiVersion)
    ));
}

/// Everything that a backup would miss; exit code 1 when it would fail.
Json check_connection(const Arguments& arguments, Session& session) {
    Json body = Json::object();
    if (arguments.given("--database-name")) {
        body["database"] = arguments.string("--database-name");
    }
    const std::string path = fmt::format(
        "{}/checkConnection{}", resource_path(kServerResource, arguments, session), kApiVersion
    );
    Json report = session.run_operation("POST", path, &body, Session::Wait::kYes);
    if (const Json* status = find_member(report, "status");
        status != nullptr && *status == "Failed") {
        session.set_exit_code(1);
    }
    return without_nulls(std::move(report));
}

Handler get_handler(std::string_view resource) {
    return [resource](const Arguments& arguments, Session& session) {
        return without_nulls(session.get(path_of(resource, arguments, session)));
    };
}

Json list_databases(const Arguments& arguments, Session& session) {
    return without_nulls(session.list(
        resource_path(kDatabaseResource, arguments, session, PathOf::kCollection) +
        std::string{kApiVersion}
    ));
}

Json delete_server(const Arguments& arguments, Session& session) {
    confirm(arguments, session);
    (void)session.run_operation(
        "DELETE", path_of(kServerResource, arguments, session), nullptr, Session::Wait::kYes
    );
    return nullptr;
}

Option server_option() {
    return required({"--name", "-n"}, "Name of the registered server.");
}

Option server_of_database_option() {
    return required({"--server-name", "-s"}, "Name of the registered server.");
}

Command register_command() {
    return {
        .path = "postgres flexible-server register",
        .summary =
            "Register a PostgreSQL server, so that its databases can be protected. Not in "
            "az.",
        .options =
            {resource_group_option(),
             server_option(),
             required({"--host"}, "Host name or address, or the directory of a Unix socket."),
             optional({"--login", "--admin-user", "-u"}, "Role to log in as."),
             optional(
                 {"--password-file"},
                 "File with its password, - for standard input. A line end at its end is not "
                 "part of it."
             ),
             optional({"--secret-uri"}, "Secret that holds the password, in its place."),
             with_default(optional({"--port"}, "Port."), "5432"),
             one_of(
                 {"--ssl-mode"},
                 {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
                 "TLS to the server. Default: verify-full, prefer on loopback and Unix sockets."
             ),
             optional({"--ssl-root-cert"}, "PEM file on the Holdfast host with the server's CA."),
             list({"--excluded-databases"}, "Databases that are not backed up."),
             optional({"--location", "-l"}, "Location, a label."),
             list({"--tags"}, "Tags, key=value.")},
        .examples =
            {{"With a password",
              "holdfast postgres flexible-server register -g ossrg -n testposgresql --host "
              "db.example.org --login backup --password-file -"},
             {"With a secret",
              "holdfast postgres flexible-server register -g ossrg -n testposgresql --host "
              "127.0.0.1 --port 5433 --login backup --secret-uri "
              "https://localhost:8443/secrets/empdb11"}},
        .handler = register_server,
    };
}

}  // namespace

void add_postgres_commands(std::vector<Command>& table) {
    table.push_back(register_command());
    table.push_back({
        .path = "postgres flexible-server show",
        .summary = "Show a registered server.",
        .options = {resource_group_option(), server_option()},
        .examples =
            {{"Its id, for backup-instance initialize",
              "holdfast postgres flexible-server show -g ossrg -n testposgresql --query id -o tsv"}
            },
        .handler = get_handler(kServerResource),
        .resource = kServerResource,
    });
    table.push_back({
        .path = "postgres flexible-server list",
        .summary = "List the registered servers of a resource group or of the subscription.",
        .options = {optional({"--resource-group", "-g"}, "Name of the resource group.")},
        .examples = {{"All servers", "holdfast postgres flexible-server list -o table"}},
        .handler = list_servers,
        .table = "[].{Name: name, ResourceGroup: resourceGroup, Host: "
                 "properties.fullyQualifiedDomainName, Version: properties.version, Location: "
                 "location}",
    });
    table.push_back({
        .path = "postgres flexible-server delete",
        .summary = "Remove the registration of a server that is not protected.",
        .options = {resource_group_option(), server_option(), yes_option()},
        .examples =
            {{"Remove a server",
              "holdfast postgres flexible-server delete -g ossrg -n testposgresql -y"}},
        .handler = delete_server,
        .resource = kServerResource,
    });
    table.push_back({
        .path = "postgres flexible-server check-connection",
        .summary = "Connect, and name everything that a backup would miss with its remedy; exit "
                   "code 1 when it would fail. Not in az.",
        .options =
            {resource_group_option(),
             server_option(),
             optional({"--database-name", "-d"}, "Only this database.")},
        .examples =
            {{"Check a server",
              "holdfast postgres flexible-server check-connection -g ossrg -n testposgresql"}},
        .handler = check_connection,
        .resource = kServerResource,
        .table =
            "findings[].{Severity: severity, Code: code, Database: database, Message: message} "
            "|| [@][].{Severity: 'None', Code: status, Database: join(' ', databases), "
            "Message: 'A backup would miss nothing.'}",
    });
    table.push_back({
        .path = "postgres flexible-server db list",
        .summary = "List the databases that a registered server has now.",
        .options = {resource_group_option(), server_of_database_option()},
        .examples =
            {{"The databases",
              "holdfast postgres flexible-server db list -g ossrg -s testposgresql -o table"}},
        .handler = list_databases,
        .table = "[].{Name: name, Charset: properties.charset, Collation: properties.collation, "
                 "Owner: properties.holdfast.owner, Size: properties.holdfast.sizeInBytes}",
    });
    table.push_back({
        .path = "postgres flexible-server db show",
        .summary = "Show a database of a registered server.",
        .options =
            {resource_group_option(),
             server_of_database_option(),
             required({"--database-name", "-d", "--name", "-n"}, "Name of the database.")},
        .examples =
            {{"Its id, for backup-instance initialize",
              "holdfast postgres flexible-server db show -g ossrg -s testposgresql -d empdb11 "
              "--query id -o tsv"}},
        .handler = get_handler(kDatabaseResource),
        .resource = kDatabaseResource,
    });
}

}  // namespace holdfast::cli
