#include "base/error.h"
#include "vault/detail/manifest.h"
#include "vault/detail/point_reader.h"
#include "vault/detail/point_writer.h"
#include "vault/detail/repository.h"
#include "vault/detail/sealed.h"
#include "vault/detail/session.h"
#include "vault/detail/verified.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <unordered_map>

// `vault check`: does the repository hold what its points need, and is every object what it should
// be?
//
// From the bottom up. The packs say which blobs there are and which of them are sound; the index is
// compared with that; then every point is walked from its commit record down to its chunks. Memory:
// some 32 bytes a blob.

namespace holdfast::vault {

namespace {

/// A blob that some pack has.
struct BlobFact {
    ChunkKey key{};
    std::uint32_t pack = 0;  ///< Position in Checker::packs_.
    std::uint32_t offset = 0;
    std::uint32_t frame_bytes = 0;
    bool damaged = false;
    bool referenced = false;
};

/// The frames of a pack one after the other, without its footer: every blob says itself what it is.
/// Ends where the bytes make no sense.
std::vector<PackEntry> walk_frames(ByteSpan pack) {
    std::vector<PackEntry> entries;
    std::size_t at = ObjectHeader::kBytes;
    while (at + FrameHeader::kBytes <= pack.size()) {
        const auto frame = decode_frame_header(pack.subspan(at));
        if (!frame || frame->slot != entries.size() || frame->plain_bytes > kBlobBytesMax ||
            at + FrameHeader::kBytes + frame->sealed_bytes > pack.size()) {
            break;
        }
        entries.push_back({
            .id = frame->id,
            .type = frame->type,
            .codec = frame->codec,
            .offset = static_cast<std::uint32_t>(at),
            .frame_bytes = static_cast<std::uint32_t>(FrameHeader::kBytes + frame->sealed_bytes),
            .plain_bytes = frame->plain_bytes,
        });
        at += FrameHeader::kBytes + frame->sealed_bytes;
    }
    return entries;
}

/// What the collector leaves for later ones; nothing when the key is of another kind.
std::optional<ObjectKind> collector_object(const ObjectKey& key) {
    if (parse_condemned_key(key)) {
        return ObjectKind::kCondemned;
    }
    if (const auto collection = parse_collection_key(key)) {
        return collection->object == CollectionObject::kSuspects ? ObjectKind::kSuspects
                                                                 : ObjectKind::kCollection;
    }
    if (parse_numbered_key(key, kVerifiedPrefix)) {
        return ObjectKind::kVerified;
    }
    return std::nullopt;
}

bool is_damage(const Error& error) {
    return error.kind() == ErrorKind::kVaultCorrupt ||
           error.kind() == ErrorKind::kVaultFormatUnsupported;
}

}  // namespace

class Checker {
public:
    Checker(RepositoryImpl& repository, const CheckOptions& options, std::stop_token stop)
        : repository_{repository},
          engine_{repository.engine_},
          store_{repository.store_},
          options_{options},
          stop_{std::move(stop)},
          tools_{engine_.keys, engine_.compression_level} {}

    CheckReport run() {
        take_inventory();
        check_singles();
        check_packs();
        check_index();
        check_points();
        check_states();
        share_damage();
        sum_up();
        return std::move(report_);
    }

private:
    struct Pack {
        Sha256 name{};
        std::uint64_t bytes = 0;
    };

    /// So that the next backup, by whatever process, does not rely on what was found damaged.
    void share_damage() {
        try {
            repository_.share_distrust(stop_);
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::kCancelled) {
                throw;
            }
            report_.notes.push_back(fmt::format(
                "Which packs are damaged could not be recorded in the vault ({}), so later backups "
                "may rely on them: check the vault again where it can be written.",
                error.what()
            ));
        }
    }

    DamagedObject& damaged(const std::string& key, std::string_view problem) {
        const auto found = std::find_if(
            report_.damaged.begin(),
            report_.damaged.end(),
            [&](const DamagedObject& object) { return object.object_key == key; }
        );
        if (found != report_.damaged.end()) {
            return *found;
        }
        report_.damaged.push_back({.object_key = key, .problem = std::string{problem}, .points = {}}
        );
        return report_.damaged.back();
    }

