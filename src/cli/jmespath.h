#pragma once

#include "base/json.h"

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace holdfast::cli {

/// Keeps the order of members: `--query '{Name:name, State:state}' -o table` shows its columns as
/// written.
using OrderedJson = nlohmann::ordered_json;

/// A compiled JMESPath expression, after the specification at jmespath.org: identifiers,
/// sub-expressions, indexes, slices, wildcards, flattening, filters, multi-select lists and hashes,
/// pipes, literals, raw strings, and/or/not, comparisons, the current node and all functions of the
/// specification. As in az, `<` and its kin compare strings too, and a literal in backquotes that
/// is not JSON is a string. Immutable; safe from any thread.
class JmesPath {
public:
    struct Node;

    /// Throws kUsage naming the position of the fault; also for unknown functions and wrong numbers
    /// of arguments.
    [[nodiscard]] static JmesPath compile(std::string_view expression);

    /// Throws kInvalidParameter when a function gets a value of the wrong type.
    [[nodiscard]] OrderedJson search(const OrderedJson& document) const;

private:
    explicit JmesPath(std::shared_ptr<const Node> root) : root_{std::move(root)} {}
    std::shared_ptr<const Node> root_;
};

/// Python's idea of truth in JMESPath: everything but false, null, "", [] and {}.
[[nodiscard]] bool is_truthy(const OrderedJson& value);

}  // namespace holdfast::cli
