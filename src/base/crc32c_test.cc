#include "base/crc32c.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

// RFC 3720, B.4, and the check value of the CRC catalogue.
TEST(Crc32c, KnownAnswers) {
    EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283U);
    EXPECT_EQ(crc32c(as_bytes(std::string(32, '\0'))), 0x8a9136aaU);
    EXPECT_EQ(crc32c(as_bytes(std::string(32, '\xff'))), 0x62a8ab43U);
    EXPECT_EQ(crc32c({}), 0U);
}

TEST(Crc32c, GoesOnWhereItStopped) {
    std::string text;
    for (int i = 0; i < 1000; ++i) {
        text += static_cast<char>(i * 7);
    }
    for (const std::size_t cut : {0U, 1U, 8U, 501U, 1000U}) {
        const auto first = crc32c(as_bytes(std::string_view{text}.substr(0, cut)));
        EXPECT_EQ(
            crc32c(as_bytes(std::string_view{text}.substr(cut)), first), crc32c(as_bytes(text))
        );
    }
}

TEST(Crc32c, LongRunsAreWhatTheirBytesGive) {
    Bytes bytes(40000);
    fill_random(bytes);
    std::uint32_t one_by_one = 5;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        one_by_one = crc32c(ByteSpan{bytes}.subspan(i, 1), one_by_one);
    }
    EXPECT_EQ(crc32c(bytes, 5), one_by_one);
    const std::uint32_t first = crc32c(ByteSpan{bytes}.first(12289), 5);
    EXPECT_EQ(crc32c(ByteSpan{bytes}.subspan(12289), first), one_by_one);
}

}  // namespace
}  // namespace holdfast
