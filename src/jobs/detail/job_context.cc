#include "jobs/detail/job_context.h"

#include "base/error.h"
#include "base/log.h"

#include <algorithm>

namespace holdfast::jobs {
namespace {

constexpr int kPercentMaxRunning = 99;  // 100 is said only of what is done.

std::string_view to_string(SubTaskStatus status) {
    switch (status) {
        case SubTaskStatus::kPending:
            return "Pending";
        case SubTaskStatus::kInProgress:
            return "InProgress";
        case SubTaskStatus::kCompleted:
            return "Completed";
        case SubTaskStatus::kCompletedWithWarnings:
            return "CompletedWithWarnings";
        case SubTaskStatus::kFailed:
            return "Failed";
        case SubTaskStatus::kSkipped:
            break;
    }
    return "Skipped";
}

Json* find_sub_task(catalog::JobRecord& record, int task_id) {
    for (Json& task : record.sub_tasks) {
        if (task.value("taskId", 0) == task_id) {
            return &task;
        }
    }
    return nullptr;
}

}  // namespace

Json to_json(const JobProgress& progress) {
    Json json{
        {"phase", progress.phase},
        {"bytesDone", progress.bytes_done},
        {"bytesTotal", progress.bytes_total},
        {"rateBytesPerSecond", progress.rate_bytes_per_second},
    };
    if (progress.percent) {
        json["percent"] = *progress.percent;
    }
    if (progress.seconds_left) {
        json["secondsLeft"] = *progress.seconds_left;
    }
    return json;
}

JobContext::JobContext(
    catalog::Catalog& catalog,
    Clock& clock,
    std::chrono::milliseconds progress_interval,
    catalog::JobRecord record
)
    : id_{record.id},
      catalog_{catalog},
      clock_{clock},
      progress_interval_{progress_interval},
      record_{std::move(record)},
      rate_since_{clock.steady_now()},
      last_write_{clock.steady_now()},
      moved_at_{clock.steady_now()} {}

catalog::JobRecord JobContext::record() const {
    const std::lock_guard lock{mutex_};
    return record_;
}

void JobContext::request_stop(StopReason reason) {
    {
        const std::lock_guard lock{mutex_};
        if (stop_reason_ == StopReason::kNone) {
            stop_reason_ = reason;
        }
    }
    source_.request_stop();
}

StopReason JobContext::stop_reason() const {
    const std::lock_guard lock{mutex_};
    return stop_reason_;
}

void JobContext::check_stop() const {
    if (source_.stop_requested()) {
        throw Error{ErrorKind::kCancelled, "The job was asked to stop."};
    }
}

void JobContext::put_running(catalog::Transaction& transaction, catalog::JobRecord& record) {
    if (const auto stored = transaction.get<catalog::JobRecord>(record.id);
        stored && stored->status == "Cancelling") {
        record.status = stored->status;
    }
    transaction.put(record);
}

void JobContext::update(const std::function<void(catalog::JobRecord&)>& change) {
    catalog::JobRecord copy;
    {
        const std::lock_guard lock{mutex_};
        change(record_);
        copy = record_;
        last_write_ = clock_.steady_now();
        moved_at_ = last_write_;
    }
    catalog_.write([&](catalog::Transaction& transaction) { put_running(transaction, copy); });
}

void JobContext::change(const std::function<void(catalog::JobRecord&)>& change) {
    const std::lock_guard lock{mutex_};
    change(record_);
}

void JobContext::report(const Figures& figures) {
    catalog::JobRecord copy;
    {
        const std::lock_guard lock{mutex_};
        const SteadyInstant now = clock_.steady_now();
        if (progress_.phase != figures.phase || progress_.bytes_done != figures.bytes_done) {
            moved_at_ = now;
        }
        if (rate_phase_ != figures.phase) {
            rate_phase_ = std::string{figures.phase};
            rate_since_ = now;
            rate_bytes_ = figures.bytes_done;
        }
        progress_.phase = std::string{figures.phase};
        progress_.bytes_done = figures.bytes_done;
        progress_.bytes_total = figures.bytes_total;
        const double seconds = std::chrono::duration<double>(now - rate_since_).count();
        const std::uint64_t gained =
            figures.bytes_done > rate_bytes_ ? figures.bytes_done - rate_bytes_ : 0;
        progress_.rate_bytes_per_second =
            seconds > 0.05 ? static_cast<std::uint64_t>(static_cast<double>(gained) / seconds) : 0;
        progress_.percent.reset();
        progress_.seconds_left.reset();
        if (figures.bytes_total > 0) {
            const double share =
                static_cast<double>(figures.bytes_done) / static_cast<double>(figures.bytes_total);
            progress_.percent = std::min(kPercentMaxRunning, static_cast<int>(share * 100.0));
            if (progress_.rate_bytes_per_second > 0 && figures.bytes_total > figures.bytes_done) {
                progress_.seconds_left =
                    (figures.bytes_total - figures.bytes_done) / progress_.rate_bytes_per_second;
            }
        }
        record_.progress = to_json(progress_);
        record_.bytes_transferred = static_cast<std::int64_t>(figures.bytes_done);
        if (now - last_write_ < progress_interval_) {
            return;
        }
        last_write_ = now;
        copy = record_;
    }
    // Figures are a courtesy: a catalog that is busy must not end the job.
    run_boundary(
        [&] {
            catalog_.write([&](catalog::Transaction& transaction) {
                put_running(transaction, copy);
            });
        },
        [](const Error& error) {
            log_warning("A job's progress could not be kept", {{"reason", error.log_line()}});
        }
    );
}

JobProgress JobContext::progress() const {
    const std::lock_guard lock{mutex_};
    return progress_;
}

SteadyInstant JobContext::moved_at() const {
    const std::lock_guard lock{mutex_};
    return moved_at_;
}

void set_sub_task(
    catalog::JobRecord& record, int task_id, std::string_view name, SubTaskStatus status
) {
    Json* task = find_sub_task(record, task_id);
    if (task == nullptr) {
        record.sub_tasks.push_back(Json{
            {"taskId", task_id},
            {"taskName", std::string{name}},
            {"taskProgress", nullptr},
            {"additionalDetails", Json::object()},
        });
        task = &record.sub_tasks.back();
    }
    (*task)["taskStatus"] = std::string{to_string(status)};
}

void set_sub_task_detail(
    catalog::JobRecord& record, int task_id, std::string_view name, std::string_view value
) {
    Json* task = find_sub_task(record, task_id);
    HOLDFAST_CHECK(task != nullptr);
    (*task)["additionalDetails"][std::string{name}] = std::string{value};
}

void fail_sub_tasks(catalog::JobRecord& record) {
    for (Json& task : record.sub_tasks) {
        const std::string status = task.value("taskStatus", "");
        if (status == to_string(SubTaskStatus::kInProgress)) {
            task["taskStatus"] = std::string{to_string(SubTaskStatus::kFailed)};
        } else if (status == to_string(SubTaskStatus::kPending)) {
            task["taskStatus"] = std::string{to_string(SubTaskStatus::kSkipped)};
        }
    }
}

}  // namespace holdfast::jobs
