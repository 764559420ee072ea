#include "control/http/message.h"

#include "base/error.h"
#include "base/json_text.h"
#include "base/text.h"

#include <charconv>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

[[noreturn]] void refuse_target(std::string message) {
    throw Error{
        ErrorKind::kBadRequest,
        ErrorText{
            .message = std::move(message),
            .recommended_actions = {"Send a plain, percent-encoded path."},
        }
    };
}

void require_clean(std::string_view decoded, std::string_view where) {
    for (const char c : decoded) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            refuse_target(fmt::format("The {} contains a control character.", where));
        }
    }
    if (!is_utf8(decoded)) {
        refuse_target(fmt::format("The {} is not UTF-8.", where));
    }
}

void parse_path(std::string_view path, std::vector<std::string>& out) {
    for (const std::string& raw : split(path, '/')) {
        if (raw.empty()) {
            continue;
        }
        std::string segment = percent_decode(raw);
        require_clean(segment, "request path");
        // Nobody sends these in good faith, and a proxy may read them otherwise than we do.
        if (segment == "." || segment == "..") {
            refuse_target("The request path contains a dot segment.");
        }
        out.push_back(std::move(segment));
    }
}

void parse_query(std::string_view text, Query& out) {
    for (std::string& field : split(text, '&')) {
        if (field.empty()) {
            continue;
        }
        std::replace(field.begin(), field.end(), '+', ' ');
        const std::size_t equals = field.find('=');
        std::string name = percent_decode(std::string_view{field}.substr(0, equals));
        std::string value;
        if (equals != std::string::npos) {
            value = percent_decode(std::string_view{field}.substr(equals + 1));
        }
        require_clean(name, "query string");
        if (!is_utf8(value)) {
            refuse_target("The query string is not UTF-8.");
        }
        out.add(std::move(name), std::move(value));
    }
}

struct ByteRange {
    std::uint64_t first = 0;
    std::uint64_t last = 0;  // Inclusive.
};

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || fault != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

enum class RangeOutcome { kWhole, kPart, kUnsatisfiable };

/// RFC 9110 section 14: a malformed or multiple range is ignored, one beyond the end is
/// unsatisfiable.
RangeOutcome parse_range(std::string_view text, std::uint64_t size, ByteRange& out) {
    constexpr std::string_view kUnit = "bytes=";
    if (!starts_with_ignoring_case(text, kUnit) || text.find(',') != std::string_view::npos) {
        return RangeOutcome::kWhole;
    }
    text.remove_prefix(kUnit.size());
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) {
        return RangeOutcome::kWhole;
    }
    const auto first = parse_number(trim(text.substr(0, dash)));
    const auto last = parse_number(trim(text.substr(dash + 1)));
    if (!first && !last) {
        return RangeOutcome::kWhole;
    }
    if (!first) {
        if (*last == 0 || size == 0) {
            return RangeOutcome::kUnsatisfiable;
        }
        out = {size - std::min(*last, size), size - 1};
        return RangeOutcome::kPart;
    }
    if (last && *last < *first) {
        return RangeOutcome::kWhole;
    }
    if (*first >= size) {
        return RangeOutcome::kUnsatisfiable;
    }
    out = {*first, std::min(last.value_or(size - 1), size - 1)};
    return RangeOutcome::kPart;
}

}  // namespace

std::string_view to_string(Verb verb) noexcept {
    switch (verb) {
        case Verb::kGet:
            return "GET";
        case Verb::kHead:
            return "HEAD";
        case Verb::kPut:
            return "PUT";
        case Verb::kPost:
            return "POST";
        case Verb::kPatch:
            return "PATCH";
        case Verb::kDelete:
            break;
    }
    return "DELETE";
}

std::optional<Verb> parse_verb(std::string_view method) noexcept {
    for (const Verb verb :
         {Verb::kGet, Verb::kHead, Verb::kPut, Verb::kPost, Verb::kPatch, Verb::kDelete}) {
        if (to_string(verb) == method) {
            return verb;
        }
    }
    return std::nullopt;
}

const std::string* Headers::find(std::string_view name) const noexcept {
    for (const auto& [key, value] : fields_) {
        if (equal_ignoring_case(key, name)) {
            return &value;
        }
    }
    return nullptr;
}

