#include "postgres/amcheck_output.h"

#include <string>

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

constexpr std::string_view kSaid =
    "heap table \"shop.public.orders\", block 3, offset 7, attribute 2:\n"
    "    attribute with length 4294967295 ends at offset 4294967331 beyond total tuple length 64\n"
    "btree index \"shop.public.orders_pkey\":\n"
    "    ERROR:  item order invariant violated for index \"orders_pkey\"\n"
    "    DETAIL:  Lower index tid=(1,2) (points to heap tid=(0,1)).\n"
    "btree index \"shop.public.places_idx\":\n"
    "    ERROR:  could not access file \"$libdir/postgis-3\": No such file or directory\n";

TEST(AmcheckOutputTest, ReadsItemsHoweverTheyArrive) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{7}, kSaid.size()}) {
        AmcheckOutput output{10};
        for (std::size_t at = 0; at < kSaid.size(); at += step) {
            output.append(kSaid.substr(at, step));
        }
        output.finish();
        ASSERT_EQ(output.damages().size(), 2U);
        EXPECT_EQ(
            output.damages()[0].what,
            "heap table \"shop.public.orders\", block 3, offset 7, attribute 2"
        );
        EXPECT_EQ(output.damages()[1].what, "btree index \"shop.public.orders_pkey\"");
        EXPECT_EQ(
            output.damages()[1].message,
            "ERROR:  item order invariant violated for index \"orders_pkey\"; DETAIL:  Lower index "
            "tid=(1,2) (points to heap tid=(0,1))."
        );
        ASSERT_EQ(output.not_checked().size(), 1U);
        EXPECT_EQ(output.not_checked()[0].what, "btree index \"shop.public.places_idx\"");
    }
}

TEST(AmcheckOutputTest, CountsWhatItDoesNotKeep) {
    AmcheckOutput output{2};
    for (int i = 0; i < 5; ++i) {
        output.append("heap table \"a.b.c\", block 1, offset 1:\n    xmin 5 precedes relfrozenxid\n");
    }
    output.finish();
    EXPECT_EQ(output.damage_count(), 5U);
    EXPECT_EQ(output.damages().size(), 2U);
}

TEST(AmcheckOutputTest, IsBoundedWhateverComes) {
    AmcheckOutput output{2};
    output.append(std::string(1 << 20, 'x'));
    for (int i = 0; i < 1000; ++i) {
        output.append("\n    " + std::string(5000, 'y'));
    }
    output.finish();
    ASSERT_EQ(output.damage_count(), 1U);
    EXPECT_LE(output.damages()[0].what.size(), 4096U);
    EXPECT_LE(output.damages()[0].message.size(), 8192U);
}

TEST(AmcheckOutputTest, NothingSaidIsNothingFound) {
    AmcheckOutput output{2};
    output.append("");
    output.append("\n\n");
    output.finish();
    EXPECT_EQ(output.damage_count() + output.not_checked_count(), 0U);
}

}  // namespace
}  // namespace holdfast::postgres
