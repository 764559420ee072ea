#include "vault/detail/chunk_index.h"

#include "base/error.h"
#include "base/log.h"

#include <algorithm>
#include <set>

namespace holdfast::vault {

namespace {

/// Merging: segments below this size are small; so many of them may stand before they become one.
constexpr std::uint64_t kSmallSegmentEntries = 64 * 1024;
constexpr std::size_t kSmallSegmentsMax = 12;

/// Thrown and caught in this file: a segment was merged away by another writer while it was being
/// read.
[[noreturn]] void throw_segment_gone(const ObjectKey& key) {
    throw Error{
        ErrorKind::kObjectNotFound, fmt::format("The index segment '{}' is gone.", key.text())
    };
}

}  // namespace

ChunkIndex::ChunkIndex(ObjectStore& store, const KeyRing& keys, std::uint64_t cache_bytes_max)
    : store_{store},
      keys_{keys},
      cache_bytes_max_{cache_bytes_max},
      segments_{std::make_shared<SegmentList>()} {}

std::shared_ptr<const ChunkIndex::SegmentList> ChunkIndex::segments() const {
    const std::lock_guard lock{mutex_};
    return segments_;
}

IndexSegment::Reader ChunkIndex::reader_of(SegmentId id, std::stop_token stop) const {
    return [this,
            key = index_key(id),
            stop = std::move(stop)](std::uint64_t offset, std::uint64_t size) {
        auto bytes = store_.get_range(key, offset, size, stop);
        if (!bytes) {
            throw_segment_gone(key);
        }
        return std::move(*bytes);
    };
}

void ChunkIndex::refresh(std::stop_token stop) {
    std::map<SegmentId, std::uint64_t> stored;
    store_.list(
        kIndexPrefix,
        [&](const ObjectInfo& info) {
            if (const auto id = parse_index_key(info.key)) {
                stored.emplace(*id, info.size_bytes);
            }
            return true;
        },
        stop
    );
    {
        const std::lock_guard lock{mutex_};
        std::erase_if(set_aside_, [&](const auto& one) { return !stored.contains(one.first); });
    }
    const auto before = segments();
    auto list = std::make_shared<SegmentList>();
    for (const auto& segment : *before) {
        if (stored.erase(segment->id()) > 0) {
            list->push_back(segment);
        }
    }
    for (const auto& [id, size] : stored) {
        {
            const std::lock_guard lock{mutex_};
            if (set_aside_.contains(id)) {
                continue;
            }
        }
        try {
            list->push_back(
                std::make_shared<const IndexSegment>(keys_, id, size, reader_of(id, stop))
            );
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::kVaultCorrupt) {
                set_aside(id, error.what());
            } else if (error.kind() != ErrorKind::kObjectNotFound) {
                throw;
            }
        }
    }
    const std::lock_guard lock{mutex_};
    for (const auto& segment : *segments_) {  // What add() took up meanwhile.
        if (std::find(before->begin(), before->end(), segment) == before->end() &&
            std::none_of(list->begin(), list->end(), [&](const auto& other) {
                return other->id() == segment->id();
            })) {
            list->push_back(segment);
        }
    }
    segments_ = std::move(list);
}

void ChunkIndex::set_aside(SegmentId id, std::string_view problem) {
    log_warning(
        "An index segment is damaged; the packs' footers stand in for it.",
        {{"object", index_key(id).text()}}
    );
    const std::lock_guard lock{mutex_};
    set_aside_.emplace(id, problem);
    auto list = std::make_shared<SegmentList>(*segments_);
    std::erase_if(*list, [&id](const auto& segment) { return segment->id() == id; });
    segments_ = std::move(list);
}

