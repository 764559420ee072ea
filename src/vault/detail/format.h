#pragma once

#include "base/bytes.h"
#include "base/ids.h"
#include "vault/object_store/object_store.h"
#include "vault/vault.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Numbers and names of repository format version 1. Changing one is a change of the format:
// docs/format.md, a golden repository and the version go with it.

namespace holdfast::vault {

inline constexpr std::uint16_t kFormatVersion = 1;
inline constexpr std::string_view kMagic = "HOLDFAST";
inline constexpr std::string_view kTrailerMagic = "HFTRAIL1";

/// What a sealed object is. The key derivation has the name in it.
enum class ObjectKind : std::uint8_t {
    kPack = 1,
    kIndex = 2,
    kManifest = 3,
    kCommit = 4,
    kSession = 5,
    kState = 6,
    kCatalog = 7,
    kKnownAnswer = 8,
    kKeySet = 9,
    kConfig = 10,
    // Specified, not written by this version; a repository that has them requires feature "wal".
    kWalSegment = 11,
    kWalPartial = 12,
    kTimelineHistory = 13,
    kCondemned = 14,
    kCollection = 15,
    kSuspects = 16,
    kVerified = 17,
};
[[nodiscard]] std::string_view to_string(ObjectKind kind) noexcept;

/// What a blob in a pack is.
enum class BlobType : std::uint8_t {
    kNone = 0,  ///< A frame that is not a blob: body of a sealed object, index block, footer.
    kDataChunk = 1,
    kTreeNode = 2,
    kDirectoryNode = 3,
    // A repository that has these requires feature "extents". 17 was never written.
    kExtent = 16,
    kPageDelta = 18,
    kExtentList = 19,
    /// An extent, too; its id is made in another way (BlobIds). Requires feature "extent-ids".
    kTaggedExtent = 20,
};
[[nodiscard]] constexpr bool is_extent(BlobType type) noexcept {
    return type == BlobType::kExtent || type == BlobType::kTaggedExtent;
}

/// Whether blobs of this type refer to others.
[[nodiscard]] bool is_node(BlobType type) noexcept;

enum class Codec : std::uint8_t { kStored = 0, kZstd = 1 };

inline constexpr std::size_t kTagBytes = 16;
inline constexpr std::size_t kKeyBytes = 32;
inline constexpr std::size_t kHashBytes = 32;

using ChunkId = std::array<std::byte, kHashBytes>;
using Sha256 = std::array<std::byte, kHashBytes>;
using Salt = std::array<std::byte, 32>;
using SessionId = Id128<struct SessionIdTag>;
using SegmentId = Id128<struct SegmentIdTag>;
using PointGroup = Id128<struct PointGroupTag>;
using CondemnedId = Id128<struct CondemnedIdTag>;

/// An id as messages hold it, 16 bytes. Nothing when there are more or less.
template <typename Id>
[[nodiscard]] std::optional<Id> parse_id(std::string_view bytes) {
    std::array<std::byte, 16> id{};
    if (bytes.size() != id.size()) {
        return std::nullopt;
    }
    std::copy_n(as_bytes(bytes).begin(), id.size(), id.begin());
    return Id{id};
}

/// Slot of the footer of a pack or index segment; blobs count from 0.
inline constexpr std::uint32_t kFooterSlot = 0xffffffff;

/// No blob is larger: chunks are 4 MiB at most, nodes far smaller. A reader refuses more before it
/// allocates.
inline constexpr std::uint32_t kBlobBytesMax = 8 * kMiB;
/// Bound of single sealed objects (catalog snapshots are the largest).
inline constexpr std::uint64_t kSealedBytesMax = kGiB;
/// Bound of a pack: offsets are 32 bit, and a whole pack is held in memory.
inline constexpr std::uint64_t kPackBytesMax = 256 * kMiB;
/// Streams up to this size stand in the directory itself: a blob would cost more than they are.
inline constexpr std::size_t kInlineBytesMax = 64;

/// PostgreSQL's: what changes together, and the unit of page deltas.
inline constexpr std::size_t kPageBytes = 8 * kKiB;
/// Extents are powers of two: 64 KiB to 4 MiB.
inline constexpr std::uint32_t kExtentLog2Min = 16;
inline constexpr std::uint32_t kExtentLog2Max = 22;
inline constexpr std::size_t kDeltaLayersMax = 7;

/// One extent of a stream of pages as it is stored.
struct Extent {
    std::optional<ChunkId> base = {};  ///< Nothing: all its bytes are zero.
    std::vector<ChunkId> deltas = {};  ///< Upon the base, one after the other.
    /// Without deltas the base's id, of whichever kind; with them, only where an older writer left
    /// it, the id that the bytes would have as kExtent.
    std::optional<ChunkId> digest = {};
    std::uint64_t deltas_stored_bytes = 0;  ///< Since the base was stored; 0 without deltas.
    /// FastDigest of the bytes under the key ring's extent_tag_key(): tells extents apart, and
    /// proves them, at a fifth of a digest's cost. Nothing where the writer had none; never of
    /// zeros. With deltas there is one of the two. On a base of type kTaggedExtent there is a tag.
    std::optional<std::array<std::byte, kTagBytes>> tag = {};
    bool operator==(const Extent&) const = default;
};

/// The first 64 bytes of every stored object.
struct ObjectHeader {
    static constexpr std::size_t kBytes = 64;
    ObjectKind kind = ObjectKind::kPack;
    std::uint32_t epoch = 0;
    RepositoryId repository_id;
    Salt salt{};
};
using ObjectHeaderBytes = std::array<std::byte, ObjectHeader::kBytes>;
[[nodiscard]] ObjectHeaderBytes encode(const ObjectHeader& header) noexcept;

/// The 48 bytes before every piece of ciphertext.
struct FrameHeader {
    static constexpr std::size_t kBytes = 48;
    std::uint32_t slot = 0;
    BlobType type = BlobType::kNone;
    Codec codec = Codec::kStored;
    std::uint32_t sealed_bytes = 0;  ///< Ciphertext and tag.
    std::uint32_t plain_bytes = 0;   ///< After decompression.
    ChunkId id{};  ///< Of a blob; else zero, or the fingerprint of a wrapping key.
};
using FrameHeaderBytes = std::array<std::byte, FrameHeader::kBytes>;
[[nodiscard]] FrameHeaderBytes encode(const FrameHeader& header) noexcept;

/// The last 32 bytes of packs and index segments.
struct Trailer {
    static constexpr std::size_t kBytes = 32;
    std::uint64_t footer_offset = 0;
    std::uint32_t footer_bytes = 0;  ///< Frame header, ciphertext and tag.
    std::uint32_t frame_count = 0;   ///< Before the footer.
};
using TrailerBytes = std::array<std::byte, Trailer::kBytes>;
[[nodiscard]] TrailerBytes encode(const Trailer& trailer) noexcept;

/// Parsers of stored bytes: nothing when they are not what they should be. decode_object_header
/// throws kVaultFormatUnsupported for a version above kFormatVersion.
[[nodiscard]] std::optional<ObjectHeader> decode_object_header(ByteSpan bytes);
[[nodiscard]] std::optional<FrameHeader> decode_frame_header(ByteSpan bytes) noexcept;
[[nodiscard]] std::optional<Trailer> decode_trailer(ByteSpan bytes) noexcept;

// ---- Names ----

inline constexpr std::string_view kConfigPrefix = "config/";
inline constexpr std::string_view kKeysPrefix = "keys/";
inline constexpr std::string_view kSessionsPrefix = "sessions/";
inline constexpr std::string_view kPacksPrefix = "packs/";
inline constexpr std::string_view kIndexPrefix = "index/";
inline constexpr std::string_view kPointsPrefix = "points/";
inline constexpr std::string_view kStatePrefix = "state/";
inline constexpr std::string_view kCatalogPrefix = "catalog/";
inline constexpr std::string_view kCondemnedPrefix = "condemned/";
inline constexpr std::string_view kCollectionsPrefix = "collections/";
inline constexpr std::string_view kVerifiedPrefix = "verified/";

[[nodiscard]] ObjectKey config_key(std::uint32_t number);
[[nodiscard]] ObjectKey key_set_key(std::uint32_t epoch, std::uint32_t number);
[[nodiscard]] ObjectKey known_answer_key(std::uint32_t epoch);
[[nodiscard]] ObjectKey session_key(const SessionId& id);
[[nodiscard]] ObjectKey pack_key(const Sha256& name);
[[nodiscard]] ObjectKey index_key(const SegmentId& id);
[[nodiscard]] ObjectKey manifest_key(const PointGroup& group, const PointId& point);
[[nodiscard]] ObjectKey commit_key(const PointGroup& group, const PointId& point);
[[nodiscard]] ObjectKey state_key(std::uint64_t sequence);
[[nodiscard]] ObjectKey catalog_key(std::uint64_t number);
[[nodiscard]] ObjectKey condemned_key(const CondemnedId& id);
[[nodiscard]] ObjectKey verified_key(std::uint64_t number);
/// What a collection leaves under its number.
enum class CollectionObject { kLease, kDone, kSuspects };
[[nodiscard]] ObjectKey collection_key(std::uint64_t generation, CollectionObject object);

/// The other way: nothing when the key is not of that form.
[[nodiscard]] std::optional<std::uint64_t> parse_numbered_key(
    const ObjectKey& key, std::string_view prefix
);
[[nodiscard]] std::optional<Sha256> parse_pack_key(const ObjectKey& key);
[[nodiscard]] std::optional<SegmentId> parse_index_key(const ObjectKey& key);
[[nodiscard]] std::optional<SessionId> parse_session_key(const ObjectKey& key);
enum class PointObject { kManifest, kCommit };
struct PointKey {
    PointGroup group;
    PointId point;
    PointObject object = PointObject::kCommit;
};
[[nodiscard]] std::optional<PointKey> parse_point_key(const ObjectKey& key);
[[nodiscard]] std::optional<CondemnedId> parse_condemned_key(const ObjectKey& key);
struct CollectionKey {
    std::uint64_t generation = 0;
    CollectionObject object = CollectionObject::kLease;
};
[[nodiscard]] std::optional<CollectionKey> parse_collection_key(const ObjectKey& key);

// ---- Errors ----

/// Throws kVaultCorrupt naming the object: "<problem>" is one sentence about it.
[[noreturn]] void throw_corrupt(const ObjectKey& key, std::string_view problem);
[[noreturn]] void throw_cancelled();

}  // namespace holdfast::vault
