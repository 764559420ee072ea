#pragma once

#include "vault/detail/condemned.h"
#include "vault/detail/engine.h"
#include "vault/detail/mark.h"

#include <cstdint>
#include <stop_token>
#include <vector>

namespace holdfast::vault {

/// A pack that the store has, and how much of it is needed.
struct TalliedPack {
    Sha256 name{};
    std::uint64_t bytes = 0;
    std::uint64_t live_bytes = 0;  ///< Of blobs that are live and not counted in another pack.
    std::uint32_t blobs = 0;
    bool readable = true;  ///< False: in no index, and its footer is damaged.

    /// What a pack is made of besides blobs: headers, footer, trailer.
    [[nodiscard]] std::uint64_t overhead_bytes() const noexcept;
    [[nodiscard]] std::uint64_t dead_bytes() const noexcept;
};

/// Every pack that is stored, by name.
[[nodiscard]] std::vector<TalliedPack> list_packs(ObjectStore& store, std::stop_token stop);
[[nodiscard]] const TalliedPack* find_pack(
    const std::vector<TalliedPack>& packs, const Sha256& name
);

/// Sums up how much of each of `packs` is live. Of a blob that several packs hold one copy counts:
/// one in a sound pack that is not condemned, if there is one. The index is read through once, in
/// order; only packs that it does not know are looked at themselves.
///
/// Memory: a block of each segment, and 24 bytes for each blob of packs that are not indexed.
void tally_packs(
    Engine& engine,
    const Marker& marker,
    const CondemnedView& condemned,
    std::vector<TalliedPack>& packs,
    std::stop_token stop
);

}  // namespace holdfast::vault
