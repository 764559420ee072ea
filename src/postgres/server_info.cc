#include "postgres/server_info.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

constexpr std::array kTraits{
    VersionTraits{13, false, nullptr, false, false, false, false, false, false},
    VersionTraits{14, false, nullptr, false, false, true, false, false, false},
    VersionTraits{15, true, "daticulocale", false, false, true, false, true, false},
    VersionTraits{16, true, "daticulocale", true, false, true, true, true, true},
    VersionTraits{17, true, "datlocale", true, true, true, true, true, true},
    VersionTraits{18, true, "datlocale", true, true, true, true, true, true},
};

std::string provider_name(std::string_view letter) {
    if (letter == "i") {
        return "icu";
    }
    return letter == "b" ? "builtin" : "libc";
}

/// pg_database with the columns of this version; those that it has not are null.
std::string database_query(const VersionTraits& traits, std::string_view condition) {
    // Sizes need CONNECT or pg_read_all_stats; asking without is an error that would spoil the
    // whole answer.
    return fmt::format(
        "SELECT d.oid, d.datname, r.rolname AS owner,"
        " CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')"
        "   OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')"
        "   THEN pg_catalog.pg_database_size(d.oid) END AS size_bytes,"
        " pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate, d.datctype,"
        " {} AS provider, {} AS locale, {} AS icu_rules, {} AS collation_version,"
        " t.spcname AS tablespace, d.datallowconn, d.datistemplate, d.datconnlimit,"
        " pg_catalog.has_database_privilege(d.oid, 'CONNECT') AS may_connect,"
        " d.datacl IS NOT NULL AS has_acl,"
        " pg_catalog.shobj_description(d.oid, 'pg_database') AS comment"
        " FROM pg_catalog.pg_database d"
        " LEFT JOIN pg_catalog.pg_roles r ON r.oid = d.datdba"
        " LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace"
        " WHERE {} ORDER BY d.datname",
        traits.has_locale_provider ? "d.datlocprovider::pg_catalog.text" : "'c'",
        traits.locale_column != nullptr ? fmt::format("d.{}", traits.locale_column) : "NULL",
        traits.has_icu_rules ? "d.daticurules" : "NULL",
        traits.has_locale_provider ? "d.datcollversion" : "NULL",
        condition
    );
}

DatabaseInfo read_row(const QueryResult& rows, std::size_t row) {
    DatabaseInfo database;
    database.oid = static_cast<std::uint32_t>(rows.integer(row, "oid"));
    database.name = rows.text(row, "datname");
    database.owner = rows.text(row, "owner");
    if (!rows.is_null(row, "size_bytes")) {
        database.size_bytes = static_cast<std::uint64_t>(rows.integer(row, "size_bytes"));
    }
    database.encoding = rows.text(row, "encoding");
    database.locale_provider = provider_name(rows.text(row, "provider"));
    database.collate = rows.text(row, "datcollate");
    database.ctype = rows.text(row, "datctype");
    database.locale = rows.optional_text(row, "locale");
    database.icu_rules = rows.optional_text(row, "icu_rules");
    database.collation_version = rows.optional_text(row, "collation_version");
    database.tablespace = rows.text(row, "tablespace");
    database.allows_connections = rows.boolean(row, "datallowconn");
    database.is_template = rows.boolean(row, "datistemplate");
    database.may_connect = rows.boolean(row, "may_connect");
    database.connection_limit = static_cast<int>(rows.integer(row, "datconnlimit"));
    if (rows.boolean(row, "has_acl")) {
        database.acl.emplace();
    }
    database.comment = rows.optional_text(row, "comment");
    return database;
}

DatabaseInfo* find_by_oid(std::vector<DatabaseInfo>& databases, std::int64_t oid) {
    const auto found =
        std::find_if(databases.begin(), databases.end(), [oid](const DatabaseInfo& database) {
            return database.oid == oid;
        });
    return found == databases.end() ? nullptr : &*found;
}

