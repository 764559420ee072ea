#include "postgres/scratch_restore.h"

#include "base/text.h"
#include "postgres/scratch_fixture.h"

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

using testing::PostgresServer;

class ScratchRestoreTest : public ScratchTest {
protected:
    [[nodiscard]] static std::string settings_of(
        const PostgresServer& server, const std::string& database
    ) {
        return server.sql(
            "postgres",
            fmt::format(
                "SELECT coalesce(r.rolname, '(all)'), s.setconfig FROM pg_db_role_setting s JOIN "
                "pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole "
                "WHERE d.datname = {} ORDER BY 1",
                quote_literal(database)
            )
        );
    }
};

TEST_F(ScratchRestoreTest, ADatabaseAndATableComeOutAsTheyWere) {
    PostgresServer source{source_options()};
    source.sql(
        "postgres",
        "CREATE ROLE sample_owner; CREATE ROLE \"Sample Reader\"; CREATE ROLE sample_login LOGIN"
    );
    source.sql("postgres", "CREATE DATABASE shop TEMPLATE template0");
    source.sql("shop", rich_schema_sql());
    source.sql(
        "shop",
        "CREATE TABLE public.huge AS SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g"
    );
    source.sql(
        "postgres",
        "ALTER DATABASE shop SET work_mem TO '9MB'; ALTER DATABASE shop SET search_path TO app; "
        "ALTER ROLE sample_login IN DATABASE shop SET work_mem TO '7MB'"
    );
    const std::string expected = fingerprint(source, "shop");
    const std::string expected_settings = settings_of(source, "shop");
    const auto directory = restore(source);
    const auto server = start(*directory);

    PostgresServer target{source_options()};
    target.sql(
        "postgres",
        "CREATE ROLE sample_owner; CREATE ROLE \"Sample Reader\"; CREATE ROLE sample_login LOGIN"
    );
    RestoreOptions whole;
    whole.source_database = "shop";
    whole.target_database = "shop again";
    std::vector<std::string> steps;
    whole.progress = [&](const RestoreProgress& progress) {
        if (steps.empty() || steps.back() != progress.step) {
            steps.push_back(progress.step);
        }
    };
    const LogicalRestore restored =
        restore_from_scratch(superuser(target), *server, tools_, whole);
    EXPECT_TRUE(restored.database_created);
    EXPECT_EQ(steps.front(), "dump");
    EXPECT_EQ(first_difference(expected, fingerprint(target, "shop again")), "");
    EXPECT_EQ(settings_of(target, "shop again"), expected_settings);
}

TEST_F(ScratchRestoreTest, OneTableComesWithoutTheRowsOfLargeOthers) {
    PostgresServer source{source_options()};
    source.sql("postgres", "CREATE DATABASE shop TEMPLATE template0");
    source.sql(
        "shop",
        "CREATE TABLE huge AS SELECT g, repeat('x', 200) AS pad FROM generate_series(1, 20000) g; "
        "CREATE TABLE wanted (k int PRIMARY KEY, t text) PARTITION BY RANGE (k); CREATE TABLE "
        "wanted_1 PARTITION OF wanted FOR VALUES FROM (0) TO (20000); INSERT INTO wanted SELECT g, "
        "repeat(md5(g::text), 4) FROM generate_series(1, 12000) g"
    );
    const std::string digest =
        "SELECT count(*), md5(string_agg(k || t, ',' ORDER BY k)) FROM wanted";
    const auto directory = restore(source);
    const auto server = start(*directory);

    PostgresServer target{source_options()};
    target.sql("postgres", "CREATE DATABASE other");
    RestoreOptions one;
    one.source_database = "shop";
    one.target_database = "other";
    one.items = {{.schema = "public", .table = "wanted"}};
    std::uint64_t dumped = 0;
    one.progress = [&](const RestoreProgress& progress) {
        if (progress.step == "dump") {
            dumped = std::max(dumped, progress.bytes_done);
        }
    };
    static_cast<void>(restore_from_scratch(superuser(target), *server, tools_, one));
    EXPECT_EQ(target.sql("other", digest), source.sql("shop", digest));
    EXPECT_EQ(trim(target.sql("other", "SELECT to_regclass('huge') IS NULL")), "t");
    EXPECT_LT(dumped, 3'000'000U);  // huge alone is 4 MB.

    // What is not there is said before anything is changed.
    RestoreOptions none = one;
    none.source_database = "nowhere";
    const Error error = error_of([&] {
        static_cast<void>(restore_from_scratch(superuser(target), *server, tools_, none));
    });
    EXPECT_EQ(error.kind(), ErrorKind::kDatabaseNotFound);
}

}  // namespace
}  // namespace holdfast::postgres
