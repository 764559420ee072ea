#pragma once

#include "vault/object_store/object_store.h"

#include <atomic>
#include <cstdint>

namespace holdfast::vault {

/// Counts calls and bytes. Wraps any store.
class MeteredStore final : public ObjectStore {
public:
    struct Figures {
        std::uint64_t puts = 0;
        std::uint64_t put_bytes = 0;
        std::uint64_t gets = 0;
        std::uint64_t get_bytes = 0;
        std::uint64_t lists = 0;
        std::uint64_t removes = 0;
    };

    explicit MeteredStore(ObjectStore& inner) : inner_{inner} {}
    [[nodiscard]] Figures figures() const noexcept;

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
    ObjectStore& inner_;
    std::atomic<std::uint64_t> puts_ = 0;
    std::atomic<std::uint64_t> put_bytes_ = 0;
    std::atomic<std::uint64_t> gets_ = 0;
    std::atomic<std::uint64_t> get_bytes_ = 0;
    std::atomic<std::uint64_t> lists_ = 0;
    std::atomic<std::uint64_t> removes_ = 0;
};

}  // namespace holdfast::vault
