#include "protection/tagging.h"

#include "base/error.h"
#include "protection/date_time.h"

#include <algorithm>
#include <optional>

namespace holdfast::protection {
namespace {

using std::chrono::days;
using std::chrono::local_days;
using std::chrono::year_month_day;
using std::chrono::year_month_day_last;

struct Judge {
    Zone zone;
    std::chrono::weekday week_start;
    Instant scheduled;
    LocalTime local;
    PointHistory history;

    [[nodiscard]] local_days day() const { return std::chrono::floor<days>(local); }
};

/// The first day of the period that holds `time`; nothing for AllBackup, which has none.
std::optional<local_days> period_start(
    AbsoluteMarker marker, LocalTime time, std::chrono::weekday week_start
) {
    const local_days day = std::chrono::floor<days>(time);
    const year_month_day date{day};
    switch (marker) {
        case AbsoluteMarker::kAllBackup:
            return std::nullopt;
        case AbsoluteMarker::kFirstOfDay:
            return day;
        case AbsoluteMarker::kFirstOfWeek:
            // Weekday subtraction is modulo seven: 0 to 6 days since the week began.
            return day - (std::chrono::weekday{day} - week_start);
        case AbsoluteMarker::kFirstOfMonth:
            return local_days{date.year() / date.month() / 1};
        case AbsoluteMarker::kFirstOfYear:
            return local_days{date.year() / 1 / 1};
    }
    return std::nullopt;
}

bool is_first(const Judge& judge, AbsoluteMarker marker) {
    const auto own = period_start(marker, judge.local, judge.week_start);
    if (!own) {
        return true;
    }
    return std::none_of(judge.history.begin(), judge.history.end(), [&](Instant earlier) {
        // A late retry of an older run must not see the younger runs as predecessors.
        return earlier < judge.scheduled &&
               period_start(marker, judge.zone.to_local(earlier), judge.week_start) == own;
    });
}

bool in_week(local_days day, WeekOfMonth week) {
    const year_month_day date{day};
    const unsigned number = static_cast<unsigned>(date.day());
    if (week == WeekOfMonth::kLast) {
        const year_month_day_last end{date.year() / date.month() / std::chrono::last};
        return number + 7 > static_cast<unsigned>(end.day());
    }
    return (number - 1) / 7 == static_cast<unsigned>(week);
}

bool is_day(local_days day, const DayOfMonth& wanted) {
    const year_month_day date{day};
    if (wanted.is_last) {
        const year_month_day_last end{date.year() / date.month() / std::chrono::last};
        return date.day() == end.day();
    }
    return static_cast<unsigned>(date.day()) == wanted.date;
}

bool at_time_of_day(const Judge& judge, const std::string& written) {
    const auto parsed = parse_date_time(written);
    if (!parsed) {
        return false;  // parse_policy refuses it; a stored policy cannot hold one.
    }
    LocalTime wall = parsed->local;
    if (parsed->offset) {
        wall = judge.zone.to_local(Zone::fixed(*parsed->offset).to_instant(parsed->local));
    }
    const auto time_of_day = wall - std::chrono::floor<days>(wall);
    if (judge.local - judge.day() == time_of_day) {
        return true;
    }
    // On the day of a gap the run at 02:30 is scheduled at 03:30; it is still the run of 02:30.
    return judge.zone.to_instant(judge.day() + time_of_day) == judge.scheduled;
}

/// An empty field says nothing; otherwise one member must match.
template <typename List, typename Predicate>
bool any_or_empty(const List& list, Predicate predicate) {
    return list.empty() || std::any_of(list.begin(), list.end(), predicate);
}

bool matches(const Judge& judge, const BackupCriteria& criteria) {
    const local_days day = judge.day();
    const year_month_day date{day};
    return any_or_empty(
               criteria.absolute, [&](AbsoluteMarker marker) { return is_first(judge, marker); }
           ) &&
           any_or_empty(
               criteria.days_of_the_week,
               [&](std::chrono::weekday wanted) { return std::chrono::weekday{day} == wanted; }
           ) &&
           any_or_empty(
               criteria.weeks_of_the_month, [&](WeekOfMonth week) { return in_week(day, week); }
           ) &&
           any_or_empty(
               criteria.months_of_year,
               [&](std::chrono::month wanted) { return date.month() == wanted; }
           ) &&
           any_or_empty(
               criteria.days_of_month, [&](const DayOfMonth& wanted) { return is_day(day, wanted); }
           ) &&
           any_or_empty(criteria.schedule_times, [&](const std::string& time) {
               return at_time_of_day(judge, time);
           });
}

bool matches(const Judge& judge, const TaggingCriteria& tag) {
    return tag.is_default ||
           std::any_of(tag.criteria.begin(), tag.criteria.end(), [&](const BackupCriteria& one) {
               return matches(judge, one);
           });
}

}  // namespace

std::string tag_for(const BackupPolicy& policy, const PointToTag& point, PointHistory history) {
    const BackupRule* rule = policy.find_backup_rule(point.rule_name);
    if (rule == nullptr || !rule->schedule) {
        return policy.default_retention_rule().name;
    }
    const Zone zone = rule->schedule->zone();
    const Judge judge{
        .zone = zone,
        .week_start = policy.week_start,
        .scheduled = point.scheduled,
        .local = zone.to_local(point.scheduled),
        .history = history,
    };
    const TaggingCriteria* best = nullptr;
    for (const TaggingCriteria& tag : rule->tagging) {
        if ((best == nullptr || tag.priority < best->priority) && matches(judge, tag)) {
            best = &tag;
        }
    }
    return best == nullptr ? policy.default_retention_rule().name : best->tag_name;
}

Instant history_needed_from(const BackupPolicy& policy, const PointToTag& point) {
    Instant from = point.scheduled;
    const BackupRule* rule = policy.find_backup_rule(point.rule_name);
    if (rule == nullptr || !rule->schedule) {
        return from;
    }
    const Zone zone = rule->schedule->zone();
    const LocalTime local = zone.to_local(point.scheduled);
    for (const TaggingCriteria& tag : rule->tagging) {
        for (const BackupCriteria& criteria : tag.criteria) {
            for (const AbsoluteMarker marker : criteria.absolute) {
                if (const auto start = period_start(marker, local, policy.week_start)) {
                    from = std::min(from, zone.to_instant(*start));
                }
            }
        }
    }
    return from;
}

}  // namespace holdfast::protection
