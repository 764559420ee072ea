#include "vault/detail/pack.h"

#include "base/error.h"
#include "vault/detail/blob_writer.h"
#include "vault/testing/vault_testing.h"

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

using testing::kind_thrown;
using testing::pseudo_random_bytes;
using testing::text_like_bytes;

/// The keys of the worked example in docs/format.md: every byte of the repository secret is 1, of
/// the data root 2.
KeyRing example_keys() {
    std::array<std::byte, 16> id{};
    id.fill(std::byte{0xaa});
    std::vector<KeyRing::Epoch> epochs;
    epochs.push_back({.number = 1, .data_root = Secret{ByteSpan{Bytes(32, std::byte{2})}}});
    return KeyRing{
        RepositoryId{id},
        Secret{ByteSpan{Bytes(32, std::byte{1})}},
        std::move(epochs),
        Secret{ByteSpan{Bytes(32, std::byte{3})}}
    };
}

Salt example_salt() {
    Salt salt{};
    salt.fill(std::byte{0xbb});
    return salt;
}

ObjectKey any_key() {
    return pack_key(Sha256{});
}

RangeReader reader_of(const Bytes& object) {
    return [&object](std::uint64_t offset, std::uint64_t size) {
        const auto begin = object.begin() + static_cast<std::ptrdiff_t>(offset);
        return Bytes(begin, begin + static_cast<std::ptrdiff_t>(size));
    };
}

void add(PackBuilder& pack, const KeyRing& keys, BlobType type, const Bytes& plain) {
    Aead aead;
    BlobIds ids{keys};
    const auto place =
        pack.reserve(type, Codec::kStored, ids(type, plain), plain.size(), plain.size());
    ASSERT_TRUE(place.has_value());
    pack.seal(aead, *place, plain);
}

Bytes finish(PackBuilder& pack) {
    Aead aead;
    const ByteSpan bytes = pack.finish(aead);
    return {bytes.begin(), bytes.end()};
}

// The worked example of docs/format.md. A change of a byte is a change of the format.
TEST(Pack, WorkedExample) {
    const KeyRing keys = example_keys();
    PackBuilder pack{keys, example_salt(), kMiB};
    add(pack, keys, BlobType::kDataChunk, to_bytes("hello\n"));
    const Bytes bytes = finish(pack);
    EXPECT_EQ(
        to_hex(bytes),
        "484f4c44464153540100010001000000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb"
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb00000000010000001600000006000000"
        "f3cb8d3f43a8b8d0609eb3fe5f11c65f2ebedc14113cb024d35ab667f85a05b027bdb6f0d6b67900"
        "53b5eb28c3603f2d08cfe260c817ffffffff00000000400000003000000000000000000000000000"
        "00000000000000000000000000000000000000000000de47624bb1ab3130055156fac4fc61193ec2"
        "f8e3a845ce8e2e3695f2151c07d2fbe1ace594c2f926b572a7d032a7e6e3931222b27aa1b1d8c610"
        "75023d554a108600000000000000700000000100000000000000000000004846545241494c31"
    );
}

TEST(Pack, FooterTellsWhatIsIn) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    PackBuilder pack{keys, random_array<32>(), kMiB};
    for (unsigned i = 0; i < 400; ++i) {
        add(pack, keys, BlobType::kTreeNode, pseudo_random_bytes(i, i));
    }
    const Bytes bytes = finish(pack);
    const PackContents contents =
        read_pack_contents(keys, any_key(), bytes.size(), reader_of(bytes));
    EXPECT_EQ(contents.entries, pack.entries());
}

