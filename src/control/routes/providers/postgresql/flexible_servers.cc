// …/providers/Microsoft.DBforPostgreSQL/flexibleServers: the registered servers.
#include "base/ids.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "catalog/secret_store.h"
#include "control/arm.h"
#include "control/config.h"
#include "control/identity/authorize.h"
#include "control/resource_id.h"
#include "control/routes/documents.h"
#include "control/routes/lookup.h"
#include "control/routes/request_body.h"
#include "control/routes/route_groups.h"
#include "control/services.h"
#include "jobs/credentials.h"
#include "jobs/data_plane.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::ResourceGroupRecord;
using catalog::SecretStore;
using catalog::ServerRecord;

constexpr NameRule kServerRule{
    .what = "server", .length_min = 1, .length_max = 63, .extra_characters = "-_."
};
constexpr std::string_view kReadServer = "Microsoft.DBforPostgreSQL/flexibleServers/read";
/// A registration waits this long for a server that does not answer; jobs have their own patience.
constexpr std::chrono::seconds kProbeTimeout{5};
constexpr std::size_t kPasswordSizeMax = 1000;  // libpq's own limit lies just above.

Reply server_reply(int status, const ServerRecord& server) {
    Reply reply = Reply::json(status, server_document(server));
    reply.headers.set("ETag", quote_etag(server.etag));
    return reply;
}

ServerRecord load_server(const RequestContext& context) {
    ServerRecord server;
    context.services.catalog.read([&](const catalog::View& view) {
        server = require_server(view, context);
    });
    return server;
}

Reply get_server(const RequestContext& context) {
    return server_reply(200, load_server(context));
}

std::vector<Json> readable_servers(
    const RequestContext& context, const catalog::View& view, const catalog::Query& query
) {
    std::vector<Json> items;
    view.each<ServerRecord>(query, [&](const ServerRecord& server) {
        if (context.services.authorizer.allows(context.principal, kReadServer, server.id)) {
            items.push_back(server_document(server));
        }
        return true;
    });
    return items;
}

Reply list_by_group(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        items = readable_servers(context, view, {.parent = require_group(view, context).id});
    });
    return list_reply(context, std::move(items));
}

Reply list_by_subscription(const RequestContext& context) {
    std::vector<Json> items;
    context.services.catalog.read([&](const catalog::View& view) {
        const auto subscription = require_subscription(view, context.path.at("subscriptionId"));
        items = readable_servers(
            context, view, {.parent_prefix = fmt::format("/subscriptions/{}/", subscription.id)}
        );
    });
    return list_reply(context, std::move(items));
}

// ---- Reading a registration

void require_plain(const JsonReader& member, std::string_view what) {
    const std::string& text = member.as_string();
    const bool bad = text.empty() || text.size() > 255 ||
                     std::any_of(text.begin(), text.end(), [](unsigned char c) {
                         return c <= 0x20 || c == 0x7f || c == ',';
                     });
    if (bad) {
        member.fail(
            fmt::format("This is no {}.", what),
            "one host name or address, or the directory of a Unix socket"
        );
    }
}

void read_excluded(const JsonReader& list, ServerRecord& server) {
    server.excluded_databases.clear();
    for (const JsonReader& name : list.elements()) {
        if (name.as_string().empty() || name.as_string().size() > 63) {
            name.fail("This is no database name.", "1 to 63 bytes");
        }
        server.excluded_databases.push_back(name.as_string());
    }
}

void read_own_settings(const JsonReader& own, ServerRecord& server, IgnoredProperties& ignored) {
    ignored.note_unknown(
        own, {"port", "sslMode", "sslRootCert", "secretUri", "excludedDatabases", "connection"}
    );
    if (const auto port = own.optional_member("port")) {
        const std::int64_t number = port->as_integer();
        if (number < 1 || number > 65535) {
            port->fail("This is no port.", "1 to 65535");
        }
        server.port = static_cast<int>(number);
    }
    if (const auto mode = own.optional_member("sslMode")) {
        const auto parsed = postgres::parse_ssl_mode(mode->as_string());
        if (!parsed) {
            mode->fail(
                "This is no TLS mode.", "disable, allow, prefer, require, verify-ca, verify-full"
            );
        }
        server.ssl_mode = postgres::ssl_mode_name(*parsed);
    }
    server.ssl_root_cert = own.string_or("sslRootCert", server.ssl_root_cert);
    if (const auto uri = own.optional_member("secretUri")) {
        (void)SecretStore::parse_uri(uri->as_string());
        server.secret_uri = uri->as_string();
    }
    if (const auto excluded = own.optional_member("excludedDatabases")) {
        read_excluded(*excluded, server);
    }
}

