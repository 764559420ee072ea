#include "vault/detail/pack.h"

#include "base/error.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

constexpr std::size_t kEntryBytes = 48;
constexpr std::size_t kTrailerContextBytes = 16;

constexpr std::uint64_t closing_bytes(std::size_t entry_count) {
    return FrameHeader::kBytes + entry_count * kEntryBytes + kTagBytes + Trailer::kBytes;
}

}  // namespace

PackBuilder::PackBuilder(const KeyRing& keys, const Salt& salt, std::uint64_t capacity_bytes)
    : capacity_bytes_{std::min(capacity_bytes, kPackBytesMax)} {
    start_over(keys, salt);
}

void PackBuilder::start_over(const KeyRing& keys, const Salt& salt) {
    const ObjectHeader header{
        .kind = ObjectKind::kPack,
        .epoch = keys.epoch(),
        .repository_id = keys.repository_id(),
        .salt = salt,
    };
    header_ = encode(header);
    auto key = keys.object_key(header);
    HOLDFAST_CHECK(key.has_value());
    key_ = std::move(*key);
    entries_.clear();
    used_bytes_ = ObjectHeader::kBytes;
    // Room for the largest blob whatever the capacity, so that memory never moves under a sealing
    // thread.
    const std::size_t largest =
        ObjectHeader::kBytes + FrameHeader::kBytes + kBlobBytesMax + kTagBytes + closing_bytes(1);
    buffer_.reserve(std::max<std::size_t>(capacity_bytes_, largest));
    std::copy(header_.begin(), header_.end(), buffer_.data());
}

std::optional<PackBuilder::Place> PackBuilder::reserve(
    BlobType type,
    Codec codec,
    const ChunkId& id,
    std::size_t payload_bytes,
    std::size_t plain_bytes
) {
    HOLDFAST_CHECK(plain_bytes <= kBlobBytesMax && payload_bytes <= plain_bytes);
    const std::size_t frame_bytes = FrameHeader::kBytes + payload_bytes + kTagBytes;
    const bool fits =
        used_bytes_ + frame_bytes + closing_bytes(entries_.size() + 1) <= capacity_bytes_;
    if (!fits && !entries_.empty()) {
        return std::nullopt;
    }
    const Place place{
        .frame =
            {
                .slot = static_cast<std::uint32_t>(entries_.size()),
                .type = type,
                .codec = codec,
                .sealed_bytes = static_cast<std::uint32_t>(payload_bytes + kTagBytes),
                .plain_bytes = static_cast<std::uint32_t>(plain_bytes),
                .id = id,
            },
        .out = {buffer_.data() + used_bytes_, frame_bytes},
    };
    entries_.push_back({
        .id = id,
        .type = type,
        .codec = codec,
        .offset = static_cast<std::uint32_t>(used_bytes_),
        .frame_bytes = static_cast<std::uint32_t>(frame_bytes),
        .plain_bytes = static_cast<std::uint32_t>(plain_bytes),
    });
    used_bytes_ += frame_bytes;
    return place;
}

void PackBuilder::seal(Aead& aead, const Place& place, ByteSpan payload) const {
    seal_frame(aead, key_, header_, place.frame, {}, payload, place.out);
}

ByteSpan PackBuilder::frame_bytes(const PackEntry& entry) const {
    return {buffer_.data() + entry.offset, entry.frame_bytes};
}

ByteSpan PackBuilder::finish(Aead& aead) {
    const Bytes plain = encode_pack_footer(entries_);
    const Trailer trailer{
        .footer_offset = used_bytes_,
        .footer_bytes = static_cast<std::uint32_t>(FrameHeader::kBytes + plain.size() + kTagBytes),
        .frame_count = static_cast<std::uint32_t>(entries_.size()),
    };
    const TrailerBytes trailer_bytes = encode(trailer);
    const FrameHeader frame{
        .slot = kFooterSlot,
        .type = BlobType::kNone,
        .codec = Codec::kStored,
        .sealed_bytes = static_cast<std::uint32_t>(plain.size() + kTagBytes),
        .plain_bytes = static_cast<std::uint32_t>(plain.size()),
    };
    seal_frame(
        aead,
        key_,
        header_,
        frame,
        ByteSpan{trailer_bytes}.first(kTrailerContextBytes),
        plain,
        {buffer_.data() + used_bytes_, trailer.footer_bytes}
    );
    used_bytes_ += trailer.footer_bytes;
    std::copy(trailer_bytes.begin(), trailer_bytes.end(), buffer_.data() + used_bytes_);
    used_bytes_ += trailer_bytes.size();
    return {buffer_.data(), used_bytes_};
}

