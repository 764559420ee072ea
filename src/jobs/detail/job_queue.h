#pragma once

#include "base/threads.h"
#include "jobs/detail/job_context.h"
#include "jobs/detail/runners.h"
#include "jobs/engine.h"

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace holdfast::jobs {

/// Takes jobs from the durable queue (rows of state Queued, oldest first) and runs them on
/// `max_jobs` workers, so that no two that touch the same datasource run at once. Collections have
/// a worker of their own, for one at a time: the longest of jobs holds no backup up, and no number
/// of backups keeps it from starting. Safe from any thread.
class JobQueue {
public:
    JobQueue(EngineParts parts, const EngineSettings& settings);
    ~JobQueue();

    void start();
    /// Asks what runs to stop and waits for it.
    void stop();
    /// There may be something to run.
    void wake();

    Engine::CancelOutcome cancel(std::string_view job_id);
    [[nodiscard]] std::optional<JobProgress> progress(std::string_view job_id) const;
    bool wait_idle(std::stop_token stop);

    /// Rows that say InProgress while nothing runs them: the process that did is gone. They become
    /// Failed. Returns how many.
    std::size_t fail_orphans();

    /// Asks jobs that have not moved for long to stop.
    void stop_stalled();
    /// Removes rows of jobs that ended long ago.
    void remove_old_rows();

    /// Runs one queued job on the calling thread, whatever else runs, and writes its last state.
    /// What is not an Error passes through and leaves the row as a crash would.
    void run_here(std::string_view job_id);

private:
    struct Running {
        std::shared_ptr<JobContext> context;
        std::set<std::string> locks;
        std::string server_key;
        bool collects = false;
    };
    class Claim;

    void dispatch(std::stop_token stop);
    void claim_all();
    [[nodiscard]] bool may_run(
        const catalog::JobRecord& job, const std::set<std::string>& passed_over
    ) const;
    [[nodiscard]] std::shared_ptr<JobContext> begin(const catalog::JobRecord& job);
    void run(const std::shared_ptr<JobContext>& context);
    void finish(JobContext& context, const JobResult& result, const std::optional<Error>& failure);
    void end(const std::string& job_id);

    const EngineParts parts_;
    const EngineSettings settings_;
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    // Guarded by mutex_.
    std::map<std::string, Running> running_;
    bool woken_ = false;
    std::uint64_t changes_ = 0;

    std::unique_ptr<ThreadPool> workers_;
    std::jthread dispatcher_;
};

/// What a job must have to itself: its datasource, the target it restores into, the expiry or the
/// collection of its vault.
[[nodiscard]] std::set<std::string> locks_of(const catalog::JobRecord& job);

[[nodiscard]] bool is_ended(std::string_view status) noexcept;

}  // namespace holdfast::jobs
