#include "cli/jmespath_functions.h"

#include "base/error.h"

#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

using Node = JmesPath::Node;
using Kind = Node::Kind;

/// An evaluated argument, or the expression behind `&`.
struct Argument {
    OrderedJson value;
    const Node* reference = nullptr;
};

class Call;
using Function = OrderedJson (*)(Call&);

constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();

class Call {
public:
    Call(std::string_view name, std::vector<Argument> arguments)
        : name_{name}, arguments_{std::move(arguments)} {}

    [[nodiscard]] std::size_t size() const noexcept { return arguments_.size(); }

    [[nodiscard]] const OrderedJson& any(std::size_t i) const {
        if (arguments_[i].reference != nullptr) {
            refuse(i, "a value, not an expression");
        }
        return arguments_[i].value;
    }
    [[nodiscard]] const OrderedJson& number(std::size_t i) const {
        return checked(i, any(i).is_number(), "a number");
    }
    [[nodiscard]] const OrderedJson& array(std::size_t i) const {
        return checked(i, any(i).is_array(), "an array");
    }
    [[nodiscard]] const OrderedJson& object(std::size_t i) const {
        return checked(i, any(i).is_object(), "an object");
    }
    [[nodiscard]] const std::string& string(std::size_t i) const {
        return checked(i, any(i).is_string(), "a string").get_ref<const std::string&>();
    }
    [[nodiscard]] const OrderedJson& numbers(std::size_t i) const {
        const OrderedJson& list = array(i);
        return checked(i, std::all_of(list.begin(), list.end(), is_number), "an array of numbers");
    }
    [[nodiscard]] const OrderedJson& strings(std::size_t i) const {
        const OrderedJson& list = array(i);
        return checked(i, std::all_of(list.begin(), list.end(), is_string), "an array of strings");
    }
    [[nodiscard]] const OrderedJson& numbers_or_strings(std::size_t i) const {
        const OrderedJson& list = array(i);
        return checked(i, uniform(list), "an array of numbers or an array of strings");
    }
    [[nodiscard]] const Node& reference(std::size_t i) const {
        if (arguments_[i].reference == nullptr) {
            refuse(i, "an expression with &");
        }
        return *arguments_[i].reference;
    }

    /// The values of the expression on each element, all numbers or all strings.
    [[nodiscard]] OrderedJson keys_by_expression() const {
        const Node& expression = reference(1);
        OrderedJson keys = OrderedJson::array();
        for (const OrderedJson& element : array(0)) {
            keys.push_back(evaluate_jmespath(expression, element));
        }
        if (!uniform(keys)) {
            refuse(1, "an expression that yields only numbers or only strings");
        }
        return keys;
    }

    [[noreturn]] void refuse(std::size_t i, std::string_view wanted) const {
        throw Error{
            ErrorKind::kInvalidParameter,
            fmt::format("--query: {}(): argument {} should be {}.", name_, i + 1, wanted)
        };
    }

private:
    static bool is_number(const OrderedJson& value) { return value.is_number(); }
    static bool is_string(const OrderedJson& value) { return value.is_string(); }
    static bool uniform(const OrderedJson& list) {
        return std::all_of(list.begin(), list.end(), is_number) ||
               std::all_of(list.begin(), list.end(), is_string);
    }
    const OrderedJson& checked(std::size_t i, bool fits, std::string_view wanted) const {
        if (!fits) {
            refuse(i, wanted);
        }
        return arguments_[i].value;
    }

    std::string_view name_;
    std::vector<Argument> arguments_;
};

/// The beginnings of the characters of UTF-8 text.
std::vector<std::string_view> characters(std::string_view text) {
    std::vector<std::string_view> out;
    for (std::size_t begin = 0; begin < text.size();) {
        std::size_t end = begin + 1;
        while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) {
            ++end;
        }
        out.push_back(text.substr(begin, end - begin));
        begin = end;
    }
    return out;
}

/// A whole number stays one.
OrderedJson whole(double number) {
    if (std::abs(number) < 9e15) {
        return static_cast<std::int64_t>(number);
    }
    return number;
}

OrderedJson absolute(Call& call) {
    const OrderedJson& value = call.number(0);
    if (value.is_number_float()) {
        return std::abs(value.get<double>());
    }
    if (value.is_number_unsigned() || value.get<std::int64_t>() == INT64_MIN) {
        return value;
    }
    return std::abs(value.get<std::int64_t>());
}

