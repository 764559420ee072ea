#include "vault/detail/blob_reader.h"

#include "vault/detail/page_delta.h"
#include "vault/testing/vault_testing.h"

#include <algorithm>

#include <gtest/gtest.h>

// Extents whose entry says something else than what base and deltas make. Nobody without the
// vault's keys could seal such an entry: these are mistakes of a writer, and a reader must not give
// out what they make.

namespace holdfast::vault {
namespace {

constexpr std::size_t kExtentBytes = 64 * kKiB;

/// A vault with one extent, and what a program with its keys can ask for.
class ExtentReads : public ::testing::Test {
protected:
    ExtentReads() {
        changed_[5000] ^= std::byte{1};
        vault_.back_up({{"pages/1", base_}});
        vault_.back_up({{"pages/1", changed_}});
        index_.refresh({});
    }

    [[nodiscard]] KeyRing open_keys() {
        std::optional<KeyRing> keys;
        vault_.store().list(
            kKeysPrefix,
            [&](const ObjectInfo& info) {
                const auto object = vault_.store().get(info.key, {});
                if (KeyRing::wrapping_fingerprint(*object) == key_fingerprint(vault_.key())) {
                    keys.emplace(KeyRing::unwrap(*object, vault_.key(), info.key));
                }
                return true;
            },
            {}
        );
        return std::move(keys.value());
    }

    [[nodiscard]] ChunkId id_of(BlobType type, ByteSpan plain) const {
        return BlobIds{keys_}(type, plain);
    }
    [[nodiscard]] FastDigest::Value tag_of(ByteSpan plain) const {
        return FastDigest{keys_.extent_tag_key()}(plain);
    }
    [[nodiscard]] ChunkId delta_id() const {
        Buffer buffer;
        return id_of(BlobType::kPageDelta, make_page_delta(base_, changed_, buffer));
    }

    [[nodiscard]] Bytes read(const Extent& extent) {
        Bytes out(kExtentBytes);
        blobs_.read_extent_to(extent, out, {});
        return out;
    }
    [[nodiscard]] std::optional<ErrorKind> refusal(const Extent& extent) {
        return testing::kind_thrown([&] { (void)read(extent); });
    }

    testing::TestVault vault_{OpenOptions{.workers = 1, .extent_bytes = kExtentBytes}};
    Bytes base_ = testing::text_like_bytes(kExtentBytes, 1);
    Bytes changed_ = base_;
    const KeyRing keys_{open_keys()};
    ChunkIndex index_{vault_.store(), keys_, kMiB};
    BlobReader blobs_{vault_.store(), keys_, index_};
    const ChunkId base_id_ = id_of(BlobType::kTaggedExtent, base_);
};

TEST_F(ExtentReads, GiveWhatTheTagOrTheDigestSays) {
    EXPECT_EQ(read({.base = base_id_, .digest = base_id_}), base_);
    EXPECT_EQ(read({.base = base_id_, .digest = base_id_, .tag = tag_of(base_)}), base_);
    EXPECT_EQ(read({.base = base_id_, .deltas = {delta_id()}, .tag = tag_of(changed_)}), changed_);
    EXPECT_EQ(
        read(
            {.base = base_id_, .deltas = {delta_id()}, .digest = id_of(BlobType::kExtent, changed_)}
        ),
        changed_
    );
}

TEST_F(ExtentReads, RefuseATagOfOtherBytes) {
    EXPECT_EQ(
        refusal({.base = base_id_, .digest = base_id_, .tag = tag_of(changed_)}),
        ErrorKind::kVaultCorrupt
    );
    EXPECT_EQ(
        refusal({.base = base_id_, .deltas = {delta_id()}, .tag = tag_of(base_)}),
        ErrorKind::kVaultCorrupt
    );
    FastDigest::Value almost = tag_of(changed_);
    almost.back() ^= std::byte{1};
    EXPECT_EQ(
        refusal({.base = base_id_, .deltas = {delta_id()}, .tag = almost}), ErrorKind::kVaultCorrupt
    );
}

TEST_F(ExtentReads, RefuseADigestOfOtherBytes) {
    EXPECT_EQ(
        refusal({.base = base_id_, .deltas = {delta_id()}, .digest = base_id_}),
        ErrorKind::kVaultCorrupt
    );
}

TEST_F(ExtentReads, RefuseDeltasThatAreLeftOutOrTooMany) {
    EXPECT_EQ(refusal({.base = base_id_, .tag = tag_of(changed_)}), ErrorKind::kVaultCorrupt);
    EXPECT_EQ(
        refusal({.base = base_id_, .deltas = {delta_id(), delta_id()}, .tag = tag_of(changed_)}),
        ErrorKind::kVaultCorrupt
    );
}

TEST_F(ExtentReads, RefuseABlobOfAnotherType) {
    EXPECT_EQ(
        refusal({.base = base_id_, .deltas = {base_id_}, .tag = tag_of(changed_)}),
        ErrorKind::kVaultCorrupt
    );
    EXPECT_EQ(refusal({.base = delta_id(), .tag = tag_of(base_)}), ErrorKind::kVaultCorrupt);
}

}  // namespace
}  // namespace holdfast::vault
