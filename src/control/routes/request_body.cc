#include "control/routes/request_body.h"

#include "base/log.h"
#include "base/text.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr std::size_t kTagsMax = 50;  // ARM's own limits.
constexpr std::size_t kTagNameSizeMax = 512;
constexpr std::size_t kTagValueSizeMax = 256;
constexpr std::size_t kIgnoredHeaderSizeMax = 1024;

std::string fold(std::string_view name) {
    std::string out = to_lower(name);
    std::erase(out, '_');
    return out;
}

}  // namespace

void IgnoredProperties::note_unknown(
    const JsonReader& object, std::initializer_list<std::string_view> known
) {
    object.require_object();
    for (const auto& [key, value] : object.value().items()) {
        const std::string folded = fold(key);
        const bool found =
            value.is_null() || std::any_of(known.begin(), known.end(), [&](std::string_view name) {
                return fold(name) == folded;
            });
        if (!found) {
            note(object.path().empty() ? key : fmt::format("{}.{}", object.path(), key));
        }
    }
}

void IgnoredProperties::note(std::string path) {
    paths_.push_back(std::move(path));
}

void IgnoredProperties::report(const RequestContext& context, Reply& reply) const {
    if (paths_.empty()) {
        return;
    }
    // A header is no place for foreign bytes: names outside ASCII are shown escaped.
    std::string listed;
    for (const std::string& path : paths_) {
        const std::string shown = Json(path).dump(-1, ' ', /*ensure_ascii=*/true);
        const std::string bare = shown.substr(1, shown.size() - 2);
        if (listed.size() + bare.size() > kIgnoredHeaderSizeMax) {
            listed += ", ...";
            break;
        }
        listed += fmt::format("{}{}", listed.empty() ? "" : ", ", bare);
    }
    log_info(
        "request properties ignored",
        {{"properties", listed},
         {"scope", context.scope},
         {"correlation_id", context.request.correlation_id}}
    );
    reply.headers.set("x-holdfast-ignored", listed);
}

JsonReader body_reader(const RequestContext& context) {
    return {context.body, "", ErrorKind::kInvalidRequestContent};
}

std::optional<Json> read_tags(const JsonReader& body) {
    const auto tags = body.optional_member("tags");
    if (!tags) {
        return std::nullopt;
    }
    tags->require_object();
    if (tags->value().size() > kTagsMax) {
        tags->fail("There are too many tags.", "50 tags at most");
    }
    Json out = Json::object();
    for (const auto& [name, value] : tags->value().items()) {
        if (value.is_null()) {
            continue;
        }
        const JsonReader tag{
            value, fmt::format("tags.{}", name), ErrorKind::kInvalidRequestContent
        };
        if (name.empty() || name.size() > kTagNameSizeMax) {
            tag.fail("The tag's name is empty or too long.", "1 to 512 bytes");
        }
        if (tag.as_string().size() > kTagValueSizeMax) {
            tag.fail("The tag's value is too long.", "256 bytes at most");
        }
        out[name] = value;
    }
    return out;
}

std::string canonical_location(std::string_view text) {
    std::string out = to_lower(text);
    std::erase(out, ' ');
    return out;
}

std::string read_location(const JsonReader& body, const std::string& fallback) {
    const auto member = body.optional_member("location");
    if (!member) {
        return fallback;
    }
    const std::string location = canonical_location(member->as_string());
    const bool plain = std::all_of(location.begin(), location.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
    if (!plain || location.size() > 64) {
        member->fail("The location is malformed.", "letters, digits, blanks and hyphens");
    }
    return location.empty() ? fallback : location;
}

}  // namespace holdfast::control
