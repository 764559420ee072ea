#include "base/crc32c.h"

#include <array>
#include <cstring>

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

// The instruction takes three cycles and one can be begun each cycle: three runs of bytes beside
// each other, whose CRCs are joined by moving the first two past what follows them. A CRC moves
// linearly, so a table for each of its bytes does it.
constexpr std::size_t kRunBytes = 2048;

using MoveTable = std::array<std::array<std::uint32_t, 256>, 4>;

/// The CRC register after `kRunBytes` zeros, for each value of each of its bytes.
constexpr MoveTable make_move_table() {
    // Column i: where bit i ends up. Squaring the one-byte move doubles its length.
    std::array<std::uint32_t, 32> move{};
    constexpr auto kTable = make_table();
    for (std::size_t bit = 0; bit < move.size(); ++bit) {
        const std::uint32_t value = std::uint32_t{1} << bit;
        move[bit] = value >> 8 ^ kTable[value & 0xff];
    }
    const auto apply = [](const std::array<std::uint32_t, 32>& by, std::uint32_t value) {
        std::uint32_t out = 0;
        for (std::size_t bit = 0; bit < by.size(); ++bit) {
            out ^= (value >> bit & 1) != 0 ? by[bit] : 0;
        }
        return out;
    };
    for (std::size_t length = 1; length < kRunBytes; length *= 2) {
        std::array<std::uint32_t, 32> twice{};
        for (std::size_t bit = 0; bit < move.size(); ++bit) {
            twice[bit] = apply(move, move[bit]);
        }
        move = twice;
    }
    MoveTable table{};
    for (std::size_t byte = 0; byte < table.size(); ++byte) {
        for (std::uint32_t value = 0; value < 256; ++value) {
            table[byte][value] = apply(move, value << (8 * byte));
        }
    }
    return table;
}

constexpr MoveTable kMove = make_move_table();

inline std::uint32_t moved(std::uint32_t crc) noexcept {
    return kMove[0][crc & 0xff] ^ kMove[1][crc >> 8 & 0xff] ^ kMove[2][crc >> 16 & 0xff] ^
           kMove[3][crc >> 24];
}

__attribute__((target("sse4.2"))) inline std::uint64_t word_at(const std::byte* at) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    return word;
}

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(
    ByteSpan bytes, std::uint32_t before
) noexcept {
    std::uint64_t crc = ~before;
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 3 * kRunBytes; left -= 3 * kRunBytes, at += 3 * kRunBytes) {
        std::uint64_t second = 0;
        std::uint64_t third = 0;
        for (std::size_t i = 0; i < kRunBytes; i += sizeof(std::uint64_t)) {
            crc = _mm_crc32_u64(crc, word_at(at + i));
            second = _mm_crc32_u64(second, word_at(at + kRunBytes + i));
            third = _mm_crc32_u64(third, word_at(at + 2 * kRunBytes + i));
        }
        crc = moved(static_cast<std::uint32_t>(crc)) ^ second;
        crc = moved(static_cast<std::uint32_t>(crc)) ^ third;
    }
    constexpr std::size_t kWord = sizeof(std::uint64_t);
    for (; left >= kWord; left -= kWord, at += kWord) {
        crc = _mm_crc32_u64(crc, word_at(at));
    }
    auto last = static_cast<std::uint32_t>(crc);
    for (; left > 0; --left, ++at) {
        last = _mm_crc32_u8(last, std::to_integer<std::uint8_t>(*at));
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
