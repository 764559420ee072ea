#include "jobs/detail/job_queue.h"

#include "alerts/outbox.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "jobs/user_error.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr int kFinishAttemptsMax = 5;  // With the waits between them about half a minute.

/// One after the other is as fast, and takes the memory of one.
constexpr std::size_t kCollectionsAtOnce = 1;

const std::vector<std::string> kActiveStates{"InProgress", "Cancelling"};

Error interrupted_error(const catalog::JobRecord& job) {
    return Error{
        ErrorKind::kInterrupted,
        ErrorText{
            .message = fmt::format(
                "The {} was interrupted: the service stopped while it ran.", to_lower(job.operation)
            ),
            .target = job.instance_id,
            .recommended_actions =
                {job.operation == kBackupOperation ? "Nothing of it is visible as a recovery point "
                                                     "unless it is listed; start the backup again."
                                                   : "Start the operation again."},
        }
    };
}

Error stalled_error(const catalog::JobRecord& job, std::chrono::hours stall_max) {
    return Error{
        ErrorKind::kTimeout,
        ErrorText{
            .message = fmt::format(
                "The {} made no progress for {} hours and was given up.",
                to_lower(job.operation),
                stall_max.count()
            ),
            .target = job.instance_id,
            .recommended_actions =
                {"Look at the server and the network, then start the operation again."},
        }
    };
}

void end_row(catalog::JobRecord& row, std::string_view status, Instant now) {
    row.status = std::string{status};
    row.ended_at = now;
}

void fail_row(catalog::JobRecord& row, const Error& error, Instant now) {
    end_row(row, "Failed", now);
    row.errors = Json::array({user_error(error, row.correlation_id)});
    fail_sub_tasks(row);
}

/// As Azure: a vault may say that its failed jobs are nobody's business.
bool wants_failures_told(const catalog::View& view, const std::string& vault_id) {
    const auto vault = view.get<catalog::VaultRecord>(vault_id);
    if (!vault) {
        return true;
    }
    const Json state = vault->properties.value(
        Json::json_pointer{"/monitoringSettings/azureMonitorAlertSettings/alertsForAllJobFailures"},
        Json(nullptr)
    );
    return !state.is_string() || !equal_ignoring_case(state.get<std::string>(), "Disabled");
}

/// In the transaction that ends the row: whoever sees the one sees the other.
void raise_failure(
    const EngineParts& parts, catalog::Transaction& transaction, const catalog::JobRecord& row
) {
    if (parts.alerts == nullptr || row.status != "Failed" ||
        !wants_failures_told(transaction, row.vault_id)) {
        return;
    }
    const Json error = row.errors.empty() ? Json::object() : row.errors.front();
    alerts::Event event{
        .kind = alerts::Kind::kJobFailed,
        .scope = row.instance_id.empty() ? row.vault_id : row.instance_id,
        .subject = fmt::format("{} {}", row.operation, error.value("code", "")),
        .message = fmt::format(
            "The {} of \"{}\" failed: {}",
            to_lower(row.operation),
            row.friendly_name.empty() ? row.instance_name : row.friendly_name,
            error.value("message", "")
        ),
        .details =
            {{"jobId", row.id},
             {"operation", row.operation},
             {"errorCode", error.value("code", "")},
             {"correlationId", row.correlation_id}},
    };
    for (const Json& action : error.value("recommendedAction", Json::array())) {
        if (action.is_string()) {
            event.actions.push_back(action.get<std::string>());
        }
    }
    parts.alerts->raise_in(transaction, event);
}

std::string_view to_status(JobEnding ending) {
    return ending == JobEnding::kCompleted ? "Completed" : "CompletedWithWarnings";
}

}  // namespace

bool is_ended(std::string_view status) noexcept {
    return status != "Queued" && status != "InProgress" && status != "Cancelling";
}

std::set<std::string> locks_of(const catalog::JobRecord& job) {
    std::set<std::string> locks;
    if (job.operation == kVerifyOperation) {
        // Reads one recovery point, beside which backups and restores go on.
        locks.insert("verify:" + to_lower(job.instance_id));
        return locks;
    }
    if (job.operation == kCollectOperation) {
        // Runs beside everything else on the vault, expiry too (docs/format.md 6).
        locks.insert("collect:" + to_lower(job.vault_id));
        return locks;
    }
    if (!job.datasource_id.empty()) {
        locks.insert(to_lower(job.datasource_id));
    } else {
        locks.insert("vault:" + to_lower(job.vault_id));
    }
    if (job.operation == kRestoreOperation) {
        for (const char* kind : {"server", "items"}) {
            if (const auto target = job.request.find(kind); target != job.request.end()) {
                locks.insert(to_lower(target->at("datasourceId").get<std::string>()));
            }
        }
    }
    return locks;
}

