#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

/// ASCII only: resource ids, enum words and property names are compared this way, whatever the
/// locale.
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;
[[nodiscard]] bool starts_with_ignoring_case(
    std::string_view text, std::string_view prefix
) noexcept;
[[nodiscard]] std::string_view trim(std::string_view text) noexcept;
/// Keeps empty parts.
[[nodiscard]] std::vector<std::string> split(std::string_view text, char separator);
[[nodiscard]] std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// Percent-encoding of RFC 3986; encode leaves only the unreserved characters. decode throws
/// kBadRequest on a broken escape.
[[nodiscard]] std::string percent_encode(std::string_view text);
[[nodiscard]] std::string percent_decode(std::string_view text);

/// True for well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

/// How many single-character edits apart; for words, not documents.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// `1.5 GiB`, `312 B`.
[[nodiscard]] std::string format_size(std::uint64_t bytes);

}  // namespace holdfast
