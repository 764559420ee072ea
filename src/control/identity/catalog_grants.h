#pragma once

#include "catalog/catalog.h"
#include "control/identity/authorize.h"

#include <string>
#include <vector>

namespace holdfast::control {

/// A custom role by its GUID, as an Authorizer asks for it.
[[nodiscard]] std::optional<RoleDefinition> custom_role_in(
    const catalog::Catalog& catalog, std::string_view guid
);
[[nodiscard]] RoleDefinition role_of(const catalog::RoleDefinitionRecord& record);

/// The assignments of one principal, as an Authorizer asks for them.
[[nodiscard]] std::vector<RoleGrant> grants_in(
    const catalog::Catalog& catalog, const std::string& principal_id
);

}  // namespace holdfast::control
