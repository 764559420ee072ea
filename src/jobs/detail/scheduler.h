#pragma once

#include "jobs/detail/clock_guard.h"
#include "jobs/detail/job_queue.h"
#include "jobs/detail/snapshots.h"
#include "jobs/engine.h"
#include "protection/policy.h"

#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

namespace holdfast::jobs {

/// Fills the queue: due schedules, expiry, purge; keeps the highest time and the catalog's
/// snapshots. It only ever queues and never runs a job, so that no job can hold it up.
class Scheduler {
public:
    Scheduler(EngineParts parts, const EngineSettings& settings, JobQueue& queue);

    void start();
    void stop();
    /// Something changed that may be due.
    void wake();

    enum class Expiry { kWhenDue, kNow };
    /// Everything that is due is queued when this returns. Returns when to look next.
    Instant look(Expiry expiry);

    [[nodiscard]] std::optional<Instant> next_run(const catalog::InstanceRecord& instance);
    [[nodiscard]] ClockGuard& guard() noexcept { return guard_; }
    [[nodiscard]] SnapshotKeeper& snapshots() noexcept { return snapshots_; }

private:
    struct CachedPolicy {
        std::string etag;
        protection::BackupPolicy policy;
    };
    void run(std::stop_token stop);
    void rest_until(Instant when, const std::stop_token& stop);
    void queue_backups(Instant now, Instant& next);
    void queue_due(const catalog::InstanceRecord& instance, Instant now, Instant& next);
    void queue_expiries(Instant now, Expiry expiry);
    void look_for_missing_points(Instant now);
    void queue_collections(Instant now);
    void queue_test_restores(Instant now);
    void queue_weekly_test(const catalog::InstanceRecord& instance, Instant now);
    [[nodiscard]] std::optional<protection::BackupPolicy> policy_of(
        const catalog::InstanceRecord& instance
    );

    const EngineParts parts_;
    const EngineSettings settings_;
    JobQueue& queue_;
    ClockGuard guard_;
    SnapshotKeeper snapshots_;

    std::mutex look_mutex_;  // One look at a time; held while it reads and writes the catalog.
    std::optional<Instant> expiry_looked_;   // Guarded by look_mutex_.
    std::optional<Instant> missing_looked_;  // Likewise.

    std::mutex mutex_;
    // Guarded by mutex_.
    std::map<std::string, CachedPolicy> policies_;
    bool woken_ = false;
    std::stop_source wake_;
    std::jthread thread_;
};

}  // namespace holdfast::jobs
