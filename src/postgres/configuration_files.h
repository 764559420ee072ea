#pragma once

#include "postgres/cluster_description.h"
#include "postgres/connection.h"
#include "postgres/preflight.h"

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

// Configuration that a server keeps outside its data directory, as Debian does below
// /etc/postgresql: a base backup leaves it out, a restore needs it.

namespace holdfast::postgres {

class BackupStreams;  // postgres/streams.h

/// Saves postgresql.conf with the files that it includes, pg_hba.conf and pg_ident.conf where they
/// lie outside the data directory, as streams `configuration/<name>`. What this role may not read
/// is named in `notes`.
[[nodiscard]] std::vector<SavedConfiguration> save_configuration(
    Connection& session,
    BackupStreams& streams,
    std::vector<std::string>& notes,
    std::stop_token stop
);

/// A note when there are such files and `role` may not read them, with the grants that it lacks.
[[nodiscard]] std::optional<Finding> find_unreadable_configuration(
    Connection& session, const std::string& role, std::stop_token stop
);

}  // namespace holdfast::postgres
