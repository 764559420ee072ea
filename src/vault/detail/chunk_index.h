#pragma once

#include "vault/detail/condemned.h"
#include "vault/detail/index_segment.h"

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::vault {

/// Which places of a blob count: a new point may only rely on packs that nothing is known against;
/// a reader takes what there is.
enum class Trust { kSoundPacks, kAnyPack };

/// All index segments of a repository: finds blobs. Memory: the filters (10 bits a blob) and a
/// bounded cache of blocks. Safe from any thread; no lock is held across I/O.
class ChunkIndex {
public:
    ChunkIndex(ObjectStore& store, const KeyRing& keys, std::uint64_t cache_bytes_max);

    /// Takes up segments that appeared and lets go of those that vanished. A damaged segment is
    /// left out and listed: the packs' footers have all that it had.
    void refresh(std::stop_token stop);
    /// Sound packs come first. With Trust::kSoundPacks, packs of `condemned` do not count either.
    [[nodiscard]] std::optional<BlobLocation> find(
        const ChunkId& id,
        Trust trust,
        std::stop_token stop,
        const CondemnedView& condemned = {}
    );

    /// From now on nothing new relies on what this pack holds: it is stored again when it comes by.
    void distrust(const Sha256& pack);
    /// Those of distrust(), without those that are missing.
    [[nodiscard]] std::vector<Sha256> damaged_packs() const;
    /// Distrusts every pack that a segment names and the store does not have, and no longer those
    /// that are back or that no segment names any more.
    void distrust_missing_packs(std::stop_token stop);
    [[nodiscard]] bool distrusts_any() const;
    [[nodiscard]] bool distrusts(const Sha256& pack) const;

    /// Writes a segment and takes it up. Durable when this returns. Does nothing without blobs.
    /// Returns the bytes written.
    std::uint64_t add(
        SegmentContents contents, const std::vector<SegmentId>& supersedes, std::stop_token stop
    );
    /// Merges small segments when there are many, leaving out what is condemned. Never fails for
    /// want of a segment that another merge took away. REQUIRES: within a session whose view
    /// `condemned` is, so that no pack that goes meanwhile gets back into the index.
    void merge_small_segments(const CondemnedView& condemned, std::stop_token stop);

    /// Every pack named by a segment.
    [[nodiscard]] PackNames indexed_packs(std::stop_token stop);
    [[nodiscard]] std::vector<SegmentId> segment_ids() const;
    [[nodiscard]] SegmentContents read_segment(SegmentId id, std::stop_token stop);
    [[nodiscard]] std::vector<DamagedObject> damaged() const;

    using SegmentList = std::vector<std::shared_ptr<const IndexSegment>>;
    /// The segments as they are now, for reading them through; the list never changes.
    [[nodiscard]] std::shared_ptr<const SegmentList> segments() const;
    /// Past the cache. Throws kObjectNotFound when the segment was merged away, kVaultCorrupt.
    [[nodiscard]] Bytes load_block(
        const IndexSegment& segment, std::size_t number, std::stop_token stop
    ) const;
    /// Leaves a segment out from now on.
    void set_aside(SegmentId id, std::string_view problem);
    /// Removes segments from the store and from here.
    void remove_segments(const std::vector<SegmentId>& ids, std::stop_token stop);

private:
    using BlockKey = std::pair<SegmentId, std::size_t>;
    struct CachedBlock {
        BlockKey key;
        std::shared_ptr<const Bytes> bytes;
    };

    [[nodiscard]] IndexSegment::Reader reader_of(SegmentId id, std::stop_token stop) const;
    [[nodiscard]] std::shared_ptr<const Bytes> block(
        const IndexSegment& segment, std::size_t number, const std::stop_token& stop
    );
    void replace_segments(
        std::shared_ptr<const IndexSegment> added, const std::vector<SegmentId>& removed
    );
    [[nodiscard]] std::optional<BlobLocation> find_in(
        const SegmentList& list,
        const ChunkKey& key,
        Trust trust,
        const CondemnedView& condemned,
        const std::stop_token& stop
    );

    ObjectStore& store_;
    const KeyRing& keys_;
    const std::uint64_t cache_bytes_max_;

    mutable std::mutex mutex_;
    std::shared_ptr<const SegmentList>
        segments_;  // Guarded by mutex_; the list itself never changes.
    std::map<SegmentId, std::string> set_aside_;  // Damaged ones. Guarded by mutex_.
    std::set<Sha256> missing_;                    // Packs. Guarded by mutex_.
    std::set<Sha256> damaged_;                    // Packs. Guarded by mutex_.
    std::list<CachedBlock> cache_;                // Most recently used first. Guarded by mutex_.
    std::map<BlockKey, std::list<CachedBlock>::iterator> cache_by_key_;  // Guarded by mutex_.
    std::uint64_t cache_bytes_ = 0;                                      // Guarded by mutex_.
};

}  // namespace holdfast::vault
