#include "cli/parser.h"

#include "base/error.h"

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

CommandTable table() {
    return CommandTable{{
        {.path = "dataprotection backup-vault create",
         .summary = "Create.",
         .options =
             {required({"--resource-group", "-g"}, ""),
              required({"--vault-name", "-v"}, ""),
              key_values({"--storage-settings", "--storage-setting"}, ""),
              one_of({"--type"}, {"SystemAssigned", "None"}, ""),
              list({"--days"}, ""),
              flag({"--no-wait"}, ""),
              with_default(optional({"--count"}, ""), "5")},
         .resource = "Microsoft.DataProtection/backupVaults/--vault-name"},
        {.path = "vault check",
         .summary = "Check.",
         .options =
             {required({"DIRECTORY"}, ""),
              {.names = {"--read-data"}, .help = "", .kind = OptionKind::kFlagOrValue}}},
    }};
}

Arguments parse(std::vector<std::string> words) {
    static const CommandTable kTable = table();
    words.insert(words.begin(), {"backup-vault", "create"});
    return parse_line(kTable, words).runs.at(0);
}

std::string usage_of(const std::vector<std::string>& words) {
    static const CommandTable kTable = table();
    try {
        (void)parse_line(kTable, words);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kUsage);
        std::string text = error.what();
        for (const std::string& action : error.text().recommended_actions) {
            text += "\n" + action;
        }
        return text;
    }
    return "no error";
}

using Words = std::vector<std::string>;

TEST(Parser, ReadsValuesListsFlagsAndKeyValues) {
    const Arguments a = parse(
        {"-g",
         "rg",
         "--vault-name=v",
         "--storage-settings",
         "datastore-type=VaultStore",
         "type=LocallyRedundant",
         "--storage-setting",
         "datastore-type=ArchiveStore",
         "--days",
         "1",
         "2",
         "--no-wait",
         "--days",
         "3",
         "--type",
         "systemassigned"}
    );
    EXPECT_EQ(a.string("--resource-group"), "rg");
    EXPECT_EQ(a.string("--vault-name"), "v");
    ASSERT_EQ(a.groups("--storage-settings").size(), 2U);
    EXPECT_EQ(
        a.groups("--storage-settings")[0],
        (Words{"datastore-type=VaultStore", "type=LocallyRedundant"})
    );
    EXPECT_EQ(a.list("--days"), (Words{"1", "2", "3"}));
    EXPECT_TRUE(a.flag("--no-wait"));
    EXPECT_EQ(a.string("--type"), "SystemAssigned");
    EXPECT_EQ(a.string("--count"), "5");
    EXPECT_FALSE(a.given("--count"));
}

TEST(Parser, TakesAttachedShortValuesAndUniqueBeginnings) {
    const Arguments a = parse({"-grg", "--vault", "v", "-otsv"});
    EXPECT_EQ(a.string("--resource-group"), "rg");
    EXPECT_EQ(a.string("--vault-name"), "v");
    EXPECT_EQ(a.string("--output"), "tsv");
    EXPECT_EQ(
        usage_of(
            {"backup-vault",
             "create",
             "-g",
             "r",
             "-v",
             "v",
             "--out",
             "tsv",
             "--su",
             "x",
             "--storage",
             "a=b"}
        ),
        "no error"
    );
    EXPECT_NE(
        usage_of({"backup-vault", "create", "--ver", "--de", "--s", "x"})
            .find("ambiguous option: --s"),
        std::string::npos
    );
}

TEST(Parser, ADashNumberOrBlankedTextIsAValue) {
    EXPECT_EQ(parse({"-g", "-", "-v", "-5"}).string("--vault-name"), "-5");
    EXPECT_EQ(parse({"-g", "-", "-v", "-a b"}).string("--vault-name"), "-a b");
    EXPECT_EQ(parse({"-g", "-", "-v", "-a b"}).string("--resource-group"), "-");
    EXPECT_EQ(parse({"-g", "x", "-v="}).string("--vault-name"), "");
}

