#pragma once

#include "postgres/server_info.h"

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// Statements that make an empty database like `database`, under another name, on a server of this
/// major.
struct DatabaseSqlTarget {
    std::string name;
    int server_major = 0;
};

enum class Tablespaces {
    kRestore,  ///< A tablespace that is missing is an error.
    kSkip,     ///< Everything goes into the default tablespace.
};

/// `CREATE DATABASE … TEMPLATE template0` with encoding, locale provider and locale. Without a
/// semicolon.
[[nodiscard]] std::string create_database_sql(
    const DatabaseInfo& database, const DatabaseSqlTarget& target, Tablespaces tablespaces
);

/// What is set once the data is in: a setting like default_transaction_read_only would stop the
/// restore itself. Connection limit, comment, settings of the database and of roles in it. In the
/// order to run, without semicolons.
[[nodiscard]] std::vector<std::string> database_settings_sql(
    const DatabaseInfo& database, const std::string& target_name
);

/// Owner and grants, in the order to run, without semicolons.
[[nodiscard]] std::vector<std::string> database_ownership_sql(
    const DatabaseInfo& database, const std::string& target_name
);

/// Roles that the two lists above name: owner, grantees, grantors, roles with settings. Sorted,
/// each once.
[[nodiscard]] std::vector<std::string> database_roles(const DatabaseInfo& database);

}  // namespace holdfast::postgres
