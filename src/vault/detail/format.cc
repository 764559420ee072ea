#include "vault/detail/format.h"

#include "base/error.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace holdfast::vault {

namespace {

void put_text(std::byte* out, std::string_view text) noexcept {
    std::copy_n(as_bytes(text).data(), text.size(), out);
}

template <typename Id>
std::optional<Id> parse_id_after(const ObjectKey& key, std::string_view prefix) {
    const std::string_view text = key.text();
    if (!text.starts_with(prefix) || text.size() != prefix.size() + 32) {
        return std::nullopt;
    }
    return Id::parse(text.substr(prefix.size()));
}

std::string_view name_of(CollectionObject object) noexcept {
    switch (object) {
        case CollectionObject::kLease:
            return "lease";
        case CollectionObject::kDone:
            return "done";
        case CollectionObject::kSuspects:
            return "suspects";
    }
    return "";
}

}  // namespace

bool is_node(BlobType type) noexcept {
    switch (type) {
        case BlobType::kDataChunk:
        case BlobType::kExtent:
        case BlobType::kTaggedExtent:
        case BlobType::kPageDelta:
            return false;
        case BlobType::kNone:
        case BlobType::kTreeNode:
        case BlobType::kDirectoryNode:
        case BlobType::kExtentList:
            return true;
    }
    return true;
}

std::string_view to_string(ObjectKind kind) noexcept {
    switch (kind) {
        case ObjectKind::kPack:
            return "pack";
        case ObjectKind::kIndex:
            return "index";
        case ObjectKind::kManifest:
            return "manifest";
        case ObjectKind::kCommit:
            return "commit";
        case ObjectKind::kSession:
            return "session";
        case ObjectKind::kState:
            return "state";
        case ObjectKind::kCatalog:
            return "catalog";
        case ObjectKind::kKnownAnswer:
            return "known-answer";
        case ObjectKind::kKeySet:
            return "key-set";
        case ObjectKind::kConfig:
            return "config";
        case ObjectKind::kWalSegment:
            return "wal-segment";
        case ObjectKind::kWalPartial:
            return "wal-partial";
        case ObjectKind::kTimelineHistory:
            return "timeline-history";
        case ObjectKind::kCondemned:
            return "condemned";
        case ObjectKind::kCollection:
            return "collection";
        case ObjectKind::kSuspects:
            return "suspects";
        case ObjectKind::kVerified:
            return "verified";
    }
    return "";
}

ObjectHeaderBytes encode(const ObjectHeader& header) noexcept {
    ObjectHeaderBytes out{};
    put_text(out.data(), kMagic);
    put_little_endian<std::uint16_t>(&out[8], kFormatVersion);
    out[10] = static_cast<std::byte>(header.kind);
    put_little_endian<std::uint32_t>(&out[12], header.epoch);
    std::copy(header.repository_id.bytes().begin(), header.repository_id.bytes().end(), &out[16]);
    std::copy(header.salt.begin(), header.salt.end(), &out[32]);
    return out;
}

FrameHeaderBytes encode(const FrameHeader& header) noexcept {
    FrameHeaderBytes out{};
    put_little_endian<std::uint32_t>(&out[0], header.slot);
    out[4] = static_cast<std::byte>(header.type);
    out[5] = static_cast<std::byte>(header.codec);
    put_little_endian<std::uint32_t>(&out[8], header.sealed_bytes);
    put_little_endian<std::uint32_t>(&out[12], header.plain_bytes);
    std::copy(header.id.begin(), header.id.end(), &out[16]);
    return out;
}

TrailerBytes encode(const Trailer& trailer) noexcept {
    TrailerBytes out{};
    put_little_endian<std::uint64_t>(&out[0], trailer.footer_offset);
    put_little_endian<std::uint32_t>(&out[8], trailer.footer_bytes);
    put_little_endian<std::uint32_t>(&out[12], trailer.frame_count);
    put_text(&out[24], kTrailerMagic);
    return out;
}

