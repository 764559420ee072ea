#pragma once

#include "catalog/catalog.h"
#include "catalog/secret_store.h"
#include "postgres/connection.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::jobs {

/// The parts of a datasource's ARM id: `…/flexibleServers/S[/databases/D]` (or `…/servers/S…`, the
/// single server's type, which names the same registrations).
struct DatasourceName {
    std::string server_id;  ///< Up to and including the server's name, as written.
    std::string server_name;
    std::optional<std::string> database;  ///< Absent: the whole server.
    std::string subscription_id;
    std::string resource_group;
};
/// Throws kInvalidResourceId; `target` names the property that holds the id.
[[nodiscard]] DatasourceName parse_datasource_id(std::string_view id, std::string_view target);

/// Lower-case id of the server of a datasource: what jobs of one server have in common.
[[nodiscard]] std::string server_key(const DatasourceName& name);

/// How to reach a datasource.
struct ResolvedDatasource {
    DatasourceName name;
    catalog::ServerRecord server;
    postgres::ConnectionParameters
        connection;  ///< Of the named database; for a server, of one to begin with.
    std::vector<std::string> warnings;  ///< E.g. a TLS mode that does not prove who answers.
};

/// Turns datasource ids into connections: the registration says where, the secret who. Safe from
/// any thread.
class CredentialResolver {
public:
    CredentialResolver(const catalog::Catalog& catalog, const catalog::SecretStore& secrets)
        : catalog_{catalog}, secrets_{secrets} {}

    /// `secret_uri`: of the backup instance or the restore request; empty: the registration's.
    /// Throws kInvalidResourceId, kServerNotRegistered, kSecretNotFound, kInvalidSecret,
    /// kSecretFormat.
    [[nodiscard]] ResolvedDatasource resolve(
        std::string_view datasource_id, std::string_view secret_uri
    ) const;

    /// The same for a registration that may not be in the catalog yet.
    [[nodiscard]] postgres::ConnectionParameters connection_to(
        const catalog::ServerRecord& server, std::string_view secret_uri
    ) const;

private:
    const catalog::Catalog& catalog_;
    const catalog::SecretStore& secrets_;
};

}  // namespace holdfast::jobs
