#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "catalog/catalog.h"
#include "jobs/requests.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {
class ClientTools;
}  // namespace holdfast::postgres

namespace holdfast::alerts {
class Outbox;
}  // namespace holdfast::alerts

namespace holdfast::jobs {

class CredentialResolver;
class DataPlane;
class RepositoryPool;
class RestoreContainers;

/// Asked before a job reads from a server or writes to a target: throws kMissingPermissions, naming
/// what grants it, when the vault's identity is not (or no more) allowed to. Who decides about
/// rights is above this folder; without it, nobody is asked.
class IdentityCheck {
public:
    virtual ~IdentityCheck() = default;
    virtual void require_backup(
        const catalog::VaultRecord& vault, const catalog::InstanceRecord& instance
    ) const = 0;
    virtual void require_restore(
        const catalog::VaultRecord& vault, const RestoreRequest& request
    ) const = 0;
};

/// Hears how the engine does, for figures. Called on the engine's threads: must be quick.
class EngineObserver {
public:
    virtual ~EngineObserver() = default;
    virtual void job_ended(const catalog::JobRecord& job) = 0;
    /// A scheduled run was queued so long after its time.
    virtual void backup_queued(std::chrono::microseconds late) = 0;
    virtual void looked() = 0;  ///< The scheduler has been through everything.
};

/// Giving back the space of what no recovery point needs (vault/collect.h).
struct CollectSettings {
    std::chrono::seconds interval{std::chrono::hours{24}};  ///< Per vault; 0: only after expiry.
    int repack_dead_percent = 50;
    int unused_percent_max = 5;
};

/// Who does the work; everything outlives the engine.
struct EngineParts {
    catalog::Catalog& catalog;
    RepositoryPool& repositories;
    const CredentialResolver& credentials;
    const RestoreContainers& containers;
    /// What speaks to PostgreSQL: postgres_data_plane() (jobs/data_plane.h); tests put a fake here.
    DataPlane& data_plane;
    Clock& clock;
    const IdentityCheck* identity_check = nullptr;
    alerts::Outbox* alerts = nullptr;
    EngineObserver* observer = nullptr;
    CollectSettings collect = {};
};

struct EngineSettings {
    std::size_t max_jobs = 2;
    std::size_t max_jobs_per_server = 1;
    /// Between two looks of the scheduler at most; also how often the highest time is persisted.
    std::chrono::seconds look_interval{60};
    std::chrono::milliseconds progress_interval{1000};  ///< Between two writes of a job's progress.
    /// A snapshot of the catalog goes into every repository this long after a change, …
    std::chrono::seconds snapshot_delay{5};
    std::chrono::seconds snapshot_interval_min{60};  ///< … but not more often than this, …
    std::chrono::hours snapshot_interval_max{24};    ///< … and at least this often.
    std::chrono::hours clock_leap_max{24};
    /// A job without any progress for so long is given up: it would hold its worker for ever.
    std::chrono::hours stall_max{24};
    /// Rows of ended jobs are kept so long: more than the year that FirstOfYear looks back on.
    std::chrono::hours job_rows_kept{24 * 400};
    /// An instance without a recovery point for so long is worth an alert; 0: twice the time
    /// between two runs of its policy.
    std::chrono::hours no_point_after{0};
    /// On-demand backups, and restores, of one instance within 24 hours; 0: no limit.
    std::size_t adhoc_backups_per_day_max = 0;
    std::size_t restores_per_day_max = 0;
};

/// A job's figures while it runs, newer than the catalog's row.
struct JobProgress {
    std::string phase;
    std::uint64_t bytes_done = 0;
    std::uint64_t bytes_total = 0;  ///< An estimate; 0: not known.
    std::optional<int> percent;     ///< 0 to 99 while running.
    std::uint64_t rate_bytes_per_second = 0;
    std::optional<std::uint64_t> seconds_left;
};
[[nodiscard]] Json to_json(const JobProgress& progress);

/// The wall clock is not where it was expected: nothing expires or is purged until confirmed.
struct ClockLeap {
    Instant highest_seen;
    Instant observed;
    std::string message;
};

/// Runs jobs: a durable queue in the catalog, `max_jobs` workers and one that collects, scheduler.
/// One operation at a time per datasource, `max_jobs_per_server` per server. Safe from any thread.
///
/// Life of a job row: Queued, InProgress, [Cancelling,] then Completed, CompletedWithWarnings,
/// Failed or Cancelled. A row that was running when the process ended is Failed (kInterrupted)
/// after the next start(); a queued one is still queued.
class Engine {
public:
    Engine(EngineParts parts, EngineSettings settings);
    /// stop().
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// Settles what a former process left (job rows, points and state records that the repository
    /// has and the catalog has not), then starts workers and scheduler. Missed schedules run once.
    void start();
    /// Asks running jobs to stop, waits for them (they end Failed, kInterrupted), writes the last
    /// catalog snapshots. Idempotent.
    void stop();

    /// Queues a job in the caller's transaction, so that it and the caller's own rows (an
    /// operation) become durable together. Returns the job's name (a guid). Call wake() after the
    /// commit.
    ///
    /// Throws kGenericResourceNotFound (instance), kInvalidProtectionState, kInvalidInput (rule or
    /// tag; lists the valid ones), kOperationLimitReached (a backup of this instance is queued or
    /// running: names the job).
    std::string submit_backup(catalog::Transaction& transaction, const AdhocBackupRequest& request);
    /// Throws kGenericResourceNotFound, kInvalidProtectionState, kRecoveryPointNotFound,
    /// kContainerNotAccessible, kOperationLimitReached. Whether the target suits is for
    /// validate_restore().
    std::string submit_restore(catalog::Transaction& transaction, const RestoreRequest& request);
    /// A test restore. Throws kGenericResourceNotFound, kInvalidProtectionState,
    /// kRecoveryPointNotFound, kUnsupportedOperation for a point of a logical backup.
    std::string submit_verify(catalog::Transaction& transaction, const VerifyRequest& request);
    void wake();

    /// In a transaction of their own, and wake().
    std::string submit_backup(const AdhocBackupRequest& request);
    std::string submit_restore(const RestoreRequest& request);
    std::string submit_verify(const VerifyRequest& request);

    enum class CancelOutcome {
        kCancelled,  ///< It was queued; it will not run.
        kRequested,  ///< It is running and was asked to stop.
        kEnded,      ///< It had ended already; nothing changed.
    };
    /// Throws kResourceNotFound.
    CancelOutcome cancel(std::string_view job_id);

    /// Nothing when the job is not running in this process.
    [[nodiscard]] std::optional<JobProgress> progress(std::string_view job_id) const;

    /// Everything that can be checked without changing anything: instance and point, containers and
    /// names, target server, database, version, roles, extensions. Throws the most fitting kind,
    /// with everything that is missing in its details.
    struct RestoreValidation {
        std::vector<std::string> warnings;
    };
    [[nodiscard]] RestoreValidation validate_restore(
        const RestoreRequest& request, std::stop_token stop
    ) const;

    /// Present while expiry and purge are stopped.
    [[nodiscard]] std::optional<ClockLeap> clock_leap() const;
    /// An owner says that the clock is right. The caller authorizes and audits.
    void confirm_clock();

    /// The next scheduled runs of an instance (none when its state does not back up).
    [[nodiscard]] std::optional<Instant> next_run(const catalog::InstanceRecord& instance) const;

    /// Looks for due schedules, expiry and purge now, as the scheduler does by itself. For tests.
    void look();
    /// Blocks until no job is queued or running, or `stop`. Returns false when stopped.
    bool wait_idle(std::stop_token stop);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace holdfast::jobs
