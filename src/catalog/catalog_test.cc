#include "catalog/catalog.h"

#include "base/error.h"
#include "base/file.h"
#include "catalog/audit_chain.h"
#include "catalog/secret_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

namespace holdfast::catalog {
namespace {

const Instant kStart = *parse_instant("2026-01-02T03:04:05Z");

class CatalogTest : public testing::Test {
protected:
    FakeClock clock_{kStart};
    std::unique_ptr<Catalog> catalog_ = open_sqlite_catalog(":memory:", clock_);

    void add_job(const std::string& id, const std::string& status, std::chrono::minutes after) {
        catalog_->write([&](Transaction& transaction) {
            JobRecord job{
                .id = id, .vault_id = "/V/One", .instance_id = "/V/One/I", .status = status
            };
            job.created_at = kStart + after;
            transaction.put(job);
        });
    }
};

TEST_F(CatalogTest, KeepsEveryFieldOfARecord) {
    JobRecord job{.id = "J1", .vault_id = "/V", .user_triggered = false};
    job.started_at = kStart;
    job.request = {{"a", 1}};
    job.bytes_transferred = 1LL << 40;
    catalog_->write([&](Transaction& transaction) { transaction.put(job); });
    const auto found = catalog_->get<JobRecord>("j1");
    ASSERT_TRUE(found);
    EXPECT_EQ(Json(*found), Json(job));
    EXPECT_EQ(found->started_at, kStart);
    EXPECT_FALSE(found->ended_at);
    EXPECT_EQ(found->modified_at, kStart);
}

TEST_F(CatalogTest, ComparesIdsWithoutCaseAndKeepsTheFirstSpelling) {
    VaultRecord vault{.id = "/subscriptions/S/resourceGroups/RG/x/MyVault"};
    vault.subscription_id = "S";
    vault.resource_group = "RG";
    catalog_->write([&](Transaction& transaction) { transaction.put(vault); });
    const auto found = catalog_->get<VaultRecord>("/SUBSCRIPTIONS/s/resourcegroups/rg/X/myvault");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->id, vault.id);
    EXPECT_EQ(catalog_->list<VaultRecord>({.parent = resource_group_key("s", "rg")}).size(), 1U);
    EXPECT_EQ(catalog_->list<VaultRecord>({.parent_prefix = "/subscriptions/s/"}).size(), 1U);
    EXPECT_TRUE(catalog_->list<VaultRecord>({.parent_prefix = "/subscriptions/t/"}).empty());
}

TEST_F(CatalogTest, GivesEveryPutANewEtag) {
    PolicyRecord policy{.id = "/P", .vault_id = "/V"};
    catalog_->write([&](Transaction& transaction) { transaction.put(policy); });
    const std::string first = policy.etag;
    catalog_->write([&](Transaction& transaction) { transaction.put(policy); });
    EXPECT_FALSE(first.empty());
    EXPECT_NE(policy.etag, first);
}

TEST_F(CatalogTest, ReadsGoOnAfterOneThatThrew) {
    add_job("a", "Failed", std::chrono::minutes{0});
    EXPECT_THROW(
        catalog_->read([&](const View& view) {
            EXPECT_TRUE(view.get<JobRecord>("a"));
            throw Error{ErrorKind::kResourceNotFound, "nothing there"};
        }),
        Error
    );
    add_job("b", "Failed", std::chrono::minutes{1});
    // In the transaction of the read that threw, it would not be there.
    EXPECT_TRUE(catalog_->get<JobRecord>("b"));
}

TEST_F(CatalogTest, VisitorsMayAskTheSameAgain) {
    for (const char* id : {"a", "b", "c"}) {
        add_job(id, "Failed", std::chrono::minutes{0});
    }
    std::string seen;
    const Query query{.states = {"Failed"}};
    catalog_->read([&](const View& view) {
        view.each<JobRecord>(query, [&](const JobRecord& outer) {
            view.each<JobRecord>(query, [&](const JobRecord& inner) {
                seen += outer.id + view.get<JobRecord>(inner.id)->id + " ";
                return inner.id != "b";
            });
            return true;
        });
    });
    EXPECT_EQ(seen, "aa ab ba bb ca cb ");
}

TEST_F(CatalogTest, UndoesAWriteThatThrows) {
    EXPECT_THROW(
        catalog_->write([&](Transaction& transaction) {
            PolicyRecord policy{.id = "/P", .vault_id = "/V"};
            transaction.put(policy);
            transaction.set_setting("a", "b");
            throw Error{ErrorKind::kConflict, "no"};
        }),
        Error
    );
    EXPECT_FALSE(catalog_->get<PolicyRecord>("/P"));
    catalog_->read([](const View& view) { EXPECT_FALSE(view.setting("a")); });
}

TEST_F(CatalogTest, ListsInOrderByStateTimeAndPage) {
    using std::chrono::minutes;
    add_job("a", "Completed", minutes{1});
    add_job("b", "Failed", minutes{2});
    add_job("c", "Completed", minutes{3});
    add_job("d", "Queued", minutes{4});
    const auto ids = [&](const Query& query) {
        std::string out;
        for (const JobRecord& job : catalog_->list<JobRecord>(query)) {
            out += job.id;
        }
        return out;
    };
    EXPECT_EQ(ids({}), "abcd");
    EXPECT_EQ(ids({.order = Order::kNewestFirst}), "dcba");
    EXPECT_EQ(ids({.order = Order::kNewestFirst, .limit = 2, .offset = 1}), "cb");
    EXPECT_EQ(ids({.states = {"completed", "QUEUED"}}), "acd");
    EXPECT_EQ(
        ids({.parent = "/v/one", .from = kStart + minutes{2}, .until = kStart + minutes{4}}), "bc"
    );
    EXPECT_EQ(ids({.subject = "/v/ONE/i", .states = {"Failed"}}), "b");
    catalog_->read([](const View& view) {
        EXPECT_EQ(view.count<JobRecord>({.states = {"Completed"}}), 2);
    });
}

TEST_F(CatalogTest, GoesOnBehindAPlaceWhateverCameMeanwhile) {
    for (int i = 0; i < 6; ++i) {
        add_job("J" + std::to_string(i), "Completed", std::chrono::minutes{i / 2});
    }
    Query query{.parent = "/v/one", .order = Order::kNewestFirst, .limit = 2};
    std::vector<std::string> seen;
    for (int page = 0; page < 4; ++page) {
        for (const JobRecord& job : catalog_->list<JobRecord>(query)) {
            seen.push_back(job.id);
            query.after = place_of(job);
        }
        add_job("new" + std::to_string(page), "Completed", std::chrono::minutes{100 + page});
    }
    EXPECT_EQ(seen, (std::vector<std::string>{"J5", "J4", "J3", "J2", "J1", "J0"}));
}

TEST_F(CatalogTest, FindsJobsByWhatOnlyJobsHave) {
    catalog_->write([&](Transaction& transaction) {
        for (int i = 0; i < 4; ++i) {
            JobRecord job{.id = "J" + std::to_string(i), .vault_id = i < 2 ? "/V/One" : "/V/Two"};
            job.operation = i == 3 ? "Restore" : "Backup";
            job.user_triggered = i != 0;
            job.datasource_id = "/Servers/S" + std::to_string(i);
            job.datasource_type = "Microsoft.DBforPostgreSQL/flexibleServers";
            job.created_at = kStart + std::chrono::hours{i};
            if (i > 1) {
                job.started_at = kStart + std::chrono::hours{10 + i};
                job.ended_at = kStart + std::chrono::hours{20 + i};
            }
            transaction.put(job);
        }
    });
    using Column = JobCondition::Column;
    const auto found = [&](std::vector<JobCondition> conditions) {
        std::string names;
        for (const JobRecord& job :
             catalog_->list<JobRecord>({.job_conditions = std::move(conditions)})) {
            names += job.id;
        }
        return names;
    };
    EXPECT_EQ(found({{.column = Column::kActivity, .any_of = {"ondemandbackup"}}}), "J1J2");
    EXPECT_EQ(
        found({{.column = Column::kActivity, .any_of = {"ScheduledBackup", "Restore"}}}), "J0J3"
    );
    EXPECT_EQ(found({{.column = Column::kDatasource, .any_of = {"/SERVERS/s2"}}}), "J2");
    EXPECT_EQ(found({{.column = Column::kDatasourceType, .any_of = {"other"}}}), "");
    EXPECT_EQ(
        found({{.column = Column::kStarted, .later_than = kStart + std::chrono::hours{1}}}), "J2J3"
    );
    // A job that runs has no end: it is neither later nor sooner.
    EXPECT_EQ(
        found({{.column = Column::kEnded, .sooner_than = kStart + std::chrono::hours{23}}}), "J2"
    );
    EXPECT_EQ(
        catalog_->list<JobRecord>({.parents = std::vector<std::string>{"/v/TWO"}}).size(), 2U
    );
    EXPECT_TRUE(catalog_->list<JobRecord>({.parents = std::vector<std::string>{}}).empty());
    EXPECT_EQ(
        catalog_->list<JobRecord>({.order = Order::kNewestFirst, .limit = 1, .offset = 1})[0].id,
        "J2"
    );
}

TEST_F(CatalogTest, TellsOfChangedResourcesOnly) {
    int changes = 0;
    catalog_->on_resources_changed([&] { ++changes; });
    add_job("a", "Queued", std::chrono::minutes{0});
    catalog_->write([](Transaction& transaction) { transaction.append_audit({}); });
    EXPECT_EQ(changes, 0);
    catalog_->write([](Transaction& transaction) {
        PolicyRecord policy{.id = "/P", .vault_id = "/V"};
        transaction.put(policy);
    });
    EXPECT_EQ(changes, 1);
}

TEST_F(CatalogTest, NumbersTheAuditTrail) {
    for (const int status : {200, 403, 409}) {
        catalog_->write([&](Transaction& transaction) {
            transaction.append_audit({.at = clock_.now(), .path = "/x", .status = status});
        });
    }
    catalog_->read([](const View& view) {
        const auto newest = view.audit(std::nullopt, 2);
        ASSERT_EQ(newest.size(), 2U);
        EXPECT_EQ(newest[0].status, 409);
        const auto older = view.audit(newest[1].sequence, 10);
        ASSERT_EQ(older.size(), 1U);
        EXPECT_EQ(older[0].status, 200);
    });
}

TEST_F(CatalogTest, ChainsTheAuditTrail) {
    for (int i = 0; i < 5; ++i) {
        catalog_->write([&](Transaction& transaction) {
            transaction.append_audit({.at = clock_.now(), .path = "/\xff", .status = 200 + i});
        });
    }
    std::vector<AuditRecord> trail;
    catalog_->read([&](const View& view) { trail = view.audit_after(0, 100); });
    ASSERT_EQ(trail.size(), 5U);
    const auto check = [](const std::vector<AuditRecord>& records) {
        AuditChain chain;
        for (const AuditRecord& record : records) {
            chain.add(record);
        }
        return chain;
    };
    EXPECT_FALSE(check(trail).fault()) << *check(trail).fault();
    EXPECT_EQ(check(trail).head(), trail.back().hash);

    auto changed = trail;
    changed[2].status = 404;
    EXPECT_THAT(check(changed).fault().value_or(""), testing::HasSubstr("Record 3 "));
    auto removed = trail;
    removed.erase(removed.begin() + 1);
    EXPECT_THAT(check(removed).fault().value_or(""), testing::HasSubstr("between 1 and 3"));
    auto swapped = trail;
    std::swap(swapped[1], swapped[2]);
    EXPECT_TRUE(check(swapped).fault());
    auto rewritten = trail;
    rewritten[1].hash = audit_hash(trail[0].hash, rewritten[1]);
    rewritten[1].status = 1;
    EXPECT_TRUE(check(rewritten).fault());
    auto unhashed = trail;
    unhashed[3].hash.clear();
    EXPECT_TRUE(check(unhashed).fault());
}

TEST_F(CatalogTest, ImportsWhatItExported) {
    SubscriptionRecord subscription{.id = "s", .display_name = "Ü", .tenant_id = "t"};
    PolicyRecord policy{.id = "/P", .vault_id = "/V", .properties = {{"k", {1, 2}}}};
    catalog_->write([&](Transaction& transaction) {
        transaction.put(subscription);
        transaction.put(policy);
        transaction.set_setting("tenant", "t");
    });
    add_job("a", "Queued", std::chrono::minutes{0});
    const Json exported = catalog_->export_resources();
    const auto other = open_sqlite_catalog(":memory:", clock_);
    other->import_resources(exported);
    EXPECT_EQ(other->export_resources(), exported);
    EXPECT_FALSE(other->get<JobRecord>("a"));
    other->read([](const View& view) { EXPECT_EQ(view.setting("tenant"), "t"); });
    EXPECT_THROW(
        other->import_resources({{"schemaVersion", 999}, {"tables", Json::object()}}), Error
    );
}

TEST(CatalogFile, SurvivesReopeningAndIsPrivate) {
    const TemporaryDirectory directory{"holdfast-catalog"};
    FakeClock clock{kStart};
    const auto path = directory.path() / "catalog.sqlite";
    {
        const auto catalog = open_sqlite_catalog(path, clock);
        catalog->write([](Transaction& transaction) { transaction.set_setting("a", "b"); });
    }
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    const auto catalog = open_sqlite_catalog(path, clock);
    catalog->read([](const View& view) { EXPECT_EQ(view.setting("a"), "b"); });
}

TEST(CatalogFile, GivesOldJobsTheirNewColumns) {
    const TemporaryDirectory directory{"holdfast-catalog-test"};
    const auto path = directory.path() / "catalog.sqlite";
    FakeClock clock{kStart};
    {
        const auto catalog = open_sqlite_catalog(path, clock);
        catalog->write([&](Transaction& transaction) {
            JobRecord job{.id = "J1", .vault_id = "/V", .operation = "Backup"};
            job.user_triggered = false;
            job.created_at = kStart;
            transaction.put(job);
        });
    }
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
    // Back to version 1, as it was before jobs had these columns.
    ASSERT_EQ(
        sqlite3_exec(
            database,
            "DROP INDEX jobs_search; DROP INDEX jobs_count; DROP INDEX jobs_datasource; ALTER "
            "TABLE jobs DROP COLUMN activity;"
            "ALTER TABLE jobs DROP COLUMN datasource; ALTER TABLE jobs DROP COLUMN datasource_type;"
            "ALTER TABLE jobs DROP COLUMN started; ALTER TABLE jobs DROP COLUMN ended;"
            "DROP TABLE resource_guards; DROP TABLE guard_proxies; DROP TABLE guard_requests;"
            "DROP TABLE policy_versions; DROP TABLE signing_keys; DROP TABLE role_definitions;"
            "DROP TABLE alerts; DROP TABLE alert_mutes;"
            "PRAGMA user_version = 1;",
            nullptr,
            nullptr,
            nullptr
        ),
        SQLITE_OK
    );
    sqlite3_close(database);
    const auto catalog = open_sqlite_catalog(path, clock);
    const std::vector<JobCondition> conditions{
        {.column = JobCondition::Column::kActivity, .any_of = {"ScheduledBackup"}},
        {.column = JobCondition::Column::kStarted, .later_than = kStart - std::chrono::hours{1}},
    };
    EXPECT_EQ(catalog->list<JobRecord>({.job_conditions = conditions}).size(), 1U);
}

TEST(CatalogFile, RefusesANewerSchema) {
    const TemporaryDirectory directory{"holdfast-catalog"};
    FakeClock clock{kStart};
    const auto path = directory.path() / "catalog.sqlite";
    (void)open_sqlite_catalog(path, clock);
    sqlite3* raw = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &raw), SQLITE_OK);
    sqlite3_exec(raw, "PRAGMA user_version = 999", nullptr, nullptr, nullptr);
    sqlite3_close(raw);
    try {
        (void)open_sqlite_catalog(path, clock);
        FAIL() << "opened a catalog from the future";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kCatalogNewer);
    }
}