std::shared_ptr<const Bytes> ChunkIndex::block(
    const IndexSegment& segment, std::size_t number, const std::stop_token& stop
) {
    const BlockKey key{segment.id(), number};
    {
        const std::lock_guard lock{mutex_};
        if (const auto found = cache_by_key_.find(key); found != cache_by_key_.end()) {
            cache_.splice(cache_.begin(), cache_, found->second);
            return found->second->bytes;
        }
    }
    auto bytes = std::make_shared<const Bytes>(
        segment.load_block(keys_, number, reader_of(segment.id(), stop))
    );
    const std::lock_guard lock{mutex_};
    if (!cache_by_key_.contains(key)) {
        cache_.push_front({.key = key, .bytes = bytes});
        cache_by_key_.emplace(key, cache_.begin());
        cache_bytes_ += bytes->size();
        while (cache_bytes_ > cache_bytes_max_ && cache_.size() > 1) {
            cache_bytes_ -= cache_.back().bytes->size();
            cache_by_key_.erase(cache_.back().key);
            cache_.pop_back();
        }
    }
    return bytes;
}

std::optional<BlobLocation> ChunkIndex::find_in(
    const SegmentList& list,
    const ChunkKey& key,
    Trust trust,
    const CondemnedView& condemned,
    const std::stop_token& stop
) {
    std::optional<BlobLocation> distrusted;
    // Newest last: what was written lately is asked for most.
    for (auto segment = list.rbegin(); segment != list.rend(); ++segment) {
        if (!(*segment)->may_contain(key)) {
            continue;
        }
        try {
            const auto location = (*segment)->find(key, [&](std::size_t number) {
                return block(**segment, number, stop);
            });
            if (location && !distrusts(location->pack) && !condemned.contains(location->pack)) {
                return location;
            }
            if (location) {
                distrusted = location;
            }
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::kVaultCorrupt) {
                throw;
            }
            set_aside((*segment)->id(), error.what());
        }
    }
    return trust == Trust::kAnyPack ? distrusted : std::nullopt;
}

void ChunkIndex::distrust(const Sha256& pack) {
    const std::lock_guard lock{mutex_};
    damaged_.insert(pack);
}

std::vector<Sha256> ChunkIndex::damaged_packs() const {
    const std::lock_guard lock{mutex_};
    return {damaged_.begin(), damaged_.end()};
}

bool ChunkIndex::distrusts(const Sha256& pack) const {
    const std::lock_guard lock{mutex_};
    return damaged_.contains(pack) || missing_.contains(pack);
}

bool ChunkIndex::distrusts_any() const {
    const std::lock_guard lock{mutex_};
    return !damaged_.empty() || !missing_.empty();
}

void ChunkIndex::distrust_missing_packs(std::stop_token stop) {
    const PackNames indexed = indexed_packs(stop);
    std::vector<bool> present(indexed.size());
    store_.list(
        kPacksPrefix,
        [&](const ObjectInfo& info) {
            const auto name = parse_pack_key(info.key);
            if (!name) {
                return true;
            }
            const auto found = std::lower_bound(indexed.begin(), indexed.end(), *name);
            if (found != indexed.end() && *found == *name) {
                present[static_cast<std::size_t>(found - indexed.begin())] = true;
            }
            return true;
        },
        stop
    );
    std::set<Sha256> missing;
    for (std::size_t i = 0; i < indexed.size(); ++i) {
        if (present[i]) {
            continue;
        }
        missing.insert(indexed[i]);
        if (!distrusts(indexed[i])) {
            log_warning(
                "A pack is missing; what it held is stored again when a backup comes by it.",
                {{"object", pack_key(indexed[i]).text()}}
            );
        }
    }
    const std::lock_guard lock{mutex_};
    missing_ = std::move(missing);
}

std::optional<BlobLocation> ChunkIndex::find(
    const ChunkId& id, Trust trust, std::stop_token stop, const CondemnedView& condemned
) {
    const ChunkKey key = chunk_key(id);
    for (int attempt = 0;; ++attempt) {
        try {
            return find_in(*segments(), key, trust, condemned, stop);
        } catch (const Error& error) {
            // A segment was merged away under our feet; the next list has the merged one.
            constexpr int kAttempts = 3;
            if (error.kind() != ErrorKind::kObjectNotFound || attempt == kAttempts) {
                throw;
            }
            refresh(stop);
        }
    }
}

void ChunkIndex::replace_segments(
    std::shared_ptr<const IndexSegment> added, const std::vector<SegmentId>& removed
) {
    const std::lock_guard lock{mutex_};
    auto list = std::make_shared<SegmentList>();
    for (const auto& segment : *segments_) {
        if (std::find(removed.begin(), removed.end(), segment->id()) == removed.end()) {
            list->push_back(segment);
        }
    }
    list->push_back(std::move(added));
    segments_ = std::move(list);
}

