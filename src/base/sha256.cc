#include "base/sha256.h"

#include "base/error.h"

#include <openssl/evp.h>

namespace holdfast {
namespace {

EVP_MD_CTX* as_context(void* context) {
    return static_cast<EVP_MD_CTX*>(context);
}

}  // namespace

void Sha256::Deleter::operator()(void* context) const noexcept {
    EVP_MD_CTX_free(as_context(context));
}

Sha256::Sha256() : context_{EVP_MD_CTX_new()} {
    HOLDFAST_CHECK(context_ != nullptr);
    HOLDFAST_CHECK(EVP_DigestInit_ex(as_context(context_.get()), EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::update(ByteSpan bytes) {
    HOLDFAST_CHECK(EVP_DigestUpdate(as_context(context_.get()), bytes.data(), bytes.size()) == 1);
}

Sha256Digest Sha256::finish() {
    Sha256Digest digest{};
    unsigned size = 0;
    auto* out = reinterpret_cast<unsigned char*>(digest.data());
    HOLDFAST_CHECK(EVP_DigestFinal_ex(as_context(context_.get()), out, &size) == 1);
    HOLDFAST_CHECK(size == digest.size());
    return digest;
}

Sha256Digest sha256(ByteSpan bytes) {
    Sha256 hash;
    hash.update(bytes);
    return hash.finish();
}

}  // namespace holdfast