std::string Headers::get_or(std::string_view name, std::string_view fallback) const {
    const std::string* found = find(name);
    return found != nullptr ? *found : std::string{fallback};
}

void Headers::set(std::string_view name, std::string value) {
    std::erase_if(fields_, [&](const Field& field) {
        return equal_ignoring_case(field.first, name);
    });
    add(name, std::move(value));
}

void Headers::add(std::string_view name, std::string value) {
    fields_.emplace_back(std::string{name}, std::move(value));
}

const std::string* Query::find(std::string_view name) const noexcept {
    for (const auto& [key, value] : fields_) {
        if (equal_ignoring_case(key, name)) {
            return &value;
        }
    }
    return nullptr;
}

std::string Query::get_or(std::string_view name, std::string_view fallback) const {
    const std::string* found = find(name);
    return found != nullptr ? *found : std::string{fallback};
}

void Query::add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
}

Target parse_target(std::string_view raw) {
    for (const std::string_view scheme : {"https://", "http://"}) {
        if (starts_with_ignoring_case(raw, scheme)) {
            const std::size_t slash = raw.find('/', scheme.size());
            raw = slash == std::string_view::npos ? std::string_view{"/"} : raw.substr(slash);
            break;
        }
    }
    if (raw.empty() || raw.front() != '/') {
        refuse_target("The request target is not a path.");
    }
    if (const std::size_t fragment = raw.find('#'); fragment != std::string_view::npos) {
        refuse_target("The request target contains a fragment.");
    }
    Target out;
    const std::size_t question = raw.find('?');
    parse_path(raw.substr(0, question), out.path);
    if (question != std::string_view::npos) {
        parse_query(raw.substr(question + 1), out.query);
    }
    return out;
}

Reply Reply::empty(int status) {
    Reply reply;
    reply.status = status;
    return reply;
}

void Reply::encode() {
    if (const auto* json = std::get_if<Json>(&body); json != nullptr && json_text.empty()) {
        json_text = to_json_text(*json);
    }
}

std::uint64_t Reply::body_size() const noexcept {
    if (std::holds_alternative<Json>(body)) {
        return json_text.size();
    }
    if (const auto* text = std::get_if<std::string>(&body)) {
        return text->size();
    }
    const auto* file = std::get_if<FileBody>(&body);
    return file != nullptr ? file->size : 0;
}

Reply Reply::json(int status, Json body) {
    Reply reply;
    reply.status = status;
    reply.body = std::move(body);
    return reply;
}

Reply Reply::text(int status, std::string body, std::string_view content_type) {
    Reply reply;
    reply.status = status;
    reply.headers.set("Content-Type", std::string{content_type});
    reply.body = std::move(body);
    return reply;
}

Reply Reply::stream(std::unique_ptr<BodySource> body, std::string_view content_type) {
    Reply reply;
    reply.headers.set("Content-Type", std::string{content_type});
    reply.body = std::move(body);
    return reply;
}

Reply file_reply(
    const Request& request, FileDescriptor file, std::uint64_t size, const std::string& etag
) {
    Reply reply;
    reply.headers.set("Content-Type", "application/octet-stream");
    reply.headers.set("Accept-Ranges", "bytes");
    reply.headers.set("ETag", etag);
    ByteRange range{0, size == 0 ? 0 : size - 1};
    RangeOutcome outcome = RangeOutcome::kWhole;
    const std::string* if_range = request.headers.find("If-Range");
    if (const std::string* wanted = request.headers.find("Range");
        wanted != nullptr && (if_range == nullptr || *if_range == etag)) {
        outcome = parse_range(*wanted, size, range);
    }
    switch (outcome) {
        case RangeOutcome::kUnsatisfiable:
            reply.status = 416;
            reply.headers.set("Content-Range", fmt::format("bytes */{}", size));
            break;
        case RangeOutcome::kPart:
            reply.status = 206;
            reply.headers.set(
                "Content-Range", fmt::format("bytes {}-{}/{}", range.first, range.last, size)
            );
            reply.body = FileBody{std::move(file), range.first, range.last - range.first + 1};
            break;
        case RangeOutcome::kWhole:
            reply.body = FileBody{std::move(file), 0, size};
            break;
    }
    return reply;
}

}  // namespace holdfast::control
