#include "postgres/cluster_check.h"

#include "base/text.h"
#include "postgres/scratch_fixture.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::PostgresServer;
using ::testing::Contains;
using ::testing::HasSubstr;

class ClusterCheckTest : public ScratchTest {
protected:
    static void fill(PostgresServer& source) {
        source.sql(
            "postgres",
            "CREATE TABLE big AS SELECT g AS id, repeat(md5(g::text), 4) AS text FROM "
            "generate_series(1, 5000) g; CREATE INDEX big_id ON big (id); CREATE TABLE small AS "
            "SELECT 1 AS one; CREATE TABLE parts (k int) PARTITION BY RANGE (k); CREATE TABLE "
            "parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10); INSERT INTO parts VALUES "
            "(1), (2), (3)"
        );
        source.sql("postgres", "CREATE DATABASE shop");
        source.sql("shop", "CREATE TABLE orders AS SELECT g FROM generate_series(1, 700) g");
    }

    /// The first file of a table in the restored directory.
    static std::fstream file_of(
        const PostgresServer& source, const ScratchDirectory& directory, const std::string& table
    ) {
        const std::string path = std::string{
            trim(source.sql("postgres", fmt::format("SELECT pg_relation_filepath('{}')", table)))
        };
        std::fstream file{
            directory.data() / path, std::ios::in | std::ios::out | std::ios::binary
        };
        EXPECT_TRUE(file.good());
        return file;
    }
    static void overwrite(std::fstream& file, std::streamoff at, std::string_view bytes) {
        file.seekp(at);
        file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        file.flush();
        EXPECT_TRUE(file.good());
    }
    /// Where the first row of the page lies in its file: a line pointer's lower 15 bits.
    static std::streamoff first_row(std::fstream& file, std::streamoff page) {
        constexpr std::streamoff kPageHeaderBytes = 24;
        std::array<char, 4> pointer{};
        file.seekg(page + kPageHeaderBytes);
        file.read(pointer.data(), pointer.size());
        const auto bits = get_little_endian<std::uint32_t>(as_bytes({pointer.data(), 4}).data());
        return page + static_cast<std::streamoff>(bits & 0x7fff);
    }

    [[nodiscard]] static std::string words(const ClusterCheck& check) {
        std::string all;
        for (const Damage& damage : check.damages) {
            all += damage.what + ": " + damage.message + "\n";
        }
        return all;
    }
};

TEST_F(ClusterCheckTest, ASoundClusterPassesAndItsRowsAreCounted) {
    PostgresServer source{source_options({{"max_prepared_transactions", "5"}})};
    fill(source);
    source.sql(
        "postgres", "BEGIN; LOCK TABLE small; INSERT INTO small VALUES (2); PREPARE TRANSACTION 'p'"
    );
    const auto directory = restore(source);
    const auto server = start(*directory);
    std::vector<std::string> steps;
    ClusterCheckOptions options;
    options.heap_all_indexed = HeapAllIndexed::kYes;
    options.progress = [&](std::string_view step, std::uint64_t, std::uint64_t) {
        if (steps.empty() || steps.back() != step) {
            steps.emplace_back(step);
        }
    };
    const ClusterCheck check = check_cluster(*server, options);

    EXPECT_TRUE(check.passed()) << words(check);
    EXPECT_THAT(check.warnings, ::testing::IsEmpty());
    EXPECT_EQ(check.databases_checked, 3U);  // postgres, shop, template1
    EXPECT_GT(check.pages_checked.value_or(0), 1000U);
    EXPECT_EQ(check.table_count, 4U);
    EXPECT_EQ(check.tables_counted, 4U);
    EXPECT_EQ(check.rows_counted, 5000U + 1 + 3 + 700);
    ASSERT_EQ(check.counts.size(), 4U);
    EXPECT_EQ(check.counts[0].table, "big");
    EXPECT_EQ(check.counts[0].rows, 5000U);
    EXPECT_EQ(check.counts[1].database, "shop");
    EXPECT_EQ(steps, (std::vector<std::string>{"amcheck", "count", "pages"}));

    const Json json = to_json(check);
    EXPECT_EQ(json["passed"], true);
    EXPECT_EQ(json["rowsCounted"], 5704);
}

TEST_F(ClusterCheckTest, APageThatLostItsChecksumIsFoundByBoth) {
    PostgresServer source{source_options()};
    fill(source);
    const auto directory = restore(source);
    std::fstream file = file_of(source, *directory, "big");
    overwrite(file, 3 * 8192 + 4000, "spoiled");
    const auto server = start(*directory);
    const ClusterCheck check = check_cluster(*server, {});

    EXPECT_FALSE(check.passed());
    EXPECT_EQ(check.page_failures, 1U);
    EXPECT_THAT(words(check), HasSubstr("invalid page in block 3"));
    EXPECT_THAT(words(check), HasSubstr("checksum verification failed"));
    EXPECT_EQ(check.tables_counted, 4U);  // The others were counted all the same.
}

TEST_F(ClusterCheckTest, DamageThatChecksumsCannotSeeIsFoundByAmcheck) {
    PostgresServer source{source_options()};
    fill(source);
    const auto directory = restore(source);
    auto server = start(*directory);
    server->stop();
    const RunResult disabled =
        server->run_program("pg_checksums", {"--disable", "-D", "/cluster/data"});
    ASSERT_TRUE(disabled.status.ok()) << disabled.error;
    server.reset();
    // A row of the second page claims to have 2047 columns (t_infomask2).
    std::fstream file = file_of(source, *directory, "big");
    overwrite(file, first_row(file, 8192) + 18, "\xff\x07");
    const auto again = start(*directory);
    const ClusterCheck check = check_cluster(*again, {});

    EXPECT_FALSE(check.passed());
    EXPECT_THAT(words(check), HasSubstr("heap table \"postgres.public.big\", block 1"));
    EXPECT_FALSE(check.pages_checked.has_value());
    EXPECT_THAT(check.warnings, Contains(HasSubstr("no data checksums")));
}

TEST_F(ClusterCheckTest, TheTimeForCountingIsKept) {
    PostgresServer source{source_options()};
    fill(source);
    const auto directory = restore(source);
    const auto server = start(*directory);
    ClusterCheckOptions options;
    options.count_time = std::chrono::seconds{0};
    options.page_checksums = PageChecksums::kNo;
    const ClusterCheck check = check_cluster(*server, options);
    EXPECT_TRUE(check.passed());
    EXPECT_EQ(check.tables_counted, 0U);
    EXPECT_EQ(check.table_count, 4U);
    EXPECT_THAT(check.warnings, Contains(HasSubstr("0 of 4 tables")));
}

}  // namespace
}  // namespace holdfast::postgres