std::uint64_t ChunkIndex::add(
    SegmentContents contents, const std::vector<SegmentId>& supersedes, std::stop_token stop
) {
    if (contents.blobs.empty()) {
        return 0;
    }
    const SegmentId id = SegmentId::random();
    const ObjectKey key = index_key(id);
    const Bytes object =
        build_index_segment(keys_, key, random_array<32>(), std::move(contents), supersedes);
    store_.put_new(key, object, stop);
    auto segment = std::make_shared<const IndexSegment>(
        keys_,
        id,
        object.size(),
        [&object](std::uint64_t offset, std::uint64_t size) {
            const auto begin = object.begin() + static_cast<std::ptrdiff_t>(offset);
            return Bytes(begin, begin + static_cast<std::ptrdiff_t>(size));
        }
    );
    replace_segments(std::move(segment), supersedes);
    return object.size();
}

SegmentContents ChunkIndex::read_segment(SegmentId id, std::stop_token stop) {
    for (const auto& segment : *segments()) {
        if (segment->id() == id) {
            return segment->read_all([&](std::size_t number) {
                return std::make_shared<const Bytes>(
                    segment->load_block(keys_, number, reader_of(id, stop))
                );
            });
        }
    }
    throw_segment_gone(index_key(id));
}

void ChunkIndex::merge_small_segments(const CondemnedView& condemned, std::stop_token stop) {
    std::vector<SegmentId> small;
    for (const auto& segment : *segments()) {
        if (segment->entry_count() < kSmallSegmentEntries) {
            small.push_back(segment->id());
        }
    }
    if (small.size() <= kSmallSegmentsMax) {
        return;
    }
    SegmentContents merged;
    try {
        for (const SegmentId& id : small) {
            append_contents(
                merged,
                read_segment(id, stop),
                [&](const Sha256& pack) { return !condemned.contains(pack); }
            );
        }
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::kObjectNotFound) {
            refresh(stop);  // Another writer merged them.
            return;
        }
        throw;
    }
    add(std::move(merged), small, stop);
    remove_segments(small, stop);
}

void ChunkIndex::remove_segments(const std::vector<SegmentId>& ids, std::stop_token stop) {
    for (const SegmentId& id : ids) {
        store_.remove(index_key(id), stop);
    }
    const std::lock_guard lock{mutex_};
    auto list = std::make_shared<SegmentList>(*segments_);
    std::erase_if(*list, [&](const auto& segment) {
        return std::find(ids.begin(), ids.end(), segment->id()) != ids.end();
    });
    segments_ = std::move(list);
}

Bytes ChunkIndex::load_block(
    const IndexSegment& segment, std::size_t number, std::stop_token stop
) const {
    return segment.load_block(keys_, number, reader_of(segment.id(), std::move(stop)));
}

PackNames ChunkIndex::indexed_packs(std::stop_token stop) {
    PackNames packs;
    for (const auto& segment : *segments()) {
        try {
            const auto names = segment->read_packs([&](std::size_t number) {
                return block(*segment, number, stop);
            });
            packs.insert(packs.end(), names.begin(), names.end());
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::kVaultCorrupt) {
                set_aside(segment->id(), error.what());
            } else if (error.kind() != ErrorKind::kObjectNotFound) {
                throw;
            }
        }
    }
    std::sort(packs.begin(), packs.end());
    packs.erase(std::unique(packs.begin(), packs.end()), packs.end());
    return packs;
}

std::vector<SegmentId> ChunkIndex::segment_ids() const {
    std::vector<SegmentId> ids;
    for (const auto& segment : *segments()) {
        ids.push_back(segment->id());
    }
    return ids;
}

std::vector<DamagedObject> ChunkIndex::damaged() const {
    const std::lock_guard lock{mutex_};
    std::vector<DamagedObject> damaged;
    for (const auto& [id, problem] : set_aside_) {
        damaged.push_back({.object_key = index_key(id).text(), .problem = problem, .points = {}});
    }
    return damaged;
}

}  // namespace holdfast::vault
