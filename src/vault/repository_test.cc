#include "base/error.h"
#include "base/file.h"
#include "vault/detail/format.h"
#include "vault/object_store/local_store.h"
#include "vault/object_store/memory_store.h"
#include "vault/object_store/metered_store.h"
#include "vault/testing/vault_testing.h"
#include "vault/vault.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::pseudo_random_bytes;
using testing::Streams;
using testing::TestVault;
using testing::text_like_bytes;

TEST(Repository, GivesBackWhatWasCommitted) {
    TestVault vault;
    Streams streams;
    streams["databases/app/toc"] = to_bytes("a small table of contents");
    streams["databases/app/data/empty"] = {};
    streams["databases/app/data/tiny"] = to_bytes("1\tone\n");
    streams["databases/app/data/text"] = text_like_bytes(9 * kMiB, 1);
    streams["databases/app/data/random"] = pseudo_random_bytes(5 * kMiB + 12345, 2);
    streams["databases/app/data/zeros"] = Bytes(20 * kMiB);
    const PointSummary summary = vault.back_up(streams);

    EXPECT_EQ(summary.stream_count, streams.size());
    EXPECT_EQ(summary.size_bytes, testing::total_bytes(streams));
    EXPECT_EQ(vault.restore(summary.id), streams);
    vault.reopen();
    EXPECT_EQ(vault.restore(summary.id), streams);
    EXPECT_TRUE(vault.repository().check({.read_data_percent = 100}, {}).sound());
}

TEST(Repository, KeepsNamesKindsAttributesAndFigures) {
    TestVault vault;
    auto writer = vault.begin();
    auto stream = writer->open_stream(
        {.name = "b", .kind = "table-data", .attributes = {{"schema", "public"}, {"n", "1"}}}
    );
    stream->write(as_bytes("hello"));
    stream->close();
    writer->open_stream({.name = "a", .kind = "toc"})->close();
    const PointSummary summary = writer->commit(
        {.completed_at = testing::instant(1000),
         .expires_at = testing::instant(2000),
         .metadata_json = R"({"x":1})"},
        {}
    );

    const auto reader = vault.repository().open_point(summary.id, {});
    EXPECT_EQ(reader->summary().metadata_json, R"({"x":1})");
    EXPECT_EQ(reader->summary().expires_at, testing::instant(2000));
    EXPECT_EQ(reader->summary().completed_at, testing::instant(1000));
    EXPECT_EQ(reader->summary().instance_id, testing::kInstanceId);
    std::vector<std::string> names;
    reader->list_streams(
        [&](const StreamSummary& one) {
            names.push_back(one.info.name);
            return true;
        },
        {}
    );
    EXPECT_THAT(names, ElementsAre("a", "b"));
    const auto found = reader->find_stream("b", {});
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->size_bytes, 5);
    EXPECT_EQ(found->info.kind, "table-data");
    EXPECT_THAT(
        found->info.attributes, ElementsAre(std::pair{"n", "1"}, std::pair{"schema", "public"})
    );
    EXPECT_FALSE(reader->find_stream("c", {}).has_value());
    EXPECT_EQ(
        testing::kind_thrown([&] { (void)reader->open_stream("c", {}); }),
        ErrorKind::kObjectNotFound
    );
}

TEST(Repository, UnchangedDataCostsNearlyNothing) {
    TestVault vault;
    Streams streams;
    for (int i = 0; i < 300; ++i) {
        streams[fmt::format("databases/app/data/small_{:04}", i)] =
            text_like_bytes(100 + static_cast<std::size_t>(i) * 7, static_cast<unsigned>(i));
    }
    streams["databases/app/data/large"] = text_like_bytes(30 * kMiB, 7);
    const PointSummary first = vault.back_up(streams);
    const PointSummary second = vault.back_up(streams);
    EXPECT_EQ(second.chunk_count, second.reused_chunk_count);
    EXPECT_LT(second.stored_bytes * 200, first.stored_bytes);
    EXPECT_EQ(second.parent, first.id);
    EXPECT_EQ(vault.restore(second.id), streams);

    // One percent more at the end of the large stream.
    const Bytes more = text_like_bytes(300 * kKiB, 8);
    auto& large = streams["databases/app/data/large"];
    large.insert(large.end(), more.begin(), more.end());
    const PointSummary third = vault.back_up(streams);
    EXPECT_LT(third.stored_bytes * 10, first.stored_bytes);
    EXPECT_EQ(vault.restore(third.id), streams);
    EXPECT_EQ(vault.restore(first.id).size(), streams.size());
}

