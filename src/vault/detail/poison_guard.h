#pragma once

#include "vault/object_store/object_store.h"

#include <atomic>
#include <optional>
#include <string_view>

namespace holdfast::vault {

/// Once the store said that a sync failed, no more writes go to it through this repository: what
/// the kernel dropped then, it will not own up to a second time. Reads go on.
class PoisonGuard final : public ObjectStore {
public:
    explicit PoisonGuard(ObjectStore& inner) : inner_{inner} {}

    [[nodiscard]] StoreFeatures features() const noexcept override { return inner_.features(); }
    PutOutcome put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) override;
    [[nodiscard]] std::optional<Bytes> get(const ObjectKey& key, std::stop_token stop) override;
    [[nodiscard]] std::optional<Bytes> get_range(
        const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
    ) override;
    [[nodiscard]] std::optional<std::uint64_t> size(const ObjectKey& key, std::stop_token stop)
        override;
    void list(std::string_view prefix, const ListVisitor& visitor, std::stop_token stop) override;
    bool remove(const ObjectKey& key, std::stop_token stop) override;

private:
    void require_sound() const;

    ObjectStore& inner_;
    std::atomic<bool> poisoned_ = false;
};

}  // namespace holdfast::vault
