#include "vault/detail/page_delta.h"

#include "base/error.h"
#include "vault/detail/format.h"

#include <algorithm>
#include <cstring>

namespace holdfast::vault {

namespace {

constexpr std::size_t kCountBytes = 4;

std::size_t page_count(std::size_t bytes) noexcept {
    return (bytes + kPageBytes - 1) / kPageBytes;
}

std::size_t head_bytes(std::size_t pages) noexcept {
    return kCountBytes + (pages + 7) / 8;
}

/// `to` XOR `with`, word by word: the compiler makes vectors of it.
void xor_into(std::byte* to, const std::byte* with, std::size_t size) noexcept {
    constexpr std::size_t kWord = sizeof(std::uint64_t);
    std::size_t at = 0;
    for (; at + kWord <= size; at += kWord) {
        std::uint64_t a = 0;
        std::uint64_t b = 0;
        std::memcpy(&a, to + at, kWord);
        std::memcpy(&b, with + at, kWord);
        a ^= b;
        std::memcpy(to + at, &a, kWord);
    }
    for (; at < size; ++at) {
        to[at] ^= with[at];
    }
}

}  // namespace

ByteSpan make_page_delta(ByteSpan base, ByteSpan extent, Buffer& out) {
    const std::size_t pages = page_count(extent.size());
    const std::size_t head = head_bytes(pages);
    const MutableByteSpan delta = out.reserve(head + extent.size());
    std::fill_n(delta.begin(), head, std::byte{0});
    put_little_endian(delta.data(), static_cast<std::uint32_t>(pages));
    std::size_t end = head;
    for (std::size_t page = 0; page < pages; ++page) {
        const std::size_t at = page * kPageBytes;
        const ByteSpan now = extent.subspan(at, std::min(kPageBytes, extent.size() - at));
        const ByteSpan past = base.subspan(std::min(at, base.size()));
        const ByteSpan before = past.first(std::min(past.size(), now.size()));
        if ((before.empty() || std::memcmp(before.data(), now.data(), before.size()) == 0) &&
            is_zero(now.subspan(before.size()))) {
            continue;
        }
        delta[kCountBytes + page / 8] |= static_cast<std::byte>(1U << (page % 8));
        std::memcpy(&delta[end], now.data(), now.size());
        xor_into(&delta[end], before.data(), before.size());
        end += now.size();
    }
    return delta.first(end);
}

bool apply_page_delta(ByteSpan delta, MutableByteSpan extent) noexcept {
    const std::size_t pages = page_count(extent.size());
    const std::size_t head = head_bytes(pages);
    if (delta.size() < head ||
        get_little_endian<std::uint32_t>(delta.data()) != static_cast<std::uint32_t>(pages)) {
        return false;
    }
    const auto bit = [&](std::size_t page) {
        return (std::to_integer<unsigned>(delta[kCountBytes + page / 8]) >> (page % 8) & 1U) != 0;
    };
    for (std::size_t page = pages; page % 8 != 0; ++page) {
        if (bit(page)) {
            return false;
        }
    }
    std::size_t end = head;
    for (std::size_t page = 0; page < pages; ++page) {
        if (!bit(page)) {
            continue;
        }
        const std::size_t at = page * kPageBytes;
        const std::size_t size = std::min(kPageBytes, extent.size() - at);
        if (delta.size() - end < size) {
            return false;
        }
        xor_into(&extent[at], &delta[end], size);
        end += size;
    }
    return end == delta.size();
}

}  // namespace holdfast::vault
