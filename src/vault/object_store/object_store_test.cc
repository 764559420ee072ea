// The contract of ObjectStore: one suite that every implementation passes, decorators included.

#include "vault/object_store/object_store.h"

#include "base/error.h"
#include "vault/object_store/faulty_store.h"
#include "vault/object_store/local_store.h"
#include "vault/object_store/memory_store.h"
#include "vault/object_store/metered_store.h"

#include <fstream>
#include <set>
#include <thread>

#include <gtest/gtest.h>

namespace holdfast::vault {
namespace {

/// A driver under test with what it stands on.
struct Subject {
    std::unique_ptr<TemporaryDirectory> directory;
    std::unique_ptr<ObjectStore> inner;
    std::unique_ptr<ObjectStore> store;
};

struct Driver {
    std::string name;
    std::function<Subject()> make;
};

void PrintTo(const Driver& driver, std::ostream* out) {
    *out << driver.name;
}

class ObjectStoreContract : public testing::TestWithParam<Driver> {
protected:
    Subject subject_ = GetParam().make();
    ObjectStore& store_ = *subject_.store;
};

std::set<std::string> keys_below(ObjectStore& store, std::string_view prefix) {
    std::set<std::string> keys;
    store.list(
        prefix,
        [&](const ObjectInfo& info) {
            EXPECT_TRUE(keys.insert(info.key.text()).second) << "listed twice: " << info.key.text();
            return true;
        },
        {}
    );
    return keys;
}

TEST_P(ObjectStoreContract, StoresAndReadsBack) {
    const ObjectKey key{"packs/ab/abcdef"};
    EXPECT_FALSE(store_.get(key, {}));
    EXPECT_FALSE(store_.size(key, {}));
    EXPECT_EQ(store_.put_new(key, as_bytes("hello"), {}), PutOutcome::kCreated);
    EXPECT_EQ(store_.get(key, {}), to_bytes("hello"));
    EXPECT_EQ(store_.size(key, {}), 5U);
    EXPECT_EQ(store_.get_range(key, 1, 3, {}), to_bytes("ell"));
    EXPECT_EQ(store_.get_range(key, 5, 0, {}), Bytes{});
}

TEST_P(ObjectStoreContract, KeepsTheFirstOfTwoWriters) {
    const ObjectKey key{"config/1"};
    EXPECT_EQ(store_.put_new(key, as_bytes("first"), {}), PutOutcome::kCreated);
    EXPECT_EQ(store_.put_new(key, as_bytes("second"), {}), PutOutcome::kAlreadyExists);
    EXPECT_EQ(store_.get(key, {}), to_bytes("first"));
}

TEST_P(ObjectStoreContract, LetsExactlyOneOfManyRacersWin) {
    const ObjectKey key{"points/a/a/commit"};
    std::atomic<int> created = 0;
    {
        std::vector<std::jthread> racers;
        for (int i = 0; i < 8; ++i) {
            racers.emplace_back([&, i] {
                const std::string mine = std::to_string(i);
                created += store_.put_new(key, as_bytes(mine), {}) == PutOutcome::kCreated ? 1 : 0;
            });
        }
    }
    EXPECT_EQ(created, 1);
}

TEST_P(ObjectStoreContract, StoresEmptyAndLargeObjects) {
    const Bytes large(3 * kMiB, std::byte{0x5a});
    store_.put_new(ObjectKey{"empty"}, {}, {});
    store_.put_new(ObjectKey{"large"}, large, {});
    EXPECT_EQ(store_.get(ObjectKey{"empty"}, {}), Bytes{});
    EXPECT_EQ(store_.get(ObjectKey{"large"}, {}), large);
}

TEST_P(ObjectStoreContract, RefusesToReadBeyondTheEnd) {
    const ObjectKey key{"k"};
    store_.put_new(key, as_bytes("12345"), {});
    for (const auto& [offset, length] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
             {0, 6}, {6, 0}, {3, 3}, {1, UINT64_MAX}
         }) {
        try {
            (void)store_.get_range(key, offset, length, {});
            FAIL() << "read " << offset << "+" << length;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kVaultCorrupt);
        }
    }
    EXPECT_FALSE(store_.get_range(ObjectKey{"none"}, 0, 1, {}));
}

TEST_P(ObjectStoreContract, ListsBelowAPrefix) {
    for (const std::string key : {"a/1", "a/b/2", "ab/3", "c"}) {
        store_.put_new(ObjectKey{key}, as_bytes(key), {});
    }
    EXPECT_EQ(keys_below(store_, ""), (std::set<std::string>{"a/1", "a/b/2", "ab/3", "c"}));
    EXPECT_EQ(keys_below(store_, "a/"), (std::set<std::string>{"a/1", "a/b/2"}));
    EXPECT_TRUE(keys_below(store_, "none/").empty());
    int visited = 0;
    store_.list(
        "",
        [&](const ObjectInfo& info) {
            EXPECT_GT(info.size_bytes, 0U);
            return ++visited < 2;
        },
        {}
    );
    EXPECT_EQ(visited, 2);
}

TEST_P(ObjectStoreContract, Removes) {
    const ObjectKey key{"a/1"};
    EXPECT_FALSE(store_.remove(key, {}));
    store_.put_new(key, as_bytes("x"), {});
    EXPECT_TRUE(store_.remove(key, {}));
    EXPECT_FALSE(store_.get(key, {}));
    EXPECT_EQ(store_.put_new(key, as_bytes("y"), {}), PutOutcome::kCreated);
}

