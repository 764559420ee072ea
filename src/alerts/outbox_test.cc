#include "alerts/outbox.h"

#include "base/error.h"
#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::alerts {
namespace {

using catalog::AlertRecord;

class OutboxTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { set_log_level(LogLevel::kError); }

    void raise(const Event& event, const OutboxSettings& settings = {.channels = {"hook"}}) {
        const Outbox outbox{settings};
        catalog->write([&](catalog::Transaction& transaction) {
            outbox.raise_in(transaction, event);
        });
    }
    std::vector<AlertRecord> all() { return catalog->list<AlertRecord>(); }

    FakeClock clock{*parse_instant("2026-05-01T12:00:00Z")};
    std::unique_ptr<catalog::Catalog> catalog = catalog::open_sqlite_catalog(":memory:", clock);
    const Event failed{
        .kind = Kind::kJobFailed, .scope = "/vaults/v/instances/i", .message = "It failed."
    };
};

TEST_F(OutboxTest, CountsTheSameWithinTheWindow) {
    raise(failed);
    clock.advance(std::chrono::minutes{59});
    Event again = failed;
    again.scope = "/VAULTS/v/instances/I";  // Ids have no case.
    raise(again);
    ASSERT_EQ(all().size(), 1U);
    EXPECT_EQ(all()[0].count, 2);
    EXPECT_EQ(all()[0].last_at - all()[0].created_at, std::chrono::minutes{59});

    clock.advance(std::chrono::minutes{1});
    raise(failed);
    ASSERT_EQ(all().size(), 2U);
    EXPECT_EQ(all()[1].count, 1);
    EXPECT_EQ(all()[1].earlier_unsent, 2) << "nobody has been told of the first two";
}

TEST_F(OutboxTest, TellsOtherEventsApart) {
    raise(failed);
    Event other = failed;
    other.subject = "Restore";
    raise(other);
    other.scope = "/vaults/v/instances/j";
    raise(other);
    EXPECT_EQ(all().size(), 3U);
}

TEST_F(OutboxTest, AStandingStateIsWrittenOnceADay) {
    Event standing = failed;
    standing.kind = Kind::kNoGoodPoint;
    standing.repeat = Repeat::kStandsFor;
    raise(standing);
    const std::string etag = all()[0].etag;
    clock.advance(std::chrono::hours{23});
    raise(standing);
    EXPECT_EQ(all()[0].etag, etag);
    EXPECT_EQ(all()[0].count, 1);
    clock.advance(std::chrono::hours{1});
    raise(standing);
    EXPECT_EQ(all().size(), 2U);
}

TEST_F(OutboxTest, AClockThatWentBackSilencesNothing) {
    raise(failed);
    clock.set(clock.now() - std::chrono::hours{48});
    raise(failed);
    EXPECT_EQ(all().size(), 2U);
}

TEST_F(OutboxTest, AnUndoneChangeIsNotTold) {
    const Outbox outbox{{.channels = {"hook"}}};
    EXPECT_THROW(
        catalog->write([&](catalog::Transaction& transaction) {
            outbox.raise_in(transaction, failed);
            throw Error{ErrorKind::kConflict, "Undone."};
        }),
        Error
    );
    EXPECT_TRUE(all().empty());
}

TEST_F(OutboxTest, MutedAlertsAreKeptAndNotSent) {
    raise(failed, {.muted = {"jobfailed"}, .channels = {"hook"}});
    ASSERT_EQ(all().size(), 1U);
    EXPECT_EQ(all()[0].state, kMuted);
    EXPECT_TRUE(all()[0].deliveries.empty());
    EXPECT_EQ(all()[0].details["mutedBy"], "alerts.mute");
}

TEST_F(OutboxTest, ARuleHoldsBelowItsScopeAndUntilItsEnd) {
    catalog->write([&](catalog::Transaction& transaction) {
        catalog::AlertMuteRecord rule;
        rule.id = "night";
        rule.kind = "JobFailed";
        rule.scope = "/vaults/v";
        rule.until = clock.now() + std::chrono::hours{8};
        rule.created_at = clock.now();
        transaction.put(rule);
    });
    raise(failed);
    clock.advance(std::chrono::seconds{1});  // Listed by time.
    Event elsewhere = failed;
    elsewhere.scope = "/vaults/v2";
    raise(elsewhere);
    clock.advance(std::chrono::hours{8});
    raise(failed);
    ASSERT_EQ(all().size(), 3U);
    EXPECT_EQ(all()[0].state, kMuted);
    EXPECT_EQ(all()[1].state, kPending) << "/vaults/v2 does not lie below /vaults/v";
    EXPECT_EQ(all()[2].state, kPending) << "the rule is over";
}

TEST_F(OutboxTest, SecurityCannotBeMuted) {
    for (const KindTraits& kind : all_kinds()) {
        if (kind.concern == Concern::kSecurity) {
            EXPECT_THROW((void)require_mutable(kind.name, "kind"), Error) << kind.name;
        } else {
            EXPECT_EQ(require_mutable(kind.name, "kind").kind, kind.kind);
        }
    }
    EXPECT_THROW((void)require_mutable("Nothing", "kind"), Error);
    // Also a rule that came into the catalog some other way.
    catalog->write([&](catalog::Transaction& transaction) {
        catalog::AlertMuteRecord rule;
        rule.id = "sly";
        rule.kind = "GuardRemoved";
        rule.created_at = clock.now();
        transaction.put(rule);
    });
    Event event = failed;
    event.kind = Kind::kGuardRemoved;
    raise(event, {.muted = {"GuardRemoved"}, .channels = {"hook"}});
    EXPECT_EQ(all()[0].state, kPending);
}

TEST_F(OutboxTest, AFullOutboxCountsInOneAlert) {
    const Outbox outbox{{.channels = {"hook"}}};
    catalog->write([&](catalog::Transaction& transaction) {
        for (int i = 0; i < Outbox::kPendingMax; ++i) {
            AlertRecord waiting;
            waiting.id = std::to_string(i);
            waiting.kind = "JobFailed";
            waiting.created_at = clock.now();
            transaction.put(waiting);
        }
        for (int i = 0; i < 5; ++i) {
            Event event = failed;
            event.subject = std::to_string(i);
            outbox.raise_in(transaction, event);
        }
        Event security = failed;
        security.kind = Kind::kGuardRemoved;
        outbox.raise_in(transaction, security);
    });
    std::int64_t failures = 0;
    std::int64_t suppressed = 0;
    std::int64_t guards = 0;
    for (const AlertRecord& record : all()) {
        failures += record.kind == "JobFailed" ? 1 : 0;
        suppressed += record.kind == "AlertsSuppressed" ? record.count : 0;
        guards += record.kind == "GuardRemoved" ? 1 : 0;
    }
    EXPECT_EQ(failures, Outbox::kPendingMax);
    EXPECT_EQ(suppressed, 5);
    EXPECT_EQ(guards, 1) << "security has more room";
}

TEST_F(OutboxTest, LongMessagesAreCutBetweenCharacters) {
    Event event = failed;
    for (int i = 0; i < 3000; ++i) {
        event.message += "ü";
    }
    raise(event);
    EXPECT_LT(all()[0].message.size(), 4010U);
    EXPECT_NO_THROW((void)Json(all()[0].message).dump());
}

}  // namespace
}  // namespace holdfast::alerts
