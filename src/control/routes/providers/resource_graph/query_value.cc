#include "control/routes/providers/resource_graph/query_value.h"

#include "base/text.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using Kind = GraphExpression::Kind;

struct FunctionRow {
    std::string_view name;
    std::size_t arguments_min;
    std::size_t arguments_max;
};

constexpr std::size_t kArgumentsMax = 64;
// Of what a function makes: much more than any property of a resource.
constexpr std::size_t kTextMax = 256 * 1024;
constexpr std::size_t kValueCost = 16;  // What even a number takes.

constexpr std::array<FunctionRow, 11> kFunctions{{
    {"case", 3, kArgumentsMax},
    {"iff", 3, 3},
    {"isempty", 1, 1},
    {"isnotempty", 1, 1},
    {"not", 1, 1},
    {"split", 2, 2},
    {"strcat", 1, kArgumentsMax},
    {"todatetime", 1, 1},
    {"tolower", 1, 1},
    {"tostring", 1, 1},
    {"toupper", 1, 1},
}};

bool is_true(const Json& value) {
    return value.is_boolean() && value.get<bool>();
}

bool texts_equal(const Json& a, const Json& b, bool fold_case) {
    const std::string left = to_text(a);
    const std::string right = to_text(b);
    return fold_case ? equal_ignoring_case(left, right) : left == right;
}

std::optional<Instant> instant_of(const GraphExpression& expression, const GraphRow& row) {
    if (expression.kind == Kind::kDatetime) {
        return expression.instant;
    }
    const Json value = value_of(expression, row);
    return value.is_string() ? parse_instant(value.get_ref<const std::string&>()) : std::nullopt;
}

/// Datetimes compare as instants when either side is one; numbers as numbers; the rest as text. A
/// null is in no order.
std::optional<int> order(const GraphExpression& expression, const GraphRow& row) {
    const GraphExpression& left = expression.children[0];
    const GraphExpression& right = expression.children[1];
    const auto is_datetime = [](const GraphExpression& side) {
        return side.kind == Kind::kDatetime ||
               (side.kind == Kind::kCall && side.text == "todatetime");
    };
    const auto compare = [](const auto& a, const auto& b) { return a < b ? -1 : (b < a ? 1 : 0); };
    if (is_datetime(left) || is_datetime(right)) {
        const auto a = instant_of(left, row);
        const auto b = instant_of(right, row);
        return a && b ? std::optional{compare(*a, *b)} : std::nullopt;
    }
    const Json a = value_of(left, row);
    const Json b = value_of(right, row);
    if (a.is_null() || b.is_null()) {
        return std::nullopt;
    }
    if (a.is_number() && b.is_number()) {
        return compare(a.get<double>(), b.get<double>());
    }
    return compare(to_text(a), to_text(b));
}

bool equal(const GraphExpression& expression, const GraphRow& row) {
    const GraphExpression& left = expression.children[0];
    const GraphExpression& right = expression.children[1];
    if (left.kind == Kind::kDatetime || right.kind == Kind::kDatetime) {
        return order(expression, row) == 0;
    }
    return texts_equal(value_of(left, row), value_of(right, row), expression.fold_case);
}

bool is_in(const GraphExpression& expression, const GraphRow& row) {
    const Json left = value_of(expression.children[0], row);
    return std::any_of(
        expression.children.begin() + 1,
        expression.children.end(),
        [&](const GraphExpression& candidate) {
            return texts_equal(left, value_of(candidate, row), expression.fold_case);
        }
    );
}

/// Of looking for `part` in `text`: a memory comparison at every place, at worst.
std::size_t cost_of_search(std::string_view text, std::string_view part) {
    const std::size_t places = text.size() - std::min(part.size(), text.size());
    return places + places * part.size() / 16;
}

bool text_test(const GraphExpression& expression, const GraphRow& row) {
    std::string text = to_text(value_of(expression.children[0], row));
    std::string part = to_text(value_of(expression.children[1], row));
    if (expression.fold_case) {
        text = to_lower(text);
        part = to_lower(part);
    }
    row.budget.spend(cost_of_search(text, part), expression.position);
    return expression.kind == Kind::kStartsWith ? text.starts_with(part)
                                                : text.find(part) != std::string::npos;
}

bool ordered(const GraphExpression& expression, const GraphRow& row) {
    const auto sign = order(expression, row);
    if (!sign) {
        return false;
    }
    if (expression.kind == Kind::kLess) {
        return *sign < 0;
    }
    if (expression.kind == Kind::kLessOrEqual) {
        return *sign <= 0;
    }
    return expression.kind == Kind::kGreater ? *sign > 0 : *sign >= 0;
}

/// What a column or a chain of members stands for, without copying the documents on the way; null
/// where something is absent, and for every other kind of expression.
const Json* reference_to(const GraphExpression& expression, const GraphRow& row) {
    if (expression.kind != Kind::kColumn && expression.kind != Kind::kMember) {
        return nullptr;
    }
    const Json* object =
        expression.kind == Kind::kColumn ? &row.columns : reference_to(expression.children[0], row);
    if (object == nullptr || !object->is_object()) {
        return nullptr;
    }
    const auto found = object->find(expression.text);
    return found == object->end() ? nullptr : &*found;
}

Json member_of(const GraphExpression& expression, const GraphRow& row) {
    if (const Json* found = reference_to(expression, row)) {
        return *found;
    }
    const Kind kind = expression.children[0].kind;
    if (kind == Kind::kColumn || kind == Kind::kMember) {
        return {};
    }
    const Json object = value_of(expression.children[0], row);
    const auto found = object.is_object() ? object.find(expression.text) : object.end();
    return object.is_object() && found != object.end() ? *found : Json{};
}