void add_privileges(
    Connection& connection, std::vector<DatabaseInfo>& databases, const std::stop_token& stop
) {
    const QueryResult rows = connection.query(
        "SELECT d.oid, g.rolname AS grantor, e.rolname AS grantee, a.grantee = 0 AS is_public,"
        " a.privilege_type, a.is_grantable"
        " FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) a"
        " LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantor"
        " LEFT JOIN pg_catalog.pg_roles e ON e.oid = a.grantee"
        " ORDER BY d.oid, a.grantee, a.grantor, a.privilege_type",
        {},
        {.stop = stop}
    );
    for (std::size_t row = 0; row < rows.row_count(); ++row) {
        DatabaseInfo* database = find_by_oid(databases, rows.integer(row, "oid"));
        const bool is_public = rows.boolean(row, "is_public");
        // A grant to or by a role that was dropped behind the catalog's back can't be given again.
        const bool dangling =
            rows.is_null(row, "grantor") || (!is_public && rows.is_null(row, "grantee"));
        if (database == nullptr || !database->acl || dangling) {
            continue;
        }
        database->acl->push_back(
            {.grantor = rows.text(row, "grantor"),
             .grantee = is_public ? std::string{} : rows.text(row, "grantee"),
             .privilege = rows.text(row, "privilege_type"),
             .grantable = rows.boolean(row, "is_grantable")}
        );
    }
}

void add_settings(
    Connection& connection, std::vector<DatabaseInfo>& databases, const std::stop_token& stop
) {
    const QueryResult rows = connection.query(
        "SELECT s.setdatabase AS oid, r.rolname AS role, c.setting"
        " FROM pg_catalog.pg_db_role_setting s CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) "
        "WITH "
        "ORDINALITY c(setting, n)"
        " LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole"
        " WHERE s.setdatabase <> 0 AND (s.setrole = 0 OR r.oid IS NOT NULL)"
        " ORDER BY s.setdatabase, r.rolname NULLS FIRST, c.n",
        {},
        {.stop = stop}
    );
    for (std::size_t row = 0; row < rows.row_count(); ++row) {
        DatabaseInfo* database = find_by_oid(databases, rows.integer(row, "oid"));
        const std::string setting = rows.text(row, "setting");
        const std::size_t equals = setting.find('=');
        if (database == nullptr || equals == std::string::npos) {
            continue;
        }
        database->settings.push_back(
            {.name = setting.substr(0, equals),
             .value = setting.substr(equals + 1),
             .role = rows.text(row, "role")}
        );
    }
}

std::vector<DatabaseInfo> read_databases(
    Connection& connection,
    std::string_view condition,
    const std::vector<std::optional<std::string>>& parameters,
    const std::stop_token& stop
) {
    const QueryResult rows = connection.query(
        database_query(version_traits(connection.server_major()), condition),
        parameters,
        {.stop = stop}
    );
    std::vector<DatabaseInfo> databases;
    for (std::size_t row = 0; row < rows.row_count(); ++row) {
        databases.push_back(read_row(rows, row));
    }
    if (!databases.empty()) {
        add_privileges(connection, databases, stop);
        add_settings(connection, databases, stop);
    }
    return databases;
}

std::vector<RoleInfo> read_roles(Connection& connection, const std::stop_token& stop) {
    const QueryResult rows = connection.query(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolcanlogin"
        " FROM pg_catalog.pg_roles ORDER BY rolname",
        {},
        {.stop = stop}
    );
    std::vector<RoleInfo> roles;
    for (std::size_t row = 0; row < rows.row_count(); ++row) {
        roles.push_back(
            {.name = rows.text(row, "rolname"),
             .superuser = rows.boolean(row, "rolsuper"),
             .bypass_rls = rows.boolean(row, "rolbypassrls"),
             .create_database = rows.boolean(row, "rolcreatedb"),
             .create_role = rows.boolean(row, "rolcreaterole"),
             .can_login = rows.boolean(row, "rolcanlogin")}
        );
    }
    return roles;
}

/// A function that managed services withhold from their users: its answer, or nothing.
std::string ask_if_allowed(Connection& connection, const std::string& sql) {
    std::string answer;
    try {
        const QueryResult rows = connection.execute(sql);
        answer = rows.row_count() == 0 ? std::string{} : rows.text(0, "answer");
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kMissingDatabasePermissions &&
            error.kind() != ErrorKind::kPostgresQuery) {
            throw;
        }
    }
    return answer;
}

Json optional_json(const std::optional<std::string>& text) {
    return text ? Json(*text) : Json(nullptr);
}

std::optional<std::string> optional_member_text(const Json& json, const char* name) {
    const auto found = json.find(name);
    if (found == json.end() || found->is_null()) {
        return std::nullopt;
    }
    return found->get<std::string>();
}

