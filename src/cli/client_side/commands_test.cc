#include "cli/client_side/commands.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/command_table.h"
#include "cli/parser.h"
#include "cli/run.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace holdfast::cli {
namespace {

using ::testing::HasSubstr;

CommandTable table() {
    std::vector<Command> commands;
    add_client_side_commands(commands);
    return CommandTable{std::move(commands)};
}

/// The words of an example, without the program and what the shell would do with `> file`.
std::vector<std::string> words_of(std::string_view line) {
    std::vector<std::string> words = split(line.substr(0, line.find(" > ")), ' ');
    words.erase(words.begin());
    return words;
}

TEST(ClientSideCommands, EveryExampleParses) {
    std::vector<Command> commands;
    add_client_side_commands(commands);
    EXPECT_EQ(commands.size(), 16U);
    const CommandTable all = table();
    for (const Command& command : commands) {
        ASSERT_FALSE(command.examples.empty()) << command.path;
        for (const Example& example : command.examples) {
            const ParsedLine line = parse_line(all, words_of(example.line));
            EXPECT_EQ(line.kind, ParsedLine::Kind::kRun) << example.line;
            ASSERT_NE(line.command, nullptr) << example.line;
            EXPECT_EQ(line.command->path, command.path);
        }
    }
}

TEST(ClientSideCommands, UsageFaultsAreExitCodeTwo) {
    struct Row {
        std::string_view line;
        std::string_view message;
    };
    const CommandTable all = table();
    for (const Row& row : {
             Row{"x backup-policy retention-rule set --policy p --name Hourly --lifecycles l",
                 "'Hourly' is not a valid value for '--name'. Allowed values: Default, Daily, "
                 "Weekly, Monthly, Yearly."},
             Row{"x backup-policy tag set --policy p --name Default --criteria c",
                 "'Default' is not a valid value for '--name'. Allowed values: Daily, Weekly, "
                 "Monthly, Yearly."},
             Row{"x backup-policy tag create-absolute-criteria --absolute-criteria LastOfDay",
                 "Allowed values: AllBackup, FirstOfDay"},
             Row{"x backup-policy get-default-policy-template --datasource-type Oracle",
                 "Allowed values: AzureDisk, AzureBlob"},
             Row{"x backup-policy get-default-policy-template",
                 "the following arguments are required: --datasource-type"},
             Row{"x backup-policy trigger create-schedule --interval-type Weekly --interval-count "
                 "1 --schedule-days a stray --stray",
                 "unrecognized arguments: --stray"},
             Row{"x backup-instance initialize --datasource-type azuredatabaseforpostgresql "
                 "--datasource-id i -l w --policy-id p "
                 "--secret-store-uri",
                 "argument --secret-store-uri: expected one argument"},
         }) {
        try {
            (void)parse_line(all, words_of(row.line));
            ADD_FAILURE() << "accepted: " << row.line;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kUsage);
            EXPECT_EQ(traits(error.kind()).exit_code, 2);
            EXPECT_THAT(error.text().message, HasSubstr(row.message));
        }
    }
}

TEST(ClientSideCommands, EnumeratedWordsAreMatchedWithoutCase) {
    const ParsedLine line = parse_line(
        table(),
        words_of("x backup-policy trigger create-schedule --interval-type weekly --interval-count "
                 "1 --schedule-days a b")
    );
    EXPECT_EQ(line.runs.at(0).string("--interval-type"), "Weekly");
    EXPECT_EQ(line.runs.at(0).list("--schedule-days"), (std::vector<std::string>{"a", "b"}));
}

/// What a command line prints, run in a directory of its own without any server.
class ClientSideRun : public ::testing::Test {
protected:
    void SetUp() override {
        std::filesystem::create_directories(directory_);
        std::filesystem::current_path(directory_);
    }
    void TearDown() override {
        std::filesystem::current_path(before_);
        std::filesystem::remove_all(directory_);
    }

    int run_words(const std::vector<std::string>& words) {
        out_.str("");
        err_.str("");
        std::istringstream in;
        Console console{.in = in, .out = out_, .err = err_};
        FakeClock clock{Instant{}};
        const Environment environment;
        return run(
            table(),
            words,
            {.console = console, .clock = clock, .environment = environment, .connect = {}}
        );
    }

    /// `holdfast dataprotection backup-policy …> file`.
    void make(const std::string& file, const std::string& line) {
        ASSERT_EQ(run_words(split("dataprotection backup-policy " + line, ' ')), 0) << err_.str();
        write_file_for_test(file, out_.str());
    }

    static void write_file_for_test(const std::string& file, const std::string& text) {
        std::ofstream stream{file};
        stream << text;
    }

    std::ostringstream out_;
    std::ostringstream err_;

private:
    std::filesystem::path before_ = std::filesystem::current_path();
    std::filesystem::path directory_ = std::filesystem::path{::testing::TempDir()} /
                                       ("holdfast-client-side-" + std::to_string(::getpid()));
};