JobQueue::JobQueue(EngineParts parts, const EngineSettings& settings)
    : parts_{parts}, settings_{settings} {}

JobQueue::~JobQueue() {
    stop();
}

void JobQueue::start() {
    const std::size_t most = settings_.max_jobs + kCollectionsAtOnce;
    workers_ = std::make_unique<ThreadPool>("jobs", most, most);
    dispatcher_ = std::jthread{[this](const std::stop_token& token) {
        name_this_thread("jobs-queue");
        dispatch(token);
    }};
    wake();
}

void JobQueue::stop() {
    if (dispatcher_.joinable()) {
        dispatcher_.request_stop();
        dispatcher_.join();
    }
    std::vector<std::shared_ptr<JobContext>> contexts;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [id, running] : running_) {
            contexts.push_back(running.context);
        }
    }
    for (const auto& context : contexts) {
        context->request_stop(StopReason::kShutdown);
    }
    workers_.reset();
}

void JobQueue::wake() {
    {
        const std::lock_guard lock{mutex_};
        woken_ = true;
        ++changes_;
    }
    changed_.notify_all();
}

void JobQueue::dispatch(std::stop_token stop) {
    while (!stop.stop_requested()) {
        {
            std::unique_lock lock{mutex_};
            changed_.wait(lock, stop, [this] {
                return woken_ && running_.size() < settings_.max_jobs + kCollectionsAtOnce;
            });
            if (stop.stop_requested()) {
                return;
            }
            woken_ = false;
        }
        run_boundary(
            [this] { claim_all(); },
            [](const Error& error) {
                // The scheduler wakes the queue again at its next look.
                log_error("The job queue could not be read", {{"reason", error.log_line()}});
            }
        );
    }
}

void JobQueue::claim_all() {
    const auto queued =
        parts_.catalog.list<catalog::JobRecord>(catalog::Query{.states = {"Queued"}});
    std::set<std::string> passed_over;
    for (const catalog::JobRecord& job : queued) {
        if (!may_run(job, passed_over)) {
            // Whoever waits for a datasource keeps its place in the line for it.
            passed_over.merge(locks_of(job));
            continue;
        }
        if (auto context = begin(job)) {
            const bool taken = workers_->try_submit([this, context] { run(context); });
            HOLDFAST_CHECK(taken);  // The queue holds as many as may run.
        }
    }
}

bool JobQueue::may_run(const catalog::JobRecord& job, const std::set<std::string>& passed_over)
    const {
    const std::set<std::string> locks = locks_of(job);
    const auto overlaps = [&](const std::set<std::string>& others) {
        return std::any_of(locks.begin(), locks.end(), [&](const std::string& lock) {
            return others.contains(lock);
        });
    };
    if (overlaps(passed_over)) {
        return false;
    }
    const std::lock_guard guard{mutex_};
    const bool collects = job.operation == kCollectOperation;
    std::size_t alike = 0;
    std::size_t on_server = 0;
    for (const auto& [id, running] : running_) {
        if (overlaps(running.locks)) {
            return false;
        }
        if (running.collects == collects) {
            ++alike;
        }
        if (!job.server_key.empty() && running.server_key == job.server_key) {
            ++on_server;
        }
    }
    return alike < (collects ? kCollectionsAtOnce : settings_.max_jobs) &&
           on_server < settings_.max_jobs_per_server;
}

