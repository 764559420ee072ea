#include "base/bytes.h"

#include <array>
#include <cerrno>
#include <cstdlib>

#include <openssl/crypto.h>
#include <sys/random.h>

namespace holdfast {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int hex_value(char digit) noexcept {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return -1;
}

std::string encode_base64(ByteSpan bytes, std::string_view alphabet, bool padded) {
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
        for (std::size_t k = 0; k < 3; ++k) {
            group = (group << 8) | (k < have ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0U);
        }
        for (std::size_t k = 0; k <= have; ++k) {
            out.push_back(alphabet[(group >> (18 - 6 * k)) & 63U]);
        }
        if (padded) {
            out.append(3 - have, '=');
        }
    }
    return out;
}

/// Of every byte its value in `alphabet`, or -1: access tokens are decoded with every request.
constexpr std::array<std::int8_t, 256> values_of(std::string_view alphabet) {
    std::array<std::int8_t, 256> values{};
    values.fill(-1);
    for (std::size_t i = 0; i < alphabet.size(); ++i) {
        values[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
    }
    return values;
}

std::optional<Bytes> decode_base64(
    std::string_view text, const std::array<std::int8_t, 256>& values, bool padded
) {
    if (padded) {
        if (text.size() % 4 != 0) {
            return std::nullopt;
        }
        while (!text.empty() && text.back() == '=') {
            text.remove_suffix(1);
        }
    }
    if (text.size() % 4 == 1) {
        return std::nullopt;
    }
    Bytes out;
    out.reserve(text.size() / 4 * 3 + 2);
    std::uint32_t group = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const std::int8_t value = values[static_cast<unsigned char>(c)];
        if (value < 0) {
            return std::nullopt;
        }
        group = (group << 6) | static_cast<std::uint32_t>(value);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out.push_back(static_cast<std::byte>((group >> bits) & 0xffU));
        }
    }
    return out;
}

}  // namespace

ByteSpan as_bytes(std::string_view text) noexcept {
    return std::as_bytes(std::span{text.data(), text.size()});
}

std::string_view as_text(ByteSpan bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Bytes to_bytes(std::string_view text) {
    const ByteSpan view = as_bytes(text);
    return {view.begin(), view.end()};
}

std::string to_hex(ByteSpan bytes) {
    std::string out;
    out.reserve(bytes.size() * 2);
    for (const std::byte b : bytes) {
        out.push_back(kHexDigits[std::to_integer<unsigned>(b) >> 4]);
        out.push_back(kHexDigits[std::to_integer<unsigned>(b) & 15U]);
    }
    return out;
}

std::optional<Bytes> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) {
        return std::nullopt;
    }
    Bytes out;
    out.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_value(text[i]);
        const int low = hex_value(text[i + 1]);
        if (high < 0 || low < 0) {
            return std::nullopt;
        }
        out.push_back(static_cast<std::byte>(high * 16 + low));
    }
    return out;
}

std::string to_base64(ByteSpan bytes) {
    return encode_base64(bytes, kBase64, true);
}

std::string to_base64url(ByteSpan bytes) {
    return encode_base64(bytes, kBase64Url, false);
}

std::optional<Bytes> from_base64(std::string_view text) {
    static constexpr auto kValues = values_of(kBase64);
    return decode_base64(text, kValues, true);
}

std::optional<Bytes> from_base64url(std::string_view text) {
    static constexpr auto kValues = values_of(kBase64Url);
    return decode_base64(text, kValues, false);
}

bool equal_constant_time(ByteSpan a, ByteSpan b) noexcept {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void fill_random(MutableByteSpan out) noexcept {
    while (!out.empty()) {
        const ssize_t got = getrandom(out.data(), out.size(), 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            std::abort();  // Without randomness no key and no nonce is safe.
        }
        out = out.subspan(static_cast<std::size_t>(got));
    }
}

}  // namespace holdfast
