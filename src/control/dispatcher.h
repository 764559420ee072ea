#pragma once

#include "control/access_log.h"
#include "control/http/http_server.h"
#include "control/identity/authenticator.h"
#include "control/route.h"

#include <mutex>
#include <string>
#include <vector>

namespace holdfast::control {

class Metrics;
struct Services;

struct DispatcherSettings {
    std::string
        public_url;  ///< Origin in the URLs that replies hold; empty: what the client asked for.
    std::string fallback_origin;  ///< For a request without a usable Host.
    AccessLog* access_log = nullptr;  ///< Null: requests go to the log.
    Metrics* metrics = nullptr;       ///< Null: nothing is counted.
};

/// From a complete request to its reply: ids, authentication, routing, api-version, authorization,
/// body, handler. The boundary where errors become ARM's, and where each request gets its log line
/// and its audit record. Safe from any thread.
class Dispatcher final : public RequestHandler {
public:
    /// `authenticators` are asked in order. All arguments that are references or pointers outlive
    /// this.
    Dispatcher(
        Services& services,
        std::vector<Route> routes,
        std::vector<Authenticator*> authenticators,
        DispatcherSettings settings
    );

    [[nodiscard]] Reply handle(Request request) noexcept override;
    [[nodiscard]] Reply refuse(Request request, const Error& error) noexcept override;

    [[nodiscard]] const RoutingTable& routes() const noexcept { return routes_; }

private:
    struct Trace;
    Reply process(Trace& trace);
    [[nodiscard]] Principal authenticate(const Request& request) const;
    [[nodiscard]] std::string base_url(const Request& request) const;
    [[nodiscard]] std::string challenge(const Request& request) const;
    void audit(const Trace& trace, const Reply& reply);
    [[nodiscard]] bool may_audit_stranger();
    void record(const Trace& trace, const Reply& reply);

    Services& services_;
    const RoutingTable routes_;
    const std::vector<Authenticator*> authenticators_;
    const DispatcherSettings settings_;
    AccessLog stderr_log_{std::filesystem::path{}};
    std::mutex mutex_;
    SteadyInstant stranger_window_{};      // Guarded by mutex_.
    std::size_t strangers_in_window_ = 0;  // Guarded by mutex_.
};

}  // namespace holdfast::control
