#include "jobs/repositories.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "vault/object_store/local_store.h"

#include <algorithm>
#include <condition_variable>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr std::string_view kRemovedPrefix = ".removed-";

/// Repository and the store that it stands on, destroyed in this order.
struct Opened {
    std::shared_ptr<vault::SessionOwner> owner;
    std::unique_ptr<vault::ObjectStore> store;
    std::unique_ptr<vault::Repository> repository;
};

void check_identity(const vault::Repository& repository, const catalog::VaultRecord& vault) {
    if (repository.id().to_string() == vault.repository_id) {
        return;
    }
    throw Error{
        ErrorKind::kVaultCorrupt,
        ErrorText{
            .message = fmt::format(
                "The directory of vault \"{}\" holds another repository ({}) than the catalog says "
                "({}).",
                vault.name,
                repository.id().to_string(),
                vault.repository_id
            ),
            .target = vault.id,
            .recommended_actions = {"Put the vault's own directory back, or rebuild the catalog "
                                    "with holdfast vault scan."},
        }
    };
}

/// A directory name that tells an administrator which vault it is.
std::string directory_name(std::string_view vault_name) {
    std::string name;
    for (const char c : to_lower(vault_name).substr(0, 50)) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        name.push_back(plain ? c : '-');
    }
    return fmt::format("{}-{}", name, to_hex(random_array<6>()));
}

}  // namespace

StoreFactory local_stores() {
    return [](const std::filesystem::path& directory,
              StorePurpose purpose) -> std::unique_ptr<vault::ObjectStore> {
        std::error_code failed;
        if (purpose == StorePurpose::kKnownVault &&
            !std::filesystem::is_directory(directory, failed)) {
            throw Error{
                ErrorKind::kVaultNotFound,
                ErrorText{
                    .message = fmt::format(
                        "The vault's directory \"{}\" is missing.", directory.filename().string()
                    ),
                    .internal = directory.string(),
                    .target = directory.filename().string(),
                    .recommended_actions =
                        {"Mount the file system that holds the vaults, or put the directory back."},
                }
            };
        }
        auto store = std::make_unique<vault::LocalStore>(directory);
        if (purpose == StorePurpose::kKnownVault) {
            store->clear_temporary_files();
        }
        return store;
    };
}

struct RepositoryPool::Slot {
    std::mutex mutex;
    std::condition_variable changed;
    // Guarded by mutex.
    std::shared_ptr<Opened> opened;
    bool opening = false;             // One thread is at it; the others wait for what comes of it.
    std::string poisoned;             // Why writes are refused; empty: they are not.
    bool recovery_kit_known = false;  // It was seen to be written.
};

RepositoryPool::RepositoryPool(
    RepositorySettings settings, Secret key, Clock& clock, StoreFactory stores
)
    : settings_{std::move(settings)},
      key_{std::move(key)},
      clock_{clock},
      stores_{std::move(stores)},
      owner_{std::make_shared<vault::SessionOwner>(
          settings_.owner.value_or(vault::OwnerId::random())
      )} {}

RepositoryPool::~RepositoryPool() = default;

std::filesystem::path RepositoryPool::directory_of(const catalog::VaultRecord& vault) const {
    return settings_.root / vault.repository_directory;
}

std::shared_ptr<RepositoryPool::Slot> RepositoryPool::slot_for(const catalog::VaultRecord& vault) {
    const std::lock_guard lock{mutex_};
    auto& slot = slots_[vault.repository_directory];
    if (!slot) {
        slot = std::make_shared<Slot>();
    }
    return slot;
}

RepositoryPool::Created RepositoryPool::create(
    const std::string& vault_id, const std::string& vault_name, std::stop_token stop
) {
    make_directory_durably(settings_.root, 0700);
    const std::string directory = directory_name(vault_name);
    const auto store = stores_(settings_.root / directory, StorePurpose::kNewVault);
    const vault::RepositoryId id = vault::Repository::create(
        *store,
        key_,
        vault::CreateOptions{.label = vault_id, .compression_level = settings_.compression_level},
        clock_,
        stop
    );
    return Created{.repository_id = id.to_string(), .directory = directory};
}

