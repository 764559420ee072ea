#include "control/routes/providers/authorization/vault_permissions.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"
#include "catalog/secret_store.h"
#include "control/audit.h"
#include "control/config.h"
#include "control/identity/authorize.h"
#include "control/key_vault_names.h"
#include "control/resource_id.h"
#include "control/routes/documents.h"
#include "control/routes/providers/authorization/role_scope.h"
#include "control/services.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::RoleAssignmentRecord;
using catalog::VaultRecord;

constexpr std::string_view kReadGroup = "Microsoft.Resources/subscriptions/resourceGroups/read";
constexpr std::string_view kBackUpServer =
    "Microsoft.DBforPostgreSQL/flexibleServers/startLtrBackup/action";
constexpr std::string_view kReadSecret = "Microsoft.KeyVault/vaults/secrets/getSecret/action";
constexpr std::string_view kWriteBlob =
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write";

NeededRole needed(std::string_view role_id, std::string scope, std::string_view probe) {
    const RoleDefinition* role = find_builtin_role(role_id);
    HOLDFAST_CHECK(role != nullptr && role_permits(*role, probe));
    return {
        .role_id = role->id, .role_name = role->name, .scope = std::move(scope), .probe = probe
    };
}

/// The server of a datasource: the id itself, or what is in front of `/databases/…`.
std::optional<ResourceId> server_of(const std::string& datasource_id) {
    auto id = ResourceId::try_parse(datasource_id);
    while (id && id->segments().size() > 1) {
        id = id->parent();
    }
    return id;
}

void add_server(std::vector<NeededRole>& out, const std::string& datasource_id) {
    if (const auto server = server_of(datasource_id)) {
        out.push_back(needed(kLongTermBackupRoleId, server->text(), kBackUpServer));
    }
}

std::string subscription_of(const RoleSources& sources) {
    std::string id;
    sources.catalog.read([&](const catalog::View& view) { id = first_subscription(view); });
    return id;
}

RoleSources sources_of(const RequestContext& context) {
    return {context.services.config, context.services.catalog, context.services.secrets};
}

void add_secret(
    std::vector<NeededRole>& out, const RoleSources& sources, const std::string& secret_uri
) {
    if (secret_uri.empty()) {
        return;  // The registration's own password: no key vault's.
    }
    const auto reference = sources.secrets.reference_of(secret_uri);
    if (reference.store == kServerSecretStore) {
        return;
    }
    const std::string vault =
        key_vault_id(sources.config, subscription_of(sources), reference.store);
    out.push_back(needed(kSecretsUserRoleId, vault + "/secrets/" + reference.name, kReadSecret));
}

/// The container of `https://…/restore/NAME[/…]`; empty for a target below the file root.
std::string container_of(std::string_view url) {
    constexpr std::string_view kPath = "/restore/";
    const auto at = url.find(kPath);
    if (url.starts_with("file:") || at == std::string_view::npos) {
        return {};
    }
    const std::string_view rest = url.substr(at + kPath.size());
    return std::string{rest.substr(0, rest.find('/'))};
}

std::string command_for(const NeededRole& role, const std::string& principal_id) {
    return fmt::format(
        "holdfast role assignment create --assignee-object-id {} --assignee-principal-type "
        "ServicePrincipal --role \"{}\" --scope {}",
        principal_id,
        role.role_name,
        role.scope
    );
}

[[noreturn]] void refuse(const VaultRecord& vault, const std::vector<NeededRole>& missing) {
    ErrorText text{
        .message = fmt::format(
            "The identity of the backup vault '{}' (object id {}) lacks permissions:",
            vault.name,
            vault.principal_id
        ),
        .target = vault.id,
    };
    for (const NeededRole& role : missing) {
        const std::string one = fmt::format("'{}' on {}", role.role_name, role.scope);
        text.message += (text.details.empty() ? " " : "; ") + one;
        text.details.push_back({"MissingRoleAssignment", one + " is not assigned.", role.scope});
        text.recommended_actions.push_back(command_for(role, vault.principal_id));
    }
    text.message += ".";
    text.recommended_actions.push_back(
        "Or have this done by somebody who may assign roles there: then it is granted by itself."
    );
    throw Error{ErrorKind::kMissingPermissions, std::move(text)};
}

