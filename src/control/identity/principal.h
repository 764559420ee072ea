#pragma once

#include <string>
#include <vector>

namespace holdfast::control {

enum class PrincipalKind { kAnonymous, kUser, kServicePrincipal, kManagedIdentity };

[[nodiscard]] constexpr const char* to_string(PrincipalKind kind) noexcept {
    switch (kind) {
        case PrincipalKind::kUser:
            return "User";
        case PrincipalKind::kServicePrincipal:
        case PrincipalKind::kManagedIdentity:
            return "ServicePrincipal";
        case PrincipalKind::kAnonymous:
            break;
    }
    return "Unknown";
}

/// One grant, as the decision needs it.
struct RoleGrant {
    std::string principal_id;
    std::string role;   ///< GUID or full id of the definition.
    std::string scope;  ///< `/`, or an ARM id.
};

/// Who makes a request, as an Authenticator established it.
struct Principal {
    PrincipalKind kind = PrincipalKind::kAnonymous;
    std::string object_id = {};     ///< GUID; what role assignments name.
    std::string display_name = {};  ///< For messages and the audit log.
    std::string tenant_id = {};     ///< GUID.
    std::string token_id = {};      ///< Which credential was used; never the credential itself.
    /// What the credential itself brings (the roles that an external issuer's claims are mapped
    /// to), beside the assignments of the catalog.
    std::vector<RoleGrant> claimed_grants = {};
};

}  // namespace holdfast::control
