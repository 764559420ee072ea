#include "control/arm.h"

#include "base/bytes.h"
#include "base/text.h"

#include <charconv>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

Json details_of(const Error& error) {
    Json details = Json::array();
    for (const ErrorDetail& detail : error.text().details) {
        // Without a code of its own (a connection that never was has no SQLSTATE) the error's.
        Json entry{
            {"code", detail.code.empty() ? std::string{error.code()} : detail.code},
            {"message", detail.message}
        };
        if (!detail.target.empty()) {
            entry["target"] = detail.target;
        }
        details.push_back(std::move(entry));
    }
    return details;
}

bool is_retryable(const Error& error) {
    return traits(error.kind()).retry == Retry::kBackoff;
}

Json facts_of(const Error& error, std::string_view activity_id) {
    Json facts = Json::object();
    for (const auto& [key, value] : error.text().properties) {
        facts[key] = value;
    }
    if (!activity_id.empty()) {
        facts["ActivityId"] = activity_id;
    }
    return facts;
}

/// Digits at fixed places and a calendar date behind them.
bool is_version_date(std::string_view text) {
    if (text.size() < 10 || text[4] != '-' || text[7] != '-') {
        return false;
    }
    const auto number = [&](std::size_t from, std::size_t count) {
        int value = -1;
        const char* begin = text.data() + from;
        const auto [end, fault] = std::from_chars(begin, begin + count, value);
        return fault == std::errc{} && end == begin + count ? value : -1;
    };
    const std::chrono::year_month_day date{
        std::chrono::year{number(0, 4)},
        std::chrono::month{static_cast<unsigned>(number(5, 2))},
        std::chrono::day{static_cast<unsigned>(number(8, 2))}
    };
    if (number(0, 4) < 0 || number(5, 2) < 0 || number(8, 2) < 0 || !date.ok()) {
        return false;
    }
    const std::string_view suffix = text.substr(10);
    return suffix.empty() || (suffix.size() > 1 && suffix.size() <= 32 && suffix.front() == '-' &&
                              std::all_of(suffix.begin(), suffix.end(), [](char c) {
                                  return c == '-' || c == '.' || (c >= '0' && c <= '9') ||
                                         (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                              }));
}

[[noreturn]] void refuse_parameter(
    std::string_view name, std::string_view value, std::string_view rule
) {
    throw Error{
        ErrorKind::kInvalidParameter,
        ErrorText{
            .message = fmt::format(
                "The value '{}' of the query parameter '{}' is invalid: {}.",
                value.substr(0, 100),
                name,
                rule
            ),
            .target = std::string{name},
            .recommended_actions = {fmt::format("Correct {} or leave it out.", name)},
        }
    };
}

/// Where the page begins. The token names the last item seen and its place, so that a list that
/// grew or shrank meanwhile goes on at the right one.
std::size_t page_start(const Query& query, const std::vector<Json>& items) {
    const std::string* token = query.find("$skipToken");
    if (token == nullptr || token->empty()) {
        return 0;
    }
    const auto bytes = from_base64url(*token);
    const std::string_view text = bytes ? as_text(*bytes) : std::string_view{};
    const std::size_t colon = text.find(':');
    std::size_t place = 0;
    if (colon == std::string_view::npos ||
        std::from_chars(text.data(), text.data() + colon, place).ptr != text.data() + colon ||
        colon == 0) {
        refuse_parameter("$skipToken", *token, "it is not a token of this server");
    }
    const std::string_view last_id = text.substr(colon + 1);
    for (std::size_t i = 0; i < items.size(); ++i) {
        const auto id = items[i].find("id");
        if (id != items[i].end() && id->is_string() &&
            equal_ignoring_case(id->get_ref<const std::string&>(), last_id)) {
            return i + 1;
        }
    }
    return std::min(place, items.size());
}

std::string next_link(const RequestContext& context, std::string_view token) {
    std::string url = context.base_url;
    for (const std::string& segment : context.request.path) {
        url += "/" + percent_encode(segment);
    }
    char separator = '?';
    for (const auto& [name, value] : context.request.query.fields()) {
        if (!equal_ignoring_case(name, "$skipToken")) {
            url += fmt::format("{}{}={}", separator, percent_encode(name), percent_encode(value));
            separator = '&';
        }
    }
    return url + fmt::format("{}%24skipToken={}", separator, token);
}

std::size_t requested_page_size(const Query& query, std::size_t page_size) {
    const std::string* top = query.find("$top");
    if (top == nullptr) {
        return page_size;
    }
    std::size_t wanted = 0;
    const auto [end, fault] = std::from_chars(top->data(), top->data() + top->size(), wanted);
    if (fault != std::errc{} || end != top->data() + top->size() || wanted == 0) {
        refuse_parameter("$top", *top, "it must be a whole number from 1 on");
    }
    return std::min(wanted, page_size);
}

/// True when one of the comma-separated entity tags is `*` or `current`.
bool etag_listed(std::string_view header, const std::optional<std::string>& current) {
    for (const std::string& part : split(header, ',')) {
        std::string_view tag = trim(part);
        if (tag == "*") {
            return current.has_value();
        }
        if (tag.starts_with("W/")) {
            tag.remove_prefix(2);
        }
        if (tag.size() >= 2 && tag.front() == '"' && tag.back() == '"') {
            tag = tag.substr(1, tag.size() - 2);
        }
        if (current && tag == *current) {
            return true;
        }
    }
    return false;
}

}  // namespace

