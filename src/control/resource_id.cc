#include "control/resource_id.h"

#include "base/error.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

/// Characters that no ARM name may hold; a slash separates, so it cannot be asked here.
bool is_clean_segment(std::string_view segment) noexcept {
    if (segment.empty() || segment == "." || segment == "..") {
        return false;
    }
    for (const char c : segment) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == 0x7f || c == '?' || c == '#' || c == '%' || c == '\\' ||
            c == '<' || c == '>' || c == '"' || c == '\'') {
            return false;
        }
    }
    return is_utf8(segment);
}

/// The part of `text` that makes it no id, when it is one of its names; else empty.
std::string unclean_part(std::string_view text) {
    if (!text.starts_with('/') || text.size() > 1000) {
        return {};
    }
    for (const std::string& part : split(text.substr(1), '/')) {
        if (!part.empty() && !is_clean_segment(part)) {
            return part;
        }
    }
    return {};
}

constexpr std::size_t kIdLengthMax = 2048;  // ARM's own limit.

}  // namespace

std::optional<ResourceId> ResourceId::try_parse(std::string_view text) {
    if (!text.empty() && text.back() == '/') {
        text.remove_suffix(1);
    }
    if (text.size() < 2 || text.front() != '/' || text.size() > kIdLengthMax) {
        return std::nullopt;
    }
    const std::vector<std::string> parts = split(text.substr(1), '/');
    if (!std::all_of(parts.begin(), parts.end(), is_clean_segment)) {
        return std::nullopt;
    }
    ResourceId id;
    std::size_t at = 0;
    const auto take = [&](std::string_view keyword, std::string& into) {
        if (at + 1 < parts.size() && equal_ignoring_case(parts[at], keyword)) {
            into = parts[at + 1];
            at += 2;
        }
    };
    take("subscriptions", id.subscription_id_);
    if (!id.subscription_id_.empty()) {
        take("resourceGroups", id.group_name_);
    }
    take("providers", id.provider_);
    if (!id.provider_.empty()) {
        for (; at + 1 < parts.size(); at += 2) {
            id.segments_.emplace_back(parts[at], parts[at + 1]);
        }
        if (id.segments_.empty()) {
            return std::nullopt;
        }
    }
    if (at != parts.size()) {
        return std::nullopt;
    }
    id.text_ = text;
    id.key_ = to_lower(text);
    return id;
}

ResourceId ResourceId::parse(std::string_view text, std::string_view target) {
    auto id = try_parse(text);
    if (!id) {
        const std::string part = unclean_part(text);
        throw Error{
            ErrorKind::kInvalidResourceId,
            ErrorText{
                .message =
                    fmt::format("'{}' is not a valid ARM resource id.", text.substr(0, 200)) +
                    (part.empty() ? ""
                                  : fmt::format(
                                        " '{}' cannot be a name: blanks, control "
                                        "characters and ? # % \\ < > \" ' are not allowed.",
                                        part.substr(0, 100)
                                    )),
                .target = std::string{target},
                .recommended_actions =
                    {"Give an id of the form /subscriptions/{id}/resourceGroups/{group}/providers/"
                     "{namespace}/{type}/{name}."},
            }
        };
    }
    return std::move(*id);
}

ResourceId ResourceId::subscription(std::string_view subscription_id) {
    return parse(fmt::format("/subscriptions/{}", subscription_id), "subscriptionId");
}

ResourceId ResourceId::resource_group(
    std::string_view subscription_id, std::string_view group_name
) {
    return parse(
        fmt::format("/subscriptions/{}/resourceGroups/{}", subscription_id, group_name),
        "resourceGroupName"
    );
}

ResourceId ResourceId::provider_child(
    std::string_view provider, std::string_view type, std::string_view name
) const {
    HOLDFAST_CHECK(provider_.empty());
    return parse(fmt::format("{}/providers/{}/{}/{}", text_, provider, type, name), type);
}

ResourceId ResourceId::child(std::string_view type, std::string_view name) const {
    HOLDFAST_CHECK(!provider_.empty());
    return parse(fmt::format("{}/{}/{}", text_, type, name), type);
}

std::string ResourceId::type() const {
    if (provider_.empty()) {
        return group_name_.empty() ? "Microsoft.Resources/subscriptions"
                                   : "Microsoft.Resources/resourceGroups";
    }
    std::string out = provider_;
    for (const auto& [type, name] : segments_) {
        out += "/" + type;
    }
    return out;
}

const std::string& ResourceId::name() const {
    if (!segments_.empty()) {
        return segments_.back().second;
    }
    return group_name_.empty() ? subscription_id_ : group_name_;
}

const std::string* ResourceId::name_of(std::string_view type) const noexcept {
    for (const auto& [key, name] : segments_) {
        if (equal_ignoring_case(key, type)) {
            return &name;
        }
    }
    return nullptr;
}

bool ResourceId::is_type(std::string_view wanted) const {
    return equal_ignoring_case(type(), wanted);
}

std::optional<ResourceId> ResourceId::parent() const {
    // What has to be cut off the end: /type/name, or /providers/NS/type/name, or /resourceGroups/G.
    std::size_t drop = 2;
    if (segments_.size() == 1) {
        drop = 4;
    } else if (segments_.empty() && group_name_.empty()) {
        return std::nullopt;
    }
    std::string_view rest = text_;
    for (std::size_t i = 0; i < drop; ++i) {
        rest = rest.substr(0, rest.rfind('/'));
    }
    return try_parse(rest);
}

void require_name(std::string_view name, const NameRule& rule) {
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    bool good = name.size() >= rule.length_min && name.size() <= rule.length_max;
    for (const char c : name) {
        good = good && (is_letter(c) || is_digit(c) ||
                        rule.extra_characters.find(c) != std::string_view::npos);
    }
    if (good && rule.first_is_letter) {
        good = is_letter(name.front());
    }
    if (good) {
        return;
    }
    std::string allowed = "letters, digits";
    for (const char c : rule.extra_characters) {
        allowed += fmt::format(", '{}'", c);
    }
    throw Error{
        ErrorKind::kInvalidResourceName,
        ErrorText{
            .message = fmt::format(
                "'{}' is not a valid name for a {}: it must have {} to {} characters of {}{}.",
                name.substr(0, 200),
                rule.what,
                rule.length_min,
                rule.length_max,
                allowed,
                rule.first_is_letter ? " and begin with a letter" : ""
            ),
            .target = "name",
            .recommended_actions = {"Choose another name and send the request again."},
        }
    };
}

}  // namespace holdfast::control