Bytes encode_pack_footer(const std::vector<PackEntry>& entries) {
    Bytes out(entries.size() * kEntryBytes);
    std::byte* at = out.data();
    for (const PackEntry& entry : entries) {
        put_little_endian<std::uint32_t>(at, entry.offset);
        put_little_endian<std::uint32_t>(at + 4, entry.frame_bytes);
        put_little_endian<std::uint32_t>(at + 8, entry.plain_bytes);
        at[12] = static_cast<std::byte>(entry.type);
        at[13] = static_cast<std::byte>(entry.codec);
        std::copy(entry.id.begin(), entry.id.end(), at + 16);
        at += kEntryBytes;
    }
    return out;
}

std::optional<std::vector<PackEntry>> decode_pack_footer(
    ByteSpan plain, std::uint64_t footer_offset
) {
    if (plain.size() % kEntryBytes != 0) {
        return std::nullopt;
    }
    std::vector<PackEntry> entries;
    entries.reserve(plain.size() / kEntryBytes);
    std::uint64_t expected_offset = ObjectHeader::kBytes;
    for (std::size_t i = 0; i < plain.size(); i += kEntryBytes) {
        const std::byte* const at = &plain[i];
        PackEntry entry;
        entry.offset = get_little_endian<std::uint32_t>(at);
        entry.frame_bytes = get_little_endian<std::uint32_t>(at + 4);
        entry.plain_bytes = get_little_endian<std::uint32_t>(at + 8);
        entry.type = static_cast<BlobType>(at[12]);
        entry.codec = static_cast<Codec>(at[13]);
        std::copy_n(at + 16, entry.id.size(), entry.id.begin());
        if (entry.offset != expected_offset ||
            entry.frame_bytes < FrameHeader::kBytes + kTagBytes ||
            entry.plain_bytes > kBlobBytesMax) {
            return std::nullopt;
        }
        expected_offset += entry.frame_bytes;
        entries.push_back(entry);
    }
    if (expected_offset != footer_offset) {
        return std::nullopt;
    }
    return entries;
}

PackContents read_pack_contents(
    const KeyRing& keys, const ObjectKey& key, std::uint64_t pack_bytes, const RangeReader& read
) {
    constexpr std::uint64_t kLeast = ObjectHeader::kBytes + closing_bytes(0);
    if (pack_bytes < kLeast || pack_bytes > kPackBytesMax + kBlobBytesMax) {
        throw_corrupt(key, "its length is not that of a pack.");
    }
    const Bytes header_bytes = read(0, ObjectHeader::kBytes);
    const ObjectHeader header = expect_header(keys, ObjectKind::kPack, key, header_bytes);
    // Most footers lie within the guess, which saves a request.
    constexpr std::uint64_t kGuess = 16 * kKiB;
    const std::uint64_t tail_bytes = std::min(pack_bytes, kGuess);
    Bytes tail = read(pack_bytes - tail_bytes, tail_bytes);
    const Bytes trailer_bytes(tail.end() - Trailer::kBytes, tail.end());
    const auto trailer = decode_trailer(trailer_bytes);
    if (!trailer || trailer->footer_bytes < FrameHeader::kBytes + kTagBytes ||
        trailer->footer_offset + trailer->footer_bytes + Trailer::kBytes != pack_bytes) {
        throw_corrupt(key, "its trailer is wrong.");
    }
    const std::uint64_t closing = trailer->footer_bytes + Trailer::kBytes;
    if (closing > tail.size()) {
        tail = read(trailer->footer_offset, closing);
    }
    const ByteSpan footer = ByteSpan{tail}.last(closing).first(trailer->footer_bytes);
    const auto frame = decode_frame_header(footer);
    if (!frame || frame->slot != kFooterSlot || frame->codec != Codec::kStored ||
        FrameHeader::kBytes + frame->sealed_bytes != footer.size()) {
        throw_corrupt(key, "its footer is wrong.");
    }
    ObjectHeaderBytes object{};
    std::copy(header_bytes.begin(), header_bytes.end(), object.begin());
    Bytes plain(frame->plain_bytes);
    if (!Aead{}.open(
            expect_object_key(keys, header, key),
            frame->slot,
            {object,
             footer.first(FrameHeader::kBytes),
             ByteSpan{trailer_bytes}.first(kTrailerContextBytes)},
            footer.subspan(FrameHeader::kBytes),
            plain
        )) {
        throw_corrupt(key, "its footer is not authentic.");
    }
    auto entries = decode_pack_footer(plain, trailer->footer_offset);
    if (!entries || entries->size() != trailer->frame_count) {
        throw_corrupt(key, "its footer does not describe it.");
    }
    return {.header = header, .entries = std::move(*entries)};
}

}  // namespace holdfast::vault
