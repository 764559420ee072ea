#include "jobs/detail/scheduler.h"

#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"
#include "jobs/backup_method.h"
#include "jobs/detail/expiry.h"
#include "jobs/detail/missing_points.h"
#include "jobs/detail/submit.h"
#include "protection/instance_state.h"
#include "protection/schedule.h"

#include <algorithm>

namespace holdfast::jobs {
namespace {

// Expiry is counted in days: a look at every point each few minutes is early enough.
constexpr std::chrono::minutes kExpiryInterval{10};
// A run that lies further ahead than any clock drift: the clock was set back.
constexpr std::chrono::minutes kRunAheadMax{5};
// What is missing is missing for hours.
constexpr std::chrono::minutes kMissingInterval{5};
constexpr std::chrono::hours kTestRestoreInterval{24 * 7};
constexpr std::chrono::hours kTestRestoreRetry{24};  // Of one that came to no verdict.

void guarded(std::string_view what, const std::function<void()>& body) {
    run_boundary(body, [&](const Error& error) {
        log_error(
            "The scheduler met an error",
            {{"during", std::string{what}}, {"reason", error.log_line()}}
        );
    });
}

protection::BackupPolicy only_rule(
    const protection::BackupPolicy& policy, const protection::BackupRule& rule
) {
    protection::BackupPolicy one = policy;
    one.backup_rules = {rule};
    return one;
}

std::optional<Instant> last_run(const catalog::InstanceRecord& instance, const std::string& rule) {
    const auto found = instance.last_scheduled_run.find(rule);
    if (found == instance.last_scheduled_run.end() || !found->is_string()) {
        return std::nullopt;
    }
    return parse_instant(found->get<std::string>());
}

bool is_test_restore_due(const catalog::InstanceRecord& instance, Instant now) {
    const auto last = instance.last_test_restore.find("time");
    if (last == instance.last_test_restore.end() || !last->is_string()) {
        return true;
    }
    const auto at = parse_instant(last->get<std::string>());
    const bool judged = instance.last_test_restore.value("result", "") != "NotDone";
    const auto wait = judged ? kTestRestoreInterval : kTestRestoreRetry;
    // One that lies far ahead was made before the clock was set back.
    return !at || *at > now + kRunAheadMax || now - *at >= wait;
}

bool backs_up(const catalog::InstanceRecord& instance) {
    const auto state = protection::parse_protection_state(instance.state);
    return !instance.soft_deleted && state && protection::accepts_backup(*state);
}

}  // namespace

Scheduler::Scheduler(EngineParts parts, const EngineSettings& settings, JobQueue& queue)
    : parts_{parts},
      settings_{settings},
      queue_{queue},
      guard_{parts.catalog, parts.clock, settings.clock_leap_max, parts.alerts},
      snapshots_{parts, settings} {}

void Scheduler::start() {
    thread_ = std::jthread{[this](const std::stop_token& token) {
        name_this_thread("jobs-sched");
        run(token);
    }};
}

void Scheduler::stop() {
    if (thread_.joinable()) {
        thread_.request_stop();
        thread_.join();
    }
}

void Scheduler::wake() {
    const std::lock_guard lock{mutex_};
    woken_ = true;
    wake_.request_stop();
}

void Scheduler::run(std::stop_token stop) {
    while (!stop.stop_requested()) {
        const Instant next = look(Expiry::kWhenDue);
        rest_until(std::min(next, parts_.clock.now() + settings_.look_interval), stop);
    }
}

void Scheduler::rest_until(Instant when, const std::stop_token& stop) {
    std::stop_source wake;
    {
        const std::lock_guard lock{mutex_};
        if (woken_) {
            woken_ = false;
            return;
        }
        wake_ = wake;
    }
    const std::stop_callback stopped{stop, [&wake] { wake.request_stop(); }};
    parts_.clock.wait_until(when, wake.get_token());
    const std::lock_guard lock{mutex_};
    woken_ = false;
}

Instant Scheduler::look(Expiry expiry) {
    const std::lock_guard looking{look_mutex_};
    const Instant now = parts_.clock.now();
    Instant next = now + settings_.look_interval;
    guarded("clock", [&] { guard_.observe(); });
    guarded("orphans", [&] {
        queue_.fail_orphans();
        queue_.stop_stalled();
    });
    guarded("schedules", [&] { queue_backups(now, next); });
    guarded("expiry", [&] { queue_expiries(now, expiry); });
    guarded("collection", [&] { queue_collections(now); });
    guarded("snapshots", [&] { next = std::min(next, snapshots_.keep()); });
    guarded("missing points", [&] { look_for_missing_points(now); });
    if (parts_.observer != nullptr) {
        parts_.observer->looked();
    }
    queue_.wake();
    return next;
}

std::optional<protection::BackupPolicy> Scheduler::policy_of(const catalog::InstanceRecord& instance
) {
    const auto record = parts_.catalog.get<catalog::PolicyRecord>(instance.policy_id);
    if (!record) {
        return std::nullopt;
    }
    const std::lock_guard lock{mutex_};
    CachedPolicy& cached = policies_[record->id];
    if (cached.etag != record->etag) {
        cached.policy = protection::parse_policy(record->properties, "properties");
        cached.policy.version = record->version;
        cached.etag = record->etag;
    }
    return cached.policy;
}

void Scheduler::queue_backups(Instant now, Instant& next) {
    for (const auto& instance : parts_.catalog.list<catalog::InstanceRecord>()) {
        if (backs_up(instance)) {
            // One broken policy must not keep the others from their backups.
            guarded("schedule of " + instance.id, [&] { queue_due(instance, now, next); });
        }
    }
}

void Scheduler::queue_due(const catalog::InstanceRecord& instance, Instant now, Instant& next) {
    const auto policy = policy_of(instance);
    if (!policy) {
        return;
    }
    for (const protection::BackupRule& rule : policy->backup_rules) {
        if (!rule.schedule) {
            continue;
        }
        const protection::BackupPolicy one = only_rule(*policy, rule);
        for (const auto& run : protection::next_runs(one, now, 1)) {
            next = std::min(next, run.scheduled);
        }
        const auto due = protection::previous_run(one, now);
        const Instant last = last_run(instance, rule.name).value_or(instance.created_at);
        const bool clock_was_ahead = last > now + kRunAheadMax;
        if (!clock_was_ahead && (!due || due->scheduled <= last)) {
            continue;
        }
        parts_.catalog.write([&](catalog::Transaction& transaction) {
            auto current = transaction.get<catalog::InstanceRecord>(instance.id);
            if (!current || !backs_up(*current) ||
                last_run(*current, rule.name) != last_run(instance, rule.name)) {
                return;
            }
            // However many runs were missed, one backup now is worth them all.
            current->last_scheduled_run[rule.name] =
                format_instant(clock_was_ahead ? now : due->scheduled);
            transaction.put(*current);
            if (parts_.observer != nullptr && !clock_was_ahead) {
                parts_.observer->backup_queued(now - due->scheduled);
            }
            if (!clock_was_ahead && !queue_scheduled_backup(transaction, *current, *due)) {
                log_warning(
                    "A scheduled backup is left out: the one before still waits",
                    {{"instance", current->id}, {"scheduled", format_instant(due->scheduled)}}
                );
            }
        });
    }
}

void Scheduler::look_for_missing_points(Instant now) {
    const bool due = !missing_looked_ || now < *missing_looked_ ||
                     now >= *missing_looked_ + kMissingInterval;
    if (parts_.alerts == nullptr || !due) {
        return;
    }
    missing_looked_ = now;
    for (const auto& instance : parts_.catalog.list<catalog::InstanceRecord>()) {
        if (!backs_up(instance)) {
            continue;
        }
        guarded("missing points of " + instance.id, [&] {
            if (const auto policy = policy_of(instance)) {
                raise_missing_point(parts_, instance, *policy, settings_.no_point_after, now);
            }
        });
    }
}

void Scheduler::queue_expiries(Instant now, Expiry expiry) {
    const bool due =
        !expiry_looked_ || now < *expiry_looked_ || now >= *expiry_looked_ + kExpiryInterval;
    if (expiry == Expiry::kWhenDue && !due) {
        return;
    }
    expiry_looked_ = now;
    guarded("test restores", [&] { queue_test_restores(now); });
    queue_.remove_old_rows();
    const ExpiryContext context = expiry_context(parts_.catalog, parts_.clock);
    for (const auto& vault : parts_.catalog.list<catalog::VaultRecord>()) {
        bool work = false;
        parts_.catalog.read([&](const catalog::View& view) {
            work = !plan_expiry(view, vault.id, context).empty();
        });
        if (work) {
            parts_.catalog.write([&](catalog::Transaction& transaction) {
                (void)queue_expiry(transaction, vault);
            });
        }
    }
}

/// Once per interval and vault, counted from when the vault was first seen; a clock that leapt is
/// no matter, since what a collection removes does not depend on the time.
void Scheduler::queue_collections(Instant now) {
    const auto interval = parts_.collect.interval;
    if (interval.count() <= 0) {
        return;
    }
    for (const auto& vault : parts_.catalog.list<catalog::VaultRecord>()) {
        if (vault.repository_id.empty()) {
            continue;
        }
        const std::string name = "collected:" + vault.id;
        std::optional<Instant> last;
        parts_.catalog.read([&](const catalog::View& view) {
            const auto text = view.setting(name);
            last = text ? parse_instant(*text) : std::nullopt;
        });
        if (last && *last <= now && now < *last + interval) {
            continue;
        }
        parts_.catalog.write([&](catalog::Transaction& transaction) {
            transaction.set_setting(name, format_instant(now));
            if (last && *last <= now) {
                (void)queue_collection(transaction, vault);
            }
        });
    }
}

void Scheduler::queue_test_restores(Instant now) {
    for (const auto& instance : parts_.catalog.list<catalog::InstanceRecord>()) {
        const auto policy = backs_up(instance) ? policy_of(instance) : std::nullopt;
        if (policy && policy->test_restore == protection::TestRestoreRule::kWeekly) {
            guarded("test restore of " + instance.id, [&] { queue_weekly_test(instance, now); });
        }
    }
}

void Scheduler::queue_weekly_test(const catalog::InstanceRecord& instance, Instant now) {
    if (!is_test_restore_due(instance, now)) {
        return;
    }
    parts_.catalog.write([&](catalog::Transaction& transaction) {
        // Judged again: one that ended since the row was read is no longer open, and counts.
        const auto current = transaction.get<catalog::InstanceRecord>(instance.id);
        if (!current || !is_test_restore_due(*current, now)) {
            return;
        }
        std::optional<catalog::PointRecord> newest;
        transaction.each<catalog::PointRecord>(
            catalog::Query{.parent = instance.id, .order = catalog::Order::kNewestFirst},
            [&](const catalog::PointRecord& point) {
                newest = point;
                return false;
            }
        );
        if (!newest || method_of(*newest) != BackupMethod::kPhysical ||
            is_verify_open(transaction, instance)) {
            return;
        }
        (void)queue_verify(
            transaction,
            VerifyRequest{
                .instance_id = instance.id,
                .point_id = newest->id,
                .trigger = VerifyTrigger::kPolicy,
                .requester = {},
            }
        );
    });
}

std::optional<Instant> Scheduler::next_run(const catalog::InstanceRecord& instance) {
    if (!backs_up(instance)) {
        return std::nullopt;
    }
    const auto policy = policy_of(instance);
    if (!policy) {
        return std::nullopt;
    }
    const auto runs = protection::next_runs(*policy, parts_.clock.now(), 1);
    if (runs.empty()) {
        return std::nullopt;
    }
    return runs.front().scheduled;
}

}  // namespace holdfast::jobs
