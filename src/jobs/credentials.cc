#include "jobs/credentials.h"

#include "base/error.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr std::string_view kProvider = "Microsoft.DBforPostgreSQL";

bool is_word(const std::string& part, std::string_view word) {
    return equal_ignoring_case(part, word);
}

}  // namespace

DatasourceName parse_datasource_id(std::string_view id, std::string_view target) {
    // "", subscriptions, S, resourceGroups, G, providers, NS, flexibleServers, NAME[, databases, D]
    const std::vector<std::string> parts = split(id, '/');
    const bool shape = (parts.size() == 9 || parts.size() == 11) && parts[0].empty() &&
                       is_word(parts[1], "subscriptions") && is_word(parts[3], "resourceGroups") &&
                       is_word(parts[5], "providers") && is_word(parts[6], kProvider) &&
                       (is_word(parts[7], "flexibleServers") || is_word(parts[7], "servers"));
    bool named = shape && !parts[2].empty() && !parts[4].empty() && !parts[8].empty();
    if (named && parts.size() == 11) {
        named = is_word(parts[9], "databases") && !parts[10].empty();
    }
    if (!named) {
        throw Error{
            ErrorKind::kInvalidResourceId,
            ErrorText{
                .message = fmt::format("\"{}\" is not the id of a PostgreSQL datasource.", id),
                .target = std::string{target},
                .recommended_actions =
                    {"Use /subscriptions/S/resourceGroups/G/providers/Microsoft.DBforPostgreSQL/"
                     "flexibleServers/NAME, with /databases/DATABASE for one database."},
            }
        };
    }
    DatasourceName name{
        .server_id = fmt::format(
            "/subscriptions/{}/resourceGroups/{}/providers/{}/flexibleServers/{}",
            parts[2],
            parts[4],
            kProvider,
            parts[8]
        ),
        .server_name = parts[8],
        .database = std::nullopt,
        .subscription_id = parts[2],
        .resource_group = parts[4],
    };
    if (parts.size() == 11) {
        name.database = percent_decode(parts[10]);
    }
    return name;
}

std::string server_key(const DatasourceName& name) {
    return to_lower(name.server_id);
}

ResolvedDatasource CredentialResolver::resolve(
    std::string_view datasource_id, std::string_view secret_uri
) const {
    DatasourceName name = parse_datasource_id(datasource_id, "dataSourceInfo.resourceID");
    auto server = catalog_.get<catalog::ServerRecord>(name.server_id);
    if (!server) {
        throw Error{
            ErrorKind::kServerNotRegistered,
            ErrorText{
                .message = fmt::format(
                    "The PostgreSQL server \"{}\" is not registered in resource group \"{}\".",
                    name.server_name,
                    name.resource_group
                ),
                .target = name.server_id,
                .recommended_actions = {fmt::format(
                    "Register it: holdfast postgres flexible-server register -g {} --name {} "
                    "--host HOST "
                    "--login USER --password-file FILE",
                    name.resource_group,
                    name.server_name
                )},
            }
        };
    }
    postgres::ConnectionParameters connection = connection_to(*server, secret_uri);
    if (name.database) {
        connection.database = *name.database;
    }
    std::vector<std::string> warnings = postgres::tls_warnings(connection);
    return ResolvedDatasource{
        .name = std::move(name),
        .server = std::move(*server),
        .connection = std::move(connection),
        .warnings = std::move(warnings),
    };
}

postgres::ConnectionParameters CredentialResolver::connection_to(
    const catalog::ServerRecord& server, std::string_view secret_uri
) const {
    postgres::ConnectionParameters connection;
    connection.host = server.host;
    connection.port = server.port;
    connection.user = server.login;
    connection.ssl_root_cert = server.ssl_root_cert;
    if (!server.ssl_mode.empty()) {
        connection.ssl_mode = postgres::parse_ssl_mode(server.ssl_mode);
        if (!connection.ssl_mode) {
            throw Error{
                ErrorKind::kInternal,
                fmt::format("The stored TLS mode of server \"{}\" is not known.", server.name)
            };
        }
    }
    const std::string uri{secret_uri.empty() ? std::string_view{server.secret_uri} : secret_uri};
    if (!uri.empty()) {
        Secret value;
        catalog_.read([&](const catalog::View& view) { value = secrets_.resolve(view, uri); });
        postgres::SecretConnection secret = postgres::parse_secret_value(value);
        // The database is the datasource's business: a secret's own is only a place to begin.
        if (!secret.database.empty()) {
            connection.database = secret.database;
        }
        postgres::apply_secret(connection, std::move(secret));
    }
    return connection;
}

}  // namespace holdfast::jobs
