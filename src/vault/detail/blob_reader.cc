#include "vault/detail/blob_reader.h"

#include "base/error.h"
#include "vault/detail/page_delta.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

/// Blobs smaller than this are read with their neighbours: thousands of tiny streams lie side by
/// side.
constexpr std::uint32_t kSmallFrameBytes = 64 * kKiB;
/// How much with them: what a request costs decides.
constexpr std::uint64_t kWindowBytesNear = 256 * kKiB;
constexpr std::uint64_t kWindowBytesFar = 512 * kKiB;
/// Of all windows: as many as four readers are in at the same time, each in the bases and deltas of
/// a month of days. Half as many are read again and again: restoring the thirtieth day of one took
/// 4,700 windows instead of 1,500 (docs/decisions/0024).
constexpr std::uint64_t kWindowsBytesMax = 32 * kMiB;
/// Their headers read and their keys derived: those of a month of days, too.
constexpr std::size_t kKnownPacksMax = 256;
constexpr std::size_t kIdleOpenersMax = 16;

Bytes present(std::optional<Bytes> bytes, const ObjectKey& key) {
    if (!bytes) {
        throw_corrupt(key, "it is missing.");
    }
    return std::move(*bytes);
}

/// Extents are asked for whatever their ids are made of.
bool is_of_type(const FrameHeader& frame, BlobType wanted) {
    return frame.type == wanted || (is_extent(frame.type) && is_extent(wanted));
}

}  // namespace

/// All of `out`, which becomes as long as the blob.
BlobReader::Room BlobReader::room_in(Bytes& out) {
    return [&out](std::size_t size) {
        out.resize(size);
        return MutableByteSpan{out};
    };
}

struct BlobReader::Opener {
    explicit Opener(const KeyRing& keys) : ids{keys} {}
    Aead aead;
    Decompressor decompressor;
    BlobIds ids;
    Buffer scratch;
};

BlobReader::BlobReader(ObjectStore& store, const KeyRing& keys, ChunkIndex& index)
    : store_{store}, keys_{keys}, index_{index} {}

BlobReader::~BlobReader() = default;

std::unique_ptr<BlobReader::Opener> BlobReader::take_opener() {
    {
        const std::lock_guard lock{mutex_};
        if (!idle_.empty()) {
            auto opener = std::move(idle_.back());
            idle_.pop_back();
            return opener;
        }
    }
    return std::make_unique<Opener>(keys_);
}

void BlobReader::give_back(std::unique_ptr<Opener> opener) {
    const std::lock_guard lock{mutex_};
    if (idle_.size() < kIdleOpenersMax) {
        idle_.push_back(std::move(opener));
    }
}

std::shared_ptr<const BlobReader::PackOpening> BlobReader::opening_of(
    const ObjectKey& key, const Sha256& pack, const std::stop_token& stop
) {
    {
        const std::lock_guard lock{mutex_};
        const auto found =
            std::find_if(known_packs_.begin(), known_packs_.end(), [&](const auto& known) {
                return known.pack == pack;
            });
        if (found != known_packs_.end()) {
            known_packs_.splice(known_packs_.begin(), known_packs_, found);
            return found->opening;
        }
    }
    const Bytes bytes = present(store_.get_range(key, 0, ObjectHeader::kBytes, stop), key);
    const ObjectHeader header = expect_header(keys_, ObjectKind::kPack, key, bytes);
    PackOpening made{.header = {}, .key = expect_object_key(keys_, header, key)};
    std::copy(bytes.begin(), bytes.end(), made.header.begin());
    auto opening = std::make_shared<const PackOpening>(std::move(made));
    const std::lock_guard lock{mutex_};
    known_packs_.push_front({.pack = pack, .opening = opening});
    if (known_packs_.size() > kKnownPacksMax) {
        known_packs_.pop_back();
    }
    return opening;
}