TEST(Parser, RefusesAsAzDoes) {
    EXPECT_EQ(
        usage_of(
            {"backup-vault", "create", "-g", "r", "--vault-name", "TestBkpVault", "TestBkpvault"}
        ),
        "unrecognized arguments: TestBkpvault\nSee: holdfast dataprotection backup-vault create -h"
    );
    EXPECT_EQ(
        usage_of({"backup-vault", "create", "-g", "r"}),
        "the following arguments are required: --vault-name/-v\n"
        "See: holdfast dataprotection backup-vault create -h"
    );
    EXPECT_EQ(
        usage_of({"backup-vault", "create", "-g", "--vault-name", "v"}),
        "argument --resource-group/-g: expected one argument"
    );
    EXPECT_EQ(
        usage_of({"backup-vault", "create", "-g", "r", "-v", "v", "--days"}),
        "argument --days: expected at least one argument"
    );
    EXPECT_EQ(
        usage_of({"backup-vault", "create", "-g", "r", "-v", "v", "--type", "Nope"}),
        "holdfast dataprotection backup-vault create: 'Nope' is not a valid value for '--type'. "
        "Allowed values: SystemAssigned, None.\nDid you mean 'None'?"
    );
    EXPECT_EQ(
        usage_of({"backup-vault", "create", "-g", "r", "-v", "v", "--no-wate"}),
        "unrecognized arguments: --no-wate\nDid you mean '--no-wait'?"
    );
    EXPECT_EQ(
        usage_of({"backup-vault", "create", "-g", "r", "-v", "v", "--no-wait=1"}),
        "argument --no-wait: ignored explicit argument '1'"
    );
}

TEST(Parser, NamesTheNearestVerb) {
    EXPECT_EQ(
        usage_of({"bakup-vault", "create"}),
        "'bakup-vault' is misspelled or not recognized by the system.\nDid you mean 'backup-vault'?"
    );
    EXPECT_NE(
        usage_of({"backup-vault", "creat"}).find("Did you mean 'create'?"), std::string::npos
    );
    EXPECT_NE(
        usage_of({"dataprotection", "vault", "create"}).find("Did you mean 'backup-vault'?"),
        std::string::npos
    );
    EXPECT_NE(usage_of({"zzzzzzzz"}).find("See: holdfast -h"), std::string::npos);
}

TEST(Parser, FindsHelpVersionAndGroups) {
    const CommandTable rows = table();
    EXPECT_EQ(parse_line(rows, {"--version"}).kind, ParsedLine::Kind::kVersion);
    EXPECT_EQ(parse_line(rows, {}).kind, ParsedLine::Kind::kGroupWithoutVerb);
    EXPECT_EQ(parse_line(rows, {"backup-vault"}).path, "dataprotection backup-vault");
    EXPECT_EQ(parse_line(rows, {"-h"}).kind, ParsedLine::Kind::kHelp);
    const ParsedLine help = parse_line(rows, {"backup-vault", "create", "-g", "x", "--help"});
    EXPECT_EQ(help.kind, ParsedLine::Kind::kHelp);
    EXPECT_EQ(help.path, "dataprotection backup-vault create");
}

TEST(Parser, TakesIdsInThePlaceOfNames) {
    const CommandTable rows = table();
    const ParsedLine line = parse_line(
        rows,
        {"backup-vault",
         "create",
         "--ids",
         "/subscriptions/S1/resourcegroups/R%20G/providers/microsoft.dataprotection/BackupVaults/"
         "V1",
         "/subscriptions/S2/resourceGroups/RG2/providers/Microsoft.DataProtection/backupVaults/V2"}
    );
    ASSERT_EQ(line.runs.size(), 2U);
    EXPECT_EQ(line.subscriptions, (Words{"S1", "S2"}));
    EXPECT_EQ(line.runs[0].string("--resource-group"), "R G");
    EXPECT_EQ(line.runs[1].string("--vault-name"), "V2");
    EXPECT_NE(
        usage_of({"backup-vault", "create", "--ids", "/subscriptions/S1/x"}).find("is not an id"),
        std::string::npos
    );
}

TEST(Parser, ReadsPositionalsAndOptionalValues) {
    const CommandTable rows = table();
    const auto run = [&](Words words) { return parse_line(rows, words).runs.at(0); };
    EXPECT_EQ(run({"vault", "check", "/srv/v"}).string("DIRECTORY"), "/srv/v");
    const Arguments some = run({"vault", "check", "--read-data=10", "/srv/v"});
    EXPECT_EQ(some.string("--read-data"), "10");
    const Arguments all = run({"vault", "check", "--read-data", "/srv/v"});
    EXPECT_TRUE(all.flag("--read-data"));
    EXPECT_EQ(all.string("--read-data"), "");
    EXPECT_EQ(all.string("DIRECTORY"), "/srv/v");
    EXPECT_NE(usage_of({"vault", "check"}).find("required: DIRECTORY"), std::string::npos);
    EXPECT_NE(usage_of({"vault", "check", "a", "b"}).find("unrecognized"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::cli
