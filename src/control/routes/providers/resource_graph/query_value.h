#pragma once

#include "control/routes/providers/resource_graph/query.h"

namespace holdfast::control {

/// What expressions are evaluated over.
struct GraphRow {
    const Json& columns;
    GraphBudget& budget;
};

/// Throws kBadRequest when the function is not known or takes another number of arguments. What
/// passed can be evaluated.
void check_call(const GraphExpression& expression);

/// Charged to the row's budget. Throws kBadRequest as that does.
[[nodiscard]] Json value_of(const GraphExpression& expression, const GraphRow& row);
[[nodiscard]] bool holds(const GraphExpression& condition, const GraphRow& row);

/// What a scalar is as text; dynamic values compare with strings this way (`properties.flag ==
/// 'true'`).
[[nodiscard]] std::string to_text(const Json& value);

/// The bytes that `value` takes, about.
[[nodiscard]] std::size_t size_of(const Json& value);

}  // namespace holdfast::control
