#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/commands/common.h"
#include "cli/output.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::size_t kBodyBytesMax = 256 * kMiB;

std::string body_of(const Arguments& arguments) {
    const std::string& text = arguments.string("--body");
    if (!text.starts_with('@')) {
        return text;
    }
    const auto body = read_file(text.substr(1), kBodyBytesMax);
    if (!body) {
        throw Error{
            ErrorKind::kInvalidInput,
            fmt::format("The file of --body does not exist: '{}'.", text.substr(1))
        };
    }
    return *body;
}

/// `name=value` words, or one JSON object.
std::map<std::string, std::string> pairs_of(const std::vector<std::string>& words) {
    std::map<std::string, std::string> out;
    if (words.size() == 1 && words[0].starts_with('{')) {
        const Json json = parse_json(words[0], ErrorKind::kUsage, "The argument");
        for (const auto& [name, value] : json.items()) {
            out[name] = value.is_string() ? value.get<std::string>() : value.dump();
        }
        return out;
    }
    for (const std::string& word : words) {
        const std::size_t equals = word.find('=');
        if (equals == std::string::npos) {
            throw Error{ErrorKind::kUsage, fmt::format("'{}' is not name=value.", word)};
        }
        out[word.substr(0, equals)] = word.substr(equals + 1);
    }
    return out;
}

std::string url_of(const Arguments& arguments, Session& session) {
    std::string url = arguments.string("--url");
    constexpr std::string_view kPlaceholder = "{subscriptionId}";
    if (const std::size_t at = url.find(kPlaceholder); at != std::string::npos) {
        url.replace(at, kPlaceholder.size(), session.subscription());
    }
    for (const auto& [name, value] : pairs_of(arguments.list("--uri-parameters"))) {
        url += fmt::format(
            "{}{}={}",
            url.find('?') == std::string::npos ? "?" : "&",
            percent_encode(name),
            percent_encode(value)
        );
    }
    return url;
}

Json send_request(const Arguments& arguments, Session& session) {
    std::string method = arguments.string("--method");
    std::transform(method.begin(), method.end(), method.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    const Response response = session.send_raw(
        method,
        url_of(arguments, session),
        body_of(arguments),
        pairs_of(arguments.list("--headers")),
        arguments.string("--output-file")
    );
    if (response.status >= 400) {
        throw server_error(response.status, response.body);
    }
    if (trim(response.body).empty()) {
        return nullptr;
    }
    Json body = Json::parse(response.body, nullptr, false);
    return body.is_discarded() ? Json(response.body) : body;
}

}  // namespace

void add_rest_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "rest",
        .summary = "Send a request of your own to the server.",
        .options =
            {required({"--url", "--uri", "-u"}, "Path on the server, or a URL of it."),
             with_default(
                 one_of(
                     {"--method", "-m"},
                     {"delete", "get", "head", "options", "patch", "post", "put"},
                     "HTTP method."
                 ),
                 "get"
             ),
             optional({"--body", "-b"}, "Body, or @file."),
             list({"--headers"}, "Headers, name=value, or JSON."),
             list(
                 {"--uri-parameters", "--url-parameters"}, "Query parameters, name=value, or JSON."
             ),
             optional(
                 {"--output-file"},
                 "Write the answer's body, of any size, to this file (mode 0600)."
             ),
             optional({"--resource"}, "As always; for scripts written for az.")},
        .examples =
            {{"List the vaults of the subscription",
              "holdfast rest --method get --url "
              "\"/subscriptions/{subscriptionId}/providers/Microsoft.DataProtection/"
              "backupVaults?api-version=2024-04-01\""},
             {"Download a restored file",
              "holdfast rest --url /restore/files/dump1_manifest.json --output-file "
              "manifest.json"}},
        .handler = send_request,
    });
}

}  // namespace holdfast::cli
