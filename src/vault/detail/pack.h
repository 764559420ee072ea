#pragma once

#include "base/bytes.h"
#include "vault/detail/crypto.h"
#include "vault/detail/format.h"
#include "vault/detail/key_ring.h"
#include "vault/detail/sealed.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace holdfast::vault {

/// One blob as the footer of its pack has it. The slot is the position in the footer.
struct PackEntry {
    ChunkId id{};
    BlobType type = BlobType::kDataChunk;
    Codec codec = Codec::kStored;
    std::uint32_t offset = 0;       ///< Of the frame header, from the start of the pack.
    std::uint32_t frame_bytes = 0;  ///< Frame header, ciphertext and tag.
    std::uint32_t plain_bytes = 0;
    bool operator==(const PackEntry&) const = default;
};

/// A pack in the making, in memory. Space is reserved one blob at a time; the blobs may then be
/// sealed into their places from several threads at once; at last the footer is written.
class PackBuilder {
public:
    /// `salt`: fresh for every attempt, it makes the pack's key.
    PackBuilder(const KeyRing& keys, const Salt& salt, std::uint64_t capacity_bytes);
    /// Uses the memory of `other` for a new pack.
    void start_over(const KeyRing& keys, const Salt& salt);

    struct Place {
        FrameHeader frame;
        MutableByteSpan out;
    };
    /// Nothing when the pack is full. An empty pack takes any blob.
    [[nodiscard]] std::optional<Place> reserve(
        BlobType type,
        Codec codec,
        const ChunkId& id,
        std::size_t payload_bytes,
        std::size_t plain_bytes
    );
    /// Seals `payload` into its place. Safe from several threads for different places.
    void seal(Aead& aead, const Place& place, ByteSpan payload) const;
    /// Appends footer and trailer. The view is good until start_over.
    [[nodiscard]] ByteSpan finish(Aead& aead);

    [[nodiscard]] const std::vector<PackEntry>& entries() const noexcept { return entries_; }
    [[nodiscard]] const Secret& key() const noexcept { return key_; }
    [[nodiscard]] const ObjectHeaderBytes& header() const noexcept { return header_; }
    [[nodiscard]] ByteSpan frame_bytes(const PackEntry& entry) const;

private:
    std::uint64_t capacity_bytes_;
    Buffer buffer_;
    std::size_t used_bytes_ = 0;
    ObjectHeaderBytes header_{};
    Secret key_;
    std::vector<PackEntry> entries_;
};

/// The blobs of a pack, from its footer.
struct PackContents {
    ObjectHeader header;
    std::vector<PackEntry> entries;
};
/// Bytes of `size` from `offset` of the pack being parsed.
using RangeReader = std::function<Bytes(std::uint64_t offset, std::uint64_t size)>;
/// Reads and checks header, trailer and footer. Throws kVaultCorrupt naming `key`.
[[nodiscard]] PackContents read_pack_contents(
    const KeyRing& keys, const ObjectKey& key, std::uint64_t pack_bytes, const RangeReader& read
);

/// Plaintext of the footer <-> entries. decode: nothing when the bytes are not a footer of a pack
/// whose frames end at `footer_offset`.
[[nodiscard]] Bytes encode_pack_footer(const std::vector<PackEntry>& entries);
[[nodiscard]] std::optional<std::vector<PackEntry>> decode_pack_footer(
    ByteSpan plain, std::uint64_t footer_offset
);

}  // namespace holdfast::vault
