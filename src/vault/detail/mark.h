#pragma once

#include "vault/detail/blob_writer.h"
#include "vault/detail/engine.h"
#include "vault/detail/manifest.h"
#include "vault/vault.h"

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::vault {

/// What the points reach. Never says of a blob that is reached that it is not; of one that is not
/// reached it may say that it is (about once in 20,000 times), which only keeps it.
///
/// Memory: 3 bytes for each blob of the repository (10 TB in chunks of 1 MiB: 30 MiB), at most 96
/// MiB; a vault of more blobs than that is marked more coarsely. Besides, some 56 bytes for each
/// node of the trees, of which there is one to about 64 blobs.
class Marker {
public:
    /// `blobs`: about how many the repository has.
    Marker(Engine& engine, std::uint64_t blobs);

    /// Marks everything below `root`. What cannot be read is added to `obstacles`: then it is not
    /// known what else is reached. Safe to call again for a root; what is marked is not read twice.
    void mark(
        const std::optional<ContentRef>& root,
        const std::string& what,
        std::optional<PointId> point,
        std::vector<DamagedObject>& obstacles,
        std::stop_token stop
    );
    /// Has everything read again by later calls. To be called when obstacles are dropped: nodes
    /// above what could not be read would else pass for read.
    void forget_nodes() { nodes_.clear(); }
    [[nodiscard]] bool is_live(const ChunkKey& key) const { return live_.may_contain(key); }

private:
    Engine& engine_;
    KeyFilter live_;
    ChunkKeySet nodes_;  // Exact: what is below a node in here is not looked at again.
};

}  // namespace holdfast::vault
