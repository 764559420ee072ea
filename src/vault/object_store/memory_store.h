#pragma once

#include "vault/object_store/object_store.h"

#include <map>
#include <mutex>

namespace holdfast::vault {

/// Objects in memory, for tests.
class MemoryStore final : public ObjectStore {
public:
    MemoryStore() = default;

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

    /// Damages one stored byte in place (tests of detection). Returns false when there is no such
    /// byte.
    bool flip_byte(const ObjectKey& key, std::uint64_t offset);
    /// A copy of everything stored, to compare or to go back to.
    [[nodiscard]] std::map<ObjectKey, Bytes> contents() const;
    void replace_contents(std::map<ObjectKey, Bytes> contents);

private:
    mutable std::mutex mutex_;
    std::map<ObjectKey, Bytes> objects_;  // Guarded by mutex_.
};

}  // namespace holdfast::vault
