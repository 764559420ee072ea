#pragma once

#include "base/bytes.h"
#include "base/secret.h"

#include <string_view>

namespace holdfast {

/// Key and nonce sizes of AES-256-GCM, the one cipher in use.
inline constexpr std::size_t kSealingKeySize = 32;

/// HKDF-SHA-256 (RFC 5869) of `key` with an empty salt: a 32-byte key for one purpose, named by
/// `info`.
[[nodiscard]] Secret derive_key(const Secret& key, std::string_view info);

/// Seals small values (secrets, private keys): a random 12-byte nonce, the ciphertext and the
/// 16-byte tag. `context` is authenticated: the value opens only in the same context. For bulk data
/// see vault/. REQUIRES: key.size() == kSealingKeySize; fewer than 2^32 values under one key.
[[nodiscard]] Bytes seal_small(const Secret& key, std::string_view context, ByteSpan plaintext);

/// Throws kKeyWrong when the key, the context or any byte differs.
[[nodiscard]] Secret open_small(const Secret& key, std::string_view context, ByteSpan sealed);

}  // namespace holdfast