std::shared_ptr<JobContext> JobQueue::begin(const catalog::JobRecord& job) {
    catalog::JobRecord row = job;
    row.status = "InProgress";
    row.started_at = parts_.clock.now();
    auto context = std::make_shared<JobContext>(
        parts_.catalog, parts_.clock, settings_.progress_interval, row
    );
    {
        // Known as running before the row says so: fail_orphans() must never see it otherwise.
        const std::lock_guard lock{mutex_};
        running_[job.id] = Running{
            context, locks_of(job), job.server_key, job.operation == kCollectOperation
        };
    }
    bool begun = false;
    const bool written = run_boundary(
        [&] {
            parts_.catalog.write([&](catalog::Transaction& transaction) {
                const auto stored = transaction.get<catalog::JobRecord>(job.id);
                begun = stored && stored->status == "Queued";
                if (begun) {
                    transaction.put(row);
                }
            });
        },
        [](const Error& error) {
            log_error("A job could not be started", {{"reason", error.log_line()}});
        }
    );
    if (!written || !begun) {
        end(job.id);
        return nullptr;
    }
    return context;
}

void JobQueue::run(const std::shared_ptr<JobContext>& context) {
    const catalog::JobRecord row = context->record();
    log_info(
        "Job started",
        {{"job", row.id}, {"operation", row.operation}, {"instance", row.instance_id}}
    );
    JobResult result;
    std::optional<Error> failure;
    run_boundary(
        [&] { result = run_job(parts_, *context); }, [&](const Error& error) { failure = error; }
    );
    finish(*context, result, failure);
    release_free_memory();
    end(row.id);
}

void JobQueue::run_here(std::string_view job_id) {
    const auto job = parts_.catalog.get<catalog::JobRecord>(job_id);
    if (!job) {
        throw Error{ErrorKind::kResourceNotFound, fmt::format("There is no job \"{}\".", job_id)};
    }
    const auto context = begin(*job);
    if (!context) {
        return;
    }
    // Also when something that is no Error passes through: then nobody runs the job any more.
    const std::shared_ptr<void> ended{nullptr, [&](void*) { end(job->id); }};
    JobResult result;
    std::optional<Error> failure;
    try {
        result = run_job(parts_, *context);
    } catch (const Error& error) {
        failure = error;
    }
    finish(*context, result, failure);
}

void JobQueue::finish(
    JobContext& context, const JobResult& result, const std::optional<Error>& failure
) {
    catalog::JobRecord ended = context.record();
    const Instant now = parts_.clock.now();
    const StopReason reason = context.stop_reason();
    if (failure && reason == StopReason::kUser) {
        end_row(ended, "Cancelled", now);
        fail_sub_tasks(ended);
    } else if (failure && reason == StopReason::kShutdown) {
        fail_row(ended, interrupted_error(ended), now);
    } else if (failure && reason == StopReason::kStalled) {
        fail_row(ended, stalled_error(ended, settings_.stall_max), now);
    } else if (failure) {
        fail_row(ended, *failure, now);
    } else {
        end_row(ended, to_status(result.ending), now);
        ended.progress["percent"] = 100;
        ended.progress["phase"] = "done";
        ended.progress.erase("secondsLeft");
    }
    for (int attempt = 1;; ++attempt) {
        std::optional<Error> unwritten;
        run_boundary(
            [&] {
                parts_.catalog.write([&](catalog::Transaction& transaction) {
                    catalog::JobRecord row = ended;
                    if (!failure && result.finish) {
                        result.finish(transaction, row);
                    }
                    transaction.put(row);
                    raise_failure(parts_, transaction, row);
                });
            },
            [&](const Error& error) { unwritten = error; }
        );
        if (!unwritten) {
            break;
        }
        log_error(
            "A job's end could not be written",
            {{"job", ended.id}, {"reason", unwritten->log_line()}}
        );
        // Given up, the row is an orphan: failed at a later look, its point adopted at the next
        // start.
        if (attempt == kFinishAttemptsMax ||
            !parts_.clock.wait_for(
                std::chrono::seconds{1 << attempt}, dispatcher_.get_stop_token()
            )) {
            break;
        }
    }
    if (parts_.observer != nullptr) {
        parts_.observer->job_ended(ended);
    }
    if (failure) {
        log_warning(
            "Job ended",
            {{"job", ended.id}, {"status", ended.status}, {"reason", failure->log_line()}}
        );
    } else {
        log_info("Job ended", {{"job", ended.id}, {"status", ended.status}});
    }
}

void JobQueue::end(const std::string& job_id) {
    {
        const std::lock_guard lock{mutex_};
        running_.erase(job_id);
        woken_ = true;
        ++changes_;
    }
    changed_.notify_all();
}

