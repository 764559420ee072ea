#pragma once

#include "base/clock.h"
#include "control/identity/principal.h"

#include <string>
#include <string_view>

namespace holdfast::catalog {
class Catalog;
}  // namespace holdfast::catalog

namespace holdfast::control {

struct AuditEvent {
    Principal principal;
    std::string peer_address;
    std::string
        action;  ///< ARM action of the route, or the server's own (`holdfast/tokens/create`).
    std::string resource;    ///< ARM id as requested.
    int status = 0;          ///< HTTP status; 0 for the server's own acts.
    std::string error_code;  ///< Empty on success.
    std::string correlation_id;
    std::string detail;  ///< Free text without secrets; e.g. a granted assignment.
};

/// The one path by which audit records are written: every change, every refusal, every access to
/// data. Safe from any thread. When write() returns, the record survives power loss.
class Audit {
public:
    Audit(catalog::Catalog& catalog, Clock& clock) : catalog_{catalog}, clock_{clock} {}
    void write(const AuditEvent& event);

private:
    catalog::Catalog& catalog_;
    Clock& clock_;
};

}  // namespace holdfast::control