Json element_of(const GraphExpression& expression, const GraphRow& row) {
    const Json array = value_of(expression.children[0], row);
    const auto index = static_cast<std::size_t>(expression.number);
    return array.is_array() && index < array.size() ? array[index] : Json{};
}

/// Texts that are made of themselves again and again (`extend a = strcat(a, a)`) would take all
/// memory.
std::string require_short(std::string text, const GraphExpression& call) {
    if (text.size() > kTextMax) {
        throw_query_fault(
            call.position,
            fmt::format("{}() works on a text of more than {} KiB.", call.text, kTextMax / 1024)
        );
    }
    return text;
}

Json split_text(const std::string& text, const std::string& separator) {
    Json parts = Json::array();
    std::size_t start = 0;
    while (!separator.empty()) {
        const std::size_t at = text.find(separator, start);
        if (at == std::string::npos) {
            break;
        }
        parts.push_back(text.substr(start, at - start));
        start = at + separator.size();
    }
    parts.push_back(text.substr(start));
    return parts;
}

Json choose_case(const GraphExpression& expression, const GraphRow& row) {
    const auto& arguments = expression.children;
    for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
        if (holds(arguments[i], row)) {
            return value_of(arguments[i + 1], row);
        }
    }
    return value_of(arguments.back(), row);
}

Json call(const GraphExpression& expression, const GraphRow& row) {
    const std::string& name = expression.text;
    const auto& arguments = expression.children;
    if (name == "case" || name == "iff") {
        return choose_case(expression, row);
    }
    if (name == "strcat") {
        std::string out;
        for (const GraphExpression& argument : arguments) {
            out = require_short(out + to_text(value_of(argument, row)), expression);
        }
        return out;
    }
    const Json first = value_of(arguments[0], row);
    if (name == "not") {
        return !is_true(first);
    }
    if (name == "todatetime") {
        return first;  // order() reads it as an instant.
    }
    std::string text = require_short(to_text(first), expression);
    if (name == "split") {
        const std::string separator = to_text(value_of(arguments[1], row));
        row.budget.spend(cost_of_search(text, separator), expression.position);
        return first.is_null() ? Json{} : split_text(text, separator);
    }
    if (name == "tolower") {
        return to_lower(text);
    }
    if (name == "toupper") {
        std::transform(text.begin(), text.end(), text.begin(), [](char c) {
            return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        });
        return text;
    }
    if (name == "isempty") {
        return text.empty();
    }
    if (name == "isnotempty") {
        return !text.empty();
    }
    return text;  // tostring
}

Json compute(const GraphExpression& expression, const GraphRow& row) {
    const auto& children = expression.children;
    switch (expression.kind) {
        case Kind::kString:
            return expression.text;
        case Kind::kNumber:
            return expression.number;
        case Kind::kBool:
            return expression.number != 0;
        case Kind::kDatetime:
            return format_instant(expression.instant);
        case Kind::kColumn: {
            const auto found = row.columns.find(expression.text);
            return found == row.columns.end() ? Json{} : *found;
        }
        case Kind::kMember:
            return member_of(expression, row);
        case Kind::kIndex:
            return element_of(expression, row);
        case Kind::kCall:
            return call(expression, row);
        case Kind::kEqual:
            return equal(expression, row);
        case Kind::kNotEqual:
            return !equal(expression, row);
        case Kind::kIn:
            return is_in(expression, row);
        case Kind::kNotIn:
            return !is_in(expression, row);
        case Kind::kLess:
        case Kind::kLessOrEqual:
        case Kind::kGreater:
        case Kind::kGreaterOrEqual:
            return ordered(expression, row);
        case Kind::kStartsWith:
        case Kind::kContains:
            return text_test(expression, row);
        case Kind::kAnd:
            return std::all_of(children.begin(), children.end(), [&](const GraphExpression& part) {
                return holds(part, row);
            });
        case Kind::kOr:
            return std::any_of(children.begin(), children.end(), [&](const GraphExpression& part) {
                return holds(part, row);
            });
    }
    return {};
}

}  // namespace

Json value_of(const GraphExpression& expression, const GraphRow& row) {
    Json out = compute(expression, row);
    row.budget.spend(size_of(out), expression.position);
    return out;
}

bool holds(const GraphExpression& condition, const GraphRow& row) {
    return is_true(value_of(condition, row));
}

std::string to_text(const Json& value) {
    if (value.is_null()) {
        return {};
    }
    return value.is_string() ? value.get<std::string>()
                             : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::size_t size_of(const Json& value) {
    std::size_t size = kValueCost;
    if (value.is_string()) {
        size += value.get_ref<const std::string&>().size();
    } else if (value.is_structured()) {
        for (const auto& [key, part] : value.items()) {
            size += (value.is_object() ? key.size() : 0) + size_of(part);
        }
    }
    return size;
}

void check_call(const GraphExpression& expression) {
    std::string names;
    for (const FunctionRow& row : kFunctions) {
        names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
        if (row.name != expression.text) {
            continue;
        }
        const std::size_t count = expression.children.size();
        if (count < row.arguments_min || count > row.arguments_max) {
            throw_query_fault(
                expression.position,
                fmt::format("{}() does not take {} arguments.", row.name, count)
            );
        }
        if (row.name == "case" && count % 2 == 0) {
            throw_query_fault(
                expression.position, "case() needs pairs of condition and value, then a default."
            );
        }
        return;
    }
    throw_query_fault(
        expression.position,
        fmt::format("The function {}() is not known. Known: {}.", expression.text, names)
    );
}

}  // namespace holdfast::control
