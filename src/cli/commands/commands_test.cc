#include "cli/help.h"
#include "cli/parser.h"
#include "cli/testing/fake_server.h"
#include "cli/vault_tool/vault_tool.h"

#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kSubscription = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";

std::string vault_path() {
    return fmt::format(
        "/subscriptions/{}/resourceGroups/rg/providers/Microsoft.DataProtection/backupVaults/v",
        kSubscription
    );
}

std::string sent_path(const Request& request) {
    constexpr std::string_view kOrigin = "https://localhost:8443";
    EXPECT_EQ(request.url.find(kOrigin), 0U) << request.url;
    return request.url.substr(kOrigin.size());
}

/// The words of an example as a shell splits them, up to a redirection.
std::vector<std::string> shell_words(std::string_view line) {
    std::vector<std::string> words;
    std::string word;
    bool quoted = false;
    bool any = false;
    for (const char c : line) {
        if (c == '"') {
            quoted = !quoted;
            any = true;
        } else if (c == ' ' && !quoted) {
            if (any) {
                words.push_back(word);
            }
            word.clear();
            any = false;
        } else {
            word += c;
            any = true;
        }
    }
    if (any) {
        words.push_back(word);
    }
    const auto redirection = std::find(words.begin(), words.end(), ">");
    words.erase(redirection, words.end());
    return words;
}

TEST(Commands, EveryVerbHasHelpAndAnExampleThatParses) {
    std::vector<Command> commands = standard_commands();
    for (Command& command : vault_commands()) {
        commands.push_back(std::move(command));
    }
    const CommandTable table{std::move(commands)};
    EXPECT_GT(table.commands().size(), 60U);
    for (const Command& command : table.commands()) {
        SCOPED_TRACE(std::string{command.path});
        EXPECT_TRUE(command.handler != nullptr);
        EXPECT_TRUE(command.summary.ends_with('.'));
        ASSERT_FALSE(command.examples.empty());
        const std::string help = help_text(table, command.path);
        for (const Option& option : command.options) {
            EXPECT_FALSE(option.help.empty()) << option.names.front();
            EXPECT_NE(help.find(std::string{option.names.front()}), std::string::npos);
        }
        for (const Example& example : command.examples) {
            EXPECT_NE(help.find(std::string{example.line}), std::string::npos);
            std::vector<std::string> words = shell_words(example.line);
            if (words.at(0) == "source") {
                continue;
            }
            EXPECT_EQ(words.at(0), "holdfast");
            words.erase(words.begin());
            for (std::string& word : words) {
                if (word.starts_with('$')) {  // An id in a shell variable.
                    word = vault_path() + "/backupJobs/j";
                }
            }
            const ParsedLine line = parse_line(table, words);
            EXPECT_EQ(line.path, command.path) << example.line;
            EXPECT_EQ(line.kind, ParsedLine::Kind::kRun);
        }
    }
}

TEST(Commands, EveryGroupHasASummary) {
    const CommandTable table{standard_commands()};
    for (const Command& command : table.commands()) {
        std::string_view path = command.path;
        while (path.find(' ') != std::string_view::npos) {
            path = path.substr(0, path.rfind(' '));
            EXPECT_FALSE(group_summary(path).empty()) << path;
        }
    }
    EXPECT_NE(help_text(table, "").find("backup"), std::string::npos);
}

TEST(Commands, TheGuidesVaultIsSentAsAzSendsIt) {
    CommandLine line;
    const Json vault{{"id", vault_path()}, {"name", "v"}, {"tags", nullptr}};
    line.server
        .answer(
            {.status = 201,
             .body = vault,
             .headers = {{"azure-asyncoperation", "https://proxy:1/op?api-version=1"}}}
        )
        .answer({.body = {{"status", "Inprogress"}}, .headers = {{"retry-after", "1"}}})
        .answer({.body = {{"status", "Succeeded"}}})
        .answer({.body = vault});
    const Outcome outcome = line.run(
        {"dataprotection",
         "backup-vault",
         "create",
         "-g",
         "rg",
         "--vault-name",
         "v",
         "-l",
         "westus",
         "--type",
         "SystemAssigned",
         "--storage-settings",
         "datastore-type=VaultStore",
         "type=LocallyRedundant"}
    );
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(
        Json::parse(outcome.out),
        (Json{{"id", vault_path()}, {"name", "v"}, {"resourceGroup", "rg"}})
    );
    ASSERT_EQ(line.server.requests.size(), 4U);
    EXPECT_EQ(line.server.requests[0].method, "PUT");
    EXPECT_EQ(sent_path(line.server.requests[0]), vault_path() + "?api-version=2024-04-01");
    EXPECT_EQ(
        Json::parse(line.server.requests[0].body),
        Json::parse(R"({"identity":{"type":"SystemAssigned"},"location":"westus",
          "properties":{"securitySettings":{"softDeleteSettings":{"retentionDurationInDays":14.0,"state":"On"}},
                        "storageSettings":[{"datastoreType":"VaultStore","type":"LocallyRedundant"}]}})"
        )
    );
    // The token goes to no other host than the profile's.
    EXPECT_EQ(sent_path(line.server.requests[1]), "/op?api-version=1");
    ASSERT_EQ(line.clock.waits.size(), 1U);
    EXPECT_EQ(line.clock.waits[0], std::chrono::seconds{1});
}

