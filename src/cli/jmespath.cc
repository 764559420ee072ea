#include "cli/jmespath.h"

#include "base/error.h"
#include "cli/jmespath_functions.h"
#include "cli/jmespath_parser.h"

#include <cmath>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

using Node = JmesPath::Node;
using Kind = Node::Kind;

OrderedJson index_of(const OrderedJson& value, std::int64_t index) {
    if (!value.is_array()) {
        return nullptr;
    }
    const auto size = static_cast<std::int64_t>(value.size());
    const std::int64_t at = index < 0 ? size + index : index;
    return at >= 0 && at < size ? value[static_cast<std::size_t>(at)] : OrderedJson{};
}

/// As Python's slices: parts beyond the ends are cut, negative ones count from the end.
OrderedJson slice_of(const OrderedJson& value, const Node& node) {
    if (!value.is_array()) {
        return nullptr;
    }
    const auto size = static_cast<std::int64_t>(value.size());
    const std::int64_t step = node.slice[2].value_or(1);
    if (step == 0) {
        throw Error{ErrorKind::kInvalidParameter, "--query: the step of a slice is 0."};
    }
    const std::int64_t low = step < 0 ? -1 : 0;
    const std::int64_t high = step < 0 ? size - 1 : size;
    const auto clip = [&](std::optional<std::int64_t> part, std::int64_t fallback) {
        if (!part) {
            return fallback;
        }
        return std::clamp(*part < 0 ? *part + size : *part, low, high);
    };
    const std::int64_t start = clip(node.slice[0], step < 0 ? high : low);
    const std::int64_t stop = clip(node.slice[1], step < 0 ? low : high);
    OrderedJson out = OrderedJson::array();
    // The step may be larger than any list; the distance decides, so that nothing overflows.
    for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
        out.push_back(value[static_cast<std::size_t>(at)]);
        if (step > 0 ? step >= stop - at : step <= stop - at) {
            break;
        }
        at += step;
    }
    return out;
}

OrderedJson flatten(const OrderedJson& value) {
    if (!value.is_array()) {
        return nullptr;
    }
    OrderedJson out = OrderedJson::array();
    for (const OrderedJson& element : value) {
        if (element.is_array()) {
            out.insert(out.end(), element.begin(), element.end());
        } else {
            out.push_back(element);
        }
    }
    return out;
}

OrderedJson compare(const OrderedJson& left, const OrderedJson& right, Comparison comparison) {
    if (comparison == Comparison::kEqual || comparison == Comparison::kNotEqual) {
        return equal_values(left, right) == (comparison == Comparison::kEqual);
    }
    const bool comparable =
        (left.is_number() && right.is_number()) || (left.is_string() && right.is_string());
    if (!comparable) {
        return nullptr;
    }
    if (comparison == Comparison::kLess) {
        return left < right;
    }
    if (comparison == Comparison::kLessOrEqual) {
        return left <= right;
    }
    return comparison == Comparison::kGreater ? left > right : left >= right;
}

OrderedJson project(const OrderedJson& elements, const Node& expression, const Node* condition) {
    OrderedJson out = OrderedJson::array();
    for (const OrderedJson& element : elements) {
        if (condition != nullptr && !is_truthy(evaluate_jmespath(*condition, element))) {
            continue;
        }
        OrderedJson value = evaluate_jmespath(expression, element);
        if (!value.is_null()) {
            out.push_back(std::move(value));
        }
    }
    return out;
}

OrderedJson multi_select(const Node& node, const OrderedJson& value) {
    if (value.is_null()) {
        return nullptr;
    }
    const bool hash = node.kind == Kind::kMultiHash;
    OrderedJson out = hash ? OrderedJson::object() : OrderedJson::array();
    for (std::size_t i = 0; i < node.children.size(); ++i) {
        OrderedJson part = evaluate_jmespath(*node.children[i], value);
        if (hash) {
            out[node.keys[i]] = std::move(part);
        } else {
            out.push_back(std::move(part));
        }
    }
    return out;
}

OrderedJson projection(const Node& node, const OrderedJson& value) {
    const OrderedJson source = evaluate_jmespath(*node.children[0], value);
    if (node.kind == Kind::kValueProjection) {
        return source.is_object() ? project(source, *node.children[1], nullptr) : OrderedJson{};
    }
    const Node* condition = node.kind == Kind::kFilterProjection ? node.children[2].get() : nullptr;
    return source.is_array() ? project(source, *node.children[1], condition) : OrderedJson{};
}

OrderedJson logic(const Node& node, const OrderedJson& value) {
    OrderedJson left = evaluate_jmespath(*node.children[0], value);
    if (node.kind == Kind::kNot) {
        return !is_truthy(left);
    }
    const bool decided = is_truthy(left) == (node.kind == Kind::kOr);
    return decided ? left : evaluate_jmespath(*node.children[1], value);
}

}  // namespace

OrderedJson evaluate_jmespath(const Node& node, const OrderedJson& value) {
    switch (node.kind) {
        case Kind::kIdentity:
            return value;
        case Kind::kField: {
            if (!value.is_object()) {
                return nullptr;
            }
            const auto found = value.find(node.text);
            return found != value.end() ? *found : OrderedJson{};
        }
        case Kind::kLiteral:
            return node.literal;
        case Kind::kIndex:
            return index_of(value, node.number);
        case Kind::kSlice:
            return slice_of(value, node);
        case Kind::kSubexpression:
        case Kind::kPipe:
            return evaluate_jmespath(
                *node.children[1], evaluate_jmespath(*node.children[0], value)
            );
        case Kind::kProjection:
        case Kind::kValueProjection:
        case Kind::kFilterProjection:
            return projection(node, value);
        case Kind::kFlatten:
            return flatten(evaluate_jmespath(*node.children[0], value));
        case Kind::kMultiList:
        case Kind::kMultiHash:
            return multi_select(node, value);
        case Kind::kOr:
        case Kind::kAnd:
        case Kind::kNot:
            return logic(node, value);
        case Kind::kCompare:
            return compare(
                evaluate_jmespath(*node.children[0], value),
                evaluate_jmespath(*node.children[1], value),
                node.comparison
            );
        case Kind::kFunction:
            return call_jmespath_function(node, value);
        case Kind::kReference:
            break;
    }
    throw Error{
        ErrorKind::kInvalidParameter, "--query: '&' stands outside a function's arguments."
    };
}

bool equal_values(const OrderedJson& left, const OrderedJson& right) {
    if (left.is_structured() && right.is_structured()) {
        return Json(left) == Json(right);  // The order of members doesn't count.
    }
    return left == right;
}

bool is_truthy(const OrderedJson& value) {
    if (value.is_boolean()) {
        return value.get<bool>();
    }
    if (value.is_string()) {
        return !value.get_ref<const std::string&>().empty();
    }
    return value.is_number() || !value.empty();
}

JmesPath JmesPath::compile(std::string_view expression) {
    return JmesPath{std::shared_ptr<const Node>{parse_jmespath(expression)}};
}

OrderedJson JmesPath::search(const OrderedJson& document) const {
    return evaluate_jmespath(*root_, document);
}

}  // namespace holdfast::cli
