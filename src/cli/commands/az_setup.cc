// az-setup: the commands that point an installed az at this server.
#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/commands/common.h"

#include <ostream>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

constexpr std::size_t kOutputBytesMax = 4 * kMiB;

/// For a shell: in single quotes where it has to be.
std::string shell_word(const std::string& text) {
    constexpr std::string_view kPlain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:=@%+,";
    if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) {
        return text;
    }
    std::string out = "'";
    for (const char c : text) {
        out += c == '\'' ? "'\\''" : std::string(1, c);
    }
    return out + "'";
}

std::string text_of(const Json& object, std::string_view name) {
    const Json* found = find_member(object, name);
    return found != nullptr && found->is_string() ? found->get<std::string>() : std::string{};
}

struct Setup {
    std::string cloud;
    std::string ca_file;
    std::string cloud_config;
    std::string client_id;
    std::string tenant;
};

Setup setup_of(const Arguments& arguments, Session& session) {
    const Profile& profile = session.profile();
    const std::string& server = profile.server;
    const std::string authority = server.substr(server.find("://") + 3);
    const Json me = session.get("/v1.0/me");
    const Json accounts = session.list("/subscriptions?api-version=2022-12-01");
    Setup setup;
    setup.cloud = arguments.string("--name");
    setup.ca_file = profile.ca_file;
    // Given as a whole: az of Debian 12 does not learn the directory's endpoint and the vaults'
    // suffix by itself, and has no flag for the first.
    setup.cloud_config = Json{
        {"endpoints", {{"resourceManager", server}, {"microsoftGraphResourceId", server + "/"}}},
        {"suffixes", {{"keyvaultDns", "." + authority}}}
    }.dump();
    setup.client_id = text_of(me, "appId");
    setup.tenant = accounts.empty() ? std::string{} : text_of(accounts[0], "tenantId");
    if (setup.client_id.empty()) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = "The login is not a service principal's.",
                .recommended_actions =
                    {"Make one and log in with it: holdfast ad sp create-for-rbac",
                     "A user logs in with: az login -u NAME --tenant TENANT"},
            }
        };
    }
    return setup;
}

using Words = std::vector<std::string>;

std::vector<Words> commands_of(const Setup& setup, const std::string& secret_file) {
    Words login{"az", "login", "--service-principal", "-u", setup.client_id};
    if (!secret_file.empty()) {
        login.insert(login.end(), {"-p", "@" + secret_file});
    }
    login.insert(login.end(), {"--tenant", setup.tenant});
    return {
        {"az", "cloud", "register", "-n", setup.cloud, "--cloud-config", setup.cloud_config},
        {"az", "cloud", "set", "-n", setup.cloud},
        std::move(login),
    };
}

std::string line_of(const Words& words) {
    std::string out;
    for (const std::string& word : words) {
        out += (out.empty() ? "" : " ") + shell_word(word);
    }
    return out;
}

std::filesystem::path find_az(const Session& session) {
    for (const std::string& directory :
         split(session.environment().get("PATH").value_or("/usr/bin"), ':')) {
        const std::filesystem::path program = std::filesystem::path{directory} / "az";
        std::error_code ignored;
        if (!directory.empty() && std::filesystem::exists(program, ignored)) {
            return program;
        }
    }
    throw Error{
        ErrorKind::kInvalidInput,
        ErrorText{
            .message = "There is no az on the PATH.",
            .recommended_actions = {"Install it: apt-get install azure-cli"},
        }
    };
}

RunResult run_az(const Words& words, const Setup& setup, Session& session) {
    ProcessSpec spec;
    spec.program = find_az(session);
    spec.arguments.assign(words.begin() + 1, words.end());
    for (const auto& [name, value] : session.environment().variables()) {
        spec.environment[name] = value;
    }
    if (!setup.ca_file.empty()) {
        spec.environment["REQUESTS_CA_BUNDLE"] = setup.ca_file;
    }
    return run_process(spec, kOutputBytesMax, {});
}

void must_run(const Words& words, const Setup& setup, Session& session) {
    session.verbose(line_of(words));
    const RunResult result = run_az(words, setup, session);
    if (!result.status.ok()) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = fmt::format(
                    "'{} {} {}' failed ({}): {}",
                    words[0],
                    words[1],
                    words[2],
                    result.status.describe(),
                    trim(result.error)
                ),
                .recommended_actions = {"Run the commands one by one: holdfast az-setup"},
            }
        };
    }
}

/// The client's secret in a file of its own, for as long as az needs it: never an argument.
class SecretFile {
public:
    SecretFile(std::filesystem::path path, const Secret& secret) : path_{std::move(path)} {
        write_file_durably(path_, secret.expose(), 0600, Overwrite::kYes);
    }
    ~SecretFile() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    SecretFile(const SecretFile&) = delete;
    SecretFile& operator=(const SecretFile&) = delete;
    [[nodiscard]] std::string path() const { return path_.string(); }

private:
    std::filesystem::path path_;
};

Json az_setup(const Arguments& arguments, Session& session) {
    const Setup setup = setup_of(arguments, session);
    if (!arguments.flag("--run")) {
        std::string text = "# The client's secret is the token of this login.\n";
        if (!setup.ca_file.empty()) {
            text += fmt::format("export REQUESTS_CA_BUNDLE={}\n", shell_word(setup.ca_file));
        }
        for (const Words& words : commands_of(setup, "")) {
            text += line_of(words) + "\n";
        }
        session.console().out << text;
        return nullptr;
    }
    if (run_az({"az", "cloud", "show", "-n", setup.cloud}, setup, session).status.ok()) {
        // Registering a name twice fails, and so does taking away the cloud in use.
        must_run({"az", "cloud", "set", "-n", "AzureCloud"}, setup, session);
        must_run({"az", "cloud", "unregister", "-n", setup.cloud}, setup, session);
    }
    const SecretFile secret{
        config_directory(session.environment()) / "az-secret", session.profile().token
    };
    for (const Words& words : commands_of(setup, secret.path())) {
        must_run(words, setup, session);
    }
    if (!setup.ca_file.empty()) {
        session.warn(fmt::format(
            "In every shell that runs az: export REQUESTS_CA_BUNDLE={}", shell_word(setup.ca_file)
        ));
    }
    return Json{{"cloud", setup.cloud}, {"clientId", setup.client_id}, {"tenantId", setup.tenant}};
}

}  // namespace

void add_az_setup_commands(std::vector<Command>& table) {
    table.push_back({
        .path = "az-setup",
        .summary = "Print, or run, the commands that point az at this server.",
        .options =
            {with_default(optional({"--name", "-n"}, "What az calls this server."), "holdfast"),
             flag({"--run"}, "Run them with the az on the PATH.")},
        .examples =
            {{"See them", "holdfast az-setup"}, {"Have them run", "holdfast az-setup --run"}},
        .handler = az_setup,
        .details =
            "The login must be a service principal's, as the owner's is: az logs in with the "
            "same secret.",
    });
}

}  // namespace holdfast::cli