TEST(Commands, StorageSettingsTakeJsonAndShorthand) {
    for (const char* text :
         {R"([{"datastore-type":"VaultStore","type":"LocallyRedundant"}])",
          "[{datastore-type:VaultStore,type:LocallyRedundant}]",
          "{datastore_type:'VaultStore', type:LocallyRedundant}"}) {
        CommandLine line;
        line.server.answer({.body = Json::object()});
        (void)line.run(
            {"backup-vault", "create", "-g", "rg", "-v", "v", "-l", "x", "--storage-setting", text}
        );
        ASSERT_FALSE(line.server.requests.empty());
        EXPECT_EQ(
            Json::parse(line.server.requests[0].body)["properties"]["storageSettings"],
            Json::parse(R"([{"datastoreType":"VaultStore","type":"LocallyRedundant"}])")
        ) << text;
    }
}

TEST(Commands, AnInstanceIsValidatedBeforeItIsWritten) {
    CommandLine line;
    const std::filesystem::path file = line.directory.path() / "bi.json";
    std::ofstream{file} << R"({"backup_instance_name":"b i","properties":{"data_source_info":
        {"resource_id":"/x","resource_name":"DB"},"data_source_set_info":null,"object_type":"BackupInstance",
        "policy_info":{"policy_id":"/p","policy_parameters":null}},"tags":{"under_score":"1"}})";
    const Json wanted = Json::parse(
        R"({"dataSourceInfo":{"resourceID":"/x","resourceName":"DB"},"objectType":"BackupInstance","policyInfo":{"policyId":"/p"}})"
    );
    line.server
        .answer({.status = 202, .headers = {{"azure-asyncoperation", "/s"}, {"location", "/l"}}})
        .answer({.body = {{"status", "Succeeded"}}})
        .answer({.body = {{"objectType", "OperationJobExtendedInfo"}}})
        .answer(
            {.status = 201, .body = {{"name", "b i"}}, .headers = {{"azure-asyncoperation", "/s2"}}}
        )
        .answer({.body = {{"status", "Succeeded"}}})
        .answer({.body = {{"name", "b i"}}});
    const std::vector<std::string> words{
        "backup-instance", "create", "-g", "rg", "-v", "v", "--backup-instance", file.string()
    };
    ASSERT_EQ(line.run(words).exit_code, 0);
    ASSERT_EQ(line.server.requests.size(), 6U);
    EXPECT_EQ(
        sent_path(line.server.requests[0]),
        vault_path() + "/validateForBackup?api-version=2024-04-01"
    );
    EXPECT_EQ(Json::parse(line.server.requests[0].body), (Json{{"backupInstance", wanted}}));
    EXPECT_EQ(line.server.requests[3].method, "PUT");
    EXPECT_EQ(
        sent_path(line.server.requests[3]),
        vault_path() + "/backupInstances/b%20i?api-version=2024-04-01"
    );
    EXPECT_EQ(
        Json::parse(line.server.requests[3].body),
        (Json{{"properties", wanted}, {"tags", {{"under_score", "1"}}}})
    );

    CommandLine refused;
    refused.server.answer({.status = 400, .body = {{"error", {{"code", "No"}, {"message", "m"}}}}});
    const Outcome outcome = refused.run(words);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(refused.server.requests.size(), 1U);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err, "ERROR: (No) m\nCode: No\nMessage: m\n");
}

