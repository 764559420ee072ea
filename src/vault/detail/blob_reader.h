#pragma once

#include "base/error.h"
#include "vault/detail/chunk_index.h"
#include "vault/detail/pack.h"
#include "vault/detail/sealed.h"

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <vector>

namespace holdfast::vault {

/// Fetches blobs by id: index, one ranged read, decrypt, decompress, prove. Safe from any thread.
class BlobReader {
public:
    BlobReader(ObjectStore& store, const KeyRing& keys, ChunkIndex& index);
    ~BlobReader();

    /// What is shown of a blob that is read: that its bytes have the id that was asked for, or only
    /// that they were sealed as that blob (for who compares what comes of them with a tag).
    enum class Proof { kId, kSeal };
    /// The plaintext; kExtent stands for either kind of extent. Throws kVaultCorrupt naming the
    /// pack when the blob is damaged, or naming the blob when no pack has it (the index is brought
    /// up to date first, from the packs' footers if need be).
    [[nodiscard]] Bytes read(
        BlobType type, const ChunkId& id, const std::stop_token& stop, Proof proof = Proof::kId
    );
    /// The same, where it is wanted. Throws kVaultCorrupt, too, when the blob is not as long as
    /// `out`, which then holds anything.
    void read_to(
        BlobType type,
        const ChunkId& id,
        MutableByteSpan out,
        const std::stop_token& stop,
        Proof proof = Proof::kId
    );
    /// The bytes of an extent: base, deltas, proved by its tag or digest. Throws kVaultCorrupt;
    /// `out` then holds anything.
    void read_extent_to(const Extent& extent, MutableByteSpan out, const std::stop_token& stop);
    /// The same from one place, however good or bad the pack is known to be. Throws kVaultCorrupt.
    [[nodiscard]] Bytes read_at(
        const BlobLocation& location, BlobType type, const ChunkId& id, const std::stop_token& stop
    );
    /// Where the blob is; nothing when no pack has it.
    [[nodiscard]] std::optional<BlobLocation> locate(const ChunkId& id, std::stop_token stop);

private:
    /// Memory for that many bytes of plaintext; of another size when that many are not wanted.
    using Room = std::function<MutableByteSpan(std::size_t plain_bytes)>;
    [[nodiscard]] static Room room_in(Bytes& out);
    struct Opener;
    /// What it takes to open any blob of a pack.
    struct PackOpening {
        ObjectHeaderBytes header{};
        Secret key;
    };
    struct KnownPack {
        Sha256 pack{};
        std::shared_ptr<const PackOpening> opening;
    };
    struct Window {
        Sha256 pack{};
        std::uint64_t offset = 0;
        std::shared_ptr<const Bytes> bytes;
    };
    /// A stored blob, and what keeps it in memory.
    struct Frame {
        std::shared_ptr<const Bytes> owner;
        ByteSpan bytes;
    };
    [[nodiscard]] std::unique_ptr<Opener> take_opener();
    void give_back(std::unique_ptr<Opener> opener);
    /// A blob that is asked for.
    struct Wanted {
        BlobType type;
        const ChunkId& id;
        const Room& room;
        Proof proof = Proof::kId;
    };
    void fetch(const Wanted& wanted, const std::stop_token& stop);
    void fetch_at(const BlobLocation& location, const Wanted& wanted, const std::stop_token& stop);
    void fetch_elsewhere(
        const BlobLocation& tried,
        const Wanted& wanted,
        const Error& first,
        const std::stop_token& stop
    );
    [[nodiscard]] Frame read_frame(
        const ObjectKey& key, const BlobLocation& location, const std::stop_token& stop
    );
    [[nodiscard]] Frame read_window(
        const ObjectKey& key, const BlobLocation& location, const std::stop_token& stop
    );
    [[nodiscard]] std::shared_ptr<const PackOpening> opening_of(
        const ObjectKey& key, const Sha256& pack, const std::stop_token& stop
    );
    void read_unindexed_footers(const std::stop_token& stop);

    ObjectStore& store_;
    const KeyRing& keys_;
    ChunkIndex& index_;

    std::mutex mutex_;
    std::vector<std::unique_ptr<Opener>> idle_;   // Guarded by mutex_.
    std::list<Window> windows_;                   // Most recent first. Guarded by mutex_.
    std::list<KnownPack> known_packs_;            // Most recent first. Guarded by mutex_.
    std::set<Sha256> footers_read_;               // Guarded by mutex_.
    std::map<ChunkKey, BlobLocation> unindexed_;  // From those footers. Guarded by mutex_.
};

}  // namespace holdfast::vault