OrderedJson sum(Call& call) {
    const OrderedJson& list = call.numbers(0);
    double total = 0;
    bool fractions = false;
    for (const OrderedJson& number : list) {
        total += number.get<double>();
        fractions = fractions || number.is_number_float();
    }
    return fractions ? OrderedJson(total) : whole(total);
}

OrderedJson average(Call& call) {
    const OrderedJson& list = call.numbers(0);
    if (list.empty()) {
        return nullptr;
    }
    double total = 0;
    for (const OrderedJson& number : list) {
        total += number.get<double>();
    }
    return total / static_cast<double>(list.size());
}

OrderedJson contains(Call& call) {
    const OrderedJson& subject = call.any(0);
    const OrderedJson& wanted = call.any(1);
    if (subject.is_string()) {
        return wanted.is_string() &&
               subject.get_ref<const std::string&>().find(wanted.get_ref<const std::string&>()) !=
                   std::string::npos;
    }
    if (!subject.is_array()) {
        call.refuse(0, "a string or an array");
    }
    return std::any_of(subject.begin(), subject.end(), [&](const OrderedJson& element) {
        return equal_values(element, wanted);
    });
}

OrderedJson join_strings(Call& call) {
    const std::string& glue = call.string(0);
    std::string out;
    for (const OrderedJson& part : call.strings(1)) {
        if (&part != &call.array(1).front()) {
            out += glue;
        }
        out += part.get_ref<const std::string&>();
    }
    return out;
}

OrderedJson keys_or_values(const OrderedJson& object, bool keys) {
    OrderedJson out = OrderedJson::array();
    for (const auto& [key, value] : object.items()) {
        out.push_back(keys ? OrderedJson(key) : value);
    }
    return out;
}

OrderedJson length(Call& call) {
    const OrderedJson& value = call.any(0);
    if (value.is_string()) {
        return characters(value.get_ref<const std::string&>()).size();
    }
    if (!value.is_structured()) {
        call.refuse(0, "a string, an array or an object");
    }
    return value.size();
}

OrderedJson map_each(Call& call) {
    const Node& expression = call.reference(0);
    OrderedJson out = OrderedJson::array();
    for (const OrderedJson& element : call.array(1)) {
        out.push_back(evaluate_jmespath(expression, element));
    }
    return out;
}

enum class Extreme { kMin, kMax };

OrderedJson extreme(const OrderedJson& list, const OrderedJson& keys, Extreme which) {
    if (list.empty()) {
        return nullptr;
    }
    std::size_t best = 0;
    for (std::size_t i = 1; i < list.size(); ++i) {
        if (which == Extreme::kMin ? keys[i] < keys[best] : keys[i] > keys[best]) {
            best = i;
        }
    }
    return list[best];
}

OrderedJson sorted(const OrderedJson& list, const OrderedJson& keys) {
    std::vector<std::size_t> order(list.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = i;
    }
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return keys[a] < keys[b];
    });
    OrderedJson out = OrderedJson::array();
    for (const std::size_t i : order) {
        out.push_back(list[i]);
    }
    return out;
}

OrderedJson merge(Call& call) {
    OrderedJson out = OrderedJson::object();
    for (std::size_t i = 0; i < call.size(); ++i) {
        for (const auto& [key, value] : call.object(i).items()) {
            out[key] = value;
        }
    }
    return out;
}

OrderedJson not_null(Call& call) {
    for (std::size_t i = 0; i < call.size(); ++i) {
        if (!call.any(i).is_null()) {
            return call.any(i);
        }
    }
    return nullptr;
}

OrderedJson reverse(Call& call) {
    const OrderedJson& value = call.any(0);
    if (value.is_string()) {
        const auto parts = characters(value.get_ref<const std::string&>());
        std::string out;
        for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
            out += *part;
        }
        return out;
    }
    if (!value.is_array()) {
        call.refuse(0, "a string or an array");
    }
    OrderedJson out = value;
    std::reverse(out.begin(), out.end());
    return out;
}