/// What the body says on top of `server`; the password, when it has one.
std::optional<Secret> read_server(
    const RequestContext& context, ServerRecord& server, IgnoredProperties& ignored
) {
    const JsonReader body = body_reader(context);
    ignored.note_unknown(
        body, {"id", "name", "type", "location", "tags", "properties", "systemData"}
    );
    const bool replaces = context.request.verb == Verb::kPut;
    if (const auto tags = read_tags(body)) {
        server.tags = *tags;
    } else if (replaces) {
        server.tags = Json::object();
    }
    server.location = read_location(body, server.location);
    const auto properties = body.optional_member("properties");
    if (!properties) {
        if (replaces) {
            (void)body.member("properties");
        }
        return std::nullopt;
    }
    ignored.note_unknown(
        *properties,
        {"fullyQualifiedDomainName",
         "administratorLogin",
         "administratorLoginPassword",
         "version",
         "minorVersion",
         "state",
         "holdfast"}
    );
    if (const auto host = properties->optional_member("fullyQualifiedDomainName")) {
        require_plain(*host, "host");
        server.host = host->as_string();
    } else if (server.host.empty()) {
        (void)properties->member("fullyQualifiedDomainName");
    }
    server.login = properties->string_or("administratorLogin", server.login);
    const auto own = properties->optional_member("holdfast");
    if (own) {
        read_own_settings(*own, server, ignored);
    }
    const auto password = properties->optional_member("administratorLoginPassword");
    if (!password) {
        return std::nullopt;
    }
    if (own && own->has("secretUri")) {
        password->fail("Give a password or holdfast.secretUri, not both.");
    }
    const std::string& text = password->as_string();
    if (text.empty() || text.size() > kPasswordSizeMax || text.find('\0') != std::string::npos) {
        // Not through the reader: its message would quote the password.
        throw Error{
            ErrorKind::kInvalidRequestContent,
            ErrorText{
                .message = "The password is empty, too long, or holds a NUL.",
                .target = password->path(),
                .recommended_actions = {"Send a password of 1 to 1000 bytes."},
            }
        };
    }
    return Secret{text};
}

bool has_own_secret(const ServerRecord& server) {
    return !server.secret_uri.empty() &&
           SecretStore::parse_uri(server.secret_uri).store == kServerSecretStore;
}

void remove_own_secret(
    const RequestContext& context, catalog::Transaction& transaction, const ServerRecord& server
) {
    if (has_own_secret(server)) {
        const auto reference = SecretStore::parse_uri(server.secret_uri);
        context.services.secrets.remove(transaction, reference.store, reference.name);
    }
}

/// The password goes to the secret store, in the transaction that stores the registration; the
/// registration keeps only its place.
void store_password(
    const RequestContext& context,
    catalog::Transaction& transaction,
    const std::optional<ServerRecord>& before,
    const std::optional<Secret>& password,
    ServerRecord& server
) {
    if (password) {
        const bool reuse = before && has_own_secret(*before);
        const std::string name =
            reuse ? SecretStore::parse_uri(before->secret_uri).name : "server-" + new_guid();
        (void)context.services.secrets.set(transaction, kServerSecretStore, name, *password);
        server.secret_uri =
            fmt::format("https://{}.holdfast.internal/secrets/{}", kServerSecretStore, name);
        return;
    }
    if (before && before->secret_uri != server.secret_uri) {
        remove_own_secret(context, transaction, *before);
    }
}

// ---- Asking the server

struct Probe {
    std::string version;  ///< Empty when it could not be asked.
    Json error = nullptr;
};

/// Whether the server answers, and its version. A registration stands also when it does not: the
/// answer says what is wrong.
Probe probe(const RequestContext& context, const ServerRecord& server) {
    Probe result;
    try {
        auto connection = context.services.credentials.connection_to(server, server.secret_uri);
        connection.connect_timeout = kProbeTimeout;
        result.version = context.services.data_plane.read_server(connection, {}).version;
    } catch (const Error& error) {
        log_warning(
            "a registered server could not be asked",
            {{"server", server.id},
             {"correlation_id", context.request.correlation_id},
             {"error", error.log_line()}}
        );
        result.error = user_facing_error(error, context.request.correlation_id);
    }
    return result;
}

