#pragma once

#include "cli/command_table.h"
#include "cli/session.h"

#include <string>
#include <vector>

namespace holdfast::cli {

/// What run_command_line does, with everything handed in: for tests and for main. `words` is argv
/// without the program's name. Never throws.
int run(
    const CommandTable& table,
    const std::vector<std::string>& words,
    const Session::Services& services
);

}  // namespace holdfast::cli
