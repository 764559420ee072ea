#include "base/error.h"
#include "base/log.h"
#include "vault/detail/collector.h"
#include "vault/detail/format.pb.h"
#include "vault/detail/point_writer.h"
#include "vault/detail/repack.h"
#include "vault/detail/sealed.h"

#include <algorithm>

namespace holdfast::vault {

namespace {

/// So much is copied before what it was copied from is removed: bounds the space needed.
constexpr std::uint64_t kCopyBatchBytes = kGiB;

std::string text_of(const std::array<std::byte, 16>& id) {
    return std::string{as_text(id)};
}

Error another_collection(std::uint64_t generation, bool elsewhere) {
    return Error{
        ErrorKind::kConflict,
        ErrorText{
            .message = fmt::format(
                "Collection {} is at work on the vault{}.",
                generation,
                elsewhere ? ", or was interrupted, in another process" : ""
            ),
            .target = collection_key(generation, CollectionObject::kLease).text(),
            .recommended_actions =
                elsewhere
                    ? std::vector<std::string>{"Wait for it. If you know that no other process "
                                               "works on the vault, say so with "
                                               "'--end-foreign-sessions'."}
                    : std::vector<std::string>{"Wait until it has ended."},
        }
    };
}

void add(PackFigures& figures, const TalliedPack& pack) {
    ++figures.packs;
    figures.bytes += pack.bytes;
}

[[noreturn]] void throw_obstacle(const DamagedObject& obstacle) {
    throw Error{
        ErrorKind::kVaultCorrupt,
        ErrorText{
            .message = fmt::format(
                "Nothing is removed from the vault, because it is not known for certain what is "
                "needed: {}",
                obstacle.problem
            ),
            .target = obstacle.object_key,
            .recommended_actions =
                {"Run 'holdfast vault check' and put the damaged objects back from a copy of the "
                 "vault's storage."},
        }
    };
}

}  // namespace

Collector::Collector(RepositoryImpl& repository, const CollectPlan& plan, std::stop_token stop)
    : CollectorBase{repository, plan.options, std::move(stop)}, work_{*plan.work} {
    report_.suspects = plan.suspects;
}

Collector::~Collector() {
    engine_.owner.leave(run_.bytes());
}

CollectReport Collector::run() {
    repository_.require_feature(kFeatureCollect, stop_);
    take_lease();
    bar_dead_sessions();
    require_lease();
    condemn();
    put_suspects();
    engine_.index.refresh(stop_);
    report_.index_segments_before = engine_.index.segment_ids().size();
    const Survey survey = look_again();
    index_the_rest(survey);
    remove_packs(survey);
    remove_empty_lists();
    remove_leftovers();
    end_lease();
    report_.index_segments_after = engine_.index.segment_ids().size();
    return std::move(report_);
}

// ---- Lease ----

void Collector::take_lease() {
    engine_.owner.enter(run_.bytes());
    for (;;) {
        std::uint64_t highest = 0;
        std::set<std::uint64_t> leases;
        std::set<std::uint64_t> done;
        store_.list(
            kCollectionsPrefix,
            [&](const ObjectInfo& info) {
                if (const auto key = parse_collection_key(info.key)) {
                    highest = std::max(highest, key->generation);
                    if (key->object == CollectionObject::kLease) {
                        leases.insert(key->generation);
                    } else if (key->object == CollectionObject::kDone) {
                        done.insert(key->generation);
                    }
                }
                return true;
            },
            stop_
        );
        for (const std::uint64_t generation : leases) {
            if (!done.contains(generation)) {
                require_no_other(generation);
            }
        }
        generation_ = highest + 1;
        if (put_collection(CollectionObject::kLease)) {
            return;
        }
    }
}

CollectionLease open_lease(const KeyRing& keys, std::uint64_t generation, ByteSpan object) {
    const ObjectKey key = collection_key(generation, CollectionObject::kLease);
    const Bytes plain = open_object(keys, ObjectKind::kCollection, key, object);
    format::Collection lease;
    CollectionLease out;
    if (!lease.ParseFromArray(plain.data(), static_cast<int>(plain.size())) ||
        lease.generation() != generation || lease.run_id().size() != out.run.size()) {
        throw_corrupt(key, "it is not the lease of a collection.");
    }
    std::copy_n(as_bytes(lease.run_id()).begin(), out.run.size(), out.run.begin());
    out.owner_id = lease.owner_id();
    out.incarnation = lease.incarnation();
    return out;
}

void Collector::require_no_other(std::uint64_t generation) {
    const ObjectKey key = collection_key(generation, CollectionObject::kLease);
    const auto object = store_.get(key, stop_);
    if (!object) {
        return;
    }
    const CollectionLease lease = open_lease(engine_.keys, generation, *object);
    if (lease.owner_id != as_text(engine_.owner.id().bytes())) {
        if (!options_.end_foreign_sessions) {
            throw another_collection(generation, true);
        }
        return;
    }
    if (lease.incarnation == as_text(engine_.owner.incarnation().bytes()) &&
        engine_.owner.is_at_work(lease.run)) {
        throw another_collection(generation, false);
    }
}

bool Collector::put_collection(CollectionObject object) {
    format::Collection message;
    message.set_generation(generation_);
    message.set_run_id(text_of(run_.bytes()));
    message.set_owner_id(text_of(engine_.owner.id().bytes()));
    message.set_incarnation(text_of(engine_.owner.incarnation().bytes()));
    message.set_at(engine_.clock.now().time_since_epoch().count());
    const ObjectKey key = collection_key(generation_, object);
    return store_.put_new(
               key,
               seal_object(
                   engine_.keys,
                   ObjectKind::kCollection,
                   key,
                   random_array<32>(),
                   as_bytes(message.SerializeAsString())
               ),
               stop_
           ) == PutOutcome::kCreated;
}

/// Not what makes removing safe; it spares two collectors each other's work.
void Collector::require_lease() {
    store_.list(
        kCollectionsPrefix,
        [&](const ObjectInfo& info) {
            const auto key = parse_collection_key(info.key);
            if (key && key->generation > generation_) {
                throw another_collection(key->generation, false);
            }
            return true;
        },
        stop_
    );
}

/// Earlier collections, and what they left that has been dealt with. The highest number stays, so
/// that none is used twice.
void Collector::end_lease() {
    put_collection(CollectionObject::kDone);
    std::vector<ObjectKey> old;
    store_.list(
        kCollectionsPrefix,
        [&](const ObjectInfo& info) {
            const auto key = parse_collection_key(info.key);
            if (!key || key->generation >= generation_) {
                return true;
            }
            const auto& settled = work_.suspects_settled;
            if (key->object != CollectionObject::kSuspects ||
                std::find(settled.begin(), settled.end(), key->generation) != settled.end()) {
                old.push_back(info.key);
            }
            return true;
        },
        stop_
    );
    for (const ObjectKey& key : old) {
        store_.remove(key, stop_);
    }
}

// ---- Condemning ----

void Collector::bar_dead_sessions() {
    for (const SessionRecord& session : list_sessions(engine_, stop_)) {
        if (life_of(session) == SessionLife::kDead) {
            bar_session(engine_, session, stop_);
            ++report_.ended_sessions;
        }
    }
}

void Collector::condemn() {
    if (!work_.condemn.empty()) {
        engine_.condemned.put(work_.condemn, generation_, engine_.clock.now(), stop_);
    }
}

void Collector::put_suspects() {
    if (work_.suspects.empty()) {
        return;
    }
    format::Suspects message;
    message.set_generation(generation_);
    for (const SessionId& session : work_.suspects_of) {
        message.add_sessions(text_of(session.bytes()));
    }
    message.set_packs(join_pack_names(work_.suspects));
    const ObjectKey key = collection_key(generation_, CollectionObject::kSuspects);
    store_.put_new(
        key,
        seal_object(
            engine_.keys,
            ObjectKind::kSuspects,
            key,
            random_array<32>(),
            as_bytes(message.SerializeAsString())
        ),
        stop_
    );
}

// ---- Looking again ----

Collector::Survey Collector::look_again() {
    Survey survey;
    survey.condemned = engine_.condemned.load(stop_);
    survey.packs = list_packs(store_, stop_);
    std::vector<SessionRecord> at_work;
    for (SessionRecord& session : list_sessions(engine_, stop_)) {
        const SessionLife life = life_of(session);
        if (life == SessionLife::kDead) {
            bar_session(engine_, session, stop_);
            ++report_.ended_sessions;
            continue;
        }
        at_work.push_back(std::move(session));
    }
    // After the sessions: what one that is not listed any more has committed is listed now.
    std::vector<DamagedObject> obstacles;
    mark_points(work_, obstacles);
    if (!obstacles.empty()) {
        throw_obstacle(obstacles.front());
    }
    std::set<SessionId> waited_for;
    for (const CondemnedList& list : survey.condemned.lists()) {
        bool waits = false;
        for (const SessionRecord& session : at_work) {
            if (!session.knows(list.id)) {
                waits = true;
                if (waited_for.insert(session.id).second) {
                    report_.waiting_for.push_back(describe(session, life_of(session)));
                }
            }
        }
        if (!waits) {
            survey.free.push_back(list);
            continue;
        }
        for (const Sha256& name : *list.packs) {
            if (const TalliedPack* const pack = find_pack(survey.packs, name)) {
                add(report_.condemned_left, *pack);
            }
        }
    }
    return survey;
}

// ---- Removing packs ----

std::optional<std::vector<PackEntry>> Collector::read_footer(
    const TalliedPack& pack, Unreadable unreadable
) {
    const ObjectKey key = pack_key(pack.name);
    try {
        return read_pack_contents(
                   engine_.keys,
                   key,
                   pack.bytes,
                   [&](std::uint64_t offset, std::uint64_t size) {
                       auto bytes = store_.get_range(key, offset, size, stop_);
                       if (!bytes) {
                           throw_corrupt(key, "it is missing.");
                       }
                       return std::move(*bytes);
                   }
        ).entries;
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        if (unreadable == Unreadable::kKeep) {
            keep(pack, error.what());
        }
        return std::nullopt;
    }
}

void Collector::keep(const TalliedPack& pack, std::string_view problem) {
    report_.kept_damaged.push_back(
        {.object_key = pack_key(pack.name).text(), .problem = std::string{problem}, .points = {}}
    );
    add(report_.condemned_left, pack);
}

/// Packs that a process which died did not come to index, a collector's copies among them.
void Collector::index_the_rest(const Survey& survey) {
    constexpr std::size_t kSegmentBlobs = 512 * 1024;
    const PackNames indexed = engine_.index.indexed_packs(stop_);
    SegmentContents contents;
    for (const TalliedPack& pack : survey.packs) {
        if (std::binary_search(indexed.begin(), indexed.end(), pack.name) ||
            survey.condemned.contains(pack.name)) {
            continue;
        }
        const auto entries = read_footer(pack, Unreadable::kLeave);
        if (!entries) {
            continue;  // A check names it.
        }
        contents.add_pack(pack.name, *entries);
        if (contents.blobs.size() >= kSegmentBlobs) {
            engine_.index.add(std::exchange(contents, {}), {}, stop_);
        }
    }
    engine_.index.add(std::move(contents), {}, stop_);
}

void Collector::remove_packs(const Survey& survey) {
    std::vector<TalliedPack> dead;
    std::vector<TalliedPack> needed;
    for (const CondemnedList& list : survey.free) {
        for (const Sha256& name : *list.packs) {
            require_running();
            const auto* const pack = find_pack(survey.packs, name);
            if (pack == nullptr) {
                continue;
            }
            const auto entries = read_footer(*pack, Unreadable::kKeep);
            if (!entries) {
                continue;
            }
            const bool live = std::any_of(entries->begin(), entries->end(), [&](const auto& entry) {
                return work_.marker->is_live(chunk_key(entry.id));
            });
            (live ? needed : dead).push_back(*pack);
        }
    }
    // First what needs no space: the storage may be full.
    drop(survey, dead);
    BlobCopier copier{engine_, stop_};
    std::vector<TalliedPack> batch;
    std::uint64_t batch_began = 0;
    for (std::size_t i = 0; i < needed.size(); ++i) {
        progress("copy", i, needed.size());
        if (save(survey, needed[i], copier)) {
            batch.push_back(needed[i]);
        }
        if (copier.bytes() - batch_began >= kCopyBatchBytes) {
            copier.flush();
            drop(survey, std::exchange(batch, {}));
            copied_.clear();
            batch_began = copier.bytes();
        }
    }
    copier.flush();
    drop(survey, batch);
    report_.copied_blobs = copier.blobs();
    report_.copied_bytes = copier.bytes();
}

bool Collector::save(const Survey& survey, const TalliedPack& pack, BlobCopier& copier) {
    const auto entries = read_footer(pack, Unreadable::kKeep);
    if (!entries) {
        return false;
    }
    for (const PackEntry& entry : *entries) {
        const ChunkKey key = chunk_key(entry.id);
        if (!work_.marker->is_live(key) || copied_.contains(key) || held_elsewhere(survey, entry)) {
            continue;
        }
        if (!copier.copy(pack.name, entry)) {
            keep(pack, "Something that is needed of it cannot be read.");
            return false;
        }
        copied_.insert(key);
    }
    return true;
}

/// The index is not believed: the other copy is read.
bool Collector::held_elsewhere(const Survey& survey, const PackEntry& entry) {
    const auto location =
        engine_.index.find(entry.id, Trust::kSoundPacks, stop_, survey.condemned);
    if (!location || !store_.size(pack_key(location->pack), stop_)) {
        return false;
    }
    try {
        (void)engine_.blobs.read_at(*location, entry.type, entry.id, stop_);
        return true;
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::kVaultCorrupt) {
            throw;
        }
        return false;
    }
}

