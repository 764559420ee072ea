#pragma once

#include "cli/jmespath.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

enum class Comparison { kEqual, kNotEqual, kLess, kLessOrEqual, kGreater, kGreaterOrEqual };

/// A node of the syntax tree. `children` by kind:
struct JmesPath::Node {
    enum class Kind {
        kIdentity,          ///< The value itself, which is also `@`.
        kField,             ///< text.
        kLiteral,           ///< literal.
        kIndex,             ///< number.
        kSlice,             ///< slice.
        kSubexpression,     ///< left, right: right on the value of left.
        kPipe,              ///< As kSubexpression, but ends a projection.
        kProjection,        ///< list, expression on each element.
        kValueProjection,   ///< object, expression on each member's value.
        kFilterProjection,  ///< list, expression, condition.
        kFlatten,           ///< list.
        kMultiList,         ///< One expression for each element.
        kMultiHash,         ///< One expression for each of `keys`.
        kOr,
        kAnd,
        kNot,
        kCompare,   ///< left, right, by `comparison`.
        kFunction,  ///< text is its name.
        kReference  ///< `&expression`, a function's argument.
    };
    Kind kind = Kind::kIdentity;
    std::string text = {};
    OrderedJson literal = {};
    std::int64_t number = 0;
    std::array<std::optional<std::int64_t>, 3> slice = {};
    Comparison comparison = Comparison::kEqual;
    std::vector<std::string> keys = {};
    std::vector<std::unique_ptr<Node>> children = {};
};

/// How many arguments a function takes; nothing when there is no such function.
struct FunctionArity {
    std::size_t min;
    std::size_t max;
};
[[nodiscard]] std::optional<FunctionArity> jmespath_function_arity(std::string_view name);

[[nodiscard]] std::unique_ptr<JmesPath::Node> parse_jmespath(std::string_view expression);

}  // namespace holdfast::cli
