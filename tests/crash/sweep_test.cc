// The fault sweep: for every k, the k-th storage call of an operation fails, or the process dies
// there. Afterwards the repository opens, the invariants hold, what was committed restores, and the
// next backup succeeds.

#include "invariants.h"
#include "vault/collect.h"
#include "vault/object_store/faulty_store.h"

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

using testing::Expected;
using testing::pseudo_random_bytes;
using testing::Streams;
using testing::text_like_bytes;
using Fault = FaultyStore::Fault;

/// Several packs, index segments and nodes from little data.
constexpr OpenOptions kSmallPacks{
    .workers = 2, .pack_bytes = 160 * kKiB, .extent_bytes = 64 * kKiB
};

const Streams& first_data() {
    static const Streams kData{
        {"a/toc", to_bytes("contents")},
        {"a/data/1", pseudo_random_bytes(300 * kKiB, 1)},
        {"a/data/2", text_like_bytes(300 * kKiB, 2)},
        {"a/data/3", {}},
        {"pages/1", pseudo_random_bytes(200 * kKiB, 4)},
        {"pages/2", text_like_bytes(8 * kKiB, 5)},
    };
    return kData;
}

const Streams& second_data() {
    static const Streams kData = [] {
        Streams streams = first_data();
        streams["a/data/1"] = pseudo_random_bytes(400 * kKiB, 3);
        streams["a/data/4"] = to_bytes(std::string(200, 'x'));
        for (const std::size_t at : {100U, 70'000U, 199'000U}) {
            streams["pages/1"][at] ^= std::byte{1};
        }
        streams["pages/2"] = text_like_bytes(24 * kKiB, 5);
        return streams;
    }();
    return kData;
}

/// A repository with one point, a state record and a catalog snapshot, to start each run from.
class Base {
public:
    explicit Base(unsigned small_backups) : key_{new_key()} {
        MemoryStore store;
        Repository::create(store, key_, {.label = "sweep"}, clock_);
        const auto repository = Repository::open(store, key_, clock_, kSmallPacks);
        point_ = testing::write_point(*repository, first_data()).id;
        repository->append_state({.kind = StateKind::kExpirySet, .point = point_}, {});
        repository->put_catalog_snapshot(as_bytes("snapshot"), {});
        for (unsigned i = 0; i < small_backups; ++i) {
            const Streams streams{{"s", pseudo_random_bytes(300, 100 + i)}};
            others_.emplace(
                testing::write_point(*repository, streams, testing::begin_point("other")).id,
                streams
            );
        }
        contents_ = store.contents();
    }
    void put_into(MemoryStore& store) const { store.replace_contents(contents_); }
    [[nodiscard]] const Secret& key() const { return key_; }
    [[nodiscard]] PointId point() const { return point_; }
    [[nodiscard]] Expected expected() const {
        Expected all{.committed = others_, .possible = {}};
        all.committed.emplace(point_, first_data());
        return all;
    }
    [[nodiscard]] Clock& clock() { return clock_; }

private:
    SystemClock clock_;
    Secret key_;
    PointId point_;
    std::map<PointId, Streams> others_;
    std::map<ObjectKey, Bytes> contents_;
};

/// What one run of an operation knows of the points it touched.
struct Outcome {
    Expected expected;
    bool ended = false;  // Without an exception.
};

using Operation = std::function<void(Base&, ObjectStore&, Outcome&)>;

void back_up(Base& base, ObjectStore& store, Outcome& outcome) {
    const auto repository = Repository::open(store, base.key(), base.clock(), kSmallPacks);
    const auto writer = repository->begin_point(testing::begin_point(), {});
    outcome.expected.possible.insert(writer->id());
    for (const auto& [name, bytes] : second_data()) {
        const auto layout =
            name.starts_with(testing::kPagesPrefix) ? StreamLayout::kPages : StreamLayout::kBytes;
        const auto stream = writer->open_stream({.name = name, .kind = "k", .layout = layout});
        stream->write(bytes);
        stream->close();
    }
    const PointSummary summary = writer->commit({}, {});
    outcome.expected.committed.emplace(summary.id, second_data());
}

