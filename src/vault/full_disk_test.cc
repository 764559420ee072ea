// A vault on a disk that is really full, where a filesystem may be mounted; elsewhere the faults of
// tests/crash stand in for it.

#include "base/file.h"
#include "vault/collect.h"
#include "vault/object_store/local_store.h"
#include "vault/testing/vault_testing.h"
#include "vault/vault.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <sys/mount.h>

namespace holdfast::vault {
namespace {

namespace fs = std::filesystem;
using testing::pseudo_random_bytes;
using testing::Streams;

class FullDisk : public ::testing::Test {
protected:
    void SetUp() override {
        fs::create_directory(disk_);
        if (::mount("tmpfs", disk_.c_str(), "tmpfs", 0, "size=24m,mode=700") != 0) {
            GTEST_SKIP() << "no filesystem may be mounted here: " << std::strerror(errno);
        }
        mounted_ = true;
    }
    void TearDown() override {
        if (mounted_) {
            ::umount2(disk_.c_str(), MNT_DETACH);
        }
    }
    [[nodiscard]] std::unique_ptr<Repository> open(LocalStore& store) {
        return Repository::open(store, key_, clock_, {.pack_bytes = 2 * kMiB});
    }

    TemporaryDirectory directory_{"vault-test"};
    fs::path disk_ = directory_.path() / "disk";
    FakeClock clock_{testing::instant(0)};
    Secret key_ = new_key();

private:
    bool mounted_ = false;
};

TEST_F(FullDisk, EndsTheBackupAndHarmsNothing) {
    LocalStore store{disk_ / "vault"};
    Repository::create(store, key_, {.label = "small"}, clock_);
    const Streams first{{"s", pseudo_random_bytes(6 * kMiB, 1)}};
    const Streams second{{"s", pseudo_random_bytes(3 * kMiB, 2)}};
    const Streams third{{"s", pseudo_random_bytes(5 * kMiB, 4)}};
    const auto repository = open(store);
    const PointId one = testing::write_point(*repository, first).id;
    const PointId two = testing::write_point(*repository, second).id;
    const auto both_restore = [&](Repository& opened) {
        EXPECT_EQ(opened.list_points({}).points.size(), 2U);
        EXPECT_TRUE(testing::read_streams(opened, one) == first);
        EXPECT_TRUE(testing::read_streams(opened, two) == second);
        EXPECT_TRUE(opened.check({.read_data_percent = 100}, {}).sound());
    };
    for (const std::uint64_t seed : {10U, 11U}) {  // The second meets what the first left.
        const Streams large{{"s", pseudo_random_bytes(32 * kMiB, seed)}};
        EXPECT_EQ(
            testing::kind_thrown([&] { testing::write_point(*repository, large); }),
            ErrorKind::kStoreFull
        );
        both_restore(*repository);
    }

    // What the two left behind goes, even from a full disk, and there is room again.
    repository->remove_point(one, "{}", {});
    repository->collect(repository->plan_collection({.end_foreign_sessions = true}, {}), {});
    LocalStore again{disk_ / "vault"};
    const auto reopened = open(again);
    const PointId three = testing::write_point(*reopened, third).id;
    EXPECT_TRUE(testing::read_streams(*reopened, two) == second);
    EXPECT_TRUE(testing::read_streams(*reopened, three) == third);
    EXPECT_TRUE(reopened->check({.read_data_percent = 100}, {}).sound());
}

}  // namespace
}  // namespace holdfast::vault