Engine::CancelOutcome JobQueue::cancel(std::string_view job_id) {
    auto outcome = Engine::CancelOutcome::kEnded;
    parts_.catalog.write([&](catalog::Transaction& transaction) {
        auto row = transaction.get<catalog::JobRecord>(job_id);
        if (!row) {
            throw Error{
                ErrorKind::kResourceNotFound,
                ErrorText{
                    .message = fmt::format("There is no job \"{}\".", job_id),
                    .target = std::string{job_id},
                    .recommended_actions =
                        {"List the vault's jobs: holdfast dataprotection job list."},
                }
            };
        }
        if (is_ended(row->status)) {
            return;
        }
        if (row->status == "Queued") {
            end_row(*row, "Cancelled", transaction.now());
            outcome = Engine::CancelOutcome::kCancelled;
        } else {
            row->status = "Cancelling";
            outcome = Engine::CancelOutcome::kRequested;
        }
        transaction.put(*row);
    });
    std::shared_ptr<JobContext> context;
    {
        const std::lock_guard lock{mutex_};
        if (const auto found = running_.find(std::string{job_id}); found != running_.end()) {
            context = found->second.context;
        }
    }
    if (outcome == Engine::CancelOutcome::kRequested && context) {
        context->request_stop(StopReason::kUser);
    }
    wake();
    return outcome;
}

std::optional<JobProgress> JobQueue::progress(std::string_view job_id) const {
    const std::lock_guard lock{mutex_};
    const auto found = running_.find(std::string{job_id});
    if (found == running_.end()) {
        return std::nullopt;
    }
    return found->second.context->progress();
}

bool JobQueue::wait_idle(std::stop_token stop) {
    while (!stop.stop_requested()) {
        std::uint64_t seen = 0;
        {
            const std::lock_guard lock{mutex_};
            seen = changes_;
        }
        std::int64_t waiting = 0;
        parts_.catalog.read([&](const catalog::View& view) {
            waiting = view.count<catalog::JobRecord>(
                catalog::Query{.states = {"Queued", "InProgress", "Cancelling"}}
            );
        });
        std::unique_lock lock{mutex_};
        if (waiting == 0 && running_.empty()) {
            return true;
        }
        changed_.wait(lock, stop, [&] { return changes_ != seen; });
    }
    return false;
}

void JobQueue::stop_stalled() {
    const SteadyInstant now = parts_.clock.steady_now();
    std::vector<std::shared_ptr<JobContext>> stalled;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [id, running] : running_) {
            if (now - running.context->moved_at() > settings_.stall_max) {
                stalled.push_back(running.context);
            }
        }
    }
    for (const auto& context : stalled) {
        log_error("A job stalls and is asked to stop", {{"job", context->id()}});
        context->request_stop(StopReason::kStalled);
    }
}

void JobQueue::remove_old_rows() {
    constexpr std::int64_t kRowsPerLook = 1000;  // A short transaction; the next look goes on.
    const Instant before = parts_.clock.now() - settings_.job_rows_kept;
    const auto old = parts_.catalog.list<catalog::JobRecord>(
        catalog::Query{.until = before, .limit = kRowsPerLook}
    );
    if (old.empty()) {
        return;
    }
    parts_.catalog.write([&](catalog::Transaction& transaction) {
        for (const catalog::JobRecord& job : old) {
            if (is_ended(job.status)) {
                transaction.remove<catalog::JobRecord>(job.id);
            }
        }
    });
}

std::size_t JobQueue::fail_orphans() {
    const auto active =
        parts_.catalog.list<catalog::JobRecord>(catalog::Query{.states = kActiveStates});
    std::size_t failed = 0;
    for (const catalog::JobRecord& job : active) {
        parts_.catalog.write([&](catalog::Transaction& transaction) {
            {
                const std::lock_guard lock{mutex_};
                if (running_.contains(job.id)) {
                    return;
                }
            }
            auto row = transaction.get<catalog::JobRecord>(job.id);
            if (!row || is_ended(row->status) || row->status == "Queued") {
                return;
            }
            fail_row(*row, interrupted_error(*row), transaction.now());
            transaction.put(*row);
            raise_failure(parts_, transaction, *row);
            ++failed;
            log_warning("A job was interrupted", {{"job", row->id}, {"operation", row->operation}});
        });
    }
    return failed;
}

}  // namespace holdfast::jobs
