#include "control/routes/providers/resource_graph/query.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

// The texts that the az extension sends, letter for letter, spaces included.
const std::string kVaults = "resources | where type =~ 'microsoft.dataprotection/backupvaults'";
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

Json job_row(bool by_user) {
    return {
        {"id",
         "/subscriptions/s/resourceGroups/rg/providers/Microsoft.DataProtection/backupVaults/V"},
        {"name", "j"},
        {"type", "microsoft.dataprotection/backupvaults/backupjobs"},
        {"resourceGroup", "rg"},
        {"properties",
         {{"vaultName", "V"},
          {"status", "Completed"},
          {"operationCategory", "Backup"},
          {"isUserTriggered", by_user},
          {"dataSourceId", "/x/DB"},
          {"dataSourceType", "Microsoft.DBforPostgreSQL/flexibleServers"},
          {"startTime", "2026-01-02T03:04:05.0000000Z"},
          {"endTime", nullptr}}}
    };
}

bool passes(const std::string& text, Json row) {
    GraphBudget budget;
    return evaluate(parse_graph_query(text), row, budget);
}

std::string fault_of(const std::string& text) {
    try {
        GraphQuery query = parse_graph_query(text);
        check_columns(query, {"id", "name", "type", "resourceGroup", "properties"});
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kBadRequest);
        EXPECT_EQ(error.text().details.at(0).code, "InvalidQuery");
        EXPECT_FALSE(error.text().details.empty());
        return error.text().properties.at("position") + ": " + error.what();
    }
    return "no fault";
}

TEST(GraphQuery, AnswersTheJobQueryOfTheClient) {
    GraphBudget budget;
    Json row = job_row(true);
    ASSERT_TRUE(evaluate(parse_graph_query(kJobs), row, budget));
    EXPECT_EQ(row["vaultName"], "V");
    EXPECT_EQ(row["status"], "Completed");
    EXPECT_EQ(row["operation"], "OnDemandBackup");
    EXPECT_EQ(row["datasourceId"], "/x/DB");

    Json scheduled = job_row(false);
    ASSERT_TRUE(evaluate(parse_graph_query(kJobs), scheduled, budget));
    EXPECT_EQ(scheduled["operation"], "ScheduledBackup");

    Json restore = job_row(true);
    restore["properties"]["operationCategory"] = "Restore";
    ASSERT_TRUE(evaluate(parse_graph_query(kJobs), restore, budget));
    EXPECT_EQ(restore["operation"], "Restore");
}

TEST(GraphQuery, AppliesEveryOptionalFilterOfTheJobQuery) {
    struct Case {
        std::string filter;
        bool passes;
    };
    const std::vector<Case> cases{
        {" | where properties.dataSourceType in~ ('microsoft.dbforpostgresql/FLEXIBLESERVERS')",
         true},
        {" | where properties.dataSourceType in~ ('Microsoft.Storage/x')", false},
        {" | where resourceGroup in~ ('a','RG')", true},
        {" | where resourceGroup in~ ('a','b')", false},
        {" | where vaultName in~ ('v')", true},
        {" | where vaultName in~ ('w')", false},
        {" | where operation in~ ('OnDemandBackup')", true},
        {" | where operation in~ ('ScheduledBackup','Restore')", false},
        {" | where status in~ ('completed')", true},
        {" | where status in~ ('InProgress')", false},
        {" | where datasourceId in~ ('/X/db')", true},
        {"| where properties.startTime > datetime(2020-01-01T00:00:00Z)", true},
        {"| where properties.startTime > datetime(2026-01-02T03:04:05Z)", false},
        {"| where properties.startTime > datetime(2026-01-02Z)", true},
        {"| where properties.endTime > datetime(2020-01-01T00:00:00Z)", false},
    };
    for (const Case& one : cases) {
        EXPECT_EQ(passes(kJobs + one.filter, job_row(true)), one.passes) << one.filter;
    }
}

