#include "protection/tagging.h"

#include "protection/schedule.h"
#include "protection/testing/policies.h"

#include <gtest/gtest.h>

namespace holdfast::protection {
namespace {

using testing::at;
using testing::policy;
using testing::PolicySpec;

std::string tag(
    const BackupPolicy& policy,
    std::string_view scheduled,
    const std::vector<std::string_view>& earlier = {}
) {
    std::vector<Instant> history;
    for (const std::string_view text : earlier) {
        history.push_back(at(text));
    }
    return tag_for(policy, {.rule_name = "BackupWeekly", .scheduled = at(scheduled)}, history);
}

/// A daily policy with one tag "Match" for the criteria.
BackupPolicy daily(
    const Json& criteria, const std::string& zone = "UTC", const std::string& week_start = ""
) {
    return policy(PolicySpec{
        .intervals = {"R/2021-01-01T22:00:00+00:00/P1D"},
        .time_zone = zone,
        .tags = {{.name = "Match", .criteria = criteria}},
        .week_start = week_start,
    });
}

struct Row {
    std::string_view scheduled;
    bool matches;
};

void expect_rows(const BackupPolicy& policy, const std::vector<Row>& rows) {
    for (const Row& row : rows) {
        EXPECT_EQ(tag(policy, row.scheduled), row.matches ? "Match" : "Default") << row.scheduled;
    }
}

TEST(Tagging, DaysOfTheWeek) {
    expect_rows(
        daily({{"daysOfTheWeek", {"Sunday", "Friday"}}}),
        {{"2026-01-02T22:00:00Z", true},   // Friday
         {"2026-01-03T22:00:00Z", false},  // Saturday
         {"2026-01-04T22:00:00Z", true},   // Sunday
         {"2026-01-07T22:00:00Z", false}}
    );
}

TEST(Tagging, FieldsCombineWithAndMembersWithOr) {
    expect_rows(
        daily({{"weeksOfTheMonth", {"First", "Last"}}, {"daysOfTheWeek", {"Tuesday"}}}),
        {{"2026-03-03T22:00:00Z", true},  // first Tuesday
         {"2026-03-10T22:00:00Z", false},
         {"2026-03-24T22:00:00Z", false},  // fourth, not last: March has a fifth
         {"2026-03-31T22:00:00Z", true},
         {"2026-03-04T22:00:00Z", false},  // first week, Wednesday
         {"2026-02-24T22:00:00Z", true}}   // fourth and last
    );
}

TEST(Tagging, WeeksOfTheMonth) {
    expect_rows(
        daily({{"weeksOfTheMonth", {"Second", "Fourth"}}}),
        {{"2026-03-07T22:00:00Z", false},
         {"2026-03-08T22:00:00Z", true},
         {"2026-03-14T22:00:00Z", true},
         {"2026-03-15T22:00:00Z", false},
         {"2026-03-22T22:00:00Z", true},
         {"2026-03-28T22:00:00Z", true},
         {"2026-03-29T22:00:00Z", false}}
    );
}

TEST(Tagging, MonthsAndDaysOfTheMonth) {
    expect_rows(
        daily(
            {{"monthsOfYear", {"February", "June"}},
             {"daysOfMonth", {{{"date", 15}}, {{"isLast", true}}}}}
        ),
        {{"2026-02-15T22:00:00Z", true},
         {"2026-02-28T22:00:00Z", true},
         {"2024-02-28T22:00:00Z", false},  // a leap year's last is the 29th
         {"2024-02-29T22:00:00Z", true},
         {"2026-03-31T22:00:00Z", false},
         {"2026-06-30T22:00:00Z", true}}
    );
}

TEST(Tagging, ScheduleTimesCompareByTimeOfDay) {
    expect_rows(
        daily({{"scheduleTimes", {"2020-05-05T22:00:00Z"}}}),
        {{"2026-02-15T22:00:00Z", true},
         {"2026-02-15T21:00:00Z", false},
         {"2026-02-15T22:00:01Z", false}}
    );
}

TEST(Tagging, ScheduleTimesFollowARunThroughTheGap) {
    const BackupPolicy nightly = policy(PolicySpec{
        .intervals = {"R/2026-03-01T02:30:00+01:00/P1D", "R/2026-03-01T12:00:00+01:00/P1D"},
        .time_zone = "Europe/Berlin",
        .tags = {{.name = "Match", .criteria = {{"scheduleTimes", {"2026-03-01T02:30:00+01:00"}}}}},
    });
    int nights = 0;
    for (const ScheduledRun& run : next_runs(nightly, at("2026-03-27T00:00:00Z"), 8)) {
        nights += tag(nightly, format_instant_seconds(run.scheduled)) == "Match" ? 1 : 0;
    }
    EXPECT_EQ(nights, 4);
}

TEST(Tagging, FirstOfIsTheFirstSuccessful) {
    const BackupPolicy monthly = daily({{"absoluteCriteria", {"FirstOfMonth"}}});
    EXPECT_EQ(tag(monthly, "2026-03-01T22:00:00Z"), "Match");
    // The first one failed: it is not in the history, and the next gets the tag.
    EXPECT_EQ(tag(monthly, "2026-03-02T22:00:00Z", {"2026-02-28T22:00:00Z"}), "Match");
    EXPECT_EQ(
        tag(monthly, "2026-03-02T22:00:00Z", {"2026-02-28T22:00:00Z", "2026-03-01T22:00:00Z"}),
        "Default"
    );
    // A younger run that was quicker is no predecessor.
    EXPECT_EQ(tag(monthly, "2026-03-02T22:00:00Z", {"2026-03-03T22:00:00Z"}), "Match");
}

TEST(Tagging, PeriodsAreThoseOfTheZone) {
    // 22:00 UTC on 31 January is already February in Tokyo.
    const BackupPolicy tokyo = daily({{"absoluteCriteria", {"FirstOfMonth"}}}, "Asia/Tokyo");
    EXPECT_EQ(tag(tokyo, "2026-01-31T22:00:00Z", {"2026-01-30T22:00:00Z"}), "Match");
    EXPECT_EQ(tag(tokyo, "2026-02-01T22:00:00Z", {"2026-01-31T22:00:00Z"}), "Default");
    EXPECT_EQ(
        tag(daily({{"absoluteCriteria", {"FirstOfMonth"}}}),
            "2026-02-01T22:00:00Z",
            {"2026-01-31T22:00:00Z"}),
        "Match"
    );
}

TEST(Tagging, WeeksStartOnSundayUnlessToldOtherwise) {
    const Json criteria{{"absoluteCriteria", {"FirstOfWeek"}}};
    // Saturday 3, Sunday 4, Monday 5 January 2026.
    EXPECT_EQ(tag(daily(criteria), "2026-01-04T22:00:00Z", {"2026-01-03T22:00:00Z"}), "Match");
    EXPECT_EQ(tag(daily(criteria), "2026-01-05T22:00:00Z", {"2026-01-04T22:00:00Z"}), "Default");
    const BackupPolicy monday = daily(criteria, "UTC", "Monday");
    EXPECT_EQ(tag(monday, "2026-01-04T22:00:00Z", {"2026-01-03T22:00:00Z"}), "Default");
    EXPECT_EQ(tag(monday, "2026-01-05T22:00:00Z", {"2026-01-04T22:00:00Z"}), "Match");
}

TEST(Tagging, FirstOfDayAndYear) {
    const BackupPolicy day = daily({{"absoluteCriteria", {"FirstOfDay"}}});
    EXPECT_EQ(tag(day, "2026-01-04T10:00:00Z", {"2026-01-03T23:00:00Z"}), "Match");
    EXPECT_EQ(tag(day, "2026-01-04T10:00:00Z", {"2026-01-04T09:00:00Z"}), "Default");
    const BackupPolicy year = daily({{"absoluteCriteria", {"FirstOfYear"}}});
    EXPECT_EQ(tag(year, "2026-01-01T22:00:00Z", {"2025-12-31T22:00:00Z"}), "Match");
    EXPECT_EQ(tag(year, "2026-12-31T22:00:00Z", {"2026-01-01T22:00:00Z"}), "Default");
}

TEST(Tagging, AllBackupMatchesAlways) {
    EXPECT_EQ(
        tag(daily({{"absoluteCriteria", {"AllBackup"}}}),
            "2026-01-04T22:00:00Z",
            {"2026-01-04T00:00:00Z"}),
        "Match"
    );
}

TEST(Tagging, TheSmallestPriorityWins) {
    const BackupPolicy three = policy(PolicySpec{
        .intervals = {"R/2021-01-01T22:00:00Z/P1D"},
        .tags =
            {{.name = "Weekly", .priority = 20, .criteria = {{"absoluteCriteria", {"FirstOfWeek"}}}
             },
             {.name = "Monthly",
              .priority = 15,
              .criteria = {{"absoluteCriteria", {"FirstOfMonth"}}}},
             {.name = "Yearly", .priority = 10, .criteria = {{"absoluteCriteria", {"FirstOfYear"}}}}
            },
    });
    EXPECT_EQ(tag(three, "2023-01-01T22:00:00Z"), "Yearly");  // a Sunday: all three match
    EXPECT_EQ(tag(three, "2023-02-01T22:00:00Z", {"2023-01-31T22:00:00Z"}), "Monthly");
    EXPECT_EQ(tag(three, "2023-02-05T22:00:00Z", {"2023-02-04T22:00:00Z"}), "Weekly");
    EXPECT_EQ(tag(three, "2023-02-06T22:00:00Z", {"2023-02-05T22:00:00Z"}), "Default");
}

TEST(Tagging, HistoryReachesToTheStartOfTheLongestPeriod) {
    const BackupPolicy yearly = daily({{"absoluteCriteria", {"FirstOfYear"}}}, "Europe/Berlin");
    const PointToTag point{.rule_name = "BackupWeekly", .scheduled = at("2026-05-05T22:00:00Z")};
    EXPECT_EQ(history_needed_from(yearly, point), at("2025-12-31T23:00:00Z"));
    EXPECT_EQ(history_needed_from(policy(), point), point.scheduled);
}

TEST(Tagging, AnUnknownRuleGivesDefault) {
    EXPECT_EQ(
        tag_for(policy(), {.rule_name = "Gone", .scheduled = at("2026-01-04T22:00:00Z")}, {}),
        "Default"
    );
}

}  // namespace
}  // namespace holdfast::protection
