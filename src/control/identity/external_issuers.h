#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"
#include "control/config.h"
#include "control/identity/authenticator.h"
#include "control/identity/jose.h"

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::control {

/// Accepts the access tokens of configured OpenID Connect issuers. Their keys are fetched from the
/// configured addresses alone, whatever a token says. Who comes for the first time gets a record in
/// the directory, so that he can be given roles, named in the trail and disabled; his object id
/// follows from issuer and subject. Safe from any thread.
class ExternalIssuers final : public Authenticator {
public:
    /// The text of the issuer's key set. Throws what it likes.
    using Fetch = std::function<std::string(const IssuerConfig&)>;

    /// Keys are fetched again after this long…
    static constexpr std::chrono::hours kKeysLife{1};
    /// …and when a token names one that is not known, but no more often than this.
    static constexpr std::chrono::seconds kFetchInterval{60};

    ExternalIssuers(
        std::vector<IssuerConfig> issuers,
        Fetch fetch,
        catalog::Catalog& catalog,
        std::string tenant_id,
        Clock& clock
    );

    [[nodiscard]] std::optional<Principal> authenticate(std::string_view credential) override;

private:
    struct Keys {
        std::map<std::string, VerificationKey, std::less<>> by_id;
        std::optional<SteadyInstant> fetched_at;
        std::optional<SteadyInstant> tried_at;
        bool fetching = false;
    };
    [[nodiscard]] std::optional<VerificationKey> find_key(
        const IssuerConfig& issuer, const std::string& id
    );
    void fetch_keys(const IssuerConfig& issuer);
    [[nodiscard]] Principal principal_of(const IssuerConfig& issuer, const Json& claims);

    const std::vector<IssuerConfig> issuers_;
    const Fetch fetch_;
    catalog::Catalog& catalog_;
    const std::string tenant_id_;
    Clock& clock_;
    std::mutex mutex_;
    std::map<std::string, Keys> keys_;  // By issuer; guarded by mutex_.
};

/// The object id of an issuer's subject: always the same GUID.
[[nodiscard]] std::string external_object_id(std::string_view issuer, std::string_view subject);

}  // namespace holdfast::control
