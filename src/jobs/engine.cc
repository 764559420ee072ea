#include "jobs/engine.h"

#include "base/error.h"
#include "base/log.h"
#include "jobs/detail/clock_guard.h"
#include "jobs/detail/job_queue.h"
#include "jobs/detail/runners.h"
#include "jobs/detail/scheduler.h"
#include "jobs/detail/settle.h"
#include "jobs/detail/submit.h"

#include <atomic>
#include <mutex>

namespace holdfast::jobs {
namespace {

/// The catalog may outlive the engine and keeps the callback: it reaches the engine through this.
struct ChangeBell {
    std::mutex mutex;
    Scheduler* scheduler = nullptr;  // Guarded by mutex.

    void ring() {
        const std::lock_guard lock{mutex};
        if (scheduler != nullptr) {
            scheduler->snapshots().note_change();
            scheduler->wake();
        }
    }
    void connect(Scheduler* to) {
        const std::lock_guard lock{mutex};
        scheduler = to;
    }
};

}  // namespace

struct Engine::State {
    State(EngineParts given, EngineSettings chosen)
        : parts{given},
          settings{chosen},
          queue{parts, settings},
          scheduler{parts, settings, queue},
          bell{std::make_shared<ChangeBell>()} {}

    const EngineParts parts;
    const EngineSettings settings;
    JobQueue queue;
    Scheduler scheduler;
    std::shared_ptr<ChangeBell> bell;
    std::atomic<bool> started = false;
};

Engine::Engine(EngineParts parts, EngineSettings settings)
    : state_{std::make_unique<State>(parts, settings)} {
    state_->bell->connect(&state_->scheduler);
    parts.catalog.on_resources_changed([bell = state_->bell] { bell->ring(); });
}

Engine::~Engine() {
    stop();
    state_->bell->connect(nullptr);
}

void Engine::start() {
    state_->queue.fail_orphans();
    fail_interrupted_configurations(state_->parts);
    settle_with_repositories(state_->parts);
    state_->started = true;
    state_->queue.start();
    state_->scheduler.start();
}

void Engine::stop() {
    if (!state_->started.exchange(false)) {
        return;
    }
    state_->scheduler.stop();
    state_->queue.stop();
    run_boundary(
        [this] { state_->scheduler.snapshots().flush(); },
        [](const Error& error) {
            log_warning("The last catalog snapshot failed", {{"reason", error.log_line()}});
        }
    );
}

std::string Engine::submit_backup(
    catalog::Transaction& transaction, const AdhocBackupRequest& request
) {
    return queue_adhoc_backup(transaction, state_->settings, request);
}

std::string Engine::submit_restore(
    catalog::Transaction& transaction, const RestoreRequest& request
) {
    return queue_restore(transaction, state_->settings, request);
}

std::string Engine::submit_backup(const AdhocBackupRequest& request) {
    std::string job_id;
    state_->parts.catalog.write([&](catalog::Transaction& transaction) {
        job_id = submit_backup(transaction, request);
    });
    wake();
    return job_id;
}

std::string Engine::submit_restore(const RestoreRequest& request) {
    std::string job_id;
    state_->parts.catalog.write([&](catalog::Transaction& transaction) {
        job_id = submit_restore(transaction, request);
    });
    wake();
    return job_id;
}

std::string Engine::submit_verify(
    catalog::Transaction& transaction, const VerifyRequest& request
) {
    return queue_verify(transaction, request);
}

std::string Engine::submit_verify(const VerifyRequest& request) {
    std::string job_id;
    state_->parts.catalog.write([&](catalog::Transaction& transaction) {
        job_id = submit_verify(transaction, request);
    });
    wake();
    return job_id;
}

void Engine::wake() {
    state_->queue.wake();
}

Engine::CancelOutcome Engine::cancel(std::string_view job_id) {
    return state_->queue.cancel(job_id);
}

std::optional<JobProgress> Engine::progress(std::string_view job_id) const {
    return state_->queue.progress(job_id);
}

Engine::RestoreValidation Engine::validate_restore(
    const RestoreRequest& request, std::stop_token stop
) const {
    return jobs::validate_restore(state_->parts, request, std::move(stop));
}

std::optional<ClockLeap> Engine::clock_leap() const {
    return state_->scheduler.guard().leap();
}

void Engine::confirm_clock() {
    state_->scheduler.guard().confirm();
    state_->scheduler.wake();
}

std::optional<Instant> Engine::next_run(const catalog::InstanceRecord& instance) const {
    return state_->scheduler.next_run(instance);
}

void Engine::look() {
    state_->scheduler.look(Scheduler::Expiry::kNow);
}

bool Engine::wait_idle(std::stop_token stop) {
    return state_->queue.wait_idle(std::move(stop));
}

}  // namespace holdfast::jobs