TEST(Commands, AdhocBackupNamesTheRuleAndPrintsTheJob) {
    CommandLine line;
    const Json result{
        {"jobId", vault_path() + "/backupJobs/j"}, {"objectType", "OperationJobExtendedInfo"}
    };
    line.server
        .answer({.status = 202, .headers = {{"azure-asyncoperation", "/s"}, {"location", "/l"}}})
        .answer({.body = {{"status", "Succeeded"}}})
        .answer({.body = result});
    const Outcome outcome = line.run(
        {"backup-instance",
         "adhoc-backup",
         "-g",
         "rg",
         "-v",
         "v",
         "-n",
         "b",
         "--rule-name",
         "Monthly"}
    );
    EXPECT_EQ(Json::parse(outcome.out), result);
    EXPECT_EQ(
        Json::parse(line.server.requests[0].body),
        Json::parse(R"({"backupRuleOptions":{"ruleName":"Monthly","triggerOption":{}}})")
    );
}

Json job(std::string_view status) {
    return {
        {"id", vault_path() + "/backupJobs/j"},
        {"properties",
         {{"status", status},
          {"operation", "Backup"},
          {"errorDetails",
           Json::array(
               {{{"code", "UserErrorX"},
                 {"message", "It broke."},
                 {"recommendedAction", {"Mend it."}}}}
           )},
          {"extendedInfo",
           {{"subTasks", Json::array({{{"taskStatus", "InProgress"}, {"taskProgress", 50}}})}}}}}
    };
}

TEST(Commands, WaitFollowsTheJobAndFailsWithIt) {
    CommandLine line;
    line.server
        .answer({.status = 202, .headers = {{"azure-asyncoperation", "/s"}, {"location", "/l"}}})
        .answer({.body = {{"status", "Succeeded"}}})
        .answer({.body = {{"jobId", vault_path() + "/backupJobs/j"}}})
        .answer({.body = job("InProgress")})
        .answer({.body = job("Failed")});
    const Outcome outcome = line.run(
        {"backup-instance",
         "adhoc-backup",
         "-g",
         "rg",
         "-v",
         "v",
         "-n",
         "b",
         "--rule-name",
         "M",
         "--wait"}
    );
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(Json::parse(outcome.out)["properties"]["status"], "Failed");
    EXPECT_EQ(
        outcome.err,
        "ERROR: (UserErrorX) It broke.\nCode: UserErrorX\nMessage: It broke.\n"
        "Recommended action: Mend it.\n"
    );
}

TEST(Commands, ATerminalGetsAProgressBar) {
    CommandLine line;
    line.terminal = true;
    line.server.answer({.body = job("InProgress")}).answer({.body = job("Completed")});
    const Outcome outcome =
        line.run({"job", "wait", "-g", "rg", "-v", "v", "-n", "j", "-o", "none"});
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err.find("[##########..........]  50 %"), std::string::npos) << outcome.err;
    EXPECT_TRUE(outcome.err.ends_with("\r\x1b[K")) << outcome.err;
}

TEST(Commands, NoWaitSendsOneRequestAndPrintsNothing) {
    CommandLine line;
    line.server.answer(
        {.status = 202, .headers = {{"azure-asyncoperation", "/s"}, {"location", "/l"}}}
    );
    const Outcome outcome = line.run(
        {"backup-instance", "stop-protection", "-g", "rg", "-v", "v", "-n", "b", "--no-wait"}
    );
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.out, "");
    ASSERT_EQ(line.server.requests.size(), 1U);
    EXPECT_EQ(line.server.requests[0].body, "");
}

TEST(Commands, DeletingAsks) {
    const std::vector<std::string> words{"backup-vault", "delete", "-g", "rg", "-v", "v"};
    CommandLine line;
    EXPECT_EQ(
        line.run(words).err,
        "ERROR: Unable to prompt for confirmation as no tty available. Use --yes.\n"
    );
    line.terminal = true;
    line.input = "n\n";
    EXPECT_EQ(line.run(words).exit_code, 1);
    EXPECT_TRUE(line.server.requests.empty());
    line.input = "y\n";
    line.server.answer({.status = 204});
    const Outcome outcome = line.run(words);
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(line.server.requests.at(0).method, "DELETE");
}

