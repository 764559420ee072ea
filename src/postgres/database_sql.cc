#include "postgres/database_sql.h"

#include "base/text.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

/// GUC_LIST_QUOTE in src/backend/utils/misc/guc_tables.c: their stored value is a list of
/// identifiers, quoted where needed, and SET must be given the elements one by one.
constexpr std::array<std::string_view, 6> kQuotedListSettings{
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories"
};

bool is_quoted_list(std::string_view name) {
    return std::any_of(
        kQuotedListSettings.begin(),
        kQuotedListSettings.end(),
        [name](std::string_view listed) { return equal_ignoring_case(listed, name); }
    );
}

/// `"$user", public` -> `$user`, `public`
std::vector<std::string> split_identifiers(std::string_view value) {
    std::vector<std::string> parts;
    std::string part;
    bool quoted = false;
    bool any = false;
    for (std::size_t i = 0; i < value.size(); ++i) {
        const char c = value[i];
        if (c == '"') {
            any = true;
            if (quoted && i + 1 < value.size() && value[i + 1] == '"') {
                part.push_back('"');
                ++i;
            } else {
                quoted = !quoted;
            }
        } else if (c == ',' && !quoted) {
            parts.push_back(std::exchange(part, {}));
            any = false;
        } else if (quoted || c != ' ') {
            part.push_back(c);
        }
    }
    if (!part.empty() || any || !parts.empty()) {
        parts.push_back(part);
    }
    return parts;
}

std::string setting_value(const Setting& setting) {
    if (!is_quoted_list(setting.name)) {
        return quote_literal(setting.value);
    }
    std::vector<std::string> literals;
    for (const std::string& part : split_identifiers(setting.value)) {
        literals.push_back(quote_literal(part));
    }
    return literals.empty() ? "''" : join(literals, ", ");
}

/// `name` or `extension.name`; each part quoted, as custom settings may hold anything.
std::string setting_name(std::string_view name) {
    std::vector<std::string> parts;
    for (const std::string& part : split(name, '.')) {
        parts.push_back(quote_identifier(part));
    }
    return join(parts, ".");
}

std::string locale_clause(const DatabaseInfo& database, int server_major) {
    if (!version_traits(server_major).has_locale_provider) {
        return {};
    }
    std::string clause = " LOCALE_PROVIDER = " + database.locale_provider;
    if (database.locale && database.locale_provider == "icu") {
        clause += " ICU_LOCALE = " + quote_literal(*database.locale);
    }
    if (database.locale && database.locale_provider == "builtin") {
        clause += " BUILTIN_LOCALE = " + quote_literal(*database.locale);
    }
    if (database.icu_rules && version_traits(server_major).has_icu_rules) {
        clause += " ICU_RULES = " + quote_literal(*database.icu_rules);
    }
    return clause;
}

}  // namespace

std::string create_database_sql(
    const DatabaseInfo& database, const DatabaseSqlTarget& target, Tablespaces tablespaces
) {
    std::string sql = fmt::format(
        "CREATE DATABASE {} TEMPLATE = template0 ENCODING = {}{} LC_COLLATE = {} LC_CTYPE = {}",
        quote_identifier(target.name),
        quote_literal(database.encoding),
        locale_clause(database, target.server_major),
        quote_literal(database.collate),
        quote_literal(database.ctype)
    );
    const bool own_tablespace = !database.tablespace.empty() && database.tablespace != "pg_default";
    if (own_tablespace && tablespaces == Tablespaces::kRestore) {
        sql += " TABLESPACE = " + quote_identifier(database.tablespace);
    }
    return sql;
}

std::vector<std::string> database_settings_sql(
    const DatabaseInfo& database, const std::string& target_name
) {
    const std::string name = quote_identifier(target_name);
    std::vector<std::string> statements;
    for (const Setting& setting : database.settings) {
        const std::string whose =
            setting.role.empty()
                ? fmt::format("DATABASE {}", name)
                : fmt::format("ROLE {} IN DATABASE {}", quote_identifier(setting.role), name);
        statements.push_back(fmt::format(
            "ALTER {} SET {} TO {}", whose, setting_name(setting.name), setting_value(setting)
        ));
    }
    if (database.comment) {
        statements.push_back(
            fmt::format("COMMENT ON DATABASE {} IS {}", name, quote_literal(*database.comment))
        );
    }
    statements.push_back(
        fmt::format("ALTER DATABASE {} WITH CONNECTION LIMIT {}", name, database.connection_limit)
    );
    return statements;
}

std::vector<std::string> database_ownership_sql(
    const DatabaseInfo& database, const std::string& target_name
) {
    const std::string name = quote_identifier(target_name);
    const std::string owner = quote_identifier(database.owner);
    std::vector<std::string> statements{fmt::format("ALTER DATABASE {} OWNER TO {}", name, owner)};
    if (!database.acl) {
        return statements;
    }
    statements.push_back(fmt::format("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}", name, owner));
    const auto grant = [&](const GrantedPrivilege& row) {
        statements.push_back(fmt::format(
            "GRANT {} ON DATABASE {} TO {}{}",
            row.privilege,
            name,
            row.grantee.empty() ? "PUBLIC" : quote_identifier(row.grantee),
            row.grantable ? " WITH GRANT OPTION" : ""
        ));
    };
    // What somebody else granted needs the grant option that the owner gave before.
    for (const GrantedPrivilege& row : *database.acl) {
        if (row.grantor == database.owner) {
            grant(row);
        }
    }
    for (const GrantedPrivilege& row : *database.acl) {
        if (row.grantor != database.owner) {
            statements.push_back("SET ROLE " + quote_identifier(row.grantor));
            grant(row);
            statements.push_back("RESET ROLE");
        }
    }
    return statements;
}

std::vector<std::string> database_roles(const DatabaseInfo& database) {
    std::set<std::string> roles{database.owner};
    for (const Setting& setting : database.settings) {
        roles.insert(setting.role);
    }
    if (database.acl) {
        for (const GrantedPrivilege& row : *database.acl) {
            roles.insert(row.grantor);
            roles.insert(row.grantee);
        }
    }
    roles.erase("");
    return {roles.begin(), roles.end()};
}

}  // namespace holdfast::postgres