void Collector::drop(const Survey& survey, const std::vector<TalliedPack>& packs) {
    if (packs.empty()) {
        return;
    }
    require_lease();
    PackNames gone;
    for (const TalliedPack& pack : packs) {
        gone.push_back(pack.name);
    }
    std::sort(gone.begin(), gone.end());
    rewrite_index(
        engine_,
        [&](const Sha256& name) {
            if (std::binary_search(gone.begin(), gone.end(), name)) {
                return false;
            }
            return find_pack(survey.packs, name) != nullptr ||
                   store_.size(pack_key(name), stop_).has_value();
        },
        stop_
    );
    std::uint64_t done = 0;
    for (const TalliedPack& pack : packs) {
        require_running();
        progress("remove", done++, packs.size());
        store_.remove(pack_key(pack.name), stop_);
        add(report_.removed, pack);
    }
}

// ---- The rest ----

void Collector::remove_empty_lists() {
    const CondemnedView condemned = engine_.condemned.load(stop_);
    std::vector<TalliedPack> packs = list_packs(store_, stop_);
    for (const CondemnedList& list : condemned.lists()) {
        const bool any_left =
            std::any_of(list.packs->begin(), list.packs->end(), [&](const Sha256& name) {
                return find_pack(packs, name) != nullptr;
            });
        if (!any_left) {
            store_.remove(condemned_key(list.id), stop_);
        }
    }
}

