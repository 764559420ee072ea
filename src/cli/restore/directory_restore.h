#pragma once

#include "cli/command.h"
#include "cli/session.h"
#include "postgres/cluster_restore.h"

namespace holdfast::cli {

/// What `holdfast restore` and `holdfast vault restore` have in common: where to and how.
[[nodiscard]] std::vector<Option> directory_restore_options();

/// Reads them. Throws kUsage for a mapping that is none, kInvalidParameter for an owner that is no
/// user.
[[nodiscard]] postgres::RestoreClusterOptions read_directory_restore(
    const Arguments& arguments, Session& session
);

/// Restores, with progress on stderr, and says what to do next. The result of the command.
[[nodiscard]] Json restore_into_directory(
    const postgres::StreamSource& source, postgres::RestoreClusterOptions options, Session& session
);

}  // namespace holdfast::cli
