#include "control/identity/external_issuers.h"

#include "base/error.h"
#include "base/log.h"
#include "base/sha256.h"
#include "control/identity/authorize.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::PrincipalRecord;

constexpr std::chrono::seconds kClockSkew{60};
constexpr std::size_t kKeysMax = 64;
constexpr std::size_t kNameMax = 256;

[[noreturn]] void refuse(std::string message) {
    throw Error{
        ErrorKind::kAuthenticationFailed,
        ErrorText{
            .message = std::move(message),
            .recommended_actions = {"Get a new token from the issuer, for this server."},
        }
    };
}

std::string text_claim(const Json& claims, const std::string& name) {
    const auto found = claims.find(name);
    return found != claims.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

/// A claim that is a text or a list of texts.
bool claim_has(const Json& claims, const std::string& name, std::string_view value) {
    const auto found = claims.find(name);
    if (found == claims.end()) {
        return false;
    }
    if (found->is_array()) {
        return std::any_of(found->begin(), found->end(), [&](const Json& each) {
            return each.is_string() && each.get_ref<const std::string&>() == value;
        });
    }
    return found->is_string() && found->get_ref<const std::string&>() == value;
}

std::optional<double> time_claim(const Json& claims, const char* name) {
    const auto found = claims.find(name);
    return found != claims.end() && found->is_number() ? std::optional{found->get<double>()}
                                                       : std::nullopt;
}

void check_times(const Json& claims, Instant now) {
    const double seconds = static_cast<double>(now.time_since_epoch().count()) / 1e6;
    const double skew = static_cast<double>(kClockSkew.count());
    const auto expires = time_claim(claims, "exp");
    if (!expires || *expires + skew <= seconds) {
        refuse("The token has expired.");
    }
    const auto begins = time_claim(claims, "nbf");
    if ((claims.contains("nbf") && !begins) || (begins && *begins - skew > seconds)) {
        refuse("The token is not valid yet.");
    }
}

void check_audience(const IssuerConfig& issuer, const Json& claims) {
    const bool ours =
        std::any_of(issuer.audiences.begin(), issuer.audiences.end(), [&](const std::string& one) {
            return claim_has(claims, "aud", one);
        });
    if (!ours) {
        refuse("The token was issued for another audience.");
    }
}

}  // namespace

std::string external_object_id(std::string_view issuer, std::string_view subject) {
    const Sha256Digest digest = sha256(as_bytes(fmt::format("{}\n{}", issuer, subject)));
    std::string hex = to_hex(std::span{digest}.first(16));
    hex[12] = '8';  // RFC 9562: a version for vendors' own schemes.
    hex[16] = 'a';
    return fmt::format(
        "{}-{}-{}-{}-{}",
        hex.substr(0, 8),
        hex.substr(8, 4),
        hex.substr(12, 4),
        hex.substr(16, 4),
        hex.substr(20)
    );
}

ExternalIssuers::ExternalIssuers(
    std::vector<IssuerConfig> issuers,
    Fetch fetch,
    catalog::Catalog& catalog,
    std::string tenant_id,
    Clock& clock
)
    : issuers_{std::move(issuers)},
      fetch_{std::move(fetch)},
      catalog_{catalog},
      tenant_id_{std::move(tenant_id)},
      clock_{clock} {}

std::optional<Principal> ExternalIssuers::authenticate(std::string_view credential) {
    if (issuers_.empty()) {
        return std::nullopt;
    }
    const auto token = read_unverified(credential);
    if (!token) {
        return std::nullopt;
    }
    const std::string name = text_claim(token->claims, "iss");
    const auto issuer =
        std::find_if(issuers_.begin(), issuers_.end(), [&](const IssuerConfig& each) {
            return each.issuer == name;
        });
    if (issuer == issuers_.end()) {
        return std::nullopt;
    }
    const auto key = find_key(*issuer, text_claim(token->header, "kid"));
    if (!key || !key->verifies(credential)) {
        refuse("The token's signature is not one of its issuer's.");
    }
    check_audience(*issuer, token->claims);
    check_times(token->claims, clock_.now());
    return principal_of(*issuer, token->claims);
}