std::optional<ObjectHeader> decode_object_header(ByteSpan bytes) {
    if (bytes.size() < ObjectHeader::kBytes || as_text(bytes.first(8)) != kMagic) {
        return std::nullopt;
    }
    const auto version = get_little_endian<std::uint16_t>(&bytes[8]);
    if (version > kFormatVersion) {
        throw Error{
            ErrorKind::kVaultFormatUnsupported,
            ErrorText{
                .message = fmt::format(
                    "The repository has format version {}; this program knows versions up to {}.",
                    version,
                    kFormatVersion
                ),
                .recommended_actions = {"Install a newer version of holdfast."},
            }
        };
    }
    const auto kind = std::to_integer<std::uint8_t>(bytes[10]);
    if (version != kFormatVersion || kind < 1 ||
        kind > static_cast<std::uint8_t>(ObjectKind::kVerified) || bytes[11] != std::byte{0}) {
        return std::nullopt;
    }
    ObjectHeader header;
    header.kind = static_cast<ObjectKind>(kind);
    header.epoch = get_little_endian<std::uint32_t>(&bytes[12]);
    std::array<std::byte, 16> id{};
    std::copy_n(&bytes[16], id.size(), id.begin());
    header.repository_id = RepositoryId{id};
    std::copy_n(&bytes[32], header.salt.size(), header.salt.begin());
    return header;
}

std::optional<FrameHeader> decode_frame_header(ByteSpan bytes) noexcept {
    if (bytes.size() < FrameHeader::kBytes || bytes[6] != std::byte{0} ||
        bytes[7] != std::byte{0}) {
        return std::nullopt;
    }
    FrameHeader header;
    header.slot = get_little_endian<std::uint32_t>(&bytes[0]);
    header.type = static_cast<BlobType>(bytes[4]);
    header.codec = static_cast<Codec>(bytes[5]);
    header.sealed_bytes = get_little_endian<std::uint32_t>(&bytes[8]);
    header.plain_bytes = get_little_endian<std::uint32_t>(&bytes[12]);
    std::copy_n(&bytes[16], header.id.size(), header.id.begin());
    const bool known_codec = header.codec == Codec::kStored || header.codec == Codec::kZstd;
    if (!known_codec || header.sealed_bytes < kTagBytes) {
        return std::nullopt;
    }
    if (header.codec == Codec::kStored && header.sealed_bytes - kTagBytes != header.plain_bytes) {
        return std::nullopt;
    }
    return header;
}

std::optional<Trailer> decode_trailer(ByteSpan bytes) noexcept {
    if (bytes.size() != Trailer::kBytes || as_text(bytes.subspan(24)) != kTrailerMagic ||
        get_little_endian<std::uint64_t>(&bytes[16]) != 0) {
        return std::nullopt;
    }
    return Trailer{
        .footer_offset = get_little_endian<std::uint64_t>(&bytes[0]),
        .footer_bytes = get_little_endian<std::uint32_t>(&bytes[8]),
        .frame_count = get_little_endian<std::uint32_t>(&bytes[12]),
    };
}

ObjectKey config_key(std::uint32_t number) {
    return ObjectKey{fmt::format("{}{:08}", kConfigPrefix, number)};
}
ObjectKey key_set_key(std::uint32_t epoch, std::uint32_t number) {
    return ObjectKey{fmt::format("{}{:08}-{:04}", kKeysPrefix, epoch, number)};
}
ObjectKey known_answer_key(std::uint32_t epoch) {
    return ObjectKey{fmt::format("{}{:08}-known-answer", kKeysPrefix, epoch)};
}
ObjectKey session_key(const SessionId& id) {
    return ObjectKey{fmt::format("{}{}", kSessionsPrefix, id.to_string())};
}
ObjectKey pack_key(const Sha256& name) {
    const std::string hex = to_hex(name);
    return ObjectKey{fmt::format("{}{}/{}", kPacksPrefix, hex.substr(0, 2), hex)};
}
ObjectKey index_key(const SegmentId& id) {
    return ObjectKey{fmt::format("{}{}", kIndexPrefix, id.to_string())};
}
ObjectKey manifest_key(const PointGroup& group, const PointId& point) {
    return ObjectKey{
        fmt::format("{}{}/{}/manifest", kPointsPrefix, group.to_string(), point.to_string())
    };
}
ObjectKey commit_key(const PointGroup& group, const PointId& point) {
    return ObjectKey{
        fmt::format("{}{}/{}/commit", kPointsPrefix, group.to_string(), point.to_string())
    };
}
ObjectKey state_key(std::uint64_t sequence) {
    return ObjectKey{fmt::format("{}{:020}", kStatePrefix, sequence)};
}
ObjectKey catalog_key(std::uint64_t number) {
    return ObjectKey{fmt::format("{}{:020}", kCatalogPrefix, number)};
}

