#pragma once

#include "cli/jmespath.h"
#include "cli/jmespath_parser.h"

namespace holdfast::cli {

/// The pieces of the evaluator that know each other.
[[nodiscard]] OrderedJson evaluate_jmespath(const JmesPath::Node& node, const OrderedJson& value);
[[nodiscard]] OrderedJson call_jmespath_function(
    const JmesPath::Node& node, const OrderedJson& value
);
/// Equal as JSON: types count (1 is not true), the order of members doesn't.
[[nodiscard]] bool equal_values(const OrderedJson& left, const OrderedJson& right);

}  // namespace holdfast::cli
