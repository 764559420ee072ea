#include "protection/simulate.h"

#include "protection/testing/policies.h"

#include <gtest/gtest.h>

namespace holdfast::protection {
namespace {

using testing::at;
using testing::PolicySpec;

TEST(Simulate, ShowsRunsWithTagAndExpiry) {
    const BackupPolicy policy = testing::policy(
        {.tags =
             {{.name = "Monthly",
               .criteria = {{"absoluteCriteria", {"FirstOfMonth"}}},
               .keep = "P1Y"}}}
    );
    const Simulation simulation = simulate(policy, at("2026-01-20T00:00:00Z"), 4);
    struct Row {
        std::string_view scheduled;
        std::string_view tag;
        std::string_view expires;
    };
    const std::vector<Row> expected{
        // Nothing is known of January's earlier runs: the first one seen counts as its first.
        {"2026-01-25T22:00:00Z", "Monthly", "2027-01-25T22:00:00Z"},
        {"2026-02-01T22:00:00Z", "Monthly", "2027-02-01T22:00:00Z"},
        {"2026-02-08T22:00:00Z", "Default", "2026-05-08T22:00:00Z"},
        {"2026-02-15T22:00:00Z", "Default", "2026-05-15T22:00:00Z"},
    };
    ASSERT_EQ(simulation.runs.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(simulation.runs[i].scheduled, at(expected[i].scheduled));
        EXPECT_EQ(simulation.runs[i].tag_name, expected[i].tag) << i;
        EXPECT_EQ(simulation.runs[i].expiry.expires, at(expected[i].expires)) << i;
    }
}

TEST(Simulate, CountsWhatIsHeld) {
    const BackupPolicy daily = testing::policy(
        {.intervals = {"R/2021-01-01T22:00:00Z/P1D"},
         .tags = {{.name = "Monthly", .criteria = {{"daysOfMonth", {{{"date", 1}}}}}, .keep = "P1Y"}
         },
         .keep = "P30D"}
    );
    const Simulation simulation = simulate(daily, at("2026-01-01T00:00:00Z"), 40);
    EXPECT_EQ(simulation.runs.at(0).held, 1U);
    EXPECT_EQ(simulation.runs.at(29).held, 30U);
    // 9 February: 29 of the last 30 days, and the first of both months for a year.
    EXPECT_EQ(simulation.runs.at(39).held, 31U);
    EXPECT_FALSE(simulation.steady_is_estimate);
    EXPECT_EQ(simulation.steady.by_tag.at("Monthly"), 12U);
    EXPECT_EQ(simulation.steady.by_tag.at("Default"), 30U);
    EXPECT_EQ(simulation.steady.total, 42U);
    ASSERT_FALSE(simulation.held.empty());
    EXPECT_EQ(simulation.held.front().at, at("2026-01-08T00:00:00Z"));
    EXPECT_EQ(simulation.held.front().total, 7U);
    EXPECT_TRUE(std::is_sorted(
        simulation.held.begin(),
        simulation.held.end(),
        [](const auto& a, const auto& b) { return a.at < b.at; }
    ));
}

TEST(Simulate, ExtrapolatesWhatIsTooFarToCount) {
    const BackupPolicy hourly =
        testing::policy({.intervals = {"R/2021-01-01T00:00:00Z/PT1H"}, .keep = "P50Y"});
    const Simulation simulation = simulate(hourly, at("2026-01-01T00:00:00Z"), 3);
    EXPECT_TRUE(simulation.steady_is_estimate);
    EXPECT_NEAR(static_cast<double>(simulation.steady.total), 50 * 365.25 * 24, 100);
}

TEST(Simulate, APolicyWithoutScheduleHoldsNothing) {
    Json json = testing::policy_json();
    json["policyRules"][0]["trigger"] = Json::parse(
        R"({"objectType":"AdhocBasedTriggerContext","taggingCriteria":{"tagInfo":{"tagName":"Default"}}})"
    );
    const Simulation simulation =
        simulate(parse_policy(json, "properties"), at("2026-01-01T00:00:00Z"), 10);
    EXPECT_TRUE(simulation.runs.empty());
    EXPECT_EQ(simulation.steady.total, 0U);
}

TEST(Simulate, RefusesTooMany) {
    EXPECT_THROW((void)simulate(testing::policy(), at("2026-01-01T00:00:00Z"), 10'001), Error);
}

TEST(Simulate, AnswersInJson) {
    const Json json = to_json(simulate(testing::policy(), at("2026-01-01T00:00:00Z"), 1));
    EXPECT_EQ(json["timeZone"], "UTC");
    EXPECT_EQ(
        json["runs"],
        Json::parse(
            R"([{"scheduledTime":"2026-01-04T22:00:00Z","ruleName":"BackupWeekly","retentionTagName":"Default",
          "expiryTime":"2026-04-04T22:00:00Z",
          "dataStores":[{"dataStoreType":"VaultStore","startTime":"2026-01-04T22:00:00Z","expiryTime":"2026-04-04T22:00:00Z"}],
          "recoveryPointsHeld":1}])"
        )
    );
    EXPECT_EQ(
        json["steadyState"]["recoveryPointsByTag"]["Default"], json["steadyState"]["recoveryPoints"]
    );
    EXPECT_EQ(json["steadyState"]["estimated"], false);
}

}  // namespace
}  // namespace holdfast::protection
