#include "base/secret.h"

#include <openssl/crypto.h>

namespace holdfast {

Secret::Secret(ByteSpan bytes) : bytes_{bytes.begin(), bytes.end()} {}

Secret::Secret(std::string_view text) : Secret{as_bytes(text)} {}

Secret::Secret(Secret&& other) noexcept : bytes_{std::move(other.bytes_)} {
    other.bytes_.clear();
}

Secret& Secret::operator=(Secret&& other) noexcept {
    if (this != &other) {
        wipe();
        bytes_ = std::move(other.bytes_);
        other.bytes_.clear();
    }
    return *this;
}

Secret::~Secret() {
    wipe();
}

Secret Secret::random(std::size_t size) {
    Secret secret;
    secret.bytes_.resize(size);
    fill_random(secret.bytes_);
    return secret;
}

Secret Secret::clone() const {
    return Secret{expose()};
}

std::string_view Secret::expose_text() const noexcept {
    return as_text(bytes_);
}

void Secret::wipe() noexcept {
    holdfast::wipe(MutableByteSpan{bytes_});
    bytes_.clear();
}

void wipe(MutableByteSpan bytes) noexcept {
    OPENSSL_cleanse(bytes.data(), bytes.size());
}

void wipe(std::string& text) noexcept {
    OPENSSL_cleanse(text.data(), text.size());
    text.clear();
}

}  // namespace holdfast
