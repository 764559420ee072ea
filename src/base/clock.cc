#include "base/clock.h"

#include <cstdlib>

#include <fmt/format.h>

namespace holdfast {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

/// Reads exactly `count` digits at the front of `text`.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
    if (text.size() < count) {
        return std::nullopt;
    }
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (text[i] < '0' || text[i] > '9') {
            return std::nullopt;
        }
        value = value * 10 + (text[i] - '0');
    }
    text.remove_prefix(count);
    return value;
}

bool take(std::string_view& text, char expected) {
    if (text.empty() || text.front() != expected) {
        return false;
    }
    text.remove_prefix(1);
    return true;
}

microseconds take_fraction(std::string_view& text) {
    std::int64_t value = 0;
    std::int64_t scale = 100000;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
        value += scale * (text.front() - '0');
        scale /= 10;
        text.remove_prefix(1);
    }
    return microseconds{value};
}

/// `Z`, `+hh:mm`, `-hh:mm`, `+hhmm`, `+hh` or nothing.
std::optional<seconds> take_offset(std::string_view& text) {
    if (text.empty() || take(text, 'Z') || take(text, 'z')) {
        return seconds{0};
    }
    const int sign = text.front() == '-' ? -1 : 1;
    if (text.front() != '+' && text.front() != '-') {
        return std::nullopt;
    }
    text.remove_prefix(1);
    const auto hours = take_digits(text, 2);
    take(text, ':');
    const auto minutes = text.empty() ? std::optional<int>{0} : take_digits(text, 2);
    if (!hours || !minutes || *hours > 23 || *minutes > 59) {
        return std::nullopt;
    }
    return seconds{sign * (*hours * 3600 + *minutes * 60)};
}

}  // namespace

bool Clock::wait_for(microseconds duration, std::stop_token stop) {
    return wait_until(now() + duration, std::move(stop));
}

Instant SystemClock::now() const {
    return std::chrono::time_point_cast<microseconds>(std::chrono::system_clock::now());
}

SteadyInstant SystemClock::steady_now() const {
    return std::chrono::steady_clock::now();
}

bool SystemClock::wait_until(Instant deadline, std::stop_token stop) {
    std::mutex mutex;
    std::condition_variable_any condition;
    std::unique_lock lock{mutex};
    condition.wait_until(lock, stop, deadline, [&] { return now() >= deadline; });
    return !stop.stop_requested();
}

FakeClock::FakeClock(Instant start) : now_{start} {}

Instant FakeClock::now() const {
    const std::lock_guard lock{mutex_};
    return now_;
}

SteadyInstant FakeClock::steady_now() const {
    return SteadyInstant{now().time_since_epoch()};
}

bool FakeClock::wait_until(Instant deadline, std::stop_token stop) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, stop, [&] { return now_ >= deadline; });
    return !stop.stop_requested();
}

void FakeClock::advance(microseconds by) {
    set(now() + by);
}

void FakeClock::set(Instant to) {
    {
        const std::lock_guard lock{mutex_};
        now_ = to;
    }
    changed_.notify_all();
}

std::string format_instant(Instant instant) {
    const auto day = std::chrono::floor<std::chrono::days>(instant);
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss time{instant - day};
    return fmt::format(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}0Z",
        static_cast<int>(date.year()),
        static_cast<unsigned>(date.month()),
        static_cast<unsigned>(date.day()),
        time.hours().count(),
        time.minutes().count(),
        time.seconds().count(),
        time.subseconds().count()
    );
}

std::string format_instant_seconds(Instant instant) {
    return format_instant(instant).substr(0, 19) + "Z";
}

std::optional<Instant> parse_instant(std::string_view text) {
    const auto year = take_digits(text, 4);
    if (!year || !take(text, '-')) {
        return std::nullopt;
    }
    const auto month = take_digits(text, 2);
    if (!month || !take(text, '-')) {
        return std::nullopt;
    }
    const auto day = take_digits(text, 2);
    if (!day) {
        return std::nullopt;
    }
    const std::chrono::year_month_day date{
        std::chrono::year{*year},
        std::chrono::month{static_cast<unsigned>(*month)},
        std::chrono::day{static_cast<unsigned>(*day)}
    };
    if (!date.ok()) {
        return std::nullopt;
    }
    microseconds time{0};
    if (!text.empty() && (text.front() == 'T' || text.front() == 't' || text.front() == ' ')) {
        text.remove_prefix(1);
        const auto hours = take_digits(text, 2);
        if (!hours || !take(text, ':')) {
            return std::nullopt;
        }
        const auto minutes = take_digits(text, 2);
        if (!minutes || *hours > 23 || *minutes > 59) {
            return std::nullopt;
        }
        time = std::chrono::hours{*hours} + std::chrono::minutes{*minutes};
        if (take(text, ':')) {
            const auto secs = take_digits(text, 2);
            if (!secs || *secs > 59) {
                return std::nullopt;
            }
            time += seconds{*secs};
            if (take(text, '.')) {
                time += take_fraction(text);
            }
        }
    }
    const auto offset = take_offset(text);
    if (!offset || !text.empty()) {
        return std::nullopt;
    }
    return Instant{std::chrono::sys_days{date}.time_since_epoch() + time - *offset};
}

std::string format_duration(microseconds duration) {
    const bool negative = duration < microseconds{0};
    const std::int64_t total = std::abs(duration.count());
    const std::int64_t hours = total / 3'600'000'000;
    const std::int64_t minutes = total / 60'000'000 % 60;
    const std::int64_t secs = total / 1'000'000 % 60;
    const std::int64_t micros = total % 1'000'000;
    std::string out = negative ? "-PT" : "PT";
    if (hours != 0) {
        out += fmt::format("{}H", hours);
    }
    if (minutes != 0) {
        out += fmt::format("{}M", minutes);
    }
    if (micros != 0) {
        std::string fraction = fmt::format("{:06}", micros);
        fraction.erase(fraction.find_last_not_of('0') + 1);
        out += fmt::format("{}.{}S", secs, fraction);
    } else if (secs != 0 || (hours == 0 && minutes == 0)) {
        out += fmt::format("{}S", secs);
    }
    return out;
}

}  // namespace holdfast
