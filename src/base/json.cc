#include "base/json.h"

#include "base/text.h"

#include <set>

#include <fmt/format.h>

template class nlohmann::basic_json<>;

namespace holdfast {
namespace {

constexpr int kNestingMax = 64;

std::string fold(std::string_view name) {
    std::string out = to_lower(name);
    std::erase(out, '_');
    return out;
}

std::string describe(const Json& value) {
    switch (value.type()) {
        case Json::value_t::null:
            return "null";
        case Json::value_t::object:
            return "an object";
        case Json::value_t::array:
            return "an array";
        case Json::value_t::string:
            return fmt::format(
                "the string \"{}\"", value.get_ref<const std::string&>().substr(0, 80)
            );
        case Json::value_t::boolean:
            return value.get<bool>() ? "true" : "false";
        case Json::value_t::number_integer:
        case Json::value_t::number_unsigned:
        case Json::value_t::number_float:
            return fmt::format("the number {}", value.dump());
        case Json::value_t::binary:
        case Json::value_t::discarded:
            break;
    }
    return "nothing";
}

using Event = Json::parse_event_t;

void refuse_deep_nesting(int depth, Event event) {
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth >= kNestingMax) {
        throw Error{
            ErrorKind::kBadRequest,
            fmt::format("The JSON is nested deeper than {} levels.", kNestingMax)
        };
    }
}

/// The JSON path of the first name that an object has twice. For texts that have one.
class RepeatedName {
public:
    [[nodiscard]] static std::string find(std::string_view text) {
        RepeatedName search;
        const Json all =
            Json::parse(text.begin(), text.end(), [&](int, Event event, const Json& parsed) {
                search.take(event, parsed);
                return true;
            });
        return all.is_discarded() ? std::string{} : search.found_;
    }

private:
    struct Level {
        bool object = false;
        std::size_t index = 0;
        std::string name = {};
        std::set<std::string> names = {};
    };

    void take(Event event, const Json& parsed) {
        switch (event) {
            case Event::object_start:
            case Event::array_start:
                levels_.push_back(Level{.object = event == Event::object_start});
                break;
            case Event::key:
                levels_.back().name = parsed.get<std::string>();
                if (!levels_.back().names.insert(levels_.back().name).second && found_.empty()) {
                    found_ = path();
                }
                break;
            case Event::object_end:
            case Event::array_end:
                levels_.pop_back();
                [[fallthrough]];
            case Event::value:
                if (!levels_.empty()) {
                    ++levels_.back().index;
                }
                break;
        }
    }

    [[nodiscard]] std::string path() const {
        std::string out;
        for (const Level& level : levels_) {
            out += level.object ? (out.empty() ? "" : ".") + level.name
                                : fmt::format("[{}]", level.index);
        }
        return out;
    }

    std::vector<Level> levels_;
    std::string found_;
};

[[noreturn]] void refuse_repeated_name(std::string_view text, ErrorKind kind) {
    std::string path = RepeatedName::find(text);
    throw Error{
        kind,
        ErrorText{
            .message = fmt::format("{}: The property is there twice.", path),
            .target = path,
            .recommended_actions = {"Say each property once."},
        }
    };
}

/// What every reader of the text would take differently (the first, the last) is not one text.
Json parse_unique(std::string_view text, ErrorKind kind) {
    std::vector<std::size_t> names;  // Of the objects that are open.
    bool repeated = false;
    Json out =
        Json::parse(text.begin(), text.end(), [&](int depth, Event event, const Json& parsed) {
            refuse_deep_nesting(depth, event);
            if (event == Event::object_start) {
                names.push_back(0);
            } else if (event == Event::key) {
                ++names.back();
            } else if (event == Event::object_end) {
                repeated = repeated || names.back() != parsed.size();
                names.pop_back();
            }
            return true;
        });
    if (repeated) {
        refuse_repeated_name(text, kind);
    }
    return out;
}

template <typename Parse>
Json parse_or_throw(ErrorKind kind, std::string_view what, Parse&& parse) {
    try {
        return parse();
    } catch (const Json::exception& fault) {
        std::string reason = fault.what();
        for (const std::string_view start : {"parse error", "number overflow"}) {
            if (const auto at = reason.find(start); at != std::string::npos) {
                reason = reason.substr(at);
            }
        }
        // The library quotes the offending bytes, which need not be UTF-8.
        for (char& c : reason) {
            if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) {
                c = '?';
            }
        }
        throw Error{
            kind,
            ErrorText{
                .message = fmt::format("{} is not valid JSON: {}.", what, reason),
                .recommended_actions = {"Correct the JSON at the place named and send it again."},
            }
        };
    }
}

}  // namespace

Json parse_json(std::string_view text, ErrorKind kind, std::string_view what) {
    return parse_or_throw(kind, what, [&] { return parse_unique(text, kind); });
}

Json parse_own_json(std::string_view text) {
    // What this program wrote has no name twice and is not deep; not to be asked at every value
    // makes it twice as fast.
    return parse_or_throw(ErrorKind::kInternal, "A stored document", [&] {
        return Json::parse(text.begin(), text.end());
    });
}

const Json* find_member(const Json& object, std::string_view name) {
    if (!object.is_object()) {
        return nullptr;
    }
    if (const auto exact = object.find(name); exact != object.end() && !exact->is_null()) {
        return &*exact;
    }
    const std::string wanted = fold(name);
    for (const auto& [key, value] : object.items()) {
        if (!value.is_null() && fold(key) == wanted) {
            return &value;
        }
    }
    return nullptr;
}

