#pragma once

#include "base/bytes.h"
#include "base/secret.h"
#include "vault/detail/format.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

// The primitives, on OpenSSL 3: AES-256-GCM, HMAC-SHA-256, HKDF-SHA-256, SHA-256, Poly1305. Nothing
// here draws randomness: salts and nonces are arguments, so that the bytes produced are a function
// of the inputs (golden tests).

struct evp_cipher_ctx_st;
struct evp_mac_ctx_st;
struct evp_md_ctx_st;

namespace holdfast::vault {

[[nodiscard]] Sha256 sha256(ByteSpan data);

/// SHA-256 of a text that comes in pieces.
class Sha256Stream {
public:
    Sha256Stream();
    void update(ByteSpan data);
    [[nodiscard]] Sha256 finish();

private:
    struct Free {
        void operator()(evp_md_ctx_st* context) const noexcept;
    };
    std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// HMAC-SHA-256 under one key. Not for use from two threads at once; clone() is cheap.
class KeyedHash {
public:
    explicit KeyedHash(ByteSpan key);
    [[nodiscard]] KeyedHash clone() const;
    [[nodiscard]] std::array<std::byte, kHashBytes> operator()(
        ByteSpan first, ByteSpan second = {}
    );

private:
    struct Free {
        void operator()(evp_mac_ctx_st* context) const noexcept;
    };
    explicit KeyedHash(evp_mac_ctx_st* context) : context_{context} {}
    std::unique_ptr<evp_mac_ctx_st, Free> context_;
};

/// RFC 5869 with SHA-256, 32 bytes of output.
[[nodiscard]] Secret hkdf_sha256(ByteSpan input_key, ByteSpan salt, ByteSpan info);

/// AES-256-GCM with a 96-bit nonce made of the slot number. A key must seal each slot at most once.
/// Not for use from two threads at once.
class Aead {
public:
    Aead();
    /// `out` takes `plain.size() + kTagBytes` bytes. It may not overlap `plain`.
    void seal(
        const Secret& key,
        std::uint32_t slot,
        std::array<ByteSpan, 3> associated,
        ByteSpan plain,
        MutableByteSpan out
    );
    /// `out` takes `sealed.size() - kTagBytes` bytes. False when the tag does not match: `out` is
    /// then worthless.
    [[nodiscard]] bool open(
        const Secret& key,
        std::uint32_t slot,
        std::array<ByteSpan, 3> associated,
        ByteSpan sealed,
        MutableByteSpan out
    );

private:
    struct Free {
        void operator()(evp_cipher_ctx_st* context) const noexcept;
    };
    std::unique_ptr<evp_cipher_ctx_st, Free> seal_context_;
    std::unique_ptr<evp_cipher_ctx_st, Free> open_context_;
};

/// Poly1305 (RFC 8439) under one key: a 128-bit digest several times as fast as SHA-256. Two texts
/// of up to 4 MiB that were chosen without knowing key and digests have the same one with a
/// probability of 2^-85. Whoever sees digests can make texts of the same: they are never stored but
/// encrypted. Not for use from two threads at once.
class FastDigest {
public:
    using Value = std::array<std::byte, 16>;
    /// `key` has 32 bytes and must outlive the digest.
    explicit FastDigest(const Secret& key);
    [[nodiscard]] Value operator()(ByteSpan data);

private:
    struct Free {
        void operator()(evp_mac_ctx_st* context) const noexcept;
    };
    const Secret& key_;
    std::unique_ptr<evp_mac_ctx_st, Free> context_;
};

}  // namespace holdfast::vault
