#include "base/sealing.h"

#include "base/error.h"

#include <memory>

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace holdfast {
namespace {

constexpr std::size_t kNonceSize = 12;
constexpr std::size_t kTagSize = 16;
constexpr std::size_t kHashSize = 32;

struct CipherContextDeleter {
    void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, CipherContextDeleter>;

const unsigned char* data_of(ByteSpan bytes) noexcept {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

unsigned char* data_of(MutableByteSpan bytes) noexcept {
    return reinterpret_cast<unsigned char*>(bytes.data());
}

void hmac_sha256(ByteSpan key, ByteSpan message, MutableByteSpan out) {
    HOLDFAST_CHECK(out.size() == kHashSize);
    unsigned int size = kHashSize;
    const auto* done = HMAC(
        EVP_sha256(),
        key.data(),
        static_cast<int>(key.size()),
        data_of(message),
        message.size(),
        data_of(out),
        &size
    );
    HOLDFAST_CHECK(done != nullptr);
}

}  // namespace

Secret derive_key(const Secret& key, std::string_view info) {
    // Extract with a salt of zeros, then one block of expand: 32 bytes are all that is asked for.
    const std::array<std::byte, kHashSize> salt{};
    Secret pseudo_random_key = Secret::random(kHashSize);
    hmac_sha256(salt, key.expose(), pseudo_random_key.expose_mutable());
    Bytes message = to_bytes(info);
    message.push_back(std::byte{1});
    Secret out = Secret::random(kHashSize);
    hmac_sha256(pseudo_random_key.expose(), message, out.expose_mutable());
    return out;
}

Bytes seal_small(const Secret& key, std::string_view context, ByteSpan plaintext) {
    HOLDFAST_CHECK(key.size() == kSealingKeySize);
    Bytes out(kNonceSize + plaintext.size() + kTagSize);
    const MutableByteSpan all{out};
    fill_random(all.first(kNonceSize));
    const CipherContext cipher{EVP_CIPHER_CTX_new()};
    int written = 0;
    const ByteSpan aad = as_bytes(context);
    bool ok = cipher != nullptr && EVP_EncryptInit_ex(
                                       cipher.get(),
                                       EVP_aes_256_gcm(),
                                       nullptr,
                                       data_of(key.expose()),
                                       data_of(all.first(kNonceSize))
                                   ) == 1;
    ok = ok && EVP_EncryptUpdate(
                   cipher.get(), nullptr, &written, data_of(aad), static_cast<int>(aad.size())
               ) == 1;
    ok = ok && EVP_EncryptUpdate(
                   cipher.get(),
                   data_of(all.subspan(kNonceSize)),
                   &written,
                   data_of(plaintext),
                   static_cast<int>(plaintext.size())
               ) == 1;
    ok = ok &&
         EVP_EncryptFinal_ex(cipher.get(), data_of(all.subspan(kNonceSize)) + written, &written) ==
             1;
    ok = ok && EVP_CIPHER_CTX_ctrl(
                   cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagSize, data_of(all.last(kTagSize))
               ) == 1;
    HOLDFAST_CHECK(ok);
    return out;
}

Secret open_small(const Secret& key, std::string_view context, ByteSpan sealed) {
    HOLDFAST_CHECK(key.size() == kSealingKeySize);
    const Error refused{
        ErrorKind::kKeyWrong,
        ErrorText{
            .message =
                "A sealed value can't be opened: it is damaged or was sealed under another key.",
            .recommended_actions = {"Give the service the key file that it was set up with."},
        }
    };
    if (sealed.size() < kNonceSize + kTagSize) {
        throw refused;
    }
    const ByteSpan nonce = sealed.first(kNonceSize);
    Bytes tag{sealed.end() - kTagSize, sealed.end()};
    const ByteSpan body = sealed.subspan(kNonceSize, sealed.size() - kNonceSize - kTagSize);
    const Bytes room(body.size());
    Secret out{ByteSpan{room}};
    const CipherContext cipher{EVP_CIPHER_CTX_new()};
    int written = 0;
    const ByteSpan aad = as_bytes(context);
    bool ok = cipher != nullptr &&
              EVP_DecryptInit_ex(
                  cipher.get(), EVP_aes_256_gcm(), nullptr, data_of(key.expose()), data_of(nonce)
              ) == 1;
    ok = ok && EVP_DecryptUpdate(
                   cipher.get(), nullptr, &written, data_of(aad), static_cast<int>(aad.size())
               ) == 1;
    ok = ok && EVP_DecryptUpdate(
                   cipher.get(),
                   data_of(out.expose_mutable()),
                   &written,
                   data_of(body),
                   static_cast<int>(body.size())
               ) == 1;
    ok = ok && EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagSize, tag.data()) == 1;
    ok = ok &&
         EVP_DecryptFinal_ex(cipher.get(), data_of(out.expose_mutable()) + written, &written) == 1;
    if (!ok) {
        throw refused;
    }
    return out;
}

}  // namespace holdfast
