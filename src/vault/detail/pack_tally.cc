#include "vault/detail/pack_tally.h"

#include "base/error.h"

#include <algorithm>
#include <queue>

namespace holdfast::vault {

namespace {

constexpr std::uint32_t kNoPack = ~std::uint32_t{0};

/// A place of a blob, in one of the packs that are tallied.
struct Place {
    ChunkKey key{};
    std::uint32_t pack = 0;
    std::uint32_t frame_bytes = 0;
};

/// Gives places in the order of their keys.
class Cursor {
public:
    virtual ~Cursor() = default;
    /// The one at hand; nothing at the end.
    [[nodiscard]] virtual const Place* current() const = 0;
    virtual void advance() = 0;
};

class SegmentCursor final : public Cursor {
public:
    SegmentCursor(
        const ChunkIndex& index,
        std::shared_ptr<const IndexSegment> segment,
        const std::vector<TalliedPack>& packs,
        std::stop_token stop
    )
        : index_{index}, segment_{std::move(segment)}, stop_{std::move(stop)} {
        const auto names = segment_->read_packs([&](std::size_t number) {
            if (!pack_block_ || pack_block_number_ != number) {
                pack_block_ =
                    std::make_shared<const Bytes>(index_.load_block(*segment_, number, stop_));
                pack_block_number_ = number;
            }
            return pack_block_;
        });
        pack_block_.reset();
        for (const Sha256& name : names) {
            const TalliedPack* const pack = find_pack(packs, name);
            numbers_.push_back(
                pack == nullptr ? kNoPack : static_cast<std::uint32_t>(pack - packs.data())
            );
        }
        settle();
    }

    [[nodiscard]] const std::vector<std::uint32_t>& packs() const { return numbers_; }
    [[nodiscard]] const Place* current() const override {
        return at_ < block_.size() ? &place_ : nullptr;
    }
    void advance() override {
        ++at_;
        settle();
    }

private:
    /// Moves on to an entry of a pack that is there.
    void settle() {
        for (;;) {
            for (; at_ < block_.size(); ++at_) {
                const IndexedBlob& blob = block_[at_];
                const std::uint32_t pack =
                    blob.pack < numbers_.size() ? numbers_[blob.pack] : kNoPack;
                if (pack != kNoPack) {
                    place_ = {.key = blob.key, .pack = pack, .frame_bytes = blob.frame_bytes};
                    return;
                }
            }
            if (next_block_ == segment_->entry_block_count()) {
                block_.clear();
                at_ = 0;
                return;
            }
            block_ = IndexSegment::decode_entries(index_.load_block(*segment_, next_block_, stop_));
            ++next_block_;
            at_ = 0;
        }
    }

