#include "base/json_text.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace holdfast {
namespace {

/// Whether a byte stands for itself in a JSON string, without a look at those beside it.
constexpr std::array<bool, 256> kPlain = [] {
    std::array<bool, 256> plain{};
    for (std::size_t byte = 0x20; byte < 0x80; ++byte) {
        plain[byte] = byte != '"' && byte != '\\';
    }
    return plain;
}();

bool is_plain(char c) noexcept {
    return kPlain[static_cast<unsigned char>(c)];
}

std::string dumped(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void append_string(std::string& out, const Json& value) {
    const auto& text = value.get_ref<const std::string&>();
    const auto odd = std::find_if_not(text.begin(), text.end(), is_plain);
    if (odd != text.end()) {
        const bool only_non_ascii =
            is_utf8({odd, text.end()}) && std::all_of(odd, text.end(), [](char c) {
                return is_plain(c) || static_cast<unsigned char>(c) >= 0x80;
            });
        if (!only_non_ascii) {
            out += dumped(value);  // Escapes and replacements, which are rare.
            return;
        }
    }
    out.push_back('"');
    out += text;
    out.push_back('"');
}

template <typename Number>
void append_integer(std::string& out, Number number) {
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    out.append(digits.data(), end);
}

void append_name(std::string& out, const std::string& name) {
    if (std::all_of(name.begin(), name.end(), is_plain)) {
        out.push_back('"');
        out += name;
        out.push_back('"');
    } else {
        out += dumped(Json(name));
    }
}

void append(std::string& out, const Json& value) {
    switch (value.type()) {
        case Json::value_t::object: {
            char before = '{';
            for (const auto& [name, member] : value.get_ref<const Json::object_t&>()) {
                out.push_back(before);
                append_name(out, name);
                out.push_back(':');
                append(out, member);
                before = ',';
            }
            out += before == '{' ? "{}" : "}";
            return;
        }
        case Json::value_t::array: {
            char before = '[';
            for (const Json& element : value.get_ref<const Json::array_t&>()) {
                out.push_back(before);
                append(out, element);
                before = ',';
            }
            out += before == '[' ? "[]" : "]";
            return;
        }
        case Json::value_t::string:
            append_string(out, value);
            return;
        case Json::value_t::number_integer:
            append_integer(out, value.get<std::int64_t>());
            return;
        case Json::value_t::number_unsigned:
            append_integer(out, value.get<std::uint64_t>());
            return;
        case Json::value_t::null:
        case Json::value_t::boolean:
        case Json::value_t::number_float:
        case Json::value_t::binary:
        case Json::value_t::discarded:
            out += dumped(value);
            return;
    }
}

}  // namespace

std::string to_json_text(const Json& value) {
    std::string out;
    append(out, value);
    return out;
}

}  // namespace holdfast
