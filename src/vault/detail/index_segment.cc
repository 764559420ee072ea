#include "vault/detail/index_segment.h"

#include "base/error.h"
#include "vault/detail/sealed.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

constexpr std::size_t kEntryBytes = 32;
constexpr std::size_t kTrailerContextBytes = 16;
/// 64 KiB of entries or pack names to a block: one small read finds a chunk.
constexpr std::size_t kBlockItems = 2048;
constexpr std::size_t kFilterBlockBytes = kMiB;
constexpr std::size_t kBlockBytesMax = kMiB;

void encode_entry(const IndexedBlob& blob, std::byte* out) {
    std::copy(blob.key.begin(), blob.key.end(), out);
    put_little_endian<std::uint32_t>(out + 16, blob.pack);
    put_little_endian<std::uint32_t>(out + 20, blob.offset);
    put_little_endian<std::uint32_t>(out + 24, blob.frame_bytes);
    put_little_endian<std::uint32_t>(out + 28, blob.plain_bytes);
}

IndexedBlob decode_entry(const std::byte* in) {
    IndexedBlob blob;
    std::copy_n(in, blob.key.size(), blob.key.begin());
    blob.pack = get_little_endian<std::uint32_t>(in + 16);
    blob.offset = get_little_endian<std::uint32_t>(in + 20);
    blob.frame_bytes = get_little_endian<std::uint32_t>(in + 24);
    blob.plain_bytes = get_little_endian<std::uint32_t>(in + 28);
    return blob;
}

/// Appends frames to an object in memory.
class FrameWriter {
public:
    FrameWriter(const KeyRing& keys, ObjectKind kind, const Salt& salt) {
        const ObjectHeader header{
            .kind = kind,
            .epoch = keys.epoch(),
            .repository_id = keys.repository_id(),
            .salt = salt,
        };
        header_ = encode(header);
        auto key = keys.object_key(header);
        HOLDFAST_CHECK(key.has_value());
        key_ = std::move(*key);
        bytes_.assign(header_.begin(), header_.end());
    }

    format::IndexBlock add(ByteSpan plain, ByteSpan context, std::size_t items) {
        format::IndexBlock block;
        block.set_offset(bytes_.size());
        block.set_frame_bytes(write(slot_++, plain, context));
        block.set_item_count(static_cast<std::uint32_t>(items));
        return block;
    }

    Bytes finish(ByteSpan footer) {
        const Trailer trailer{
            .footer_offset = bytes_.size(),
            .footer_bytes =
                static_cast<std::uint32_t>(FrameHeader::kBytes + footer.size() + kTagBytes),
            .frame_count = slot_,
        };
        const TrailerBytes trailer_bytes = encode(trailer);
        write(kFooterSlot, footer, ByteSpan{trailer_bytes}.first(kTrailerContextBytes));
        bytes_.insert(bytes_.end(), trailer_bytes.begin(), trailer_bytes.end());
        return std::move(bytes_);
    }

private:
    std::uint32_t write(std::uint32_t slot, ByteSpan plain, ByteSpan context) {
        const FrameHeader frame{
            .slot = slot,
            .sealed_bytes = static_cast<std::uint32_t>(plain.size() + kTagBytes),
            .plain_bytes = static_cast<std::uint32_t>(plain.size()),
        };
        const std::size_t at = bytes_.size();
        const std::size_t size = FrameHeader::kBytes + frame.sealed_bytes;
        bytes_.resize(at + size);
        seal_frame(
            aead_, key_, header_, frame, context, plain, MutableByteSpan{bytes_}.subspan(at, size)
        );
        return static_cast<std::uint32_t>(size);
    }

    ObjectHeaderBytes header_{};
    Secret key_;
    Aead aead_;
    Bytes bytes_;
    std::uint32_t slot_ = 0;
};

}  // namespace

ChunkKey chunk_key(const ChunkId& id) noexcept {
    ChunkKey key{};
    std::copy_n(id.begin(), key.size(), key.begin());
    return key;
}

// ---- Filter ----

KeyFilter::KeyFilter(std::size_t keys, std::size_t bits_per_key, int probes)
    : bits_((keys * bits_per_key + 63) / 64 * 8), probes_{probes} {}

void KeyFilter::insert(const ChunkKey& key) noexcept {
    const std::uint64_t count = bits_.size() * 8;
    std::uint64_t at = get_little_endian<std::uint64_t>(key.data());
    const std::uint64_t step = get_little_endian<std::uint64_t>(key.data() + 8) | 1;
    for (int probe = 0; probe < probes_ && count > 0; ++probe, at += step) {
        const std::uint64_t bit = at % count;
        bits_[bit / 8] |= static_cast<std::byte>(1U << (bit % 8));
    }
}

