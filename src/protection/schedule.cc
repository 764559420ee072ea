#include "protection/schedule.h"

#include "base/error.h"
#include "base/text.h"
#include "protection/date_time.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace holdfast::protection {
namespace {

using std::chrono::days;
using std::chrono::hours;

constexpr std::int32_t kIntervalHoursMax = 24;

/// The runs of one interval, numbered from its start.
class Occurrences {
public:
    Occurrences(const Schedule& schedule, const RepeatingInterval& interval)
        : zone_{schedule.zone_of(interval)},
          frequency_{interval.frequency},
          step_{
              interval.frequency == Frequency::kHourly  ? hours{interval.hours}
              : interval.frequency == Frequency::kDaily ? hours{24}
                                                        : hours{168}
          } {
        // The start is an instant. It is read in its own offset, and its wall clock is then kept in
        // the policy's zone.
        const Zone written = interval.offset ? Zone::fixed(*interval.offset) : zone_;
        start_ = written.to_instant(interval.start);
        start_local_ = zone_.to_local(start_);
    }

    [[nodiscard]] Instant at(std::int64_t index) const {
        if (index == 0) {
            return start_;
        }
        if (frequency_ == Frequency::kHourly) {
            return start_ + step_ * index;
        }
        return zone_.to_instant(start_local_ + step_ * index);
    }

    /// The first index whose run is later than `instant`.
    [[nodiscard]] std::int64_t index_after(Instant instant) const {
        if (instant < start_) {
            return 0;
        }
        // Within a day or so of the truth, whatever the zone did in between.
        std::int64_t index = std::max<std::int64_t>(0, (instant - start_) / step_ - 2);
        while (at(index) <= instant) {
            ++index;
        }
        // Steps back over equal or later runs: a zone that skipped a day makes two runs coincide.
        while (index > 0 && at(index - 1) > instant) {
            --index;
        }
        return index;
    }

private:
    Zone zone_;
    Frequency frequency_;
    hours step_;
    Instant start_;
    LocalTime start_local_;
};

struct Stream {
    Occurrences occurrences;
    std::int64_t index;
    Instant next;
    const BackupRule* rule;

    void advance() {
        ++index;
        next = occurrences.at(index);
    }
};

std::vector<Stream> streams_after(const BackupPolicy& policy, Instant after) {
    std::vector<Stream> out;
    for (const BackupRule& rule : policy.backup_rules) {
        if (!rule.schedule) {
            continue;
        }
        for (const RepeatingInterval& interval : rule.schedule->intervals) {
            Occurrences occurrences{*rule.schedule, interval};
            const std::int64_t index = occurrences.index_after(after);
            const Instant next = occurrences.at(index);
            out.push_back({std::move(occurrences), index, next, &rule});
        }
    }
    return out;
}

std::optional<std::int32_t> parse_hours(std::string_view duration) {
    if (duration.size() < 4 || !duration.starts_with("PT") || !duration.ends_with('H')) {
        return std::nullopt;
    }
    const std::string_view digits = duration.substr(2, duration.size() - 3);
    std::int32_t count = 0;
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    if (fault != std::errc{} || end != digits.data() + digits.size() || count < 1 ||
        count > kIntervalHoursMax) {
        return std::nullopt;
    }
    return count;
}

constexpr std::string_view kIntervalAllowed =
    "R/<start>/<duration> with a start such as 2021-08-15T06:30:00+00:00 and one of the durations "
    "P1W, P1D, PT1H to PT24H";

}  // namespace

std::vector<ScheduledRun> next_runs(const BackupPolicy& policy, Instant after, std::size_t count) {
    std::vector<Stream> streams = streams_after(policy, after);
    std::vector<ScheduledRun> runs;
    while (runs.size() < count && !streams.empty()) {
        // min_element takes the first of equals: the policy's order of rules decides among runs at
        // one instant.
        const auto earliest =
            std::min_element(streams.begin(), streams.end(), [](const Stream& a, const Stream& b) {
                return a.next < b.next;
            });
        const Instant now = earliest->next;
        const BackupRule* rule = earliest->rule;
        runs.push_back({now, rule->name});
        for (Stream& stream : streams) {
            while (stream.rule == rule && stream.next <= now) {
                stream.advance();
            }
        }
    }
    return runs;
}

std::optional<ScheduledRun> previous_run(const BackupPolicy& policy, Instant at) {
    std::optional<ScheduledRun> latest;
    for (const Stream& stream : streams_after(policy, at)) {
        if (stream.index == 0) {
            continue;
        }
        const Instant before = stream.occurrences.at(stream.index - 1);
        if (!latest || before > latest->scheduled) {
            latest = ScheduledRun{before, stream.rule->name};
        }
    }
    return latest;
}

std::optional<RepeatingInterval> parse_repeating_interval(
    std::string_view text, std::string& problem
) {
    const auto refuse = [&](std::string what) -> std::optional<RepeatingInterval> {
        problem = fmt::format("{} Allowed: {}.", what, kIntervalAllowed);
        return std::nullopt;
    };
    const std::vector<std::string> parts = split(text, '/');
    if (parts.size() != 3) {
        return refuse(
            fmt::format("\"{}\" does not have three parts separated by \"/\".", clipped(text))
        );
    }
    if (parts[0] != "R") {
        return refuse(fmt::format(
            "\"{}\" must begin with \"R/\": a schedule repeats without end.", clipped(text)
        ));
    }
    const auto start = parse_date_time(parts[1]);
    if (!start) {
        return refuse(fmt::format("\"{}\" is not a start date with time of day.", clipped(parts[1]))
        );
    }
    RepeatingInterval interval{
        .text = std::string{text}, .start = start->local, .offset = start->offset
    };
    if (parts[2] == "P1W") {
        interval.frequency = Frequency::kWeekly;
    } else if (parts[2] == "P1D") {
        interval.frequency = Frequency::kDaily;
    } else if (const auto count = parse_hours(parts[2])) {
        interval.frequency = Frequency::kHourly;
        interval.hours = *count;
    } else {
        return refuse(
            fmt::format("\"{}\" is not an interval that a schedule can have.", clipped(parts[2]))
        );
    }
    return interval;
}

}  // namespace holdfast::protection
