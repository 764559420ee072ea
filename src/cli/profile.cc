#include "cli/profile.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::size_t kProfileBytesMax = 64 * kKiB;
constexpr std::size_t kTokenBytesMax = 16 * kKiB;

std::filesystem::path profile_file(const Environment& environment) {
    return config_directory(environment) / "profile.json";
}

std::string without_slash(std::string url) {
    while (!url.empty() && url.back() == '/') {
        url.pop_back();
    }
    return url;
}

std::optional<Profile> stored_profile(const Environment& environment) {
    const std::filesystem::path path = profile_file(environment);
    const std::optional<Secret> text = read_secret_file(path, kProfileBytesMax);
    if (!text) {
        return std::nullopt;
    }
    const Json json = parse_json(text->expose_text(), ErrorKind::kConfigInvalid, path.string());
    const JsonReader reader{json, path.string(), ErrorKind::kConfigInvalid};
    Profile out;
    out.server = without_slash(reader.string("server"));
    out.ca_file = reader.string_or("caFile", "");
    out.subscription = reader.string_or("subscription", "");
    out.token = Secret{reader.string_or("token", "")};
    return out;
}

}  // namespace

std::filesystem::path config_directory(const Environment& environment) {
    if (const auto own = environment.get("HOLDFAST_CONFIG_DIR")) {
        return *own;
    }
    if (const auto shared = environment.get("XDG_CONFIG_HOME")) {
        return std::filesystem::path{*shared} / "holdfast";
    }
    if (const auto home = environment.get("HOME")) {
        return std::filesystem::path{*home} / ".config" / "holdfast";
    }
    throw Error{
        ErrorKind::kConfigInvalid,
        ErrorText{
            .message = "There is no place for the profile: HOME is not set.",
            .recommended_actions = {"Set HOLDFAST_CONFIG_DIR to a directory of yours."},
        }
    };
}

Secret read_token_file(const std::filesystem::path& path) {
    const std::optional<Secret> text = read_secret_file(path, kTokenBytesMax);
    if (!text) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = fmt::format("The token file does not exist: '{}'.", path.string()),
                .recommended_actions = {"Name a file that holds the token and nothing else."},
            }
        };
    }
    return Secret{trim(text->expose_text())};
}

std::optional<Profile> load_profile(const Environment& environment) {
    const auto server = environment.get("HOLDFAST_SERVER");
    std::optional<Profile> profile;
    // With a server in the environment a missing home is no fault.
    if (!server || environment.get("HOLDFAST_CONFIG_DIR") || environment.get("HOME") ||
        environment.get("XDG_CONFIG_HOME")) {
        profile = stored_profile(environment);
    }
    if (server) {
        const std::string url = without_slash(*server);
        if (!profile || profile->server != url) {
            profile.emplace();  // Another server's token and CA are none of its business.
            profile->server = url;
        }
    }
    if (!profile) {
        return std::nullopt;
    }
    if (const auto file = environment.get("HOLDFAST_CA_FILE")) {
        profile->ca_file = *file;
    }
    if (const auto file = environment.get("HOLDFAST_TOKEN_FILE")) {
        profile->token = read_token_file(*file);
    }
    if (const auto subscription = environment.get("HOLDFAST_SUBSCRIPTION")) {
        profile->subscription = *subscription;
    }
    return profile;
}

void save_profile(const Environment& environment, const Profile& profile) {
    const std::filesystem::path path = profile_file(environment);
    make_directory_durably(path.parent_path(), 0700);
    std::string text =
        Json{
            {"server", profile.server},
            {"caFile", profile.ca_file},
            {"subscription", profile.subscription},
            {"token", std::string{profile.token.expose_text()}},
        }
            .dump(2);
    text += "\n";
    write_file_durably(path, as_bytes(text), 0600, Overwrite::kYes);
    wipe(text);
}

bool remove_profile(const Environment& environment) {
    const std::filesystem::path directory = config_directory(environment);
    std::error_code ignored;
    std::filesystem::remove(directory / "ca.pem", ignored);
    return std::filesystem::remove(directory / "profile.json", ignored);
}

}  // namespace holdfast::cli
