#pragma once

#include "base/file.h"
#include "vault/object_store/object_store.h"

#include <atomic>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>

namespace holdfast::vault {

/// Objects as files below one directory. An object is written to a temporary file in the same file
/// system, synced and then linked to its name; the directory and new parents are synced, so a name
/// never stands for half an object.
///
/// A failed sync poisons the store: every later write throws kVaultPoisoned until the process
/// starts anew, because after a failed fsync the kernel may have dropped the data and a second
/// fsync lies (PostgreSQL's lesson).
class LocalStore final : public ObjectStore {
public:
    /// `root` is made, with mode 0700, when it does not exist.
    explicit LocalStore(std::filesystem::path root);

    [[nodiscard]] StoreFeatures features() const noexcept override;
    PutOutcome put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) override;
    [[nodiscard]] std::optional<Bytes> get(const ObjectKey& key, std::stop_token stop) override;
    [[nodiscard]] std::optional<Bytes> get_range(
        const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
    ) override;
    [[nodiscard]] std::optional<std::uint64_t> size(const ObjectKey& key, std::stop_token stop)
        override;
    void list(std::string_view prefix, const ListVisitor& visitor, std::stop_token stop) override;
    bool remove(const ObjectKey& key, std::stop_token stop) override;

    /// Removes what writers that died left in the temporary directory. REQUIRES: no other process
    /// writes here.
    void clear_temporary_files();

    [[nodiscard]] const std::filesystem::path& root() const noexcept { return root_; }

private:
    void sync_or_poison(int fd, const std::string& name);
    void make_parents(const std::string& key);

    const std::filesystem::path root_;
    std::atomic<bool> poisoned_ = false;
    std::mutex known_mutex_;
    std::set<std::string> known_directories_;  // Made and synced already. Guarded by known_mutex_.
};

}  // namespace holdfast::vault
