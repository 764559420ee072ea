#include "control/identity/catalog_grants.h"

namespace holdfast::control {

std::vector<RoleGrant> grants_in(const catalog::Catalog& catalog, const std::string& principal_id) {
    std::vector<RoleGrant> grants;
    catalog.read([&](const catalog::View& view) {
        view.each<catalog::RoleAssignmentRecord>(
            {.subject = principal_id},
            [&](const catalog::RoleAssignmentRecord& record) {
                grants.push_back({record.principal_id, record.role_definition_id, record.scope});
                return true;
            }
        );
    });
    return grants;
}

}  // namespace holdfast::control
