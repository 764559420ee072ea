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

/// The system's zone files list transitions up to 2037, and the library doesn't read the rule that
/// goes on from there. The Gregorian calendar repeats after 28 years until 2100, so a later time
/// asks for its twin in that range.
constexpr int kListedYearMax = 2036;
constexpr std::chrono::days kCalendarCycle{10227};  // 28 years with 7 leap days.

template <typename TimePoint>
TimePoint twin_in_listed_years(TimePoint time) {
    using std::chrono::year;
    while (std::chrono::year_month_day{std::chrono::floor<std::chrono::days>(time)}.year() >
           year{kListedYearMax}) {
        time -= kCalendarCycle;
    }
    return time;
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
        const Instant twin = twin_in_listed_years(instant);
        offset = rules_->get_info(std::chrono::floor<seconds>(twin)).offset;
    }
    return LocalTime{instant.time_since_epoch() + offset};
}

Instant Zone::to_instant(LocalTime local) const {
    seconds offset{offset_};
    if (rules_ != nullptr) {
        const auto twin = std::chrono::floor<seconds>(twin_in_listed_years(local));
        const date::local_info info =
            rules_->get_info(date::local_time<seconds>{twin.time_since_epoch()});
        // `first` is the side before the change: in a gap it moves the time forward, in an overlap
        // it is the earlier.
        offset = info.first.offset;
    }
    return Instant{local.time_since_epoch() - offset};
}

}  // namespace holdfast::protection
