#include "vault/detail/page_delta.h"

#include "vault/detail/extent_list.h"
#include "vault/detail/format.h"
#include "vault/detail/key_ring.h"
#include "vault/testing/vault_testing.h"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

using testing::pseudo_random_bytes;

Bytes applied(ByteSpan delta, Bytes base, std::size_t size) {
    base.resize(size);
    EXPECT_TRUE(apply_page_delta(delta, base));
    return base;
}

TEST(PageDelta, HoldsOnlyThePagesThatChanged) {
    const Bytes base = pseudo_random_bytes(10 * kPageBytes, 1);
    Bytes extent = base;
    extent[3 * kPageBytes + 17] ^= std::byte{5};
    extent[9 * kPageBytes + 8191] ^= std::byte{1};
    Buffer buffer;
    const ByteSpan delta = make_page_delta(base, extent, buffer);
    EXPECT_EQ(delta.size(), 4 + 2 + 2 * kPageBytes);
    EXPECT_EQ(applied(delta, base, extent.size()), extent);
    EXPECT_EQ(make_page_delta(base, base, buffer).size(), 4U + 2U);
}

TEST(PageDelta, TakesLengthsThatDiffer) {
    std::mt19937_64 random{7};
    for (int i = 0; i < 60; ++i) {
        const Bytes base = pseudo_random_bytes(random() % (5 * kPageBytes), random());
        Bytes extent = base;
        extent.resize(1 + random() % (6 * kPageBytes));
        if (i % 3 == 0) {
            extent[random() % extent.size()] ^= std::byte{9};
        }
        Buffer buffer;
        EXPECT_EQ(applied(make_page_delta(base, extent, buffer), base, extent.size()), extent);
    }
}

/// docs/format.md, section 10: the worked example.
TEST(PageDelta, WorkedExample) {
    Bytes base(2 * kPageBytes + 3);
    base[0] = std::byte{'a'};
    base[kPageBytes] = std::byte{'b'};
    Bytes extent = base;
    extent[kPageBytes + 1] = std::byte{0x55};
    extent[2 * kPageBytes + 2] = std::byte{0x66};
    Buffer buffer;
    const ByteSpan delta = make_page_delta(base, extent, buffer);
    ASSERT_EQ(delta.size(), 8200U);
    EXPECT_EQ(to_hex(delta.first(8)), "0300000006005500");
    EXPECT_EQ(to_hex(delta.last(4)), "00000066");
    EXPECT_TRUE(is_zero(delta.subspan(7, 8190)));
}

TEST(PageDelta, RefusesWhatIsNone) {
    const Bytes base(9 * kPageBytes + 5);
    Bytes extent = base;
    extent[0] = extent[9 * kPageBytes] = std::byte{1};
    Buffer buffer;
    const ByteSpan sound = make_page_delta(base, extent, buffer);
    const auto refused = [&](ByteSpan delta, std::size_t size) {
        Bytes out(size);
        return !apply_page_delta(delta, out);
    };
    EXPECT_FALSE(refused(sound, extent.size()));
    EXPECT_TRUE(refused(sound, extent.size() + kPageBytes));
    EXPECT_TRUE(refused(sound, extent.size() - 1));
    EXPECT_TRUE(refused(sound.first(sound.size() - 1), extent.size()));
    EXPECT_TRUE(refused({}, extent.size()));
    for (const std::size_t bit : {std::size_t{0}, std::size_t{15 + 32}, std::size_t{1 + 32}}) {
        Bytes bad{sound.begin(), sound.end()};
        bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        EXPECT_TRUE(refused(bad, extent.size())) << bit;
    }
}

// ---- The list of extents ----

class ExtentListTest : public ::testing::Test {
protected:
    Extent extent(std::uint64_t number) {
        Extent made;
        if (number % 5 == 0) {
            return made;
        }
        const Bytes bytes = pseudo_random_bytes(32, number);
        made.base.emplace();
        std::copy(bytes.begin(), bytes.end(), made.base->begin());
        made.digest = *made.base;
        if (number % 3 == 0) {
            made.deltas.assign(1 + number % kDeltaLayersMax, *made.base);
            (*made.digest)[0] ^= std::byte{1};
            made.deltas_stored_bytes = number;
        }
        if (number % 2 == 0) {
            std::copy_n(bytes.begin(), kTagBytes, made.tag.emplace().begin());
            if (!made.deltas.empty()) {
                made.digest.reset();
            }
        }
        return made;
    }
    format::StreamEntry build(const std::vector<Extent>& extents) {
        ExtentListBuilder builder{sink_};
        format::StreamEntry entry;
        entry.set_name("s");
        entry.set_extent_log2(16);
        entry.set_size_bytes(extents.size() * 64 * kKiB - (extents.empty() ? 0 : 1));
        for (const Extent& one : extents) {
            builder.add(one);
        }
        builder.finish(entry);
        return entry;
    }
    std::vector<Extent> walk(const format::StreamEntry& entry) {
        std::vector<Extent> found;
        std::uint64_t bytes = 0;
        ExtentListWalker walker{source_, entry};
        while (const auto piece = walker.next()) {
            found.push_back(piece->extent);
            bytes += piece->plain_bytes;
        }
        EXPECT_EQ(bytes, entry.size_bytes());
        return found;
    }

