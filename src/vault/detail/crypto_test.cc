#include "vault/detail/crypto.h"

#include "base/error.h"
#include "vault/detail/key_ring.h"
#include "vault/testing/vault_testing.h"

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

Bytes hex(std::string_view text) {
    return from_hex(text).value();
}

// RFC 4231, test case 2.
TEST(Crypto, HmacSha256) {
    KeyedHash hash{as_bytes("Jefe")};
    const auto expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    EXPECT_EQ(to_hex(hash(as_bytes("what do ya want for nothing?"))), expected);
    // The key stays; two pieces are one text; a clone is the same hash.
    EXPECT_EQ(to_hex(hash(as_bytes("what do ya "), as_bytes("want for nothing?"))), expected);
    EXPECT_EQ(to_hex(hash.clone()(as_bytes("what do ya want for nothing?"))), expected);
}

// RFC 5869, A.1: the first 32 bytes of its output.
TEST(Crypto, HkdfSha256) {
    const Secret key = hkdf_sha256(
        hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"),
        hex("000102030405060708090a0b0c"),
        hex("f0f1f2f3f4f5f6f7f8f9")
    );
    EXPECT_EQ(
        to_hex(key.expose()), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    );
}

TEST(Crypto, Sha256) {
    const auto expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    EXPECT_EQ(to_hex(sha256(as_bytes("abc"))), expected);
    Sha256Stream stream;
    stream.update(as_bytes("a"));
    stream.update(as_bytes("bc"));
    EXPECT_EQ(to_hex(stream.finish()), expected);
}