BlobReader::Frame BlobReader::read_window(
    const ObjectKey& key, const BlobLocation& location, const std::stop_token& stop
) {
    const auto cut = [&location](const Window& window) {
        return Frame{
            .owner = window.bytes,
            .bytes = ByteSpan{*window.bytes}.subspan(
                location.offset - window.offset, location.frame_bytes
            ),
        };
    };
    {
        const std::lock_guard lock{mutex_};
        for (auto window = windows_.begin(); window != windows_.end(); ++window) {
            if (window->pack == location.pack && window->offset <= location.offset &&
                std::uint64_t{location.offset} + location.frame_bytes <=
                    window->offset + window->bytes->size()) {
                windows_.splice(windows_.begin(), windows_, window);
                return cut(*window);
            }
        }
    }
    const auto pack_bytes = store_.size(key, stop);
    if (!pack_bytes) {
        throw_corrupt(key, "it is missing.");
    }
    const std::uint64_t window_bytes =
        store_.features().is_near ? kWindowBytesNear : kWindowBytesFar;
    const std::uint64_t rest = *pack_bytes > location.offset ? *pack_bytes - location.offset : 0;
    const std::uint64_t size =
        std::max<std::uint64_t>(location.frame_bytes, std::min(rest, window_bytes));
    const Window window{
        .pack = location.pack,
        .offset = location.offset,
        .bytes = std::make_shared<const Bytes>(
            present(store_.get_range(key, location.offset, size, stop), key)
        ),
    };
    const std::lock_guard lock{mutex_};
    windows_.push_front(window);
    if (windows_.size() > kWindowsBytesMax / window_bytes) {
        windows_.pop_back();
    }
    return cut(window);
}

BlobReader::Frame BlobReader::read_frame(
    const ObjectKey& key, const BlobLocation& location, const std::stop_token& stop
) {
    if (location.frame_bytes < kSmallFrameBytes) {
        return read_window(key, location, stop);
    }
    auto bytes = std::make_shared<const Bytes>(
        present(store_.get_range(key, location.offset, location.frame_bytes, stop), key)
    );
    return {.owner = bytes, .bytes = *bytes};
}

void BlobReader::read_unindexed_footers(const std::stop_token& stop) {
    std::vector<std::pair<Sha256, std::uint64_t>> packs;
    store_.list(
        kPacksPrefix,
        [&](const ObjectInfo& info) {
            if (const auto name = parse_pack_key(info.key)) {
                packs.emplace_back(*name, info.size_bytes);
            }
            return true;
        },
        stop
    );
    const auto indexed = index_.indexed_packs(stop);
    for (const auto& [name, size] : packs) {
        if (std::binary_search(indexed.begin(), indexed.end(), name)) {
            continue;
        }
        {
            const std::lock_guard lock{mutex_};
            if (!footers_read_.insert(name).second) {
                continue;
            }
        }
        const ObjectKey key = pack_key(name);
        PackContents contents;
        try {
            contents = read_pack_contents(
                keys_,
                key,
                size,
                [&](std::uint64_t offset, std::uint64_t bytes) {
                    return present(store_.get_range(key, offset, bytes, stop), key);
                }
            );
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
            continue;  // What it held is missed, and named, when it is asked for.
        }
        const std::lock_guard lock{mutex_};
        for (const PackEntry& entry : contents.entries) {
            unindexed_.emplace(
                chunk_key(entry.id),
                BlobLocation{
                    .pack = name,
                    .offset = entry.offset,
                    .frame_bytes = entry.frame_bytes,
                    .plain_bytes = entry.plain_bytes,
                }
            );
        }
    }
}

std::optional<BlobLocation> BlobReader::locate(const ChunkId& id, std::stop_token stop) {
    const auto from_footers = [&]() -> std::optional<BlobLocation> {
        const std::lock_guard lock{mutex_};
        const auto found = unindexed_.find(chunk_key(id));
        return found == unindexed_.end() ? std::nullopt : std::optional{found->second};
    };
    if (auto location = index_.find(id, Trust::kAnyPack, stop)) {
        return location;
    }
    if (auto location = from_footers()) {
        return location;
    }
    index_.refresh(stop);
    if (auto location = index_.find(id, Trust::kAnyPack, stop)) {
        return location;
    }
    read_unindexed_footers(stop);
    return from_footers();
}

Bytes BlobReader::read(BlobType type, const ChunkId& id, const std::stop_token& stop, Proof proof) {
    Bytes plain;
    fetch({.type = type, .id = id, .room = room_in(plain), .proof = proof}, stop);
    return plain;
}

void BlobReader::read_to(
    BlobType type, const ChunkId& id, MutableByteSpan out, const std::stop_token& stop, Proof proof
) {
    const Room room = [out](std::size_t) { return out; };
    fetch({.type = type, .id = id, .room = room, .proof = proof}, stop);
}

void BlobReader::fetch(const Wanted& wanted, const std::stop_token& stop) {
    const ChunkId& id = wanted.id;
    const auto location = locate(id, stop);
    if (!location) {
        throw Error{
            ErrorKind::kVaultCorrupt,
            ErrorText{
                .message = fmt::format(
                    "The vault has lost data of this recovery point: no pack holds the blob '{}'.",
                    to_hex(id)
                ),
                .target = to_hex(id),
                .recommended_actions =
                    {"Run 'holdfast vault check' to see which packs are missing or damaged, and "
                     "put them back from a copy of the vault's storage."},
            }
        };
    }
    try {
        fetch_at(*location, wanted, stop);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        if (store_.size(pack_key(location->pack), stop)) {
            index_.distrust(location->pack);
        }
        fetch_elsewhere(*location, wanted, error, stop);
    }
}

