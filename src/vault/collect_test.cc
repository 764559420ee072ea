#include "vault/collect.h"

#include "vault/detail/format.h"
#include "vault/session_owner.h"
#include "vault/testing/vault_testing.h"

#include <random>

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

using testing::kind_thrown;
using testing::pseudo_random_bytes;
using testing::read_streams;
using testing::Streams;
using testing::text_like_bytes;
using testing::write_point;

/// Several packs from little data.
OpenOptions small_packs(SessionOwner& owner) {
    return {.workers = 2, .pack_bytes = 256 * kKiB, .owner = &owner};
}

/// One service at work on a repository in memory.
class Vault {
public:
    Vault() {
        Repository::create(store, key, {.label = "collect"}, clock);
        restart();
    }
    /// As after a crash: the same owner, another process.
    void restart() {
        repository.reset();
        owner = std::make_unique<SessionOwner>(id);
        repository = Repository::open(store, key, clock, small_packs(*owner));
    }
    CollectReport collect(const CollectOptions& options = {}) {
        return repository->collect(repository->plan_collection(options, {}), {});
    }
    [[nodiscard]] std::uint64_t stored_bytes() {
        std::uint64_t sum = 0;
        for (const auto& [name, bytes] : store.contents()) {
            sum += bytes.size();
        }
        return sum;
    }
    [[nodiscard]] std::uint64_t count(std::string_view prefix) {
        std::uint64_t found = 0;
        store.list(prefix, [&](const ObjectInfo&) { return ++found, true; }, {});
        return found;
    }

    const OwnerId id = OwnerId::random();
    MemoryStore store;
    FakeClock clock{testing::instant(0)};
    Secret key = new_key();
    std::unique_ptr<SessionOwner> owner;
    std::unique_ptr<Repository> repository;
};