bool JsonReader::has(std::string_view name) const {
    return find_member(*value_, name) != nullptr;
}

JsonReader JsonReader::member(std::string_view name) const {
    require_object();
    const Json* found = find_member(*value_, name);
    if (found == nullptr) {
        JsonReader{*value_, child_path(name), kind_}.fail("The property is missing.");
    }
    return {*found, child_path(name), kind_};
}

std::optional<JsonReader> JsonReader::optional_member(std::string_view name) const {
    require_object();
    const Json* found = find_member(*value_, name);
    if (found == nullptr) {
        return std::nullopt;
    }
    return JsonReader{*found, child_path(name), kind_};
}

std::vector<JsonReader> JsonReader::elements() const {
    if (!value_->is_array()) {
        fail(fmt::format("Expected an array, found {}.", describe(*value_)));
    }
    std::vector<JsonReader> out;
    out.reserve(value_->size());
    for (std::size_t i = 0; i < value_->size(); ++i) {
        out.emplace_back((*value_)[i], fmt::format("{}[{}]", path_, i), kind_);
    }
    return out;
}

const std::string& JsonReader::as_string() const {
    if (!value_->is_string()) {
        fail(fmt::format("Expected a string, found {}.", describe(*value_)));
    }
    return value_->get_ref<const std::string&>();
}

bool JsonReader::as_bool() const {
    if (!value_->is_boolean()) {
        fail(fmt::format("Expected true or false, found {}.", describe(*value_)));
    }
    return value_->get<bool>();
}

std::int64_t JsonReader::as_integer() const {
    if (value_->is_number_float()) {
        const double number = value_->get<double>();
        if (number >= -9e15 && number <= 9e15 &&
            number == static_cast<double>(static_cast<std::int64_t>(number))) {
            return static_cast<std::int64_t>(number);
        }
    }
    if (!value_->is_number_integer() ||
        (value_->is_number_unsigned() && value_->get<std::uint64_t>() > INT64_MAX)) {
        fail(fmt::format("Expected a whole number, found {}.", describe(*value_)));
    }
    return value_->get<std::int64_t>();
}

double JsonReader::as_number() const {
    if (!value_->is_number()) {
        fail(fmt::format("Expected a number, found {}.", describe(*value_)));
    }
    return value_->get<double>();
}

void JsonReader::require_object() const {
    if (!value_->is_object()) {
        fail(fmt::format("Expected an object, found {}.", describe(*value_)));
    }
}

std::string JsonReader::string_or(std::string_view name, std::string_view fallback) const {
    return optional_string(name).value_or(std::string{fallback});
}

std::optional<std::string> JsonReader::optional_string(std::string_view name) const {
    const auto found = optional_member(name);
    return found ? std::optional{found->as_string()} : std::nullopt;
}

std::optional<bool> JsonReader::optional_bool(std::string_view name) const {
    const auto found = optional_member(name);
    return found ? std::optional{found->as_bool()} : std::nullopt;
}

std::optional<std::int64_t> JsonReader::optional_integer(std::string_view name) const {
    const auto found = optional_member(name);
    return found ? std::optional{found->as_integer()} : std::nullopt;
}

std::string JsonReader::as_one_of(std::initializer_list<std::string_view> allowed) const {
    const std::string& text = as_string();
    std::string listed;
    for (const std::string_view word : allowed) {
        if (equal_ignoring_case(text, word)) {
            return std::string{word};
        }
        listed += fmt::format("{}{}", listed.empty() ? "" : ", ", word);
    }
    fail(fmt::format("\"{}\" is not a valid value.", text.substr(0, 80)), listed);
}

void JsonReader::refuse_unknown(std::initializer_list<std::string_view> known) const {
    require_object();
    for (const auto& [key, value] : value_->items()) {
        const std::string folded = fold(key);
        std::string_view nearest;
        std::size_t nearest_distance = 4;  // Further apart is a different word, not a slip.
        bool found = false;
        std::string listed;
        for (const std::string_view name : known) {
            const std::size_t apart = edit_distance(folded, fold(name));
            found = found || apart == 0;
            if (apart < nearest_distance) {
                nearest_distance = apart;
                nearest = name;
            }
            listed += fmt::format("{}{}", listed.empty() ? "" : ", ", name);
        }
        if (!found) {
            const std::string hint =
                nearest.empty() ? "" : fmt::format(" Did you mean \"{}\"?", nearest);
            JsonReader{value, child_path(key), kind_}.fail(
                "The property is not known here." + hint, listed
            );
        }
    }
}

void JsonReader::fail(std::string_view problem, std::string_view allowed) const {
    const std::string place = path_.empty() ? "the document" : path_;
    std::string message = fmt::format("{}: {}", place, problem);
    if (!allowed.empty()) {
        message += fmt::format(" Allowed: {}.", allowed);
    }
    throw Error{
        kind_,
        ErrorText{
            .message = std::move(message),
            .target = path_,
            .recommended_actions = {fmt::format("Correct {} and send the request again.", place)},
        }
    };
}

std::string JsonReader::child_path(std::string_view name) const {
    return path_.empty() ? std::string{name} : fmt::format("{}.{}", path_, name);
}

}  // namespace holdfast
