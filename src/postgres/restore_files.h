#pragma once

#include "base/json.h"
#include "postgres/client_tools.h"
#include "postgres/server_info.h"

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::postgres {

class StreamSource;  // postgres/streams.h

enum class RolePasswords { kLeaveOut, kInclude };

/// `_roles.sql`: CREATE ROLE, attributes and memberships, guarded so that a role that exists is
/// altered, not an error. With kInclude throws kMissingDatabasePermissions when the backup's role
/// could not read the hashes.
[[nodiscard]] std::string render_roles_sql(const StreamSource& source, RolePasswords passwords);
/// `_tablespace.sql`.
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
    int client_major_min = 0;
};
/// `_restore.sh`: checks the files, makes the roles, creates each database that does not exist and
/// restores it.
[[nodiscard]] std::string render_restore_script(const RestoreScriptInput& input);

/// `databases/DB/settings.json` of a recovery point.
[[nodiscard]] DatabaseInfo read_database_settings(
    const StreamSource& source, const std::string& database
);

}  // namespace holdfast::postgres