    std::map<ChunkId, Bytes> nodes_;
    const KeyRing keys_ = KeyRing::generate(RepositoryId::random());
    BlobIds ids_{keys_};
    NodeSink sink_ = [this](BlobType type, std::string_view bytes) {
        EXPECT_EQ(type, BlobType::kExtentList);
        const ChunkId id = ids_(type, as_bytes(bytes));
        nodes_[id] = to_bytes(bytes);
        return id;
    };
    NodeSource source_ = [this](BlobType, const ChunkId& id) { return nodes_.at(id); };
};

TEST_F(ExtentListTest, GivesBackWhatWasAdded) {
    for (const std::size_t count : {0U, 1U, 2U, 15U, 16U, 17U, 1023U, 1024U, 1025U, 3000U}) {
        std::vector<Extent> extents;
        for (std::size_t i = 0; i < count; ++i) {
            extents.push_back(extent(i));
        }
        nodes_.clear();
        const format::StreamEntry entry = build(extents);
        EXPECT_EQ(walk(entry), extents) << count;
        EXPECT_EQ(nodes_.empty(), count <= 1) << "one extent needs no node of its own";
        format::DirectoryNode directory;
        *directory.add_entries() = entry;
        EXPECT_TRUE(parse_directory_node(as_bytes(directory.SerializeAsString())).has_value());
    }
}

TEST_F(ExtentListTest, AChangedExtentRewritesItsPathOnly) {
    std::vector<Extent> extents;
    for (std::size_t i = 0; i < 3000; ++i) {
        extents.push_back(extent(i));
    }
    build(extents);
    const std::size_t before = nodes_.size();
    extents[1500] = extent(9001);
    build(extents);
    EXPECT_EQ(nodes_.size(), before + 3);
}

TEST_F(ExtentListTest, RefusesUnsoundNodes) {
    EXPECT_FALSE(parse_extent_list({}).has_value());
    format::ExtentList node;
    node.add_extents()->set_base("short");
    EXPECT_FALSE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->set_base(std::string(32, 'b'));
    EXPECT_TRUE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->add_deltas(std::string(32, 'd'));
    EXPECT_FALSE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->set_tag("short");
    EXPECT_FALSE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->set_tag(std::string(kTagBytes, 't'));
    EXPECT_TRUE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->set_digest("short");
    EXPECT_FALSE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->clear_tag();
    node.mutable_extents(0)->set_digest(std::string(32, 'x'));
    EXPECT_TRUE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->add_deltas("short");
    EXPECT_FALSE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->set_deltas(1, std::string(32, 'e'));
    for (std::size_t i = 2; i < kDeltaLayersMax; ++i) {
        node.mutable_extents(0)->add_deltas(std::string(32, 'f'));
    }
    EXPECT_TRUE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->add_deltas(std::string(32, 'g'));
    EXPECT_FALSE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());
    node.mutable_extents(0)->mutable_deltas()->RemoveLast();
    node.set_level(1);
    EXPECT_FALSE(parse_extent_list(as_bytes(node.SerializeAsString())).has_value());

    format::DirectoryNode directory;
    auto* entry = directory.add_entries();
    entry->set_name("s");
    entry->set_size_bytes(100);
    *entry->mutable_extent() = to_stored(extent(1));
    const auto sound = [&] {
        return parse_directory_node(as_bytes(directory.SerializeAsString())).has_value();
    };
    EXPECT_FALSE(sound()) << "an extent needs the length of extents";
    entry->set_extent_log2(16);
    EXPECT_TRUE(sound());
    entry->set_extent_log2(40);
    EXPECT_FALSE(sound());
    entry->set_extent_log2(16);
    entry->set_size_bytes(64 * kKiB + 1);
    EXPECT_FALSE(sound()) << "longer than its only extent";
}

}  // namespace
}  // namespace holdfast::vault
