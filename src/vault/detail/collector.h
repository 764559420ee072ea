#pragma once

#include "vault/collect.h"
#include "vault/detail/mark.h"
#include "vault/detail/pack_tally.h"
#include "vault/detail/repository.h"
#include "vault/detail/session.h"

#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

// The collector's parts; what they do and why it is safe: docs/format.md section 6.

namespace holdfast::vault {

class BlobCopier;

/// What a plan knows besides its figures.
struct CollectWork {
    std::unique_ptr<Marker> marker;
    std::set<PointId> marked;  ///< Points that the marker has.
    PackNames condemn;
    PackNames suspects;
    std::vector<SessionId> suspects_of;  ///< Sessions at work when the packs were listed.
    std::vector<std::uint64_t> suspects_settled;  ///< Collections whose suspects have been judged.
};

/// What an earlier collection left to a later one.
struct SuspectList {
    std::uint64_t generation = 0;
    std::vector<SessionId> sessions;
    PackNames packs;
};

/// Parser of stored bytes. Throws kVaultCorrupt naming the object.
[[nodiscard]] SuspectList open_suspects(
    const KeyRing& keys, std::uint64_t generation, ByteSpan object
);

/// Who collects, or did.
struct CollectionLease {
    SessionOwner::WorkId run{};
    std::string owner_id;
    std::string incarnation;
};
/// Parser of stored bytes. Throws kVaultCorrupt naming the object.
[[nodiscard]] CollectionLease open_lease(
    const KeyRing& keys, std::uint64_t generation, ByteSpan object
);

/// What planning and executing share: looking at a repository for the collector.
class CollectorBase {
public:
    CollectorBase(RepositoryImpl& repository, const CollectOptions& options, std::stop_token stop);

protected:
    [[nodiscard]] SessionLife life_of(const SessionRecord& session) const;
    [[nodiscard]] static SessionInfo describe(const SessionRecord& session, SessionLife life);
    /// Marks committed points that `work` does not have yet, and those being read.
    void mark_points(CollectWork& work, std::vector<DamagedObject>& obstacles);
    [[nodiscard]] bool drop_obstacles_of_removed(
        const ObjectKey& commit,
        std::size_t before,
        CollectWork& work,
        std::vector<DamagedObject>& obstacles
    );
    void progress(std::string_view what, std::uint64_t done, std::uint64_t total) const;
    void require_running() const;

    RepositoryImpl& repository_;
    Engine& engine_;
    ObjectStore& store_;
    const CollectOptions options_;
    const std::stop_token stop_;
};

/// Makes plans.
class CollectPlanner : private CollectorBase {
public:
    using CollectorBase::CollectorBase;
    [[nodiscard]] CollectPlan run();

private:
    /// Runs `body`; a damage it finds is an obstacle.
    template <typename Body>
    void guarded(const char* what, Body&& body);
    void look_at_config_and_keys();
    void look_at_states();
    void look_at_sessions();
    [[nodiscard]] std::vector<SuspectList> read_suspects();
    void choose(std::vector<TalliedPack>& packs);
    void choose_deadest(const std::vector<TalliedPack*>& kept, std::vector<TalliedPack*>& chosen);
    void choose_small(const std::vector<TalliedPack*>& kept, std::vector<TalliedPack*>& chosen);
    void settle_suspects(std::vector<TalliedPack*>& chosen);

    CollectPlan plan_;
    CondemnedView condemned_;
    std::vector<SuspectList> suspects_;
};

/// Executes them.
class Collector : private CollectorBase {
public:
    Collector(RepositoryImpl& repository, const CollectPlan& plan, std::stop_token stop);
    ~Collector();
    CollectReport run();

private:
    struct Survey {
        CondemnedView condemned;
        std::vector<TalliedPack> packs;
        std::vector<CondemnedList> free;  ///< Lists that wait for no session.
    };
    void take_lease();
    void require_lease();
    void require_no_other(std::uint64_t generation);
    void bar_dead_sessions();
    void condemn();
    void put_suspects();
    [[nodiscard]] Survey look_again();
    void index_the_rest(const Survey& survey);
    void remove_packs(const Survey& survey);
    enum class Unreadable { kKeep, kLeave };
    /// Nothing when it cannot be read; kKeep: the pack was to go, and is kept.
    [[nodiscard]] std::optional<std::vector<PackEntry>> read_footer(
        const TalliedPack& pack, Unreadable unreadable
    );
    void keep(const TalliedPack& pack, std::string_view problem);
    /// Sees to it that what is live in the pack can be read elsewhere. False: it stays.
    [[nodiscard]] bool save(const Survey& survey, const TalliedPack& pack, BlobCopier& copier);
    [[nodiscard]] bool held_elsewhere(const Survey& survey, const PackEntry& entry);
    void drop(const Survey& survey, const std::vector<TalliedPack>& packs);
    void remove_empty_lists();
    void remove_leftovers();
    void end_lease();
    /// False when the number is taken.
    bool put_collection(CollectionObject object);

    CollectWork& work_;
    const SessionId run_ = SessionId::random();
    std::uint64_t generation_ = 0;
    CollectReport report_;
    ChunkKeySet copied_;  // Not removed from where they were yet.
};

}  // namespace holdfast::vault
