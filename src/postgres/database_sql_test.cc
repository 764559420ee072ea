#include "postgres/database_sql.h"

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

DatabaseInfo sample() {
    DatabaseInfo database;
    database.name = "db";
    database.owner = "Owner";
    database.encoding = "UTF8";
    database.collate = "en_US.UTF-8";
    database.ctype = "C";
    database.tablespace = "fast";
    return database;
}

TEST(DatabaseSql, CreatesWithTheLocaleOfEachMajor) {
    DatabaseInfo database = sample();
    EXPECT_EQ(
        create_database_sql(database, {"new \"db\"", 14}, Tablespaces::kRestore),
        "CREATE DATABASE \"new \"\"db\"\"\" TEMPLATE = template0 ENCODING = 'UTF8' LC_COLLATE = "
        "'en_US.UTF-8' LC_CTYPE = 'C' "
        "TABLESPACE = \"fast\""
    );
    EXPECT_EQ(
        create_database_sql(database, {"db", 15}, Tablespaces::kSkip),
        "CREATE DATABASE \"db\" TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc "
        "LC_COLLATE = "
        "'en_US.UTF-8' LC_CTYPE = 'C'"
    );
    database.locale_provider = "icu";
    database.locale = "de-DE";
    database.icu_rules = "&a < b";
    EXPECT_NE(
        create_database_sql(database, {"db", 16}, Tablespaces::kSkip)
            .find("LOCALE_PROVIDER = icu ICU_LOCALE = 'de-DE' ICU_RULES = '&a < b'"),
        std::string::npos
    );
    database.locale_provider = "builtin";
    database.locale = "C.UTF-8";
    database.icu_rules.reset();
    EXPECT_NE(
        create_database_sql(database, {"db", 17}, Tablespaces::kSkip)
            .find("LOCALE_PROVIDER = builtin BUILTIN_LOCALE = 'C.UTF-8'"),
        std::string::npos
    );
}

TEST(DatabaseSql, SettingsKeepListsApart) {
    DatabaseInfo database = sample();
    database.settings = {
        {.name = "search_path", .value = "\"$user\", public, \"a,\"\"b\"", .role = {}},
        {.name = "work_mem", .value = "7MB", .role = "bob"},
        {.name = "my.setting", .value = "it's", .role = {}},
        {.name = "search_path", .value = "\"\"", .role = {}},
    };
    database.comment = "what's \\ this";
    database.connection_limit = 5;
    const std::vector<std::string> expected{
        "ALTER DATABASE \"x\" SET \"search_path\" TO '$user', 'public', 'a,\"b'",
        "ALTER ROLE \"bob\" IN DATABASE \"x\" SET \"work_mem\" TO '7MB'",
        "ALTER DATABASE \"x\" SET \"my\".\"setting\" TO 'it''s'",
        "ALTER DATABASE \"x\" SET \"search_path\" TO ''",
        "COMMENT ON DATABASE \"x\" IS E'what''s \\\\ this'",
        "ALTER DATABASE \"x\" WITH CONNECTION LIMIT 5",
    };
    EXPECT_EQ(database_settings_sql(database, "x"), expected);
}

TEST(DatabaseSql, GrantsInTheOrderOfTheirOptions) {
    DatabaseInfo database = sample();
    database.acl = {
        {.grantor = "bob", .grantee = "carol", .privilege = "CONNECT"},
        {.grantor = "Owner", .grantee = "bob", .privilege = "CONNECT", .grantable = true},
        {.grantor = "Owner", .grantee = "", .privilege = "TEMPORARY"},
    };
    const std::vector<std::string> expected{
        "ALTER DATABASE \"x\" OWNER TO \"Owner\"",
        "REVOKE ALL ON DATABASE \"x\" FROM PUBLIC, \"Owner\"",
        "GRANT CONNECT ON DATABASE \"x\" TO \"bob\" WITH GRANT OPTION",
        "GRANT TEMPORARY ON DATABASE \"x\" TO PUBLIC",
        "SET ROLE \"bob\"",
        "GRANT CONNECT ON DATABASE \"x\" TO \"carol\"",
        "RESET ROLE",
    };
    EXPECT_EQ(database_ownership_sql(database, "x"), expected);
    EXPECT_EQ(database_roles(database), (std::vector<std::string>{"Owner", "bob", "carol"}));
    database.acl.reset();
    EXPECT_EQ(database_ownership_sql(database, "x").size(), 1U);
}

}  // namespace
}  // namespace holdfast::postgres