    static void hurt(DamagedObject& object, const PointId& point) {
        if (std::find(object.points.begin(), object.points.end(), point) == object.points.end()) {
            object.points.push_back(point);
        }
    }

    /// Runs `body`; what it finds damaged is noted against `key`.
    template <typename Body>
    bool guarded(const ObjectKey& key, Body&& body) {
        try {
            body();
            return true;
        } catch (const Error& error) {
            if (!is_damage(error)) {
                throw;
            }
            damaged(key.text(), error.what());
            return false;
        }
    }

    void require_running() const {
        if (stop_.stop_requested()) {
            throw_cancelled();
        }
    }

    Bytes fetch(const ObjectKey& key) {
        auto object = store_.get(key, stop_);
        if (!object) {
            throw_corrupt(key, "it is missing.");
        }
        return std::move(*object);
    }

    void take_inventory() {
        store_.list(
            "",
            [this](const ObjectInfo& info) {
                ++report_.object_count;
                report_.stored_bytes += info.size_bytes;
                if (const auto name = parse_pack_key(info.key)) {
                    packs_.push_back({.name = *name, .bytes = info.size_bytes});
                } else {
                    others_.push_back(info.key);
                }
                return true;
            },
            stop_
        );
        std::sort(packs_.begin(), packs_.end(), [](const Pack& a, const Pack& b) {
            return a.name < b.name;
        });
        std::sort(others_.begin(), others_.end());
        report_.pack_count = packs_.size();
    }

    /// Config, keys, sessions, snapshots: objects that stand alone.
    void check_singles() {
        std::uint64_t sessions = 0;
        for (const ObjectKey& key : others_) {
            require_running();
            const std::string_view text = key.text();
            if (text.starts_with(kConfigPrefix)) {
                guarded(key, [&] { check_config(key, fetch(key)); });
            } else if (text.starts_with(kKeysPrefix)) {
                guarded(key, [&] { check_keys(key, fetch(key)); });
            } else if (text.starts_with(kCatalogPrefix)) {
                guarded(key, [&] {
                    (void)open_object(engine_.keys, ObjectKind::kCatalog, key, fetch(key));
                });
            } else if (const auto session = parse_session_key(key)) {
                ++sessions;
                guarded(key, [&] {
                    if (const auto object = store_.get(key, stop_)) {  // It may just have ended.
                        (void)open_session(engine_.keys, *session, *object);
                    }
                });
            } else if (const auto kind = collector_object(key)) {
                guarded(key, [&] {
                    if (const auto object = store_.get(key, stop_)) {
                        (void)open_object(engine_.keys, *kind, key, *object);
                    }
                });
            } else if (!parse_point_key(key) && !text.starts_with(kStatePrefix) &&
                       !parse_index_key(key)) {
                report_.notes.push_back(fmt::format("'{}' is not an object of a repository.", text)
                );
            }
        }
        if (sessions > 0) {
            report_.notes.push_back(fmt::format(
                "{} session(s) of backups at work, or of backups that were interrupted.", sessions
            ));
        }
    }

    void check_config(const ObjectKey& key, ByteSpan object) {
        if (!parse_config(object)) {
            throw_corrupt(key, "it is not a config object.");
        }
        require_authentic_config(engine_.keys, key, object);
    }

    void check_keys(const ObjectKey& key, ByteSpan object) {
        if (key.text().ends_with("-known-answer")) {
            (void)open_object(engine_.keys, ObjectKind::kKnownAnswer, key, object);
            return;
        }
        const auto fingerprint = KeyRing::wrapping_fingerprint(object);
        if (!fingerprint) {
            throw_corrupt(key, "it does not hold a wrapped key set.");
        }
        engine_.keys.require_whole_wrapping(object, key);
        // The one wrapping whose key is at hand; others can only be tried by their owners.
        const Secret& recovery = engine_.keys.recovery_key();
        if (*fingerprint == key_fingerprint(recovery)) {
            (void)KeyRing::unwrap(object, recovery, key);
            recovery_wrapping_found_ = true;
        }
    }