TEST(GraphQuery, AnswersTheInstanceQueryOfTheClient) {
    Json row{
        {"id",
         "/subscriptions/s/resourceGroups/rg/providers/Microsoft.DataProtection/backupVaults/"
         "TestVault/backupInstances/bi"},
        {"type", "microsoft.dataprotection/backupvaults/backupinstances"},
        {"properties",
         {{"currentProtectionState", "ProtectionConfigured"},
          {"dataSourceInfo", {{"resourceID", "/x"}}}}}
    };
    const std::string filters =
        " | where vaultName in~ ('testvault') | where protectionState in~ ('ProtectionConfigured')"
        " | where datasourceId in~ ('/X')";
    GraphBudget budget;
    ASSERT_TRUE(evaluate(parse_graph_query(kInstances + filters), row, budget));
    EXPECT_EQ(row["vaultName"], "TestVault");
    EXPECT_EQ(row["protectionState"], "ProtectionConfigured");
    EXPECT_EQ(row["datasourceId"], "/x");
    EXPECT_FALSE(passes(kVaults, row));
}

TEST(GraphQuery, NamesTheCharacterOfAFault) {
    using testing::HasSubstr;
    using testing::StartsWith;
    EXPECT_THAT(fault_of(""), StartsWith("1: "));
    EXPECT_THAT(fault_of("resources | mvexpand name"), StartsWith("13: "));
    EXPECT_THAT(fault_of("resources | project name | where type == 'a'"), StartsWith("34: "));
    EXPECT_THAT(fault_of("resources | take many"), StartsWith("18: "));
    EXPECT_THAT(fault_of("resources | summarize sum(id)"), HasSubstr("count() alone"));
    EXPECT_THAT(fault_of("resources | order name"), HasSubstr("\"by\" was expected"));
    EXPECT_THAT(fault_of("resources | extend name"), StartsWith("20: "));
    EXPECT_THAT(fault_of("resources | where"), HasSubstr("the query ends"));
    EXPECT_THAT(fault_of("resources | where name =~ 'it's'"), StartsWith("31: "));
    EXPECT_THAT(fault_of("resources | where name =~ 'open"), StartsWith("27: "));
    EXPECT_THAT(fault_of("resources | where nme =~ 'a'"), StartsWith("19: "));
    EXPECT_THAT(fault_of("resources | where rand() == 1"), HasSubstr("rand() is not known"));
    EXPECT_THAT(fault_of("resources | where name in~ ('a'"), HasSubstr("\")\" was expected"));
    EXPECT_THAT(
        fault_of("resources | where properties.t > datetime(bananaZ)"),
        HasSubstr("\"bananaZ\" is not a date")
    );
    EXPECT_THAT(fault_of("resources | where name == 'a'; drop"), StartsWith("30: "));
    EXPECT_THAT(fault_of("resources | where case(true, 'a') == 'a'"), HasSubstr("does not take 2"));
    EXPECT_THAT(fault_of("resources | where not(name =~ 'a')"), "no fault");
}