void read_json_lists(const Json& json, DatabaseInfo& database) {
    if (const auto acl = json.find("acl"); acl != json.end() && !acl->is_null()) {
        database.acl.emplace();
        for (const Json& row : *acl) {
            database.acl->push_back(
                {.grantor = row.at("grantor").get<std::string>(),
                 .grantee = row.at("grantee").get<std::string>(),
                 .privilege = row.at("privilege").get<std::string>(),
                 .grantable = row.at("grantable").get<bool>()}
            );
        }
    }
    for (const Json& row : json.at("settings")) {
        database.settings.push_back(
            {.name = row.at("name").get<std::string>(),
             .value = row.at("value").get<std::string>(),
             .role = row.at("role").get<std::string>()}
        );
    }
}

}  // namespace

const VersionTraits& version_traits(int major) {
    for (auto row = kTraits.rbegin(); row != kTraits.rend(); ++row) {
        if (major >= row->major) {
            return *row;
        }
    }
    return kTraits.front();
}

Json to_json(const DatabaseInfo& database) {
    Json acl = nullptr;
    if (database.acl) {
        acl = Json::array();
        for (const GrantedPrivilege& row : *database.acl) {
            acl.push_back(
                {{"grantor", row.grantor},
                 {"grantee", row.grantee},
                 {"privilege", row.privilege},
                 {"grantable", row.grantable}}
            );
        }
    }
    Json settings = Json::array();
    for (const Setting& row : database.settings) {
        settings.push_back({{"name", row.name}, {"value", row.value}, {"role", row.role}});
    }
    return {
        {"name", database.name},
        {"owner", database.owner},
        {"encoding", database.encoding},
        {"localeProvider", database.locale_provider},
        {"collate", database.collate},
        {"ctype", database.ctype},
        {"locale", optional_json(database.locale)},
        {"icuRules", optional_json(database.icu_rules)},
        {"collationVersion", optional_json(database.collation_version)},
        {"tablespace", database.tablespace},
        {"allowsConnections", database.allows_connections},
        {"isTemplate", database.is_template},
        {"connectionLimit", database.connection_limit},
        {"acl", std::move(acl)},
        {"comment", optional_json(database.comment)},
        {"settings", std::move(settings)},
    };
}

DatabaseInfo database_from_json(const Json& json) {
    try {
        DatabaseInfo database;
        database.name = json.at("name").get<std::string>();
        database.owner = json.at("owner").get<std::string>();
        database.encoding = json.at("encoding").get<std::string>();
        database.locale_provider = json.at("localeProvider").get<std::string>();
        database.collate = json.at("collate").get<std::string>();
        database.ctype = json.at("ctype").get<std::string>();
        database.locale = optional_member_text(json, "locale");
        database.icu_rules = optional_member_text(json, "icuRules");
        database.collation_version = optional_member_text(json, "collationVersion");
        database.tablespace = json.at("tablespace").get<std::string>();
        database.allows_connections = json.at("allowsConnections").get<bool>();
        database.is_template = json.at("isTemplate").get<bool>();
        database.connection_limit = json.at("connectionLimit").get<int>();
        database.comment = optional_member_text(json, "comment");
        read_json_lists(json, database);
        return database;
    } catch (const Json::exception& problem) {
        ErrorText text{.message = "The settings of a database in the recovery point are damaged."};
        text.internal = problem.what();
        throw Error{ErrorKind::kVaultCorrupt, std::move(text)};
    }
}

const DatabaseInfo* ServerInfo::find_database(std::string_view name) const {
    const auto found =
        std::find_if(databases.begin(), databases.end(), [name](const DatabaseInfo& database) {
            return database.name == name;
        });
    return found == databases.end() ? nullptr : &*found;
}

std::map<std::uint32_t, std::string> list_tablespaces(
    Connection& connection, std::stop_token stop
) {
    const QueryResult rows = connection.execute(
        "SELECT oid, spcname FROM pg_catalog.pg_tablespace"
        " WHERE spcname NOT IN ('pg_default', 'pg_global')",
        {.stop = std::move(stop)}
    );
    std::map<std::uint32_t, std::string> tablespaces;
    for (std::size_t i = 0; i < rows.row_count(); ++i) {
        tablespaces[static_cast<std::uint32_t>(rows.integer(i, "oid"))] = rows.text(i, "spcname");
    }
    return tablespaces;
}

