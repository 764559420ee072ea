#include "cli/session.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/text.h"
#include "cli/output.h"

#include <iostream>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

/// What the dataprotection extension sends; other providers' paths carry their own.
constexpr std::string_view kApiVersion = "2024-04-01";
constexpr int kAttemptsMax = 4;
constexpr std::chrono::seconds kRetryAfterMax{60};

bool retryable(std::string_view method, int status) {
    if (status == 429 || status == 503) {
        return true;
    }
    return method != "POST" && (status == 502 || status == 504);
}

std::chrono::microseconds pause_before(int attempt, const Response& response) {
    if (const int seconds = std::atoi(response.header("retry-after").c_str()); seconds > 0) {
        return std::min(std::chrono::seconds{seconds}, kRetryAfterMax);
    }
    return std::chrono::milliseconds{800} * (1 << attempt);
}

Json parse_body(const Response& response) {
    if (trim(response.body).empty()) {
        return nullptr;
    }
    Json body = Json::parse(response.body, nullptr, false);
    if (body.is_discarded()) {
        throw server_error(response.status, response.body);
    }
    return body;
}

std::string text_of_body(const Json* body) {
    return body == nullptr ? std::string{}
                           : body->dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

const std::string& Response::header(const std::string& lower_case_name) const {
    static const std::string kAbsent;
    const auto found = headers.find(lower_case_name);
    return found != headers.end() ? found->second : kAbsent;
}

Session::Session(Services services, Globals globals, std::string command_path)
    : services_{std::move(services)},
      globals_{std::move(globals)},
      command_path_{std::move(command_path)},
      request_id_{new_guid()} {}

void Session::warn(std::string_view message) {
    if (!globals_.only_show_errors) {
        services_.console.err << "WARNING: " << message << '\n' << std::flush;
    }
}

void Session::verbose(std::string_view message) {
    if (globals_.verbose || globals_.debug) {
        services_.console.err << "INFO: " << message << '\n' << std::flush;
    }
}

const Profile& Session::profile() {
    if (!profile_) {
        profile_ = load_profile(services_.environment);
    }
    if (!profile_ || profile_->server.empty()) {
        throw Error{
            ErrorKind::kAuthenticationFailed,
            ErrorText{
                .message = "Please run 'holdfast login' to name a server.",
                .recommended_actions =
                    {"holdfast login --server https://HOST:8443 --ca FILE --token-file FILE"},
            }
        };
    }
    return *profile_;
}

void Session::use_profile(Profile profile) {
    profile_ = std::move(profile);
    transport_.reset();
}

Transport& Session::transport() {
    if (!transport_) {
        transport_ = services_.connect(profile());
    }
    return *transport_;
}

const std::string& Session::subscription() {
    if (!subscription_.empty()) {
        return subscription_;
    }
    const std::string wanted =
        globals_.subscription.empty() ? profile().subscription : globals_.subscription;
    if (is_guid(wanted)) {
        return subscription_ = wanted;
    }
    for (const Json& row : list("/subscriptions?api-version=2022-12-01")) {
        const JsonReader reader{row, "subscriptions", ErrorKind::kInternal};
        const std::string id = reader.string("subscriptionId");
        if (wanted.empty() || equal_ignoring_case(wanted, id) ||
            equal_ignoring_case(wanted, reader.string_or("displayName", ""))) {
            return subscription_ = id;
        }
    }
    throw Error{
        ErrorKind::kSubscriptionNotFound,
        ErrorText{
            .message =
                wanted.empty()
                    ? "The server shows you no subscription."
                    : fmt::format(
                          "Subscription '{}' not found. Check the spelling and casing.", wanted
                      ),
            .recommended_actions = {"See: holdfast account list"},
        }
    };
}

std::string Session::url_of(std::string_view path) {
    const std::string& origin = profile().server;
    std::string url;
    if (path.starts_with("https://") || path.starts_with("http://")) {
        const std::size_t slash = path.find('/', path.find("//") + 2);
        const std::string_view rest = slash == std::string_view::npos ? "/" : path.substr(slash);
        if (!equal_ignoring_case(path.substr(0, slash), origin)) {
            throw Error{
                ErrorKind::kUsage,
                ErrorText{
                    .message = fmt::format("'{}' is not on the server {}.", path, origin),
                    .recommended_actions = {"The token is sent to no other server."},
                }
            };
        }
        url = origin + std::string{rest};
    } else {
        url = origin + (path.starts_with('/') ? "" : "/") + std::string{path};
    }
    return url;
}

Response Session::send_once(const Request& request) {
    verbose(fmt::format("{} {}", request.method, request.url));
    Response response = transport().send(request);
    verbose(fmt::format("{} {} bytes", response.status, response.body.size()));
    return response;
}

std::string Session::with_version(std::string_view path) {
    std::string versioned{path};
    if (versioned.find("api-version=") == std::string::npos) {
        versioned += fmt::format(
            "{}api-version={}", versioned.find('?') == std::string::npos ? "?" : "&", kApiVersion
        );
    }
    return versioned;
}

Response Session::send(std::string_view method, std::string_view path, const Json* body) {
    return send_raw(method, with_version(path), text_of_body(body));
}

std::unique_ptr<Transport> Session::new_connection() {
    return services_.connect(profile());
}

Request Session::prepare(std::string_view method, std::string_view path, const Json* body) {
    return prepare_raw(method, with_version(path), text_of_body(body));
}

Request Session::prepare_raw(std::string_view method, std::string_view path, std::string body) {
    Request request{
        .method = std::string{method}, .url = url_of(path), .body = std::move(body)
    };
    request.headers = {
        {"Accept", "application/json"},
        {"User-Agent", "holdfast"},
        {"x-ms-client-request-id", request_id_},
        {"CommandName", command_path_},
    };
    if (const Secret& token = profile().token; !token.empty()) {
        request.headers["Authorization"] = fmt::format("Bearer {}", token.expose_text());
    }
    if (!request.body.empty()) {
        request.headers["Content-Type"] = "application/json";
    }
    return request;
}

Response Session::send_raw(
    std::string_view method,
    std::string_view path,
    std::string body,
    const std::map<std::string, std::string>& headers,
    std::string output_file
) {
    Request request = prepare_raw(method, path, std::move(body));
    request.output_file = std::move(output_file);
    for (const auto& [name, value] : headers) {
        request.headers[name] = value;
    }
    for (int attempt = 0;; ++attempt) {
        const bool last = attempt + 1 == kAttemptsMax;
        Response response;
        try {
            response = send_once(request);
        } catch (const Error& error) {
            // Polls ride out a server's restart; what changes something is not sent twice blindly.
            if (last || method != "GET" || error.kind() != ErrorKind::kServerNotReachable ||
                !reached_) {
                throw;
            }
            (void)services_.clock.wait_for(std::chrono::milliseconds{800} * (1 << attempt), {});
            continue;
        }
        reached_ = true;
        if (last || !retryable(method, response.status)) {
            return response;
        }
        (void)services_.clock.wait_for(pause_before(attempt, response), {});
    }
}

Response Session::call(std::string_view method, std::string_view path, const Json* body) {
    Response response = send(method, path, body);
    if (response.status >= 400) {
        throw server_error(response.status, response.body);
    }
    return response;
}

Json Session::get(std::string_view path) {
    return parse_body(call("GET", path));
}

std::optional<Json> Session::get_optional(std::string_view path) {
    const Response response = send("GET", path);
    if (response.status == 404) {
        return std::nullopt;
    }
    if (response.status >= 400) {
        throw server_error(response.status, response.body);
    }
    return parse_body(response);
}

Json Session::list(std::string_view path) {
    Json all = Json::array();
    std::string next{path};
    while (!next.empty()) {
        const Json page = get(next);
        const JsonReader reader{page, "the server's list", ErrorKind::kInternal};
        for (const JsonReader& element : reader.member("value").elements()) {
            all.push_back(element.value());
        }
        next = own_path(reader.string_or("nextLink", ""));
    }
    return all;
}

std::string Session::own_path(std::string_view url) {
    // A server behind a proxy may name itself otherwise than we do: only the path is followed, so
    // that the token goes nowhere else.
    const std::size_t authority = url.find("://");
    if (authority == std::string_view::npos) {
        return std::string{url};
    }
    const std::size_t slash = url.find('/', authority + 3);
    return slash == std::string_view::npos ? "/" : std::string{url.substr(slash)};
}

Json with_resource_group(Json value) {
    if (value.is_array()) {
        for (Json& element : value) {
            element = with_resource_group(std::move(element));
        }
        return value;
    }
    if (!value.is_object()) {
        return value;
    }
    for (auto& [key, member] : value.items()) {
        if (member.is_structured()) {
            member = with_resource_group(std::move(member));
        }
    }
    const auto id = value.find("id");
    const bool has = std::any_of(value.items().begin(), value.items().end(), [](const auto& item) {
        return equal_ignoring_case(item.key(), "resourceGroup");
    });
    if (!has && id != value.end() && id->is_string()) {
        const std::vector<std::string> parts = split(id->get_ref<const std::string&>(), '/');
        if (parts.size() > 4 && equal_ignoring_case(parts[1], "subscriptions") &&
            equal_ignoring_case(parts[3], "resourceGroups")) {
            value["resourceGroup"] = parts[4];
        }
    }
    return value;
}

Json without_nulls(Json value) {
    if (value.is_object()) {
        for (auto member = value.begin(); member != value.end();) {
            if (member->is_null()) {
                member = value.erase(member);
            } else {
                *member = without_nulls(std::move(*member));
                ++member;
            }
        }
    } else if (value.is_array()) {
        for (Json& element : value) {
            element = without_nulls(std::move(element));
        }
    }
    return value;
}

std::string group_path(const Arguments& arguments, Session& session) {
    return fmt::format(
        "/subscriptions/{}/resourceGroups/{}",
        session.subscription(),
        percent_encode(arguments.string("--resource-group"))
    );
}

std::string resource_path(
    std::string_view pattern, const Arguments& arguments, Session& session, PathOf what
) {
    std::string path = group_path(arguments, session) + "/providers";
    std::vector<std::string> words = split(pattern, '/');
    if (what == PathOf::kCollection) {
        words.pop_back();
    }
    for (const std::string& word : words) {
        path += '/';
        if (word.starts_with("--")) {
            path += percent_encode(arguments.string(word));
        } else {
            path += word;
        }
    }
    return path;
}

}  // namespace holdfast::cli
