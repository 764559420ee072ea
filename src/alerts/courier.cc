#include "alerts/courier.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/threads.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::alerts {
namespace {

using catalog::AlertRecord;

// A look works on so many alerts at most; the next one, seconds later, on those behind them.
constexpr std::int64_t kBatch = 200;
constexpr auto kForgetInterval = std::chrono::hours{1};

std::chrono::seconds pause_after(int failures) {
    const int doublings = std::min(failures - 1, 12);
    return std::min<std::chrono::seconds>(
        Courier::kPauseMin * (1 << doublings), Courier::kPauseMax
    );
}

Instant next_at(const Json& delivery) {
    return Instant{std::chrono::microseconds{delivery.value("nextAt", std::int64_t{0})}};
}

bool waits(const Json& delivery) {
    return delivery.value("state", "") == kPending;
}

/// What all deliveries together say of the alert.
std::string state_of(const AlertRecord& record) {
    bool failed = false;
    for (const Json& delivery : record.deliveries) {
        if (waits(delivery)) {
            return std::string{kPending};
        }
        failed = failed || delivery.value("state", "") == kFailed;
    }
    return std::string{failed ? kFailed : kSent};
}

}  // namespace

Courier::Courier(
    catalog::Catalog& catalog, Clock& clock, std::vector<std::unique_ptr<Channel>> channels
)
    : catalog_{catalog}, clock_{clock}, channels_{std::move(channels)} {}

Courier::~Courier() {
    stop();
}

void Courier::start() {
    thread_ = std::jthread{[this](const std::stop_token& stop) {
        name_this_thread("alerts");
        run(stop);
    }};
}

void Courier::stop() {
    if (thread_.joinable()) {
        thread_.request_stop();
        thread_.join();
    }
}

void Courier::run(const std::stop_token& stop) {
    std::optional<Instant> forgot;
    while (!stop.stop_requested()) {
        run_boundary(
            [&] {
                (void)deliver_due(stop);
                const Instant now = clock_.now();
                if (!forgot || now >= *forgot + kForgetInterval) {
                    forget_old();
                    forgot = now;
                }
            },
            [](const Error& error) {
                log_error("The outbox of alerts could not be read", {{"reason", error.log_line()}});
            }
        );
        clock_.wait_for(kLookInterval, stop);
    }
}

std::size_t Courier::deliver_due(std::stop_token stop) {
    const std::lock_guard lock{mutex_};
    std::size_t delivered = 0;
    std::optional<catalog::Place> after;
    while (!stop.stop_requested()) {
        const auto pending = catalog_.list<AlertRecord>(
            {.states = {std::string{kPending}}, .after = after, .limit = kBatch}
        );
        for (AlertRecord record : pending) {
            after = catalog::place_of(record);
            for (Json& delivery : record.deliveries) {
                const bool due = waits(delivery) && next_at(delivery) <= clock_.now();
                if (due && !stop.stop_requested()) {
                    delivered += attempt(record, delivery, stop) ? 1U : 0U;
                }
            }
        }
        if (static_cast<std::int64_t>(pending.size()) < kBatch) {
            break;
        }
    }
    return delivered;
}

