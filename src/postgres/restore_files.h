#pragma once

#include "base/json.h"
#include "postgres/client_tools.h"
#include "postgres/server_info.h"

#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::postgres {

class StreamSource;  // postgres/streams.h

enum class RolePasswords { kLeaveOut, kInclude };

/// `_roles.sql`, for psql: each role with its attributes, settings and memberships. A role that
/// exists is left as it is. With kInclude throws kMissingDatabasePermissions when the backup's role
/// could not read the hashes.
[[nodiscard]] std::string render_roles_sql(const StreamSource& source, RolePasswords passwords);
/// `_tablespace.sql`, for psql. A tablespace that exists is left as it is.
[[nodiscard]] std::string render_tablespaces_sql(const StreamSource& source);
/// `_schema.sql`: definitions of every database, for reading. Runs `pg_restore --schema-only`.
[[nodiscard]] std::string render_schema_sql(
    const StreamSource& source, const ClientTools& tools, std::stop_token stop
);

/// One `<prefix>_database_<db>.sql`.
struct RestoreScriptDatabase {
    DatabaseInfo database;
    std::string file_name;  ///< Relative to the script.
};
struct RestoreScriptInput {
    std::string roles_file;
    std::string tablespace_file;
    std::string manifest_file;
    std::vector<RestoreScriptDatabase> databases;
    /// SHA-256 in hexadecimal by file name, checked before anything is made.
    std::map<std::string, std::string> sha256 = {};
    int client_major_min = 0;  ///< The source server's; target and programs must be at least of it.
};
/// `_restore.sh`: makes the roles, creates each database that does not exist and restores it with
/// its owner, grants and settings. A database that exists is left alone, so that it can be run
/// again; one that fails half-way is dropped.
[[nodiscard]] std::string render_restore_script(const RestoreScriptInput& input);

/// `databases/DB/settings.json` of a recovery point.
[[nodiscard]] DatabaseInfo read_database_settings(
    const StreamSource& source, const std::string& database
);

}  // namespace holdfast::postgres