TEST(Pack, IsFullAtItsCapacity) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    PackBuilder pack{keys, random_array<32>(), 64 * kKiB};
    const ChunkId id{};
    std::size_t blobs = 0;
    while (pack.reserve(BlobType::kDataChunk, Codec::kStored, id, 1000, 1000)) {
        ++blobs;
    }
    EXPECT_GT(blobs, 50U);
    EXPECT_LE(finish(pack).size(), 64 * kKiB);
    // A blob that is larger than the capacity gets a pack of its own.
    pack.start_over(keys, random_array<32>());
    EXPECT_TRUE(pack.reserve(BlobType::kDataChunk, Codec::kStored, id, 4 * kMiB, 4 * kMiB));
    EXPECT_FALSE(pack.reserve(BlobType::kDataChunk, Codec::kStored, id, 1, 1));
}

TEST(Pack, DamagedClosingsAreRefused) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    PackBuilder pack{keys, random_array<32>(), kMiB};
    add(pack, keys, BlobType::kDataChunk, pseudo_random_bytes(100, 1));
    add(pack, keys, BlobType::kDataChunk, pseudo_random_bytes(100, 2));
    const Bytes bytes = finish(pack);
    const std::size_t closing = FrameHeader::kBytes + 2 * 48 + kTagBytes + Trailer::kBytes;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        if (at >= ObjectHeader::kBytes && at < bytes.size() - closing) {
            continue;  // The blobs are looked at when they are read.
        }
        Bytes bent = bytes;
        bent[at] ^= std::byte{0x10};
        const auto kind = kind_thrown([&] {
            (void)read_pack_contents(keys, any_key(), bent.size(), reader_of(bent));
        });
        EXPECT_TRUE(kind == ErrorKind::kVaultCorrupt || kind == ErrorKind::kVaultFormatUnsupported)
            << at;
    }
    const KeyRing other = KeyRing::generate(RepositoryId::random());
    EXPECT_EQ(
        kind_thrown([&] {
            (void)read_pack_contents(other, any_key(), bytes.size(), reader_of(bytes));
        }),
        ErrorKind::kVaultCorrupt
    );
}

TEST(Pack, VerificationFindsWhatMemoryDid) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    FrameTools tools{keys, 1};
    const Bytes first = text_like_bytes(50'000, 1);
    const Bytes second = pseudo_random_bytes(3000, 2);
    const auto build = [&](PackBuilder& pack) {
        const ByteSpan payload = tools.compressor.compress(first, tools.compressed);
        const auto place = pack.reserve(
            BlobType::kDataChunk,
            Codec::kZstd,
            tools.ids(BlobType::kDataChunk, first),
            payload.size(),
            first.size()
        );
        pack.seal(tools.aead, *place, payload);
        add(pack, keys, BlobType::kDataChunk, second);
    };
    PackBuilder pack{keys, random_array<32>(), kMiB};
    build(pack);
    std::vector<FastDigest::Value> digests{tools.ids.tag(first), tools.ids.tag(second)};
    Buffer plain;
    EXPECT_NO_THROW(verify_pack(pack, digests, tools, plain));
    // As if a bit had turned over between reading the data and sealing it.
    digests[1][0] ^= std::byte{1};
    EXPECT_EQ(
        kind_thrown([&] { verify_pack(pack, digests, tools, plain); }),
        ErrorKind::kWriteVerification
    );
    // As if one had turned over in the finished pack.
    digests[1] = tools.ids.tag(second);
    const ByteSpan frame = pack.frame_bytes(pack.entries()[0]);
    auto* const inside = const_cast<std::byte*>(frame.data()) + 1000;
    *inside ^= std::byte{1};
    EXPECT_EQ(
        kind_thrown([&] { verify_pack(pack, digests, tools, plain); }),
        ErrorKind::kWriteVerification
    );
}

TEST(Pack, FooterParserTakesAnyBytes) {
    EXPECT_TRUE(decode_pack_footer({}, ObjectHeader::kBytes).has_value());
    EXPECT_FALSE(decode_pack_footer({}, 65).has_value());
    for (unsigned seed = 0; seed < 200; ++seed) {
        const Bytes noise = pseudo_random_bytes(48 * (1 + seed % 5), seed);
        EXPECT_FALSE(decode_pack_footer(noise, 1000).has_value());
    }
}

}  // namespace
}  // namespace holdfast::vault
