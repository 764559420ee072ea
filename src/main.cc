// The composition root: the client's verbs come from src/cli, the server's are added here.
#include "base/clock.h"
#include "base/environment.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/session.h"
#include "cli/vault_tool/vault_tool.h"
#include "control/config.h"
#include "control/reference_pages.h"
#include "control/server.h"

#include <cstdio>

namespace holdfast {
namespace {

using cli::Arguments;
using cli::Session;

std::vector<cli::Option> config_options() {
    return {
        cli::optional(
            {"--config"}, "TOML file; default $HOLDFAST_CONFIG or /etc/holdfast/holdfast.toml."
        ),
        cli::optional(
            {"--state-directory"}, "Where catalog, keys and certificates are (state.directory)."
        ),
        cli::list(
            {"--set"}, "Configuration keys: --set server.listen=0.0.0.0:8443 jobs.max_jobs=4."
        ),
    };
}

control::Config config_of(const Arguments& arguments, const Session& session) {
    control::ConfigSources sources{.environment = session.environment()};
    if (const auto file = arguments.optional_string("--config")) {
        sources.file = std::filesystem::absolute(*file);
    }
    for (const std::string& pair : arguments.list("--set")) {
        const std::size_t equals = pair.find('=');
        if (equals == std::string::npos) {
            throw Error{
                ErrorKind::kUsage, "--set takes key=value, like server.listen=0.0.0.0:8443."
            };
        }
        sources.flags.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
    }
    if (const auto directory = arguments.optional_string("--state-directory")) {
        sources.flags.emplace_back(
            "state.directory", std::filesystem::absolute(*directory).string()
        );
    }
    return control::load_config(sources);
}

Json run_serve(const Arguments& arguments, Session& session) {
    const control::Config config = config_of(arguments, session);
    if (arguments.flag("--check-config")) {
        control::check_config(config);
        std::fputs("The configuration is valid.\n", stdout);
        return nullptr;
    }
    session.set_exit_code(control::serve(config, session.clock(), {}));
    return nullptr;
}

Json run_owner_token(const Arguments& arguments, Session& session) {
    const Secret token = control::make_owner_token(config_of(arguments, session), session.clock());
    std::fwrite(token.expose().data(), 1, token.size(), stdout);
    std::fputc('\n', stdout);
    return nullptr;
}

Json run_docs(const Arguments& arguments, Session&) {
    const std::string& page = arguments.string("page");
    const std::string text = page == "api"      ? control::describe_api()
                             : page == "errors" ? control::describe_errors()
                                                : control::describe_config();
    std::fwrite(text.data(), 1, text.size(), stdout);
    return nullptr;
}

std::vector<cli::ExtraCommand> server_commands() {
    std::vector<cli::Option> serve_options = config_options();
    serve_options.push_back(
        cli::flag({"--check-config"}, "Check the configuration and what it names, then end.")
    );
    return {
        {.path = "serve",
         .summary = "Run the server.",
         .options = std::move(serve_options),
         .examples =
             {{"Serve on all addresses", "holdfast serve --set server.listen=0.0.0.0:8443"},
              {"Try it out in a directory of your own",
               "holdfast serve --state-directory ./holdfast-state"}},
         .handler = run_serve,
         .details = "Ends with SIGTERM or SIGINT, reloads certificates with SIGHUP. The first "
                    "start prints the "
                    "owner's token."},
        {.path = "owner-token",
         .summary = "Print a new token for the owner, on the server's own machine.",
         .options = config_options(),
         .examples =
             {{"The first token is lost",
               "holdfast owner-token --config /etc/holdfast/holdfast.toml"}},
         .handler = run_owner_token,
         .details = "Needs the right to read the server's key file and state directory."},
        {.path = "docs",
         .summary = "Print a reference page: configuration, api or errors.",
         .options = {cli::as_required(
             cli::one_of({"page"}, {"configuration", "api", "errors"}, "Which page.")
         )},
         .examples = {{"All configuration keys", "holdfast docs configuration"}},
         .handler = run_docs},
    };
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
    holdfast::limit_kept_memory();
    std::vector<holdfast::cli::ExtraCommand> commands = holdfast::server_commands();
    std::vector<holdfast::cli::ExtraCommand> vault = holdfast::cli::vault_commands();
    for (holdfast::cli::ExtraCommand& command : vault) {
        commands.push_back(std::move(command));
    }
    return holdfast::cli::run_command_line(
        argc, argv, holdfast::Environment::of_process(), std::move(commands)
    );
}