std::shared_ptr<vault::Repository> RepositoryPool::open(
    const catalog::VaultRecord& vault, std::stop_token stop
) {
    if (vault.repository_directory.empty()) {
        throw Error{
            ErrorKind::kInternal, fmt::format("The vault \"{}\" has no repository yet.", vault.name)
        };
    }
    const auto slot = slot_for(vault);
    {
        std::unique_lock lock{slot->mutex};
        slot->changed.wait(lock, [&] { return slot->opened || !slot->opening; });
        if (slot->opened) {
            return {slot->opened, slot->opened->repository.get()};
        }
        slot->opening = true;
    }
    // Whatever happens, the next one in line may try.
    const std::unique_ptr<Slot, void (*)(Slot*)> done{slot.get(), [](Slot* opened) {
                                                          const std::lock_guard lock{opened->mutex};
                                                          opened->opening = false;
                                                          opened->changed.notify_all();
                                                      }};
    auto opened = std::make_shared<Opened>();
    opened->store = stores_(directory_of(vault), StorePurpose::kKnownVault);
    opened->owner = owner_;
    vault::OpenOptions options = settings_.open;
    options.owner = owner_.get();
    opened->repository = vault::Repository::open(*opened->store, key_, clock_, options, stop);
    check_identity(*opened->repository, vault);
    const std::lock_guard lock{slot->mutex};
    slot->opened = opened;
    return {opened, opened->repository.get()};
}

void RepositoryPool::destroy(const catalog::VaultRecord& vault) {
    {
        const std::lock_guard lock{mutex_};
        slots_.erase(vault.repository_directory);
    }
    if (vault.repository_directory.empty()) {
        return;
    }
    // Renamed first, so that what a crash leaves is recognised and never opened as a vault.
    const std::filesystem::path from = directory_of(vault);
    const std::filesystem::path to =
        settings_.root / (std::string{kRemovedPrefix} + vault.repository_directory);
    std::error_code failed;
    std::filesystem::rename(from, to, failed);
    if (!failed) {
        sync_directory(settings_.root);
        std::filesystem::remove_all(to, failed);
    }
    if (failed && failed != std::errc::no_such_file_or_directory) {
        log_error(
            "The directory of a deleted vault could not be removed",
            {{"directory", from.string()}, {"reason", failed.message()}}
        );
    }
}

void RepositoryPool::note_failure(const catalog::VaultRecord& vault, const Error& error) {
    if (error.kind() != ErrorKind::kVaultPoisoned) {
        return;
    }
    const auto slot = slot_for(vault);
    const std::lock_guard lock{slot->mutex};
    slot->poisoned = error.text().message;
}

RepositoryStatus RepositoryPool::status(const catalog::VaultRecord& vault, std::stop_token stop) {
    RepositoryStatus status;
    run_boundary(
        [&] {
            const auto repository = open(vault, stop);
            status.usable = true;
            const auto slot = slot_for(vault);
            bool known = false;
            {
                const std::lock_guard lock{slot->mutex};
                known = slot->recovery_kit_known;
                if (!slot->poisoned.empty()) {
                    status.usable = false;
                    status.warnings.push_back(slot->poisoned);
                }
            }
            status.recovery_kit_written = known || repository->recovery_kit_written(stop);
            if (status.recovery_kit_written && !known) {
                const std::lock_guard lock{slot->mutex};
                slot->recovery_kit_known = true;
            }
        },
        [&](const Error& error) {
            status.usable = false;
            status.warnings.push_back(error.text().message);
        }
    );
    if (status.usable && !status.recovery_kit_written) {
        status.warnings.push_back(fmt::format(
            "The recovery kit of vault \"{}\" has not been written: if this server's key file is "
            "lost, its "
            "backups can never be read again.",
            vault.name
        ));
    }
    return status;
}

Secret RepositoryPool::write_recovery_kit(const catalog::VaultRecord& vault, std::stop_token stop) {
    const auto repository = open(vault, stop);
    Secret kit = repository->recovery_kit(vault::RecoveryKitContext{
        .vault_name = vault.name,
        .location = directory_of(vault).string(),
    });
    repository->mark_recovery_kit_written(stop);
    return kit;
}

std::vector<std::string> RepositoryPool::unknown_directories(
    const std::vector<catalog::VaultRecord>& vaults
) const {
    std::vector<std::string> unknown;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator{settings_.root, failed}) {
        const std::string name = entry.path().filename().string();
        const bool known = std::any_of(vaults.begin(), vaults.end(), [&](const auto& vault) {
            return vault.repository_directory == name;
        });
        if (!known && entry.is_directory(failed) && !name.starts_with('.')) {
            unknown.push_back(name);
        }
    }
    std::sort(unknown.begin(), unknown.end());
    return unknown;
}

}  // namespace holdfast::jobs
