#pragma once

#include "cli/command.h"

#include <vector>

namespace holdfast::cli {

/// `holdfast vault check, collect, rebuild-index, scan, extract, restore, recovery-kit, add-key`:
/// what can be done with a repository's files and a key alone, without a server and without a
/// catalog.
[[nodiscard]] std::vector<Command> vault_commands();

}  // namespace holdfast::cli
