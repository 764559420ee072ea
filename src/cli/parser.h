#pragma once

#include "cli/command_table.h"
#include "cli/session.h"

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cli {

/// What the words of a command line ask for.
struct ParsedLine {
    enum class Kind { kRun, kHelp, kGroupWithoutVerb, kVersion };
    Kind kind = Kind::kRun;
    std::string path;                  ///< Of the command, or of the group whose help is wanted.
    const Command* command = nullptr;  ///< kRun.
    /// kRun: one, or with `--ids` one for each id.
    std::vector<Arguments> runs;
    /// The subscription of each id of `--ids`; empty strings otherwise. As long as `runs`.
    std::vector<std::string> subscriptions;
    Globals globals;
};

/// As az (argparse) reads words: options anywhere after the verb, lists up to the next flag,
/// unambiguous beginnings of long names, `--name=value`. Throws kUsage in az's words: "'x' is
/// misspelled or not recognized by the system.", "unrecognized arguments: x", "the following
/// arguments are required: --name/-n", "argument --name/-n: expected one argument", "… is not a
/// valid value for …".
[[nodiscard]] ParsedLine parse_line(
    const CommandTable& table, const std::vector<std::string>& words
);

}  // namespace holdfast::cli
