#include "protection/retention.h"
#include "protection/schedule.h"
#include "protection/simulate.h"
#include "protection/tagging.h"
#include "protection/testing/policies.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

// What must hold for every policy, whatever its dates. rapidcheck prints the seed of a failure;
// RC_PARAMS="seed=…" replays it.
namespace holdfast::protection {
namespace {

using std::chrono::minutes;
using testing::PolicySpec;

rc::Gen<std::string> any_zone() {
    return rc::gen::element<std::string>(
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Pacific/Apia",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Casablanca",
        "Pacific Standard Time",
        "+05:30",
        ""
    );
}

/// 2000 to 2060, on a full minute.
rc::Gen<Instant> any_instant() {
    return rc::gen::map(
        rc::gen::inRange<std::int64_t>(15'778'080, 47'336'400),
        [](std::int64_t minute) { return Instant{minutes{minute}}; }
    );
}

rc::Gen<std::string> any_interval() {
    return rc::gen::apply(
        [](Instant start, const std::string& step) {
            return fmt::format("R/{}/{}", format_instant_seconds(start), step);
        },
        any_instant(),
        rc::gen::element<std::string>("P1D", "P1W", "PT1H", "PT4H", "PT7H", "PT24H")
    );
}

rc::Gen<Json> any_criteria() {
    return rc::gen::element<Json>(
        Json{{"absoluteCriteria", {"FirstOfMonth"}}},
        Json{{"absoluteCriteria", {"FirstOfWeek", "FirstOfYear"}}},
        Json{{"absoluteCriteria", {"FirstOfDay"}}, {"daysOfTheWeek", {"Sunday", "Friday"}}},
        Json{{"weeksOfTheMonth", {"First", "Last"}}, {"daysOfTheWeek", {"Tuesday"}}},
        Json{{"daysOfMonth", {{{"date", 28}}, {{"isLast", true}}}}, {"monthsOfYear", {"February"}}},
        Json{{"scheduleTimes", {"2021-08-15T22:00:00Z"}}}
    );
}

PolicySpec any_spec() {
    PolicySpec spec;
    spec.intervals = *rc::gen::resize(
        5, rc::gen::nonEmpty(rc::gen::container<std::vector<std::string>>(any_interval()))
    );
    spec.time_zone = *any_zone();
    spec.keep = *rc::gen::element<std::string>("P1D", "P7D", "P3M", "P1Y6M");
    spec.tags = {
        {.name = "Monthly", .priority = 15, .criteria = *any_criteria(), .keep = "P10D"},
        {.name = "Yearly", .priority = 10, .criteria = *any_criteria(), .keep = "P2Y"},
    };
    return spec;
}

TEST(Properties, RunsAreIncreasingAndComplete) {
    EXPECT_TRUE(rc::check("next_runs", [] {
        const BackupPolicy policy = testing::policy(any_spec());
        const Instant from = *any_instant();
        const auto runs = next_runs(policy, from, 20);
        RC_ASSERT(runs.size() == 20U);
        RC_ASSERT(runs.front().scheduled > from);
        for (std::size_t i = 1; i < runs.size(); ++i) {
            RC_ASSERT(runs[i - 1].scheduled < runs[i].scheduled);
            // Asking again from in between finds the same run: no run is lost or invented by where
            // one starts.
            const Instant before = runs[i].scheduled - minutes{1};
            if (before >= runs[i - 1].scheduled) {
                RC_ASSERT(next_runs(policy, before, 1).front() == runs[i]);
                RC_ASSERT(*previous_run(policy, before) == runs[i - 1]);
            }
            RC_ASSERT(*previous_run(policy, runs[i].scheduled) == runs[i]);
        }
    }));
}

TEST(Properties, WallClockIsKept) {
    EXPECT_TRUE(rc::check("P1D and P1W", [] {
        const std::string step = *rc::gen::element<std::string>("P1D", "P1W");
        const Instant start = *any_instant();
        const std::string zone_name = *any_zone();
        const BackupPolicy policy = testing::policy(
            {.intervals = {fmt::format("R/{}/{}", format_instant_seconds(start), step)},
             .time_zone = zone_name}
        );
        const Zone zone = policy.backup_rules.front().schedule->zone();
        const auto time_of_day = [&](Instant at) {
            const LocalTime local = zone.to_local(at);
            return local - std::chrono::floor<std::chrono::days>(local);
        };
        for (const ScheduledRun& run : next_runs(policy, *any_instant(), 40)) {
            const bool same = time_of_day(run.scheduled) == time_of_day(start);
            // Else the wanted time does not exist on that day, and an hour earlier another offset
            // held.
            const auto offset = [&](Instant at) {
                return zone.to_local(at).time_since_epoch() - at.time_since_epoch();
            };
            RC_ASSERT(
                same || offset(run.scheduled) > offset(run.scheduled - std::chrono::hours{25})
            );
        }
    }));
}

TEST(Properties, ExpiryFollowsCreation) {
    EXPECT_TRUE(rc::check("expiry_of", [] {
        const BackupPolicy policy = testing::policy(any_spec());
        const Instant a = *any_instant();
        const Instant b = *any_instant();
        for (const RetentionRule& rule : policy.retention_rules) {
            const PointExpiry one = expiry_of(policy, rule.name, std::min(a, b));
            const PointExpiry two = expiry_of(policy, rule.name, std::max(a, b));
            RC_ASSERT(one.expires > std::min(a, b));
            // An older point never outlives a younger one of its tag by more than a clamped month
            // end.
            RC_ASSERT(one.expires <= two.expires + std::chrono::days{3});
        }
    }));
}

TEST(Properties, EveryTagHasARetentionRule) {
    EXPECT_TRUE(rc::check("tag_for", [] {
        const BackupPolicy policy = testing::policy(any_spec());
        std::vector<Instant> history;
        for (const ScheduledRun& run : next_runs(policy, *any_instant(), 30)) {
            const PointToTag point{.rule_name = run.rule_name, .scheduled = run.scheduled};
            const std::string tag = tag_for(policy, point, history);
            RC_ASSERT(policy.find_retention_rule(tag) != nullptr);
            // History before the point that history_needed_from() names is without influence.
            std::vector<Instant> enough;
            for (const Instant earlier : history) {
                if (earlier >= history_needed_from(policy, point)) {
                    enough.push_back(earlier);
                }
            }
            RC_ASSERT(tag_for(policy, point, enough) == tag);
            if (*rc::gen::arbitrary<bool>()) {  // It failed, else it is a predecessor.
                history.push_back(run.scheduled);
            }
        }
    }));
}

TEST(Properties, JsonRoundTrip) {
    EXPECT_TRUE(rc::check("parse_policy(to_json(p))", [] {
        const Json once = to_json(testing::policy(any_spec()));
        RC_ASSERT(to_json(parse_policy(once, "properties")) == once);
    }));
}

TEST(Properties, DamagedPoliciesAreRefusedNotSuffered) {
    EXPECT_TRUE(rc::check("parse_policy", [] {
        Json json = testing::policy_json(any_spec());
        const Json flat = json.flatten();
        const auto at = *rc::gen::inRange<std::size_t>(0, flat.size());
        const std::string pointer = std::next(flat.begin(), static_cast<std::ptrdiff_t>(at)).key();
        json[Json::json_pointer{pointer}] = *rc::gen::element<Json>(
            Json(nullptr),
            Json(-1),
            Json(1e300),
            Json("R//"),
            Json("\xff\xfe"),
            Json::array(),
            Json::object(),
            Json(true)
        );
        try {
            const BackupPolicy policy = parse_policy(json, "properties");
            (void)simulate(policy, Instant{}, 2);
        } catch (const Error& error) {
            RC_ASSERT(error.kind() == ErrorKind::kInvalidPolicy);
            RC_ASSERT(error.text().target.starts_with("properties"));
        }
    }));
}

TEST(Properties, SomethingGoodAlwaysRemains) {
    EXPECT_TRUE(rc::check("expirable", [] {
        const Instant now{std::chrono::days{20'000}};
        std::vector<PointFacts> points;
        const auto count = *rc::gen::inRange<std::size_t>(1, 12);
        bool any_good = false;
        for (std::size_t i = 0; i < count; ++i) {
            PointFacts point{.created = now - std::chrono::days{*rc::gen::inRange(0, 50)}};
            if (*rc::gen::arbitrary<bool>()) {
                point.expires = now + std::chrono::days{*rc::gen::inRange(-20, 20)};
            }
            point.good = *rc::gen::arbitrary<bool>();
            point.held = *rc::gen::arbitrary<bool>();
            any_good = any_good || point.good;
            points.push_back(point);
        }
        const auto state = static_cast<ProtectionState>(*rc::gen::inRange(0, 9));
        const auto verdicts = expirable(points, state, now);
        RC_ASSERT(verdicts.size() == points.size());
        bool good_left = false;
        for (std::size_t i = 0; i < count; ++i) {
            const bool removed = verdicts[i] == ExpiryVerdict::kRemove;
            good_left = good_left || (!removed && points[i].good);
            RC_ASSERT(
                !removed || (points[i].expires && *points[i].expires <= now && !points[i].held)
            );
        }
        RC_ASSERT(good_left || !any_good);
    }));
}

}  // namespace
}  // namespace holdfast::protection
