#include "base/error.h"
#include "vault/detail/format.h"
#include "vault/object_store/memory_store.h"
#include "vault/object_store/metered_store.h"
#include "vault/testing/vault_testing.h"
#include "vault/vault.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

// Streams of pages: what an edit costs, what is shared, and that every point is a full one whatever
// happens to its neighbours.

namespace holdfast::vault {
namespace {

using testing::pseudo_random_bytes;
using testing::Streams;
using testing::TestVault;
using testing::text_like_bytes;

constexpr OpenOptions kSmallExtents{
    .workers = 2, .pack_bytes = 512 * kKiB, .extent_bytes = 64 * kKiB
};
const std::string kFile = "pages/base/5/16384";

/// As an update does: a few bytes of the page, and its header.
void touch_page(Bytes& file, std::size_t page, std::uint64_t seed) {
    std::mt19937_64 random{seed};
    const std::size_t at = page * kPageBytes;
    for (std::size_t i = 0; i < 8 && at + i < file.size(); ++i) {
        file[at + i] ^= static_cast<std::byte>(1 + random() % 255);
    }
    const std::size_t inside = at + 100 + random() % 8000;
    if (inside < file.size()) {
        file[inside] ^= std::byte{1};
    }
}

TEST(Extents, RestoreAndSayWhatTheyAre) {
    TestVault vault;
    const Streams streams{
        {"pages/empty", {}},
        {"pages/tiny", to_bytes("x")},
        {"pages/one", text_like_bytes(kPageBytes, 1)},
        {"pages/zeros", Bytes(3 * kMiB)},
        {"pages/odd", pseudo_random_bytes(2 * kMiB + 4097, 2)},
        {"bytes", text_like_bytes(5000, 3)},
    };
    const PointSummary point = vault.back_up(streams);
    EXPECT_EQ(vault.restore(point.id), streams);
    const auto reader = vault.repository().open_point(point.id, {});
    reader->list_streams(
        [](const StreamSummary& stream) {
            EXPECT_EQ(
                stream.info.layout == StreamLayout::kPages, stream.info.name.starts_with("pages/")
            ) << stream.info.name;
            return true;
        },
        {}
    );
    EXPECT_LT(point.stored_bytes, 2 * kMiB + 100 * kKiB);
    EXPECT_TRUE(vault.repository().check({.read_data_percent = 100}, {}).sound());
}

TEST(Extents, UnchangedFilesCostNothing) {
    TestVault vault{kSmallExtents};
    Streams streams;
    for (unsigned i = 0; i < 300; ++i) {
        streams[fmt::format("pages/base/1/{}", 16384 + i)] = text_like_bytes(2 * kPageBytes, i);
    }
    streams[kFile] = text_like_bytes(4 * kMiB, 1000);
    vault.back_up(streams);
    const PointSummary again = vault.back_up(streams);
    EXPECT_EQ(again.reused_chunk_count, again.chunk_count);
    EXPECT_LT(again.stored_bytes, 1000U);
}

TEST(Extents, AChangedPageCostsTensOfBytes) {
    TestVault vault;
    Bytes file = pseudo_random_bytes(8 * kMiB, 1);
    vault.back_up({{kFile, file}});
    std::size_t touched = 0;
    for (std::size_t page = 0; page < 1024; page += 10) {
        touch_page(file, page, page);
        ++touched;
    }
    const PointSummary second = vault.back_up({{kFile, file}});
    EXPECT_LT(second.stored_bytes, touched * 100);
    EXPECT_EQ(vault.restore(second.id).at(kFile), file);
    // Back to where it was: the base is there already.
    const PointSummary third = vault.back_up({{kFile, pseudo_random_bytes(8 * kMiB, 1)}});
    EXPECT_LT(third.stored_bytes, 2000U);
}

// Extents are told apart and named alike whether or not what is written is verified.
TEST(Extents, WithoutWriteVerificationABackupCostsWhatChanged) {
    OpenOptions options = kSmallExtents;
    options.verification = Verification::kOff;
    TestVault vault{options};
    Bytes file = pseudo_random_bytes(30 * 64 * kKiB, 1);
    std::vector<std::pair<PointId, Bytes>> points{{vault.back_up({{kFile, file}}).id, file}};
    for (std::size_t day = 1; day < 6; ++day) {
        for (std::size_t page = day; page < 200; page += 40) {
            touch_page(file, page, page + day);
        }
        const PointSummary point = vault.back_up({{kFile, file}});
        EXPECT_LT(point.stored_bytes, 12'000U) << day;
        points.emplace_back(point.id, file);
    }
    const PointSummary same = vault.back_up({{kFile, file}});
    EXPECT_EQ(same.reused_chunk_count, same.chunk_count);
    EXPECT_LT(same.stored_bytes, 1000U);
    for (const auto& [id, bytes] : points) {
        EXPECT_TRUE(vault.restore(id).at(kFile) == bytes);
    }
    EXPECT_TRUE(vault.repository().check({.read_data_percent = 100}, {}).sound());
}

TEST(Extents, AFileThatGrowsStoresWhatIsNew) {
    TestVault vault;
    Bytes file = pseudo_random_bytes(2 * kMiB + 5 * kPageBytes, 1);
    vault.back_up({{kFile, file}});
    const Bytes more = pseudo_random_bytes(3 * kPageBytes, 2);
    file.insert(file.end(), more.begin(), more.end());
    const PointSummary second = vault.back_up({{kFile, file}});
    EXPECT_EQ(vault.restore(second.id).at(kFile), file);
    EXPECT_LT(second.stored_bytes, more.size() + 3000);
    file.resize(kMiB + 100);
    const PointSummary third = vault.back_up({{kFile, file}});
    EXPECT_EQ(vault.restore(third.id).at(kFile), file);
    EXPECT_LT(third.stored_bytes, 3000U);
}

TEST(Extents, EqualExtentsOfOtherFilesAreStoredOnce) {
    TestVault vault;
    const Bytes file = pseudo_random_bytes(4 * kMiB, 1);
    vault.back_up({{kFile, file}});
    const PointSummary copied = vault.back_up({{kFile, file}, {"pages/base/6/16384", file}});
    EXPECT_LT(copied.stored_bytes, 3000U);
    EXPECT_EQ(vault.restore(copied.id).at("pages/base/6/16384"), file);
}

// A delta that held all changes since the base would cost thirty times as much on the thirtieth day
// as on the first: 2.8 MB in all.
TEST(Extents, WhatChangedIsStoredAgainAFewTimesOnly) {
    constexpr std::size_t kExtents = 32;
    constexpr std::size_t kExtentBytes = 64 * kKiB;
    TestVault vault{kSmallExtents};
    Bytes file = pseudo_random_bytes(kExtents * kExtentBytes, 1);
    vault.back_up({{kFile, file}});
    std::uint64_t stored = 0;
    std::vector<std::pair<PointId, Bytes>> points;
    for (std::size_t day = 1; day < 30; ++day) {
        for (std::size_t extent = 0; extent < kExtents; ++extent) {
            const Bytes changed = pseudo_random_bytes(200, day * 100 + extent);
            std::copy(changed.begin(), changed.end(), &file[extent * kExtentBytes + day * 2000]);
        }
        const PointSummary point = vault.back_up({{kFile, file}});
        stored += point.stored_bytes;
        points.emplace_back(point.id, file);
    }
    EXPECT_LT(stored, 1'300'000U);
    vault.reopen();
    for (const auto& [id, bytes] : points) {
        EXPECT_EQ(vault.restore(id).at(kFile), bytes);
    }
    EXPECT_TRUE(vault.repository().check({.read_data_percent = 100}, {}).sound());
}

// Every point names all it needs; when the deltas have cost twice as much as the base, the next one
// is a base.
TEST(Extents, ABaseIsReplacedInTime) {
    TestVault vault{kSmallExtents};
    Bytes file = pseudo_random_bytes(64 * kKiB, 1);
    std::uint64_t stored = vault.back_up({{kFile, file}}).stored_bytes;
    std::vector<std::pair<PointId, Bytes>> points;
    std::size_t bases = 0;
    for (std::size_t generation = 0; generation < 16; ++generation) {
        const Bytes changed = pseudo_random_bytes(kPageBytes, 100 + generation);
        std::copy(changed.begin(), changed.end(), &file[generation % 8 * kPageBytes]);
        const PointSummary point = vault.back_up({{kFile, file}});
        bases += point.stored_bytes > 60 * kKiB ? 1U : 0U;
        stored += point.stored_bytes;
        points.emplace_back(point.id, file);
    }
    EXPECT_GE(bases, 2U);
    EXPECT_LT(stored, 12 * 64 * kKiB);
    for (const auto& [id, bytes] : points) {
        EXPECT_EQ(vault.restore(id).at(kFile), bytes);
    }
}

TEST(Extents, DeltaRestoreFetchesOnlyWhatDiffers) {
    FakeClock clock{testing::instant(0)};
    MemoryStore memory;
    MeteredStore store{memory};
    const Secret key = new_key();
    Repository::create(memory, key, {}, clock);
    Bytes file = pseudo_random_bytes(8 * kMiB, 1);
    std::fill_n(&file[3 * kMiB], kMiB, std::byte{0});
    {
        const auto repository = Repository::open(store, key, clock);
        testing::write_point(*repository, {{kFile, file}});
        touch_page(file, 5, 1);
        touch_page(file, 900, 2);
        testing::write_point(*repository, {{kFile, file}});
    }
    const auto repository = Repository::open(store, key, clock);
    const auto id = repository->list_points({}).points.at(1).id;
    const auto point = repository->open_point(id, {});
    const auto stream = point->open_stream(kFile, {});
    Bytes have = file;
    have[6 * kMiB + 1] ^= std::byte{1};
    std::size_t skipped = 0;
    std::size_t at = 0;
    const std::uint64_t read_before = store.figures().get_bytes;
    while (const std::size_t size = stream->next_piece_bytes()) {
        ASSERT_EQ(size, kMiB);
        const MutableByteSpan piece = MutableByteSpan{have}.subspan(at, size);
        if (stream->skip_if_equal(piece)) {
            ++skipped;
        } else {
            ASSERT_EQ(stream->read(piece), size);
        }
        at += size;
    }
    EXPECT_EQ(have, file);
    EXPECT_EQ(skipped, 7U);
    EXPECT_LT(store.figures().get_bytes - read_before, 3 * kMiB);
}

/// Random edits over many generations, points removed in any order: every surviving point restores
/// bit for bit.
class ExtentsProperty : public ::testing::TestWithParam<std::uint64_t> {
protected:
    std::uint64_t draw(std::uint64_t below) { return random_() % below; }

    void edit(Bytes& file) {
        switch (draw(8)) {
            case 0:
                file = pseudo_random_bytes(draw(5) * 40'000, random_());
                return;
            case 1:
                file.resize(draw(file.size() + 1));
                return;
            case 2: {
                const Bytes more = text_like_bytes(draw(10 * kPageBytes), random_());
                file.insert(file.end(), more.begin(), more.end());
                return;
            }
            case 3:
                file.resize(file.size() + draw(100'000));
                return;
            case 4:
                if (!file.empty()) {
                    const std::size_t from = draw(file.size());
                    std::fill(
                        file.begin() + static_cast<std::ptrdiff_t>(from), file.end(), std::byte{0}
                    );
                }
                return;
            default:
                for (std::uint64_t i = draw(12); i > 0 && !file.empty(); --i) {
                    touch_page(file, draw((file.size() + kPageBytes - 1) / kPageBytes), random_());
                }
        }
    }

    void next_generation(Streams& streams) {
        for (std::uint64_t edits = 1 + draw(4); edits > 0; --edits) {
            auto one = streams.begin();
            std::advance(one, static_cast<std::ptrdiff_t>(draw(streams.size())));
            edit(one->second);
        }
        if (draw(4) == 0) {  // A relation is copied, as by VACUUM FULL or CREATE DATABASE.
            streams[fmt::format("pages/base/{}", draw(20))] = streams.begin()->second;
        }
        if (draw(6) == 0 && streams.size() > 2) {
            streams.erase(streams.begin());
        }
    }

    std::mt19937_64 random_{GetParam()};
};

TEST_P(ExtentsProperty, EverySurvivingPointRestores) {
    TestVault vault{kSmallExtents};
    Streams streams;
    for (unsigned i = 0; i < 5; ++i) {
        streams[fmt::format("pages/base/{}", i)] = text_like_bytes(draw(300'000), i);
    }
    std::map<PointId, Streams> points;
    for (int generation = 0; generation < 25; ++generation) {
        points.emplace(vault.back_up(streams).id, streams);
        next_generation(streams);
        if (draw(3) == 0) {
            auto gone = points.begin();
            std::advance(gone, static_cast<std::ptrdiff_t>(draw(points.size())));
            vault.repository().remove_point(gone->first, "{}", {});
            points.erase(gone);
        }
        if (draw(5) == 0) {
            vault.reopen();
        }
    }
    vault.reopen();
    for (const auto& [id, expected] : points) {
        EXPECT_EQ(vault.restore(id), expected) << "seed " << GetParam();
    }
    EXPECT_TRUE(vault.repository().check({.read_data_percent = 100}, {}).sound());
}

INSTANTIATE_TEST_SUITE_P(Seeds, ExtentsProperty, ::testing::Range<std::uint64_t>(1, 7));

}  // namespace
}  // namespace holdfast::vault
