#include "base/error.h"
#include "vault/detail/collector.h"
#include "vault/detail/format.pb.h"
#include "vault/detail/sealed.h"

#include <algorithm>
#include <charconv>

namespace holdfast::vault {

namespace {

/// Packs below a quarter of the usual size are small; so many may lie about before they are put
/// together.
constexpr std::uint64_t kSmallShare = 4;
constexpr std::size_t kSmallPacksMax = 16;
/// A pack with less dead than that is not worth writing again, whatever the sum.
constexpr std::uint64_t kDeadPercentMin = 2;

bool is_obstacle(const Error& error) {
    return error.kind() == ErrorKind::kVaultCorrupt ||
           error.kind() == ErrorKind::kVaultFormatUnsupported;
}

DamagedObject obstacle_of(const Error& error, std::string_view what) {
    return {
        .object_key = error.text().target.empty() ? std::string{what} : error.text().target,
        .problem = error.what(),
        .points = {},
    };
}

bool contains(const PackNames& names, const Sha256& name) {
    return std::binary_search(names.begin(), names.end(), name);
}

void add(PackFigures& figures, const TalliedPack& pack) {
    ++figures.packs;
    figures.bytes += pack.bytes;
}

}  // namespace

// ---- Looking ----

CollectorBase::CollectorBase(
    RepositoryImpl& repository, const CollectOptions& options, std::stop_token stop
)
    : repository_{repository},
      engine_{repository.engine_},
      store_{repository.store_},
      options_{options},
      stop_{std::move(stop)} {}

SessionLife CollectorBase::life_of(const SessionRecord& session) const {
    const SessionLife life = judge(session, engine_.owner);
    return life == SessionLife::kElsewhere && options_.end_foreign_sessions ? SessionLife::kDead
                                                                            : life;
}

SessionInfo CollectorBase::describe(const SessionRecord& session, SessionLife life) {
    return {
        .id = session.id.to_string(),
        .point = session.point ? std::optional{session.point->id} : std::nullopt,
        .started_at = session.started_at,
        .elsewhere = life == SessionLife::kElsewhere,
    };
}

void CollectorBase::progress(
    std::string_view what, std::uint64_t done, std::uint64_t total
) const {
    if (options_.on_progress) {
        options_.on_progress(what, done, total);
    }
}

void CollectorBase::require_running() const {
    if (stop_.stop_requested()) {
        throw_cancelled();
    }
}

/// Another process may remove a point, and its collector what the point alone needed, while it is
/// marked here: then nothing of it need be there.
bool CollectorBase::drop_obstacles_of_removed(
    const ObjectKey& commit,
    std::size_t before,
    CollectWork& work,
    std::vector<DamagedObject>& obstacles
) {
    if (obstacles.size() == before || store_.size(commit, stop_)) {
        return false;
    }
    obstacles.erase(obstacles.begin() + static_cast<std::ptrdiff_t>(before), obstacles.end());
    work.marker->forget_nodes();
    return true;
}

void CollectorBase::mark_points(CollectWork& work, std::vector<DamagedObject>& obstacles) {
    const auto listing = repository_.list_known(kPointsPrefix, stop_);
    obstacles.insert(obstacles.end(), listing.damaged.begin(), listing.damaged.end());
    std::uint64_t done = 0;
    for (const auto& point : listing.points) {
        require_running();
        progress("mark", done++, listing.points.size());
        const PointId id = point.summary.id;
        if (work.marked.contains(id)) {
            continue;
        }
        const std::size_t before = obstacles.size();
        try {
            const auto root = repository_.read_streams_root(point, stop_);
            work.marker->mark(root, "a recovery point", id, obstacles, stop_);
        } catch (const Error& error) {
            if (!is_obstacle(error)) {
                throw;
            }
            obstacles.push_back(obstacle_of(error, "points"));
            obstacles.back().points.push_back(id);
        }
        if (!drop_obstacles_of_removed(commit_key(point.group, id), before, work, obstacles) &&
            obstacles.size() == before) {
            work.marked.insert(id);
        }
    }
    for (const OpenReads::Read& read : repository_.reads_.list(stop_)) {
        const std::size_t before = obstacles.size();
        work.marker->mark(read.root, "a point that is being read", {}, obstacles, stop_);
        (void)drop_obstacles_of_removed(read.commit, before, work, obstacles);
    }
}

// ---- Planning ----

template <typename Body>
void CollectPlanner::guarded(const char* what, Body&& body) {
    try {
        body();
    } catch (const Error& error) {
        if (!is_obstacle(error)) {
            throw;
        }
        plan_.obstacles.push_back(obstacle_of(error, what));
    }
}

CollectPlan CollectPlanner::run() {
    plan_.options = options_;
    plan_.work = std::make_shared<CollectWork>();
    guarded("config", [&] { look_at_config_and_keys(); });
    guarded("state", [&] { look_at_states(); });
    guarded("condemned", [&] { condemned_ = engine_.condemned.load(stop_); });
    guarded("collections", [&] { suspects_ = read_suspects(); });
    // In this order: a session that is not listed has written nothing that is listed before, and
    // what it committed is listed after.
    std::vector<TalliedPack> packs = list_packs(store_, stop_);
    guarded("sessions", [&] { look_at_sessions(); });
    engine_.index.refresh(stop_);
    std::uint64_t blobs = 0;
    for (const auto& segment : *engine_.index.segments()) {
        blobs += segment->entry_count();
    }
    plan_.work->marker = std::make_unique<Marker>(engine_, blobs);
    mark_points(*plan_.work, plan_.obstacles);
    plan_.point_count = plan_.work->marked.size();
    if (plan_.obstacles.empty()) {
        progress("tally", 0, 1);
        tally_packs(engine_, *plan_.work->marker, condemned_, packs, stop_);
        choose(packs);
    }
    return std::move(plan_);
}

void CollectPlanner::look_at_config_and_keys() {
    const auto stored = read_stored_config(store_, stop_);
    if (!stored) {
        throw_corrupt(config_key(1), "it is missing.");
    }
    require_authentic_config(engine_.keys, stored->key, stored->object);
    store_.list(
        kKeysPrefix,
        [&](const ObjectInfo& info) {
            const std::string_view digits = std::string_view{info.key.text()}.substr(
                kKeysPrefix.size(), 8
            );
            std::uint32_t epoch = 0;
            std::from_chars(digits.data(), digits.data() + digits.size(), epoch);
            if (epoch > engine_.keys.epoch()) {
                throw_corrupt(
                    info.key,
                    "it belongs to an epoch that the key in use does not open; open the vault "
                    "with a key of that epoch."
                );
            }
            return true;
        },
        stop_
    );
}

void CollectPlanner::look_at_states() {
    const StateLog log = repository_.states_.read(0, stop_);
    plan_.obstacles.insert(plan_.obstacles.end(), log.damaged.begin(), log.damaged.end());
}

void CollectPlanner::look_at_sessions() {
    for (const SessionRecord& session : list_sessions(engine_, stop_)) {
        const SessionLife life = life_of(session);
        if (life == SessionLife::kDead) {
            ++plan_.dead_sessions;
        } else {
            plan_.sessions.push_back(describe(session, life));
            plan_.work->suspects_of.push_back(session.id);
        }
    }
}

SuspectList open_suspects(const KeyRing& keys, std::uint64_t generation, ByteSpan object) {
    const ObjectKey key = collection_key(generation, CollectionObject::kSuspects);
    const Bytes plain = open_object(keys, ObjectKind::kSuspects, key, object);
    format::Suspects suspects;
    std::optional<PackNames> packs;
    if (suspects.ParseFromArray(plain.data(), static_cast<int>(plain.size())) &&
        suspects.generation() == generation) {
        packs = parse_pack_names(suspects.packs());
    }
    if (!packs) {
        throw_corrupt(key, "it is not a list of suspect packs.");
    }
    SuspectList list{.generation = generation, .sessions = {}, .packs = std::move(*packs)};
    for (const std::string& text : suspects.sessions()) {
        std::array<std::byte, 16> id{};
        if (text.size() != id.size()) {
            throw_corrupt(key, "it names no session.");
        }
        std::copy_n(as_bytes(text).begin(), id.size(), id.begin());
        list.sessions.emplace_back(id);
    }
    return list;
}

std::vector<SuspectList> CollectPlanner::read_suspects() {
    std::vector<std::uint64_t> generations;
    store_.list(
        kCollectionsPrefix,
        [&](const ObjectInfo& info) {
            const auto key = parse_collection_key(info.key);
            if (key && key->object == CollectionObject::kSuspects) {
                generations.push_back(key->generation);
            }
            return true;
        },
        stop_
    );
    std::vector<SuspectList> lists;
    for (const std::uint64_t generation : generations) {
        const ObjectKey key = collection_key(generation, CollectionObject::kSuspects);
        const auto object = store_.get(key, stop_);
        if (!object) {
            continue;
        }
        lists.push_back(open_suspects(engine_.keys, generation, *object));
    }
    return lists;
}

// ---- Choosing ----

void CollectPlanner::choose(std::vector<TalliedPack>& packs) {
    std::vector<TalliedPack*> kept;
    std::vector<TalliedPack*> chosen;
    const auto threshold = static_cast<std::uint64_t>(
        std::clamp(options_.repack_dead_percent, 1, 100)
    );
    for (TalliedPack& pack : packs) {
        add(plan_.stored, pack);
        plan_.live_bytes += pack.live_bytes;
        if (condemned_.contains(pack.name)) {
            add(plan_.condemned_before, pack);
        } else if (pack.readable) {
            const bool mostly_dead = pack.dead_bytes() * 100 >= threshold * pack.bytes;
            const bool goes = pack.live_bytes == 0 || (threshold < 100 && mostly_dead);
            (goes ? chosen : kept).push_back(&pack);
        }
    }
    choose_deadest(kept, chosen);
    choose_small(kept, chosen);
    std::sort(chosen.begin(), chosen.end(), [](const auto* a, const auto* b) {
        return a->name < b->name;
    });
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    settle_suspects(chosen);
}

void CollectPlanner::choose_deadest(
    const std::vector<TalliedPack*>& kept, std::vector<TalliedPack*>& chosen
) {
    if (options_.unused_percent_max >= 100) {
        return;
    }
    std::uint64_t dead = 0;
    for (const TalliedPack* pack : kept) {
        dead += pack->dead_bytes();
    }
    const std::uint64_t allowed =
        plan_.live_bytes * static_cast<std::uint64_t>(std::max(options_.unused_percent_max, 0)) /
        100;
    std::vector<TalliedPack*> by_share = kept;
    std::sort(by_share.begin(), by_share.end(), [](const auto* a, const auto* b) {
        return a->dead_bytes() * b->bytes > b->dead_bytes() * a->bytes;
    });
    for (TalliedPack* pack : by_share) {
        if (dead <= allowed || pack->dead_bytes() * 100 < kDeadPercentMin * pack->bytes) {
            return;
        }
        dead -= pack->dead_bytes();
        chosen.push_back(pack);
    }
}

void CollectPlanner::choose_small(
    const std::vector<TalliedPack*>& kept, std::vector<TalliedPack*>& chosen
) {
    std::vector<TalliedPack*> small;
    for (TalliedPack* pack : kept) {
        if (pack->bytes < engine_.pack_bytes() / kSmallShare) {
            small.push_back(pack);
        }
    }
    if (options_.repack_dead_percent < 100 && small.size() > kSmallPacksMax) {
        chosen.insert(chosen.end(), small.begin(), small.end());
    }
}

/// While sessions are at work, what nobody reaches may be what one of them has just written.
void CollectPlanner::settle_suspects(std::vector<TalliedPack*>& chosen) {
    CollectWork& work = *plan_.work;
    const auto at_work = [&work](const SessionId& session) {
        return std::find(work.suspects_of.begin(), work.suspects_of.end(), session) !=
               work.suspects_of.end();
    };
    std::vector<const SuspectList*> settled;
    std::vector<const SuspectList*> waiting;
    for (const SuspectList& list : suspects_) {
        const bool waits = std::any_of(list.sessions.begin(), list.sessions.end(), at_work);
        (waits ? waiting : settled).push_back(&list);
        if (!waits) {
            work.suspects_settled.push_back(list.generation);
        }
    }
    const auto in_any = [](const std::vector<const SuspectList*>& lists, const Sha256& pack) {
        return std::any_of(lists.begin(), lists.end(), [&](const SuspectList* list) {
            return contains(list->packs, pack);
        });
    };
    for (const TalliedPack* pack : chosen) {
        if (!work.suspects_of.empty() && !in_any(settled, pack->name)) {
            add(plan_.suspects, *pack);
            if (!in_any(waiting, pack->name)) {
                work.suspects.push_back(pack->name);
            }
            continue;
        }
        work.condemn.push_back(pack->name);
        add(pack->live_bytes == 0 ? plan_.dead : plan_.repack, *pack);
        plan_.repack_live_bytes += pack->live_bytes;
    }
}

CollectPlan RepositoryImpl::plan_collection(const CollectOptions& options, std::stop_token stop) {
    return CollectPlanner{*this, options, std::move(stop)}.run();
}

}  // namespace holdfast::vault