/// The pack is damaged, or the collector moved what was in it since the index was read.
void BlobReader::fetch_elsewhere(
    const BlobLocation& tried, const Wanted& wanted, const Error& first, const std::stop_token& stop
) {
    index_.refresh(stop);
    {
        const std::lock_guard lock{mutex_};
        std::erase_if(unindexed_, [&](const auto& one) { return one.second.pack == tried.pack; });
    }
    const auto other = locate(wanted.id, stop);
    if (!other || other->pack == tried.pack) {
        throw Error{first};
    }
    fetch_at(*other, wanted, stop);
}

void BlobReader::read_extent_to(
    const Extent& extent, MutableByteSpan out, const std::stop_token& stop
) {
    const auto refuse = [&extent](std::string_view problem) {
        throw Error{
            ErrorKind::kVaultCorrupt,
            ErrorText{
                .message = fmt::format("An extent of a recovery point {}.", problem),
                .target = extent.base ? to_hex(*extent.base) : "",
            }
        };
    };
    if (!extent.base) {
        std::fill(out.begin(), out.end(), std::byte{0});
        return;
    }
    if (extent.deltas.empty() && !extent.tag) {
        read_to(BlobType::kExtent, *extent.base, out, stop);
        return;
    }
    const Proof proof = extent.tag ? Proof::kSeal : Proof::kId;
    Bytes other;  // A base of another length than the extent.
    const Room room = [&](std::size_t size) {
        other.resize(size == out.size() ? 0 : size);
        return size == out.size() ? out : MutableByteSpan{other};
    };
    fetch({.type = BlobType::kExtent, .id = *extent.base, .room = room, .proof = proof}, stop);
    if (!other.empty()) {
        const std::size_t kept = std::min(other.size(), out.size());
        std::copy_n(other.begin(), kept, out.begin());
        std::fill(out.begin() + static_cast<std::ptrdiff_t>(kept), out.end(), std::byte{0});
    }
    for (const ChunkId& delta : extent.deltas) {
        if (!apply_page_delta(read(BlobType::kPageDelta, delta, stop, proof), out)) {
            refuse("has a page delta that does not fit it");
        }
    }
    auto opener = take_opener();
    const bool proved = extent.tag ? opener->ids.tag(out) == extent.tag
                                   : opener->ids(BlobType::kExtent, out) == extent.digest;
    if (!proved) {
        refuse("is not what was backed up, although everything stored of it is sound");
    }
    give_back(std::move(opener));
}

Bytes BlobReader::read_at(
    const BlobLocation& location, BlobType type, const ChunkId& id, const std::stop_token& stop
) {
    Bytes plain;
    fetch_at(location, {.type = type, .id = id, .room = room_in(plain)}, stop);
    return plain;
}

void BlobReader::fetch_at(
    const BlobLocation& location, const Wanted& wanted, const std::stop_token& stop
) {
    const ObjectKey key = pack_key(location.pack);
    const auto opening = opening_of(key, location.pack, stop);
    const Frame read = read_frame(key, location, stop);
    const ByteSpan frame_bytes = read.bytes;
    const auto frame = decode_frame_header(frame_bytes);
    if (!frame || frame->id != wanted.id || !is_of_type(*frame, wanted.type) ||
        frame->plain_bytes > kBlobBytesMax ||
        FrameHeader::kBytes + frame->sealed_bytes != frame_bytes.size()) {
        throw_corrupt(
            key, fmt::format("the blob at offset {} is not the one expected.", location.offset)
        );
    }
    auto opener = take_opener();
    const MutableByteSpan plain = wanted.room(frame->plain_bytes);
    if (plain.size() != frame->plain_bytes) {
        throw_corrupt(
            key,
            fmt::format(
                "the blob at offset {} has {} bytes where the recovery point has {}.",
                location.offset,
                frame->plain_bytes,
                plain.size()
            )
        );
    }
    const bool sound = open_frame(
        opener->aead,
        opener->decompressor,
        opener->scratch,
        opening->key,
        opening->header,
        *frame,
        {},
        frame_bytes,
        plain
    );
    const bool proved =
        sound && (wanted.proof == Proof::kSeal || opener->ids(frame->type, plain) == wanted.id);
    if (!proved) {
        throw_corrupt(key, fmt::format("the blob at offset {} is not authentic.", location.offset));
    }
    give_back(std::move(opener));
}

}  // namespace holdfast::vault
