// The golden repositories: written once by the version that introduced their format, and never
// again. A failure here means that vaults in the field can no longer be read.
//
// A new one is written by `vault_golden_test --gtest_also_run_disabled_tests
// --gtest_filter=*WriteAnew` into a directory that must not exist yet.

#include "base/file.h"
#include "vault/collect.h"
#include "vault/detail/format.h"
#include "vault/session_owner.h"
#include "vault/testing/vault_testing.h"

#include <filesystem>

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

namespace fs = std::filesystem;
using testing::Streams;
using testing::text_like_bytes;

const fs::path kVersion1 = fs::path{HOLDFAST_GOLDEN_DIR} / "v1";
/// Of the same version, with the feature "extents".
const fs::path kVersion1Extents = fs::path{HOLDFAST_GOLDEN_DIR} / "v1-extents";
/// And with "delta-layers": extents of one delta, of several, of as many as there may be.
const fs::path kVersion1Layers = fs::path{HOLDFAST_GOLDEN_DIR} / "v1-layers";
/// The same points with "extent-tags": tags in place of the digests of extents with deltas.
const fs::path kVersion1Tags = fs::path{HOLDFAST_GOLDEN_DIR} / "v1-tags";
/// And with "extent-ids": bases of the type whose ids are made of two digests.
const fs::path kVersion1ExtentIds = fs::path{HOLDFAST_GOLDEN_DIR} / "v1-extent-ids";
/// In the middle of collections: sessions at work, a condemned list, suspects, verified packs.
const fs::path kVersion1Collect = fs::path{HOLDFAST_GOLDEN_DIR} / "v1-collect";
constexpr std::string_view kKeyFile = "key.txt";
constexpr std::string_view kRecoveryKeyFile = "recovery-key.txt";
constexpr std::size_t kFileMax = 4 * kMiB;

