#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// The lexical structure of the SQL that pg_dump writes: enough to tell a name from a string, a
/// comment or a function body. Bytes above 127 are letters, as in every server encoding of
/// PostgreSQL.
struct SqlToken {
    enum class Kind {
        kWord,    ///< Keyword or unquoted name; `value` in lower case.
        kQuoted,  ///< "name"; `value` without quotes.
        kString,  ///< '…' without escapes; `value` is what it means.
        kOther,   ///< E'…', $$…$$, numbers, operators: `value` as written.
    };
    Kind kind = Kind::kOther;
    std::size_t begin = 0;
    std::size_t end = 0;
    std::string value;

    [[nodiscard]] bool is_name() const noexcept {
        return kind == Kind::kWord || kind == Kind::kQuoted;
    }
    [[nodiscard]] bool is_word(std::string_view word) const noexcept {
        return kind == Kind::kWord && value == word;
    }
    [[nodiscard]] bool is_symbol(std::string_view symbol) const noexcept {
        return kind == Kind::kOther && value == symbol;
    }
};

/// Comments and white space are dropped. Nothing when a quotation does not end.
[[nodiscard]] std::optional<std::vector<SqlToken>> tokenize_sql(std::string_view text);

struct QualifiedName {
    std::string schema;
    std::string name;
    auto operator<=>(const QualifiedName&) const = default;
};

/// The name at `position`, when there is `schema.name`.
[[nodiscard]] std::optional<QualifiedName> qualified_name_at(
    const std::vector<SqlToken>& tokens, std::size_t position
);

/// `schema.name` and nothing else.
[[nodiscard]] std::optional<QualifiedName> parse_qualified_name(std::string_view text);

}  // namespace holdfast::postgres