Reply store_server(const RequestContext& context) {
    const bool is_patch = context.request.verb == Verb::kPatch;
    IgnoredProperties ignored;
    ServerRecord server;
    bool created = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const ResourceId id =
            ResourceId::resource_group(
                context.path.at("subscriptionId"), context.path.at("resourceGroupName")
            )
                .provider_child(
                    "Microsoft.DBforPostgreSQL", "flexibleServers", context.path.at("serverName")
                );
        const auto before = is_patch ? std::optional{require_server(transaction, context)}
                                     : transaction.get<ServerRecord>(id.key());
        check_preconditions(context.request, before ? std::optional{before->etag} : std::nullopt);
        server = before.value_or(ServerRecord{});
        created = !before.has_value();
        if (created) {
            require_name(id.name(), kServerRule);
            server.location = canonical_location(context.services.config.service.location);
        }
        const auto password = read_server(context, server, ignored);
        if (created) {
            const ResourceGroupRecord group = ensure_group(transaction, context, server.location);
            server.id = fmt::format(
                "{}/providers/Microsoft.DBforPostgreSQL/flexibleServers/{}", group.id, id.name()
            );
            server.subscription_id = group.subscription_id;
            server.resource_group = group.name;
            server.name = id.name();
            server.created_at = transaction.now();
        }
        store_password(context, transaction, before, password, server);
        transaction.put(server);
    });
    const Probe answer = probe(context, server);
    if (!answer.version.empty() && answer.version != server.version) {
        context.services.catalog.write([&](catalog::Transaction& transaction) {
            server = require_server(transaction, context);
            server.version = answer.version;
            transaction.put(server);
        });
    }
    Reply reply = server_reply(created ? 201 : 200, server);
    Json& own = std::get<Json>(reply.body)["properties"]["holdfast"];
    own["connection"] =
        Json{{"status", answer.error.is_null() ? "Succeeded" : "Failed"}, {"error", answer.error}};
    ignored.report(context, reply);
    return reply;
}

bool is_protecting(const InstanceRecord& instance, const ServerRecord& server) {
    const bool same = equal_ignoring_case(instance.datasource_id, server.id) ||
                      starts_with_ignoring_case(instance.datasource_id, server.id + "/");
    return same && !instance.soft_deleted && instance.state != "ProtectionStopped";
}

Reply delete_server(const RequestContext& context) {
    bool removed = false;
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        const ResourceId id =
            ResourceId::resource_group(
                context.path.at("subscriptionId"), context.path.at("resourceGroupName")
            )
                .provider_child(
                    "Microsoft.DBforPostgreSQL", "flexibleServers", context.path.at("serverName")
                );
        const auto server = transaction.get<ServerRecord>(id.key());
        if (!server) {
            return;
        }
        check_preconditions(context.request, server->etag);
        transaction.each<InstanceRecord>({}, [&](const InstanceRecord& instance) {
            if (is_protecting(instance, *server)) {
                throw Error{
                    ErrorKind::kServerProtected,
                    ErrorText{
                        .message = fmt::format(
                            "The server '{}' is protected by the backup instance '{}' in the "
                            "vault {}.",
                            server->name,
                            instance.name,
                            instance.vault_id
                        ),
                        .target = server->id,
                        .recommended_actions =
                            {"Stop the protection of this backup instance, or delete it, first."},
                    }
                };
            }
            return true;
        });
        remove_own_secret(context, transaction, *server);
        removed = transaction.remove<ServerRecord>(server->id);
    });
    return Reply::empty(removed ? 200 : 204);
}

postgres::ServerInfo ask(const RequestContext& context, const ServerRecord& server) {
    const auto connection = context.services.credentials.connection_to(server, server.secret_uri);
    return context.services.data_plane.read_server(connection, {});
}

Json database_document(const ServerRecord& server, const postgres::DatabaseInfo& database) {
    const auto& excluded = server.excluded_databases;
    return Json{
        {"id", child_id(server.id, "databases", percent_encode(database.name))},
        {"name", database.name},
        {"type", "Microsoft.DBforPostgreSQL/flexibleServers/databases"},
        {"properties",
         {{"charset", database.encoding},
          {"collation", database.collate},
          {"holdfast",
           {{"owner", database.owner},
            {"sizeInBytes", database.size_bytes ? Json(*database.size_bytes) : Json{}},
            {"allowsConnections", database.allows_connections},
            {"excluded",
             std::find(excluded.begin(), excluded.end(), database.name) != excluded.end()}}}}}
    };
}

Reply list_databases(const RequestContext& context) {
    const ServerRecord server = load_server(context);
    const postgres::ServerInfo info = ask(context, server);
    std::vector<Json> items;
    for (const postgres::DatabaseInfo& database : info.databases) {
        if (!database.is_template) {
            items.push_back(database_document(server, database));
        }
    }
    return list_reply(context, std::move(items));
}