bool KeyFilter::may_contain(const ChunkKey& key) const noexcept {
    const std::uint64_t count = bits_.size() * 8;
    if (count == 0) {
        return false;
    }
    std::uint64_t at = get_little_endian<std::uint64_t>(key.data());
    const std::uint64_t step = get_little_endian<std::uint64_t>(key.data() + 8) | 1;
    for (int probe = 0; probe < probes_; ++probe, at += step) {
        const std::uint64_t bit = at % count;
        if ((bits_[bit / 8] & static_cast<std::byte>(1U << (bit % 8))) == std::byte{0}) {
            return false;
        }
    }
    return true;
}

// ---- Writing ----

void SegmentContents::add_pack(const Sha256& name, const std::vector<PackEntry>& entries) {
    const auto number = static_cast<std::uint32_t>(packs.size());
    packs.push_back(name);
    for (const PackEntry& entry : entries) {
        blobs.push_back({
            .key = chunk_key(entry.id),
            .pack = number,
            .offset = entry.offset,
            .frame_bytes = entry.frame_bytes,
            .plain_bytes = entry.plain_bytes,
        });
    }
}

void append_contents(
    SegmentContents& all,
    const SegmentContents& part,
    const std::function<bool(const Sha256& pack)>& keeps
) {
    constexpr auto kLeftOut = ~std::uint32_t{0};
    std::vector<std::uint32_t> numbers;
    for (const Sha256& pack : part.packs) {
        if (keeps(pack)) {
            numbers.push_back(static_cast<std::uint32_t>(all.packs.size()));
            all.packs.push_back(pack);
        } else {
            numbers.push_back(kLeftOut);
        }
    }
    for (IndexedBlob blob : part.blobs) {
        if (numbers[blob.pack] != kLeftOut) {
            blob.pack = numbers[blob.pack];
            all.blobs.push_back(blob);
        }
    }
}

Bytes build_index_segment(
    const KeyRing& keys,
    const ObjectKey& key,
    const Salt& salt,
    SegmentContents contents,
    const std::vector<SegmentId>& supersedes
) {
    auto& blobs = contents.blobs;
    std::sort(blobs.begin(), blobs.end(), [](const IndexedBlob& a, const IndexedBlob& b) {
        return a.key < b.key;
    });
    const auto same = [](const IndexedBlob& a, const IndexedBlob& b) { return a.key == b.key; };
    blobs.erase(std::unique(blobs.begin(), blobs.end(), same), blobs.end());

    const ByteSpan context = as_bytes(key.text());
    FrameWriter writer{keys, ObjectKind::kIndex, salt};
    format::IndexFooter footer;
    footer.set_entry_count(blobs.size());
    footer.set_pack_count(static_cast<std::uint32_t>(contents.packs.size()));
    KeyFilter filter{blobs.size()};
    Bytes block;
    for (std::size_t i = 0; i < blobs.size(); i += kBlockItems) {
        const std::size_t items = std::min(kBlockItems, blobs.size() - i);
        block.resize(items * kEntryBytes);
        for (std::size_t j = 0; j < items; ++j) {
            encode_entry(blobs[i + j], &block[j * kEntryBytes]);
            filter.insert(blobs[i + j].key);
        }
        auto* entry = footer.add_entry_blocks();
        *entry = writer.add(block, context, items);
        entry->set_first_key(std::string{as_text(blobs[i].key)});
    }
    for (std::size_t i = 0; i < contents.packs.size(); i += kBlockItems) {
        const std::size_t items = std::min(kBlockItems, contents.packs.size() - i);
        block.clear();
        for (std::size_t j = 0; j < items; ++j) {
            block.insert(block.end(), contents.packs[i + j].begin(), contents.packs[i + j].end());
        }
        *footer.add_pack_blocks() = writer.add(block, context, items);
    }
    const ByteSpan bits{filter.bits()};
    for (std::size_t i = 0; i < bits.size(); i += kFilterBlockBytes) {
        const std::size_t size = std::min(kFilterBlockBytes, bits.size() - i);
        *footer.add_filter_blocks() = writer.add(bits.subspan(i, size), context, size);
    }
    for (const SegmentId& id : supersedes) {
        footer.add_supersedes(std::string{as_text(id.bytes())});
    }
    return writer.finish(as_bytes(footer.SerializeAsString()));
}

// ---- Reading ----