TEST_F(ClientSideRun, TheGuidesFilesWithItsBackslashes) {
    make(
        "OSSPolicy.json",
        "get-default-policy-template --datasource-type AzureDatabaseForPostgreSQLFlexibleServer"
    );
    EXPECT_TRUE(err_.str().empty()) << err_.str();
    // As a shell hands over `.\OSSPolicy.json`, and as PowerShell does.
    make(
        "Edited.json",
        "trigger set --policy .OSSPolicy.json --schedule R/2021-08-15T22:00:00+00:00/P1W "
        "R/2021-08-18T22:00:00+00:00/P1W"
    );
    EXPECT_THAT(err_.str(), HasSubstr("./OSSPolicy.json"));
    make(
        "Life.JSON",
        "retention-rule create-lifecycle --count 6 --type Months --source-datastore vaultstore"
    );
    make(
        "Added.JSON",
        "retention-rule set --lifecycles .\\Life.JSON --name monthly --policy @Edited.json"
    );
    make("tag.JSON", "tag create-generic-criteria --days-of-week sunday friday");
    make("Final.JSON", "tag set --criteria ./tag.JSON --name Monthly --policy Added.JSON");
    const Json policy = Json::parse(out_.str());
    EXPECT_EQ(policy["policyRules"][0]["trigger"]["schedule"]["repeatingTimeIntervals"].size(), 2U);
    EXPECT_EQ(policy["policyRules"][2]["name"], "Monthly");
    EXPECT_EQ(
        policy["policyRules"][0]["trigger"]["taggingCriteria"][1]["criteria"][0]
              ["days_of_the_week"],
        Json::parse(R"(["Sunday","Friday"])")
    );
}

TEST_F(ClientSideRun, RefusalsLeaveStdoutEmpty) {
    EXPECT_EQ(
        run_words(split(
            "dataprotection backup-policy retention-rule remove --name Default --policy {}", ' '
        )),
        1
    );
    EXPECT_THAT(err_.str(), HasSubstr("Removing Default Retention Rule is not allowed."));
    EXPECT_TRUE(out_.str().empty());
    for (const std::string_view verb : {"initialize-backupconfig", "initialize-restoreconfig"}) {
        EXPECT_EQ(
            run_words(
                {"backup-instance",
                 std::string{verb},
                 "--datasource-type",
                 "AzureDatabaseForPostgreSQL"}
            ),
            1
        ) << verb;
        EXPECT_THAT(
            err_.str(),
            HasSubstr("not supported for datasource types other than AzureKubernetesService")
        ) << verb;
        EXPECT_TRUE(out_.str().empty()) << verb;
    }
    EXPECT_EQ(
        run_words(
            split("dataprotection backup-policy tag remove --name Weekly --policy x.json", ' ')
        ),
        1
    );
    EXPECT_THAT(err_.str(), HasSubstr("JSON file does not exist: 'x.json'"));
    EXPECT_EQ(
        run_words(split(
            "dataprotection backup-policy trigger create-schedule --interval-type Weekly "
            "--interval-count one --schedule-days a",
            ' '
        )),
        2
    );
    EXPECT_THAT(err_.str(), HasSubstr("argument --interval-count: invalid int value: 'one'"));
}

TEST_F(ClientSideRun, InitializePrintsARequest) {
    ASSERT_EQ(
        run_words(split(
            "backup-instance initialize --datasource-type AzureDatabaseForPostgreSQLFlexibleServer "
            "--datasource-id /s/DB -l westus "
            "--policy-id /p --friendly-name mine --tags a=b c --secret-store-type azurekeyvault "
            "--secret-store-uri https://kv/s/n",
            ' '
        )),
        0
    ) << err_.str();
    EXPECT_THAT(err_.str(), HasSubstr("--friendly-name is not a required parameter"));
    const Json request = Json::parse(out_.str());
    EXPECT_THAT(
        request["backup_instance_name"].get<std::string>(),
        ::testing::MatchesRegex("DB-DB-[0-9a-f-]{36}")
    );
    EXPECT_EQ(request["tags"], Json::parse(R"({"a":"b","c":""})"));
    EXPECT_EQ(
        request["properties"]["datasource_auth_credentials"]["secret_store_resource"]
               ["secret_store_type"],
        "AzureKeyVault"
    );
}

TEST_F(ClientSideRun, RestoreRequestForFiles) {
    ASSERT_EQ(
        run_words(split(
            "backup-instance restore initialize-for-data-recovery-as-files --datasource-type "
            "AzureDatabaseForPostgreSQLFlexibleServer "
            "--restore-location westus --source-datastore VaultStore --recovery-point-id RP "
            "--target-blob-container-url "
            "file:///srv/restore --target-file-name dump1 --rehydration-priority standard "
            "--rehydration-duration 10",
            ' '
        )),
        0
    ) << err_.str();
    EXPECT_EQ(Json::parse(out_.str())["rehydration_retention_duration"], "P10D");
}

}  // namespace
}  // namespace holdfast::cli
