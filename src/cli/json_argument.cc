#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/session.h"

#include <filesystem>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::size_t kFileBytesMax = 16 * kMiB;

[[noreturn]] void refuse(std::string message, std::string action) {
    throw Error{
        ErrorKind::kInvalidInput,
        ErrorText{.message = std::move(message), .recommended_actions = {std::move(action)}}
    };
}

bool is_file(const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
}

/// `.\x` is how the same path is written on Windows; a Unix shell hands it over as `.x`.
std::string resolve_path(const std::string& path, Session& session) {
    std::string resolved = path;
    if (path.starts_with(".\\")) {
        resolved = "./" + path.substr(2);
        std::replace(resolved.begin(), resolved.end(), '\\', '/');
    } else if (path.size() > 1 && path[0] == '.' && path[1] != '/' && path[1] != '.' &&
               !is_file(path) && is_file("./" + path.substr(1))) {
        resolved = "./" + path.substr(1);
    }
    if (resolved != path) {
        session.warn(fmt::format("'{}' is read from '{}'.", path, resolved));
    }
    return resolved;
}

Json read_json(const std::string& path) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
        refuse(fmt::format("'{}' is a directory.", path), "Name a JSON file.");
    }
    const std::optional<std::string> text = read_file(path, kFileBytesMax);
    if (!text) {
        refuse(fmt::format("JSON file does not exist: '{}'", path), "Check the path.");
    }
    std::string_view body = *text;
    if (body.starts_with("\xef\xbb\xbf")) {
        body.remove_prefix(3);  // PowerShell's redirection begins files so.
    }
    return parse_json(body, ErrorKind::kInvalidInput, fmt::format("'{}'", path));
}

}  // namespace

Json load_json_argument(std::string_view text, Session& session) {
    const std::string_view trimmed = trim(text);
    if (trimmed.starts_with('@')) {
        return read_json(resolve_path(std::string{trimmed.substr(1)}, session));
    }
    if (trimmed.starts_with('{') || trimmed.starts_with('[') || trimmed.starts_with('"')) {
        return parse_json(trimmed, ErrorKind::kInvalidInput, "The JSON argument");
    }
    const std::string path = resolve_path(std::string{trimmed}, session);
    if (is_file(path)) {
        return read_json(path);
    }
    if (path.ends_with(".json")) {
        refuse(fmt::format("JSON file does not exist: '{}'", path), "Check the path.");
    }
    Json value = Json::parse(trimmed, nullptr, false);
    if (value.is_discarded()) {
        refuse(
            fmt::format("Failed to parse string as JSON: {}", text),
            "Give a file's path, @path or JSON text."
        );
    }
    return value;
}

}  // namespace holdfast::cli