std::optional<format::IndexFooter> parse_index_footer(ByteSpan plain, std::uint64_t footer_offset) {
    format::IndexFooter footer;
    if (plain.size() > kPackBytesMax ||
        !footer.ParseFromArray(plain.data(), static_cast<int>(plain.size()))) {
        return std::nullopt;
    }
    std::uint64_t offset = ObjectHeader::kBytes;
    const auto sound = [&offset](const auto& blocks, std::size_t item_bytes, bool keyed) {
        std::uint64_t items = 0;
        for (const format::IndexBlock& block : blocks) {
            const std::uint64_t plain_bytes = std::uint64_t{block.item_count()} * item_bytes;
            if (block.offset() != offset || block.item_count() == 0 ||
                plain_bytes > kBlockBytesMax ||
                block.frame_bytes() != FrameHeader::kBytes + plain_bytes + kTagBytes ||
                (keyed && block.first_key().size() != sizeof(ChunkKey))) {
                return std::optional<std::uint64_t>{};
            }
            offset += block.frame_bytes();
            items += block.item_count();
        }
        return std::optional{items};
    };
    const auto entries = sound(footer.entry_blocks(), kEntryBytes, true);
    const auto packs = sound(footer.pack_blocks(), kHashBytes, false);
    const auto filter = sound(footer.filter_blocks(), 1, false);
    if (entries != footer.entry_count() || packs != footer.pack_count() || !filter ||
        offset != footer_offset) {
        return std::nullopt;
    }
    // pack_at and find count on full blocks before the last.
    const auto full = [](const auto& blocks) {
        return std::all_of(blocks.begin(), blocks.end(), [&](const format::IndexBlock& block) {
            return block.item_count() == kBlockItems || &block == &*blocks.rbegin();
        });
    };
    if (!full(footer.pack_blocks())) {
        return std::nullopt;
    }
    for (const std::string& id : footer.supersedes()) {
        if (id.size() != 16) {
            return std::nullopt;
        }
    }
    return footer;
}

IndexSegment::IndexSegment(
    const KeyRing& keys, SegmentId id, std::uint64_t object_bytes, const Reader& read
)
    : id_{id}, key_{index_key(id)} {
    constexpr std::uint64_t kLeast =
        ObjectHeader::kBytes + FrameHeader::kBytes + kTagBytes + Trailer::kBytes;
    if (object_bytes < kLeast) {
        throw_corrupt(key_, "its length is not that of an index segment.");
    }
    const Bytes header = read(0, ObjectHeader::kBytes);
    header_ = expect_header(keys, ObjectKind::kIndex, key_, header);
    std::copy(header.begin(), header.end(), header_bytes_.begin());
    const Bytes trailer_bytes = read(object_bytes - Trailer::kBytes, Trailer::kBytes);
    const auto trailer = decode_trailer(trailer_bytes);
    if (!trailer || trailer->footer_bytes < FrameHeader::kBytes + kTagBytes ||
        trailer->footer_offset + trailer->footer_bytes + Trailer::kBytes != object_bytes) {
        throw_corrupt(key_, "its trailer is wrong.");
    }
    const Bytes bytes = read(trailer->footer_offset, trailer->footer_bytes);
    const auto frame = decode_frame_header(bytes);
    if (!frame || frame->slot != kFooterSlot || frame->codec != Codec::kStored ||
        FrameHeader::kBytes + frame->sealed_bytes != bytes.size()) {
        throw_corrupt(key_, "its footer is wrong.");
    }
    Bytes plain(frame->plain_bytes);
    if (!Aead{}.open(
            expect_object_key(keys, header_, key_),
            frame->slot,
            {header_bytes_,
             ByteSpan{bytes}.first(FrameHeader::kBytes),
             ByteSpan{trailer_bytes}.first(kTrailerContextBytes)},
            ByteSpan{bytes}.subspan(FrameHeader::kBytes),
            plain
        )) {
        throw_corrupt(key_, "its footer is not authentic.");
    }
    auto footer = parse_index_footer(plain, trailer->footer_offset);
    if (!footer) {
        throw_corrupt(key_, "its footer does not describe it.");
    }
    footer_ = std::move(*footer);
    for (const std::string& text : footer_.supersedes()) {
        std::array<std::byte, 16> raw{};
        std::copy_n(as_bytes(text).begin(), raw.size(), raw.begin());
        supersedes_.emplace_back(raw);
    }
    Bytes bits;
    for (const auto& block : footer_.filter_blocks()) {
        const Bytes part = open_block(keys, block, read);
        bits.insert(bits.end(), part.begin(), part.end());
    }
    filter_ = KeyFilter{std::move(bits)};
}

