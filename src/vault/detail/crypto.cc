#include "vault/detail/crypto.h"

#include "base/error.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

namespace holdfast::vault {

namespace {

const unsigned char* uchars(ByteSpan bytes) noexcept {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* uchars(std::byte* bytes) noexcept {
    return reinterpret_cast<unsigned char*>(bytes);
}

/// OpenSSL fails here only for want of memory or of its default provider: never because of data.
void require(bool ok, const char* call) {
    if (!ok) {
        const unsigned long code = ERR_get_error();
        throw Error{
            ErrorKind::kInternal,
            ErrorText{
                .message = "A cryptographic operation failed.",
                .internal = fmt::format("{}: OpenSSL error {:#x}", call, code),
            }
        };
    }
}

std::array<unsigned char, 12> nonce_of(std::uint32_t slot) noexcept {
    std::array<unsigned char, 12> nonce{};
    put_little_endian<std::uint32_t>(reinterpret_cast<std::byte*>(nonce.data()), slot);
    return nonce;
}

}  // namespace

Sha256 sha256(ByteSpan data) {
    Sha256 out{};
    require(
        EVP_Digest(data.data(), data.size(), uchars(out.data()), nullptr, EVP_sha256(), nullptr) ==
            1,
        "EVP_Digest"
    );
    return out;
}

void Sha256Stream::Free::operator()(evp_md_ctx_st* context) const noexcept {
    EVP_MD_CTX_free(context);
}

Sha256Stream::Sha256Stream() : context_{EVP_MD_CTX_new()} {
    require(context_ != nullptr, "EVP_MD_CTX_new");
    require(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "EVP_DigestInit_ex");
}

void Sha256Stream::update(ByteSpan data) {
    require(EVP_DigestUpdate(context_.get(), data.data(), data.size()) == 1, "EVP_DigestUpdate");
}

Sha256 Sha256Stream::finish() {
    Sha256 out{};
    require(
        EVP_DigestFinal_ex(context_.get(), uchars(out.data()), nullptr) == 1, "EVP_DigestFinal_ex"
    );
    return out;
}

void KeyedHash::Free::operator()(evp_mac_ctx_st* context) const noexcept {
    EVP_MAC_CTX_free(context);
}

KeyedHash::KeyedHash(ByteSpan key) {
    EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    require(mac != nullptr, "EVP_MAC_fetch");
    context_.reset(EVP_MAC_CTX_new(mac));
    EVP_MAC_free(mac);
    require(context_ != nullptr, "EVP_MAC_CTX_new");
    std::array<char, 7> digest{'S', 'H', 'A', '2', '5', '6', '\0'};
    const std::array<OSSL_PARAM, 2> parameters{
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
        OSSL_PARAM_construct_end(),
    };
    require(
        EVP_MAC_init(context_.get(), uchars(key), key.size(), parameters.data()) == 1,
        "EVP_MAC_init"
    );
}

KeyedHash KeyedHash::clone() const {
    EVP_MAC_CTX* const copy = EVP_MAC_CTX_dup(context_.get());
    require(copy != nullptr, "EVP_MAC_CTX_dup");
    return KeyedHash{copy};
}

std::array<std::byte, kHashBytes> KeyedHash::operator()(ByteSpan first, ByteSpan second) {
    std::array<std::byte, kHashBytes> out{};
    std::size_t written = 0;
    // A null key starts anew under the key given before.
    require(EVP_MAC_init(context_.get(), nullptr, 0, nullptr) == 1, "EVP_MAC_init");
    require(EVP_MAC_update(context_.get(), uchars(first), first.size()) == 1, "EVP_MAC_update");
    if (!second.empty()) {
        require(
            EVP_MAC_update(context_.get(), uchars(second), second.size()) == 1, "EVP_MAC_update"
        );
    }
    require(
        EVP_MAC_final(context_.get(), uchars(out.data()), &written, out.size()) == 1,
        "EVP_MAC_final"
    );
    return out;
}

Secret hkdf_sha256(ByteSpan input_key, ByteSpan salt, ByteSpan info) {
    // Extract and the first block of expand; 32 bytes need no second one.
    auto pseudo_random_key = KeyedHash{salt}(input_key);
    Bytes block{info.begin(), info.end()};
    block.push_back(std::byte{1});
    auto output = KeyedHash{pseudo_random_key}(block);
    Secret key{ByteSpan{output}};
    wipe(MutableByteSpan{pseudo_random_key});
    wipe(MutableByteSpan{output});
    return key;
}

void Aead::Free::operator()(evp_cipher_ctx_st* context) const noexcept {
    EVP_CIPHER_CTX_free(context);
}

Aead::Aead() : seal_context_{EVP_CIPHER_CTX_new()}, open_context_{EVP_CIPHER_CTX_new()} {
    require(seal_context_ != nullptr && open_context_ != nullptr, "EVP_CIPHER_CTX_new");
    require(
        EVP_EncryptInit_ex(seal_context_.get(), EVP_aes_256_gcm(), nullptr, nullptr, nullptr) == 1,
        "EVP_EncryptInit_ex"
    );
    require(
        EVP_DecryptInit_ex(open_context_.get(), EVP_aes_256_gcm(), nullptr, nullptr, nullptr) == 1,
        "EVP_DecryptInit_ex"
    );
}

void Aead::seal(
    const Secret& key,
    std::uint32_t slot,
    std::array<ByteSpan, 3> associated,
    ByteSpan plain,
    MutableByteSpan out
) {
    HOLDFAST_CHECK(key.size() == kKeyBytes && out.size() == plain.size() + kTagBytes);
    EVP_CIPHER_CTX* const context = seal_context_.get();
    const auto nonce = nonce_of(slot);
    require(
        EVP_EncryptInit_ex(context, nullptr, nullptr, uchars(key.expose()), nonce.data()) == 1,
        "EVP_EncryptInit_ex"
    );
    int length = 0;
    for (const ByteSpan part : associated) {
        if (!part.empty()) {
            require(
                EVP_EncryptUpdate(
                    context, nullptr, &length, uchars(part), static_cast<int>(part.size())
                ) == 1,
                "EVP_EncryptUpdate"
            );
        }
    }
    if (!plain.empty()) {
        require(
            EVP_EncryptUpdate(
                context, uchars(out.data()), &length, uchars(plain), static_cast<int>(plain.size())
            ) == 1,
            "EVP_EncryptUpdate"
        );
    }
    std::array<unsigned char, 16> rest{};
    require(EVP_EncryptFinal_ex(context, rest.data(), &length) == 1, "EVP_EncryptFinal_ex");
    require(
        EVP_CIPHER_CTX_ctrl(
            context,
            EVP_CTRL_AEAD_GET_TAG,
            static_cast<int>(kTagBytes),
            uchars(out.data() + plain.size())
        ) == 1,
        "EVP_CIPHER_CTX_ctrl"
    );
}

bool Aead::open(
    const Secret& key,
    std::uint32_t slot,
    std::array<ByteSpan, 3> associated,
    ByteSpan sealed,
    MutableByteSpan out
) {
    HOLDFAST_CHECK(key.size() == kKeyBytes && sealed.size() == out.size() + kTagBytes);
    EVP_CIPHER_CTX* const context = open_context_.get();
    const auto nonce = nonce_of(slot);
    require(
        EVP_DecryptInit_ex(context, nullptr, nullptr, uchars(key.expose()), nonce.data()) == 1,
        "EVP_DecryptInit_ex"
    );
    int length = 0;
    for (const ByteSpan part : associated) {
        if (!part.empty()) {
            require(
                EVP_DecryptUpdate(
                    context, nullptr, &length, uchars(part), static_cast<int>(part.size())
                ) == 1,
                "EVP_DecryptUpdate"
            );
        }
    }
    if (!out.empty()) {
        require(
            EVP_DecryptUpdate(
                context, uchars(out.data()), &length, uchars(sealed), static_cast<int>(out.size())
            ) == 1,
            "EVP_DecryptUpdate"
        );
    }
    std::array<std::byte, kTagBytes> tag{};
    std::copy_n(sealed.data() + out.size(), kTagBytes, tag.data());
    require(
        EVP_CIPHER_CTX_ctrl(
            context, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(kTagBytes), tag.data()
        ) == 1,
        "EVP_CIPHER_CTX_ctrl"
    );
    std::array<unsigned char, 16> rest{};
    return EVP_DecryptFinal_ex(context, rest.data(), &length) == 1;
}

void FastDigest::Free::operator()(evp_mac_ctx_st* context) const noexcept {
    EVP_MAC_CTX_free(context);
}

FastDigest::FastDigest(const Secret& key) : key_{key} {
    EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "POLY1305", nullptr);
    require(mac != nullptr, "EVP_MAC_fetch");
    context_.reset(EVP_MAC_CTX_new(mac));
    EVP_MAC_free(mac);
    require(context_ != nullptr, "EVP_MAC_CTX_new");
}

FastDigest::Value FastDigest::operator()(ByteSpan data) {
    Value out{};
    std::size_t written = 0;
    const ByteSpan key = key_.expose();
    require(EVP_MAC_init(context_.get(), uchars(key), key.size(), nullptr) == 1, "EVP_MAC_init");
    require(EVP_MAC_update(context_.get(), uchars(data), data.size()) == 1, "EVP_MAC_update");
    require(
        EVP_MAC_final(context_.get(), uchars(out.data()), &written, out.size()) == 1,
        "EVP_MAC_final"
    );
    return out;
}

}  // namespace holdfast::vault