ServerInfo read_server_info(Connection& connection, std::stop_token stop) {
    ServerInfo server;
    server.version_number = connection.server_version();
    const QueryResult facts = connection.query(
        "SELECT pg_catalog.current_setting('server_version') AS version,"
        " pg_catalog.current_setting('server_encoding') AS encoding,"
        " pg_catalog.pg_is_in_recovery() AS in_recovery, current_user AS me,"
        " pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS may_read_passwords",
        {},
        {.stop = stop}
    );
    server.version = facts.text(0, "version");
    server.version.resize(std::min(server.version.find(' '), server.version.size()));
    server.server_encoding = facts.text(0, "encoding");
    server.in_recovery = facts.boolean(0, "in_recovery");
    server.may_read_passwords = facts.boolean(0, "may_read_passwords");
    server.system_identifier = ask_if_allowed(
        connection, "SELECT system_identifier AS answer FROM pg_catalog.pg_control_system()"
    );
    server.databases = read_databases(connection, "true", {}, stop);
    server.roles = read_roles(connection, stop);
    const std::string me = facts.text(0, "me");
    for (const RoleInfo& role : server.roles) {
        if (role.name == me) {
            server.current_role = role;
        }
    }
    const QueryResult spaces = connection.query(
        "SELECT spcname FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_' ORDER BY spcname",
        {},
        {.stop = stop}
    );
    for (std::size_t row = 0; row < spaces.row_count(); ++row) {
        server.tablespaces.push_back(spaces.text(row, "spcname"));
    }
    return server;
}

std::optional<DatabaseInfo> read_database_info(
    Connection& connection, std::string_view name, std::stop_token stop
) {
    std::vector<DatabaseInfo> databases =
        read_databases(connection, "d.datname = $1", {std::string{name}}, stop);
    return databases.empty() ? std::nullopt : std::optional{std::move(databases.front())};
}

std::vector<ExtensionInfo> read_extensions(Connection& connection) {
    const QueryResult rows = connection.query(
        "SELECT e.extname, e.extversion, n.nspname FROM pg_catalog.pg_extension e"
        " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY e.extname"
    );
    std::vector<ExtensionInfo> extensions;
    for (std::size_t row = 0; row < rows.row_count(); ++row) {
        extensions.push_back(
            {.name = rows.text(row, "extname"),
             .version = rows.text(row, "extversion"),
             .schema = rows.text(row, "nspname")}
        );
    }
    return extensions;
}

Json read_changed_settings(Connection& connection) {
    // What this session or its start packet set is not the server's. Conninfo, passphrases and
    // shell commands may hold secrets.
    const QueryResult rows = connection.query(
        "SELECT name, setting, unit, source FROM pg_catalog.pg_settings"
        " WHERE source NOT IN ('default', 'override', 'client', 'session', 'database', 'user', "
        "'database user')"
        " AND name !~ '(conninfo|passphrase|_command|_library|password_)' ORDER BY name"
    );
    Json settings = Json::object();
    for (std::size_t row = 0; row < rows.row_count(); ++row) {
        Json entry{{"value", rows.text(row, "setting")}, {"source", rows.text(row, "source")}};
        if (!rows.is_null(row, "unit")) {
            entry["unit"] = rows.text(row, "unit");
        }
        settings[rows.text(row, "name")] = std::move(entry);
    }
    return settings;
}

std::string read_wal_position(Connection& connection) {
    return ask_if_allowed(
        connection,
        "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()"
        " ELSE pg_catalog.pg_current_wal_lsn() END AS answer"
    );
}

std::uint64_t parse_memory_size(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view unit{end, static_cast<std::size_t>(text.data() + text.size() - end)};
    for (const auto& [name, factor] :
         {std::pair<std::string_view, std::uint64_t>{"B", 1},
          {"kB", kKiB},
          {"MB", kMiB},
          {"GB", kGiB},
          {"TB", 1024 * kGiB}}) {
        if (error == std::errc{} && unit == name) {
            return number * factor;
        }
    }
    throw Error{
        ErrorKind::kPostgresQuery, fmt::format("The server answered \"{}\" for a size.", text)
    };
}

}  // namespace holdfast::postgres