TEST_P(ObjectStoreContract, StopsWhenAsked) {
    std::stop_source source;
    source.request_stop();
    const ObjectKey key{"k"};
    for (const std::function<void()>& call : std::vector<std::function<void()>>{
             [&] { store_.put_new(key, {}, source.get_token()); },
             [&] { (void)store_.get(key, source.get_token()); },
             [&] { store_.remove(key, source.get_token()); },
         }) {
        try {
            call();
            FAIL() << "went on after the stop";
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
        }
    }
    EXPECT_FALSE(store_.get(key, {}));
}

Subject memory() {
    return {.directory = nullptr, .inner = nullptr, .store = std::make_unique<MemoryStore>()};
}

Subject local() {
    auto directory = std::make_unique<TemporaryDirectory>("holdfast-store");
    auto store = std::make_unique<LocalStore>(directory->path() / "vault");
    return {.directory = std::move(directory), .inner = nullptr, .store = std::move(store)};
}

Subject metered() {
    auto inner = std::make_unique<MemoryStore>();
    auto store = std::make_unique<MeteredStore>(*inner);
    return {.directory = nullptr, .inner = std::move(inner), .store = std::move(store)};
}

Subject faulty_without_a_fault() {
    auto inner = std::make_unique<MemoryStore>();
    auto store = std::make_unique<FaultyStore>(*inner, FaultyStore::Plan{});
    return {.directory = nullptr, .inner = std::move(inner), .store = std::move(store)};
}

INSTANTIATE_TEST_SUITE_P(
    Drivers,
    ObjectStoreContract,
    testing::Values(
        Driver{"memory", memory},
        Driver{"local", local},
        Driver{"metered", metered},
        Driver{"faulty", faulty_without_a_fault}
    ),
    [](const testing::TestParamInfo<Driver>& driver) { return driver.param.name; }
);

TEST(ObjectKey, RefusesWhatCouldLeaveTheStore) {
    for (const std::string bad :
         {"", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a b", "a\nb", "a\\b", "ä"}) {
        EXPECT_FALSE(ObjectKey::parse(bad)) << bad;
    }
    EXPECT_FALSE(ObjectKey::parse(std::string(513, 'a')));
    EXPECT_THROW(ObjectKey{"../x"}, Error);
    EXPECT_TRUE(ObjectKey::parse("packs/0a/ff.-_"));
}

TEST(LocalStore, NeitherListsNorKeepsLeftOvers) {
    const TemporaryDirectory directory{"holdfast-store"};
    LocalStore store{directory.path()};
    std::ofstream{directory.path() / ".tmp" / "half"} << "half an object";
    EXPECT_TRUE(keys_below(store, "").empty());
    store.clear_temporary_files();
    EXPECT_TRUE(std::filesystem::is_empty(directory.path() / ".tmp"));
}

TEST(LocalStore, DoesNotFollowLinks) {
    const TemporaryDirectory directory{"holdfast-store"};
    LocalStore store{directory.path() / "vault"};
    std::ofstream{directory.path() / "outside"} << "secret";
    std::filesystem::create_symlink(
        directory.path() / "outside", directory.path() / "vault" / "link"
    );
    EXPECT_THROW((void)store.get(ObjectKey{"link"}, {}), Error);
}

TEST(FaultyStore, FailsAtTheChosenCallOnly) {
    MemoryStore inner;
    FaultyStore store{
        inner, {.call = 2, .fault = FaultyStore::Fault::kFail, .kind = ErrorKind::kStoreFull}
    };
    store.put_new(ObjectKey{"a"}, as_bytes("1"), {});
    EXPECT_THROW(store.put_new(ObjectKey{"b"}, as_bytes("2"), {}), Error);
    store.put_new(ObjectKey{"c"}, as_bytes("3"), {});
    EXPECT_EQ(keys_below(inner, ""), (std::set<std::string>{"a", "c"}));
    EXPECT_EQ(store.calls(), 3U);
}

TEST(FaultyStore, IsGoneAfterACrash) {
    for (const auto fault : {FaultyStore::Fault::kCrashBefore, FaultyStore::Fault::kCrashAfter}) {
        MemoryStore inner;
        FaultyStore store{inner, {.call = 2, .fault = fault}};
        store.put_new(ObjectKey{"a"}, as_bytes("1"), {});
        EXPECT_THROW(store.put_new(ObjectKey{"b"}, as_bytes("2"), {}), SimulatedCrash);
        EXPECT_THROW((void)store.get(ObjectKey{"a"}, {}), SimulatedCrash);
        EXPECT_TRUE(store.crashed());
        EXPECT_EQ(
            inner.get(ObjectKey{"b"}, {}).has_value(), fault == FaultyStore::Fault::kCrashAfter
        );
    }
}

TEST(MeteredStore, CountsWhatReachedTheStore) {
    MemoryStore inner;
    MeteredStore store{inner};
    store.put_new(ObjectKey{"a"}, as_bytes("123"), {});
    store.put_new(ObjectKey{"a"}, as_bytes("123"), {});
    (void)store.get(ObjectKey{"a"}, {});
    EXPECT_EQ(store.figures().puts, 2U);
    EXPECT_EQ(store.figures().put_bytes, 3U);
    EXPECT_EQ(store.figures().get_bytes, 3U);
}

}  // namespace
}  // namespace holdfast::vault