void restore(Base& base, ObjectStore& store, Outcome&) {
    const auto repository = Repository::open(store, base.key(), base.clock(), kSmallPacks);
    // Whatever a read gives back is right, or it throws.
    EXPECT_EQ(testing::read_streams(*repository, base.point()), first_data());
}

void expire(Base& base, ObjectStore& store, Outcome& outcome) {
    const auto repository = Repository::open(store, base.key(), base.clock(), kSmallPacks);
    outcome.expected.committed.erase(base.point());
    outcome.expected.possible.insert(base.point());
    repository->remove_point(base.point(), "{}", {});
    outcome.expected.possible.erase(base.point());
}

void record(Base& base, ObjectStore& store, Outcome&) {
    const auto repository = Repository::open(store, base.key(), base.clock(), kSmallPacks);
    for (int i = 0; i < 3; ++i) {
        repository->append_state({.kind = StateKind::kHeld, .point = base.point()}, {});
        repository->put_catalog_snapshot(as_bytes("newer"), {});
    }
    repository->mark_recovery_kit_written({});
    repository->add_key(new_key(), {});
}

void rebuild(Base& base, ObjectStore& store, Outcome&) {
    Repository::open(store, base.key(), base.clock(), kSmallPacks)->rebuild_index({});
}

void merge_indexes(Base& base, ObjectStore& store, Outcome& outcome) {
    const auto repository = Repository::open(store, base.key(), base.clock(), kSmallPacks);
    for (unsigned i = 0; i < 2; ++i) {
        const auto writer = repository->begin_point(testing::begin_point("other"), {});
        outcome.expected.possible.insert(writer->id());
        const Streams streams{{"s", pseudo_random_bytes(300, i)}};
        const auto stream = writer->open_stream({.name = "s", .kind = "k"});
        stream->write(streams.at("s"));
        stream->close();
        const PointId id = writer->commit({}, {}).id;
        outcome.expected.committed.emplace(id, streams);
    }
}

/// Half of the data of the other instance's points goes, what is left of their packs moves.
void collect(Base& base, ObjectStore& store, Outcome& outcome) {
    const auto repository = Repository::open(store, base.key(), base.clock(), kSmallPacks);
    bool other = false;
    for (const auto& [id, streams] : base.expected().committed) {
        other = !other;
        if (id == base.point() || other) {
            continue;
        }
        outcome.expected.committed.erase(id);
        outcome.expected.possible.insert(id);
        repository->remove_point(id, "{}", {});
        outcome.expected.possible.erase(id);
    }
    const CollectPlan plan = repository->plan_collection(
        {.repack_dead_percent = 1, .unused_percent_max = 0, .end_foreign_sessions = true}, {}
    );
    repository->collect(plan, {});
}

struct Case {
    const char* name;
    Operation operation;
    FaultyStore::Count count;
    /// Made before: so many that the next one merges the index.
    unsigned small_backups = 0;
};

/// Runs the operation with the fault at call `k`; false when it has fewer calls than that.
bool run_with_fault(Base& base, const Case& one, const FaultyStore::Plan& plan) {
    MemoryStore memory;
    base.put_into(memory);
    Outcome outcome{.expected = base.expected()};
    FaultyStore faulty{memory, plan, one.count};
    bool stopped = false;
    try {
        one.operation(base, faulty, outcome);
        outcome.ended = true;
    } catch (const Error& error) {
        EXPECT_FALSE(faulty.crashed());
        EXPECT_TRUE(
            error.kind() == plan.kind || error.kind() == ErrorKind::kOutcomeUnknown ||
            error.kind() == ErrorKind::kVaultPoisoned
        ) << error.log_line();
        stopped = true;
    } catch (const SimulatedCrash&) {
        stopped = true;
    }
    testing::check_invariants(memory, base.key(), outcome.expected);
    // The next process goes on: backup, and the dead one's leftovers do no harm.
    const auto repository = Repository::open(memory, base.key(), base.clock(), kSmallPacks);
    const PointSummary later = testing::write_point(*repository, second_data());
    outcome.expected.committed.emplace(later.id, second_data());
    EXPECT_EQ(testing::read_streams(*repository, later.id), second_data());
    testing::check_invariants(memory, base.key(), outcome.expected);
    return stopped || faulty.calls() >= plan.call;
}

