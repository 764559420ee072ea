#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"
#include "jobs/engine.h"

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::jobs {

enum class StopReason { kNone, kUser, kShutdown, kStalled };

/// One running job: its row, its figures, its stop request. The runner's thread changes the row;
/// figures, stop and progress() are for any thread.
class JobContext {
public:
    JobContext(
        catalog::Catalog& catalog,
        Clock& clock,
        std::chrono::milliseconds progress_interval,
        catalog::JobRecord record
    );

    [[nodiscard]] const std::string& id() const noexcept { return id_; }
    /// A copy of the row as it is now.
    [[nodiscard]] catalog::JobRecord record() const;
    [[nodiscard]] std::stop_token stop() const { return source_.get_token(); }
    void request_stop(StopReason reason);
    [[nodiscard]] StopReason stop_reason() const;
    /// Throws kCancelled once a stop was requested.
    void check_stop() const;

    /// Changes the row and writes it at once.
    void update(const std::function<void(catalog::JobRecord&)>& change);
    /// Changes the row; the next write carries it.
    void change(const std::function<void(catalog::JobRecord&)>& change);

    /// Figures of a phase: rate and time left are computed here, the row is written at most once
    /// per interval.
    struct Figures {
        std::string_view phase;
        std::uint64_t bytes_done = 0;
        std::uint64_t bytes_total = 0;
    };
    void report(const Figures& figures);
    [[nodiscard]] JobProgress progress() const;
    /// When the figures last moved.
    [[nodiscard]] SteadyInstant moved_at() const;

    /// Puts `record` unless the row says Cancelling, which only finish() ends.
    static void put_running(catalog::Transaction& transaction, catalog::JobRecord& record);

private:
    const std::string id_;
    catalog::Catalog& catalog_;
    Clock& clock_;
    const std::chrono::milliseconds progress_interval_;
    std::stop_source source_;
    mutable std::mutex mutex_;
    // Guarded by mutex_.
    catalog::JobRecord record_;
    JobProgress progress_;
    StopReason stop_reason_ = StopReason::kNone;
    std::string rate_phase_;        // The phase that the rate is measured over, …
    SteadyInstant rate_since_;      // … since when, …
    std::uint64_t rate_bytes_ = 0;  // … and how many bytes were done then.
    SteadyInstant last_write_;
    SteadyInstant moved_at_;
};

/// Sub-tasks as the wire has them.
enum class SubTaskStatus {
    kPending,
    kInProgress,
    kCompleted,
    kCompletedWithWarnings,
    kFailed,
    kSkipped
};
void set_sub_task(
    catalog::JobRecord& record, int task_id, std::string_view name, SubTaskStatus status
);
/// Adds a string to a sub-task's additionalDetails. REQUIRES: set_sub_task() before.
void set_sub_task_detail(
    catalog::JobRecord& record, int task_id, std::string_view name, std::string_view value
);
/// Sub-tasks that were not completed become Failed (the running one) and Skipped.
void fail_sub_tasks(catalog::JobRecord& record);

}  // namespace holdfast::jobs
