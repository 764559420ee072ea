#pragma once

#include "alerts/courier.h"
#include "alerts/outbox.h"
#include "base/ids.h"
#include "base/log.h"
#include "catalog/catalog.h"
#include "catalog/secret_store.h"
#include "control/audit.h"
#include "control/config.h"
#include "control/dispatcher.h"
#include "control/http/tls_material.h"
#include "control/identity/authorize.h"
#include "control/identity/catalog_grants.h"
#include "control/identity/identity.h"
#include "control/operations.h"
#include "control/services.h"
#include "control/testing/https_client.h"

#include <memory>
#include <string>
#include <vector>

namespace holdfast::control::testing {

/// A control plane without jobs: catalog in memory, identities, operations, dispatcher and, when
/// asked, HTTPS on a port of its own. The services of src/jobs are references to nothing: handlers
/// under test must not use them.
class ControlPlane {
public:
    explicit ControlPlane(std::vector<Route> routes, Config config_in = {})
        : config{std::move(config_in)},
          catalog{catalog::open_sqlite_catalog(":memory:", clock)},
          secrets{Secret::random(32), clock},
          authorizer{
              [this](const std::string& id) { return grants_in(*catalog, id); },
              [this](std::string_view guid) { return custom_role_in(*catalog, guid); }
          },
          operations{std::make_unique<Operations>(*catalog, clock)},
          outbox{alerts::OutboxSettings{}},
          courier{*catalog, clock, {}},
          audit{*catalog, clock, &outbox},
          identity{*catalog, Secret::random(32), {.tenant_id = tenant_id}, clock},
          tokens{identity.tokens},
          services{
              .config = config,
              .clock = clock,
              .catalog = *catalog,
              .secrets = secrets,
              .jobs = nothing<jobs::Engine>(),
              .protection = nothing<jobs::ProtectionService>(),
              .repositories = nothing<jobs::RepositoryPool>(),
              .credentials = nothing<jobs::CredentialResolver>(),
              .containers = nothing<jobs::RestoreContainers>(),
              .data_plane = nothing<jobs::DataPlane>(),
              .authorizer = authorizer,
              .operations = *operations,
              .audit = audit,
              .identity = identity,
              .alerts = outbox,
              .courier = courier,
          },
          dispatcher{
              services,
              std::move(routes),
              {&identity.access_tokens, &identity.tokens},
              {.fallback_origin = "https://localhost"}
          },
          owner_token{add_principal("owner", "Owner", "/")} {
        set_log_level(LogLevel::kError);
    }

    /// A principal with one role (none when `role` is empty); returns its token.
    std::string add_principal(
        const std::string& name, const std::string& role, const std::string& scope
    ) {
        std::string text;
        catalog->write([&](catalog::Transaction& transaction) {
            catalog::PrincipalRecord principal;
            principal.id = new_guid();
            principal.kind = "User";
            principal.display_name = name;
            transaction.put(principal);
            if (!role.empty()) {
                catalog::RoleAssignmentRecord assignment;
                assignment.id = new_guid();
                assignment.scope = scope;
                assignment.role_definition_id = find_builtin_role(role)->id;
                assignment.principal_id = principal.id;
                transaction.put(assignment);
            }
            text = tokens.issue(transaction, {.principal_id = principal.id, .description = "test"})
                       .text.expose_text();
        });
        return text;
    }

    /// One request without a network.
    struct Call {
        std::string method = "GET";
        std::string target;
        std::string token = {};
        std::string body = {};
        Headers headers = {};
    };
    Reply call(const Call& call) {
        Request request;
        request.method = call.method;
        request.raw_target = call.target;
        request.headers = call.headers;
        request.headers.set("Host", "localhost:8443");
        if (!call.token.empty()) {
            request.headers.set("Authorization", "Bearer " + call.token);
        }
        request.body = call.body;
        request.peer_address = "192.0.2.1:4711";
        return dispatcher.handle(std::move(request));
    }
    Reply as_owner(
        const std::string& method, const std::string& target, const std::string& body = ""
    ) {
        return call({.method = method, .target = target, .token = owner_token, .body = body});
    }

    /// What a restart of the process does to the long-running operations.
    void restart_operations() {
        operations.reset();
        operations = std::make_unique<Operations>(*catalog, clock);
    }

    std::vector<catalog::AuditRecord> audit_trail() {
        std::vector<catalog::AuditRecord> records;
        catalog->read([&](const catalog::View& view) { records = view.audit(std::nullopt, 1000); });
        return records;
    }

    FakeClock clock{*parse_instant("2026-05-01T12:00:00Z")};
    const std::string tenant_id = "99999999-9999-9999-9999-999999999999";
    Config config;
    std::unique_ptr<catalog::Catalog> catalog;
    catalog::SecretStore secrets;
    Authorizer authorizer;
    std::unique_ptr<Operations> operations;
    alerts::Outbox outbox;
    alerts::Courier courier;
    Audit audit;
    Identity identity;
    TokenAuthority& tokens;
    Services services;
    Dispatcher dispatcher;
    std::string owner_token;

private:
    template <typename Service>
    static Service& nothing() {
        alignas(16) static std::byte place[16];
        return *reinterpret_cast<Service*>(&place);
    }
};

inline const Json& body_of(const Reply& reply) {
    return std::get<Json>(reply.body);
}
inline std::string code_of(const Reply& reply) {
    const auto* body = std::get_if<Json>(&reply.body);
    return body != nullptr && body->contains("error")
               ? (*body)["error"].value("code", std::string{})
               : std::string{};
}

}  // namespace holdfast::control::testing