class SecretStoreTest : public CatalogTest {
protected:
    SecretStore secrets_{Secret{ByteSpan{kKey}}, clock_};

    SecretRecord set(const std::string& name, const std::string& value) {
        SecretRecord record;
        catalog_->write([&](Transaction& transaction) {
            record = secrets_.set(transaction, "KV", name, Secret{std::string_view{value}});
        });
        clock_.advance(std::chrono::seconds{1});
        return record;
    }
    Secret resolve(const std::string& uri) {
        Secret value;
        catalog_->read([&](const View& view) { value = secrets_.resolve(view, uri); });
        return value;
    }

    static inline const Bytes kKey = Bytes(32, std::byte{7});
};

TEST_F(SecretStoreTest, GivesBackTheNewestOrTheNamedVersion) {
    const SecretRecord first = set("db", "one");
    set("db", "two");
    EXPECT_EQ(resolve("https://kv.vault.localhost:8443/secrets/DB").expose_text(), "two");
    EXPECT_EQ(
        resolve("https://kv.vault.localhost/secrets/db/" + first.version).expose_text(), "one"
    );
    EXPECT_EQ(first.sealed.find("one"), std::string::npos);
    catalog_->read([&](const View& view) { EXPECT_EQ(secrets_.list(view, "kv").size(), 1U); });
}

