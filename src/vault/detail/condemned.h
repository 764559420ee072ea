#pragma once

#include "vault/detail/format.h"
#include "vault/detail/key_ring.h"

#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

namespace holdfast::vault {

/// Names of packs, ascending.
using PackNames = std::vector<Sha256>;

/// One list of packs that the collector is going to remove. Being condemned is final: what is still
/// needed of such a pack is copied elsewhere, never is the pack let off.
struct CondemnedList {
    CondemnedId id;
    std::shared_ptr<const PackNames> packs;
};

/// The lists that one session, or one run of the collector, goes by. Immutable once made.
class CondemnedView {
public:
    CondemnedView() = default;
    explicit CondemnedView(std::vector<CondemnedList> lists) : lists_{std::move(lists)} {}

    [[nodiscard]] bool empty() const noexcept { return lists_.empty(); }
    [[nodiscard]] bool contains(const Sha256& pack) const;
    [[nodiscard]] const std::vector<CondemnedList>& lists() const noexcept { return lists_; }
    /// Takes over the lists of `other` that are not here yet.
    void add(const CondemnedView& other);

private:
    std::vector<CondemnedList> lists_;
};

/// Reads condemned lists; each is read once. Safe from any thread.
class CondemnedStore {
public:
    CondemnedStore(ObjectStore& store, const KeyRing& keys) : store_{store}, keys_{keys} {}

    /// Every list that is durable when this is called, but for those removed meanwhile. Throws
    /// kVaultCorrupt naming a list that cannot be read.
    [[nodiscard]] CondemnedView load(std::stop_token stop);
    /// Writes a list of `packs` (ascending, not empty) and gives back its id. Durable when this
    /// returns.
    CondemnedId put(
        const PackNames& packs, std::uint64_t generation, Instant now, std::stop_token stop
    );

private:
    [[nodiscard]] CondemnedList read(const CondemnedId& id, ByteSpan object) const;

    ObjectStore& store_;
    const KeyRing& keys_;
    std::mutex mutex_;
    std::map<CondemnedId, CondemnedList> known_;  // Lists never change. Guarded by mutex_.
};

/// 32 bytes each, joined; and back, nothing when they are not ascending names.
[[nodiscard]] std::string join_pack_names(const PackNames& packs);
[[nodiscard]] std::optional<PackNames> parse_pack_names(std::string_view bytes);

}  // namespace holdfast::vault