void grant(
    const RequestContext& context, const VaultRecord& vault, const std::vector<NeededRole>& missing
) {
    context.services.catalog.write([&](catalog::Transaction& transaction) {
        for (const NeededRole& role : missing) {
            RoleAssignmentRecord record;
            record.id = new_guid();
            record.scope = role.scope;
            record.role_definition_id = role.role_id;
            record.principal_id = vault.principal_id;
            record.principal_type = "ServicePrincipal";
            record.description = "Granted by a validation for the vault " + vault.name;
            record.created_by = context.principal.object_id;
            record.created_at = transaction.now();
            transaction.put(record);
            catalog::AuditRecord audit;
            audit.principal_id = context.principal.object_id;
            audit.principal_name = context.principal.display_name;
            audit.peer = context.request.peer_address;
            audit.method = context.request.method;
            audit.path = fmt::format(
                "{}/providers/Microsoft.Authorization/roleAssignments/{}", role.scope, record.id
            );
            audit.action = kWriteAssignment;
            audit.scope = role.scope;
            audit.status = 201;
            audit.correlation_id = context.request.correlation_id;
            audit.details = {
                {"automatic", "true"}, {"role", role.role_name}, {"principalId", vault.principal_id}
            };
            context.services.audit.write_in(transaction, std::move(audit));
        }
    });
    for (const NeededRole& role : missing) {
        log_info(
            "role granted to a vault's identity",
            {{"vault", vault.id},
             {"role", std::string{role.role_name}},
             {"scope", role.scope},
             {"correlation_id", context.request.correlation_id}}
        );
    }
}

}  // namespace

std::vector<NeededRole> needed_for_backup(
    const RoleSources& sources, const std::string& datasource_id, const std::string& secret_uri
) {
    std::vector<NeededRole> out;
    if (const auto server = server_of(datasource_id); server && !server->group_name().empty()) {
        out.push_back(needed(
            kReaderRoleId,
            ResourceId::resource_group(server->subscription_id(), server->group_name()).text(),
            kReadGroup
        ));
    }
    add_server(out, datasource_id);
    add_secret(out, sources, secret_uri);
    return out;
}

std::vector<NeededRole> needed_for_backup(
    const RequestContext& context, const std::string& datasource_id, const std::string& secret_uri
) {
    return needed_for_backup(sources_of(context), datasource_id, secret_uri);
}

std::vector<NeededRole> needed_for_restore(
    const RoleSources& sources, const jobs::RestoreRequest& request
) {
    std::vector<NeededRole> out;
    if (const auto* files = std::get_if<jobs::FilesTarget>(&request.target)) {
        out.push_back(needed(
            kBlobContributorRoleId,
            restore_container_id(
                sources.config, subscription_of(sources), container_of(files->url)
            ),
            kWriteBlob
        ));
        return out;
    }
    const auto* server = std::get_if<jobs::ServerTarget>(&request.target);
    const auto* items = std::get_if<jobs::ItemsTarget>(&request.target);
    add_server(out, server != nullptr ? server->datasource_id : items->datasource_id);
    add_secret(out, sources, server != nullptr ? server->secret_uri : items->secret_uri);
    return out;
}

std::vector<NeededRole> needed_for_restore(
    const RequestContext& context, const jobs::RestoreRequest& request
) {
    return needed_for_restore(sources_of(context), request);
}

namespace {

Principal identity_of(const VaultRecord& vault) {
    if (vault.principal_id.empty()) {
        throw Error{
            ErrorKind::kMissingPermissions,
            ErrorText{
                .message = fmt::format(
                    "The backup vault '{}' has no identity that could be given permissions.",
                    vault.name
                ),
                .target = vault.id,
                .recommended_actions =
                    {"Give it one: holdfast dataprotection backup-vault update --type "
                     "SystemAssigned"},
            }
        };
    }
    return Principal{
        .kind = PrincipalKind::kManagedIdentity,
        .object_id = vault.principal_id,
        .display_name = vault.name,
    };
}

std::vector<NeededRole> missing_of(
    const Authorizer& authorizer,
    const VaultRecord& vault,
    const std::vector<NeededRole>& needed_roles
) {
    const Principal identity = identity_of(vault);
    std::vector<NeededRole> missing;
    for (const NeededRole& role : needed_roles) {
        if (!authorizer.allows(identity, role.probe, role.scope)) {
            missing.push_back(role);
        }
    }
    return missing;
}

}  // namespace

void require_vault_permissions(
    const RequestContext& context, const VaultRecord& vault, const std::vector<NeededRole>& needed
) {
    const Authorizer& authorizer = context.services.authorizer;
    const std::vector<NeededRole> missing = missing_of(authorizer, vault, needed);
    if (missing.empty()) {
        return;
    }
    const bool grantable =
        context.services.config.identity.auto_grant &&
        std::all_of(missing.begin(), missing.end(), [&](const NeededRole& role) {
            return authorizer.allows(context.principal, kWriteAssignment, role.scope);
        });
    if (!grantable) {
        refuse(vault, missing);
    }
    grant(context, vault, missing);
}

void VaultIdentityCheck::require_backup(
    const VaultRecord& vault, const catalog::InstanceRecord& instance
) const {
    const auto missing = missing_of(
        authorizer_,
        vault,
        needed_for_backup(sources_, instance.datasource_id, instance.secret_uri)
    );
    if (!missing.empty()) {
        refuse(vault, missing);
    }
}

void VaultIdentityCheck::require_restore(
    const VaultRecord& vault, const jobs::RestoreRequest& request
) const {
    const auto missing = missing_of(authorizer_, vault, needed_for_restore(sources_, request));
    if (!missing.empty()) {
        refuse(vault, missing);
    }
}

}  // namespace holdfast::control