    [[nodiscard]] bool chosen(const Pack& pack) const {
        if (options_.budget.given()) {
            return within_budget();
        }
        Bytes seed(8);
        put_little_endian<std::uint64_t>(seed.data(), options_.seed);
        seed.insert(seed.end(), pack.name.begin(), pack.name.end());
        const auto draw = get_little_endian<std::uint32_t>(sha256(seed).data()) % 100;
        return draw < static_cast<std::uint32_t>(std::clamp(options_.read_data_percent, 0, 100));
    }

    /// By number; with a budget those first that were read longest ago.
    [[nodiscard]] std::vector<std::uint32_t> order_of_packs() const {
        std::vector<std::uint32_t> order(packs_.size());
        std::iota(order.begin(), order.end(), 0U);
        if (options_.budget.given()) {
            std::stable_sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
                return read_at(packs_[a].name) < read_at(packs_[b].name);
            });
        }
        return order;
    }

    /// The beginning of time when it never was.
    [[nodiscard]] Instant read_at(const Sha256& pack) const {
        const auto found = verified_.find(pack);
        return found == verified_.end() ? Instant::min() : found->second;
    }

    [[nodiscard]] bool within_budget() const {
        if (report_.pack_read_count == 0) {
            return true;
        }
        const ReadBudget& budget = options_.budget;
        std::uint64_t all = 0;
        for (const Pack& pack : packs_) {
            all += pack.bytes;
        }
        const auto percent = static_cast<std::uint64_t>(std::max(budget.percent, 0));
        return (budget.percent <= 0 || report_.pack_read_bytes * 100 < all * percent) &&
               (budget.bytes == 0 || report_.pack_read_bytes < budget.bytes) &&
               (budget.time.count() == 0 || engine_.clock.steady_now() - began_ < budget.time);
    }

    /// Remembers in the repository which packs were found sound.
    void keep_verified() {
        const auto exists = [this](const Sha256& name) {
            return std::binary_search(
                packs_.begin(),
                packs_.end(),
                Pack{.name = name},
                [](const Pack& a, const Pack& b) { return a.name < b.name; }
            );
        };
        for (const auto& [name, at] : sound_) {
            verified_.insert_or_assign(name, at);
        }
        for (const Pack& pack : packs_) {
            const auto found = verified_.find(pack.name);
            if (found == verified_.end()) {
                ++report_.pack_never_read_count;
            } else if (!report_.oldest_read_at || found->second < *report_.oldest_read_at) {
                report_.oldest_read_at = found->second;
            }
        }
        if (sound_.empty()) {
            return;
        }
        try {
            repository_.require_feature(kFeatureCollect, stop_);
            VerifiedStore{engine_}.add(sound_, exists, stop_);
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::kCancelled) {
                throw;
            }
            report_.notes.push_back(fmt::format(
                "Which packs were read could not be recorded in the vault ({}); the next check "
                "begins where this one began.",
                error.what()
            ));
        }
    }

    void check_packs() {
        verified_ = VerifiedStore{engine_}.load(stop_);
        std::uint64_t done = 0;
        for (const std::uint32_t i : order_of_packs()) {
            require_running();
            const Pack& pack = packs_[i];
            const ObjectKey key = pack_key(pack.name);
            if (chosen(pack)) {
                read_pack(i, key);
            } else if (!guarded(key, [&] { list_pack(i, key); })) {
                read_pack(i, key);  // Its footer is damaged: what of it is sound?
            }
            if (options_.on_progress) {
                options_.on_progress(++done, packs_.size());
            }
        }
        std::sort(blobs_.begin(), blobs_.end(), [](const BlobFact& a, const BlobFact& b) {
            return a.key < b.key;
        });
        keep_verified();
    }

    void add_blob(const PackEntry& entry, std::uint32_t pack, bool is_damaged) {
        blobs_.push_back({
            .key = chunk_key(entry.id),
            .pack = pack,
            .offset = entry.offset,
            .frame_bytes = entry.frame_bytes,
            .damaged = is_damaged,
        });
    }

    void list_pack(std::uint32_t number, const ObjectKey& key) {
        const auto contents = read_pack_contents(
            engine_.keys,
            key,
            packs_[number].bytes,
            [&](std::uint64_t offset, std::uint64_t size) {
                auto bytes = store_.get_range(key, offset, size, stop_);
                if (!bytes) {
                    throw_corrupt(key, "it is missing.");
                }
                return std::move(*bytes);
            }
        );
        for (const PackEntry& entry : contents.entries) {
            add_blob(entry, number, false);
        }
    }

    /// Every byte of the pack: its name, and each blob decrypted, decompressed and identified.
    void read_pack(std::uint32_t number, const ObjectKey& key) {
        ++report_.pack_read_count;
        report_.pack_read_bytes += packs_[number].bytes;
        Bytes bytes;
        if (!guarded(key, [&] { bytes = fetch(key); })) {
            return;
        }
        std::vector<PackEntry> entries;
        const bool footer_sound = guarded(key, [&] {
            entries = read_pack_contents(
                          engine_.keys,
                          key,
                          bytes.size(),
                          [&](std::uint64_t offset, std::uint64_t size) {
                              const auto begin =
                                  bytes.begin() + static_cast<std::ptrdiff_t>(offset);
                              return Bytes(begin, begin + static_cast<std::ptrdiff_t>(size));
                          }
            ).entries;
        });
        if (!footer_sound) {
            entries = walk_frames(bytes);
        }
        std::uint64_t bad = 0;
        for (const PackEntry& entry : entries) {
            const bool sound = blob_is_sound(bytes, entry);
            add_blob(entry, number, !sound);
            bad += sound ? 0U : 1U;
        }
        if (bad > 0 || !footer_sound) {
            engine_.index.distrust(packs_[number].name);
        }
        if (bad > 0) {
            damaged(
                key.text(), fmt::format("{} of its {} blobs are damaged.", bad, entries.size())
            );
        } else if (sha256(bytes) != packs_[number].name) {
            damaged(key.text(), "Its contents do not hash to its name.");
        } else if (footer_sound) {
            sound_.insert_or_assign(packs_[number].name, engine_.clock.now());
        }
    }

    bool blob_is_sound(ByteSpan pack, const PackEntry& entry) {
        const auto header = decode_object_header(pack);
        const ByteSpan frame_bytes = pack.subspan(entry.offset, entry.frame_bytes);
        const auto frame = decode_frame_header(frame_bytes);
        const auto key = header ? engine_.keys.object_key(*header) : std::optional<Secret>{};
        if (!frame || !key || frame->id != entry.id || frame->plain_bytes != entry.plain_bytes ||
            frame->plain_bytes > kBlobBytesMax) {
            return false;
        }
        ObjectHeaderBytes object{};
        std::copy_n(pack.begin(), object.size(), object.begin());
        const MutableByteSpan plain = plain_.reserve(frame->plain_bytes);
        return open_frame(
                   tools_.aead,
                   tools_.decompressor,
                   tools_.opened,
                   *key,
                   object,
                   *frame,
                   {},
                   frame_bytes,
                   plain
               ) &&
               tools_.ids(frame->type, plain) == frame->id;
    }

    [[nodiscard]] std::span<BlobFact> find(const ChunkId& id) {
        const auto less = [](const auto& a, const auto& b) {
            if constexpr (std::is_same_v<std::decay_t<decltype(a)>, BlobFact>) {
                return a.key < b;
            } else {
                return a < b.key;
            }
        };
        const auto [first, last] =
            std::equal_range(blobs_.begin(), blobs_.end(), chunk_key(id), less);
        return {first, last};
    }

    void check_index() {
        engine_.index.refresh(stop_);
        for (const DamagedObject& object : engine_.index.damaged()) {
            damaged(object.object_key, object.problem);
        }
        std::set<Sha256> indexed;
        std::uint64_t stale = 0;
        for (const SegmentId& id : engine_.index.segment_ids()) {
            require_running();
            guarded(index_key(id), [&] {
                const SegmentContents contents = engine_.index.read_segment(id, stop_);
                indexed.insert(contents.packs.begin(), contents.packs.end());
                for (const IndexedBlob& blob : contents.blobs) {
                    stale += entry_is_true(contents, blob) ? 0U : 1U;
                }
            });
        }
        std::uint64_t unindexed = 0;
        for (const Pack& pack : packs_) {
            unindexed += indexed.contains(pack.name) ? 0U : 1U;
        }
        if (stale > 0) {
            report_.notes.push_back(fmt::format(
                "{} index entries name blobs that no pack has; rebuild the index.", stale
            ));
        }
        if (unindexed > 0) {
            report_.notes.push_back(fmt::format(
                "{} pack(s) are in no index: left by an interrupted backup, or the index is lost.",
                unindexed
            ));
        }
    }

    bool entry_is_true(const SegmentContents& contents, const IndexedBlob& blob) {
        const Sha256& name = contents.packs[blob.pack];
        ChunkId id{};
        std::copy(blob.key.begin(), blob.key.end(), id.begin());
        const auto facts = find(id);
        const bool found = std::any_of(facts.begin(), facts.end(), [&](const BlobFact& fact) {
            return packs_[fact.pack].name == name && fact.offset == blob.offset &&
                   fact.frame_bytes == blob.frame_bytes;
        });
        if (!found) {
            lost_.emplace(blob.key, name);
        }
        return found;
    }

    void check_points() {
        {
            // Commit records are read again: that they were sound once proves nothing.
            const std::lock_guard lock{repository_.mutex_};
            repository_.known_.clear();
        }
        auto listing = repository_.list_known(kPointsPrefix, stop_);
        for (const DamagedObject& object : listing.damaged) {
            hurt(damaged(object.object_key, object.problem), object.points.front());
        }
        std::set<PointId> committed;
        for (const auto& point : listing.points) {
            require_running();
            committed.insert(point.summary.id);
            check_point(point);
        }
        report_.point_count = listing.points.size();
        note_uncommitted(committed, listing.damaged);
    }

    void note_uncommitted(
        const std::set<PointId>& committed, const std::vector<DamagedObject>& unreadable
    ) {
        std::uint64_t uncommitted = 0;
        for (const ObjectKey& key : others_) {
            const auto point = parse_point_key(key);
            if (!point || point->object != PointObject::kManifest ||
                committed.contains(point->point)) {
                continue;
            }
            const bool known_damage =
                std::any_of(unreadable.begin(), unreadable.end(), [&](const auto& object) {
                    return object.points.front() == point->point;
                });
            uncommitted += known_damage ? 0U : 1U;
        }
        if (uncommitted > 0) {
            report_.notes.push_back(
                fmt::format("{} manifest(s) of points that were never committed.", uncommitted)
            );
        }
    }

    void check_point(const RepositoryImpl::KnownPoint& point) {
        const PointId id = point.summary.id;
        const ObjectKey key = manifest_key(point.group, id);
        std::optional<ContentRef> streams;
        if (!guarded(key, [&] { streams = repository_.read_streams_root(point, stop_); })) {
            hurt(damaged(key.text(), ""), id);
            return;
        }
        // Nodes shared by many points are walked once, as long as there is no damage to be told
        // apart by point.
        std::set<ChunkKey> own;
        std::set<ChunkKey>& seen = report_.damaged.empty() ? seen_ : own;
        const std::size_t damage_before = report_.damaged.size();
        const auto walk = [&](std::set<ChunkKey>& visited) {
            walk_everything(
                [this](BlobType type, const ChunkId& node) {
                    return engine_.blobs.read(type, node, stop_);
                },
                streams,
                [&](BlobType, const ChunkId& blob) {
                    require_running();
                    return visited.insert(chunk_key(blob)).second && blob_is_there(blob, id);
                },
                [&](BlobType, const ChunkId& node) { blame(node, id, "A node is damaged."); }
            );
        };
        walk(seen);
        if (report_.damaged.size() > damage_before && &seen == &seen_) {
            // What was skipped as seen may be damaged, too: look again, for this point alone.
            walk(own);
        }
    }

    /// Marks the blob as needed; blames what is missing or damaged.
    bool blob_is_there(const ChunkId& id, const PointId& point) {
        const auto facts = find(id);
        bool sound = false;
        for (BlobFact& fact : facts) {
            fact.referenced = true;
            sound = sound || !fact.damaged;
        }
        if (!sound) {
            blame(id, point, "A blob is damaged.");
        }
        return sound;
    }

    void blame(const ChunkId& id, const PointId& point, std::string_view problem) {
        const auto facts = find(id);
        if (!facts.empty()) {
            for (const BlobFact& fact : facts) {
                hurt(damaged(pack_key(packs_[fact.pack].name).text(), problem), point);
            }
            return;
        }
        if (const auto lost = lost_.find(chunk_key(id)); lost != lost_.end()) {
            hurt(damaged(pack_key(lost->second).text(), "It is missing, or lacks blobs."), point);
            return;
        }
        hurt(
            damaged(
                fmt::format("{}(blob {})", kPacksPrefix, to_hex(id)),
                "No pack holds this blob, and no index knows where it was."
            ),
            point
        );
    }

    void check_states() {
        for (const DamagedObject& object : repository_.states_.read(0, stop_).damaged) {
            damaged(object.object_key, object.problem);
        }
        if (!recovery_wrapping_found_) {
            report_.notes.emplace_back("No key set is wrapped by the recovery key.");
        }
    }

    void sum_up() {
        for (const BlobFact& fact : blobs_) {
            report_.unreferenced_bytes += fact.referenced ? 0U : fact.frame_bytes;
        }
    }

    RepositoryImpl& repository_;
    Engine& engine_;
    ObjectStore& store_;
    const CheckOptions& options_;
    const std::stop_token stop_;
    FrameTools tools_;
    Buffer plain_;
    CheckReport report_;
    std::vector<Pack> packs_;  // Sorted by name.
    std::vector<ObjectKey> others_;
    std::vector<BlobFact> blobs_;      // Sorted by key after check_packs().
    std::map<ChunkKey, Sha256> lost_;  // Index entries without a blob.
    std::set<ChunkKey> seen_;
    bool recovery_wrapping_found_ = false;
    const SteadyInstant began_ = engine_.clock.steady_now();
    VerifiedPacks verified_;  // By this check and earlier ones.
    VerifiedPacks sound_;     // By this one.
};

