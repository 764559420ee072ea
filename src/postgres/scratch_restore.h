#pragma once

#include "postgres/client_tools.h"
#include "postgres/logical_restore.h"
#include "postgres/scratch_server.h"

namespace holdfast::postgres {

/// A single database, or schemas and tables of it, out of a scratch server into another server:
/// pg_dump of the scratch server's version into `server.directory().dump()`, then
/// run_logical_restore. `options` as there; the steps of its progress begin with `dump`. For items,
/// rows of large tables that have nothing to do with them are not dumped.
///
/// Throws kDatabaseNotFound when the cluster has no such database, what run_logical_backup and
/// run_logical_restore throw, and what ScratchServer::throw_cause_of throws.
[[nodiscard]] LogicalRestore restore_from_scratch(
    const ConnectionParameters& target,
    ScratchServer& server,
    const ClientTools& tools,
    const RestoreOptions& options
);

}  // namespace holdfast::postgres
