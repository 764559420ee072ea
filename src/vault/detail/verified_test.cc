#include "vault/detail/verified.h"

#include "vault/detail/condemned.h"
#include "vault/detail/format.pb.h"

#include <limits>

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

std::optional<VerifiedPacks> parse(std::int64_t seconds) {
    format::Verified message;
    message.set_packs(join_pack_names({Sha256{}}));
    message.add_seconds(seconds);
    const std::string bytes = message.SerializeAsString();
    return parse_verified(as_bytes(bytes));
}

/// Found by the fuzzer: seconds that no clock of microseconds can hold.
TEST(VerifiedTest, TakesOnlyTimesThatThereAre) {
    const auto now = parse(1'770'000'000);
    ASSERT_TRUE(now);
    EXPECT_EQ(now->at(Sha256{}), Instant{std::chrono::seconds{1'770'000'000}});
    EXPECT_TRUE(parse(0));
    for (const std::int64_t seconds :
         {std::int64_t{-1},
          std::int64_t{9'300'000'000'000},
          std::numeric_limits<std::int64_t>::max(),
          std::numeric_limits<std::int64_t>::min()}) {
        EXPECT_FALSE(parse(seconds)) << seconds;
    }
}

}  // namespace
}  // namespace holdfast::vault