TEST(Commands, ListsFollowNextLinksOnTheOwnServer) {
    CommandLine line;
    line.server
        .answer(
            {.body =
                 {{"value", {{{"name", "a"}}}},
                  {"nextLink", "https://other:9/next?api-version=1&$skipToken=x"}}}
        )
        .answer({.body = {{"value", {{{"name", "b"}}}}, {"nextLink", nullptr}}});
    const Outcome outcome =
        line.run({"job", "list", "-g", "rg", "-v", "v", "--query", "[].name", "-o", "tsv"});
    EXPECT_EQ(outcome.out, "a\nb\n");
    EXPECT_EQ(sent_path(line.server.requests.at(1)), "/next?api-version=1&$skipToken=x");
}

TEST(Commands, TheQueryOfTheGuideIsCharacterByCharacterAzs) {
    CommandLine line;
    line.server.answer({.body = {{"data", {{{"name", "j"}, {"plan", nullptr}}}}}});
    const Outcome outcome = line.run(
        {"dataprotection",
         "job",
         "list-from-resourcegraph",
         "--datasource-type",
         "AzureDatabaseForPostgreSQLFlexibleServer",
         "--status",
         "Completed",
         "--operation",
         "OnDemandBackup",
         "--start-time",
         "2020-01-01T00:00:00"}
    );
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(Json::parse(outcome.out), Json::parse(R"([{"name":"j","plan":null}])"));
    EXPECT_EQ(
        sent_path(line.server.requests[0]),
        "/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01"
    );
    const Json body = Json::parse(line.server.requests[0].body);
    EXPECT_EQ(
        body["query"],
        "RecoveryServicesResources | where type =~ "
        "'microsoft.dataprotection/backupvaults/backupjobs'| extend "
        "vaultName = properties.vaultName| extend status = properties.status| extend operation = "
        "case( "
        "tolower(properties.operationCategory) startswith 'backup' and properties.isUserTriggered "
        "== 'true', "
        "strcat('OnDemand',properties.operationCategory), tolower(properties.operationCategory) "
        "startswith 'backup' "
        "and properties.isUserTriggered == 'false', strcat('Scheduled', "
        "properties.operationCategory), type =~ "
        "'microsoft.dataprotection/backupVaults/backupJobs', properties.operationCategory, "
        "'Invalid')| extend "
        "datasourceId = properties.dataSourceId | where properties.dataSourceType in~ "
        "('Microsoft.DBforPostgreSQL/flexibleServers') | where operation in~ ('OnDemandBackup') | "
        "where status in~ "
        "('Completed')| where properties.startTime > datetime(2020-01-01T00:00:00Z)"
    );
    EXPECT_EQ(
        body["options"],
        Json::parse(
            R"({"$top":1000,"$skip":0,"resultFormat":"objectArray","allowPartialScopes":false})"
        )
    );
    EXPECT_EQ(body["subscriptions"], Json::array({kSubscription}));
}

TEST(Commands, PointFiltersAreAlwaysSent) {
    CommandLine line;
    line.server.always({.body = {{"value", Json::array()}}});
    const std::vector<std::string> words{
        "recovery-point", "list", "-g", "rg", "-v", "v", "--backup-instance-name", "b"
    };
    (void)line.run(words);
    EXPECT_NE(
        line.server.requests[0].url.find("/recoveryPoints?$filter=&api-version="), std::string::npos
    );
    std::vector<std::string> bounded = words;
    bounded.insert(
        bounded.end(), {"--start-time", "2021-01-01", "--end-time", "2021-02-01T00:00:00"}
    );
    (void)line.run(bounded);
    EXPECT_NE(
        line.server.requests[1].url.find(
            "$filter=startDate%20eq%20%272021-01-01T00%3A00%3A00.0000000Z%27%20and%20endDate%20eq"
        ),
        std::string::npos
    ) << line.server.requests[1].url;
    bounded.back() = "2020-02-01";
    const Outcome reversed = line.run(bounded);
    EXPECT_EQ(reversed.out, "[]\n");
    EXPECT_EQ(line.server.requests.size(), 2U);
    bounded.back() = "banana";
    EXPECT_EQ(
        line.run(bounded).err,
        "ERROR: Input 'banana' not valid datetime. Valid example: 2017-12-31T05:30:00\n"
    );
}