void sweep(const Case& one, Fault fault, ErrorKind kind, FaultyStore::Repeat repeat) {
    Base base{one.small_backups};
    std::uint64_t k = 1;
    constexpr std::uint64_t kCallsMax = 2000;
    while (k < kCallsMax) {
        SCOPED_TRACE(fmt::format("{}: fault {} at call {}", one.name, static_cast<int>(fault), k));
        const FaultyStore::Plan plan{.call = k, .fault = fault, .kind = kind, .repeat = repeat};
        if (!run_with_fault(base, one, plan) || ::testing::Test::HasFailure()) {
            break;
        }
        ++k;
    }
    EXPECT_GT(k, 1) << "the operation made no storage call";
    EXPECT_LT(k, kCallsMax);
}

const std::array<Case, 7> kCases{{
    {.name = "backup", .operation = back_up, .count = FaultyStore::Count::kAllCalls},
    {.name = "restore", .operation = restore, .count = FaultyStore::Count::kAllCalls},
    {.name = "expire", .operation = expire, .count = FaultyStore::Count::kAllCalls},
    {.name = "record", .operation = record, .count = FaultyStore::Count::kMutations},
    {.name = "rebuild", .operation = rebuild, .count = FaultyStore::Count::kAllCalls},
    {.name = "collect",
     .operation = collect,
     .count = FaultyStore::Count::kMutations,
     .small_backups = 6},
    {.name = "merge",
     .operation = merge_indexes,
     .count = FaultyStore::Count::kMutations,
     .small_backups = 11},
}};

class Sweep : public ::testing::TestWithParam<Case> {};

TEST_P(Sweep, FailsBeforeTheEffect) {
    sweep(GetParam(), Fault::kFail, ErrorKind::kStoreUnavailable, FaultyStore::Repeat::kOnce);
}
TEST_P(Sweep, FailsAfterTheEffect) {
    sweep(
        GetParam(),
        Fault::kFailAfterEffect,
        ErrorKind::kStoreUnavailable,
        FaultyStore::Repeat::kOnce
    );
}
TEST_P(Sweep, StaysAway) {
    sweep(GetParam(), Fault::kFail, ErrorKind::kStoreUnavailable, FaultyStore::Repeat::kForever);
}
TEST_P(Sweep, CrashesBeforeTheEffect) {
    sweep(
        GetParam(), Fault::kCrashBefore, ErrorKind::kStoreUnavailable, FaultyStore::Repeat::kOnce
    );
}
TEST_P(Sweep, CrashesAfterTheEffect) {
    sweep(GetParam(), Fault::kCrashAfter, ErrorKind::kStoreUnavailable, FaultyStore::Repeat::kOnce);
}

INSTANTIATE_TEST_SUITE_P(Operations, Sweep, ::testing::ValuesIn(kCases), [](const auto& tested) {
    return std::string{tested.param.name};
});

TEST(DiskFull, EndsTheBackupAndHarmsNothing) {
    const Case one{.name = "backup", .operation = back_up, .count = FaultyStore::Count::kMutations};
    sweep(one, Fault::kFail, ErrorKind::kStoreFull, FaultyStore::Repeat::kForever);
}

