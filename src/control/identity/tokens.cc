#include "control/identity/tokens.h"

#include "base/bytes.h"
#include "base/error.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace holdfast::control {
namespace {

constexpr std::string_view kPrefix = "hf_";
constexpr std::size_t kIdDigits = 16;          // 64 random bits: names a row, is no secret.
constexpr std::size_t kSecretCharacters = 43;  // 32 bytes in base64url.

struct TokenParts {
    std::string_view id;
    std::string_view secret;
};

std::optional<TokenParts> take_apart(std::string_view token) {
    if (token.size() != kPrefix.size() + kIdDigits + 1 + kSecretCharacters ||
        !token.starts_with(kPrefix) || token[kPrefix.size() + kIdDigits] != '_') {
        return std::nullopt;
    }
    return TokenParts{
        token.substr(kPrefix.size(), kIdDigits), token.substr(kPrefix.size() + kIdDigits + 1)
    };
}

[[noreturn]] void refuse(std::string message) {
    throw Error{
        ErrorKind::kAuthenticationFailed,
        ErrorText{
            .message = std::move(message),
            .recommended_actions = {"Log in again with a valid token: holdfast login."},
        }
    };
}

PrincipalKind kind_of(std::string_view text) {
    if (text == "User") {
        return PrincipalKind::kUser;
    }
    return text == "ManagedIdentity" ? PrincipalKind::kManagedIdentity
                                     : PrincipalKind::kServicePrincipal;
}

}  // namespace

TokenAuthority::TokenAuthority(
    catalog::Catalog& catalog, Secret hash_key, std::string tenant_id, Clock& clock
)
    : catalog_{catalog},
      hash_key_{std::move(hash_key)},
      tenant_id_{std::move(tenant_id)},
      clock_{clock} {
    HOLDFAST_CHECK(hash_key_.size() == 32);
}

IssuedToken TokenAuthority::issue(catalog::Transaction& transaction, const TokenRequest& request) {
    const Secret random = Secret::random(32);
    const std::string id = to_hex(random_array<kIdDigits / 2>());
    std::string secret = to_base64url(random.expose());
    std::string text = fmt::format("{}{}_{}", kPrefix, id, secret);
    catalog::TokenRecord record;
    record.id = id;
    record.principal_id = request.principal_id;
    record.description = request.description;
    record.hash = hash_of(text);
    record.created_at = clock_.now();
    record.expires_at = request.expires_at;
    transaction.put(record);
    IssuedToken issued{.id = id, .text = Secret{std::string_view{text}}};
    wipe(text);
    wipe(secret);
    return issued;
}

bool TokenAuthority::revoke(catalog::Transaction& transaction, std::string_view token_id) {
    auto record = transaction.get<catalog::TokenRecord>(token_id);
    if (!record) {
        return false;
    }
    record->revoked = true;
    transaction.put(*record);
    return true;
}

std::optional<Principal> TokenAuthority::authenticate(std::string_view credential) {
    if (!credential.starts_with(kPrefix)) {
        return std::nullopt;
    }
    const auto parts = take_apart(credential);
    if (!parts) {
        refuse("The access token is malformed.");
    }
    std::optional<catalog::TokenRecord> token;
    std::optional<catalog::PrincipalRecord> principal;
    catalog_.read([&](const catalog::View& view) {
        token = view.get<catalog::TokenRecord>(parts->id);
        if (token) {
            principal = view.get<catalog::PrincipalRecord>(token->principal_id);
        }
    });
    // Compared even without a row, so that the time taken does not tell whether the id exists.
    const std::string hash = hash_of(credential);
    const std::string stored = token ? token->hash : std::string(hash.size(), '0');
    if (!equal_constant_time(as_bytes(hash), as_bytes(stored)) || !token) {
        refuse("The access token is not valid.");
    }
    // Only the holder of the true token gets to know more.
    if (token->revoked) {
        refuse("The access token has been revoked.");
    }
    if (token->expires_at && *token->expires_at <= clock_.now()) {
        refuse("The access token has expired.");
    }
    if (!principal || !principal->enabled) {
        refuse("The principal of the access token is disabled.");
    }
    return Principal{
        .kind = kind_of(principal->kind),
        .object_id = principal->id,
        .display_name = principal->display_name,
        .tenant_id = tenant_id_,
        .token_id = token->id,
    };
}

std::string TokenAuthority::hash_of(std::string_view token) const {
    std::array<unsigned char, 32> out{};
    unsigned length = 0;
    const ByteSpan key = hash_key_.expose();
    const ByteSpan data = as_bytes(token);
    const unsigned char* done = HMAC(
        EVP_sha256(),
        key.data(),
        static_cast<int>(key.size()),
        reinterpret_cast<const unsigned char*>(data.data()),
        data.size(),
        out.data(),
        &length
    );
    HOLDFAST_CHECK(done != nullptr && length == out.size());
    return to_hex(std::as_bytes(std::span{out}));
}

}  // namespace holdfast::control