bool Courier::attempt(AlertRecord& record, Json& delivery, const std::stop_token& stop) {
    const std::string name = delivery.value("channel", "");
    const auto channel = std::find_if(channels_.begin(), channels_.end(), [&](const auto& each) {
        return each->name() == name;
    });
    const Instant now = clock_.now();
    const bool too_old = now >= record.created_at + kGiveUpAfter;
    Pause& pause = pauses_[name];
    if (channel != channels_.end() && now < pause.until && !too_old) {
        return false;
    }
    SendResult result{SendResult::Outcome::kRefused, "The channel is not configured any more."};
    const std::int64_t told = record.count;
    if (channel != channels_.end()) {
        run_boundary(
            [&] { result = (*channel)->send(record, stop); },
            [&](const Error& error) {
                result = {SendResult::Outcome::kLater, error.what()};
            }
        );
    }
    if (stop.stop_requested() && result.outcome != SendResult::Outcome::kDelivered) {
        return false;  // Cut off by us: it says nothing about the channel.
    }
    const int attempts = delivery.value("attempts", 0) + 1;
    delivery["attempts"] = attempts;
    delivery["detail"] = result.detail;
    if (result.outcome == SendResult::Outcome::kDelivered) {
        delivery["state"] = kSent;
        delivery["count"] = told;
        delivery["sentAt"] = format_instant(now);
        pause = {};
    } else if (channel == channels_.end() || too_old) {
        delivery["state"] = kFailed;
    } else {
        const auto wait = pause_after(attempts);
        delivery["nextAt"] = (now + wait).time_since_epoch().count();
        if (result.outcome == SendResult::Outcome::kLater) {
            ++pause.failures;
            pause.until = now + pause_after(pause.failures);
        }
    }
    note(record, delivery);
    return result.outcome == SendResult::Outcome::kDelivered;
}

void Courier::note(const AlertRecord& record, const Json& delivery) {
    const std::string state = delivery.value("state", "");
    if (state != kSent) {
        log(state == kFailed ? LogLevel::kError : LogLevel::kWarning,
            state == kFailed ? "an alert was given up" : "an alert could not be sent",
            {{"alert", record.id},
             {"kind", record.kind},
             {"channel", delivery.value("channel", "")},
             {"attempts", std::to_string(delivery.value("attempts", 0))},
             {"reason", delivery.value("detail", "")}});
    }
    catalog_.write([&](catalog::Transaction& transaction) {
        auto current = transaction.get<AlertRecord>(record.id);
        if (!current) {
            return;
        }
        // It may have been counted up meanwhile: only this delivery is ours.
        for (Json& each : current->deliveries) {
            if (each.value("channel", "") == delivery.value("channel", "")) {
                each = delivery;
            }
        }
        current->state = state_of(*current);
        transaction.put(*current);
    });
}

void Courier::forget_old() {
    const std::vector<std::string> done{
        std::string{kSent}, std::string{kFailed}, std::string{kMuted}, std::string{kRecorded}
    };
    std::vector<AlertRecord> old = catalog_.list<AlertRecord>(
        {.states = done, .until = clock_.now() - kKept, .limit = 1000}
    );
    std::int64_t there = 0;
    catalog_.read([&](const catalog::View& view) {
        there = view.count<AlertRecord>({.states = done});
    });
    if (old.empty() && there > kKeptMax) {
        old = catalog_.list<AlertRecord>(
            {.states = done, .limit = std::min<std::int64_t>(there - kKeptMax, 1000)}
        );
    }
    if (old.empty()) {
        return;
    }
    catalog_.write([&](catalog::Transaction& transaction) {
        for (const AlertRecord& record : old) {
            transaction.remove<AlertRecord>(record.id);
        }
    });
}

std::vector<Courier::TestResult> Courier::test(std::string_view asked_by, std::stop_token stop) {
    const KindTraits& kind = traits(Kind::kTest);
    AlertRecord record;
    record.id = new_guid();
    record.kind = kind.name;
    record.severity = to_string(kind.severity);
    record.scope = "/";
    record.title = kind.title;
    record.message = "This is a test. Nothing has happened.";
    record.details = {{"askedBy", asked_by}};
    record.created_at = clock_.now();
    record.last_at = record.created_at;
    std::vector<TestResult> results;
    for (const auto& channel : channels_) {
        TestResult result{.channel = channel->name(), .target = channel->describe()};
        run_boundary(
            [&] {
                const SendResult sent = channel->send(record, stop);
                result.delivered = sent.outcome == SendResult::Outcome::kDelivered;
                result.detail = sent.detail;
            },
            [&](const Error& error) { result.detail = error.what(); }
        );
        results.push_back(std::move(result));
    }
    return results;
}

}  // namespace holdfast::alerts