Json error_object(const Error& error, std::string_view activity_id) {
    const ErrorText& text = error.text();
    Json info{
        {"code", error.code()},
        {"message", text.message},
        {"recommendedAction", text.recommended_actions},
        {"isRetryable", is_retryable(error)},
        {"properties", facts_of(error, activity_id)},
    };
    Json object{
        {"code", error.code()},
        {"message", text.message},
        {"additionalInfo",
         Json::array({Json{{"type", "UserFacingError"}, {"info", std::move(info)}}})},
    };
    if (!text.target.empty()) {
        object["target"] = text.target;
    }
    if (!text.details.empty()) {
        object["details"] = details_of(error);
    }
    return object;
}

Json error_body(const Error& error, std::string_view activity_id) {
    return Json{{"error", error_object(error, activity_id)}};
}

Reply error_reply(const Error& error, const Request& request) {
    Reply reply =
        Reply::json(traits(error.kind()).http_status, error_body(error, request.correlation_id));
    reply.headers.set("x-ms-error-code", std::string{error.code()});
    if (reply.status == 401) {
        reply.headers.set("WWW-Authenticate", "Bearer realm=\"holdfast\", error=\"invalid_token\"");
    } else if (reply.status == 429 || reply.status == 503) {
        reply.headers.set("Retry-After", "1");
    }
    return reply;
}

Json user_facing_error(const Error& error, std::string_view activity_id) {
    Json object{
        {"code", error.code()},
        {"message", error.text().message},
        {"recommendedAction", error.text().recommended_actions},
        {"details", details_of(error)},
        {"isRetryable", is_retryable(error)},
        {"isUserError", traits(error.kind()).http_status < 500},
        {"properties", facts_of(error, activity_id)},
        {"target", error.text().target},
    };
    return object;
}

void add_common_headers(const Request& request, Reply& reply) {
    reply.headers.set("x-ms-request-id", request.request_id);
    reply.headers.set("x-ms-correlation-request-id", request.correlation_id);
    if (!request.client_request_id.empty()) {
        reply.headers.set("x-ms-client-request-id", request.client_request_id);
    }
    if (!reply.headers.has("Cache-Control")) {
        reply.headers.set("Cache-Control", "no-store");
    }
    reply.headers.set("Strict-Transport-Security", "max-age=31536000");
    reply.headers.set("X-Content-Type-Options", "nosniff");
}

std::string require_api_version(const Request& request, std::string_view minimum) {
    const std::string* version = request.query.find("api-version");
    if (version == nullptr || version->empty()) {
        throw Error{
            ErrorKind::kMissingApiVersion,
            ErrorText{
                .message =
                    "The api-version query parameter (?api-version=) is required for all requests.",
                .target = "api-version",
                .recommended_actions = {"Add ?api-version=2024-04-01 to the URL."},
            }
        };
    }
    if (!is_version_date(*version) || (!minimum.empty() && *version < minimum)) {
        throw Error{
            ErrorKind::kInvalidApiVersion,
            ErrorText{
                .message = fmt::format(
                    "The api-version '{}' is invalid: a date yyyy-mm-dd{}{} is expected, with or "
                    "without a suffix "
                    "like -preview.",
                    version->substr(0, 64),
                    minimum.empty() ? "" : " from ",
                    minimum.empty() ? "" : fmt::format("{} on", minimum)
                ),
                .target = "api-version",
                .recommended_actions = {"Use api-version=2024-04-01."},
            }
        };
    }
    return *version;
}

