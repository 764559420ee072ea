#include "protection/retention.h"

#include "protection/testing/policies.h"

#include <gtest/gtest.h>

namespace holdfast::protection {
namespace {

using testing::at;
using testing::policy;
using testing::policy_json;

TEST(Duration, CalendarArithmetic) {
    struct Row {
        std::string_view from;
        std::string_view span;
        std::string_view to;
    };
    for (const Row& row : {
             Row{"2024-06-23T22:00:41Z", "P3M", "2024-09-23T22:00:41Z"},
             Row{"2026-01-31T22:00:00Z", "P1M", "2026-02-28T22:00:00Z"},
             Row{"2024-01-31T22:00:00Z", "P1M", "2024-02-29T22:00:00Z"},
             Row{"2026-01-31T22:00:00Z", "P3M", "2026-04-30T22:00:00Z"},
             Row{"2026-11-30T00:00:00Z", "P3M", "2027-02-28T00:00:00Z"},
             Row{"2024-02-29T12:00:00Z", "P1Y", "2025-02-28T12:00:00Z"},
             Row{"2024-02-29T12:00:00Z", "P4Y", "2028-02-29T12:00:00Z"},
             Row{"2026-03-28T22:00:00Z", "P1D", "2026-03-29T22:00:00Z"},
             Row{"2026-03-28T22:00:00Z", "P2W", "2026-04-11T22:00:00Z"},
             Row{"2026-12-31T23:59:59Z", "P7D", "2027-01-07T23:59:59Z"},
             Row{"2026-01-31T00:00:00Z", "P1M1D", "2026-03-01T00:00:00Z"},
             Row{"2026-01-15T00:00:00Z", "P10Y", "2036-01-15T00:00:00Z"},
             Row{"2026-01-15T00:00:00Z", "P1Y6M", "2027-07-15T00:00:00Z"},
         }) {
        const auto duration = parse_calendar_duration(row.span);
        ASSERT_TRUE(duration.has_value()) << row.span;
        EXPECT_EQ(format_instant_seconds(add(at(row.from), *duration)), row.to)
            << row.from << " + " << row.span;
    }
}

TEST(Duration, RefusesWhatIsNotWholeDays) {
    for (const std::string_view text :
         {"",
          "P",
          "3M",
          "P3",
          "P0D",
          "P-6M",
          "-P6M",
          "P+6M",
          "P6H",
          "PT6H",
          "P1DT6H",
          "P1.5M",
          "P6M3Y",
          "P3M ago",
          "P1000Y",
          "P101Y",
          "P99999999999999999999D",
          "P36526D",
          "PM",
          "P3 M"}) {
        EXPECT_FALSE(parse_calendar_duration(text).has_value()) << text;
    }
    EXPECT_EQ(parse_calendar_duration(" p3m ").value().text, "P3M");
    EXPECT_EQ(parse_calendar_duration("P12M"), parse_calendar_duration("P1Y"));
}

TEST(Retention, TheTagDecides) {
    const BackupPolicy two = policy({
        .tags =
            {{.name = "Monthly",
              .criteria = {{"absoluteCriteria", {"FirstOfMonth"}}},
              .keep = "P10Y"}},
        .keep = "P1Y",
    });
    const Instant made = at("2026-01-04T22:00:00Z");
    EXPECT_EQ(expiry_of(two, "Default", made).expires, at("2027-01-04T22:00:00Z"));
    EXPECT_EQ(expiry_of(two, "monthly", made).expires, at("2036-01-04T22:00:00Z"));
    EXPECT_EQ(expiry_of(two, "Gone", made).expires, at("2027-01-04T22:00:00Z"));
}

BackupPolicy with_archive(const Json& copy_after) {
    Json json = policy_json();
    const auto store = [](const char* name) {
        return Json{{"dataStoreType", name}, {"objectType", "DataStoreInfoBase"}};
    };
    Json& lifecycles = json["policyRules"][1]["lifecycles"];
    lifecycles[0]["targetDataStoreCopySettings"] = {
        {{"copyAfter", copy_after}, {"dataStore", store("ArchiveStore")}}
    };
    lifecycles.push_back(
        {{"deleteAfter", {{"duration", "P1Y"}, {"objectType", "AbsoluteDeleteOption"}}},
         {"sourceDataStore", store("ArchiveStore")}}
    );
    return parse_policy(json, "properties");
}

TEST(Retention, AStayCountsFromItsArrival) {
    const Instant made = at("2026-01-31T22:00:00Z");
    const PointExpiry moved =
        expiry_of(with_archive({{"objectType", "CopyOnExpiryOption"}}), "Default", made);
    ASSERT_EQ(moved.stays.size(), 2U);
    EXPECT_EQ(moved.stays[0].store, DataStoreType::kVaultStore);
    EXPECT_EQ(moved.stays[0].expires, at("2026-04-30T22:00:00Z"));
    EXPECT_EQ(moved.stays[1].store, DataStoreType::kArchiveStore);
    EXPECT_EQ(moved.stays[1].arrives, at("2026-04-30T22:00:00Z"));
    EXPECT_EQ(moved.expires, at("2027-04-30T22:00:00Z"));

    const PointExpiry copied =
        expiry_of(with_archive({{"objectType", "ImmediateCopyOption"}}), "Default", made);
    EXPECT_EQ(copied.expires, at("2027-01-31T22:00:00Z"));
    const PointExpiry later = expiry_of(
        with_archive({{"objectType", "CustomCopyOption"}, {"duration", "P1M"}}), "Default", made
    );
    EXPECT_EQ(later.stays[1].arrives, at("2026-02-28T22:00:00Z"));
    EXPECT_EQ(later.expires, at("2027-02-28T22:00:00Z"));
}

const Instant kNow = at("2026-06-01T00:00:00Z");

PointFacts point(int made_days_ago, int expired_days_ago) {
    return {
        .created = kNow - std::chrono::days{made_days_ago},
        .expires = kNow - std::chrono::days{expired_days_ago},
    };
}

using enum ExpiryVerdict;
using Verdicts = std::vector<ExpiryVerdict>;

TEST(Expirable, RemovesTheExpiredButNeverTheLastGood) {
    const std::vector<PointFacts> points{point(300, 200), point(200, 100), point(100, 1)};
    EXPECT_EQ(
        expirable(points, ProtectionState::kProtectionConfigured, kNow),
        (Verdicts{kRemove, kRemove, kLastGoodPoint})
    );
    EXPECT_EQ(
        expirable(
            points,
            ProtectionState::kProtectionConfigured,
            kNow,
            {.last_good_point = LastGoodPoint::kMayExpire}
        ),
        (Verdicts{kRemove, kRemove, kRemove})
    );
}

TEST(Expirable, AYoungerGoodPointFreesTheOlder) {
    EXPECT_EQ(
        expirable({point(100, 1), point(10, -80)}, ProtectionState::kProtectionConfigured, kNow),
        (Verdicts{kRemove, kNotExpired})
    );
}

TEST(Expirable, ADamagedPointIsNotTheLastGood) {
    std::vector<PointFacts> points{point(200, 100), point(100, 1)};
    points[1].good = false;
    EXPECT_EQ(
        expirable(points, ProtectionState::kProtectionError, kNow),
        (Verdicts{kLastGoodPoint, kRemove})
    );
    points[0].good = false;  // Nothing good is left: the latest may be all there is to rescue.
    EXPECT_EQ(
        expirable(points, ProtectionState::kProtectionError, kNow),
        (Verdicts{kRemove, kLastGoodPoint})
    );
}

TEST(Expirable, HeldAndUnknownStay) {
    std::vector<PointFacts> points{point(300, 200), point(200, 100), point(10, -5)};
    points[0].held = true;
    points[1].expires.reset();
    EXPECT_EQ(
        expirable(points, ProtectionState::kProtectionConfigured, kNow),
        (Verdicts{kHeld, kExpiryUnknown, kNotExpired})
    );
}

TEST(Expirable, StatesAndClock) {
    const std::vector<PointFacts> points{point(200, 100), point(100, 1)};
    for (const ProtectionState frozen :
         {ProtectionState::kProtectionStopped,
          ProtectionState::kSoftDeleting,
          ProtectionState::kSoftDeleted}) {
        EXPECT_EQ(expirable(points, frozen, kNow), (Verdicts{kFrozen, kFrozen}));
    }
    // Suspended: the latest is kept forever, override or not.
    EXPECT_EQ(
        expirable(
            points,
            ProtectionState::kBackupsSuspended,
            kNow,
            {.last_good_point = LastGoodPoint::kMayExpire}
        ),
        (Verdicts{kRemove, kLastGoodPoint})
    );
    EXPECT_EQ(
        expirable(
            points, ProtectionState::kProtectionConfigured, kNow, {.clock = ClockTrust::kSuspect}
        ),
        (Verdicts{kClockSuspect, kClockSuspect})
    );
}

TEST(Expirable, ExpiryIsReachedAtItsInstant) {
    EXPECT_EQ(
        expirable({point(100, 0), point(1, -10)}, ProtectionState::kProtectionConfigured, kNow),
        (Verdicts{kRemove, kNotExpired})
    );
    EXPECT_TRUE(expirable({}, ProtectionState::kProtectionConfigured, kNow).empty());
}

}  // namespace
}  // namespace holdfast::protection