TEST(GraphQuery, AppliesTheNeighbouringOperators) {
    const auto ask = [](const std::string& text) {
        std::vector<Json> rows{
            {{"name", "a"}, {"n", 3}, {"properties", {{"s", "x"}}}},
            {{"name", "b"}, {"n", 20}, {"properties", {{"s", "y"}}}},
            {{"name", "c"}, {"n", nullptr}, {"properties", {{"s", "x"}}}},
        };
        const GraphQuery query = parse_graph_query(text);
        check_columns(query, {"name", "n", "properties"});
        GraphBudget budget;
        std::erase_if(rows, [&](Json& row) { return !evaluate(query, row, budget); });
        finish(query, rows, budget);
        return Json(rows).dump();
    };
    EXPECT_EQ(ask("t | project name | take 2"), R"([{"name":"a"},{"name":"b"}])");
    EXPECT_EQ(
        ask("t | order by n | project name, s = properties.s"),
        R"([{"name":"b","s":"y"},{"name":"a","s":"x"},{"name":"c","s":"x"}])"
    );
    EXPECT_EQ(
        ask("t | sort by properties.s asc, name desc | project name"),
        R"([{"name":"c"},{"name":"a"},{"name":"b"}])"
    );
    EXPECT_EQ(
        ask("t | summarize count() by properties.s"),
        R"([{"count_":2,"properties_s":"x"},{"count_":1,"properties_s":"y"}])"
    );
    EXPECT_EQ(
        ask("t | where name != 'a' | summarize jobs = count() by tolower(properties.s) | where "
            "jobs "
            "> 5"),
        "[]"
    );
    EXPECT_EQ(ask("t | where n > 5 | count"), R"([{"Count":1}])");
    EXPECT_EQ(ask("t | where n > 50 | summarize count()"), R"([{"count_":0}])");
    EXPECT_EQ(
        ask("t | extend u = toupper(name), v = strcat(name, '!') | project u, v | limit 1"),
        R"([{"u":"A","v":"a!"}])"
    );
}

TEST(GraphQuery, RefusesBytesThatAreNotText) {
    using testing::HasSubstr;
    EXPECT_THAT(
        fault_of("Resources | summarize count() by \"lo\xe3" "ation\""), HasSubstr("not UTF-8 text")
    );
    EXPECT_THAT(fault_of("Resources | where name == '\xc0\xaf'"), HasSubstr("not UTF-8 text"));
    EXPECT_EQ(fault_of("Resources | where name == 'é'"), "no fault");
}