TEST(Commands, WaitPollsUntilTheConditionHolds) {
    CommandLine line;
    const auto state = [](const char* text) {
        return FakeServer::Answer{
            .body = {{"properties", {{"protectionStatus", {{"status", text}}}}}}
        };
    };
    line.server.answer({.status = 404})
        .answer(state("ConfiguringProtection"))
        .answer(state("ProtectionConfigured"));
    const std::vector<std::string> words{
        "backup-instance",
        "wait",
        "-g",
        "rg",
        "-v",
        "v",
        "-n",
        "b",
        "--interval",
        "2",
        "--custom",
        "properties.protectionStatus.status=='ProtectionConfigured'"
    };
    EXPECT_EQ(line.run(words).exit_code, 0);
    EXPECT_EQ(line.clock.waits.size(), 2U);
    line.server.always(state("ConfiguringProtection"));
    const Outcome late = line.run(words);
    EXPECT_EQ(late.exit_code, 1);
    EXPECT_NE(late.err.find("Wait operation timed-out after 3600 seconds"), std::string::npos);
    EXPECT_EQ(line.run({"backup-vault", "wait", "-g", "rg", "-v", "v"}).exit_code, 2);
}

TEST(Commands, StatusIsAVerdict) {
    const Json well{
        {"friendlyName", "db"},
        {"vaultName", "v"},
        {"healthy", true},
        {"lastGoodPoint", {{"time", "2026-01-01T00:00:00Z"}, {"ageInSeconds", 7200}}}
    };
    Json ill = well;
    ill["healthy"] = false;
    ill["vaultName"] = "other";
    ill["problems"] = {"No point yet."};
    const Json body{
        {"instances", {well, ill}},
        {"vaults", {{{"name", "v"}, {"usable", true}, {"warnings", {"No kit."}}}}}
    };
    CommandLine line;
    line.server.always({.body = body});
    const Outcome all = line.run({"status", "-o", "table"});
    EXPECT_EQ(all.exit_code, 1);
    EXPECT_NE(all.out.find("2 h"), std::string::npos) << all.out;
    EXPECT_NE(all.out.find("No point yet."), std::string::npos) << all.out;
    EXPECT_EQ(all.err, "WARNING: No kit.\n");
    EXPECT_EQ(line.run({"status", "-v", "V"}).exit_code, 0);
    EXPECT_EQ(line.run({"status", "-v", "V", "-o", "none", "--only-show-errors"}).err, "");
}

TEST(Commands, AClockThatLeaptIsAProblemUntilItIsConfirmed) {
    CommandLine line;
    line.server.answer(
        {.body =
             {{"instances", Json::array()},
              {"clock", {{"trusted", false}, {"message", "The clock leapt."}}}}}
    );
    const Outcome told = line.run({"status"});
    EXPECT_EQ(told.exit_code, 1);
    EXPECT_EQ(told.err, "WARNING: The clock leapt. When it is right: 'holdfast clock confirm'.\n");
    line.server.answer({.body = {{"trusted", true}}});
    EXPECT_EQ(line.run({"clock", "confirm"}).exit_code, 0);
    EXPECT_EQ(line.server.requests.back().method, "POST");
    EXPECT_NE(line.server.requests.back().url.find("holdfastConfirmClock"), std::string::npos);
}

TEST(Commands, ServersAreRegisteredWithoutAPasswordOnTheCommandLine) {
    CommandLine line;
    line.input = "s3cret\n";
    line.server.answer(
        {.status = 201,
         .body =
             {{"name", "s"},
              {"properties",
               {{"holdfast",
                 {{"connection", {{"status", "Failed"}, {"error", {{"message", "no route"}}}}}}}}}}}
    );
    const Outcome outcome = line.run(
        {"postgres",
         "flexible-server",
         "register",
         "-g",
         "rg",
         "-n",
         "s",
         "--host",
         "db",
         "--port",
         "5433",
         "--login",
         "backup",
         "--password-file",
         "-",
         "--excluded-databases",
         "a",
         "b"}
    );
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "WARNING: The server is registered, but could not be asked: no route\n");
    EXPECT_EQ(outcome.out.find("s3cret"), std::string::npos);
    EXPECT_EQ(
        Json::parse(line.server.requests.at(0).body),
        Json::parse(R"({"properties":{"fullyQualifiedDomainName":"db","administratorLogin":"backup",
          "administratorLoginPassword":"s3cret","holdfast":{"port":5433,"excludedDatabases":["a","b"]}}})"
        )
    );
}

