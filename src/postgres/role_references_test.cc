#include "postgres/role_references.h"

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

using Names = std::set<std::string>;

TEST(RoleReferences, ReadsWhatPgDumpWrites) {
    EXPECT_EQ(roles_named_in("GRANT SELECT ON TABLE app.t TO bob;\n"), Names{"bob"});
    EXPECT_EQ(roles_named_in("GRANT ALL ON SCHEMA \"to\" TO PUBLIC;"), Names{});
    EXPECT_EQ(
        roles_named_in("REVOKE ALL ON TABLE t FROM \"Odd \"\"Role\"; GRANT SELECT(a) ON TABLE t TO "
                       "alice WITH GRANT OPTION;"),
        (Names{"Odd \"Role", "alice"})
    );
    EXPECT_EQ(
        roles_named_in("ALTER DEFAULT PRIVILEGES FOR ROLE owner_x IN SCHEMA s GRANT SELECT ON "
                       "TABLES  TO reader;"),
        (Names{"owner_x", "reader"})
    );
    EXPECT_EQ(
        roles_named_in("SET SESSION AUTHORIZATION carol;\nGRANT USAGE ON SCHEMA s TO dave;\nRESET "
                       "SESSION AUTHORIZATION;"),
        (Names{"carol", "dave"})
    );
    EXPECT_EQ(
        roles_named_in("CREATE POLICY p ON s.t FOR SELECT TO bob, alice USING ((a = ( SELECT x "
                       "FROM to_not_a_role)));"),
        (Names{"alice", "bob"})
    );
    EXPECT_EQ(
        roles_named_in("CREATE POLICY mine ON public.t USING ((owner = CURRENT_USER));"), Names{}
    );
    EXPECT_EQ(
        roles_named_in(
            "CREATE USER MAPPING FOR eve SERVER s OPTIONS (\n    \"user\" 'to mallory'\n);"
        ),
        Names{"eve"}
    );
}

}  // namespace
}  // namespace holdfast::postgres