Reply get_database(const RequestContext& context) {
    const ServerRecord server = load_server(context);
    const postgres::ServerInfo info = ask(context, server);
    const std::string& name = context.path.at("databaseName");
    const postgres::DatabaseInfo* database = info.find_database(name);
    if (database == nullptr) {
        throw not_found(
            ErrorKind::kResourceNotFound,
            "Microsoft.DBforPostgreSQL/flexibleServers/databases",
            name,
            child_id(server.id, "databases", name)
        );
    }
    return Reply::ok(database_document(server, *database));
}

Json finding_document(const postgres::Finding& finding) {
    return Json{
        {"severity", finding.severity == postgres::Severity::kError ? "Error" : "Warning"},
        {"code", finding.code},
        {"database", finding.database.empty() ? Json{} : Json(finding.database)},
        {"message", finding.message},
        {"remedies", finding.remedies}
    };
}

/// Everything that a backup of this server would miss, without protecting it.
Reply check_connection(const RequestContext& context) {
    const ServerRecord server = load_server(context);
    postgres::BackupScope scope;
    scope.excluded_databases = server.excluded_databases;
    if (context.body.is_object()) {
        scope.database = body_reader(context).optional_string("database");
    }
    const auto connection = context.services.credentials.connection_to(server, server.secret_uri);
    const postgres::PreflightReport report =
        context.services.data_plane.preflight(connection, scope, {});
    Json findings = Json::array();
    for (const postgres::Finding& finding : report.findings) {
        findings.push_back(finding_document(finding));
    }
    Json skipped = Json::array();
    for (const postgres::SkippedDatabase& database : report.skipped) {
        skipped.push_back({{"name", database.name}, {"reason", database.reason}});
    }
    return Reply::ok(Json{
        {"status", report.ok() ? "Succeeded" : "Failed"},
        {"version", report.server.version},
        {"clientVersion", report.client_version},
        {"databases", report.databases},
        {"skippedDatabases", std::move(skipped)},
        {"sizeEstimateInBytes", report.size_estimate_bytes},
        {"findings", std::move(findings)}
    });
}

void add_database_routes(std::vector<Route>& routes, const std::string& item) {
    const std::string action = std::string{kServerType} + "/";
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = item + "/databases",
        .action = action + "databases/read",
        .summary = "Lists the databases of a server, as the server has them now.",
        .handler = list_databases,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = item + "/databases/{databaseName}",
        .action = action + "databases/read",
        .summary = "Shows a database, as the server has it now.",
        .handler = get_database,
    });
    routes.push_back(Route{
        .verb = Verb::kPost,
        .pattern = item + "/checkConnection",
        .action = action + "checkConnection/action",
        .summary = "Connects and names everything that a backup would miss.",
        .handler = check_connection,
        .body = BodyRule::kOptional,
    });
}

}  // namespace

void add_flexible_server_routes(std::vector<Route>& routes) {
    const std::string below = "/providers/Microsoft.DBforPostgreSQL/flexibleServers";
    const std::string item = std::string{kGroupPattern} + below + "/{serverName}";
    const std::string action = std::string{kServerType} + "/";
    const auto add = [&](Verb verb, std::string verb_action, std::string summary, Handler handler) {
        routes.push_back(Route{
            .verb = verb,
            .pattern = item,
            .action = action + std::move(verb_action),
            .summary = std::move(summary),
            .handler = std::move(handler),
            .body =
                verb == Verb::kPut || verb == Verb::kPatch ? BodyRule::kRequired : BodyRule::kNone,
        });
    };
    add(Verb::kGet, "read", "Shows a registered PostgreSQL server.", get_server);
    add(Verb::kPut, "write", "Registers a PostgreSQL server.", store_server);
    add(Verb::kPatch, "write", "Changes a server's registration.", store_server);
    add(Verb::kDelete, "delete", "Removes the registration of an unprotected server.", delete_server
    );
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = std::string{kGroupPattern} + below,
        .action = std::string{kReadServer},
        .summary = "Lists the registered servers of a resource group that the caller may read.",
        .handler = list_by_group,
        .access = Access::kAuthenticated,
    });
    routes.push_back(Route{
        .verb = Verb::kGet,
        .pattern = "/subscriptions/{subscriptionId}" + below,
        .action = std::string{kReadServer},
        .summary = "Lists the registered servers of a subscription that the caller may read.",
        .handler = list_by_subscription,
        .access = Access::kAuthenticated,
    });
    add_database_routes(routes, item);
}

}  // namespace holdfast::control
