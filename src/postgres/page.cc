#include "postgres/page.h"

#include "base/error.h"
#include "base/text.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

constexpr std::size_t kChecksumOffset = 8;
constexpr std::size_t kUpperOffset = 14;

// PostgreSQL's page checksum: 32 FNV-1a-like sums beside each other over the page's 32-bit words,
// folded by XOR (storage/checksum_impl.h names the algorithm and these parameters).
constexpr std::size_t kSums = 32;
constexpr std::uint32_t kPrime = 16777619;
constexpr std::array<std::uint32_t, kSums> kOffsets{
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
};

static_assert(std::endian::native == std::endian::little);

#if defined(__GNUC__) && !defined(__clang__)
// Also where the rest of the program is built without optimisation: every byte of a backup passes.
#define HOLDFAST_PAGE_KERNEL inline __attribute__((always_inline, optimize("O3")))
#define HOLDFAST_PAGE_VARIANT(...) __attribute__((optimize("O3") __VA_OPT__(, ) __VA_ARGS__))
#else
#define HOLDFAST_PAGE_KERNEL inline __attribute__((always_inline))
#define HOLDFAST_PAGE_VARIANT(...) __attribute__((unused __VA_OPT__(, ) __VA_ARGS__))
#endif

/// Eight of the sums: one AVX2 register, or two of SSE2.
using Lanes = std::uint32_t __attribute__((vector_size(32)));
constexpr std::size_t kLaneGroups = kSums * sizeof(std::uint32_t) / sizeof(Lanes);
constexpr std::size_t kRowBytes = kSums * sizeof(std::uint32_t);

/// What the checksum is before the block's number goes in.
HOLDFAST_PAGE_KERNEL std::uint32_t sum_of_page(const std::byte* page) noexcept {
    Lanes sums[kLaneGroups];
    __builtin_memcpy(sums, kOffsets.data(), kRowBytes);
    for (std::size_t at = 0; at < kPageBytes; at += kRowBytes) {
        Lanes row[kLaneGroups];
        __builtin_memcpy(row, page + at, kRowBytes);
        if (at == 0) {
            // The checksum itself counts as zero; it is the lower half of the third word.
            row[0][kChecksumOffset / sizeof(std::uint32_t)] &= 0xffff0000U;
        }
        for (std::size_t i = 0; i < kLaneGroups; ++i) {
            const Lanes mixed = sums[i] ^ row[i];
            sums[i] = (mixed * kPrime) ^ (mixed >> 17);
        }
    }
    for (int round = 0; round < 2; ++round) {
        for (std::size_t i = 0; i < kLaneGroups; ++i) {
            sums[i] = (sums[i] * kPrime) ^ (sums[i] >> 17);
        }
    }
    const Lanes all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
    static_assert(kLaneGroups == 4);
    std::uint32_t result = 0;
    for (std::size_t i = 0; i < sizeof(Lanes) / sizeof(std::uint32_t); ++i) {
        result ^= all[i];
    }
    return result;
}

#if defined(__x86_64__)
HOLDFAST_PAGE_VARIANT(target("avx2")) std::uint32_t sum_with_avx2(const std::byte* page) noexcept {
    return sum_of_page(page);
}
#endif
HOLDFAST_PAGE_VARIANT() std::uint32_t sum_plainly(const std::byte* page) noexcept {
    return sum_of_page(page);
}

using PageSum = std::uint32_t (*)(const std::byte*) noexcept;
PageSum choose_sum() noexcept {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") != 0) {
        return &sum_with_avx2;
    }
#endif
    return &sum_plainly;
}

bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<RelationFork> parse_fork(std::string_view text) {
    if (text == "fsm") {
        return RelationFork::kFreeSpaceMap;
    }
    if (text == "vm") {
        return RelationFork::kVisibilityMap;
    }
    return text == "init" ? std::optional{RelationFork::kInit} : std::nullopt;
}

/// `16384`, `16384_vm`, `16384_fsm.2`.
std::optional<RelationFile> parse_relation_name(std::string_view name) {
    RelationFile file;
    if (const std::size_t dot = name.find('.'); dot != std::string_view::npos) {
        const std::string_view digits = name.substr(dot + 1);
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), file.segment);
        if (error != std::errc{} || end != digits.data() + digits.size()) {
            return std::nullopt;
        }
        name = name.substr(0, dot);
    }
    if (const std::size_t bar = name.find('_'); bar != std::string_view::npos) {
        const auto fork = parse_fork(name.substr(bar + 1));
        if (!fork) {
            return std::nullopt;
        }
        file.fork = *fork;
        name = name.substr(0, bar);
    }
    return is_number(name) ? std::optional{file} : std::nullopt;
}

}  // namespace

std::string format_lsn(Lsn lsn) {
    return fmt::format("{:X}/{:X}", lsn >> 32, lsn & 0xffffffff);
}

std::optional<Lsn> parse_lsn(std::string_view text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) {
        return std::nullopt;
    }
    Lsn lsn = 0;
    for (const std::string_view part : {text.substr(0, slash), text.substr(slash + 1)}) {
        std::uint32_t half = 0;
        const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), half, 16);
        if (error != std::errc{} || end != part.data() + part.size()) {
            return std::nullopt;
        }
        lsn = lsn << 32 | half;
    }
    return lsn;
}

PageHeader read_page_header(ByteSpan page) noexcept {
    // The log position is two words, the higher one first, each in the machine's order.
    std::array<std::uint32_t, 2> lsn{};
    PageHeader header;
    std::memcpy(lsn.data(), page.data(), sizeof(lsn));
    std::memcpy(&header.checksum, page.data() + kChecksumOffset, sizeof(header.checksum));
    std::memcpy(&header.upper, page.data() + kUpperOffset, sizeof(header.upper));
    header.lsn = Lsn{lsn[0]} << 32 | lsn[1];
    return header;
}

std::uint16_t page_checksum(ByteSpan page, std::uint32_t block) noexcept {
    HOLDFAST_CHECK(page.size() == kPageBytes);
    static const PageSum kSum = choose_sum();
    const std::uint32_t result = kSum(page.data());
    return static_cast<std::uint16_t>((result ^ block) % 65535 + 1);
}

std::optional<RelationFile> parse_relation_file(std::string_view path) {
    const std::vector<std::string> parts = split(path, '/');
    const bool shared = parts.size() == 2 && parts[0] == "global";
    const bool own = parts.size() == 3 && parts[0] == "base" && is_number(parts[1]);
    const bool elsewhere = parts.size() == 5 && parts[0] == "pg_tblspc" && is_number(parts[1]) &&
                           parts[2].starts_with("PG_") && is_number(parts[3]);
    if (!shared && !own && !elsewhere) {
        return std::nullopt;
    }
    return parse_relation_name(parts.back());
}

}  // namespace holdfast::postgres
