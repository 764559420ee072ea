#include "cli/generic_update.h"

#include "base/error.h"
#include "base/text.h"
#include "cli/shorthand.h"

#include <charconv>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

[[noreturn]] void refuse(std::string message) {
    throw Error{
        ErrorKind::kUsage,
        ErrorText{
            .message = std::move(message),
            .recommended_actions = {"Write it as --set properties.name[0].other=value."},
        }
    };
}

/// "a.b[0].c" as {"a", "b", "[0]", "c"}.
std::vector<std::string> parse_path(const std::string& path) {
    std::vector<std::string> parts;
    for (const std::string& dotted : split(path, '.')) {
        std::size_t bracket = dotted.find('[');
        parts.push_back(dotted.substr(0, bracket));
        if (parts.back().empty()) {
            refuse(fmt::format("'{}' is not a path of properties.", path));
        }
        while (bracket != std::string::npos) {
            const std::size_t end = dotted.find(']', bracket);
            if (end == std::string::npos) {
                refuse(fmt::format("'{}' is not a path of properties.", path));
            }
            parts.push_back(dotted.substr(bracket, end - bracket));
            bracket = dotted.find('[', end);
        }
    }
    return parts;
}

std::size_t parse_index(const std::string& text, const std::string& path) {
    std::size_t index = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), index);
    if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) {
        refuse(fmt::format("'{}' is not an index in '{}'.", text, path));
    }
    return index;
}

enum class Missing { kMake, kRefuse };

Json& descend(Json& place, const std::string& part, const std::string& path, Missing missing) {
    if (part.starts_with('[')) {
        if (place.is_null() && missing == Missing::kMake) {
            place = Json::array();
        }
        const std::size_t index = parse_index(part.substr(1), path);
        if (!place.is_array() || index > place.size() ||
            (index == place.size() && missing == Missing::kRefuse)) {
            refuse(fmt::format("There is no element {} in '{}'.", index, path));
        }
        if (index == place.size()) {
            place.push_back(nullptr);
        }
        return place[index];
    }
    if (place.is_null() && missing == Missing::kMake) {
        place = Json::object();
    }
    if (!place.is_object()) {
        refuse(fmt::format("'{}' in '{}' is not in an object.", part, path));
    }
    // az accepts the names in snake_case.
    const std::string name = place.contains(part) ? part : to_camel_case(part);
    if (!place.contains(name) && missing == Missing::kRefuse) {
        refuse(fmt::format("There is no '{}' in '{}'.", part, path));
    }
    return place[name];
}

Json parse_value(const std::string& text) {
    Json value = Json::parse(text, nullptr, false);
    return value.is_discarded() ? Json(text) : value;
}

}  // namespace

void set_property(Json& document, const std::string& assignment) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
        refuse(fmt::format("'{}' is not path=value.", assignment));
    }
    const std::string path = assignment.substr(0, equals);
    Json* place = &document;
    for (const std::string& part : parse_path(path)) {
        place = &descend(*place, part, path, Missing::kMake);
    }
    *place = parse_value(assignment.substr(equals + 1));
}

void add_property(Json& document, const std::vector<std::string>& words) {
    if (words.size() < 2) {
        refuse("--add takes a path and a value.");
    }
    Json* place = &document;
    for (const std::string& part : parse_path(words[0])) {
        place = &descend(*place, part, words[0], Missing::kMake);
    }
    if (place->is_null()) {
        *place = Json::array();
    }
    if (!place->is_array()) {
        refuse(fmt::format("'{}' is not a list.", words[0]));
    }
    const std::vector<std::string> rest{words.begin() + 1, words.end()};
    const bool pairs = std::all_of(rest.begin(), rest.end(), [](const std::string& word) {
        return word.find('=') != std::string::npos && word.find_first_of("{[\"") != 0;
    });
    place->push_back(pairs ? parse_shorthand(rest, "--add") : parse_value(join(rest, " ")));
}

void remove_property(Json& document, const std::vector<std::string>& words) {
    if (words.empty()) {
        refuse("--remove takes a path.");
    }
    std::vector<std::string> parts = parse_path(words[0]);
    if (words.size() > 1) {
        parts.push_back("[" + words[1]);
    }
    Json* place = &document;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
        place = &descend(*place, parts[i], words[0], Missing::kRefuse);
    }
    (void)descend(*place, parts.back(), words[0], Missing::kRefuse);
    if (parts.back().starts_with('[')) {
        place->erase(parse_index(parts.back().substr(1), words[0]));
    } else {
        const std::string& name = parts.back();
        place->erase(place->contains(name) ? name : to_camel_case(name));
    }
}

}  // namespace holdfast::cli
