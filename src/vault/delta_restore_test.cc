#include "base/error.h"
#include "vault/object_store/memory_store.h"
#include "vault/object_store/metered_store.h"
#include "vault/testing/vault_testing.h"
#include "vault/vault.h"

#include <gtest/gtest.h>

#include <algorithm>

// Restoring onto what is there already: compare piece by piece, read only what differs.

namespace holdfast::vault {
namespace {

using testing::pseudo_random_bytes;
using testing::Streams;
using testing::text_like_bytes;

struct DeltaRestore : ::testing::Test {
    DeltaRestore() { Repository::create(memory, key, {}, clock); }

    PointId back_up(const Streams& streams) {
        const auto repository = Repository::open(store, key, clock);
        return testing::write_point(*repository, streams).id;
    }

    struct Outcome {
        Bytes bytes;
        std::size_t pieces = 0;
        std::size_t skipped = 0;
    };
    /// What a delta restore makes of `have`.
    static Outcome restore_onto(PointReader& point, std::string_view name, Bytes have) {
        const auto stream = point.open_stream(name, {});
        have.resize(stream->size_bytes());
        Outcome outcome;
        std::size_t at = 0;
        while (const std::size_t size = stream->next_piece_bytes()) {
            const MutableByteSpan piece = MutableByteSpan{have}.subspan(at, size);
            ++outcome.pieces;
            if (stream->skip_if_equal(piece)) {
                ++outcome.skipped;
            } else {
                EXPECT_EQ(stream->read(piece), size);
            }
            at += size;
        }
        EXPECT_EQ(at, have.size());
        outcome.bytes = std::move(have);
        return outcome;
    }

    FakeClock clock{testing::instant(0)};
    MemoryStore memory;
    MeteredStore store{memory};
    Secret key = new_key();
};

TEST_F(DeltaRestore, FetchesOnlyThePiecesThatDiffer) {
    const Bytes wanted = pseudo_random_bytes(24 * kMiB, 1);
    const PointId id = back_up({{"data", wanted}});
    const auto repository = Repository::open(store, key, clock);
    const auto point = repository->open_point(id, {});

    EXPECT_EQ(restore_onto(*point, "data", wanted).bytes, wanted);
    Bytes have = wanted;
    have[11 * kMiB] ^= std::byte{1};
    const std::uint64_t read_before = store.figures().get_bytes;
    const Outcome outcome = restore_onto(*point, "data", have);
    EXPECT_EQ(outcome.bytes, wanted);
    EXPECT_GE(outcome.pieces, 6U);
    EXPECT_EQ(outcome.skipped, outcome.pieces - 1);
    EXPECT_LT(store.figures().get_bytes - read_before, 9 * kMiB);
}

TEST_F(DeltaRestore, FetchesNothingOfAFileThatIsRight) {
    const Bytes wanted = text_like_bytes(8 * kMiB, 1);
    const PointId id = back_up({{"data", wanted}});
    const auto repository = Repository::open(store, key, clock);
    const auto point = repository->open_point(id, {});
    const auto stream = point->open_stream("data", {});
    EXPECT_GT(stream->next_piece_bytes(), 0U);
    const std::uint64_t read_before = store.figures().get_bytes;
    std::size_t at = 0;
    while (const std::size_t size = stream->next_piece_bytes()) {
        ASSERT_TRUE(stream->skip_if_equal(ByteSpan{wanted}.subspan(at, size)));
        at += size;
    }
    EXPECT_EQ(store.figures().get_bytes, read_before);
}

TEST_F(DeltaRestore, ReplacesWhatIsOtherLongerOrShorter) {
    const Streams streams{
        {"empty", {}},
        {"tiny", to_bytes("16\n")},
        {"small", text_like_bytes(5000, 2)},
        {"large", text_like_bytes(7 * kMiB + 77, 3)},
    };
    const PointId id = back_up(streams);
    const auto repository = Repository::open(store, key, clock);
    const auto point = repository->open_point(id, {});
    for (const auto& [name, wanted] : streams) {
        EXPECT_EQ(restore_onto(*point, name, {}).bytes, wanted) << name;
        EXPECT_EQ(restore_onto(*point, name, wanted).bytes, wanted) << name;
        EXPECT_EQ(restore_onto(*point, name, Bytes(9 * kMiB)).bytes, wanted) << name;
        const Outcome right = restore_onto(*point, name, wanted);
        EXPECT_EQ(right.skipped, right.pieces) << name;
    }
}

TEST_F(DeltaRestore, ComparesFromTheMiddleOfAPiece) {
    const Bytes wanted = text_like_bytes(9 * kMiB, 4);
    const PointId id = back_up({{"data", wanted}});
    const auto repository = Repository::open(store, key, clock);
    const auto point = repository->open_point(id, {});
    const auto stream = point->open_stream("data", {});
    Bytes out(wanted.size());
    std::size_t at = stream->read(MutableByteSpan{out}.first(1000));
    const std::size_t rest = stream->next_piece_bytes();
    ASSERT_GT(rest, 0U);
    EXPECT_FALSE(stream->skip_if_equal(Bytes(rest)));
    ASSERT_TRUE(stream->skip_if_equal(ByteSpan{wanted}.subspan(at, rest)));
    std::copy_n(&wanted[at], rest, &out[at]);
    at += rest;
    EXPECT_EQ(stream->read(MutableByteSpan{out}.subspan(at)), out.size() - at);
    EXPECT_EQ(out, wanted);
    EXPECT_EQ(stream->next_piece_bytes(), 0U);
}

TEST_F(DeltaRestore, AStreamOfPagesComesBack) {
    const Bytes pages = pseudo_random_bytes(3 * kMiB + 100, 5);
    const auto repository = Repository::open(store, key, clock);
    const auto writer = repository->begin_point(testing::begin_point(), {});
    const auto stream = writer->open_stream(
        {.name = "base/5/16384", .kind = "file", .layout = StreamLayout::kPages}
    );
    stream->write(pages);
    stream->close();
    const PointId id = writer->commit({.completed_at = testing::instant(60)}, {}).id;
    const auto point = repository->open_point(id, {});
    EXPECT_EQ(restore_onto(*point, "base/5/16384", {}).bytes, pages);
}

}  // namespace
}  // namespace holdfast::vault