OrderedJson to_number(Call& call) {
    const OrderedJson& value = call.any(0);
    if (value.is_number()) {
        return value;
    }
    if (!value.is_string()) {
        return nullptr;
    }
    const std::string& text = value.get_ref<const std::string&>();
    const char* end = text.data() + text.size();
    std::int64_t integer = 0;
    if (const auto read = std::from_chars(text.data(), end, integer);
        read.ec == std::errc{} && read.ptr == end) {
        return integer;
    }
    double number = 0;
    if (const auto read = std::from_chars(text.data(), end, number);
        read.ec == std::errc{} && read.ptr == end && std::isfinite(number)) {
        return number;
    }
    return nullptr;
}

OrderedJson type_name(Call& call) {
    const OrderedJson& value = call.any(0);
    return value.is_number() ? "number" : value.type_name();
}

OrderedJson to_string(Call& call) {
    const OrderedJson& value = call.any(0);
    return value.is_string()
               ? value
               : OrderedJson(value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace));
}

OrderedJson to_array(Call& call) {
    const OrderedJson& value = call.any(0);
    return value.is_array() ? value : OrderedJson::array({value});
}

struct Row {
    std::string_view name;
    FunctionArity arity;
    Function function;
};

const std::array kFunctions{
    Row{"abs", {1, 1}, absolute},
    Row{"avg", {1, 1}, average},
    Row{"ceil", {1, 1}, [](Call& c) { return whole(std::ceil(c.number(0).get<double>())); }},
    Row{"contains", {2, 2}, contains},
    Row{"ends_with", {2, 2}, [](Call& c) { return OrderedJson(c.string(0).ends_with(c.string(1))); }
    },
    Row{"floor", {1, 1}, [](Call& c) { return whole(std::floor(c.number(0).get<double>())); }},
    Row{"join", {2, 2}, join_strings},
    Row{"keys", {1, 1}, [](Call& c) { return keys_or_values(c.object(0), true); }},
    Row{"length", {1, 1}, length},
    Row{"map", {2, 2}, map_each},
    Row{"max",
        {1, 1},
        [](Call& c) { return extreme(c.array(0), c.numbers_or_strings(0), Extreme::kMax); }},
    Row{"max_by",
        {2, 2},
        [](Call& c) { return extreme(c.array(0), c.keys_by_expression(), Extreme::kMax); }},
    Row{"merge", {0, kAny}, merge},
    Row{"min",
        {1, 1},
        [](Call& c) { return extreme(c.array(0), c.numbers_or_strings(0), Extreme::kMin); }},
    Row{"min_by",
        {2, 2},
        [](Call& c) { return extreme(c.array(0), c.keys_by_expression(), Extreme::kMin); }},
    Row{"not_null", {1, kAny}, not_null},
    Row{"reverse", {1, 1}, reverse},
    Row{"sort", {1, 1}, [](Call& c) { return sorted(c.array(0), c.numbers_or_strings(0)); }},
    Row{"sort_by", {2, 2}, [](Call& c) { return sorted(c.array(0), c.keys_by_expression()); }},
    Row{"starts_with",
        {2, 2},
        [](Call& c) { return OrderedJson(c.string(0).starts_with(c.string(1))); }},
    Row{"sum", {1, 1}, sum},
    Row{"to_array", {1, 1}, to_array},
    Row{"to_number", {1, 1}, to_number},
    Row{"to_string", {1, 1}, to_string},
    Row{"type", {1, 1}, type_name},
    Row{"values", {1, 1}, [](Call& c) { return keys_or_values(c.object(0), false); }},
};

const Row* find_function(std::string_view name) {
    for (const Row& row : kFunctions) {
        if (row.name == name) {
            return &row;
        }
    }
    return nullptr;
}

}  // namespace

std::optional<FunctionArity> jmespath_function_arity(std::string_view name) {
    const Row* row = find_function(name);
    return row != nullptr ? std::optional{row->arity} : std::nullopt;
}

OrderedJson call_jmespath_function(const JmesPath::Node& node, const OrderedJson& value) {
    std::vector<Argument> arguments;
    for (const auto& child : node.children) {
        if (child->kind == Kind::kReference) {
            arguments.push_back({.value = {}, .reference = child->children[0].get()});
        } else {
            arguments.push_back({.value = evaluate_jmespath(*child, value)});
        }
    }
    const Row* row = find_function(node.text);
    HOLDFAST_CHECK(row != nullptr);
    Call call{row->name, std::move(arguments)};
    return row->function(call);
}

}  // namespace holdfast::cli
