#pragma once

#include "base/threads.h"
#include "vault/collect.h"
#include "vault/detail/engine.h"
#include "vault/detail/manifest.h"
#include "vault/detail/open_reads.h"
#include "vault/detail/poison_guard.h"
#include "vault/detail/state_log.h"
#include "vault/vault.h"

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace holdfast::vault {

/// The parameters of a repository, from its newest config object.
struct RepositoryConfig {
    RepositoryId id;
    std::string label;
    int compression_level = 1;
    std::vector<std::string> features;
};

/// Writers and the collector know of condemned packs (docs/format.md 6).
inline constexpr std::string_view kFeatureCollect = "collect";
/// Streams of pages (docs/format.md 8).
inline constexpr std::string_view kFeatureExtents = "extents";
/// More than one delta upon a base (docs/format.md 8).
inline constexpr std::string_view kFeatureLayers = "delta-layers";
/// Extents proved by tags (docs/format.md 8).
inline constexpr std::string_view kFeatureTags = "extent-tags";
/// Ids of extents that are made of two digests (docs/format.md 5.1).
inline constexpr std::string_view kFeatureExtentIds = "extent-ids";

class RepositoryImpl final : public Repository {
public:
    RepositoryImpl(
        ObjectStore& store,
        Clock& clock,
        KeyRing keys,
        RepositoryConfig config,
        const OpenOptions& options
    );

    /// Sees to it that programs which do not know `feature` refuse the repository from now on.
    /// REQUIRES: a feature of this version. To be called before the first object that needs it.
    void require_feature(std::string_view feature, std::stop_token stop);

    /// Reads what the index has. To be called once, before anything else.
    void load_index(std::stop_token stop);

    [[nodiscard]] RepositoryId id() const noexcept override { return config_.id; }
    [[nodiscard]] const std::string& label() const noexcept override { return config_.label; }
    [[nodiscard]] std::unique_ptr<PointWriter> begin_point(
        const BeginPoint& begin, std::stop_token stop
    ) override;
    [[nodiscard]] std::unique_ptr<PointReader> open_point(PointId id, std::stop_token stop)
        override;
    [[nodiscard]] std::optional<PointSummary> find_point(PointId id, std::stop_token stop) override;
    [[nodiscard]] PointList list_points(std::stop_token stop) override;
    bool remove_point(PointId id, std::string_view document_json, std::stop_token stop) override;
    std::uint64_t append_state(const StateRecord& record, std::stop_token stop) override;
    [[nodiscard]] StateLog read_states(std::uint64_t after_sequence, std::stop_token stop) override;
    void put_catalog_snapshot(ByteSpan snapshot, std::stop_token stop) override;
    [[nodiscard]] std::optional<Bytes> latest_catalog_snapshot(std::stop_token stop) override;
    [[nodiscard]] CheckReport check(const CheckOptions& options, std::stop_token stop) override;
    [[nodiscard]] Usage usage(std::stop_token stop) override;
    [[nodiscard]] ScanReport scan(std::stop_token stop) override;
    void rebuild_index(std::stop_token stop) override;
    [[nodiscard]] CollectPlan plan_collection(const CollectOptions& options, std::stop_token stop)
        override;
    CollectReport collect(const CollectPlan& plan, std::stop_token stop) override;
    [[nodiscard]] Secret recovery_kit(const RecoveryKitContext& context) const override;
    void mark_recovery_kit_written(std::stop_token stop) override;
    [[nodiscard]] bool recovery_kit_written(std::stop_token stop) override;
    void add_key(const Secret& new_key, std::stop_token stop) override;

private:
    friend class Checker;
    friend class CollectorBase;
    friend class CollectPlanner;
    friend class Collector;

    struct KnownPoint {
        PointGroup group;
        PointSummary summary;
        Sha256 manifest_sha256{};
        bool aborted = false;
    };
    struct Listing {
        std::vector<KnownPoint> points;  // Committed ones.
        std::vector<DamagedObject> damaged;
    };
    /// What the state records say of one subject, as far as removing a point is concerned.
    struct Holds {
        std::uint64_t read_to = 0;
        std::map<PointId, std::optional<Instant>> points;         // Until when; nothing: for good.
        std::map<std::string, std::optional<Instant>> instances;  // By lower-case id.
        std::set<PointId> deleted;
        bool recovery_kit_written = false;
    };

    [[nodiscard]] Listing list_known(std::string_view prefix, std::stop_token stop);
    [[nodiscard]] std::optional<KnownPoint> find_known(PointId id, std::stop_token stop);
    [[nodiscard]] KnownPoint read_commit(const PointKey& key, ByteSpan object) const;
    /// Nothing when the point has no streams.
    [[nodiscard]] std::optional<ContentRef> read_streams_root(
        const KnownPoint& point, std::stop_token stop
    );
    /// Brings holds_ up to date. Throws kVaultCorrupt when the state is not known for certain.
    void update_holds(std::stop_token stop);
    void require_not_held(const KnownPoint& point, std::stop_token stop);
    /// Takes over which packs the state records say are damaged, and records those that a reader or
    /// a check of this process found since. So a backup after a check, by whatever process, stores
    /// their contents again.
    void share_distrust(std::stop_token stop);
    [[nodiscard]] bool finish_removal(PointId id, std::stop_token stop);
    [[nodiscard]] std::vector<std::uint64_t> snapshot_numbers(std::stop_token stop);

    const RepositoryConfig config_;
    PoisonGuard store_;
    Engine engine_;
    StateChain states_;
    OpenReads reads_;
    std::mutex mutex_;
    std::map<PointId, KnownPoint> known_;  // Commit records never change. Guarded by mutex_.
    Holds holds_;                          // Guarded by mutex_.
    std::uint64_t distrust_read_to_ = 0;   // Sequence of a state record. Guarded by mutex_.
    std::set<Sha256> distrust_recorded_;   // Packs. Guarded by mutex_.
    std::set<std::string> features_;       // Required by the config. Guarded by mutex_.
    ThreadPool read_pool_;                 // Last: its tasks use the engine.
};

/// Reads and checks the newest config object, all but its authenticity, which takes the keys.
struct StoredConfig {
    RepositoryConfig config;
    ObjectKey key;
    Bytes object;
};
/// Nothing when there is none. Throws kVaultFormatUnsupported, kVaultCorrupt.
[[nodiscard]] std::optional<StoredConfig> read_stored_config(
    ObjectStore& store, std::stop_token stop
);
/// Throws kVaultCorrupt when the object was not made with the repository's keys.
void require_authentic_config(const KeyRing& keys, const ObjectKey& key, ByteSpan object);
/// Parser: nothing when the bytes are not a config object. Throws kVaultFormatUnsupported.
[[nodiscard]] std::optional<RepositoryConfig> parse_config(ByteSpan object);
[[nodiscard]] Bytes encode_config(
    const KeyRing& keys, const ObjectKey& key, const CreateOptions& options, Instant created_at
);

}  // namespace holdfast::vault