TEST_F(SecretStoreTest, RefusesARowMovedToAnotherName) {
    SecretRecord record = set("db", "one");
    record.name = "other";
    EXPECT_THROW((void)secrets_.open(record), Error);
    const SecretStore stranger{Secret::random(32), clock_};
    record.name = "db";
    EXPECT_THROW((void)stranger.open(record), Error);
}

TEST_F(SecretStoreTest, RefusesUrisThatAreNotOfTheBuiltInStore) {
    for (const std::string uri :
         {"",
          "http://kv.x/secrets/a",
          "https://kv.x/secrets",
          "https://kv.x/keys/a",
          "https://kv.x/secrets/a/b/c",
          "file:///etc/passwd",
          "https://kv.x/secrets/a b",
          "secret:",
          "secret:../x"}) {
        try {
            (void)resolve(uri);
            FAIL() << uri;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kInvalidSecret) << uri;
        }
    }
    EXPECT_EQ(SecretStore::parse_uri("https://127.0.0.1:8443/secrets/a").store, "default");
    EXPECT_EQ(SecretStore::parse_uri("https://localhost:8443/secrets/a").store, "default");
    EXPECT_EQ(SecretStore::parse_uri("secret:a").name, "a");
}

TEST_F(SecretStoreTest, RemovesEveryVersion) {
    set("db", "one");
    set("db", "two");
    catalog_->write([&](Transaction& transaction) {
        EXPECT_TRUE(secrets_.remove(transaction, "kv", "DB"));
    });
    EXPECT_THROW((void)resolve("https://kv.x/secrets/db"), Error);
    catalog_->write([&](Transaction& transaction) {
        EXPECT_FALSE(secrets_.remove(transaction, "kv", "db"));
    });
}

TEST_F(SecretStoreTest, RefusesBadNamesAndHugeValues) {
    EXPECT_THROW(set("a b", "x"), Error);
    EXPECT_THROW(set("", "x"), Error);
    EXPECT_THROW(set("a", std::string(SecretStore::kValueSizeMax + 1, 'x')), Error);
}

}  // namespace
}  // namespace holdfast::catalog
