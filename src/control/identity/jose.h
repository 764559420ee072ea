#pragma once

#include "base/json.h"
#include "base/secret.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

// Signed JSON Web Tokens (RFC 7515, 7517, 7519). The cryptography is cjose's; its names stay in
// jose.cc. A key knows which one algorithm it is for, and a token's own word on it only ever makes
// it refused.
namespace holdfast::control {

inline constexpr std::size_t kTokenSizeMax = 16 * 1024;

/// What a compact token says of itself, before anybody has looked at its signature: good for
/// finding the key, for nothing else.
struct UnverifiedToken {
    Json header;
    Json claims;
};
/// Nothing unless `token` has three base64url parts of which the first two are JSON objects.
[[nodiscard]] std::optional<UnverifiedToken> read_unverified(std::string_view token);

/// A public key that tokens are checked with. Immutable; safe from any thread.
class VerificationKey {
public:
    /// RSA keys from 2048 bits (for RS256) and P-256 keys (for ES256). Nothing for any other JWK:
    /// symmetric keys, keys for encryption, keys that name another algorithm.
    [[nodiscard]] static std::optional<VerificationKey> from_jwk(const Json& jwk);

    [[nodiscard]] const std::string& id() const noexcept { return id_; }
    /// True when `token` is whole, names this key's algorithm, asks for no extension and carries
    /// this key's signature. Says nothing about its claims.
    [[nodiscard]] bool verifies(std::string_view token) const;

private:
    VerificationKey(std::shared_ptr<const void> key, std::string id, std::string algorithm);

    std::shared_ptr<const void> key_;
    std::string id_;
    std::string algorithm_;
};

/// A private RSA key of 2048 bits, for RS256. Immutable; safe from any thread.
class SigningKey {
public:
    /// Takes some tenths of a second.
    [[nodiscard]] static SigningKey generate(std::string id);
    /// Throws kKeyWrong when it is none.
    [[nodiscard]] static SigningKey from_private_jwk(const Secret& jwk);

    [[nodiscard]] Secret private_jwk() const;
    /// With `use`, `alg` and `kid`, as it is published.
    [[nodiscard]] Json public_jwk() const;
    /// The compact token. `type`: the header's `typ`.
    [[nodiscard]] std::string sign(const Json& claims, std::string_view type) const;

private:
    explicit SigningKey(std::shared_ptr<const void> key) : key_{std::move(key)} {}
    std::shared_ptr<const void> key_;
};

}  // namespace holdfast::control