Streams first_data() {
    Streams streams;
    streams["server/manifest.json"] = to_bytes(R"({"version":150020})");
    streams["databases/app/toc"] = text_like_bytes(3000, 1);
    streams["databases/app/data/public.empty"] = {};
    streams["databases/app/data/public.tiny"] = to_bytes("1\tone\n");
    streams["databases/app/data/public.text"] = text_like_bytes(40'000, 2);
    streams["databases/app/data/public.random"] = testing::pseudo_random_bytes(5000, 3);
    // Several chunks, and so a tree, of next to no bytes.
    streams["databases/app/data/public.zeros"] = Bytes(9 * kMiB);
    for (int i = 0; i < 100; ++i) {
        streams[fmt::format("databases/app/data/small.t_{:05}", i)] =
            text_like_bytes(static_cast<std::size_t>(i) * 3, static_cast<unsigned>(i));
    }
    return streams;
}

Streams second_data() {
    Streams streams = first_data();
    streams["databases/app/data/public.text"] = text_like_bytes(41'000, 2);
    streams.erase("databases/app/data/public.tiny");
    return streams;
}

void load(MemoryStore& store, const fs::path& root) {
    for (const auto& entry : fs::recursive_directory_iterator{root}) {
        const std::string name = entry.path().lexically_relative(root).generic_string();
        if (entry.is_regular_file() && name.find('/') != std::string::npos) {
            const auto content = read_file(entry.path(), kFileMax);
            ASSERT_TRUE(content.has_value());
            store.put_new(ObjectKey{name}, as_bytes(*content), {});
        }
    }
}

PointSummary write_point(Repository& repository, const Streams& streams, int number) {
    const auto writer = repository.begin_point(testing::begin_point(), {});
    for (const auto& [name, bytes] : streams) {
        const auto stream =
            writer->open_stream({.name = name, .kind = "table-data", .attributes = {{"name", name}}}
            );
        stream->write(bytes);
        stream->close();
    }
    return writer->commit(
        {.completed_at = testing::instant(100 * number),
         .expires_at = testing::instant(1000),
         .metadata_json = fmt::format(R"({{"golden":{}}})", number)},
        {}
    );
}

TEST(Golden, Version1OpensAndRestores) {
    MemoryStore store;
    load(store, kVersion1);
    SystemClock clock;
    for (const std::string_view file : {kKeyFile, kRecoveryKeyFile}) {
        const auto key = read_file(kVersion1 / file, kFileMax);
        ASSERT_TRUE(key.has_value());
        const auto repository = Repository::open(store, parse_key(*key), clock);
        EXPECT_EQ(repository->label(), "golden");

        const PointList list = repository->list_points({});
        ASSERT_EQ(list.points.size(), 2U);
        EXPECT_TRUE(list.damaged.empty());
        EXPECT_EQ(testing::read_streams(*repository, list.points[0].id), first_data());
        EXPECT_EQ(testing::read_streams(*repository, list.points[1].id), second_data());
        EXPECT_EQ(list.points[1].parent, list.points[0].id);
        EXPECT_EQ(list.points[1].instance_id, testing::kInstanceId);
        EXPECT_EQ(list.points[1].metadata_json, R"({"golden":2})");
        EXPECT_EQ(list.points[1].completed_at, testing::instant(200));
        EXPECT_EQ(list.points[1].expires_at, testing::instant(1000));

        const StateLog states = repository->read_states(0, {});
        EXPECT_TRUE(states.complete);
        ASSERT_EQ(states.records.size(), 12U);
        for (std::size_t i = 0; i < 11; ++i) {
            EXPECT_EQ(static_cast<std::size_t>(states.records[i].record.kind), i + 1);
            EXPECT_EQ(states.records[i].record.until, testing::instant(500));
        }
        EXPECT_EQ(states.records[11].record.kind, StateKind::kPointDeleted);
        EXPECT_EQ(repository->latest_catalog_snapshot({}), text_like_bytes(2000, 9));
        EXPECT_TRUE(repository->check({.read_data_percent = 100}, {}).sound());
    }
}

TEST(Golden, Version1TakesNewBackups) {
    MemoryStore store;
    load(store, kVersion1);
    SystemClock clock;
    const auto key = read_file(kVersion1 / kKeyFile, kFileMax);
    const auto repository = Repository::open(store, parse_key(key.value()), clock);
    // The chunker, the ids and the tree are still those of then: nothing is stored twice.
    const PointSummary again = write_point(*repository, second_data(), 3);
    EXPECT_EQ(again.reused_chunk_count, again.chunk_count);
    EXPECT_LT(again.stored_bytes, 2000U);
}

// Programs of before must refuse a repository with extents: its config says so before the first
// one.
TEST(Golden, Version1TakesExtentsAndSaysSo) {
    MemoryStore store;
    load(store, kVersion1);
    SystemClock clock;
    const auto key = read_file(kVersion1 / kKeyFile, kFileMax);
    ASSERT_FALSE(store.get(config_key(2), {}).has_value());
    std::optional<PointId> first;
    for (int i = 0; i < 2; ++i) {
        const auto repository = Repository::open(store, parse_key(key.value()), clock);
        first = first.value_or(repository->list_points({}).points.at(0).id);
        const Streams streams{
            {"bytes", to_bytes("b")}, {"pages/base/1/16384", text_like_bytes(100'000, 1)}
        };
        const PointId id = testing::write_point(*repository, streams).id;
        EXPECT_TRUE(testing::read_streams(*repository, id) == streams);
        EXPECT_TRUE(testing::read_streams(*repository, *first) == first_data());
    }
    EXPECT_NE(as_text(store.get(config_key(2), {}).value()).find("extents"), std::string::npos);
    const Bytes last = store.get(config_key(3), {}).value();
    EXPECT_NE(as_text(last).find("delta-layers"), std::string::npos);
    EXPECT_NE(as_text(store.get(config_key(4), {}).value()).find("extent-tags"), std::string::npos);
    EXPECT_NE(as_text(store.get(config_key(5), {}).value()).find("extent-ids"), std::string::npos);
    EXPECT_FALSE(store.get(config_key(6), {}).has_value());
}

// ---- Extents ----

/// Next to no bytes: each page begins with a few.
Bytes sparse_pages(std::size_t size, unsigned seed) {
    Bytes bytes(size);
    for (std::size_t at = 0; at + 200 < size; at += 8 * kKiB) {
        if (at / (64 * kKiB) % 5 != 3) {  // And some extents have none.
            const Bytes some = text_like_bytes(100, static_cast<unsigned>(at) + seed);
            std::copy(some.begin(), some.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
        }
    }
    return bytes;
}

Streams pages_data(int generation) {
    Streams streams;
    streams["bytes"] = to_bytes("not pages");
    streams["pages/base/1/empty"] = {};
    streams["pages/base/1/tiny"] = to_bytes("x");
    streams["pages/base/1/one"] = text_like_bytes(8192, 1);
    streams["pages/base/1/many"] = sparse_pages(40 * 64 * kKiB, 2);
    streams["pages/base/1/grows"] = sparse_pages(100'000, 3);
    streams["pages/base/1/shrinks"] = sparse_pages(300'000, 4);
    if (generation > 1) {
        streams["pages/base/1/one"][5000] ^= std::byte{7};
        for (std::size_t at = 0; at < streams["pages/base/1/many"].size(); at += 120'000) {
            streams["pages/base/1/many"][at] ^= std::byte{1};
        }
        streams["pages/base/1/grows"] = sparse_pages(200'000, 3);
        streams["pages/base/1/shrinks"].resize(70'001);
        streams["pages/base/2/copy"] = streams["pages/base/1/one"];
    }
    return streams;
}

/// The options that the repository was written with; readers need none.
constexpr OpenOptions kGoldenExtents{.extent_bytes = 64 * kKiB};

TEST(Golden, Version1WithExtentsOpensAndRestores) {
    MemoryStore store;
    load(store, kVersion1Extents);
    SystemClock clock;
    const auto key = read_file(kVersion1Extents / kKeyFile, kFileMax);
    ASSERT_TRUE(key.has_value());
    const auto repository = Repository::open(store, parse_key(*key), clock);
    const PointList list = repository->list_points({});
    ASSERT_EQ(list.points.size(), 2U);
    EXPECT_TRUE(testing::read_streams(*repository, list.points[0].id) == pages_data(1));
    EXPECT_TRUE(testing::read_streams(*repository, list.points[1].id) == pages_data(2));
    EXPECT_TRUE(repository->check({.read_data_percent = 100}, {}).sound());
    // Extents keep the length that they have, and everything is found again. Once, the lists get
    // the tags that they did not have.
    const PointSummary again = testing::write_point(*repository, pages_data(2));
    EXPECT_EQ(again.reused_chunk_count, again.chunk_count);
    EXPECT_LT(again.stored_bytes, 8000U);
    const PointSummary third = testing::write_point(*repository, pages_data(2));
    EXPECT_EQ(third.reused_chunk_count, third.chunk_count);
    EXPECT_LT(third.stored_bytes, 2000U);
    EXPECT_TRUE(testing::read_streams(*repository, third.id) == pages_data(2));
}

/// Of every point another page has changed.
Streams layered_data(int generation) {
    Streams streams{{"pages/base/1/1", sparse_pages(200'000, 1)}};
    Bytes& bytes = streams["pages/base/1/1"];
    for (int day = 1; day < generation; ++day) {
        const Bytes some = testing::pseudo_random_bytes(200, static_cast<std::uint64_t>(day));
        const std::size_t at = static_cast<std::size_t>(day % 8) * 8 * kKiB + 1000;
        std::copy(some.begin(), some.end(), &bytes[at]);
    }
    return streams;
}
constexpr int kLayeredPoints = 12;

void expect_layered(const fs::path& golden) {
    MemoryStore store;
    load(store, golden);
    SystemClock clock;
    const auto key = read_file(golden / kKeyFile, kFileMax);
    ASSERT_TRUE(key.has_value());
    const auto repository = Repository::open(store, parse_key(*key), clock);
    const PointList list = repository->list_points({});
    ASSERT_EQ(list.points.size(), static_cast<std::size_t>(kLayeredPoints));
    for (int i = 0; i < kLayeredPoints; ++i) {
        const PointId id = list.points[static_cast<std::size_t>(i)].id;
        EXPECT_TRUE(testing::read_streams(*repository, id) == layered_data(i + 1)) << i;
    }
    EXPECT_TRUE(repository->check({.read_data_percent = 100}, {}).sound());
    // New deltas build on what is there, whatever it is proved by.
    const Streams next = layered_data(kLayeredPoints + 1);
    const PointSummary changed = testing::write_point(*repository, next);
    EXPECT_EQ(changed.reused_chunk_count + 1, changed.chunk_count);
    EXPECT_TRUE(testing::read_streams(*repository, changed.id) == next);
    const PointSummary again = testing::write_point(*repository, next);
    EXPECT_EQ(again.reused_chunk_count, again.chunk_count);
    EXPECT_TRUE(testing::read_streams(*repository, again.id) == next);
    EXPECT_TRUE(repository->check({.read_data_percent = 100}, {}).sound());
}

TEST(Golden, Version1WithDeltaLayersOpensAndRestores) {
    expect_layered(kVersion1Layers);
}

TEST(Golden, Version1WithExtentTagsOpensAndRestores) {
    expect_layered(kVersion1Tags);
}

TEST(Golden, Version1WithExtentIdsOpensAndRestores) {
    expect_layered(kVersion1ExtentIds);
}

// ---- Collections ----

/// Of three points, the first two of which are gone.
Streams collected_data(int number) {
    const auto seed = static_cast<std::uint64_t>(number);
    return {
        {"bytes", testing::pseudo_random_bytes(6000, seed)},
        {"pages/base/1/1", sparse_pages(100'000, static_cast<unsigned>(number))},
        {"shared", text_like_bytes(3000, 1)},
    };
}

std::size_t count(MemoryStore& store, std::string_view prefix) {
    std::size_t found = 0;
    store.list(prefix, [&](const ObjectInfo&) { return ++found, true; }, {});
    return found;
}

TEST(Golden, Version1InTheMiddleOfCollectionsGoesOn) {
    MemoryStore store;
    load(store, kVersion1Collect);
    SystemClock clock;
    const auto key = read_file(kVersion1Collect / kKeyFile, kFileMax);
    ASSERT_TRUE(key.has_value());
    const auto repository = Repository::open(store, parse_key(*key), clock, kGoldenExtents);
    const PointList list = repository->list_points({});
    ASSERT_EQ(list.points.size(), 1U);
    const PointId kept = list.points[0].id;
    const auto kept_restores = [&] {
        EXPECT_TRUE(testing::read_streams(*repository, kept) == collected_data(3));
    };
    kept_restores();

    // One session began before the list, one knows it; nobody here can tell that they are dead.
    const CollectPlan plan = repository->plan_collection({}, {});
    EXPECT_TRUE(plan.obstacles.empty());
    ASSERT_EQ(plan.sessions.size(), 2U);
    EXPECT_TRUE(plan.sessions[0].elsewhere);
    EXPECT_EQ(plan.sessions[0].started_at, testing::instant(0));
    EXPECT_GT(plan.condemned_before.packs, 0U);
    EXPECT_GT(plan.suspects.packs, 0U);
    const CollectReport waiting = repository->collect(plan, {});
    EXPECT_EQ(waiting.removed.packs, 0U);
    ASSERT_EQ(waiting.waiting_for.size(), 1U);
    EXPECT_EQ(waiting.condemned_left.packs, plan.condemned_before.packs);
    kept_restores();

    // What condemned packs hold is no place to refer to.
    const PointSummary again = testing::write_point(*repository, collected_data(1));
    EXPECT_LT(again.reused_chunk_count, again.chunk_count);
    EXPECT_GT(again.stored_bytes, 6000U);

    const CollectReport last =
        repository->collect(repository->plan_collection({.end_foreign_sessions = true}, {}), {});
    EXPECT_EQ(last.ended_sessions, 2U);
    EXPECT_GE(last.removed.packs, plan.condemned_before.packs);
    EXPECT_EQ(count(store, "condemned/"), 0U);
    EXPECT_EQ(count(store, "sessions/"), 0U);
    kept_restores();
    EXPECT_TRUE(testing::read_streams(*repository, again.id) == collected_data(1));

    // The packs of then had been read an hour after the beginning; those of now come first.
    const CheckReport check = repository->check({.budget = {.bytes = 1}}, {});
    EXPECT_TRUE(check.sound());
    EXPECT_EQ(check.oldest_read_at, testing::instant(3600));
}

void save(const MemoryStore& store, const fs::path& root) {
    for (const auto& [name, bytes] : store.contents()) {
        fs::create_directories((root / name.text()).parent_path());
        write_file_durably(root / name.text(), bytes, 0644, Overwrite::kNo);
    }
}

TEST(Golden, DISABLED_WriteExtentsAnew) {
    ASSERT_FALSE(fs::exists(kVersion1Extents)) << "a golden repository is never written again";
    MemoryStore store;
    FakeClock clock{testing::instant(0)};
    const Secret key = new_key();
    Repository::create(store, key, {.label = "golden"}, clock);
    const auto repository = Repository::open(store, key, clock, kGoldenExtents);
    testing::write_point(*repository, pages_data(1));
    testing::write_point(*repository, pages_data(2));
    save(store, kVersion1Extents);
    write_file_durably(kVersion1Extents / kKeyFile, format_key(key).expose(), 0644, Overwrite::kNo);
}

/// With the features of the program that writes it.
void write_layered(const fs::path& golden) {
    ASSERT_FALSE(fs::exists(golden)) << "a golden repository is never written again";
    MemoryStore store;
    FakeClock clock{testing::instant(0)};
    const Secret key = new_key();
    Repository::create(store, key, {.label = "golden"}, clock);
    const auto repository = Repository::open(store, key, clock, kGoldenExtents);
    for (int i = 1; i <= kLayeredPoints; ++i) {
        testing::write_point(*repository, layered_data(i));
        clock.advance(std::chrono::hours{24});
    }
    save(store, golden);
    write_file_durably(golden / kKeyFile, format_key(key).expose(), 0644, Overwrite::kNo);
}

TEST(Golden, DISABLED_WriteExtentIdsAnew) {
    write_layered(kVersion1ExtentIds);
}

TEST(Golden, DISABLED_WriteCollectAnew) {
    ASSERT_FALSE(fs::exists(kVersion1Collect)) << "a golden repository is never written again";
    MemoryStore store;
    FakeClock clock{testing::instant(0)};
    const Secret key = new_key();
    Repository::create(store, key, {.label = "golden"}, clock);
    OpenOptions options = kGoldenExtents;
    options.pack_bytes = 16 * kKiB;
    const auto repository = Repository::open(store, key, clock, options);
    const PointId first = testing::write_point(*repository, collected_data(1)).id;
    const PointId second = testing::write_point(*repository, collected_data(2)).id;
    testing::write_point(*repository, collected_data(3));
    clock.advance(std::chrono::hours{1});
    ASSERT_EQ(repository->check({.read_data_percent = 100}, {}).damaged.size(), 0U);
    clock.set(testing::instant(0));

    // A session that begins between the look and the condemning, and one after it.
    SessionOwner elsewhere;
    options.owner = &elsewhere;
    const auto other = Repository::open(store, key, clock, options);
    repository->remove_point(first, "{}", {});
    const CollectPlan plan = repository->plan_collection({}, {});
    const auto before = other->begin_point(testing::begin_point(), {});
    ASSERT_GT(repository->collect(plan, {}).condemned_left.packs, 0U);
    const auto after = other->begin_point(testing::begin_point(), {});
    repository->remove_point(second, "{}", {});
    ASSERT_GT(repository->collect(repository->plan_collection({}, {}), {}).suspects.packs, 0U);
    ASSERT_EQ(count(store, "sessions/"), 2U);
    save(store, kVersion1Collect);
    write_file_durably(kVersion1Collect / kKeyFile, format_key(key).expose(), 0644, Overwrite::kNo);
}

TEST(Golden, DISABLED_WriteAnew) {
    ASSERT_FALSE(fs::exists(kVersion1)) << "a golden repository is never written again";
    MemoryStore store;
    FakeClock clock{testing::instant(0)};
    const Secret key = new_key();
    Repository::create(store, key, {.label = "golden"}, clock);
    const auto repository = Repository::open(store, key, clock);
    write_point(*repository, first_data(), 1);
    write_point(*repository, second_data(), 2);
    for (int kind = 1; kind <= 11; ++kind) {
        repository->append_state(
            {.kind = static_cast<StateKind>(kind),
             .instance_id = kind == 3 ? "elsewhere" : testing::kInstanceId,
             .until = testing::instant(500),
             .document_json = "{}"},
            {}
        );
    }
    const auto gone = testing::write_point(*repository, {{"s", to_bytes("gone")}}).id;
    repository->remove_point(gone, "{}", {});
    repository->put_catalog_snapshot(text_like_bytes(2000, 9), {});
    const std::string kit{
        repository->recovery_kit({.vault_name = "golden", .location = "here"}).expose_text()
    };
    const auto at = kit.find("\nholdfast-key-1:");
    const std::string recovery = kit.substr(at + 1, kit.find('\n', at + 1) - at);

    save(store, kVersion1);
    write_file_durably(kVersion1 / kKeyFile, format_key(key).expose(), 0644, Overwrite::kNo);
    write_file_durably(kVersion1 / kRecoveryKeyFile, as_bytes(recovery), 0644, Overwrite::kNo);
}

}  // namespace
}  // namespace holdfast::vault