Reply list_reply(const RequestContext& context, std::vector<Json> items, std::size_t page_size) {
    const Query& query = context.request.query;
    const std::size_t size = requested_page_size(query, page_size);
    const std::size_t begin = page_start(query, items);
    const std::size_t end = std::min(items.size(), begin + size);
    Json value = Json::array();
    for (std::size_t i = begin; i < end; ++i) {
        value.push_back(std::move(items[i]));
    }
    Json body{{"value", std::move(value)}};
    if (end < items.size()) {
        const std::string last_id = body["value"].back().value("id", std::string{});
        body["nextLink"] =
            next_link(context, to_base64url(as_bytes(fmt::format("{}:{}", end, last_id))));
    }
    return Reply::ok(std::move(body));
}

Page read_page(const Query& query, std::size_t page_size) {
    Page page;
    page.size = requested_page_size(query, page_size);
    const std::string* token = query.find("$skipToken");
    if (token != nullptr && !token->empty()) {
        page.after = parse_skip_token(*token);
        if (!page.after) {
            refuse_parameter("$skipToken", *token, "it is not a token of this server");
        }
    }
    return page;
}

void bound(catalog::Query& query, const Page& page) {
    query.limit = static_cast<std::int64_t>(page.size) + 1;
    query.after = page.after;
}

std::string skip_token(const catalog::Place& place) {
    return to_base64url(as_bytes(fmt::format("at:{}:{}", place.at, place.key)));
}

std::optional<catalog::Place> parse_skip_token(std::string_view token) {
    constexpr std::string_view kPrefix = "at:";
    const auto bytes = from_base64url(token);
    std::string_view text = bytes ? as_text(*bytes) : std::string_view{};
    if (!text.starts_with(kPrefix)) {
        return std::nullopt;
    }
    text.remove_prefix(kPrefix.size());
    catalog::Place place;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), place.at);
    if (fault != std::errc{} || end == text.data() + text.size() || *end != ':') {
        return std::nullopt;
    }
    place.key = text.substr(static_cast<std::size_t>(end - text.data()) + 1);
    return place;
}

Reply page_reply(
    const RequestContext& context, Json items, const std::optional<catalog::Place>& next
) {
    Json body{{"value", std::move(items)}};
    if (next) {
        body["nextLink"] = next_link(context, skip_token(*next));
    }
    return Reply::ok(std::move(body));
}

std::string quote_etag(std::string_view etag) {
    return fmt::format("\"{}\"", etag);
}

void check_preconditions(const Request& request, const std::optional<std::string>& current) {
    const auto refuse = [&](std::string_view header, std::string_view value) {
        throw Error{
            ErrorKind::kPreconditionFailed,
            ErrorText{
                .message = fmt::format(
                    "The condition '{}: {}' is not met: {}.",
                    header,
                    value.substr(0, 100),
                    current ? fmt::format("the resource's ETag is \"{}\"", *current)
                            : std::string{"there is no such resource"}
                ),
                .target = std::string{header},
                .recommended_actions =
                    {"Read the resource again, repeat the change on what it is now."},
            }
        };
    };
    if (const std::string* wanted = request.headers.find("If-Match");
        wanted != nullptr && !etag_listed(*wanted, current)) {
        refuse("If-Match", *wanted);
    }
    if (const std::string* unwanted = request.headers.find("If-None-Match");
        unwanted != nullptr && etag_listed(*unwanted, current)) {
        refuse("If-None-Match", *unwanted);
    }
}

std::string absolute_url(const RequestContext& context, std::string_view path) {
    std::string url = context.base_url + std::string{path};
    if (!context.api_version.empty()) {
        url += fmt::format("?api-version={}", context.api_version);
    }
    return url;
}

std::string url_path(std::string_view resource_id) {
    std::string out;
    for (const std::string& segment : split(resource_id, '/')) {
        if (!segment.empty()) {
            out += "/" + percent_encode(segment);
        }
    }
    return out;
}

}  // namespace holdfast::control
