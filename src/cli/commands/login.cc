#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/commands/account.h"
#include "cli/commands/common.h"

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::size_t kCaBytesMax = 1 * kMiB;

std::string server_of(const Arguments& arguments, Session& session) {
    std::string server = arguments.string("--server");
    if (server.empty()) {
        server = session.environment().get("HOLDFAST_SERVER").value_or("");
    }
    while (server.ends_with('/')) {
        server.pop_back();
    }
    if (server.empty()) {
        throw Error{
            ErrorKind::kUsage,
            ErrorText{
                .message = "the following arguments are required: --server",
                .recommended_actions = {"holdfast login --server https://HOST:8443"},
            }
        };
    }
    if (server.find("://") == std::string::npos) {
        server = "https://" + server;
    }
    if (!starts_with_ignoring_case(server, "https://")) {
        throw Error{
            ErrorKind::kUsage,
            ErrorText{
                .message = fmt::format("'{}' is not an https URL.", server),
                .recommended_actions = {"The server speaks HTTPS only: https://HOST:8443."},
            }
        };
    }
    return server;
}

/// The CA goes beside the profile, so that moving the given file breaks nothing.
std::string keep_ca(const Arguments& arguments, Session& session) {
    const std::string given = arguments.given("--ca")
                                  ? arguments.string("--ca")
                                  : session.environment().get("HOLDFAST_CA_FILE").value_or("");
    if (given.empty()) {
        return {};
    }
    const auto pem = read_file(given, kCaBytesMax);
    if (!pem || pem->find("-----BEGIN CERTIFICATE-----") == std::string::npos) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = fmt::format("'{}' is not a PEM file with a certificate.", given),
                .recommended_actions =
                    {"Name the server's CA: ca.pem in its state directory at first start."},
            }
        };
    }
    const std::filesystem::path directory = config_directory(session.environment());
    make_directory_durably(directory, 0700);
    const std::filesystem::path kept = directory / "ca.pem";
    write_file_durably(kept, as_bytes(*pem), 0600, Overwrite::kYes);
    return kept.string();
}

Secret token_of(const Arguments& arguments, Session& session) {
    if (arguments.given("--token-file")) {
        const std::string& path = arguments.string("--token-file");
        return path == "-" ? secret_from_file(path, session) : read_token_file(path);
    }
    if (const auto file = session.environment().get("HOLDFAST_TOKEN_FILE")) {
        return read_token_file(*file);
    }
    return prompt_secret(session.console(), "Token: ");
}

Json login(const Arguments& arguments, Session& session) {
    Profile profile;
    profile.server = server_of(arguments, session);
    profile.token = token_of(arguments, session);
    profile.ca_file = keep_ca(arguments, session);
    Profile stored{
        .server = profile.server, .ca_file = profile.ca_file, .token = profile.token.clone()
    };
    session.use_profile(std::move(profile));
    const Json accounts = account_list(session, "");
    if (accounts.empty()) {
        throw Error{
            ErrorKind::kAuthorizationFailed,
            ErrorText{
                .message = "The token is valid, but no subscription is visible to it.",
                .recommended_actions = {"Ask an Owner for a role assignment."},
            }
        };
    }
    stored.subscription = session.subscription();
    save_profile(session.environment(), stored);
    return account_list(session, stored.subscription);
}

Json logout(const Arguments&, Session& session) {
    if (!remove_profile(session.environment())) {
        session.warn("There was no login to forget.");
    }
    return nullptr;
}

}  // namespace

void add_login_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "login",
        .summary = "Name the server and log in to it.",
        .options =
            {optional({"--server"}, "URL of the server; else HOLDFAST_SERVER."),
             optional(
                 {"--ca"}, "PEM file of the CA that signed its certificate; else the system's CAs."
             ),
             optional(
                 {"--token-file"},
                 "File with the token, - for standard input; else HOLDFAST_TOKEN_FILE, else a "
                 "prompt."
             )},
        .examples =
            {{"To the server on this machine",
              "holdfast login --server https://localhost:8443 --ca /var/lib/holdfast/tls/ca.pem "
              "--token-file /var/lib/holdfast/owner.token"}},
        .handler = login,
        .details = "The token is never an argument. The profile lies in $HOLDFAST_CONFIG_DIR or "
                   "~/.config/holdfast with mode 0600.",
    });
    table.push_back({
        .path = "logout",
        .summary = "Forget the server and its token.",
        .options = {},
        .examples = {{"Log out", "holdfast logout"}},
        .handler = logout,
    });
}

}  // namespace holdfast::cli
