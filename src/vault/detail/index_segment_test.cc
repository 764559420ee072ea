#include "vault/detail/index_segment.h"

#include "base/error.h"
#include "vault/detail/chunk_index.h"
#include "vault/testing/vault_testing.h"

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

using testing::kind_thrown;
using testing::pseudo_random_bytes;

ChunkId id_of(std::uint64_t number) {
    return sha256(pseudo_random_bytes(16, number));
}

SegmentContents contents_of(std::uint64_t first, std::uint64_t count) {
    SegmentContents contents;
    for (std::uint64_t i = first; i < first + count; ++i) {
        if (i % 50 == 0 || contents.packs.empty()) {
            contents.packs.push_back(id_of(1'000'000 + i));
        }
        contents.blobs.push_back({
            .key = chunk_key(id_of(i)),
            .pack = static_cast<std::uint32_t>(contents.packs.size() - 1),
            .offset = static_cast<std::uint32_t>(i * 10),
            .frame_bytes = 100,
            .plain_bytes = 200,
        });
    }
    return contents;
}

class Opened {
public:
    Opened(const KeyRing& keys, Bytes object, SegmentId id)
        : keys_{keys}, object_{std::move(object)}, segment_{keys, id, object_.size(), reader()} {}
    [[nodiscard]] IndexSegment::Reader reader() {
        return [this](std::uint64_t offset, std::uint64_t size) {
            const auto begin = object_.begin() + static_cast<std::ptrdiff_t>(offset);
            return Bytes(begin, begin + static_cast<std::ptrdiff_t>(size));
        };
    }
    [[nodiscard]] IndexSegment::BlockSource blocks() {
        return [this](std::size_t block) {
            ++loads;
            return std::make_shared<const Bytes>(segment_.load_block(keys_, block, reader()));
        };
    }
    const IndexSegment& operator*() const { return segment_; }
    const IndexSegment* operator->() const { return &segment_; }
    int loads = 0;

private:
    const KeyRing& keys_;
    Bytes object_;
    IndexSegment segment_;
};

TEST(IndexSegment, FindsWhatIsInAndNothingElse) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    for (const std::uint64_t count : {1U, 2U, 2047U, 2048U, 2049U, 10'000U}) {
        const SegmentId id = SegmentId::random();
        const SegmentContents contents = contents_of(0, count);
        Opened segment{
            keys, build_index_segment(keys, index_key(id), random_array<32>(), contents, {}), id
        };
        EXPECT_EQ(segment->entry_count(), count);
        for (std::uint64_t i = 0; i < count; i += 1 + count / 97) {
            const ChunkKey key = chunk_key(id_of(i));
            ASSERT_TRUE(segment->may_contain(key));
            const auto location = segment->find(key, segment.blocks());
            ASSERT_TRUE(location.has_value()) << i;
            EXPECT_EQ(location->offset, i * 10);
            EXPECT_EQ(location->pack, contents.packs[contents.blobs[i].pack]);
        }
        std::uint64_t passed = 0;
        for (std::uint64_t i = count; i < count + 1000; ++i) {
            const ChunkKey key = chunk_key(id_of(i));
            passed += segment->may_contain(key) ? 1U : 0U;
            EXPECT_FALSE(segment->find(key, segment.blocks()).has_value());
        }
        EXPECT_LT(passed, 40U) << count;  // About 1 % are expected.
    }
}

TEST(IndexSegment, ReadsBackWhole) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    const SegmentId id = SegmentId::random();
    const SegmentContents contents = contents_of(0, 5000);
    const std::vector<SegmentId> supersedes{SegmentId::random(), SegmentId::random()};
    Opened segment{
        keys, build_index_segment(keys, index_key(id), random_array<32>(), contents, supersedes), id
    };
    EXPECT_EQ(segment->supersedes(), supersedes);
    const SegmentContents back = segment->read_all(segment.blocks());
    EXPECT_EQ(back.packs, contents.packs);
    EXPECT_EQ(back.blobs.size(), contents.blobs.size());
    EXPECT_TRUE(std::is_sorted(
        back.blobs.begin(),
        back.blobs.end(),
        [](const auto& a, const auto& b) { return a.key < b.key; }
    ));
}

TEST(IndexSegment, BelongsToItsName) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    const SegmentId id = SegmentId::random();
    const Bytes object =
        build_index_segment(keys, index_key(id), random_array<32>(), contents_of(0, 10), {});
    EXPECT_EQ(
        kind_thrown([&] { Opened{keys, object, SegmentId::random()}; }), ErrorKind::kVaultCorrupt
    );
}

TEST(IndexFooter, ParserTakesAnyBytes) {
    for (unsigned seed = 0; seed < 300; ++seed) {
        (void)parse_index_footer(pseudo_random_bytes(seed, seed), 64);
    }
    EXPECT_TRUE(parse_index_footer({}, 64).has_value());
    EXPECT_FALSE(parse_index_footer({}, 65).has_value());
}

TEST(ChunkIndex, CacheStaysWithinItsBound) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    MemoryStore store;
    ChunkIndex writer{store, keys, 0};
    writer.add(contents_of(0, 20'000), {}, {});
    writer.add(contents_of(20'000, 20'000), {}, {});
    // Room for two blocks: every lookup may load one, and all are found.
    ChunkIndex reader{store, keys, 140'000};
    reader.refresh({});
    for (std::uint64_t i = 0; i < 40'000; i += 111) {
        ASSERT_TRUE(reader.find(id_of(i), Trust::kSoundPacks, {}).has_value()) << i;
    }
    EXPECT_FALSE(reader.find(id_of(40'000), Trust::kSoundPacks, {}).has_value());
}

TEST(ChunkIndex, FollowsAMergeByAnotherWriter) {
    const KeyRing keys = KeyRing::generate(RepositoryId::random());
    MemoryStore store;
    ChunkIndex writer{store, keys, kMiB};
    for (std::uint64_t i = 0; i < 13; ++i) {
        writer.add(contents_of(i * 10, 10), {}, {});
    }
    ChunkIndex reader{store, keys, kMiB};
    reader.refresh({});
    EXPECT_EQ(reader.segment_ids().size(), 13U);
    writer.merge_small_segments({}, {});
    EXPECT_EQ(writer.segment_ids().size(), 1U);
    for (std::uint64_t i = 0; i < 130; ++i) {
        EXPECT_TRUE(writer.find(id_of(i), Trust::kSoundPacks, {}).has_value());
        EXPECT_TRUE(reader.find(id_of(i), Trust::kSoundPacks, {}).has_value());
    }
    EXPECT_EQ(reader.segment_ids().size(), 1U);
}

}  // namespace
}  // namespace holdfast::vault
