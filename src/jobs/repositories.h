#pragma once

#include "base/clock.h"
#include "base/secret.h"
#include "catalog/records.h"
#include "vault/object_store/object_store.h"
#include "vault/session_owner.h"
#include "vault/vault.h"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::jobs {

struct RepositorySettings {
    std::filesystem::path root;  ///< One directory per vault below it. Made when it does not exist.
    vault::OpenOptions open = {};
    int compression_level = 1;
    /// Who writes, over restarts of the service (vault/session_owner.h). None: one that only this
    /// process has.
    std::optional<vault::OwnerId> owner = {};
};

enum class StorePurpose { kNewVault, kKnownVault };

/// Makes the object store of one vault from its directory. Tests put other stores here.
using StoreFactory = std::function<
    std::unique_ptr<vault::ObjectStore>(const std::filesystem::path& directory, StorePurpose)>;
/// Directories on this machine. A known vault's directory is never made anew when it is missing (a
/// disk that is not mounted): kVaultNotFound. What writers that died left behind is removed.
[[nodiscard]] StoreFactory local_stores();

/// What a user should know of a vault's repository.
struct RepositoryStatus {
    bool usable = false;
    bool recovery_kit_written = false;
    std::vector<std::string>
        warnings;  ///< Sentences: no recovery kit, read-only after a failed sync…
};

/// The repositories of the vaults, opened once and kept. Safe from any thread; no lock is held
/// while a repository is opened.
class RepositoryPool {
public:
    /// `key` opens every repository (the service's KEK). `clock` outlives the pool.
    RepositoryPool(
        RepositorySettings settings, Secret key, Clock& clock, StoreFactory stores = local_stores()
    );
    ~RepositoryPool();

    struct Created {
        std::string repository_id;  ///< 32 hex digits.
        std::string directory;      ///< Below the root: VaultRecord::repository_directory.
    };
    /// Makes the repository of a new vault. When this returns, it survives power loss.
    [[nodiscard]] Created create(
        const std::string& vault_id, const std::string& vault_name, std::stop_token stop = {}
    );

    /// The open repository of a vault. Throws what vault::Repository::open throws: kKeyWrong,
    /// kVaultNotFound, kVaultFormatUnsupported, kStoreUnavailable…; the next call tries again.
    [[nodiscard]] std::shared_ptr<vault::Repository> open(
        const catalog::VaultRecord& vault, std::stop_token stop = {}
    );

    /// Closes the repository and removes its directory. REQUIRES: the vault is out of the catalog.
    void destroy(const catalog::VaultRecord& vault);

    /// A job met this error. kVaultPoisoned is remembered and shown by status().
    void note_failure(const catalog::VaultRecord& vault, const Error& error);

    /// Never throws: what can't be opened is a warning.
    [[nodiscard]] RepositoryStatus status(
        const catalog::VaultRecord& vault, std::stop_token stop = {}
    );

    /// The kit's text (a secret) and, with it, the note in the repository that it was written.
    [[nodiscard]] Secret write_recovery_kit(
        const catalog::VaultRecord& vault, std::stop_token stop = {}
    );

    /// Directories below the root that belong to none of `vaults`: left by a crash, or of a lost
    /// catalog.
    [[nodiscard]] std::vector<std::string> unknown_directories(
        const std::vector<catalog::VaultRecord>& vaults
    ) const;

    [[nodiscard]] std::filesystem::path directory_of(const catalog::VaultRecord& vault) const;

private:
    struct Slot;
    [[nodiscard]] std::shared_ptr<Slot> slot_for(const catalog::VaultRecord& vault);

    const RepositorySettings settings_;
    const Secret key_;
    Clock& clock_;
    const StoreFactory stores_;
    const std::shared_ptr<vault::SessionOwner> owner_;
    std::mutex mutex_;
    std::map<std::string, std::shared_ptr<Slot>> slots_;  // By directory. Guarded by mutex_.
};

}  // namespace holdfast::jobs
