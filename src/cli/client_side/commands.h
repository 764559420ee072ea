#pragma once

#include "cli/command.h"

#include <vector>

namespace holdfast::cli {

/// Appends the verbs that send nothing: policy template and editing, backup-instance initialize,
/// restore initialisers.
void add_client_side_commands(std::vector<Command>& table);

}  // namespace holdfast::cli
