#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace holdfast {

/// An instant in UTC. Microseconds: what SQLite rows, PostgreSQL and the wire all keep.
using Instant = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;
using SteadyInstant = std::chrono::steady_clock::time_point;

/// The only source of time outside base/ (lint bans the others). Safe from any thread.
class Clock {
public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual Instant now() const = 0;
    [[nodiscard]] virtual SteadyInstant steady_now() const = 0;
    /// Blocks until `deadline` on this clock or until `stop`. Returns false when stopped.
    virtual bool wait_until(Instant deadline, std::stop_token stop) = 0;
    bool wait_for(std::chrono::microseconds duration, std::stop_token stop);
};

class SystemClock final : public Clock {
public:
    [[nodiscard]] Instant now() const override;
    [[nodiscard]] SteadyInstant steady_now() const override;
    bool wait_until(Instant deadline, std::stop_token stop) override;
};

/// For tests: stands still until advanced; waiters wake when their deadline is reached.
class FakeClock final : public Clock {
public:
    explicit FakeClock(Instant start);
    [[nodiscard]] Instant now() const override;
    [[nodiscard]] SteadyInstant steady_now() const override;
    bool wait_until(Instant deadline, std::stop_token stop) override;
    void advance(std::chrono::microseconds by);
    void set(Instant to);

private:
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    Instant now_;
};

/// `2026-01-02T03:04:05.1234560Z`: ARM's form, seven fraction digits.
[[nodiscard]] std::string format_instant(Instant instant);
/// `2026-01-02T03:04:05Z`.
[[nodiscard]] std::string format_instant_seconds(Instant instant);
/// ISO 8601 date-time with `Z` or an offset; without either, UTC. Nothing when `text` is not one.
[[nodiscard]] std::optional<Instant> parse_instant(std::string_view text);
/// `PT15M40.886203S`.
[[nodiscard]] std::string format_duration(std::chrono::microseconds duration);

}  // namespace holdfast