    const ChunkIndex& index_;
    const std::shared_ptr<const IndexSegment> segment_;
    const std::stop_token stop_;
    std::vector<std::uint32_t> numbers_;
    std::shared_ptr<const Bytes> pack_block_;
    std::size_t pack_block_number_ = 0;
    std::vector<IndexedBlob> block_;
    std::size_t at_ = 0;
    std::size_t next_block_ = 0;
    Place place_;
};

/// Blobs of packs that no segment names, from their footers.
class FooterCursor final : public Cursor {
public:
    explicit FooterCursor(std::vector<Place> places) : places_{std::move(places)} {
        std::sort(places_.begin(), places_.end(), [](const Place& a, const Place& b) {
            return a.key < b.key;
        });
    }
    [[nodiscard]] const Place* current() const override {
        return at_ < places_.size() ? &places_[at_] : nullptr;
    }
    void advance() override { ++at_; }

private:
    std::vector<Place> places_;
    std::size_t at_ = 0;
};

std::vector<Place> read_footers(
    Engine& engine,
    std::vector<TalliedPack>& packs,
    const std::vector<bool>& indexed,
    const std::stop_token& stop
) {
    std::vector<Place> places;
    for (std::uint32_t i = 0; i < packs.size(); ++i) {
        if (indexed[i]) {
            continue;
        }
        const ObjectKey key = pack_key(packs[i].name);
        try {
            const auto contents = read_pack_contents(
                engine.keys,
                key,
                packs[i].bytes,
                [&](std::uint64_t offset, std::uint64_t size) {
                    auto bytes = engine.store.get_range(key, offset, size, stop);
                    if (!bytes) {
                        throw_corrupt(key, "it is missing.");
                    }
                    return std::move(*bytes);
                }
            );
            for (const PackEntry& entry : contents.entries) {
                places.push_back(
                    {.key = chunk_key(entry.id), .pack = i, .frame_bytes = entry.frame_bytes}
                );
            }
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
            packs[i].readable = false;
        }
    }
    return places;
}

using Cursors = std::vector<std::unique_ptr<Cursor>>;

Cursors open_cursors(
    Engine& engine, std::vector<TalliedPack>& packs, const std::stop_token& stop
) {
    Cursors cursors;
    std::vector<bool> indexed(packs.size());
    for (const auto& segment : *engine.index.segments()) {
        try {
            auto cursor = std::make_unique<SegmentCursor>(engine.index, segment, packs, stop);
            for (const std::uint32_t pack : cursor->packs()) {
                if (pack != kNoPack) {
                    indexed[pack] = true;
                }
            }
            cursors.push_back(std::move(cursor));
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
            engine.index.set_aside(segment->id(), error.what());
        }
    }
    cursors.push_back(
        std::make_unique<FooterCursor>(read_footers(engine, packs, indexed, stop))
    );
    return cursors;
}

/// Lower is better.
int rank(const Engine& engine, const CondemnedView& condemned, const TalliedPack& pack) {
    if (condemned.contains(pack.name)) {
        return 2;
    }
    return engine.index.distrusts(pack.name) ? 1 : 0;
}

void merge(
    const Marker& marker,
    const std::vector<int>& ranks,
    Cursors& cursors,
    std::vector<TalliedPack>& packs,
    const std::stop_token& stop
) {
    const auto later = [](const Cursor* a, const Cursor* b) {
        return b->current()->key < a->current()->key;
    };
    std::priority_queue<Cursor*, std::vector<Cursor*>, decltype(later)> heads{later};
    for (const auto& cursor : cursors) {
        if (cursor->current() != nullptr) {
            heads.push(cursor.get());
        }
    }
    std::vector<Place> same;
    while (!heads.empty()) {
        if (stop.stop_requested()) {
            throw_cancelled();
        }
        same.clear();
        const ChunkKey key = heads.top()->current()->key;
        while (!heads.empty() && heads.top()->current()->key == key) {
            Cursor* const cursor = heads.top();
            heads.pop();
            const Place place = *cursor->current();
            // The same place stands in two segments when a merge was interrupted.
            if (std::none_of(same.begin(), same.end(), [&](const Place& other) {
                    return other.pack == place.pack;
                })) {
                same.push_back(place);
            }
            cursor->advance();
            if (cursor->current() != nullptr) {
                heads.push(cursor);
            }
        }
        const Place* holder = &same.front();
        for (const Place& place : same) {
            ++packs[place.pack].blobs;
            if (ranks[place.pack] < ranks[holder->pack]) {
                holder = &place;
            }
        }
        if (marker.is_live(key)) {
            packs[holder->pack].live_bytes += holder->frame_bytes;
        }
    }
}

}  // namespace

std::uint64_t TalliedPack::overhead_bytes() const noexcept {
    constexpr std::uint64_t kFooterEntryBytes = 48;
    return ObjectHeader::kBytes + FrameHeader::kBytes + kTagBytes + Trailer::kBytes +
           kFooterEntryBytes * blobs;
}

std::uint64_t TalliedPack::dead_bytes() const noexcept {
    const std::uint64_t used = std::min(bytes, live_bytes + overhead_bytes());
    return live_bytes == 0 ? bytes : bytes - used;
}

std::vector<TalliedPack> list_packs(ObjectStore& store, std::stop_token stop) {
    std::vector<TalliedPack> packs;
    store.list(
        kPacksPrefix,
        [&](const ObjectInfo& info) {
            if (const auto name = parse_pack_key(info.key)) {
                packs.push_back({.name = *name, .bytes = info.size_bytes});
            }
            return true;
        },
        std::move(stop)
    );
    std::sort(packs.begin(), packs.end(), [](const TalliedPack& a, const TalliedPack& b) {
        return a.name < b.name;
    });
    return packs;
}

const TalliedPack* find_pack(const std::vector<TalliedPack>& packs, const Sha256& name) {
    const auto found = std::lower_bound(
        packs.begin(),
        packs.end(),
        name,
        [](const TalliedPack& pack, const Sha256& wanted) { return pack.name < wanted; }
    );
    return found != packs.end() && found->name == name ? &*found : nullptr;
}

void tally_packs(
    Engine& engine,
    const Marker& marker,
    const CondemnedView& condemned,
    std::vector<TalliedPack>& packs,
    std::stop_token stop
) {
    std::vector<int> ranks;
    ranks.reserve(packs.size());
    for (const TalliedPack& pack : packs) {
        ranks.push_back(rank(engine, condemned, pack));
    }
    constexpr int kAttempts = 4;
    for (int attempt = 1;; ++attempt) {
        for (TalliedPack& pack : packs) {
            pack.live_bytes = 0;
            pack.blobs = 0;
            pack.readable = true;
        }
        engine.index.refresh(stop);
        try {
            Cursors cursors = open_cursors(engine, packs, stop);
            merge(marker, ranks, cursors, packs, stop);
            return;
        } catch (const Error& error) {
            // A segment was merged away by a writer, or turned out to be damaged: once more.
            const bool again = error.kind() == ErrorKind::kObjectNotFound ||
                               error.kind() == ErrorKind::kVaultCorrupt;
            if (!again || attempt == kAttempts) {
                throw;
            }
            if (error.kind() == ErrorKind::kVaultCorrupt) {
                if (const auto key = ObjectKey::parse(error.text().target)) {
                    if (const auto segment = parse_index_key(*key)) {
                        engine.index.set_aside(*segment, error.what());
                    }
                }
            }
        }
    }
}

}  // namespace holdfast::vault
