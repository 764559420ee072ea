#include "jobs/repositories.h"

#include "base/error.h"
#include "base/file.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ErrorKind kind_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.kind();
    }
    ADD_FAILURE() << "nothing was thrown";
    return ErrorKind::kInternal;
}

class RepositoriesTest : public ::testing::Test {
protected:
    std::unique_ptr<RepositoryPool> pool(const Secret& key) {
        return std::make_unique<RepositoryPool>(
            RepositorySettings{.root = home_.path() / "vaults"}, key.clone(), clock_
        );
    }
    catalog::VaultRecord create(RepositoryPool& pool, const std::string& name) {
        catalog::VaultRecord vault;
        vault.id = "/subscriptions/s/" + name;
        vault.name = name;
        const auto created = pool.create(vault.id, vault.name);
        vault.repository_id = created.repository_id;
        vault.repository_directory = created.directory;
        return vault;
    }

    TemporaryDirectory home_{"holdfast-pool"};
    FakeClock clock_{parse_instant("2026-01-01T00:00:00Z").value()};
    const Secret key_ = vault::new_key();
};

TEST_F(RepositoriesTest, CreatedOnceOpenedOnce) {
    const auto repositories = pool(key_);
    const auto vault = create(*repositories, "My Vault");
    EXPECT_THAT(vault.repository_directory, ::testing::StartsWith("my-vault-"));
    const auto first = repositories->open(vault);
    EXPECT_EQ(first->label(), vault.id);
    EXPECT_EQ(first.get(), repositories->open(vault).get());
    EXPECT_THAT(repositories->unknown_directories({vault}), IsEmpty());
    EXPECT_THAT(repositories->unknown_directories({}), ElementsAre(vault.repository_directory));
}

TEST_F(RepositoriesTest, WrongKeyMissingDirectoryAndSwappedDirectoryAreToldApart) {
    const auto vault = create(*pool(key_), "a");
    const auto other = create(*pool(key_), "b");
    EXPECT_EQ(kind_of([&] { (void)pool(vault::new_key())->open(vault); }), ErrorKind::kKeyWrong);

    catalog::VaultRecord swapped = vault;
    swapped.repository_directory = other.repository_directory;
    EXPECT_EQ(kind_of([&] { (void)pool(key_)->open(swapped); }), ErrorKind::kVaultCorrupt);

    const auto repositories = pool(key_);
    const std::filesystem::path directory = repositories->directory_of(vault);
    std::filesystem::rename(directory, home_.path() / "elsewhere");
    EXPECT_EQ(kind_of([&] { (void)repositories->open(vault); }), ErrorKind::kVaultNotFound);
    EXPECT_FALSE(std::filesystem::exists(directory)) << "made anew where a disk is not mounted";
    const RepositoryStatus status = repositories->status(vault);
    EXPECT_FALSE(status.usable);
    EXPECT_THAT(status.warnings, SizeIs(1));
    // The next call tries again.
    std::filesystem::rename(home_.path() / "elsewhere", directory);
    EXPECT_NO_THROW((void)repositories->open(vault));
}

TEST_F(RepositoriesTest, WarnsUntilTheRecoveryKitIsWritten) {
    const auto repositories = pool(key_);
    const auto vault = create(*repositories, "a");
    EXPECT_FALSE(repositories->status(vault).recovery_kit_written);
    EXPECT_THAT(repositories->status(vault).warnings, ElementsAre(HasSubstr("recovery kit")));
    const Secret kit = repositories->write_recovery_kit(vault);
    EXPECT_THAT(std::string{kit.expose_text()}, HasSubstr("holdfast-key-1:"));
    EXPECT_TRUE(repositories->status(vault).recovery_kit_written);
    EXPECT_THAT(repositories->status(vault).warnings, IsEmpty());
    EXPECT_TRUE(pool(key_)->status(vault).recovery_kit_written);
}

TEST_F(RepositoriesTest, AFailedSyncIsRemembered) {
    const auto repositories = pool(key_);
    const auto vault = create(*repositories, "a");
    repositories->note_failure(vault, Error{ErrorKind::kStoreUnavailable, "passing"});
    EXPECT_TRUE(repositories->status(vault).usable);
    repositories->note_failure(vault, Error{ErrorKind::kVaultPoisoned, "A sync failed."});
    EXPECT_FALSE(repositories->status(vault).usable);
    EXPECT_THAT(repositories->status(vault).warnings, ::testing::Contains("A sync failed."));
}

TEST_F(RepositoriesTest, DestroyedWithEverythingInIt) {
    const auto repositories = pool(key_);
    const auto vault = create(*repositories, "a");
    (void)repositories->open(vault);
    repositories->destroy(vault);
    EXPECT_FALSE(std::filesystem::exists(repositories->directory_of(vault)));
    EXPECT_TRUE(std::filesystem::is_empty(home_.path() / "vaults"));
}

}  // namespace
}  // namespace holdfast::jobs
