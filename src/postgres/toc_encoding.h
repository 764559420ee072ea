#pragma once

#include "postgres/toc.h"

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::postgres {

/// The encoding of an archive's texts as PostgreSQL names it ("UTF8", "LATIN1"), from its ENCODING
/// entry; "SQL_ASCII" when it says nothing.
[[nodiscard]] std::string archive_encoding(const Toc& toc);

/// Always valid UTF-8; what cannot be converted becomes U+FFFD.
[[nodiscard]] std::string to_utf8(std::string_view text, std::string_view encoding);
/// Nothing when `text` has characters that `encoding` lacks.
[[nodiscard]] std::optional<std::string> from_utf8(
    std::string_view text, std::string_view encoding
);

/// Valid UTF-8: each byte that is not part of a character becomes U+FFFD.
[[nodiscard]] std::string repair_utf8(std::string_view text);

}  // namespace holdfast::postgres
