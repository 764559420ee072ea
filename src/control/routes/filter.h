#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::control {

/// One `name eq 'value'` of a `$filter`.
struct FilterClause {
    std::string name;  ///< In the spelling of `known`.
    std::string value;
};

/// Reads `a eq 'x' and b eq 'y'`, the whole language of the backup API's filters; an empty text has
/// no clauses. In a quoted value a quote is doubled. Throws kInvalidQuery, with the character, for
/// anything else and for names that are not in `known`.
[[nodiscard]] std::vector<FilterClause> parse_filter(
    std::string_view text, std::initializer_list<std::string_view> known
);

}  // namespace holdfast::control