std::optional<VerificationKey> ExternalIssuers::find_key(
    const IssuerConfig& issuer, const std::string& id
) {
    const auto look = [&]() -> std::optional<VerificationKey> {
        const auto& known = keys_[issuer.issuer].by_id;
        const auto found = known.find(id);
        return found == known.end() ? std::nullopt : std::optional{found->second};
    };
    {
        const std::lock_guard lock{mutex_};
        Keys& keys = keys_[issuer.issuer];
        const SteadyInstant now = clock_.steady_now();
        const auto key = look();
        const bool stale = !keys.fetched_at || now - *keys.fetched_at >= kKeysLife;
        const bool may_fetch =
            !keys.fetching && (!keys.tried_at || now - *keys.tried_at >= kFetchInterval);
        if ((key && !stale) || !may_fetch) {
            return key;
        }
        keys.fetching = true;
        keys.tried_at = now;
    }
    fetch_keys(issuer);
    const std::lock_guard lock{mutex_};
    return look();
}

void ExternalIssuers::fetch_keys(const IssuerConfig& issuer) {
    std::map<std::string, VerificationKey, std::less<>> fresh;
    const bool fetched = run_boundary(
        [&] {
            const Json set = parse_json(
                fetch_(issuer), ErrorKind::kAuthenticationFailed, "The issuer's key set"
            );
            const Json* list = find_member(set, "keys");
            if (list == nullptr || !list->is_array()) {
                throw Error{ErrorKind::kAuthenticationFailed, "The issuer's key set has no keys."};
            }
            for (const Json& jwk : *list) {
                if (auto key = VerificationKey::from_jwk(jwk); key && fresh.size() < kKeysMax) {
                    const std::string id = key->id();
                    fresh.insert_or_assign(id, std::move(*key));
                }
            }
        },
        [&](const Error& error) {
            // The keys of before stay: an issuer that is away for a while locks nobody out.
            log_warning(
                "keys of an issuer could not be fetched",
                {{"issuer", issuer.issuer}, {"error", error.log_line()}}
            );
        }
    );
    const std::lock_guard lock{mutex_};
    Keys& keys = keys_[issuer.issuer];
    keys.fetching = false;
    if (fetched) {
        keys.by_id = std::move(fresh);
        keys.fetched_at = clock_.steady_now();
    }
}

Principal ExternalIssuers::principal_of(const IssuerConfig& issuer, const Json& claims) {
    const std::string subject = text_claim(claims, issuer.subject_claim);
    if (subject.empty()) {
        refuse("The token does not say who its subject is.");
    }
    const bool app = text_claim(claims, "idtyp") == "app";
    std::string name = text_claim(claims, issuer.name_claim).substr(0, kNameMax);
    const std::string id = external_object_id(issuer.issuer, subject);
    auto record = catalog_.get<PrincipalRecord>(id);
    if (!record) {
        catalog_.write([&](catalog::Transaction& transaction) {
            record = transaction.get<PrincipalRecord>(id);
            if (record) {
                return;
            }
            PrincipalRecord made;
            made.id = id;
            made.kind = app ? "ServicePrincipal" : "User";
            made.display_name = name.empty() ? subject.substr(0, kNameMax) : name;
            made.tags = Json::array({"external", issuer.issuer});
            made.created_at = transaction.now();
            transaction.put(made);
            record = made;
        });
        log_info("principal of an issuer seen first", {{"issuer", issuer.issuer}, {"id", id}});
    }
    const auto issued = time_claim(claims, "iat");
    const bool revoked =
        record->tokens_valid_from &&
        (!issued || *issued * 1e6 <
                        static_cast<double>(record->tokens_valid_from->time_since_epoch().count()));
    if (!record->enabled || revoked) {
        refuse("The principal of the token is disabled here, or its tokens were revoked.");
    }
    Principal principal{
        .kind = app ? PrincipalKind::kServicePrincipal : PrincipalKind::kUser,
        .object_id = id,
        .display_name = record->display_name,
        .tenant_id = tenant_id_,
        .token_id = text_claim(claims, "jti").substr(0, 64),
    };
    for (const ClaimedRole& mapped : issuer.roles) {
        if (claim_has(claims, issuer.roles_claim, mapped.value)) {
            principal.claimed_grants.push_back({id, mapped.role, mapped.scope});
        }
    }
    return principal;
}

}  // namespace holdfast::control
