#pragma once

#include <string>

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

/// Who makes a request, as an Authenticator established it.
struct Principal {
    PrincipalKind kind = PrincipalKind::kAnonymous;
    std::string object_id = {};     ///< GUID; what role assignments name.
    std::string display_name = {};  ///< For messages and the audit log.
    std::string tenant_id = {};     ///< GUID.
    std::string token_id = {};      ///< Which credential was used; never the credential itself.
};

}  // namespace holdfast::control
