#include "base/crc32c.h"

#include <array>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace holdfast {

namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
    constexpr std::uint32_t kPolynomial = 0x82F63B78;  // Reflected.
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) {
            value = value >> 1 ^ ((value & 1) != 0 ? kPolynomial : 0);
        }
        table[i] = value;
    }
    return table;
}

[[maybe_unused]] std::uint32_t by_table(ByteSpan bytes, std::uint32_t before) noexcept {
    static constexpr auto kTable = make_table();
    std::uint32_t crc = ~before;
    for (const std::byte byte : bytes) {
        crc = crc >> 8 ^ kTable[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(
    ByteSpan bytes, std::uint32_t before
) noexcept {
    std::uint64_t crc = ~before;
    std::size_t at = 0;
    for (; at + sizeof(std::uint64_t) <= bytes.size(); at += sizeof(std::uint64_t)) {
        crc = _mm_crc32_u64(crc, get_little_endian<std::uint64_t>(bytes.data() + at));
    }
    auto last = static_cast<std::uint32_t>(crc);
    for (; at < bytes.size(); ++at) {
        last = _mm_crc32_u8(last, std::to_integer<std::uint8_t>(bytes[at]));
    }
    return ~last;
}
#endif

}  // namespace

std::uint32_t crc32c(ByteSpan bytes, std::uint32_t before) noexcept {
#if defined(__x86_64__)
    static const bool kHasInstruction = __builtin_cpu_supports("sse4.2") != 0;
    if (kHasInstruction) {
        return by_instruction(bytes, before);
    }
#endif
    return by_table(bytes, before);
}

}  // namespace holdfast