TEST(GraphQuery, SurvivesHostileNesting) {
    const std::string deep = "resources | where " + std::string(10'000, '(');
    EXPECT_THAT(fault_of(deep), testing::HasSubstr("nested too deeply"));
    std::string chain = "resources | where name =~ 'a'";
    for (int i = 0; i < 3'000; ++i) {
        chain += " and name =~ 'a'";
    }
    EXPECT_EQ(fault_of(chain), "no fault");
    EXPECT_THAT(fault_of(std::string(100'000, 'x')), testing::HasSubstr("64 KiB"));
    std::string members = "resources | where properties";
    for (int i = 0; i < 5'000; ++i) {
        members += "[0]";
    }
    EXPECT_THAT(fault_of(members), testing::HasSubstr("too long"));
}

/// What is refused before anything is evaluated, whatever columns there are.
TEST(GraphQuery, RefusesCallsThatCannotBeEvaluatedWhenItReadsThem) {
    using testing::HasSubstr;
    const auto fault = [](const std::string& text) {
        try {
            static_cast<void>(parse_graph_query(text));
        } catch (const Error& error) {
            return std::string{error.what()};
        }
        return std::string{"no fault"};
    };
    EXPECT_THAT(fault("t | project split(split(id, '/')<'/')[0]"), HasSubstr("not take 1 arg"));
    EXPECT_THAT(fault("t | where tolower() == 'a'"), HasSubstr("does not take 0 arguments"));
    EXPECT_THAT(fault("t | extend a = case(true, 'a', false, 'b')"), HasSubstr("then a default"));
    EXPECT_THAT(fault("t | order by system('x')"), HasSubstr("system() is not known"));
    EXPECT_THAT(fault("t | where a[99999999999999999999] == 1"), HasSubstr("too large"));
}

/// A short query that doubles a text with each of its operators.
TEST(GraphQuery, RefusesWhatGrowsWithoutBound) {
    using testing::HasSubstr;
    const auto fault = [](const std::string& text, std::size_t rows) {
        const GraphQuery query = parse_graph_query(text);
        GraphBudget budget;
        try {
            std::vector<Json> kept;
            for (std::size_t i = 0; i < rows; ++i) {
                Json row{{"name", "abcdefgh"}, {"properties", std::string(2000, 'p')}};
                if (evaluate(query, row, budget)) {
                    kept.push_back(std::move(row));
                }
            }
            finish(query, kept, budget);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kBadRequest);
            return std::string{error.what()};
        }
        return std::string{"no fault"};
    };
    const auto repeated = [](std::string_view step, int times) {
        std::string text = "t";
        for (int i = 0; i < times; ++i) {
            text += step;
        }
        return text;
    };
    EXPECT_THAT(
        fault(repeated(" | extend name = strcat(name, name)", 60), 1),
        HasSubstr("strcat() works on a text of more than 256 KiB")
    );
    EXPECT_THAT(
        fault(repeated(" | extend name = tostring(split(name, 'a'))", 60), 1),
        HasSubstr("tostring() works on a text of more than 256 KiB")
    );
    std::string wide = "t | project";
    for (int i = 0; i < 60; ++i) {
        wide += fmt::format("{} c{} = properties", i == 0 ? "" : ",", i);
    }
    EXPECT_THAT(fault(wide, 2000), HasSubstr("more than 128 MiB"));
    // Rows that do not pass take nothing.
    std::string thin = "t | extend a = strcat(properties, properties) | where name == 'x'";
    EXPECT_EQ(fault(thin, 2000), "no fault");
}

TEST(GraphQuery, RefusesWhatIsTooMuchWork) {
    const auto cost = [](const std::string& text, std::size_t budget_of) {
        Json row{{"name", "n"}, {"properties", std::string(2000, 'p')}};
        GraphBudget budget{budget_of};
        try {
            static_cast<void>(evaluate(parse_graph_query(text), row, budget));
            return true;
        } catch (const Error& error) {
            EXPECT_THAT(error.what(), testing::HasSubstr("too much work"));
            return false;
        }
    };
    // Looking for something long that is nearly everywhere costs more than the two are long.
    const std::string search =
        "t | where strcat(properties, properties) contains_cs strcat(properties, 'q')";
    EXPECT_TRUE(cost(search, 1'000'000));
    EXPECT_FALSE(cost(search, 100'000));
    std::string sums = "t | where name == strcat(properties";
    for (int i = 0; i < 50; ++i) {
        sums += ", properties";
    }
    EXPECT_TRUE(cost(sums + ")", 300'000));
    EXPECT_FALSE(cost(sums + ")", 100'000));
}

TEST(GraphQuery, TellsWhatTheCatalogMayBeAskedFor) {
    using testing::ElementsAre;
    const GraphQuery query = parse_graph_query(
        kJobs +
        " | where vaultName in~ ('v','w') | where vaultName =~ 'W' | where status in~ ('Completed')"
        "| where properties.startTime > datetime(2020-01-01T00:00:00Z)"
    );
    EXPECT_THAT(*allowed_values(query, "properties.vaultName"), ElementsAre("w"));
    EXPECT_THAT(*allowed_values(query, "properties.status"), ElementsAre("Completed"));
    EXPECT_FALSE(allowed_values(query, "operation").has_value());
    std::string paths;
    for_each_condition(query, [&](const std::string& path, const GraphExpression&) {
        paths += path + " ";
    });
    EXPECT_EQ(
        paths,
        "type properties.vaultName properties.vaultName properties.status properties.startTime "
    );
    // An `or` restricts nothing that can be pushed down.
    const GraphQuery either = parse_graph_query("resources | where name =~ 'a' or name =~ 'b'");
    EXPECT_FALSE(allowed_values(either, "name").has_value());
    // A computed column that hides a real one is not the real one.
    const GraphQuery hidden =
        parse_graph_query("resources | extend name = strcat('x', name) | where name == 'xa'");
    EXPECT_FALSE(allowed_values(hidden, "name").has_value());
}

}  // namespace
}  // namespace holdfast::control