ObjectKey condemned_key(const CondemnedId& id) {
    return ObjectKey{fmt::format("{}{}", kCondemnedPrefix, id.to_string())};
}
ObjectKey verified_key(std::uint64_t number) {
    return ObjectKey{fmt::format("{}{:020}", kVerifiedPrefix, number)};
}
ObjectKey collection_key(std::uint64_t generation, CollectionObject object) {
    return ObjectKey{fmt::format("{}{:020}/{}", kCollectionsPrefix, generation, name_of(object))};
}

std::optional<std::uint64_t> parse_numbered_key(const ObjectKey& key, std::string_view prefix) {
    std::string_view text = key.text();
    if (!text.starts_with(prefix)) {
        return std::nullopt;
    }
    text.remove_prefix(prefix.size());
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

std::optional<Sha256> parse_pack_key(const ObjectKey& key) {
    const std::string_view text = key.text();
    constexpr std::size_t kNameAt = kPacksPrefix.size() + 3;
    if (!text.starts_with(kPacksPrefix) || text.size() != kNameAt + 64 ||
        text.substr(kPacksPrefix.size(), 2) != text.substr(kNameAt, 2)) {
        return std::nullopt;
    }
    const auto bytes = from_hex(text.substr(kNameAt));
    if (!bytes) {
        return std::nullopt;
    }
    Sha256 name{};
    std::copy(bytes->begin(), bytes->end(), name.begin());
    return name;
}

std::optional<SegmentId> parse_index_key(const ObjectKey& key) {
    return parse_id_after<SegmentId>(key, kIndexPrefix);
}

std::optional<SessionId> parse_session_key(const ObjectKey& key) {
    return parse_id_after<SessionId>(key, kSessionsPrefix);
}

std::optional<PointKey> parse_point_key(const ObjectKey& key) {
    std::string_view text = key.text();
    if (!text.starts_with(kPointsPrefix)) {
        return std::nullopt;
    }
    text.remove_prefix(kPointsPrefix.size());
    if (text.size() < 66 || text[32] != '/' || text[65] != '/') {
        return std::nullopt;
    }
    const auto group = PointGroup::parse(text.substr(0, 32));
    const auto point = PointId::parse(text.substr(33, 32));
    const std::string_view object = text.substr(66);
    if (!group || !point || (object != "manifest" && object != "commit")) {
        return std::nullopt;
    }
    return PointKey{
        .group = *group,
        .point = *point,
        .object = object == "commit" ? PointObject::kCommit : PointObject::kManifest,
    };
}

std::optional<CondemnedId> parse_condemned_key(const ObjectKey& key) {
    return parse_id_after<CondemnedId>(key, kCondemnedPrefix);
}

std::optional<CollectionKey> parse_collection_key(const ObjectKey& key) {
    const std::string& text = key.text();
    const std::size_t slash = text.find('/', kCollectionsPrefix.size());
    if (slash == std::string::npos) {
        return std::nullopt;
    }
    const auto number = parse_numbered_key(ObjectKey{text.substr(0, slash)}, kCollectionsPrefix);
    for (const CollectionObject object :
         {CollectionObject::kLease, CollectionObject::kDone, CollectionObject::kSuspects}) {
        if (number && key == collection_key(*number, object)) {
            return CollectionKey{.generation = *number, .object = object};
        }
    }
    return std::nullopt;
}

void throw_corrupt(const ObjectKey& key, std::string_view problem) {
    throw Error{
        ErrorKind::kVaultCorrupt,
        ErrorText{
            .message = fmt::format("The stored object '{}' is damaged: {}", key.text(), problem),
            .target = key.text(),
            .recommended_actions =
                {"Run 'holdfast vault check --read-data' to see which recovery points are hurt.",
                 "Put the object back from a copy of the vault's storage, and look for failing "
                 "hardware."},
        }
    };
}

void throw_cancelled() {
    throw Error{ErrorKind::kCancelled, "The operation was cancelled."};
}

}  // namespace holdfast::vault