Bytes IndexSegment::open_block(
    const KeyRing& keys, const format::IndexBlock& block, const Reader& read
) const {
    const Bytes bytes = read(block.offset(), block.frame_bytes());
    const auto frame = decode_frame_header(bytes);
    if (!frame || frame->codec != Codec::kStored || frame->slot == kFooterSlot ||
        FrameHeader::kBytes + frame->sealed_bytes != bytes.size()) {
        throw_corrupt(key_, "the header of a block is wrong.");
    }
    Bytes plain(frame->plain_bytes);
    if (!Aead{}.open(
            expect_object_key(keys, header_, key_),
            frame->slot,
            {header_bytes_, ByteSpan{bytes}.first(FrameHeader::kBytes), as_bytes(key_.text())},
            ByteSpan{bytes}.subspan(FrameHeader::kBytes),
            plain
        )) {
        throw_corrupt(key_, "a block is not authentic.");
    }
    return plain;
}

Bytes IndexSegment::load_block(const KeyRing& keys, std::size_t block, const Reader& read) const {
    const auto entry_blocks = static_cast<std::size_t>(footer_.entry_blocks_size());
    return block < entry_blocks
               ? open_block(keys, footer_.entry_blocks(static_cast<int>(block)), read)
               : open_block(
                     keys, footer_.pack_blocks(static_cast<int>(block - entry_blocks)), read
                 );
}

Sha256 IndexSegment::pack_at(std::uint32_t index, const BlockSource& blocks) const {
    if (index >= footer_.pack_count()) {
        throw_corrupt(key_, "an entry names a pack that it does not list.");
    }
    const auto entry_blocks = static_cast<std::size_t>(footer_.entry_blocks_size());
    const auto block = blocks(entry_blocks + index / kBlockItems);
    Sha256 name{};
    std::copy_n(block->data() + (index % kBlockItems) * kHashBytes, name.size(), name.begin());
    return name;
}

std::optional<BlobLocation> IndexSegment::find(const ChunkKey& key, const BlockSource& blocks)
    const {
    const auto& directory = footer_.entry_blocks();
    const auto after = std::upper_bound(
        directory.begin(),
        directory.end(),
        as_text(key),
        [](std::string_view wanted, const format::IndexBlock& block) {
            return wanted < block.first_key();
        }
    );
    if (after == directory.begin()) {
        return std::nullopt;
    }
    const auto block = blocks(static_cast<std::size_t>(after - directory.begin()) - 1);
    std::size_t low = 0;
    std::size_t high = block->size() / kEntryBytes;
    while (low < high) {
        const std::size_t middle = (low + high) / 2;
        const std::byte* const at = block->data() + middle * kEntryBytes;
        const int order = std::memcmp(at, key.data(), key.size());
        if (order == 0) {
            const IndexedBlob blob = decode_entry(at);
            return BlobLocation{
                .pack = pack_at(blob.pack, blocks),
                .offset = blob.offset,
                .frame_bytes = blob.frame_bytes,
                .plain_bytes = blob.plain_bytes,
            };
        }
        (order < 0 ? low : high) = order < 0 ? middle + 1 : middle;
    }
    return std::nullopt;
}

std::vector<Sha256> IndexSegment::read_packs(const BlockSource& blocks) const {
    std::vector<Sha256> packs;
    packs.reserve(footer_.pack_count());
    for (std::uint32_t i = 0; i < footer_.pack_count(); ++i) {
        packs.push_back(pack_at(i, blocks));
    }
    return packs;
}

std::vector<IndexedBlob> IndexSegment::decode_entries(const Bytes& block) {
    std::vector<IndexedBlob> entries;
    entries.reserve(block.size() / kEntryBytes);
    for (std::size_t at = 0; at + kEntryBytes <= block.size(); at += kEntryBytes) {
        entries.push_back(decode_entry(block.data() + at));
    }
    return entries;
}

SegmentContents IndexSegment::read_all(const BlockSource& blocks) const {
    SegmentContents contents;
    contents.packs = read_packs(blocks);
    contents.blobs.reserve(footer_.entry_count());
    for (int i = 0; i < footer_.entry_blocks_size(); ++i) {
        const auto block = blocks(static_cast<std::size_t>(i));
        const auto entries = decode_entries(*block);
        contents.blobs.insert(contents.blobs.end(), entries.begin(), entries.end());
    }
    return contents;
}

}  // namespace holdfast::vault