TEST(Repository, InsertedBytesMoveOnlyTheChunksNearThem) {
    TestVault vault;
    Streams streams;
    streams["s"] = pseudo_random_bytes(40 * kMiB, 3);
    const PointSummary first = vault.back_up(streams);
    auto& bytes = streams["s"];
    bytes.insert(bytes.begin() + 10'000'000, std::byte{42});
    const PointSummary second = vault.back_up(streams);
    EXPECT_LT(second.stored_bytes, 8 * kMiB);
    EXPECT_LT(second.stored_bytes * 4, first.stored_bytes);
    EXPECT_EQ(vault.restore(second.id), streams);
}

TEST(Repository, EqualStreamsAreStoredOnce) {
    TestVault vault;
    Streams streams;
    for (int i = 0; i < 50; ++i) {
        streams[fmt::format("copy_{}", i)] = pseudo_random_bytes(100'000, 4);
    }
    const PointSummary summary = vault.back_up(streams);
    EXPECT_LT(summary.stored_bytes, 150'000);
    EXPECT_EQ(vault.restore(summary.id), streams);
}

TEST(Repository, AnEmptyPointIsAPoint) {
    TestVault vault;
    const PointSummary summary = vault.back_up({});
    EXPECT_THAT(vault.restore(summary.id), IsEmpty());
    EXPECT_TRUE(vault.repository().check({}, {}).sound());
}

TEST(Repository, WithoutCommitNothingIsVisible) {
    TestVault vault;
    {
        auto writer = vault.begin();
        auto stream = writer->open_stream({.name = "s", .kind = "k"});
        stream->write(pseudo_random_bytes(3 * kMiB, 5));
        stream->close();
    }
    EXPECT_THAT(vault.repository().list_points({}).points, IsEmpty());
    const CheckReport report = vault.repository().check({.read_data_percent = 100}, {});
    EXPECT_TRUE(report.sound());
    EXPECT_EQ(report.point_count, 0);
}

TEST(Repository, AnUnfinishedStreamIsNoPoint) {
    TestVault vault;
    auto writer = vault.begin();
    {
        auto stream = writer->open_stream({.name = "s", .kind = "k"});
        stream->write(as_bytes("half"));
    }
    EXPECT_EQ(testing::kind_thrown([&] { writer->commit({}, {}); }), ErrorKind::kInternal);
    EXPECT_EQ(
        testing::kind_thrown([&] { (void)writer->open_stream({.name = "s", .kind = "k"}); }),
        ErrorKind::kInvalidInput
    );
    EXPECT_EQ(
        testing::kind_thrown([&] { (void)writer->open_stream({.name = "", .kind = "k"}); }),
        ErrorKind::kInvalidInput
    );
}

TEST(Repository, AStopEndsWritingAndReading) {
    TestVault vault;
    Streams streams;
    streams["s"] = pseudo_random_bytes(4 * kMiB, 6);
    const PointSummary summary = vault.back_up(streams);

    std::stop_source stop;
    auto writer = vault.repository().begin_point(testing::begin_point(), stop.get_token());
    auto stream = writer->open_stream({.name = "s", .kind = "k"});
    stop.request_stop();
    EXPECT_EQ(
        testing::kind_thrown([&] { stream->write(pseudo_random_bytes(64 * kMiB, 7)); }),
        ErrorKind::kCancelled
    );
    std::stop_source read_stop;
    const auto reader = vault.repository().open_point(summary.id, {});
    const auto input = reader->open_stream("s", read_stop.get_token());
    read_stop.request_stop();
    Bytes out(1024);
    EXPECT_EQ(testing::kind_thrown([&] { input->read(out); }), ErrorKind::kCancelled);
}

TEST(Repository, SeveralStreamsAndSessionsAtOnce) {
    TestVault vault;
    const auto back_up_concurrently = [&](unsigned seed) {
        auto writer = vault.begin();
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < 3; ++i) {
            threads.emplace_back([&, i] {
                auto stream = writer->open_stream({.name = fmt::format("s{}", i), .kind = "k"});
                // Half of it the same in every session.
                stream->write(text_like_bytes(3 * kMiB, i));
                stream->write(text_like_bytes(2 * kMiB, seed * 100 + i));
                stream->close();
            });
        }
        threads.clear();
        return writer->commit({}, {}).id;
    };
    std::array<PointId, 3> ids;
    {
        std::vector<std::jthread> sessions;
        for (unsigned s = 0; s < ids.size(); ++s) {
            sessions.emplace_back([&, s] { ids[s] = back_up_concurrently(s + 1); });
        }
    }
    for (unsigned s = 0; s < ids.size(); ++s) {
        Streams expected;
        for (unsigned i = 0; i < 3; ++i) {
            Bytes bytes = text_like_bytes(3 * kMiB, i);
            const Bytes more = text_like_bytes(2 * kMiB, (s + 1) * 100 + i);
            bytes.insert(bytes.end(), more.begin(), more.end());
            expected[fmt::format("s{}", i)] = std::move(bytes);
        }
        EXPECT_EQ(vault.restore(ids[s]), expected);
    }
    EXPECT_TRUE(vault.repository().check({.read_data_percent = 100}, {}).sound());
}

TEST(Repository, StreamsBelowAPrefix) {
    TestVault vault;
    Streams streams;
    for (int i = 0; i < 500; ++i) {
        streams[fmt::format("databases/a/data/{:03}", i)] = to_bytes(fmt::format("{}", i));
        streams[fmt::format("databases/b/data/{:03}", i)] = to_bytes(fmt::format("{}", i));
    }
    streams["globals/roles.sql"] = to_bytes("CREATE ROLE");
    const auto id = vault.back_up(streams).id;
    const auto reader = vault.repository().open_point(id, {});
    std::vector<std::string> names;
    reader->list_streams_below(
        "databases/b/",
        [&](const StreamSummary& one) {
            names.push_back(one.info.name);
            return names.size() < 3;
        },
        {}
    );
    EXPECT_THAT(
        names, ElementsAre("databases/b/data/000", "databases/b/data/001", "databases/b/data/002")
    );
    EXPECT_EQ(vault.restore(id), streams);
}

TEST(Repository, RemovesCommitAndManifestOnly) {
    TestVault vault;
    Streams streams;
    streams["s"] = pseudo_random_bytes(2 * kMiB, 9);
    const auto first = vault.back_up(streams).id;
    const auto second = vault.back_up(streams).id;
    EXPECT_TRUE(vault.repository().remove_point(first, R"({"by":"expiry"})", {}));
    EXPECT_FALSE(vault.repository().remove_point(first, "{}", {}));
    EXPECT_FALSE(vault.repository().find_point(first, {}).has_value());
    EXPECT_EQ(
        testing::kind_thrown([&] { (void)vault.repository().open_point(first, {}); }),
        ErrorKind::kRecoveryPointNotFound
    );
    EXPECT_EQ(vault.restore(second), streams);
    EXPECT_TRUE(vault.repository().remove_point(second, "{}", {}));
    const CheckReport report = vault.repository().check({}, {});
    EXPECT_TRUE(report.sound());
    EXPECT_GT(report.unreferenced_bytes, 2 * kMiB);

    const StateLog states = vault.repository().read_states(0, {});
    ASSERT_EQ(states.records.size(), 2);
    EXPECT_EQ(states.records[0].record.kind, StateKind::kPointDeleted);
    EXPECT_EQ(states.records[0].record.point, first);
    EXPECT_EQ(states.records[0].record.document_json, R"({"by":"expiry"})");
}

TEST(Repository, AHeldPointStays) {
    TestVault vault;
    const auto id = vault.back_up({{"s", to_bytes("x")}}).id;
    vault.repository().append_state({.kind = StateKind::kHeld, .point = id}, {});
    EXPECT_EQ(
        testing::kind_thrown([&] { vault.repository().remove_point(id, "{}", {}); }),
        ErrorKind::kImmutableData
    );
    vault.repository().append_state({.kind = StateKind::kReleased, .point = id}, {});
    // The instance's id is compared without case.
    vault.repository().append_state(
        {.kind = StateKind::kHeld,
         .instance_id = testing::kUpperInstanceId,
         .until = vault.clock().now() + std::chrono::hours{1}},
        {}
    );
    EXPECT_EQ(
        testing::kind_thrown([&] { vault.repository().remove_point(id, "{}", {}); }),
        ErrorKind::kImmutableData
    );
    vault.clock().advance(std::chrono::hours{2});
    EXPECT_TRUE(vault.repository().remove_point(id, "{}", {}));
}

TEST(Repository, StatesKeepTheirOrderAcrossProcesses) {
    TestVault vault;
    auto other = vault.open_another();
    for (int i = 0; i < 5; ++i) {
        vault.repository().append_state(
            {.kind = StateKind::kExpirySet, .document_json = fmt::format("{}", 2 * i)}, {}
        );
        other->append_state(
            {.kind = StateKind::kExpiryExtended, .document_json = fmt::format("{}", 2 * i + 1)}, {}
        );
    }
    const StateLog log = vault.repository().read_states(0, {});
    EXPECT_TRUE(log.complete);
    ASSERT_EQ(log.records.size(), 10);
    for (std::size_t i = 0; i < log.records.size(); ++i) {
        EXPECT_EQ(log.records[i].sequence, i + 1);
        EXPECT_EQ(log.records[i].record.document_json, fmt::format("{}", i));
    }
    EXPECT_EQ(vault.repository().read_states(7, {}).records.size(), 3);
}

TEST(Repository, CatalogSnapshots) {
    TestVault vault;
    EXPECT_FALSE(vault.repository().latest_catalog_snapshot({}).has_value());
    for (unsigned i = 0; i < 12; ++i) {
        vault.repository().put_catalog_snapshot(text_like_bytes(10'000, i), {});
    }
    EXPECT_EQ(vault.repository().latest_catalog_snapshot({}), text_like_bytes(10'000, 11));
    std::size_t kept = 0;
    vault.store().list("catalog/", [&](const ObjectInfo&) { return ++kept < 100; }, {});
    EXPECT_EQ(kept, 8);
}

TEST(Repository, TheRecoveryKeyOpensEverything) {
    TestVault vault;
    Streams streams;
    streams["s"] = text_like_bytes(100'000, 1);
    const auto id = vault.back_up(streams).id;
    vault.repository().append_state({.kind = StateKind::kHeld, .point = id}, {});
    vault.repository().put_catalog_snapshot(as_bytes("snapshot"), {});
    EXPECT_FALSE(vault.repository().recovery_kit_written({}));
    const Secret kit =
        vault.repository().recovery_kit({.vault_name = "v", .location = "/srv/backups/v"});
    vault.repository().mark_recovery_kit_written({});
    EXPECT_TRUE(vault.repository().recovery_kit_written({}));

    const std::string text{kit.expose_text()};
    EXPECT_THAT(text, HasSubstr("/srv/backups/v"));
    EXPECT_THAT(text, HasSubstr(vault.repository().id().to_string()));
    const auto at = text.find("\nholdfast-key-1:");
    ASSERT_NE(at, std::string::npos);
    const Secret key = parse_key(text.substr(at, text.find('\n', at + 1) - at));
    const auto repository = Repository::open(vault.store(), key, vault.clock());
    EXPECT_EQ(testing::read_streams(*repository, id), streams);
    const ScanReport scan = repository->scan({});
    ASSERT_EQ(scan.points.points.size(), 1);
    EXPECT_EQ(scan.points.points[0].id, id);
    EXPECT_EQ(scan.label, testing::kLabel);
    EXPECT_EQ(scan.states.records.size(), 2);
    EXPECT_EQ(scan.catalog_snapshot, to_bytes("snapshot"));
    EXPECT_TRUE(repository->recovery_kit_written({}));
}

TEST(Repository, AddedKeysOpenToo) {
    TestVault vault;
    const Secret second = new_key();
    EXPECT_EQ(
        testing::kind_thrown([&] { (void)Repository::open(vault.store(), second, vault.clock()); }),
        ErrorKind::kKeyWrong
    );
    vault.repository().add_key(second, {});
    vault.repository().add_key(second, {});
    EXPECT_EQ(
        Repository::open(vault.store(), second, vault.clock())->id(), vault.repository().id()
    );
}

TEST(Repository, IsMadeOnce) {
    MemoryStore store;
    FakeClock clock{testing::instant(0)};
    const Secret key = new_key();
    EXPECT_FALSE(Repository::exists(store));
    EXPECT_EQ(
        testing::kind_thrown([&] { (void)Repository::open(store, key, clock); }),
        ErrorKind::kVaultNotFound
    );
    Repository::create(store, key, {}, clock);
    EXPECT_TRUE(Repository::exists(store));
    EXPECT_EQ(
        testing::kind_thrown([&] { Repository::create(store, key, {}, clock); }),
        ErrorKind::kVaultExists
    );
}

TEST(Repository, ANewerFormatIsRefusedAndLeftAlone) {
    MemoryStore store;
    FakeClock clock{testing::instant(0)};
    const Secret key = new_key();
    Repository::create(store, key, {}, clock);
    // A later program wrote the second config: the highest number counts.
    Bytes newer = *store.get(config_key(1), {});
    constexpr std::size_t kVersionAt = 8;
    newer[kVersionAt] = std::byte{2};
    ASSERT_EQ(store.put_new(config_key(2), newer, {}), PutOutcome::kCreated);
    const auto keys_of = [&] {
        std::vector<std::string> keys;
        store.list(
            "",
            [&](const ObjectInfo& info) {
                keys.push_back(info.key.text());
                return true;
            },
            {}
        );
        return keys;
    };
    const std::vector<std::string> before = keys_of();
    try {
        (void)Repository::open(store, key, clock);
        ADD_FAILURE() << "opened";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kVaultFormatUnsupported);
        EXPECT_THAT(error.text().message, HasSubstr("format version 2"));
        EXPECT_THAT(error.text().recommended_actions, ElementsAre(HasSubstr("newer version")));
    }
    EXPECT_EQ(
        testing::kind_thrown([&] { Repository::create(store, key, {}, clock); }),
        ErrorKind::kVaultExists
    );
    EXPECT_EQ(keys_of(), before);
}

TEST(Repository, ALostIndexIsRebuiltFromThePacks) {
    TestVault vault;
    Streams streams;
    streams["s"] = pseudo_random_bytes(5 * kMiB, 1);
    streams["t"] = text_like_bytes(50'000, 2);
    const auto id = vault.back_up(streams).id;
    std::vector<ObjectKey> segments;
    vault.store().list(
        "index/",
        [&](const ObjectInfo& info) {
            segments.push_back(info.key);
            return true;
        },
        {}
    );
    ASSERT_EQ(segments.size(), 1);
    vault.store().remove(segments[0], {});
    vault.reopen();
    EXPECT_EQ(vault.restore(id), streams);  // From the footers.
    vault.repository().rebuild_index({});
    const PointSummary again = vault.back_up(streams);
    EXPECT_EQ(again.reused_chunk_count, again.chunk_count);
}

TEST(Repository, ManySmallBackupsMergeTheirIndexes) {
    TestVault vault;
    std::vector<std::pair<PointId, Streams>> points;
    for (unsigned i = 0; i < 30; ++i) {
        Streams streams;
        streams["s"] = pseudo_random_bytes(5000, i);
        points.emplace_back(vault.back_up(streams).id, streams);
    }
    std::size_t segments = 0;
    vault.store().list("index/", [&](const ObjectInfo&) { return ++segments < 1000; }, {});
    EXPECT_LT(segments, 16);
    vault.reopen();
    for (const auto& [id, streams] : points) {
        EXPECT_EQ(vault.restore(id), streams);
    }
}

TEST(Repository, LivesOnADisk) {
    const TemporaryDirectory directory{"vault-test"};
    LocalStore store{directory.path() / "vault"};
    FakeClock clock{testing::instant(0)};
    const Secret key = read_or_create_key_file(directory.path() / "key");
    Repository::create(store, key, {.label = "disk"}, clock);
    Streams streams;
    streams["s"] = text_like_bytes(3 * kMiB, 1);
    PointId id;
    {
        const auto repository = Repository::open(store, key, clock);
        id = testing::write_point(*repository, streams).id;
    }
    LocalStore again{directory.path() / "vault"};
    const auto repository = Repository::open(again, read_key_file(directory.path() / "key"), clock);
    EXPECT_EQ(testing::read_streams(*repository, id), streams);
    EXPECT_EQ(repository->usage({}).point_count, 1);
}

}  // namespace
}  // namespace holdfast::vault
