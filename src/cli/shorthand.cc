#include "cli/shorthand.h"

#include "base/error.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr int kDepthMax = 32;

class ShorthandParser {
public:
    ShorthandParser(std::string_view text, std::string_view option)
        : text_{text}, option_{option} {}

    Json run() {
        Json value = parse_value(0);
        skip_blanks();
        if (at_ != text_.size()) {
            fail();
        }
        return value;
    }

private:
    [[noreturn]] void fail() const {
        throw Error{
            ErrorKind::kUsage,
            ErrorText{
                .message = fmt::format(
                    "argument {}: '{}' is not understood at character {}", option_, text_, at_ + 1
                ),
                .recommended_actions = {"Write key=value words, or JSON."},
            }
        };
    }

    void skip_blanks() {
        while (at_ < text_.size() && text_[at_] == ' ') {
            ++at_;
        }
    }

    bool take(char c) {
        skip_blanks();
        if (at_ < text_.size() && text_[at_] == c) {
            ++at_;
            return true;
        }
        return false;
    }

    std::string parse_word(std::string_view ends) {
        skip_blanks();
        std::string out;
        if (at_ < text_.size() && (text_[at_] == '\'' || text_[at_] == '"')) {
            const char quote = text_[at_++];
            while (at_ < text_.size() && text_[at_] != quote) {
                out += text_[at_++];
            }
            if (!take(quote)) {
                fail();
            }
            return out;
        }
        while (at_ < text_.size() && ends.find(text_[at_]) == std::string_view::npos) {
            out += text_[at_++];
        }
        return std::string{trim(out)};
    }

    Json parse_value(int depth) {
        if (depth > kDepthMax) {
            fail();
        }
        if (take('{')) {
            Json object = Json::object();
            while (!take('}')) {
                const std::string name = parse_word(":,}");
                if (name.empty() || !take(':')) {
                    fail();
                }
                object[to_camel_case(name)] = parse_value(depth + 1);
                if (!take(',') && (at_ >= text_.size() || text_[at_] != '}')) {
                    fail();
                }
            }
            return object;
        }
        if (take('[')) {
            Json array = Json::array();
            while (!take(']')) {
                array.push_back(parse_value(depth + 1));
                if (!take(',') && (at_ >= text_.size() || text_[at_] != ']')) {
                    fail();
                }
            }
            return array;
        }
        const std::string word = parse_word(",]}");
        if (word == "null") {
            return nullptr;
        }
        if (word == "true" || word == "false") {
            return word == "true";
        }
        return word;
    }

    std::string_view text_;
    std::string_view option_;
    std::size_t at_ = 0;
};

Json with_camel_names(const Json& value) {
    if (value.is_array()) {
        Json out = Json::array();
        for (const Json& element : value) {
            out.push_back(with_camel_names(element));
        }
        return out;
    }
    if (!value.is_object()) {
        return value;
    }
    Json out = Json::object();
    for (const auto& [name, member] : value.items()) {
        out[to_camel_case(name)] = with_camel_names(member);
    }
    return out;
}

}  // namespace

std::string to_camel_case(std::string_view name) {
    std::string out;
    bool upper = false;
    for (const char c : name) {
        if (c == '-' || c == '_') {
            upper = !out.empty();
        } else {
            out += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
            upper = false;
        }
    }
    return out;
}

Json parse_shorthand(const std::vector<std::string>& words, std::string_view option) {
    if (words.size() == 1 && words[0].find_first_of("{[") == 0) {
        const Json json = Json::parse(words[0], nullptr, false);
        return json.is_discarded() ? ShorthandParser{words[0], option}.run()
                                   : with_camel_names(json);
    }
    Json object = Json::object();
    for (const std::string& word : words) {
        const std::size_t equals = word.find('=');
        if (equals == std::string::npos || equals == 0) {
            throw Error{
                ErrorKind::kUsage,
                ErrorText{
                    .message = fmt::format("argument {}: '{}' is not key=value", option, word),
                    .recommended_actions = {"Write key=value words, or JSON."},
                }
            };
        }
        object[to_camel_case(word.substr(0, equals))] = word.substr(equals + 1);
    }
    return object;
}

Json to_request_body(const Json& document, ResourceIdSpelling spelling) {
    if (document.is_array()) {
        Json out = Json::array();
        for (const Json& element : document) {
            out.push_back(to_request_body(element, spelling));
        }
        return out;
    }
    if (!document.is_object()) {
        return document;
    }
    Json out = Json::object();
    for (const auto& [name, member] : document.items()) {
        if (member.is_null()) {
            continue;
        }
        if (name == "tags") {
            out[name] = member;
        } else if (name == "resource_id") {
            out[spelling == ResourceIdSpelling::kUpper ? "resourceID" : "resourceId"] = member;
        } else {
            out[to_camel_case(name)] = to_request_body(member, spelling);
        }
    }
    return out;
}

}  // namespace holdfast::cli
