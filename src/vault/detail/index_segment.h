#pragma once

#include "base/bytes.h"
#include "vault/detail/format.h"
#include "vault/detail/format.pb.h"
#include "vault/detail/key_ring.h"
#include "vault/detail/pack.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

// One sorted segment of the index: chunk id -> place in a pack. Segments are a cache of the pack
// footers and are rebuilt from them when lost; they are sealed all the same, block by block, so
// that a lookup reads one block.

namespace holdfast::vault {

/// The first half of a chunk id: enough to find it (the frame read then proves the whole id).
using ChunkKey = std::array<std::byte, 16>;
[[nodiscard]] ChunkKey chunk_key(const ChunkId& id) noexcept;

struct BlobLocation {
    Sha256 pack{};
    std::uint32_t offset = 0;
    std::uint32_t frame_bytes = 0;
    std::uint32_t plain_bytes = 0;
};

/// What an index is made of: blobs by id, in any order.
struct IndexedBlob {
    ChunkKey key{};
    std::uint32_t pack = 0;  ///< Position in the list of packs given beside it.
    std::uint32_t offset = 0;
    std::uint32_t frame_bytes = 0;
    std::uint32_t plain_bytes = 0;
};

struct SegmentContents {
    std::vector<Sha256> packs;
    std::vector<IndexedBlob> blobs;

    /// Adds a pack with all that its footer says.
    void add_pack(const Sha256& name, const std::vector<PackEntry>& entries);
};

/// Adds to `all` what `part` has of packs that `keeps` says yes to.
void append_contents(
    SegmentContents& all,
    const SegmentContents& part,
    const std::function<bool(const Sha256& pack)>& keeps
);

/// The whole object. Sorts `contents`; of equal keys one is kept. Pure: id and salt are the
/// caller's.
[[nodiscard]] Bytes build_index_segment(
    const KeyRing& keys,
    const ObjectKey& key,
    const Salt& salt,
    SegmentContents contents,
    const std::vector<SegmentId>& supersedes
);

/// Bits that say of most absent keys that they are absent (a Bloom filter; the keys are uniform
/// already).
class KeyFilter {
public:
    /// Of a segment: about 1 % of absent keys pass.
    static constexpr std::size_t kStoredBitsPerKey = 10;
    static constexpr int kStoredProbes = 7;
    explicit KeyFilter(
        std::size_t keys, std::size_t bits_per_key = kStoredBitsPerKey, int probes = kStoredProbes
    );
    /// As stored.
    explicit KeyFilter(Bytes bits) : bits_{std::move(bits)} {}
    void insert(const ChunkKey& key) noexcept;
    [[nodiscard]] bool may_contain(const ChunkKey& key) const noexcept;
    [[nodiscard]] const Bytes& bits() const noexcept { return bits_; }

private:
    Bytes bits_;
    int probes_ = kStoredProbes;
};

/// An open segment: footer and filter in memory, blocks read when needed. Immutable; safe from any
/// thread.
class IndexSegment {
public:
    /// Exactly `size` bytes from `offset` of the segment object.
    using Reader = std::function<Bytes(std::uint64_t offset, std::uint64_t size)>;
    /// Gives back a block's plaintext, from a cache or with load_block(). Blocks are counted
    /// through entries, then packs.
    using BlockSource = std::function<std::shared_ptr<const Bytes>(std::size_t block)>;

    /// Throws kVaultCorrupt naming the segment.
    IndexSegment(const KeyRing& keys, SegmentId id, std::uint64_t object_bytes, const Reader& read);

    [[nodiscard]] SegmentId id() const noexcept { return id_; }
    [[nodiscard]] std::uint64_t entry_count() const noexcept { return footer_.entry_count(); }
    [[nodiscard]] const std::vector<SegmentId>& supersedes() const noexcept { return supersedes_; }

    [[nodiscard]] bool may_contain(const ChunkKey& key) const noexcept {
        return filter_.may_contain(key);
    }
    [[nodiscard]] std::optional<BlobLocation> find(const ChunkKey& key, const BlockSource& blocks)
        const;
    /// Entries come first among the blocks, ascending through them all.
    [[nodiscard]] std::size_t entry_block_count() const noexcept {
        return static_cast<std::size_t>(footer_.entry_blocks_size());
    }
    [[nodiscard]] static std::vector<IndexedBlob> decode_entries(const Bytes& block);
    /// Everything, for merging and checking.
    [[nodiscard]] SegmentContents read_all(const BlockSource& blocks) const;
    [[nodiscard]] std::vector<Sha256> read_packs(const BlockSource& blocks) const;
    /// Reads and opens one block.
    [[nodiscard]] Bytes load_block(const KeyRing& keys, std::size_t block, const Reader& read)
        const;

private:
    [[nodiscard]] Bytes open_block(
        const KeyRing& keys, const format::IndexBlock& block, const Reader& read
    ) const;
    [[nodiscard]] Sha256 pack_at(std::uint32_t index, const BlockSource& blocks) const;

    SegmentId id_;
    ObjectKey key_;
    ObjectHeader header_;
    ObjectHeaderBytes header_bytes_{};
    format::IndexFooter footer_;
    std::vector<SegmentId> supersedes_;
    KeyFilter filter_{Bytes{}};
};

/// Parser of the footer's plaintext: nothing when it does not describe a segment whose frames end
/// at `footer_offset`.
[[nodiscard]] std::optional<format::IndexFooter> parse_index_footer(
    ByteSpan plain, std::uint64_t footer_offset
);

}  // namespace holdfast::vault
