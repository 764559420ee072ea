#include "control/identity/access_tokens.h"

#include "base/error.h"
#include "base/ids.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::PrincipalRecord;
using catalog::TokenRecord;

constexpr std::string_view kBearerType = "at+jwt";  // RFC 9068.
constexpr std::string_view kRefreshType = "rt+jwt";
constexpr std::string_view kIdType = "JWT";
constexpr std::string_view kRefreshAudience = "urn:holdfast:token-endpoint";
// Of a token that another node issued a moment ago.
constexpr std::chrono::seconds kClockSkew{60};
// A few MiB at most.
constexpr std::size_t kVerifiedKept = 1024;

std::int64_t seconds_of(Instant instant) {
    return std::chrono::floor<std::chrono::seconds>(instant.time_since_epoch()).count();
}

[[noreturn]] void refuse(std::string message) {
    throw Error{
        ErrorKind::kAuthenticationFailed,
        ErrorText{
            .message = std::move(message),
            .recommended_actions = {"Log in again: az login, or holdfast login."},
        }
    };
}

std::string text_claim(const Json& claims, const char* name) {
    const auto found = claims.find(name);
    return found != claims.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

/// A time in the claims; tokens of ours have whole seconds.
std::optional<std::int64_t> time_claim(const Json& claims, const char* name) {
    const auto found = claims.find(name);
    if (found == claims.end() || !found->is_number_integer()) {
        return std::nullopt;
    }
    return found->get<std::int64_t>();
}

PrincipalKind kind_of(const PrincipalRecord& principal) {
    return principal.kind == "User" ? PrincipalKind::kUser : PrincipalKind::kServicePrincipal;
}

}  // namespace

AccessTokens::AccessTokens(
    catalog::Catalog& catalog,
    KeyRing& keys,
    std::string tenant_id,
    std::chrono::seconds life,
    Clock& clock
)
    : catalog_{catalog},
      keys_{keys},
      tenant_id_{std::move(tenant_id)},
      life_{life},
      clock_{clock},
      verified_{kVerifiedKept} {}

Json AccessTokens::common_claims(
    const PrincipalRecord& principal, const std::string& origin, std::chrono::seconds life
) const {
    const std::int64_t now = seconds_of(clock_.now());
    return Json{
        {"iss", fmt::format("{}/{}/", origin, tenant_id_)},
        {"tid", tenant_id_},
        {"sub", principal.id},
        {"oid", principal.id},
        {"jti", to_hex(random_array<16>())},
        {"iat", now},
        // To the microsecond: a token of the second in which its principal's were revoked is judged
        // rightly.
        {"hf_iat", clock_.now().time_since_epoch().count()},
        {"nbf", now},
        {"exp", now + life.count()},
    };
}

std::string AccessTokens::issue(const PrincipalRecord& principal, const std::string& origin) {
    Json claims = common_claims(principal, origin, life_);
    claims["aud"] = audience();
    claims["ver"] = "1.0";
    claims["idtyp"] = principal.kind == "User" ? "user" : "app";
    claims[principal.kind == "User" ? "upn" : "appid"] = principal.login_name;
    return keys_.sign(claims, kBearerType);
}

std::string AccessTokens::issue_refresh(
    const PrincipalRecord& principal, const std::string& origin
) {
    Json claims = common_claims(principal, origin, kRefreshLife);
    claims["aud"] = kRefreshAudience;
    return keys_.sign(claims, kRefreshType);
}

std::string AccessTokens::issue_id(
    const PrincipalRecord& principal, const std::string& origin, const std::string& client_id
) {
    Json claims = common_claims(principal, origin, life_);
    claims["aud"] = client_id;
    claims["upn"] = principal.login_name;
    claims["preferred_username"] = principal.login_name;
    claims["name"] = principal.display_name;
    return keys_.sign(claims, kIdType);
}

std::shared_ptr<const VerifiedToken> AccessTokens::verify(std::string_view token) {
    const Sha256Digest digest = sha256(as_bytes(token));
    const auto known = verified_.find(digest);
    // A key that was removed, or read anew since, is another object.
    if (known && keys_.key_named_by(known->parts.header) == known->key) {
        return known;
    }
    auto read = read_unverified(token);
    if (!read) {
        return nullptr;
    }
    const auto key = keys_.key_named_by(read->header);
    if (!key) {
        return nullptr;
    }
    if (!key->verifies(token)) {
        refuse("The access token's signature is not valid.");
    }
    auto verified = std::make_shared<const VerifiedToken>(VerifiedToken{key, std::move(*read)});
    verified_.add(digest, verified);
    return verified;
}

std::optional<AccessTokens::Checked> AccessTokens::check(
    std::string_view token, std::string_view type, const std::string& audience
) {
    auto verified = verify(token);
    if (!verified) {
        return std::nullopt;
    }
    const Json& claims = verified->parts.claims;
    if (text_claim(verified->parts.header, "typ") != type ||
        text_claim(claims, "aud") != audience) {
        refuse("The token was issued for another purpose.");
    }
    const std::string issuer = text_claim(claims, "iss");
    if (!issuer.starts_with("https://") || !issuer.ends_with("/" + tenant_id_ + "/") ||
        text_claim(claims, "tid") != tenant_id_) {
        refuse("The token was issued by another directory.");
    }
    const std::int64_t now = seconds_of(clock_.now());
    const auto expires = time_claim(claims, "exp");
    const auto begins = time_claim(claims, "nbf");
    const auto issued = time_claim(claims, "hf_iat");
    if (!expires || *expires <= now) {
        refuse("The access token has expired.");
    }
    if (!begins || !issued || *begins > now + kClockSkew.count()) {
        refuse("The access token is not valid yet.");
    }
    std::optional<PrincipalRecord> principal;
    bool revoked = false;
    catalog_.read([&](const catalog::View& view) {
        principal = view.get<PrincipalRecord>(text_claim(claims, "oid"));
        revoked = view.get<TokenRecord>(text_claim(claims, "jti")).has_value();
    });
    if (!principal || !principal->enabled) {
        refuse("The principal of the access token is disabled or was deleted.");
    }
    if (revoked || (principal->tokens_valid_from &&
                    *issued < principal->tokens_valid_from->time_since_epoch().count())) {
        refuse("The access token has been revoked.");
    }
    return Checked{std::move(verified), std::move(*principal)};
}

std::optional<Principal> AccessTokens::authenticate(std::string_view credential) {
    const auto checked = check(credential, kBearerType, audience());
    if (!checked) {
        return std::nullopt;
    }
    return Principal{
        .kind = kind_of(checked->principal),
        .object_id = checked->principal.id,
        .display_name = checked->principal.display_name,
        .tenant_id = tenant_id_,
        .token_id = text_claim(checked->token->parts.claims, "jti"),
    };
}

PrincipalRecord AccessTokens::open_refresh(std::string_view token) {
    auto checked = check(token, kRefreshType, std::string{kRefreshAudience});
    if (!checked) {
        refuse("The refresh token is not valid.");
    }
    return std::move(checked->principal);
}

void AccessTokens::revoke(catalog::Transaction& transaction, const Json& claims) {
    TokenRecord record;
    record.id = text_claim(claims, "jti");
    record.principal_id = text_claim(claims, "oid");
    record.description = "revoked access token";
    record.created_at = transaction.now();
    record.expires_at = Instant{std::chrono::seconds{time_claim(claims, "exp").value_or(0)}};
    record.revoked = true;
    transaction.put(record);
}

}  // namespace holdfast::control
