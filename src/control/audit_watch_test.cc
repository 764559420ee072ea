#include "control/audit_watch.h"

#include "alerts/outbox.h"
#include "base/file.h"
#include "base/log.h"
#include "catalog/alert_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

namespace holdfast::control {
namespace {

class AuditWatchTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { set_log_level(LogLevel::kError); }

    void write(int count) {
        catalog->write([&](catalog::Transaction& transaction) {
            for (int i = 0; i < count; ++i) {
                catalog::AuditRecord record;
                record.principal_id = "alice";
                record.action = "delete";
                (void)transaction.append_audit(record);
            }
        });
    }
    /// What somebody with access to the file does.
    void tamper(const std::string& sql) {
        sqlite3* database = nullptr;
        ASSERT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
        EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
        EXPECT_GT(sqlite3_changes(database), 0);
        sqlite3_close(database);
    }
    std::vector<catalog::AlertRecord> alerts_raised() {
        return catalog->list<catalog::AlertRecord>();
    }

    TemporaryDirectory directory{"holdfast-audit"};
    const std::filesystem::path file = directory.path() / "catalog.db";
    FakeClock clock{*parse_instant("2026-05-01T12:00:00Z")};
    std::unique_ptr<catalog::Catalog> catalog = catalog::open_sqlite_catalog(file, clock);
    alerts::Outbox outbox{alerts::OutboxSettings{}};
    AuditWatch watch{*catalog, clock, outbox};
};

TEST_F(AuditWatchTest, ASoundTrailIsQuiet) {
    EXPECT_FALSE(watch.look({}));
    write(1100);  // More than a page.
    EXPECT_FALSE(watch.look({}));
    write(1);
    EXPECT_FALSE(watch.look({}));
    EXPECT_FALSE(watch.look({}));
    clock.advance(AuditWatch::kWholeInterval);
    EXPECT_FALSE(watch.look({}));
    EXPECT_TRUE(alerts_raised().empty());
}

TEST_F(AuditWatchTest, FindsAChangedRecordWithTheDailyLook) {
    write(10);
    EXPECT_FALSE(watch.look({}));
    tamper("UPDATE audit SET document = replace(document, 'alice', 'mallory') WHERE sequence = 4");
    EXPECT_FALSE(watch.look({})) << "what was checked is not read every hour";
    clock.advance(AuditWatch::kWholeInterval);
    EXPECT_TRUE(watch.look({}));
    ASSERT_EQ(alerts_raised().size(), 1U);
    EXPECT_EQ(alerts_raised()[0].kind, "AuditChainBroken");
    EXPECT_TRUE(alerts_raised()[0].security);
    clock.advance(AuditWatch::kInterval);
    EXPECT_TRUE(watch.look({}));
    EXPECT_EQ(alerts_raised().size(), 1U) << "a state is told once a day";
}

TEST_F(AuditWatchTest, FindsARecordThatIsGone) {
    write(10);
    tamper("DELETE FROM audit WHERE sequence = 5");
    EXPECT_TRUE(watch.look({}));
}

TEST_F(AuditWatchTest, FindsAnEndThatIsGone) {
    write(10);
    EXPECT_FALSE(watch.look({}));
    tamper("DELETE FROM audit WHERE sequence >= 9");
    EXPECT_TRUE(watch.look({}));
}

}  // namespace
}  // namespace holdfast::control