TEST(SyncFailure, PoisonsTheRepositoryUntilItIsOpenedAgain) {
    Base base{0};
    MemoryStore memory;
    base.put_into(memory);
    FaultyStore faulty{
        memory,
        {.call = 3,
         .fault = Fault::kFail,
         .kind = ErrorKind::kVaultPoisoned,
         .repeat = FaultyStore::Repeat::kOnce}
    };
    const auto repository = Repository::open(faulty, base.key(), base.clock(), kSmallPacks);
    EXPECT_EQ(
        testing::kind_thrown([&] { testing::write_point(*repository, second_data()); }),
        ErrorKind::kVaultPoisoned
    );
    // The store would take writes again; the repository does not try.
    EXPECT_EQ(
        testing::kind_thrown([&] { repository->append_state({}, {}); }), ErrorKind::kVaultPoisoned
    );
    EXPECT_EQ(testing::read_streams(*repository, base.point()), first_data());
    testing::check_invariants(memory, base.key(), base.expected());
}

TEST(Creation, IsCompletedAfterAnInterruption) {
    SystemClock clock;
    const Secret key = new_key();
    for (const Fault fault : {Fault::kFail, Fault::kCrashBefore, Fault::kCrashAfter}) {
        for (std::uint64_t k = 1; k <= 4; ++k) {
            SCOPED_TRACE(fmt::format("fault {} at call {}", static_cast<int>(fault), k));
            MemoryStore memory;
            FaultyStore faulty{memory, {.call = k, .fault = fault}};
            bool interrupted = false;
            try {
                Repository::create(faulty, key, {}, clock);
            } catch (const Error&) {
                interrupted = true;
            } catch (const SimulatedCrash&) {
                interrupted = true;
            }
            EXPECT_TRUE(interrupted);
            if (!Repository::exists(memory)) {
                Repository::create(memory, key, {}, clock);
            }
            const auto repository = Repository::open(memory, key, clock);
            const Streams streams{{"s", to_bytes("x")}};
            const PointId id = testing::write_point(*repository, streams).id;
            testing::check_invariants(memory, key, {.committed = {{id, streams}}, .possible = {}});
        }
    }
}

TEST(Creation, TwoAtATimeMakeOneRepository) {
    for (int round = 0; round < 20; ++round) {
        MemoryStore memory;
        const Secret key = new_key();
        std::atomic<int> made = 0;
        std::atomic<int> refused = 0;
        {
            std::vector<std::jthread> creators;
            for (int i = 0; i < 3; ++i) {
                creators.emplace_back([&, i] {
                    // At the same instant they would write the same config, and both have made it.
                    FakeClock clock{testing::instant(i)};
                    const auto kind =
                        testing::kind_thrown([&] { Repository::create(memory, key, {}, clock); });
                    ++(kind ? refused : made);
                    EXPECT_TRUE(!kind || kind == ErrorKind::kVaultExists);
                });
            }
        }
        EXPECT_EQ(made, 1);
        EXPECT_EQ(refused, 2);
        testing::check_invariants(memory, key, {});
    }
}

TEST(DeadSession, AbortedByTheCollectorCannotCommit) {
    Base base{0};
    MemoryStore memory;
    base.put_into(memory);
    const auto repository = Repository::open(memory, base.key(), base.clock(), kSmallPacks);
    const auto writer = repository->begin_point(testing::begin_point(), {});
    const auto stream = writer->open_stream({.name = "s", .kind = "k"});
    stream->write(as_bytes("late"));
    stream->close();
    // What the collector does: it takes the commit key. Any content bars the session; a sound
    // record is in corruption_test's matrix.
    std::optional<ObjectKey> session;
    memory.list(
        "points/",
        [&](const ObjectInfo& info) {
            session = info.key;
            return false;
        },
        {}
    );
    ASSERT_TRUE(session.has_value());
    const std::string group = session->text().substr(0, session->text().find('/', 7));
    memory.put_new(
        ObjectKey{fmt::format("{}/{}/commit", group, writer->id().to_string())},
        as_bytes("taken"),
        {}
    );
    EXPECT_EQ(testing::kind_thrown([&] { writer->commit({}, {}); }), ErrorKind::kSessionAborted);
}

}  // namespace
}  // namespace holdfast::vault
