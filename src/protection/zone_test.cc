#include "protection/zone.h"

#include "base/clock.h"
#include "protection/testing/policies.h"
#include "protection/windows_zones.h"

#include <gtest/gtest.h>

namespace holdfast::protection {
namespace {

using testing::at;

TEST(Zone, AcceptsIanaWindowsAndOffsets) {
    struct Row {
        std::string_view given;
        std::string_view name;
    };
    for (const Row& row : {
             Row{"UTC", "UTC"},
             Row{"z", "UTC"},
             Row{"Etc/UTC", "UTC"},
             Row{"Europe/Berlin", "Europe/Berlin"},
             Row{" europe/berlin ", "Europe/Berlin"},
             Row{"W. Europe Standard Time", "Europe/Berlin"},
             Row{"pacific standard time", "America/Los_Angeles"},
             Row{"India Standard Time", "Asia/Calcutta"},
             Row{"Nepal Standard Time", "Asia/Katmandu"},
             Row{"+05:30", "+05:30"},
             Row{"-00:00", "UTC"},
             Row{"-08:00", "-08:00"},
         }) {
        const auto zone = Zone::find(row.given);
        ASSERT_TRUE(zone.has_value()) << row.given;
        EXPECT_EQ(zone->name(), row.name) << row.given;
    }
}

TEST(Zone, EveryWindowsNameHasItsZone) {
    for (const WindowsZone& row : windows_zones()) {
        EXPECT_TRUE(Zone::find(row.windows).has_value()) << row.windows;
    }
}

TEST(Zone, RefusesOtherTexts) {
    for (const std::string_view text :
         {"",
          " ",
          "Mars/Olympus",
          "Europe",
          "+5:30",
          "+15:00",
          "05:30",
          "+05:60",
          "../etc/passwd",
          "Standard Time"}) {
        EXPECT_FALSE(Zone::find(text).has_value()) << text;
    }
}

TEST(Zone, MovesForwardThroughAGapAndTakesTheFirstOfTwo) {
    const Zone berlin = Zone::find("Europe/Berlin").value();
    const auto local = [](std::string_view text) { return LocalTime{at(text).time_since_epoch()}; };
    EXPECT_EQ(berlin.to_instant(local("2026-03-29T02:30:00Z")), at("2026-03-29T01:30:00Z"));
    EXPECT_EQ(berlin.to_local(at("2026-03-29T01:30:00Z")), local("2026-03-29T03:30:00Z"));
    EXPECT_EQ(berlin.to_instant(local("2026-10-25T02:30:00Z")), at("2026-10-25T00:30:00Z"));
    EXPECT_EQ(berlin.to_instant(local("2026-01-15T12:00:00Z")), at("2026-01-15T11:00:00Z"));
}

TEST(Zone, KnowsDaylightSavingBeyondTheListedYears) {
    const Zone berlin = Zone::find("Europe/Berlin").value();
    for (const std::string_view year : {"2036", "2037", "2038", "2050", "2099"}) {
        const Instant summer = at(fmt::format("{}-07-01T10:00:00Z", year));
        const Instant winter = at(fmt::format("{}-01-10T10:00:00Z", year));
        EXPECT_EQ(
            berlin.to_local(summer).time_since_epoch() - summer.time_since_epoch(),
            std::chrono::hours{2}
        ) << year;
        EXPECT_EQ(
            berlin.to_local(winter).time_since_epoch() - winter.time_since_epoch(),
            std::chrono::hours{1}
        ) << year;
        EXPECT_EQ(berlin.to_instant(berlin.to_local(summer)), summer) << year;
    }
}

TEST(Zone, LaterYearsFollowTheLastRuleNotAnOlderOne) {
    // Brazil gave daylight saving up in 2019; Los Angeles changes on the second Sunday of March.
    const Zone sao_paulo = Zone::find("America/Sao_Paulo").value();
    EXPECT_EQ(
        sao_paulo.to_local(at("2040-01-10T12:00:00Z")),
        LocalTime{at("2040-01-10T09:00:00Z").time_since_epoch()}
    );
    const Zone los_angeles = Zone::find("America/Los_Angeles").value();
    for (const auto& [utc, local] : std::vector<std::pair<std::string_view, std::string_view>>{
             {"2040-03-11T09:59:59Z", "2040-03-11T01:59:59Z"},
             {"2040-03-11T10:00:00Z", "2040-03-11T03:00:00Z"},
             {"2056-11-05T08:59:59Z", "2056-11-05T01:59:59Z"},
             {"2056-11-05T09:00:00Z", "2056-11-05T01:00:00Z"},
             {"2101-03-13T10:00:00Z", "2101-03-13T03:00:00Z"},
         }) {
        EXPECT_EQ(los_angeles.to_local(at(utc)), LocalTime{at(local).time_since_epoch()}) << utc;
    }
}

}  // namespace
}  // namespace holdfast::protection
