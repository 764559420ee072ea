#include "protection/policy.h"

#include "protection/testing/policies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::protection {
namespace {

using ::testing::HasSubstr;
using testing::policy_json;

/// What the last step of the Azure guide sends, with the criteria once as `tag
/// create-generic-criteria` prints them.
constexpr std::string_view kGuide = R"({
 "datasourceTypes":["Microsoft.DBforPostgreSQL/flexibleServers"],"name":"OssFlexiblePolicy1","objectType":"BackupPolicy","policyRules":[
 {"name":"BackupWeekly","objectType":"AzureBackupRule","backupParameters":{"backupType":"Full","objectType":"AzureBackupParams"},
  "dataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},
  "trigger":{"objectType":"ScheduleBasedTriggerContext",
   "schedule":{"repeatingTimeIntervals":["R/2021-08-15T22:00:00+00:00/P1W","R/2021-08-18T22:00:00+00:00/P1W","R/2021-08-20T22:00:00+00:00/P1W"],"timeZone":"UTC"},
   "taggingCriteria":[
    {"isDefault":true,"taggingPriority":99,"tagInfo":{"id":"Default_","tagName":"Default"}},
    {"isDefault":false,"taggingPriority":15,"tagInfo":{"tagName":"Monthly"},
     "criteria":[{"object_type":"ScheduleBasedBackupCriteria","days_of_the_week":["Sunday","Friday"],"days_of_month":null,"months_of_year":null,"weeks_of_the_month":null}]}]}},
 {"name":"Default","objectType":"AzureRetentionRule","isDefault":true,"lifecycles":[{"deleteAfter":{"duration":"P3M","objectType":"AbsoluteDeleteOption"},
   "sourceDataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},"targetDataStoreCopySettings":[]}]},
 {"name":"Monthly","objectType":"AzureRetentionRule","isDefault":false,"lifecycles":[{"deleteAfter":{"duration":"P6M","objectType":"AbsoluteDeleteOption"},
   "sourceDataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},"targetDataStoreCopySettings":null}]}]})";

Json canonical(const Json& properties) {
    return to_json(parse_policy(properties, "properties"));
}

TEST(Policy, AnswersTheGuidesPolicyInCamelCase) {
    PolicyNotes notes;
    const Json given = Json::parse(kGuide);
    const Json answer = to_json(parse_policy(given, "properties", &notes));
    Json expected = given;
    expected.erase("name");
    Json& tag = expected["policyRules"][0]["trigger"]["taggingCriteria"][1];
    tag["tagInfo"]["id"] = "Monthly_";
    tag["criteria"] = {
        {{"objectType", "ScheduleBasedBackupCriteria"}, {"daysOfTheWeek", {"Sunday", "Friday"}}}
    };
    expected["policyRules"][2]["lifecycles"][0]["targetDataStoreCopySettings"] = Json::array();
    EXPECT_EQ(answer, expected) << Json::diff(expected, answer).dump(1);
    EXPECT_TRUE(notes.ignored.empty());
    EXPECT_EQ(canonical(answer), answer);
}

TEST(Policy, TheLaterCriteriaWin) {
    Json given = Json::parse(kGuide);
    given["policyRules"][0]["trigger"]["taggingCriteria"][1]["Criteria"] = {
        {{"objectType", "ScheduleBasedBackupCriteria"}, {"absoluteCriteria", {"FirstOfMonth"}}}
    };
    const Json tag = canonical(given)["policyRules"][0]["trigger"]["taggingCriteria"][1];
    EXPECT_EQ(
        tag["criteria"],
        Json::parse(
            R"([{"objectType":"ScheduleBasedBackupCriteria","absoluteCriteria":["FirstOfMonth"]}])"
        )
    );
    EXPECT_FALSE(tag.contains("Criteria"));
}

TEST(Policy, ReadsEveryKindOfCriteriaInSnakeCase) {
    Json given = policy_json({.tags = {{.name = "Monthly"}}});
    given["policyRules"][0]["trigger"]["taggingCriteria"][1]["criteria"] = Json::parse(
        R"([{"object_type":"ScheduleBasedBackupCriteria","days_of_the_week":["sunday"],"weeks_of_the_month":["LAST"],
             "months_of_year":["june"],"days_of_month":[{"date":1,"is_last":false},{"date":null,"is_last":true}],
             "schedule_times":["2021-08-15T22:00:00Z"],"absolute_criteria":null}])"
    );
    EXPECT_EQ(
        canonical(given)["policyRules"][0]["trigger"]["taggingCriteria"][1]["criteria"],
        Json::parse(
            R"([{"objectType":"ScheduleBasedBackupCriteria","daysOfTheWeek":["Sunday"],"weeksOfTheMonth":["Last"],
             "monthsOfYear":["June"],"daysOfMonth":[{"date":1,"isLast":false},{"isLast":true}],
             "scheduleTimes":["2021-08-15T22:00:00Z"]}])"
        )
    );
}

TEST(Policy, CopySettingsMayBeNullAnObjectOrAList) {
    const Json copy = Json::parse(
        R"({"copyAfter":{"objectType":"CopyOnExpiryOption"},"dataStore":{"dataStoreType":"ArchiveStore","objectType":"DataStoreInfoBase"}})"
    );
    Json given = policy_json();
    Json& lifecycles = given["policyRules"][1]["lifecycles"];
    lifecycles[0]["targetDataStoreCopySettings"] = nullptr;
    EXPECT_EQ(
        canonical(given)["policyRules"][1]["lifecycles"][0]["targetDataStoreCopySettings"],
        Json::array()
    );
    lifecycles[0].erase("targetDataStoreCopySettings");
    EXPECT_EQ(
        canonical(given)["policyRules"][1]["lifecycles"][0]["targetDataStoreCopySettings"],
        Json::array()
    );
    lifecycles.push_back(Json::parse(
        R"({"deleteAfter":{"duration":"P1Y","objectType":"AbsoluteDeleteOption"},"sourceDataStore":{"dataStoreType":"ArchiveStore","objectType":"DataStoreInfoBase"}})"
    ));
    lifecycles[0]["targetDataStoreCopySettings"] = copy;
    const Json from_object = canonical(given)["policyRules"][1]["lifecycles"];
    lifecycles[0]["targetDataStoreCopySettings"] = Json::array({copy});
    EXPECT_EQ(from_object, canonical(given)["policyRules"][1]["lifecycles"]);
    EXPECT_EQ(from_object[0]["targetDataStoreCopySettings"], Json::array({copy}));
}

TEST(Policy, EchoesDatasourceTypesAsGiven) {
    Json given = policy_json();
    given["datasourceTypes"] = {" Microsoft.DBforPostgreSQL/flexibleServers/databases"};
    const BackupPolicy policy = parse_policy(given, "properties");
    EXPECT_EQ(to_json(policy)["datasourceTypes"], given["datasourceTypes"]);
    EXPECT_TRUE(policy.covers(DatasourceKind::kFlexibleServer));
    EXPECT_TRUE(policy.covers(DatasourceKind::kFlexibleServerDatabase));
    EXPECT_FALSE(policy.covers(DatasourceKind::kSingleServerDatabase));
}

TEST(Policy, DatasourceSpellings) {
    struct Row {
        std::string_view text;
        std::optional<DatasourceKind> kind;
    };
    for (const Row& row : {
             Row{"AzureDatabaseForPostgreSQLFlexibleServer", DatasourceKind::kFlexibleServer},
             Row{"  microsoft.dbforpostgresql/FLEXIBLESERVERS ", DatasourceKind::kFlexibleServer},
             Row{"Microsoft.DBforPostgreSQL/flexibleServers/databases",
                 DatasourceKind::kFlexibleServerDatabase},
             Row{"Microsoft.DBforPostgreSQL/servers/databases",
                 DatasourceKind::kSingleServerDatabase},
             Row{"AzureDatabaseForPostgreSQL", DatasourceKind::kSingleServerDatabase},
             Row{"OssDB", DatasourceKind::kSingleServerDatabase},
             Row{"Microsoft.Compute/disks", std::nullopt},
             Row{"", std::nullopt},
         }) {
        EXPECT_EQ(parse_datasource_type(row.text), row.kind) << row.text;
    }
}

TEST(Policy, NotesWhatItIgnores) {
    Json given = policy_json();
    given["name"] = "x";
    given["someFutureThing"] = 1;
    given["nothing"] = nullptr;
    PolicyNotes notes;
    (void)parse_policy(given, "properties", &notes);
    EXPECT_THAT(notes.ignored, ::testing::ElementsAre("properties.someFutureThing"));
}

TEST(Policy, KeepsTheOrderOfRulesAndOtherDetails) {
    Json given = policy_json(
        {.tags = {{.name = "Monthly", .criteria = {{"absoluteCriteria", {"FirstOfMonth"}}}}},
         .week_start = "monday"}
    );
    std::rotate(
        given["policyRules"].begin(), given["policyRules"].begin() + 1, given["policyRules"].end()
    );
    given["policyRules"][2]["trigger"]["taggingCriteria"][0]["tagInfo"]["eTag"] = "abc";
    const Json answer = canonical(given);
    EXPECT_EQ(answer["policyRules"][0]["name"], "Default");
    EXPECT_EQ(answer["policyRules"][2]["trigger"]["taggingCriteria"][0]["tagInfo"]["eTag"], "abc");
    EXPECT_EQ(answer["holdfast"]["weekStart"], "Monday");
}

TEST(Policy, ReadsAnOnDemandOnlyRule) {
    Json given = policy_json();
    given["policyRules"][0]["trigger"] = Json::parse(
        R"({"objectType":"AdhocBasedTriggerContext","taggingCriteria":{"tagInfo":{"tagName":"Default"}}})"
    );
    const Json answer = canonical(given);
    EXPECT_EQ(answer["policyRules"][0]["trigger"]["taggingCriteria"]["tagInfo"]["id"], "Default_");
    EXPECT_EQ(canonical(answer), answer);
}

TEST(Adhoc, AcceptsBackupRuleAndRetentionRuleNames) {
    const BackupPolicy policy = parse_policy(Json::parse(kGuide), "properties");
    struct Row {
        AdhocRequest request;
        std::string_view tag;
    };
    for (const Row& row : {
             Row{{.rule_name = "BackupWeekly"}, "Default"},
             Row{{.rule_name = "backupweekly", .tag_override = "monthly"}, "Monthly"},
             Row{{.rule_name = "Monthly"}, "Monthly"},
             Row{{.rule_name = "Monthly", .tag_override = "Default"}, "Default"},
             Row{{.rule_name = "Default"}, "Default"},
         }) {
        const AdhocDecision decision = resolve_adhoc(policy, row.request);
        EXPECT_EQ(decision.backup_rule, "BackupWeekly");
        EXPECT_EQ(decision.tag_name, row.tag);
    }
}

TEST(Adhoc, AnUnknownNameListsTheValidOnes) {
    const BackupPolicy policy = parse_policy(Json::parse(kGuide), "properties");
    for (const AdhocRequest& request :
         {AdhocRequest{.rule_name = "Yearly"},
          AdhocRequest{.rule_name = ""},
          AdhocRequest{.rule_name = "BackupWeekly", .tag_override = "BackupWeekly"}}) {
        try {
            (void)resolve_adhoc(policy, request);
            ADD_FAILURE() << "accepted " << request.rule_name;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
            EXPECT_THAT(
                error.text().message,
                HasSubstr(
                    "Allowed: backup rules BackupWeekly; retention rules (tags) Default, Monthly."
                )
            );
            EXPECT_THAT(error.text().target, HasSubstr("backupRuleOptions."));
        }
    }
}

/// One way to spoil a good policy: the value at `pointer` is replaced; a null value removes it.
struct Bad {
    std::string pointer;
    Json value;
    std::string target;   ///< Expected JSON path.
    std::string message;  ///< Expected part of the message.
};

constexpr const char* kTrigger = "/policyRules/0/trigger";
constexpr const char* kTag = "/policyRules/0/trigger/taggingCriteria/1";
constexpr const char* kLifecycle = "/policyRules/1/lifecycles/0";

Json spoiled(const Bad& bad) {
    Json policy = policy_json(
        {.tags = {{.name = "Monthly", .criteria = {{"absoluteCriteria", {"FirstOfMonth"}}}}}}
    );
    if (bad.pointer.empty()) {
        return bad.value;
    }
    const Json::json_pointer pointer{bad.pointer};
    if (bad.value.is_null()) {
        Json& parent = policy[pointer.parent_pointer()];
        parent.is_array() ? parent.erase(std::stoul(pointer.back()))
                          : static_cast<void>(parent.erase(pointer.back()));
    } else {
        policy[pointer] = bad.value;
    }
    return policy;
}

void expect_refused(const std::vector<Bad>& rows) {
    for (const Bad& row : rows) {
        const std::string what = row.pointer + " = " + row.value.dump();
        try {
            (void)parse_policy(spoiled(row), "properties");
            ADD_FAILURE() << "accepted " << what;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kInvalidPolicy) << what;
            EXPECT_EQ(error.text().target, row.target) << what;
            EXPECT_THAT(error.text().message, HasSubstr(row.message)) << what;
            EXPECT_THAT(error.text().message, HasSubstr(row.target)) << what;
            EXPECT_FALSE(error.text().recommended_actions.empty()) << what;
        }
    }
}

std::string under(const char* base, const char* rest) {
    return std::string{base} + rest;
}

TEST(InvalidPolicy, WholeAndRules) {
    const std::string rules = "properties.policyRules";
    expect_refused({
        {"", Json::array(), "properties", "Expected an object, found an array"},
        {"", "policy", "properties", "Expected an object"},
        {"/objectType", "Policy", "properties.objectType", "Allowed: BackupPolicy"},
        {"/datasourceTypes", nullptr, "properties.datasourceTypes", "missing"},
        {"/datasourceTypes",
         Json::array(),
         "properties.datasourceTypes",
         "Allowed: Microsoft.DBforPostgreSQL"},
        {"/datasourceTypes", "x", "properties.datasourceTypes", "Expected an array"},
        {"/datasourceTypes/0",
         "Microsoft.Compute/disks",
         "properties.datasourceTypes[0]",
         "Allowed: Microsoft.DBforPostgreSQL"},
        {"/datasourceTypes/0", 5, "properties.datasourceTypes[0]", "Expected a string"},
        {"/policyRules", nullptr, rules, "missing"},
        {"/policyRules", Json::array(), rules, "no backup rule"},
        {"/policyRules/0", nullptr, rules, "no backup rule"},
        {"/policyRules/1", nullptr, rules, "no default retention rule"},
        {"/policyRules/2",
         nullptr,
         rules + "[0].trigger.taggingCriteria[1].tagInfo.tagName",
         "Allowed: Default"},
        {"/policyRules/0/objectType",
         "AzureRule",
         rules + "[0].objectType",
         "Allowed: AzureBackupRule, AzureRetentionRule"},
        {"/policyRules/0/objectType", nullptr, rules + "[0].objectType", "missing"},
        {"/policyRules/0/name", nullptr, rules + "[0].name", "missing"},
        {"/policyRules/0/name", " ", rules + "[0].name", "not a valid name"},
        {"/policyRules/0/name", "a\nb", rules + "[0].name", "not a valid name"},
        {"/policyRules/0/name", std::string(151, 'a'), rules + "[0].name", "1 to 150"},
        {"/policyRules/0/name", "monthly", rules + "[2].name", "already that of policyRules[0]"},
        {"/policyRules/0/colour", "red", rules + "[0].colour", "not known"},
        {"/policyRules/0/triger", Json::object(), rules + "[0].triger", "Did you mean \"trigger\""},
        {"/policyRules/0/backupParameters/backupType",
         "Incremental",
         rules + "[0].backupParameters.backupType",
         "Allowed: Full"},
        {"/policyRules/0/dataStore", nullptr, rules + "[0].dataStore", "missing"},
        {"/policyRules/0/dataStore/dataStoreType",
         "OperationalStore",
         rules + "[0].dataStore.dataStoreType",
         "PostgreSQL backups cannot be kept there. Allowed: VaultStore"},
        {"/policyRules/0/dataStore/dataStoreType",
         "ArchiveStore",
         rules + "[0].dataStore.dataStoreType",
         "Allowed: VaultStore"},
        {"/policyRules/0/dataStore/dataStoreType",
         "Cloud",
         rules + "[0].dataStore.dataStoreType",
         "Allowed: OperationalStore, VaultStore"},
    });
}

TEST(InvalidPolicy, Schedule) {
    const std::string schedule = "properties.policyRules[0].trigger.schedule";
    expect_refused({
        {kTrigger, nullptr, "properties.policyRules[0].trigger", "missing"},
        {under(kTrigger, "/objectType"),
         "Manual",
         "properties.policyRules[0].trigger.objectType",
         "Allowed: ScheduleBasedTriggerContext"},
        {under(kTrigger, "/schedule"), nullptr, schedule, "missing"},
        {under(kTrigger, "/schedule/timeZone"),
         "Mars/Olympus",
         schedule + ".timeZone",
         "Allowed: an IANA name"},
        {under(kTrigger, "/schedule/repeatingTimeIntervals"),
         Json::array(),
         schedule + ".repeatingTimeIntervals",
         "no interval"},
        {under(kTrigger, "/schedule/repeatingTimeIntervals"),
         Json(std::vector<std::string>(201, "R/2021-08-15T22:00:00Z/P1W")),
         schedule + ".repeatingTimeIntervals",
         "at most 200"},
        {under(kTrigger, "/schedule/repeatingTimeIntervals/0"),
         "R/banana+00:00/P1D",
         schedule + ".repeatingTimeIntervals[0]",
         "Allowed: R/<start>"},
        {under(kTrigger, "/schedule/repeatingTimeIntervals/0"),
         "R/2021-08-15T22:00:00Z/P1Y",
         schedule + ".repeatingTimeIntervals[0]",
         "P1W, P1D, PT1H to PT24H"},
        {under(kTrigger, "/schedule/repeatingTimeIntervals/0"),
         7,
         schedule + ".repeatingTimeIntervals[0]",
         "Expected a string"},
        {under(kTrigger, "/schedule/interval"), 7, schedule + ".interval", "not known"},
    });
}

TEST(InvalidPolicy, Tags) {
    const std::string tags = "properties.policyRules[0].trigger.taggingCriteria";
    const auto criteria = [](const char* text) { return Json::array({Json::parse(text)}); };
    const std::string all = under(kTag, "/criteria");
    expect_refused({
        {under(kTrigger, "/taggingCriteria"), nullptr, tags, "missing"},
        {under(kTrigger, "/taggingCriteria/0"), nullptr, tags, "default tag is missing"},
        {under(kTrigger, "/taggingCriteria/0/criteria"),
         criteria(R"({"absoluteCriteria":["AllBackup"]})"),
         tags + "[0].criteria",
         "no criteria"},
        {under(kTrigger, "/taggingCriteria/0/taggingPriority"),
         10,
         tags + "[1].taggingPriority",
         "a number smaller than 10"},
        {under(kTag, "/taggingPriority"),
         99,
         tags + "[1].taggingPriority",
         "already that of the tag Default"},
        {under(kTag, "/taggingPriority"), -1, tags + "[1].taggingPriority", "negative"},
        {under(kTag, "/taggingPriority"),
         "15",
         tags + "[1].taggingPriority",
         "Expected a whole number"},
        {under(kTag, "/tagInfo"), nullptr, tags + "[1].tagInfo", "missing"},
        {under(kTag, "/tagInfo/tagName"),
         "Yearly",
         tags + "[1].tagInfo.tagName",
         "Allowed: Default, Monthly"},
        {under(kTag, "/tagInfo/tagName"),
         "Default",
         tags + "[1].tagInfo.tagName",
         "must have isDefault true"},
        {under(kTag, "/isDefault"), true, tags + "[1].tagInfo.tagName", "must be named Default"},
        {under(kTrigger, "/taggingCriteria/1"),
         policy_json()["policyRules"][0]["trigger"]["taggingCriteria"][0],
         tags + "[1].tagInfo",
         "already defined"},
        {all, nullptr, tags + "[1]", "no criteria"},
        {all, Json::array(), tags + "[1]", "no criteria"},
        {all, criteria("{}"), tags + "[1].criteria[0]", "at least one of absoluteCriteria"},
        {all,
         criteria(R"({"absoluteCriteria":["FirstOfCentury"]})"),
         tags + "[1].criteria[0].absoluteCriteria[0]",
         "Allowed: AllBackup, FirstOfDay"},
        {all,
         criteria(R"({"days_of_the_week":["Sonntag"]})"),
         tags + "[1].criteria[0].daysOfTheWeek[0]",
         "Allowed: Sunday, Monday"},
        {all,
         criteria(R"({"weeksOfTheMonth":["Fifth"]})"),
         tags + "[1].criteria[0].weeksOfTheMonth[0]",
         "Allowed: First"},
        {all,
         criteria(R"({"monthsOfYear":["Brumaire"]})"),
         tags + "[1].criteria[0].monthsOfYear[0]",
         "Allowed: January"},
        {all,
         criteria(R"({"daysOfMonth":[{"date":29}]})"),
         tags + "[1].criteria[0].daysOfMonth[0]",
         "a date from 1 to 28, or isLast"},
        {all,
         criteria(R"({"daysOfMonth":[{"date":5,"isLast":true}]})"),
         tags + "[1].criteria[0].daysOfMonth[0]",
         "both"},
        {all,
         criteria(R"({"scheduleTimes":["22:00"]})"),
         tags + "[1].criteria[0].scheduleTimes[0]",
         "YYYY-MM-DD"},
        {all,
         criteria(R"({"objectType":"Other","absoluteCriteria":["AllBackup"]})"),
         tags + "[1].criteria[0].objectType",
         "Allowed: ScheduleBasedBackupCriteria"},
        {all,
         criteria(R"({"daysOfWeek":["Sunday"]})"),
         tags + "[1].criteria[0].daysOfWeek",
         "Did you mean \"daysOfTheWeek\""},
        {under(kTag, "/Criteria"), criteria("{}"), tags + "[1].Criteria[0]", "at least one of"},
    });
}

TEST(InvalidPolicy, Retention) {
    const std::string rule = "properties.policyRules[1]";
    const std::string cycle = rule + ".lifecycles[0]";
    const auto copy = [](const char* after, const char* store) {
        return Json{{"copyAfter", Json::parse(after)}, {"dataStore", {{"dataStoreType", store}}}};
    };
    const std::string copies = under(kLifecycle, "/targetDataStoreCopySettings");
    const std::string copy_path = cycle + ".targetDataStoreCopySettings";
    expect_refused({
        {"/policyRules/1/name", "Standard", rule + ".name", "its name is Default"},
        {"/policyRules/1/isDefault", false, rule + ".name", "isDefault false"},
        {"/policyRules/2/isDefault", true, "properties.policyRules[2].name", "exactly one rule"},
        {"/policyRules/1/isDefault", "yes", rule + ".isDefault", "Expected true or false"},
        {"/policyRules/1/lifecycles", nullptr, rule + ".lifecycles", "missing"},
        {"/policyRules/1/lifecycles", Json::array(), rule + ".lifecycles", "no lifecycle"},
        {under(kLifecycle, "/deleteAfter"), nullptr, cycle + ".deleteAfter", "missing"},
        {under(kLifecycle, "/deleteAfter/objectType"),
         "Never",
         cycle + ".deleteAfter.objectType",
         "Allowed: AbsoluteDeleteOption"},
        {under(kLifecycle, "/deleteAfter/duration"),
         "P-6M",
         cycle + ".deleteAfter.duration",
         "negative. Allowed: a duration"},
        {under(kLifecycle, "/deleteAfter/duration"),
         "P0D",
         cycle + ".deleteAfter.duration",
         "P1D to P100Y"},
        {under(kLifecycle, "/deleteAfter/duration"),
         "PT12H",
         cycle + ".deleteAfter.duration",
         "hours or minutes"},
        {under(kLifecycle, "/deleteAfter/duration"),
         "3 months",
         cycle + ".deleteAfter.duration",
         "such as P7D"},
        {under(kLifecycle, "/deleteAfter/duration"),
         "P1000Y",
         cycle + ".deleteAfter.duration",
         "P1D to P100Y"},
        {under(kLifecycle, "/sourceDataStore/dataStoreType"),
         "OperationalStore",
         cycle + ".sourceDataStore.dataStoreType",
         "PostgreSQL backups"},
        {under(kLifecycle, "/sourceDataStore/dataStoreType"),
         "ArchiveStore",
         rule + ".lifecycles",
         "Backups land in VaultStore"},
        {under(kLifecycle, "/sourceDataStore"), nullptr, cycle + ".sourceDataStore", "missing"},
        {copies,
         copy(R"({"objectType":"CopyOnExpiryOption"})", "ArchiveStore"),
         rule + ".lifecycles",
         "how long they stay there"},
        {copies,
         copy(R"({"objectType":"CopyOnExpiryOption"})", "VaultStore"),
         copy_path + ".dataStore.dataStoreType",
         "from VaultStore to ArchiveStore"},
        {copies,
         copy(R"({"objectType":"SomeTime"})", "ArchiveStore"),
         copy_path + ".copyAfter.objectType",
         "Allowed: ImmediateCopyOption, CopyOnExpiryOption, CustomCopyOption"},
        {copies,
         copy(R"({"objectType":"CustomCopyOption"})", "ArchiveStore"),
         copy_path + ".copyAfter.duration",
         "missing"},
        {copies,
         copy(R"({"objectType":"CustomCopyOption","duration":"P4M"})", "ArchiveStore"),
         copy_path + ".copyAfter.duration",
         "after its source is deleted"},
        {copies,
         copy(R"({"objectType":"CopyOnExpiryOption","duration":"P4M"})", "ArchiveStore"),
         copy_path + ".copyAfter.duration",
         "not known"},
        {copies, "ArchiveStore", copy_path, "Expected an array"},
        {"/policyRules/1/lifecycles/1",
         policy_json()["policyRules"][1]["lifecycles"][0],
         rule + ".lifecycles[1].sourceDataStore",
         "one lifecycle per data store"},
        {"/policyRules/1/lifecycles/1",
         Json::parse(
             R"({"deleteAfter":{"duration":"P1Y"},"sourceDataStore":{"dataStoreType":"ArchiveStore"}})"
         ),
         rule + ".lifecycles[1]",
         "No point ever reaches ArchiveStore"},
        {"/holdfast", {{"weekStart", "Someday"}}, "properties.holdfast.weekStart", "Allowed: Sunday"
        },
        {"/holdfast",
         {{"weekStrat", "Monday"}},
         "properties.holdfast.weekStrat",
         "Did you mean \"weekStart\""},
        {"/holdfast", "Monday", "properties.holdfast", "Expected an object"},
    });
}

}  // namespace
}  // namespace holdfast::protection
