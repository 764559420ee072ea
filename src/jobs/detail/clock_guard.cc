#include "jobs/detail/clock_guard.h"

#include "alerts/outbox.h"
#include "base/json.h"
#include "base/log.h"
#include "jobs/detail/expiry.h"

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr std::string_view kHighestSetting = "highest_time_seen";
constexpr std::string_view kLeapSetting = "clock_leap";
// NTP steps a clock back by seconds; half a minute is no leap.
constexpr std::chrono::seconds kBackTolerance{30};

std::string leap_message(Instant highest, Instant observed) {
    return fmt::format(
        "The clock says {} and the latest time seen before was {}: no recovery point expires and "
        "nothing is "
        "purged until an owner confirms that the clock is right. Backups go on.",
        format_instant_seconds(observed),
        format_instant_seconds(highest)
    );
}

}  // namespace

std::optional<ClockLeap> stored_clock_leap(const catalog::View& view) {
    const auto text = view.setting(kLeapSetting);
    if (!text || text->empty()) {
        return std::nullopt;
    }
    const Json json = parse_own_json(*text);
    ClockLeap leap;
    leap.highest_seen =
        parse_instant(json.at("highestSeen").get<std::string>()).value_or(Instant{});
    leap.observed = parse_instant(json.at("observed").get<std::string>()).value_or(Instant{});
    leap.message = leap_message(leap.highest_seen, leap.observed);
    return leap;
}

std::optional<ClockLeap> ClockGuard::leap() const {
    std::optional<ClockLeap> found;
    catalog_.read([&](const catalog::View& view) { found = stored_clock_leap(view); });
    return found;
}

std::optional<ClockLeap> ClockGuard::observe() {
    const Instant now = clock_.now();
    std::optional<ClockLeap> leap;
    catalog_.write([&](catalog::Transaction& transaction) {
        leap = stored_clock_leap(transaction);
        const auto stored = transaction.setting(kHighestSetting);
        const auto highest = stored ? parse_instant(*stored) : std::nullopt;
        if (!leap && highest && (now > *highest + leap_max_ || now < *highest - kBackTolerance)) {
            leap = ClockLeap{
                .highest_seen = *highest, .observed = now, .message = leap_message(*highest, now)
            };
            const Json json{
                {"highestSeen", format_instant(*highest)}, {"observed", format_instant(now)}
            };
            transaction.set_setting(kLeapSetting, json.dump());
            log_error("The clock leapt", {{"message", leap->message}});
            if (alerts_ != nullptr) {
                alerts_->raise_in(
                    transaction,
                    {.kind = alerts::Kind::kClockLeap,
                     .message = leap->message,
                     .actions = {"Set the clock right; when it is right: holdfast clock confirm."},
                     .details = json}
                );
            }
        }
        // A suspect time is not taken over: it would hide the leap after a restart.
        if (!leap && (!highest || now > *highest)) {
            transaction.set_setting(kHighestSetting, format_instant(now));
        }
    });
    return leap;
}

void ClockGuard::confirm() {
    const Instant now = clock_.now();
    catalog_.write([&](catalog::Transaction& transaction) {
        transaction.set_setting(kLeapSetting, "");
        transaction.set_setting(kHighestSetting, format_instant(now));
    });
}

ExpiryContext expiry_context(const catalog::Catalog& catalog, Clock& clock) {
    ExpiryContext context{.now = clock.now()};
    catalog.read([&](const catalog::View& view) {
        if (stored_clock_leap(view)) {
            context.clock = protection::ClockTrust::kSuspect;
        }
    });
    return context;
}

}  // namespace holdfast::jobs