/// Manifests of sessions that were barred, and of points whose removal was interrupted.
void Collector::remove_leftovers() {
    std::vector<PointKey> manifests;
    store_.list(
        kPointsPrefix,
        [&](const ObjectInfo& info) {
            const auto key = parse_point_key(info.key);
            if (key && key->object == PointObject::kManifest &&
                !work_.marked.contains(key->point)) {
                manifests.push_back(*key);
            }
            return true;
        },
        stop_
    );
    if (manifests.empty()) {
        return;
    }
    // In this order: the session of a manifest that is listed, and not committed below, is listed
    // unless it has ended.
    std::set<PointId> being_written;
    for (const SessionRecord& session : list_sessions(engine_, stop_)) {
        if (session.point) {
            being_written.insert(session.point->id);
        }
    }
    for (const PointKey& key : manifests) {
        if (being_written.contains(key.point)) {
            continue;
        }
        const ObjectKey commit = commit_key(key.group, key.point);
        const auto object = store_.get(commit, stop_);
        const bool committed =
            object && open_commit(engine_.keys, commit, key.point, *object).outcome() ==
                          format::Commit::COMMITTED;
        if (!committed && store_.remove(manifest_key(key.group, key.point), stop_)) {
            ++report_.removed_leftovers;
        }
    }
}

CollectReport RepositoryImpl::collect(const CollectPlan& plan, std::stop_token stop) {
    if (!plan.obstacles.empty()) {
        throw_obstacle(plan.obstacles.front());
    }
    HOLDFAST_CHECK(plan.work && plan.work->marker);
    return Collector{*this, plan, std::move(stop)}.run();
}

}  // namespace holdfast::vault