/// A database that changes from day to day.
Streams day_of(std::uint64_t day) {
    Streams streams;
    for (std::uint64_t table = 0; table < 6; ++table) {
        const std::uint64_t version = (day + table) / 3;
        streams[fmt::format("t{}", table)] =
            pseudo_random_bytes(60 * kKiB + table * 17'000, 1000 * table + version);
    }
    streams["log"] = text_like_bytes(50 * kKiB + day * 3000, 7);
    streams["small"] = to_bytes(fmt::format("day {}", day));
    return streams;
}

TEST(Collect, GivesBackWhatRemovedPointsAloneNeeded) {
    Vault vault;
    const Streams first{{"a", pseudo_random_bytes(2 * kMiB, 1)}};
    const Streams second{{"b", pseudo_random_bytes(kMiB, 2)}};
    const auto gone = write_point(*vault.repository, first).id;
    const auto kept = write_point(*vault.repository, second).id;
    vault.repository->remove_point(gone, "{}", {});

    const CollectPlan plan = vault.repository->plan_collection({}, {});
    EXPECT_TRUE(plan.obstacles.empty());
    EXPECT_EQ(plan.point_count, 1U);
    EXPECT_GE(plan.dead.bytes, 2 * kMiB);
    const std::uint64_t before = vault.stored_bytes();
    EXPECT_EQ(vault.stored_bytes(), before);  // A plan changes nothing.

    const CollectReport report = vault.repository->collect(plan, {});
    EXPECT_GE(report.removed.bytes, 2 * kMiB);
    EXPECT_LE(vault.stored_bytes(), before - 2 * kMiB + 64 * kKiB);
    EXPECT_EQ(read_streams(*vault.repository, kept), second);
    EXPECT_EQ(vault.count("condemned/"), 0U);
    EXPECT_TRUE(vault.repository->check({.read_data_percent = 100}, {}).sound());
    const auto again = vault.collect();
    EXPECT_EQ(again.removed.packs, 0U);
}

TEST(Collect, KeepsEverythingOfManyPointsAfterRandomRemovals) {
    std::mt19937_64 random{5};
    Vault vault;
    std::map<PointId, Streams> points;
    for (std::uint64_t day = 0; day < 24; ++day) {
        const Streams streams = day_of(day);
        points.emplace(write_point(*vault.repository, streams).id, streams);
    }
    while (points.size() > 1) {
        const std::size_t removals = 1 + random() % 6;
        for (std::size_t i = 0; i < removals && points.size() > 1; ++i) {
            const auto victim =
                std::next(points.begin(), static_cast<std::ptrdiff_t>(random() % points.size()));
            vault.repository->remove_point(victim->first, "{}", {});
            points.erase(victim);
        }
        vault.collect();
        for (const auto& [id, streams] : points) {
            ASSERT_EQ(read_streams(*vault.repository, id), streams);
        }
        const CheckReport check = vault.repository->check({.read_data_percent = 100}, {});
        EXPECT_TRUE(check.sound());
        const CollectPlan plan = vault.repository->plan_collection({}, {});
        // What the points reach, and no more than a tenth beside it: records, index, dead blobs.
        EXPECT_LE(vault.stored_bytes(), plan.live_bytes * 11 / 10 + 40 * kKiB);
    }
    // As another process sees it.
    vault.restart();
    EXPECT_EQ(read_streams(*vault.repository, points.begin()->first), points.begin()->second);
}

TEST(Collect, LeavesWhatASessionAtWorkMayRelyOn) {
    Vault vault;
    const Streams data{{"a", pseudo_random_bytes(kMiB, 1)}};
    const auto old = write_point(*vault.repository, data).id;
    // It writes what `old` has, before `old` is removed, and commits after the collections.
    const auto writer = vault.repository->begin_point(testing::begin_point("another"), {});
    const auto stream = writer->open_stream({.name = "a", .kind = "k"});
    stream->write(data.at("a"));
    stream->close();
    vault.repository->remove_point(old, "{}", {});
    for (int i = 0; i < 3; ++i) {
        const CollectReport report = vault.collect();
        EXPECT_EQ(report.removed.packs, 0U);
        EXPECT_GE(report.suspects.bytes, kMiB);
    }
    const PointId id = writer->commit({}, {}).id;
    EXPECT_EQ(read_streams(*vault.repository, id), data);
    vault.collect();
    EXPECT_EQ(read_streams(*vault.repository, id), data);
    EXPECT_TRUE(vault.repository->check({.read_data_percent = 100}, {}).sound());
}

TEST(Collect, WaitsForSessionsOfOthersUntilSomebodyVouches) {
    Vault vault;
    SessionOwner stranger;
    const auto elsewhere =
        Repository::open(vault.store, vault.key, vault.clock, small_packs(stranger));
    const Streams data{{"a", pseudo_random_bytes(kMiB, 1)}};
    const auto old = write_point(*vault.repository, data).id;
    auto writer = elsewhere->begin_point(testing::begin_point("another"), {});
    const auto stream = writer->open_stream({.name = "a", .kind = "k"});
    stream->write(data.at("a"));
    stream->close();
    vault.repository->remove_point(old, "{}", {});
    EXPECT_EQ(vault.collect().removed.packs, 0U);
    const CollectReport waiting = vault.collect();
    EXPECT_EQ(waiting.removed.packs, 0U);

    const CollectReport report = vault.collect({.end_foreign_sessions = true});
    EXPECT_EQ(report.ended_sessions, 1U);
    EXPECT_GE(report.removed.bytes, kMiB);
    EXPECT_EQ(kind_thrown([&] { writer->commit({}, {}); }), ErrorKind::kSessionAborted);
}

TEST(Collect, SessionsOfAnEarlierProcessAreDead) {
    Vault vault;
    {
        auto writer = vault.repository->begin_point(testing::begin_point(), {});
        const auto stream = writer->open_stream({.name = "a", .kind = "k"});
        stream->write(pseudo_random_bytes(kMiB, 3));
        stream->close();
    }
    vault.restart();
    EXPECT_EQ(vault.count("sessions/"), 1U);
    const CollectReport report = vault.collect();
    EXPECT_EQ(report.ended_sessions, 1U);
    EXPECT_EQ(vault.count("sessions/"), 0U);
    EXPECT_EQ(vault.count("packs/"), 0U);
}

TEST(Collect, APointBeingReadStaysReadable) {
    Vault vault;
    const Streams data{{"a", pseudo_random_bytes(3 * kMiB, 1)}};
    const auto id = write_point(*vault.repository, data).id;
    auto reader = vault.repository->open_point(id, {});
    auto stream = reader->open_stream("a", {});
    Bytes head(1000);
    stream->read(head);
    vault.repository->remove_point(id, "{}", {});
    EXPECT_EQ(vault.collect().removed.packs, 0U);
    Bytes rest(3 * kMiB - head.size());
    EXPECT_EQ(stream->read(rest), rest.size());
    stream.reset();
    reader.reset();
    EXPECT_GE(vault.collect().removed.bytes, 3 * kMiB);
}

// A reader elsewhere has the old places in its index; what it reads has moved.
TEST(Collect, ReadersElsewhereFindWhatMoved) {
    Vault vault;
    std::vector<PointId> points;
    for (std::uint64_t day = 0; day < 6; ++day) {
        points.push_back(write_point(*vault.repository, day_of(day)).id);
    }
    SessionOwner stranger;
    const auto elsewhere =
        Repository::open(vault.store, vault.key, vault.clock, small_packs(stranger));
    const auto reader = elsewhere->open_point(points[3], {});
    for (const std::size_t gone : {0U, 1U, 2U, 4U, 5U}) {
        vault.repository->remove_point(points[gone], "{}", {});
    }
    EXPECT_GT(vault.collect({.unused_percent_max = 0}).copied_blobs, 0U);
    EXPECT_EQ(read_streams(*elsewhere, points[3]), day_of(3));
    for (const auto& [name, bytes] : day_of(3)) {
        const auto stream = reader->open_stream(name, {});
        Bytes read(bytes.size());
        EXPECT_EQ(stream->read(read), read.size());
        EXPECT_EQ(read, bytes);
    }
}

// A collector elsewhere knows nothing of a reader here; who removes a point ends its restores.
TEST(Collect, ReadersElsewhereAreToldThatTheirPointWasRemoved) {
    Vault vault;
    const Streams data{
        {"a", pseudo_random_bytes(2 * kMiB, 1)},
        {"pages/b", pseudo_random_bytes(kMiB, 2)},
    };
    const PointId id = write_point(*vault.repository, data).id;
    SessionOwner stranger;
    const auto elsewhere =
        Repository::open(vault.store, vault.key, vault.clock, small_packs(stranger));
    const auto reader = elsewhere->open_point(id, {});
    // Opened and not read: what was fetched ahead or is cached would still be given.
    const auto chunks = reader->open_stream("a", {});
    const auto pages = reader->open_stream("pages/b", {});
    SessionOwner third;
    const auto another =
        Repository::open(vault.store, vault.key, vault.clock, small_packs(third));
    const auto unread = another->open_point(id, {});
    vault.repository->remove_point(id, "{}", {});
    EXPECT_GT(vault.collect().removed.bytes, 3 * kMiB);

    for (StreamReader* const stream : {chunks.get(), pages.get()}) {
        EXPECT_EQ(
            kind_thrown([&] {
                Bytes all(2 * kMiB);
                (void)stream->read(all);
            }),
            ErrorKind::kRecoveryPointNotFound
        );
    }
    EXPECT_EQ(
        kind_thrown([&] { unread->list_streams([](const auto&) { return true; }, {}); }),
        ErrorKind::kRecoveryPointNotFound
    );
    EXPECT_EQ(
        kind_thrown([&] { (void)elsewhere->open_point(id, {}); }), ErrorKind::kRecoveryPointNotFound
    );
}

// While the point is there, it is damage and nothing else.
TEST(Collect, ALostPackOfAPointThatIsThereIsDamage) {
    Vault vault;
    const Streams data{{"a", pseudo_random_bytes(kMiB, 1)}};
    const PointId id = write_point(*vault.repository, data).id;
    std::vector<ObjectKey> packs;
    vault.store.list(
        "packs/", [&](const ObjectInfo& info) { return packs.push_back(info.key), true; }, {}
    );
    for (const ObjectKey& pack : packs) {
        vault.store.remove(pack, {});
    }
    vault.restart();
    EXPECT_EQ(
        kind_thrown([&] { (void)read_streams(*vault.repository, id); }), ErrorKind::kVaultCorrupt
    );
}

TEST(Collect, RemovesNothingWhenAnythingIsUnclear) {
    Vault vault;
    const auto gone = write_point(*vault.repository, {{"a", pseudo_random_bytes(kMiB, 1)}}).id;
    write_point(*vault.repository, {{"b", pseudo_random_bytes(kMiB, 2)}});
    auto writer = vault.repository->begin_point(testing::begin_point("unfinished"), {});
    writer.reset();
    for (int i = 0; i < 3; ++i) {
        vault.repository->append_state({.kind = StateKind::kHeld, .instance_id = "x"}, {});
    }
    vault.repository->remove_point(gone, "{}", {});
    const auto whole = vault.store.contents();
    for (const auto& [key, bytes] : whole) {
        const std::string& text = key.text();
        const bool matters = text.starts_with("points/") || text.starts_with("sessions/") ||
                             text.starts_with("state/") || text.starts_with("config/");
        if (!matters) {
            continue;
        }
        SCOPED_TRACE(text);
        // Opened before the damage: a damaged config would not be.
        vault.restart();
        vault.store.flip_byte(key, bytes.size() / 2);
        const auto damaged = vault.store.contents();
        const CollectPlan plan = vault.repository->plan_collection({}, {});
        ASSERT_EQ(plan.obstacles.size(), 1U);
        EXPECT_EQ(plan.obstacles.front().object_key, text);
        EXPECT_EQ(
            kind_thrown([&] { vault.repository->collect(plan, {}); }), ErrorKind::kVaultCorrupt
        );
        EXPECT_EQ(vault.store.contents(), damaged);
        vault.store.replace_contents(whole);
    }
}

/// Each stream fills a pack of its own, wherever the chunker would cut.
Streams many_packs() {
    Streams streams;
    for (std::uint64_t i = 0; i < 10; ++i) {
        streams.emplace(fmt::format("stream-{}", i), pseudo_random_bytes(256 * kKiB, i));
    }
    return streams;
}

// Every check goes on where the last one stopped, whoever made it.
TEST(BudgetedCheck, GetsThroughAllPacksOneAfterTheOther) {
    Vault vault;
    write_point(*vault.repository, many_packs());
    const std::uint64_t packs = vault.count("packs/");
    std::uint64_t read = 0;
    std::uint64_t never = packs;
    for (int turn = 0; never > 0; ++turn) {
        ASSERT_LT(turn, 40);
        vault.restart();
        vault.clock.advance(std::chrono::hours{1});
        const CheckReport report = vault.repository->check({.budget = {.percent = 20}}, {});
        EXPECT_TRUE(report.sound());
        EXPECT_GT(report.pack_read_count, 0U);
        EXPECT_LT(report.pack_read_count, packs);
        read += report.pack_read_count;
        EXPECT_EQ(
            report.pack_never_read_count,
            never > report.pack_read_count ? never - report.pack_read_count : 0U
        );
        never = report.pack_never_read_count;
        EXPECT_EQ(vault.count("verified/"), 1U);
    }
    EXPECT_GE(read, packs);
    // Now the one read first is the oldest, and the next check takes it again.
    const auto report = vault.repository->check({.budget = {.bytes = 1}}, {});
    EXPECT_EQ(report.pack_read_count, 1U);
    ASSERT_TRUE(report.oldest_read_at.has_value());
    EXPECT_GE(*report.oldest_read_at, testing::instant(3600));
}

TEST(BudgetedCheck, DamageIsFoundWhenItsTurnComesAndIsNotForgotten) {
    Vault vault;
    const Streams data = many_packs();
    const auto id = write_point(*vault.repository, data).id;
    EXPECT_TRUE(vault.repository->check({.read_data_percent = 100}, {}).sound());
    std::optional<ObjectKey> victim;  // Not the pack of the nodes, which is small.
    vault.store.list(
        "packs/",
        [&](const ObjectInfo& info) {
            if (info.size_bytes > 200 * kKiB) {
                victim = info.key;
            }
            return true;
        },
        {}
    );
    ASSERT_TRUE(victim.has_value());
    ASSERT_TRUE(vault.store.flip_byte(*victim, 5000));
    bool found = false;
    for (int turn = 0; turn < 20 && !found; ++turn) {
        vault.clock.advance(std::chrono::hours{1});
        const auto report = vault.repository->check({.budget = {.percent = 10}}, {});
        found = !report.sound();
        if (found) {
            EXPECT_EQ(report.damaged.front().object_key, victim->text());
            EXPECT_EQ(report.damaged.front().points, std::vector<PointId>{id});
        }
    }
    EXPECT_TRUE(found);
    // Stored again by the next backup; then the damaged pack is of no use to anybody and goes.
    write_point(*vault.repository, data);
    vault.collect();
    vault.collect();
    EXPECT_FALSE(vault.store.size(*victim, {}).has_value());
    EXPECT_EQ(read_streams(*vault.repository, id), data);
    EXPECT_TRUE(vault.repository->check({.read_data_percent = 100}, {}).sound());
}

}  // namespace
}  // namespace holdfast::vault
