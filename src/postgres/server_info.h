#pragma once

#include "base/json.h"
#include "postgres/connection.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::postgres {

/// What differs between the supported majors, in one place (13 to 18; a newer server is treated as
/// the newest known).
struct VersionTraits {
    int major;
    bool has_locale_provider;  ///< pg_database.datlocprovider: 15+
    const char*
        locale_column;  ///< The provider's own locale: null, daticulocale (15, 16), datlocale (17+)
    bool has_icu_rules;           ///< pg_database.daticurules: 16+
    bool has_builtin_provider;    ///< datlocprovider 'b': 17+
    bool has_predefined_read;     ///< pg_read_all_data: 14+
    bool has_membership_options;  ///< pg_auth_members.inherit_option, set_option: 16+
    /// Replication commands take options in parentheses, and BASE_BACKUP sends one stream of typed
    /// messages instead of one for each tablespace: 15+
    bool has_option_lists;
    /// Base backups have tablespaces within the data directory (allow_in_place_tablespaces): 16+
    bool sends_in_place_tablespaces;
};
inline constexpr int kServerMajorMin = 13;
[[nodiscard]] const VersionTraits& version_traits(int major);

/// Bytes of a size as SHOW prints it (`16MB`, `1GB`, `512kB`). Throws kPostgresQuery.
[[nodiscard]] std::uint64_t parse_memory_size(std::string_view text);

struct GrantedPrivilege {
    std::string grantor;
    std::string grantee;  ///< Empty: PUBLIC.
    std::string privilege;
    bool grantable = false;
};

struct Setting {
    std::string name;
    std::string value;
    std::string role;  ///< Empty: for the whole database.
};

struct ExtensionInfo {
    std::string name;
    std::string version;
    std::string schema;
};

/// One row of pg_database and what hangs on it.
struct DatabaseInfo {
    std::uint32_t oid = 0;
    std::string name;
    std::string owner;
    std::optional<std::uint64_t> size_bytes;  ///< Absent when this role may not ask.
    std::string encoding;                     ///< `UTF8`, `LATIN1`
    std::string locale_provider = "libc";     ///< `libc`, `icu`, `builtin`
    std::string collate;
    std::string ctype;
    std::optional<std::string> locale;  ///< Of the provider, when not libc.
    std::optional<std::string> icu_rules;
    std::optional<std::string> collation_version;
    std::string tablespace;
    bool allows_connections = true;
    bool is_template = false;
    bool may_connect = true;  ///< This role has CONNECT.
    int connection_limit = -1;
    std::optional<std::vector<GrantedPrivilege>> acl;  ///< Absent: the default.
    std::optional<std::string> comment;
    std::vector<Setting> settings;  ///< ALTER DATABASE SET and ALTER ROLE IN DATABASE SET.
};

[[nodiscard]] Json to_json(const DatabaseInfo& database);
/// Reads what to_json wrote. Throws kVaultCorrupt when it is not that.
[[nodiscard]] DatabaseInfo database_from_json(const Json& json);

struct RoleInfo {
    std::string name;
    bool superuser = false;
    bool bypass_rls = false;
    bool create_database = false;
    bool create_role = false;
    bool can_login = false;
};

struct ServerInfo {
    int version_number = 0;         ///< 150004
    std::string version;            ///< `15.4`
    std::string system_identifier;  ///< Empty when this role may not ask.
    std::string server_encoding;
    bool in_recovery = false;
    RoleInfo current_role;
    bool may_read_passwords = false;  ///< SELECT on pg_authid.
    std::vector<DatabaseInfo> databases;
    std::vector<RoleInfo> roles;
    std::vector<std::string> tablespaces;
    [[nodiscard]] int major() const noexcept { return version_number / 10000; }
    [[nodiscard]] const DatabaseInfo* find_database(std::string_view name) const;
};

/// Names by OID, without pg_default and pg_global.
[[nodiscard]] std::map<std::uint32_t, std::string> list_tablespaces(
    Connection& connection, std::stop_token stop = {}
);
/// Reads it over a connection to any database of the server.
[[nodiscard]] ServerInfo read_server_info(Connection& connection, std::stop_token stop = {});
/// One database's row; nothing when there is none of that name.
[[nodiscard]] std::optional<DatabaseInfo> read_database_info(
    Connection& connection, std::string_view name, std::stop_token stop = {}
);
/// Installed in the database that is connected to.
[[nodiscard]] std::vector<ExtensionInfo> read_extensions(Connection& connection);
/// Parameters whose value is not the built-in default: name -> {setting, unit, source}. Values of
/// parameters that can hold secrets (primary_conninfo…) are left out.
[[nodiscard]] Json read_changed_settings(Connection& connection);
/// The newest WAL position (`0/1A2B3C8`); empty when not to be had.
[[nodiscard]] std::string read_wal_position(Connection& connection);

}  // namespace holdfast::postgres
