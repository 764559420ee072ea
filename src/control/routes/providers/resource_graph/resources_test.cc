#include "control/routes/testing/api_fixture.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>

namespace holdfast::control {
namespace {

using testing::HasSubstr;

struct Filter;

class ResourceGraph : public ApiFixture {
protected:
    void SetUp() override { protect(); }
    void add_jobs(int count, int first = 0);
    void expect_every_combination(const std::string& query, const std::vector<Filter>& filters);
    Answer ask(const std::string& query, Json options = nullptr, const std::string& who = "owner") {
        return call(
            "POST",
            "/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01",
            Json{
                {"subscriptions", Json::array({kSubscription})},
                {"query", query},
                {"options", std::move(options)}
            },
            {},
            who
        );
    }
};

void ResourceGraph::add_jobs(int count, int first) {
    catalog().write([&](catalog::Transaction& transaction) {
        for (int i = first; i < first + count; ++i) {
            catalog::JobRecord job;
            job.id = fmt::format("job-{:05}", i);
            job.vault_id = vault();
            job.instance_id = vault() + "/backupInstances/BI";
            job.datasource_id = server() + "/databases/empdb11";
            job.datasource_type = "Microsoft.DBforPostgreSQL/flexibleServers";
            job.operation = i % 3 == 0 ? "Restore" : "Backup";
            job.user_triggered = i % 2 == 0;
            const std::array<const char*, 4> states{"Completed", "Failed", "InProgress", "Queued"};
            job.status = states[static_cast<std::size_t>(i) % states.size()];
            job.created_at =
                *parse_instant("2026-01-01T00:00:00Z") + std::chrono::minutes{10 * (i % 50)};
            if (job.status != "Queued") {
                job.started_at = job.created_at + std::chrono::minutes{1};
            }
            if (i % 4 < 2) {
                job.ended_at = job.created_at + std::chrono::minutes{5};
            }
            transaction.put(job);
        }
    });
}

const std::string kInstances =
    "RecoveryServicesResources | where type =~ "
    "'microsoft.dataprotection/backupvaults/backupinstances'"
    "| extend vaultName = split(split(id, '/Microsoft.DataProtection/backupVaults/')[1],'/')[0]"
    "| extend protectionState = properties.currentProtectionState"
    "| extend datasourceId = properties.dataSourceInfo.resourceID";
const std::string kJobs =
    "RecoveryServicesResources | where type =~ 'microsoft.dataprotection/backupvaults/backupjobs'"
    "| extend vaultName = properties.vaultName| extend status = properties.status"
    "| extend operation = case( tolower(properties.operationCategory) startswith 'backup' and "
    "properties.isUserTriggered == 'true', strcat('OnDemand',properties.operationCategory), "
    "tolower(properties.operationCategory) startswith 'backup' and properties.isUserTriggered == "
    "'false', strcat('Scheduled', properties.operationCategory), type =~ "
    "'microsoft.dataprotection/backupVaults/backupJobs', properties.operationCategory, 'Invalid')"
    "| extend datasourceId = properties.dataSourceId";

TEST_F(ResourceGraph, FindsVaultsInstancesAndJobs) {
    const Answer vaults =
        ask("resources | where type =~ 'microsoft.dataprotection/backupvaults'"
            " | where resourceGroup in~ ('RG') | where name in~ ('testbkpvault')");
    ASSERT_EQ(vaults.status, 200) << vaults.body.dump();
    EXPECT_EQ(vaults.body["count"], 1);
    EXPECT_EQ(vaults.body["resultTruncated"], "false");
    EXPECT_EQ(vaults.body["data"][0]["type"], "microsoft.dataprotection/backupvaults");
    EXPECT_EQ(vaults.body["data"][0]["tenantId"], kTenant);

    const Answer instances =
        ask(kInstances +
            " | where properties.dataSourceInfo.datasourceType in~ "
            "('Microsoft.DBforPostgreSQL/flexibleServers') | where vaultName in~ ('TestBkpVault')"
            " | where protectionState in~ ('ProtectionConfigured')");
    ASSERT_EQ(instances.body["data"].size(), 1U) << instances.body.dump();
    EXPECT_EQ(instances.body["data"][0]["vaultName"], "TestBkpVault");

    ASSERT_EQ(
        post(
            vault() + "/backupInstances/BI/backup",
            {{"backupRuleOptions", {{"ruleName", "BackupWeekly"}}}}
        ).status,
        202
    );
    EXPECT_EQ(ask(kJobs + " | where status in~ ('Completed')").body["count"], 0);
    EXPECT_EQ(ask(kJobs + " | where status in~ ('Nonsense')").body["count"], 0);
    EXPECT_EQ(
        ask(kJobs + " | where operation in~ ('OnDemandBackup') | where status in~ ('InProgress')")
            .body["count"],
        1
    );
    run_jobs();
    const Answer done = ask(kJobs + " | where status in~ ('Completed')");
    ASSERT_EQ(done.body["count"], 1);
    EXPECT_EQ(done.body["data"][0]["operation"], "OnDemandBackup");
    EXPECT_TRUE(done.body["data"][0]["properties"]["extendedInfo"].is_object());
    EXPECT_EQ(ask(kJobs, nullptr, "stranger").body["count"], 0);
}

TEST_F(ResourceGraph, AnythingElseIsAnErrorWithItsPlace) {
    for (const char* query :
         {"", "SecurityResources", "resources | mv-expand id", "resources | where nme == 'x'"}) {
        const Answer answer = ask(query);
        EXPECT_EQ(answer.status, 400) << query;
        EXPECT_EQ(answer.code(), "BadRequest") << query;
        EXPECT_THAT(answer.body["error"]["message"].get<std::string>(), HasSubstr("character"));
        EXPECT_FALSE(answer.body["error"]["details"].empty());
    }
    EXPECT_EQ(ask("resources", {{"resultFormat", "xml"}}).status, 400);
    EXPECT_EQ(ask("resources", {{"$top", 0}}).status, 400);
}

TEST_F(ResourceGraph, AnswersAsATable) {
    const Answer answer =
        ask("resources | project name, n = type", Json{{"resultFormat", "table"}});
    ASSERT_EQ(answer.status, 200) << answer.body.dump();
    EXPECT_EQ(
        answer.body["data"]["rows"].dump(),
        R"([["microsoft.dataprotection/backupvaults","TestBkpVault"]])"
    );
    EXPECT_EQ(answer.body["data"]["columns"][1]["name"], "name");
}

/// One optional flag of a `list-from-resourcegraph` command: what it adds to the text, and which
/// rows it means.
struct Filter {
    std::string text;
    std::function<bool(const Json& row)> means;
};

bool is_any(const Json& value, std::initializer_list<std::string_view> words) {
    return value.is_string() &&
           std::any_of(words.begin(), words.end(), [&](std::string_view word) {
               return equal_ignoring_case(value.get_ref<const std::string&>(), word);
           });
}

std::string shout(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return text;
}

bool is_later(const Json& value, std::string_view than) {
    // Texts of one form, so their order is that of the times.
    return value.is_string() && value.get_ref<const std::string&>() > than;
}

/// Every subset of `filters`, in the order in which the client writes them, must leave what they
/// mean.
void ResourceGraph::expect_every_combination(
    const std::string& query, const std::vector<Filter>& filters
) {
    const Json all = ask(query).body["data"];
    ASSERT_FALSE(all.empty());
    std::size_t answers_with_rows = 0;
    for (std::size_t subset = 0; subset < (std::size_t{1} << filters.size()); ++subset) {
        std::string text = query;
        Json expected = all;
        for (std::size_t i = 0; i < filters.size(); ++i) {
            if ((subset >> i & 1U) != 0) {
                text += filters[i].text;
                std::erase_if(expected.get_ref<Json::array_t&>(), [&](const Json& row) {
                    return !filters[i].means(row);
                });
            }
        }
        const Answer answer = ask(text);
        ASSERT_EQ(answer.status, 200) << text << answer.body.dump();
        ASSERT_EQ(answer.body["data"], expected) << text;
        ASSERT_EQ(answer.body["totalRecords"], expected.size()) << text;
        answers_with_rows += expected.empty() ? 0U : 1U;
    }
    EXPECT_GT(answers_with_rows, std::size_t{1} << (filters.size() - 1));
}

TEST_F(ResourceGraph, AnswersEveryCombinationOfFiltersOfJobs) {
    add_jobs(16);
    expect_every_combination(
        kJobs,
        {{" | where properties.dataSourceType in~ ('Microsoft.DBforPostgreSQL/flexibleServers')",
          [](const Json& row) {
              return is_any(
                  row["properties"]["dataSourceType"], {"Microsoft.DBforPostgreSQL/flexibleServers"}
              );
          }},
         {" | where resourceGroup in~ ('RG','other')",
          [](const Json& row) { return is_any(row["resourceGroup"], {"rg", "other"}); }},
         {" | where vaultName in~ ('testbkpvault')",
          [](const Json& row) { return is_any(row["vaultName"], {"TestBkpVault"}); }},
         {" | where operation in~ ('OnDemandBackup')",
          [](const Json& row) { return row["operation"] == "OnDemandBackup"; }},
         {" | where status in~ ('Completed','Failed')",
          [](const Json& row) { return is_any(row["status"], {"Completed", "Failed"}); }},
         {" | where datasourceId in~ ('" + shout(server()) + "/databases/EMPDB11')",
          [this](const Json& row) {
              return is_any(row["datasourceId"], {server() + "/databases/empdb11"});
          }},
         {"| where properties.startTime > datetime(2026-01-01T02:00:00Z)",
          [](const Json& row) {
              return is_later(row["properties"]["startTime"], "2026-01-01T02:00:00.0000000Z");
          }},
         {"| where properties.endTime > datetime(2026-01-01T01:00:00Z)",
          [](const Json& row) {
              return is_later(row["properties"]["endTime"], "2026-01-01T01:00:00.0000000Z");
          }}}
    );
}

TEST_F(ResourceGraph, AnswersEveryCombinationOfFiltersOfInstances) {
    ASSERT_EQ(put(vault() + "/backupInstances/OTHER", instance_body("app")).status, 201);
    ASSERT_EQ(post(vault() + "/backupInstances/BI/stopProtection").status, 202);
    expect_every_combination(
        kInstances,
        {{" | where properties.dataSourceInfo.datasourceType in~ "
          "('Microsoft.DBforPostgreSQL/flexibleServers')",
          [](const Json&) { return true; }},
         {" | where resourceGroup in~ ('rg')", [](const Json&) { return true; }},
         {" | where vaultName in~ ('TESTBKPVAULT')", [](const Json&) { return true; }},
         {" | where protectionState in~ ('ProtectionStopped')",
          [](const Json& row) { return row["protectionState"] == "ProtectionStopped"; }},
         {" | where datasourceId in~ ('" + server() + "/databases/empdb11')",
          [](const Json& row) { return row["name"] == "BI"; }},
         {" | where id in~ ('" + shout(vault()) + "/backupInstances/bi','/x')",
          [](const Json& row) { return row["name"] == "BI"; }},
         {" | where name in~ ('bi')", [](const Json& row) { return row["name"] == "BI"; }}}
    );
}

TEST_F(ResourceGraph, AnswersEveryCombinationOfFiltersOfVaults) {
    make_vault("Second");
    expect_every_combination(
        "resources | where type =~ 'microsoft.dataprotection/backupvaults'",
        {{" | where resourceGroup in~ ('a','RG')", [](const Json&) { return true; }},
         {" | where name in~ ('second')", [](const Json& row) { return row["name"] == "Second"; }},
         {" | where id in~ ('" + shout(vault("Second")) + "')",
          [](const Json& row) { return row["name"] == "Second"; }}}
    );
}

/// Both ways to find jobs: the catalog's, and the row by row that everything else takes.
TEST_F(ResourceGraph, FindsTheSameJobsInTheCatalogAndByHand) {
    add_jobs(60);
    const std::string by_hand = " | where strcat(name, '') != ''";
    const std::vector<std::string> filters{
        "",
        " | where properties.dataSourceType in~ ('microsoft.dbforpostgresql/flexibleservers')",
        " | where resourceGroup in~ ('RG')",
        " | where resourceGroup in~ ('other')",
        " | where vaultName in~ ('testbkpvault','x')",
        " | where operation in~ ('OnDemandBackup')",
        " | where operation in~ ('scheduledbackup','restore')",
        " | where status in~ ('Completed','Failed')",
        " | where status in~ ('InProgress')",
        " | where status in~ ('Completed') | where status in~ ('Failed')",
        " | where status == 'completed'",
        " | where datasourceId in~ ('/SUBSCRIPTIONS/none')",
        "| where properties.startTime > datetime(2026-01-01T05:00:00Z)",
        "| where properties.startTime >= datetime(2026-01-01T05:00:00Z)",
        "| where properties.endTime > datetime(2026-01-01T05:00:00Z)",
        "| where properties.endTime < datetime(2026-01-01T05:00:00Z)",
        " | where operation in~ ('OnDemandBackup') | where status in~ ('Completed')"
        "| where properties.startTime > datetime(2026-01-01T02:00:00Z)",
    };
    std::int64_t found = 0;
    for (const std::string& filter : filters) {
        const Answer fast = ask(kJobs + filter);
        const Answer slow = ask(kJobs + filter + by_hand);
        ASSERT_EQ(fast.status, 200) << fast.body.dump();
        EXPECT_EQ(fast.body["totalRecords"], slow.body["totalRecords"]) << filter;
        EXPECT_EQ(fast.body["data"], slow.body["data"]) << filter;
        found += fast.body["count"].get<std::int64_t>();
    }
    EXPECT_GT(found, 200);
}

TEST_F(ResourceGraph, PagesOfJobsNeitherRepeatNorLoseOne) {
    add_jobs(25);
    std::set<std::string> seen;
    Json options{{"$top", 10}};
    for (int page = 0; page < 3; ++page) {
        const Answer answer = ask(kJobs, options);
        EXPECT_EQ(answer.body["count"], page < 2 ? 10 : 5);
        for (const Json& row : answer.body["data"]) {
            seen.insert(row["name"].get<std::string>());
        }
        // What arrives meanwhile stands before the pages that are still to come.
        add_jobs(1, 1049 + 50 * page);
        options["$skipToken"] = answer.body.value("$skipToken", std::string{});
        EXPECT_EQ(answer.body.contains("$skipToken"), page < 2);
    }
    EXPECT_EQ(seen.size(), 25U);
}

TEST_F(ResourceGraph, PagesAreCut) {
    make_vault("Second");
    const Answer first = ask("resources", {{"$top", 1}});
    EXPECT_EQ(first.body["count"], 1);
    EXPECT_EQ(first.body["totalRecords"], 2);
    const Answer second = ask("resources", {{"$top", 1}, {"$skipToken", first.body["$skipToken"]}});
    EXPECT_EQ(second.body["count"], 1);
    EXPECT_NE(second.body["data"][0]["name"], first.body["data"][0]["name"]);
    EXPECT_FALSE(second.body.contains("$skipToken"));
}

}  // namespace
}  // namespace holdfast::control
