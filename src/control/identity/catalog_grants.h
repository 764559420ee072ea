#pragma once

#include "catalog/catalog.h"
#include "control/identity/authorize.h"

#include <string>
#include <vector>

namespace holdfast::control {

/// The assignments of one principal, as an Authorizer asks for them.
[[nodiscard]] std::vector<RoleGrant> grants_in(
    const catalog::Catalog& catalog, const std::string& principal_id
);

}  // namespace holdfast::control
