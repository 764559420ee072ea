#include "protection/zone.h"

#include "base/error.h"
#include "base/text.h"
#include "protection/windows_zones.h"

#include <algorithm>
#include <stdexcept>

#include <date/tz.h>
#include <fmt/format.h>

namespace holdfast::protection {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

/// The system's zone files list transitions up to 2037 (more for the few zones whose rule is no
/// rule), and the library doesn't read the rule that goes on from there. A later time asks for its
/// twin: the same day of the year and of the week in one of these years, which between them have
/// every calendar.
constexpr int kTwinYearMin = 2027;
constexpr int kTwinYearMax = 2037;

template <typename TimePoint>
TimePoint twin_of(TimePoint time) {
    using Days = std::chrono::time_point<typename TimePoint::clock, std::chrono::days>;
    const std::chrono::year_month_day date{std::chrono::floor<std::chrono::days>(time)};
    // A leap day shifts the weekdays after it, so either part of the year finds its own twin.
    const std::chrono::month first{date.month() < std::chrono::March ? 1U : 3U};
    const Days own{date.year() / first / 1};
    for (int year = kTwinYearMin; year <= kTwinYearMax; ++year) {
        const Days twin{std::chrono::year{year} / first / 1};
        if (std::chrono::weekday{twin} == std::chrono::weekday{own}) {
            return time - (own - twin);
        }
    }
    return time;
}

template <typename TimePoint>
bool is_past_twin_years(TimePoint time) {
    const std::chrono::year_month_day date{std::chrono::floor<std::chrono::days>(time)};
    return date.year() > std::chrono::year{kTwinYearMax};
}

/// Nothing more is listed after this period.
bool is_open_ended(const date::sys_info& info) {
    return info.end > date::sys_days{date::year{2500} / 1 / 1};
}

const std::vector<date::time_zone>& all_zones() {
    try {
        return date::get_tzdb().zones;
    } catch (const std::exception& fault) {
        throw Error{
            ErrorKind::kConfigInvalid,
            ErrorText{
                .message = "This machine has no time zone database, so a schedule in a named time "
                           "zone cannot be read.",
                .internal = fault.what(),
                .recommended_actions =
                    {"Install the package tzdata, or give the schedule an offset such as +02:00."},
            }
        };
    }
}

const date::time_zone* find_iana(std::string_view name) {
    const std::vector<date::time_zone>& zones = all_zones();
    // Sorted by name; the usual spelling is found at once, any other case by looking at all.
    const auto exact = std::lower_bound(
        zones.begin(),
        zones.end(),
        name,
        [](const date::time_zone& zone, std::string_view wanted) { return zone.name() < wanted; }
    );
    if (exact != zones.end() && exact->name() == name) {
        return &*exact;
    }
    for (const date::time_zone& zone : zones) {
        if (equal_ignoring_case(zone.name(), name)) {
            return &zone;
        }
    }
    return nullptr;
}

std::optional<minutes> parse_offset(std::string_view text) {
    const auto digit = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '9'; };
    if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':' || !digit(1) ||
        !digit(2) || !digit(4) || !digit(5)) {
        return std::nullopt;
    }
    const int hour = (text[1] - '0') * 10 + (text[2] - '0');
    const int minute = (text[4] - '0') * 10 + (text[5] - '0');
    if (hour > 14 || minute > 59 || (hour == 14 && minute > 0)) {
        return std::nullopt;
    }
    const minutes offset = hours{hour} + minutes{minute};
    return text[0] == '-' ? -offset : offset;
}

}  // namespace

Zone Zone::fixed(minutes east_of_utc) {
    if (east_of_utc == minutes{0}) {
        return {"UTC", nullptr, east_of_utc};
    }
    const auto total = std::abs(east_of_utc.count());
    return {
        fmt::format("{}{:02}:{:02}", east_of_utc.count() < 0 ? '-' : '+', total / 60, total % 60),
        nullptr,
        east_of_utc
    };
}

std::optional<Zone> Zone::find(std::string_view name) {
    name = trim(name);
    for (const std::string_view utc_name : {"Z", "UTC", "GMT", "Etc/UTC", "Etc/GMT"}) {
        if (equal_ignoring_case(name, utc_name)) {
            return utc();
        }
    }
    if (const auto offset = parse_offset(name)) {
        return fixed(*offset);
    }
    const std::string_view iana = iana_name_of_windows_zone(name);
    if (const date::time_zone* rules = find_iana(iana.empty() ? name : iana)) {
        return Zone{rules->name(), rules, minutes{0}};
    }
    return std::nullopt;
}

LocalTime Zone::to_local(Instant instant) const {
    seconds offset{offset_};
    if (rules_ != nullptr) {
        date::sys_info info = rules_->get_info(std::chrono::floor<seconds>(instant));
        if (is_past_twin_years(instant) && is_open_ended(info)) {
            info = rules_->get_info(std::chrono::floor<seconds>(twin_of(instant)));
        }
        offset = info.offset;
    }
    return LocalTime{instant.time_since_epoch() + offset};
}

Instant Zone::to_instant(LocalTime local) const {
    seconds offset{offset_};
    if (rules_ != nullptr) {
        const auto info_at = [this](LocalTime time) {
            return rules_->get_info(
                date::local_time<seconds>{std::chrono::floor<seconds>(time.time_since_epoch())}
            );
        };
        date::local_info info = info_at(local);
        if (is_past_twin_years(local) && is_open_ended(info.first)) {
            info = info_at(twin_of(local));
        }
        // `first` is the side before the change: in a gap it moves the time forward, in an overlap
        // it is the earlier.
        offset = info.first.offset;
    }
    return Instant{local.time_since_epoch() - offset};
}

}  // namespace holdfast::protection