TEST(Commands, ASecretOnTheCommandLineIsWarnedOf) {
    CommandLine line;
    line.server.always(
        {.body = {{"id", "https://kv.localhost:8443/secrets/db/0123"}, {"value", "x"}}}
    );
    const Outcome warned = line.run(
        {"keyvault",
         "secret",
         "set",
         "--vault-name",
         "kv",
         "--name",
         "db",
         "--value",
         "x",
         "--query",
         "name"}
    );
    EXPECT_EQ(warned.exit_code, 0);
    EXPECT_EQ(warned.out, "\"db\"\n");
    EXPECT_EQ(warned.err.find("WARNING: --value"), 0U);
    EXPECT_EQ(line.server.requests.at(0).headers.at("Host"), "kv.localhost:8443");
    EXPECT_EQ(sent_path(line.server.requests.at(0)), "/secrets/db?api-version=7.4");
    line.input = "line\r\n";
    const Outcome quiet =
        line.run({"keyvault", "secret", "set", "--vault-name", "kv", "-n", "db", "--file", "-"});
    EXPECT_EQ(quiet.err, "");
    EXPECT_EQ(Json::parse(line.server.requests.at(1).body), (Json{{"value", "line"}}));
}

TEST(Commands, RestSendsWhatItIsToldAndOnlyToTheServer) {
    CommandLine line;
    line.server.answer({.body = {{"a", 1}}});
    const Outcome outcome = line.run(
        {"rest",
         "--method",
         "POST",
         "--url",
         "/subscriptions/{subscriptionId}/x?api-version=1",
         "--body",
         "{\"b\":2}",
         "--headers",
         "X-One=1"}
    );
    EXPECT_EQ(outcome.out, "{\n  \"a\": 1\n}\n");
    const Request& request = line.server.requests.at(0);
    EXPECT_EQ(sent_path(request), fmt::format("/subscriptions/{}/x?api-version=1", kSubscription));
    EXPECT_EQ(request.headers.at("X-One"), "1");
    EXPECT_EQ(request.body, "{\"b\":2}");
    EXPECT_EQ(line.run({"rest", "--url", "https://elsewhere/x"}).exit_code, 2);
    EXPECT_EQ(line.server.requests.size(), 1U);
}

TEST(Commands, PoliciesAreSentAsTheyAreAndEditedInPlace) {
    CommandLine line;
    const std::filesystem::path file = line.directory.path() / "p.JSON";
    std::ofstream{file} << R"({"name":"OssFlexiblePolicy1","policyRules":[],"x_y":null})";
    line.server.answer({.body = {{"name", "p"}}});
    (void)line.run(
        {"backup-policy",
         "create",
         "-g",
         "rg",
         "-v",
         "v",
         "-n",
         "p",
         "--policy",
         "@" + file.string()}
    );
    EXPECT_EQ(
        Json::parse(line.server.requests.at(0).body),
        Json::parse(R"({"properties":{"name":"OssFlexiblePolicy1","policyRules":[],"x_y":null}})")
    );
    line.server
        .answer(
            {.body = Json::parse(
                 R"({"id":"i","properties":{"policyRules":[{"name":"a"},{"name":"b"}]}})"
             )}
        )
        .answer({.body = {{"name", "p"}}});
    const Outcome updated = line.run(
        {"backup-policy",
         "update",
         "-g",
         "rg",
         "-v",
         "v",
         "-n",
         "p",
         "--set",
         "properties.policyRules[0].name=z",
         "properties.datasourceTypes=[\"T\"]",
         "--remove",
         "properties.policyRules",
         "1"}
    );
    ASSERT_EQ(updated.exit_code, 0) << updated.err;
    EXPECT_EQ(
        Json::parse(line.server.requests.at(2).body),
        Json::parse(R"({"properties":{"datasourceTypes":["T"],"policyRules":[{"name":"z"}]}})")
    );
}

TEST(Commands, ASlipInTheQueryCostsNoRequest) {
    CommandLine line;
    const Outcome outcome = line.run(
        {"backup-instance",
         "adhoc-backup",
         "-g",
         "rg",
         "-v",
         "v",
         "-n",
         "b",
         "--rule-name",
         "M",
         "--query",
         "[?"}
    );
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_TRUE(line.server.requests.empty());
}

TEST(Commands, ManyIdsGiveAList) {
    CommandLine line;
    line.server.answer({.body = {{"name", "a"}}}).answer({.body = {{"name", "b"}}});
    const Outcome outcome = line.run(
        {"backup-vault",
         "show",
         "--ids",
         vault_path(),
         vault_path() + "2",
         "--query",
         "[].name",
         "-o",
         "tsv"}
    );
    EXPECT_EQ(outcome.out, "a\nb\n");
}

}  // namespace
}  // namespace holdfast::cli