CheckReport RepositoryImpl::check(const CheckOptions& options, std::stop_token stop) {
    return Checker{*this, options, std::move(stop)}.run();
}

void RepositoryImpl::rebuild_index(std::stop_token stop) {
    // A session, so that no pack goes, and gets back into the index, between listing and writing.
    Session session{engine_, std::nullopt, stop};
    engine_.index.refresh(stop);
    const auto old_segments = engine_.index.segment_ids();
    const auto damaged_segments = engine_.index.damaged();
    std::vector<std::pair<Sha256, std::uint64_t>> packs;
    store_.list(
        kPacksPrefix,
        [&](const ObjectInfo& info) {
            const auto name = parse_pack_key(info.key);
            if (name && !session.view().contains(*name)) {
                packs.emplace_back(*name, info.size_bytes);
            }
            return true;
        },
        stop
    );
    // 32 MiB of entries to a segment at most.
    constexpr std::size_t kSegmentBlobsMax = 1024 * 1024;
    SegmentContents contents;
    for (const auto& [name, size] : packs) {
        const ObjectKey key = pack_key(name);
        PackContents pack;
        try {
            pack = read_pack_contents(
                engine_.keys,
                key,
                size,
                [&, &pack_object = key](std::uint64_t offset, std::uint64_t bytes) {
                    auto part = store_.get_range(pack_object, offset, bytes, stop);
                    if (!part) {
                        throw_corrupt(pack_object, "it is missing.");
                    }
                    return std::move(*part);
                }
            );
        } catch (const Error& error) {
            if (!is_damage(error)) {
                throw;
            }
            continue;  // check() names it.
        }
        contents.add_pack(name, pack.entries);
        if (contents.blobs.size() >= kSegmentBlobsMax) {
            engine_.index.add(std::exchange(contents, {}), {}, stop);
        }
    }
    engine_.index.add(std::move(contents), {}, stop);
    engine_.index.remove_segments(old_segments, stop);
    for (const DamagedObject& object : damaged_segments) {
        if (const auto key = ObjectKey::parse(object.object_key)) {
            store_.remove(*key, stop);
        }
    }
    engine_.index.refresh(stop);
    session.end();
}

}  // namespace holdfast::vault
