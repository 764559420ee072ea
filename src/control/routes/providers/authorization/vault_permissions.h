#pragma once

#include "catalog/catalog.h"
#include "catalog/records.h"
#include "control/identity/authorize.h"
#include "control/route.h"
#include "jobs/engine.h"
#include "jobs/requests.h"

#include <string>
#include <string_view>
#include <vector>

// What a backup vault's managed identity must be allowed, as in Azure: it is a principal like any
// other, and nobody's right to use a vault gives the vault rights on what it backs up.
namespace holdfast::catalog {
class SecretStore;
}  // namespace holdfast::catalog

namespace holdfast::control {

struct Config;

struct NeededRole {
    std::string_view role_id;
    std::string_view role_name;
    std::string scope;
    std::string_view probe;  ///< An action that the role permits; any role that does will do.
};

/// What tells which scopes a request names.
struct RoleSources {
    const Config& config;
    const catalog::Catalog& catalog;
    const catalog::SecretStore& secrets;
};

/// For backups of a datasource: Reader on its server's group, the long-term retention role on the
/// server, and the right to read the secret when the request names one.
[[nodiscard]] std::vector<NeededRole> needed_for_backup(
    const RoleSources& sources, const std::string& datasource_id, const std::string& secret_uri
);
[[nodiscard]] std::vector<NeededRole> needed_for_backup(
    const RequestContext& context, const std::string& datasource_id, const std::string& secret_uri
);
/// For a restore: to write into the container, or the long-term retention role on the server.
[[nodiscard]] std::vector<NeededRole> needed_for_restore(
    const RoleSources& sources, const jobs::RestoreRequest& request
);
[[nodiscard]] std::vector<NeededRole> needed_for_restore(
    const RequestContext& context, const jobs::RestoreRequest& request
);

/// Returns when the vault's identity has all of it. Where the caller may assign every missing role,
/// and identity.auto_grant is on, they are assigned (and audited); otherwise throws
/// kMissingPermissions with each missing one and the command that grants it, and nothing changes.
void require_vault_permissions(
    const RequestContext& context,
    const catalog::VaultRecord& vault,
    const std::vector<NeededRole>& needed
);

/// The same question when a job runs: what was assigned when it was asked for may be gone by now.
/// Grants nothing, since nobody is there who might. Everything given outlives this.
class VaultIdentityCheck final : public jobs::IdentityCheck {
public:
    VaultIdentityCheck(RoleSources sources, const Authorizer& authorizer)
        : sources_{sources}, authorizer_{authorizer} {}
    void require_backup(
        const catalog::VaultRecord& vault, const catalog::InstanceRecord& instance
    ) const override;
    void require_restore(const catalog::VaultRecord& vault, const jobs::RestoreRequest& request)
        const override;

private:
    const RoleSources sources_;
    const Authorizer& authorizer_;
};

}  // namespace holdfast::control
