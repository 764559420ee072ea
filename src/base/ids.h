#pragma once

#include "base/bytes.h"

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

/// A random (version 4) UUID in its lower-case text form.
[[nodiscard]] std::string new_guid();
[[nodiscard]] bool is_guid(std::string_view text) noexcept;

/// 128 random bits with a type of their own: `using PointId = Id128<struct PointIdTag>`.
template <typename Tag>
class Id128 {
public:
    constexpr Id128() = default;
    explicit constexpr Id128(const std::array<std::byte, 16>& bytes) : bytes_{bytes} {}

    [[nodiscard]] static Id128 random() noexcept { return Id128{random_array<16>()}; }
    /// 32 hexadecimal digits; nothing for any other text.
    [[nodiscard]] static std::optional<Id128> parse(std::string_view text) {
        const auto bytes = from_hex(text);
        if (!bytes || bytes->size() != 16) {
            return std::nullopt;
        }
        Id128 id;
        std::copy(bytes->begin(), bytes->end(), id.bytes_.begin());
        return id;
    }

    [[nodiscard]] std::string to_string() const { return to_hex(bytes_); }
    [[nodiscard]] const std::array<std::byte, 16>& bytes() const noexcept { return bytes_; }
    auto operator<=>(const Id128&) const = default;

private:
    std::array<std::byte, 16> bytes_{};
};

}  // namespace holdfast
