#include "protection/schedule.h"

#include "protection/testing/policies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::protection {
namespace {

using testing::at;
using testing::PolicySpec;

std::vector<std::string> runs(const PolicySpec& spec, std::string_view after, std::size_t count) {
    std::vector<std::string> out;
    for (const ScheduledRun& run : next_runs(testing::policy(spec), at(after), count)) {
        EXPECT_EQ(run.rule_name, "BackupWeekly");
        out.push_back(format_instant_seconds(run.scheduled));
    }
    return out;
}

using Times = std::vector<std::string>;

struct Case {
    std::string name;
    PolicySpec spec;
    std::string after;
    Times expected;
};

class ScheduleTable : public ::testing::TestWithParam<Case> {};

TEST_P(ScheduleTable, NextRuns) {
    const Case& row = GetParam();
    EXPECT_EQ(runs(row.spec, row.after, row.expected.size()), row.expected);
}

INSTANTIATE_TEST_SUITE_P(
    Dates,
    ScheduleTable,
    ::testing::Values(
        Case{
            "GuideSundayWednesdayFriday",
            {.intervals =
                 {"R/2021-08-15T22:00:00+00:00/P1W",
                  "R/2021-08-18T22:00:00+00:00/P1W",
                  "R/2021-08-20T22:00:00+00:00/P1W"}},
            "2026-01-01T00:00:00Z",
            {"2026-01-02T22:00:00Z",
             "2026-01-04T22:00:00Z",
             "2026-01-07T22:00:00Z",
             "2026-01-09T22:00:00Z"}
        },
        Case{
            "StartIsTheFirstRun",
            {.intervals = {"R/2026-02-28T23:30:00Z/P1D"}},
            "2020-01-01T00:00:00Z",
            {"2026-02-28T23:30:00Z", "2026-03-01T23:30:00Z"}
        },
        Case{
            "StrictlyAfter",
            {.intervals = {"R/2026-02-28T23:30:00Z/P1D"}},
            "2026-03-05T23:30:00Z",
            {"2026-03-06T23:30:00Z"}
        },
        Case{
            "LeapDay",
            {.intervals = {"R/2024-02-27T01:00Z/P1D"}},
            "2024-02-27T01:00:00Z",
            {"2024-02-28T01:00:00Z", "2024-02-29T01:00:00Z", "2024-03-01T01:00:00Z"}
        },
        Case{
            "SpringKeepsTheWallClock",
            {.intervals = {"R/2026-03-27T04:00:00+01:00/P1D"}, .time_zone = "Europe/Berlin"},
            "2026-03-27T12:00:00Z",
            {"2026-03-28T03:00:00Z", "2026-03-29T02:00:00Z", "2026-03-30T02:00:00Z"}
        },
        Case{
            "SpringGapMovesForward",
            {.intervals = {"R/2026-03-27T02:30:00+01:00/P1D"},
             .time_zone = "W. Europe Standard Time"},
            "2026-03-28T00:00:00Z",
            {"2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"}
        },
        Case{
            "AutumnTakesTheFirst",
            {.intervals = {"R/2026-10-20T02:30:00+02:00/P1D"}, .time_zone = "Europe/Berlin"},
            "2026-10-24T12:00:00Z",
            {"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}
        },
        Case{
            "WeeklyAcrossSpring",
            {.intervals = {"R/2026-03-22T02:30:00+01:00/P1W"}, .time_zone = "Europe/Berlin"},
            "2026-03-21T00:00:00Z",
            {"2026-03-22T01:30:00Z", "2026-03-29T01:30:00Z", "2026-04-05T00:30:00Z"}
        },
        Case{
            "HoursAreAbsolute",
            {.intervals = {"R/2026-03-28T18:00:00+01:00/PT6H"}, .time_zone = "Europe/Berlin"},
            "2026-03-28T12:00:00Z",
            {"2026-03-28T17:00:00Z",
             "2026-03-28T23:00:00Z",
             "2026-03-29T05:00:00Z",
             "2026-03-29T11:00:00Z"}
        },
        Case{
            "OffsetAloneIsFixed",
            {.intervals = {"R/2026-03-27T04:00:00+01:00/P1D"}, .time_zone = ""},
            "2026-03-28T00:00:00Z",
            {"2026-03-28T03:00:00Z", "2026-03-29T03:00:00Z", "2026-03-30T03:00:00Z"}
        },
        Case{
            "NoOffsetNoZoneIsUtc",
            {.intervals = {"R/2026-03-27T04:00:00/P1D"}, .time_zone = ""},
            "2026-03-27T00:00:00Z",
            {"2026-03-27T04:00:00Z"}
        },
        Case{
            "NoOffsetIsInTheZone",
            {.intervals = {"R/2026-07-01T04:00:00/P1D"}, .time_zone = "America/New_York"},
            "2026-07-01T00:00:00Z",
            {"2026-07-01T08:00:00Z"}
        },
        Case{
            "OffsetAsZone",
            {.intervals = {"R/2026-07-01T04:00:00/P1D"}, .time_zone = "+05:30"},
            "2026-06-30T00:00:00Z",
            {"2026-06-30T22:30:00Z"}
        },
        // The start is an instant: 06:30 UTC on Sunday is 23:30 on Saturday in Los Angeles, and
        // stays it.
        Case{
            "WeekdayIsTheZonesOwn",
            {.intervals = {"R/2021-08-15T06:30:00+00:00/P1W"}, .time_zone = "Pacific Standard Time"
            },
            "2026-01-01T00:00:00Z",
            {"2026-01-04T07:30:00Z", "2026-01-11T07:30:00Z"}
        },
        // Samoa had no 30 December 2011: its run moves forward onto the next day's, and both are
        // one.
        Case{
            "ASkippedDayGivesOneRun",
            {.intervals = {"R/2011-12-01T06:30:00-10:00/P1D"}, .time_zone = "Pacific/Apia"},
            "2011-12-29T00:00:00Z",
            {"2011-12-29T16:30:00Z", "2011-12-30T16:30:00Z", "2011-12-31T16:30:00Z"}
        },
        Case{
            "CoincidingIntervalsAreOneRun",
            {.intervals = {"R/2026-01-01T00:00:00Z/PT12H", "R/2026-01-01T00:00:00Z/P1D"}},
            "2026-01-05T12:00:00Z",
            {"2026-01-06T00:00:00Z", "2026-01-06T12:00:00Z", "2026-01-07T00:00:00Z"}
        },
        // 01:30 happens twice on that day and the start is the second: it is the first run all the
        // same.
        Case{
            "StartInTheSecondHalfOfAnOverlap",
            {.intervals = {"R/2026-11-01T01:30:00-05:00/P1D"}, .time_zone = "America/New_York"},
            "2026-10-01T00:00:00Z",
            {"2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"}
        }
    ),
    [](const auto& row) { return row.param.name; }
);

TEST(Schedule, PreviousRunIsTheLatestMissed) {
    const BackupPolicy policy =
        testing::policy({.intervals = {"R/2026-01-04T22:00:00Z/P1W", "R/2026-01-07T22:00:00Z/P1W"}}
        );
    EXPECT_FALSE(previous_run(policy, at("2026-01-04T21:59:59Z")).has_value());
    EXPECT_EQ(
        previous_run(policy, at("2026-01-04T22:00:00Z"))->scheduled, at("2026-01-04T22:00:00Z")
    );
    EXPECT_EQ(
        previous_run(policy, at("2026-02-03T00:00:00Z"))->scheduled, at("2026-02-01T22:00:00Z")
    );
    EXPECT_EQ(
        previous_run(policy, at("2026-02-06T00:00:00Z"))->scheduled, at("2026-02-04T22:00:00Z")
    );
}

TEST(Schedule, AcceptsTheGrammar) {
    for (const std::string_view text :
         {"R/2021-08-15T06:30:00+00:00/P1W",
          "R/2021-08-15T06:30:00Z/P1D",
          "R/2021-08-15T06:30/PT4H",
          "R/2021-08-15T06:30:00.123Z/PT12H",
          "R/2021-08-15T06:30:00.0000000+05:30/PT1H",
          "R/2021-08-15T06:30:00-03:30/PT24H"}) {
        std::string problem;
        EXPECT_TRUE(parse_repeating_interval(text, problem).has_value()) << text << ": " << problem;
    }
}

TEST(Schedule, RefusesEverythingElse) {
    for (const std::string_view text :
         {"",
          "R/banana+00:00/P1D",
          "2021-08-15T06:30:00Z/P1D",
          "R5/2021-08-15T06:30:00Z/P1D",
          "r/2021-08-15T06:30:00Z/P1D",
          "R/20210815T063000Z/P1D",
          "R/2021-08-15/P1D",
          "R/2021-08-15T06/P1D",
          "R/2021-08-15 06:30:00Z/P1D",
          "R/2021-02-29T06:30:00Z/P1D",
          "R/2021-13-01T06:30:00Z/P1D",
          "R/2021-08-15T24:00:00Z/P1D",
          "R/2021-08-15T06:60:00Z/P1D",
          "R/2021-08-15T06:30:60Z/P1D",
          "R/2021-08-15T06:30:00.Z/P1D",
          "R/2021-08-15T06:30:00+0000/P1D",
          "R/2021-08-15T06:30:00+15:00/P1D",
          "R/2021-08-15T06:30:00ZZ/P1D",
          "R/1969-08-15T06:30:00Z/P1D",
          "R/2021-08-15T06:30:00Z/P2W",
          "R/2021-08-15T06:30:00Z/P7D",
          "R/2021-08-15T06:30:00Z/P1M",
          "R/2021-08-15T06:30:00Z/PT0H",
          "R/2021-08-15T06:30:00Z/PT25H",
          "R/2021-08-15T06:30:00Z/PT-4H",
          "R/2021-08-15T06:30:00Z/PT30M",
          "R/2021-08-15T06:30:00Z/",
          "R/2021-08-15T06:30:00Z/P1W/"}) {
        std::string problem;
        EXPECT_FALSE(parse_repeating_interval(text, problem).has_value()) << text;
        EXPECT_THAT(problem, ::testing::HasSubstr("Allowed: R/<start>/<duration>")) << text;
    }
}

}  // namespace
}  // namespace holdfast::protection
