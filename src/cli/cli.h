#pragma once

#include "base/environment.h"
#include "cli/command.h"

#include <vector>

namespace holdfast::cli {

/// A verb that another part registers (`serve`, `vault check`, …): the same row as every other.
using ExtraCommand = Command;

/// Parses `argv`, runs the verb and returns the exit code of the process: 0, 1, 2 (usage) or 3 (not
/// found); a verb may document others. Never throws.
int run_command_line(
    int argc,
    const char* const* argv,
    const Environment& environment,
    std::vector<ExtraCommand> extra
);

}  // namespace holdfast::cli
