#include "vault/detail/chunker.h"

#include "vault/testing/vault_testing.h"

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

using testing::pseudo_random_bytes;
using testing::text_like_bytes;

GearTable gear(std::byte key) {
    return make_gear_table(Secret{ByteSpan{Bytes(32, key)}});
}

std::vector<std::size_t> cut(const GearTable& table, ByteSpan data, std::size_t piece) {
    Chunker chunker{table, {}};
    std::vector<std::size_t> lengths;
    std::size_t length = 0;
    for (std::size_t at = 0; at < data.size(); at += piece) {
        ByteSpan next = data.subspan(at, std::min(piece, data.size() - at));
        while (const auto end = chunker.find_end(next)) {
            lengths.push_back(length + *end);
            length = 0;
            next = next.subspan(*end);
        }
        length += next.size();
    }
    lengths.push_back(length);
    return lengths;
}

TEST(Chunker, CutsDoNotDependOnThePieces) {
    const GearTable table = gear(std::byte{1});
    const Bytes data = pseudo_random_bytes(12 * kMiB, 1);
    const auto whole = cut(table, data, data.size());
    EXPECT_GT(whole.size(), 4U);
    for (const std::size_t piece : {4096U, 65'536U, 100'003U, 262'144U, 5'000'000U}) {
        EXPECT_EQ(cut(table, data, piece), whole) << piece;
    }
}

TEST(Chunker, LengthsStayWithinTheirBounds) {
    const ChunkerParameters parameters;
    for (const Bytes& data :
         {pseudo_random_bytes(24 * kMiB, 2), text_like_bytes(24 * kMiB, 3), Bytes(24 * kMiB)}) {
        const auto lengths = cut(gear(std::byte{2}), data, kMiB);
        std::size_t sum = 0;
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            EXPECT_LE(lengths[i], parameters.bytes_max);
            EXPECT_TRUE(i + 1 == lengths.size() || lengths[i] >= parameters.bytes_min);
            sum += lengths[i];
        }
        EXPECT_EQ(sum, data.size());
    }
}

TEST(Chunker, TheKeyChoosesTheCuts) {
    const Bytes data = pseudo_random_bytes(12 * kMiB, 4);
    EXPECT_NE(cut(gear(std::byte{1}), data, kMiB), cut(gear(std::byte{2}), data, kMiB));
}

// Two repositories' gear tables must differ; one repository's must never change: its dedup domain
// hangs on it.
TEST(Chunker, GearTableIsFixed) {
    const GearTable table = gear(std::byte{0});
    EXPECT_EQ(table[0], 0xc0b824291fb32066U);
    EXPECT_EQ(table[255], 0x4c23219575f88549U);
}

}  // namespace
}  // namespace holdfast::vault
