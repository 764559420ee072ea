#include "vault/detail/chunker.h"

#include "vault/detail/crypto.h"

#include <algorithm>

namespace holdfast::vault {

GearTable make_gear_table(const Secret& chunker_key) {
    GearTable table{};
    KeyedHash hash{chunker_key.expose()};
    for (std::size_t i = 0; i < table.size(); ++i) {
        const std::array<std::byte, 1> input{static_cast<std::byte>(i)};
        table[i] = get_little_endian<std::uint64_t>(hash(input).data());
    }
    return table;
}

std::optional<std::size_t> Chunker::find_end(ByteSpan next) noexcept {
    std::uint64_t hash = hash_;
    // No cut below the minimum: those bytes need not even be hashed.
    std::size_t at = length_ < parameters_.bytes_min
                         ? std::min(next.size(), parameters_.bytes_min - length_)
                         : 0;
    const auto scan = [&](std::size_t length_end, int bits) noexcept {
        const std::size_t end =
            length_end <= length_ ? 0 : std::min(next.size(), length_end - length_);
        const std::uint64_t mask = ~std::uint64_t{0} << (64 - bits);
        const std::byte* const bytes = next.data();
        while (at < end) {
            hash = (hash << 1) + gear_[std::to_integer<std::uint8_t>(bytes[at])];
            ++at;
            if ((hash & mask) == 0) {
                return true;
            }
        }
        return false;
    };
    const bool found = scan(parameters_.bytes_normal, parameters_.bits_before) ||
                       scan(parameters_.bytes_max, parameters_.bits_after) ||
                       length_ + at >= parameters_.bytes_max;
    if (found) {
        hash_ = 0;
        length_ = 0;
        return at;
    }
    hash_ = hash;
    length_ += next.size();
    return std::nullopt;
}

}  // namespace holdfast::vault