// The GCM specification's test case 14 (AES-256, zero key and nonce, one zero block): slot 0 is the
// zero nonce.
TEST(Crypto, Aes256GcmKnownAnswer) {
    Aead aead;
    const Secret key{ByteSpan{Bytes(32)}};
    Bytes sealed(16 + kTagBytes);
    aead.seal(key, 0, {}, Bytes(16), sealed);
    EXPECT_EQ(to_hex(sealed), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
}

TEST(Crypto, OpensOnlyWhatWasSealed) {
    Aead aead;
    const Secret key{ByteSpan{Bytes(32, std::byte{7})}};
    const Bytes plain = to_bytes("some plaintext of a few blocks, long enough");
    Bytes sealed(plain.size() + kTagBytes);
    const ByteSpan a = as_bytes("header");
    const ByteSpan b = as_bytes("frame");
    aead.seal(key, 5, {a, b, {}}, plain, sealed);
    Bytes out(plain.size());
    EXPECT_TRUE(aead.open(key, 5, {a, b, {}}, sealed, out));
    EXPECT_EQ(out, plain);
    EXPECT_FALSE(aead.open(key, 6, {a, b, {}}, sealed, out));
    EXPECT_FALSE(aead.open(key, 5, {a, {}, b}, sealed, out) && out != plain);
    EXPECT_FALSE(aead.open(key, 5, {a, as_bytes("other"), {}}, sealed, out));
    const Secret other{ByteSpan{Bytes(32, std::byte{8})}};
    EXPECT_FALSE(aead.open(other, 5, {a, b, {}}, sealed, out));
    for (std::size_t i = 0; i < sealed.size(); ++i) {
        Bytes bent = sealed;
        bent[i] ^= std::byte{1};
        EXPECT_FALSE(aead.open(key, 5, {a, b, {}}, bent, out)) << i;
    }
}

TEST(Crypto, EmptyPlaintext) {
    Aead aead;
    const Secret key{ByteSpan{Bytes(32)}};
    Bytes sealed(kTagBytes);
    aead.seal(key, 0, {}, {}, sealed);
    EXPECT_EQ(to_hex(sealed), "530f8afbc74536b9a963b4f1c4cb738b");  // GCM test case 13.
    EXPECT_TRUE(aead.open(key, 0, {}, sealed, {}));
}

TEST(Crypto, FastDigestIsPoly1305) {
    // RFC 8439, section 2.5.2.
    const Secret key{
        from_hex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b").value()
    };
    FastDigest digest{key};
    const ByteSpan text = as_bytes("Cryptographic Forum Research Group");
    EXPECT_EQ(to_hex(digest(text)), "a8061dc1305136c6c22b8baf0c0127a9");
    EXPECT_EQ(to_hex(digest(text)), "a8061dc1305136c6c22b8baf0c0127a9");  // And once more.
}

TEST(Crypto, FastDigestTellsBytesApart) {
    const Secret key = Secret::random(32);
    FastDigest digest{key};
    FastDigest same{key};
    Bytes data(100'000, std::byte{1});
    const auto before = digest(data);
    EXPECT_EQ(same(data), before);
    data[77'777] ^= std::byte{4};
    EXPECT_NE(digest(data), before);
}

TEST(Keys, TextFormRoundTrips) {
    const Secret key = new_key();
    const Secret line = format_key(key);
    const std::string text = fmt::format(" {}\n", line.expose_text());
    EXPECT_TRUE(equal_constant_time(parse_key(text).expose(), key.expose()));
    for (const char* bad :
         {"", "holdfast-key-1:", "holdfast-key-1:AAAA", "secret", "holdfast-key-2:x"}) {
        EXPECT_EQ(testing::kind_thrown([&] { (void)parse_key(bad); }), ErrorKind::kKeyWrong);
    }
}

TEST(Keys, WrappingOpensWithItsKeyOnly) {
    const KeyRing ring = KeyRing::generate(RepositoryId::random());
    const Secret key = new_key();
    const ObjectKey object = key_set_key(1, 1);
    const Bytes wrapped = ring.wrap(key, random_array<32>(), object);
    EXPECT_EQ(KeyRing::wrapping_fingerprint(wrapped), key_fingerprint(key));
    const KeyRing again = KeyRing::unwrap(wrapped, key, object);
    EXPECT_EQ(again.repository_id(), ring.repository_id());
    EXPECT_TRUE(equal_constant_time(again.recovery_key().expose(), ring.recovery_key().expose()));
    const ObjectHeader header{.kind = ObjectKind::kPack, .epoch = 1};
    EXPECT_TRUE(
        equal_constant_time(again.object_key(header)->expose(), ring.object_key(header)->expose())
    );
    const auto refused = [&](const Secret& with, const ObjectKey& name) {
        return testing::kind_thrown([&] { (void)KeyRing::unwrap(wrapped, with, name); });
    };
    EXPECT_EQ(refused(new_key(), object), ErrorKind::kVaultCorrupt);
    EXPECT_EQ(refused(key, key_set_key(1, 2)), ErrorKind::kVaultCorrupt);
}

TEST(Keys, EveryPurposeHasItsOwnKey) {
    const KeyRing ring = KeyRing::generate(RepositoryId::random());
    std::set<std::string> keys;
    for (int kind = 1; kind <= 13; ++kind) {
        for (const std::byte salt : {std::byte{0}, std::byte{1}}) {
            ObjectHeader header{.kind = static_cast<ObjectKind>(kind), .epoch = 1};
            header.salt.fill(salt);
            keys.insert(to_hex(ring.object_key(header)->expose()));
        }
    }
    EXPECT_EQ(keys.size(), 26U);
    EXPECT_FALSE(ring.object_key({.kind = ObjectKind::kPack, .epoch = 2}).has_value());
    EXPECT_EQ(ring.point_group("/A/b"), ring.point_group("/a/B"));
    EXPECT_NE(ring.point_group("/a/b"), ring.point_group("/a/c"));
}

TEST(Keys, ChunkIdsDependOnKeyTypeAndContent) {
    const KeyRing one = KeyRing::generate(RepositoryId::random());
    const KeyRing other = KeyRing::generate(RepositoryId::random());
    BlobIds ids{one};
    BlobIds other_ids{other};
    for (const BlobType type : {BlobType::kDataChunk, BlobType::kTaggedExtent}) {
        const ChunkId id = ids(type, as_bytes("x"));
        EXPECT_EQ(ids(type, as_bytes("x")), id);
        EXPECT_NE(ids(BlobType::kTreeNode, as_bytes("x")), id);
        EXPECT_NE(ids(type, as_bytes("y")), id);
        EXPECT_NE(other_ids(type, as_bytes("x")), id);
    }
}

// docs/format.md 5.1: of two digests, neither of which alone tells extents apart.
TEST(Keys, IdsOfTaggedExtentsAreMadeOfTwoDigests) {
    const KeyRing ring = KeyRing::generate(RepositoryId::random());
    BlobIds ids{ring};
    const Bytes extent = testing::text_like_bytes(70'000, 1);
    const FastDigest::Value tag = FastDigest{ring.extent_tag_key()}(extent);
    const FastDigest::Value second = FastDigest{ring.extent_id_key()}(extent);
    EXPECT_NE(tag, second);
    Bytes both(tag.begin(), tag.end());
    both.insert(both.end(), second.begin(), second.end());
    KeyedHash hash = ring.chunk_id_hash().clone();
    const std::array<std::byte, 1> domain{std::byte{20}};
    const ChunkId id = hash(domain, both);
    EXPECT_EQ(ids(BlobType::kTaggedExtent, extent), id);
    EXPECT_EQ(ids.tag(extent), tag);
    EXPECT_EQ(ids.of_tagged(tag, extent), id);
    FastDigest::Value other_tag = tag;
    other_tag[3] ^= std::byte{1};
    EXPECT_NE(ids.of_tagged(other_tag, extent), id);
    Bytes other = extent;
    other[60'000] ^= std::byte{1};
    EXPECT_NE(ids.of_tagged(tag, other), id);
}

}  // namespace
}  // namespace holdfast::vault
