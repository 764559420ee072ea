#include "cli/run.h"

#include "base/error.h"
#include "base/version.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/jmespath.h"
#include "cli/output.h"
#include "cli/parser.h"

#include <iostream>

namespace holdfast::cli {
namespace {

/// Exit code 2: the words were wrong (argparse's, and so az's, code).
constexpr int kExitUsage = 2;

/// One run gives its result, several (--ids with more than one id) a list of them.
Json run_handlers(const ParsedLine& line, const Session::Services& services, int& exit_code) {
    Json all = Json::array();
    for (std::size_t i = 0; i < line.runs.size(); ++i) {
        Globals globals = line.globals;
        if (!line.subscriptions[i].empty()) {
            globals.subscription = line.subscriptions[i];
        }
        Session session{services, globals, line.path};
        Json result = with_resource_group(line.command->handler(line.runs[i], session));
        exit_code = std::max(exit_code, session.exit_code());
        if (line.runs.size() == 1) {
            return result;
        }
        if (!result.is_null()) {
            all.push_back(std::move(result));
        }
    }
    return all;
}

int run_line(
    const CommandTable& table,
    const std::vector<std::string>& words,
    const Session::Services& services
) {
    Console& console = services.console;
    const ParsedLine line = parse_line(table, words);
    switch (line.kind) {
        case ParsedLine::Kind::kVersion:
            console.out << "holdfast " << version() << "\n";
            return 0;
        case ParsedLine::Kind::kHelp:
            console.out << help_text(table, line.path);
            return 0;
        case ParsedLine::Kind::kGroupWithoutVerb:
            if (line.path.empty()) {
                console.out << help_text(table, line.path);
                return 0;
            }
            console.err << help_text(table, line.path);
            return kExitUsage;
        case ParsedLine::Kind::kRun:
            break;
    }
    if (!line.globals.query.empty()) {
        // Before anything is sent: a slip in the query must not cost a second backup.
        (void)JmesPath::compile(line.globals.query);
    }
    int exit_code = 0;
    const Json result = run_handlers(line, services, exit_code);
    const OutputOptions options{
        .form = line.globals.output,
        .query = line.globals.query,
        .table = line.command->table,
        .colour = console.out_is_terminal ? Colour::kYes : Colour::kNo,
    };
    console.out << render_result(result, options) << std::flush;
    if (!console.out) {
        throw Error{ErrorKind::kStoreFull, "The result could not be written to standard output."};
    }
    return exit_code;
}

}  // namespace

int run(
    const CommandTable& table, const std::vector<std::string>& words, const Session::Services& given
) {
    Session::Services services = given;
    services.table = &table;
    int exit_code = 0;
    run_boundary(
        [&] { exit_code = run_line(table, words, services); },
        [&](const Error& error) {
            services.console.err << render_error(
                                        error,
                                        services.console.err_is_terminal ? Colour::kYes
                                                                         : Colour::kNo
                                    )
                                 << std::flush;
            exit_code = traits(error.kind()).exit_code;
        }
    );
    return exit_code;
}

int run_command_line(
    int argc,
    const char* const* argv,
    const Environment& environment,
    std::vector<ExtraCommand> extra
) {
    const std::vector<std::string> words{argv + std::min(argc, 1), argv + argc};
    Console console = process_console();
    SystemClock clock;
    std::vector<Command> commands = standard_commands();
    std::move(extra.begin(), extra.end(), std::back_inserter(commands));
    return run(
        CommandTable{std::move(commands)},
        words,
        {.console = console,
         .clock = clock,
         .environment = environment,
         .connect = [](const Profile& profile
                    ) { return make_https_transport({.ca_file = profile.ca_file}); }}
    );
}

}  // namespace holdfast::cli
