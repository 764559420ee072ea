#pragma once

#include "base/clock.h"
#include "base/secret.h"
#include "control/bootstrap.h"
#include "control/config.h"

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

namespace holdfast::control {

/// The whole service in one object: state directory lock, catalog, keys, certificates, jobs,
/// routes, HTTPS. Serving when the constructor returns; the destructor stops gracefully.
class Server {
public:
    /// `clock` outlives this. Throws kStateDirectoryLocked (another server uses the state
    /// directory), kConfigInvalid, kKeyMissing, kKeyWrong, kKeyPermissions, kCatalogNewer…
    Server(const Config& config, Clock& clock);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] int port() const;
    /// `https://localhost:8443`: a name that the certificate has.
    [[nodiscard]] const std::string& url() const;
    /// Empty with a given certificate.
    [[nodiscard]] std::filesystem::path ca_file() const;
    /// What the owner logs in with, at the first start only. Taken out: a second call returns
    /// nothing.
    [[nodiscard]] std::optional<OwnerCredential> take_owner_credential();
    [[nodiscard]] const std::string& tenant_id() const;

    /// Why the server can't do its work, or nothing.
    [[nodiscard]] std::optional<std::string> not_ready() const;
    /// What has to be done now and then: certificates, expired operations. Cheap when nothing is
    /// due.
    void tick();
    /// SIGHUP: opens the access log anew; reads given certificates again, or issues a new one.
    void reload();

private:
    struct Graph;
    std::unique_ptr<Graph> graph_;
};

/// Runs a Server until SIGTERM, SIGINT or `stop`; tells systemd about readiness, stopping and the
/// watchdog. Prints where it listens and, at the first start, how to log in. Returns the exit code;
/// throws what Server throws.
int serve(const Config& config, Clock& clock, std::stop_token stop);

/// `holdfast serve --check-config`: writes nothing. Throws kConfigInvalid with everything that is
/// wrong with the paths, certificates and keys named.
void check_config(const Config& config);

/// A new token for the owner, made in the state directory itself: works with and without a running
/// server, for who may read its key. Throws kConfigInvalid when no server has ever used the state
/// directory.
[[nodiscard]] Secret make_owner_token(const Config& config, Clock& clock);

}  // namespace holdfast::control
