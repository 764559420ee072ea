#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;
using MutableByteSpan = std::span<std::byte>;

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

/// Views of the same memory; nothing is copied.
[[nodiscard]] ByteSpan as_bytes(std::string_view text) noexcept;
[[nodiscard]] std::string_view as_text(ByteSpan bytes) noexcept;
[[nodiscard]] Bytes to_bytes(std::string_view text);

/// Lower-case hexadecimal.
[[nodiscard]] std::string to_hex(ByteSpan bytes);
/// Accepts either case; nothing when `text` is not an even number of hexadecimal digits.
[[nodiscard]] std::optional<Bytes> from_hex(std::string_view text);

/// RFC 4648 section 4 (with padding) and section 5 (URL-safe, without padding).
[[nodiscard]] std::string to_base64(ByteSpan bytes);
[[nodiscard]] std::string to_base64url(ByteSpan bytes);
[[nodiscard]] std::optional<Bytes> from_base64(std::string_view text);
[[nodiscard]] std::optional<Bytes> from_base64url(std::string_view text);

/// Little-endian fixed-width integers.
template <typename Unsigned>
void put_little_endian(std::byte* out, Unsigned value) noexcept {
    for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
        out[i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
    }
}
template <typename Unsigned>
[[nodiscard]] Unsigned get_little_endian(const std::byte* in) noexcept {
    Unsigned value = 0;
    for (std::size_t i = 0; i < sizeof(Unsigned); ++i) {
        value = static_cast<Unsigned>(value | (static_cast<Unsigned>(in[i]) << (8 * i)));
    }
    return value;
}

/// True when equal; the time taken does not depend on the contents.
[[nodiscard]] bool equal_constant_time(ByteSpan a, ByteSpan b) noexcept;

/// Random bytes from the operating system (getrandom). Ends the process when there are none.
void fill_random(MutableByteSpan out) noexcept;

template <std::size_t N>
[[nodiscard]] std::array<std::byte, N> random_array() noexcept {
    std::array<std::byte, N> out{};
    fill_random(out);
    return out;
}

}  // namespace holdfast
