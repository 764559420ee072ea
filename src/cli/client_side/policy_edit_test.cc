#include "cli/client_side/policy_edit.h"

#include "base/error.h"
#include "protection/policy.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

using ::testing::HasSubstr;

/// Printed by the Azure guide, letter for letter.
constexpr std::string_view kGuideTemplate = R"({
  "datasourceTypes": [
    "Microsoft.DBforPostgreSQL/flexibleServers"
  ],
  "name": "OssFlexiblePolicy1",
  "objectType": "BackupPolicy",
  "policyRules": [
    {
      "backupParameters": {
        "backupType": "Full",
        "objectType": "AzureBackupParams"
      },
      "dataStore": {
        "dataStoreType": "VaultStore",
        "objectType": "DataStoreInfoBase"
      },
      "name": "BackupWeekly",
      "objectType": "AzureBackupRule",
      "trigger": {
        "objectType": "ScheduleBasedTriggerContext",
        "schedule": {
          "repeatingTimeIntervals": [
            "R/2021-08-15T06:30:00+00:00/P1W"
          ],
          "timeZone": "UTC"
        },
        "taggingCriteria": [
          {
            "isDefault": true,
            "tagInfo": {
              "id": "Default_",
              "tagName": "Default"
            },
            "taggingPriority": 99
          }
        ]
      }
    },
    {
      "isDefault": true,
      "lifecycles": [
        {
          "deleteAfter": {
            "duration": "P3M",
            "objectType": "AbsoluteDeleteOption"
          },
          "sourceDataStore": {
            "dataStoreType": "VaultStore",
            "objectType": "DataStoreInfoBase"
          },
          "targetDataStoreCopySettings": []
        }
      ],
      "name": "Default",
      "objectType": "AzureRetentionRule"
    }
  ]
})";

constexpr std::string_view kFlexible = "AzureDatabaseForPostgreSQLFlexibleServer";

Json flexible_template() {
    return default_policy_template(kFlexible);
}

TEST(PolicyTemplate, IsTheGuidesLetterForLetter) {
    EXPECT_EQ(flexible_template().dump(2), kGuideTemplate);
}

TEST(PolicyTemplate, SingleServerDiffersInTwoPlaces) {
    const Json patch =
        Json::diff(flexible_template(), default_policy_template("AzureDatabaseForPostgreSQL"));
    ASSERT_EQ(patch.size(), 2U);
    EXPECT_EQ(patch[0]["value"], "Microsoft.DBforPostgreSQL/servers/databases");
    EXPECT_EQ(patch[1]["value"], "OssPolicy1");
}

TEST(PolicyTemplate, AreAcceptedByTheServer) {
    for (const std::string_view type :
         {kFlexible, std::string_view{"AzureDatabaseForPostgreSQL"}}) {
        EXPECT_NO_THROW((void)protection::parse_policy(default_policy_template(type), "properties")
        );
    }
}

TEST(CreateSchedule, IsTheGuides) {
    const Json made = create_schedule({
        .interval_type = "Weekly",
        .interval_count = 1,
        .schedule_days = {"2021-08-15T22:00:00", "2021-08-18T22:00:00", "2021-08-20T22:00:00"},
    });
    EXPECT_EQ(made.dump(2), R"([
  "R/2021-08-15T22:00:00+00:00/P1W",
  "R/2021-08-18T22:00:00+00:00/P1W",
  "R/2021-08-20T22:00:00+00:00/P1W"
])");
}

TEST(CreateSchedule, DoesNotJudgeTheDay) {
    EXPECT_EQ(
        create_schedule({.interval_type = "Daily", .interval_count = 1, .schedule_days = {"banana"}}
        ),
        Json::array({"R/banana+00:00/P1D"})
    );
    EXPECT_EQ(
        create_schedule({.interval_type = "Hourly", .interval_count = 6, .schedule_days = {"x"}}),
        Json::array({"R/x+00:00/PT6H"})
    );
}

TEST(CreateLifecycle, PrintsWhatTheAzureCliPrints) {
    EXPECT_EQ(
        create_lifecycle({
            .source_datastore = "VaultStore",
            .retention_duration_type = "Months",
            .retention_duration_count = 6,
        }),
        Json::parse(R"({"deleteAfter":{"duration":"P6M","objectType":"AbsoluteDeleteOption"},
          "sourceDataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},
          "targetDataStoreCopySettings":null})")
    );
    const Json copied = create_lifecycle({
        .source_datastore = "VaultStore",
        .retention_duration_type = "Years",
        .retention_duration_count = -6,
        .target_datastore = "ArchiveStore",
        .copy_option = "CopyOnExpiryOption",
    });
    EXPECT_EQ(copied["deleteAfter"]["duration"], "P-6Y");
    EXPECT_EQ(
        copied["targetDataStoreCopySettings"],
        Json::parse(R"({"copyAfter":{"objectType":"CopyOnExpiryOption"},
          "dataStore":{"dataStoreType":"ArchiveStore","objectType":"DataStoreInfoBase"}})")
    );
    const Json half = create_lifecycle({
        .source_datastore = "VaultStore",
        .retention_duration_type = "Days",
        .retention_duration_count = 7,
        .target_datastore = "ArchiveStore",
    });
    EXPECT_TRUE(half["targetDataStoreCopySettings"].is_null());
}

TEST(Criteria, PrintWhatTheAzureCliPrints) {
    EXPECT_EQ(
        create_absolute_criteria("FirstOfMonth"),
        Json::parse(
            R"({"objectType":"ScheduleBasedBackupCriteria","absoluteCriteria":["FirstOfMonth"]})"
        )
    );
    EXPECT_EQ(
        create_generic_criteria({.days_of_week = {{"Sunday", "Friday"}}}),
        Json::parse(
            R"({"object_type":"ScheduleBasedBackupCriteria","days_of_the_week":["Sunday","Friday"],
          "days_of_month":null,"months_of_year":null,"weeks_of_the_month":null})"
        )
    );
    EXPECT_EQ(
        create_generic_criteria({.days_of_month = {{"1", "028", "LAST"}}})["days_of_month"],
        Json::parse(R"([{"date":1,"is_last":false},{"date":28,"is_last":false},{"is_last":true}])")
    );
    EXPECT_TRUE(create_generic_criteria({})["days_of_month"].is_null());
}

/// The guide from the template to the file that it creates the policy from.
Json guide_policy() {
    Json policy = set_trigger({
        .policy = flexible_template(),
        .schedule =
            {"R/2021-08-15T22:00:00+00:00/P1W",
             "R/2021-08-18T22:00:00+00:00/P1W",
             "R/2021-08-20T22:00:00+00:00/P1W"},
    });
    const Json lifecycle = create_lifecycle({
        .source_datastore = "VaultStore",
        .retention_duration_type = "Months",
        .retention_duration_count = 6,
    });
    policy = set_retention_rule({.policy = policy, .name = "Monthly", .lifecycles = {lifecycle}});
    return set_tag({
        .policy = policy,
        .name = "Monthly",
        .criteria = {create_generic_criteria({.days_of_week = {{"Sunday", "Friday"}}})},
    });
}

TEST(PolicyEditing, FollowsTheGuide) {
    // What the Azure CLI sends at the guide's last step (without the name of the template).
    const Json expected =
        Json::parse(R"({"datasourceTypes":["Microsoft.DBforPostgreSQL/flexibleServers"],
      "name":"OssFlexiblePolicy1","objectType":"BackupPolicy","policyRules":[
      {"name":"BackupWeekly","objectType":"AzureBackupRule",
       "backupParameters":{"backupType":"Full","objectType":"AzureBackupParams"},
       "dataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},
       "trigger":{"objectType":"ScheduleBasedTriggerContext",
        "schedule":{"repeatingTimeIntervals":["R/2021-08-15T22:00:00+00:00/P1W",
          "R/2021-08-18T22:00:00+00:00/P1W","R/2021-08-20T22:00:00+00:00/P1W"],"timeZone":"UTC"},
        "taggingCriteria":[
         {"isDefault":true,"taggingPriority":99,"tagInfo":{"id":"Default_","tagName":"Default"}},
         {"isDefault":false,"taggingPriority":15,"tagInfo":{"tagName":"Monthly"},
          "criteria":[{"object_type":"ScheduleBasedBackupCriteria","days_of_the_week":["Sunday","Friday"],
            "days_of_month":null,"months_of_year":null,"weeks_of_the_month":null}]}]}},
      {"name":"Default","objectType":"AzureRetentionRule","isDefault":true,"lifecycles":[
       {"deleteAfter":{"duration":"P3M","objectType":"AbsoluteDeleteOption"},
        "sourceDataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},
        "targetDataStoreCopySettings":[]}]},
      {"name":"Monthly","objectType":"AzureRetentionRule","isDefault":false,"lifecycles":[
       {"deleteAfter":{"duration":"P6M","objectType":"AbsoluteDeleteOption"},
        "sourceDataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},
        "targetDataStoreCopySettings":null}]}]})");
    EXPECT_EQ(guide_policy(), expected) << Json::diff(expected, guide_policy()).dump(1);
    EXPECT_NO_THROW((void)protection::parse_policy(guide_policy(), "properties"));
}

TEST(PolicyEditing, ASecondTagSetGoesBesideTheFirst) {
    const Json again = set_tag({
        .policy = guide_policy(),
        .name = "Monthly",
        .criteria = {create_absolute_criteria("FirstOfMonth")},
    });
    const Json& tag = again["policyRules"][0]["trigger"]["taggingCriteria"][1];
    EXPECT_EQ(tag["Criteria"], Json::array({create_absolute_criteria("FirstOfMonth")}));
    EXPECT_TRUE(tag["criteria"][0].contains("days_of_the_week"));
}

TEST(PolicyEditing, SettingAnExistingRuleReplacesItsLifecycles) {
    const Json lifecycle = create_lifecycle({
        .source_datastore = "VaultStore",
        .retention_duration_type = "Years",
        .retention_duration_count = 1,
    });
    const Json policy = set_retention_rule(
        {.policy = flexible_template(), .name = "Default", .lifecycles = {Json::array({lifecycle})}}
    );
    ASSERT_EQ(policy["policyRules"].size(), 2U);
    EXPECT_EQ(policy["policyRules"][1]["lifecycles"], Json::array({lifecycle}));
}

TEST(PolicyEditing, RemovesWithoutComplaint) {
    EXPECT_EQ(remove_retention_rule(guide_policy(), "Monthly")["policyRules"].size(), 2U);
    EXPECT_EQ(remove_retention_rule(guide_policy(), "Yearly"), guide_policy());
    EXPECT_EQ(
        remove_tag(guide_policy(), "Monthly")["policyRules"][0]["trigger"]["taggingCriteria"].size(
        ),
        1U
    );
    EXPECT_EQ(remove_tag(guide_policy(), "Yearly"), guide_policy());
}

TEST(PolicyEditing, GoesBeyondAzureWhenAsked) {
    const Json daily = set_trigger({
        .policy = flexible_template(),
        .schedule = {"R/2021-08-15T01:30:00+00:00/P1D"},
        .breadth = Breadth::kHoldfast,
    });
    EXPECT_EQ(daily["policyRules"][0]["name"], "BackupDaily");
    const Json tagged = set_tag({
        .policy = daily,
        .name = "Daily",
        .criteria = {create_absolute_criteria("FirstOfDay")},
        .breadth = Breadth::kHoldfast,
    });
    EXPECT_EQ(tagged["policyRules"][0]["trigger"]["taggingCriteria"][1]["taggingPriority"], 25);
}

struct Refusal {
    std::string name;
    std::function<Json()> run;
    std::string message;
    ErrorKind kind = ErrorKind::kInvalidInput;
};

class PolicyRefusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(PolicyRefusals, SayWhatTheAzureCliSays) {
    try {
        (void)GetParam().run();
        FAIL() << "accepted";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), GetParam().kind);
        EXPECT_EQ(traits(error.kind()).exit_code, 1);
        EXPECT_EQ(error.text().message, GetParam().message);
        EXPECT_FALSE(error.text().recommended_actions.empty());
    }
}

Json without(const char* pointer) {
    Json policy = flexible_template();
    const Json::json_pointer at{pointer};
    policy[at.parent_pointer()].erase(at.back());
    return policy;
}

INSTANTIATE_TEST_SUITE_P(
    Table,
    PolicyRefusals,
    ::testing::Values(
        Refusal{
            "WeeklyTwice",
            [] { return create_schedule({.interval_type = "Weekly", .interval_count = 2}); },
            "Interval Count for Daily or Weekly Backup must be 1."
        },
        Refusal{
            "DailyZero",
            [] { return create_schedule({.interval_type = "Daily", .interval_count = 0}); },
            "Interval Count for Daily or Weekly Backup must be 1."
        },
        Refusal{
            "HourlyFive",
            [] { return create_schedule({.interval_type = "Hourly", .interval_count = 5}); },
            "Interval Count for Hourly Backup must be one of 4, 6, 8, 12."
        },
        Refusal{
            "DailySchedule",
            [] { return set_trigger({.policy = flexible_template(), .schedule = {"R/x/P1D"}}); },
            "Daily Backup Schedule is not supported for AzureDatabaseForPostgreSQLFlexibleServer "
            "policy"
        },
        Refusal{
            "HourlySchedule",
            [] {
                return set_trigger(
                    {.policy = default_policy_template("AzureDatabaseForPostgreSQL"),
                     .schedule = {"R/x/PT4H"}}
                );
            },
            "Hourly Backup Schedule is not supported for AzureDatabaseForPostgreSQL policy"
        },
        Refusal{
            "NoFrequency",
            [] { return set_trigger({.policy = flexible_template(), .schedule = {"R/x/P1M"}}); },
            "'R/x/P1M' is not a schedule: it must end in P1W, P1D or PTnH."
        },
        Refusal{
            "DailyRule",
            [] { return set_retention_rule({.policy = flexible_template(), .name = "Daily"}); },
            "Selected Retention Rule Daily is not applicable for Datasource Type "
            "AzureDatabaseForPostgreSQLFlexibleServer"
        },
        Refusal{
            "DailyTag",
            [] { return set_tag({.policy = flexible_template(), .name = "Daily"}); },
            "Selected Retention Tag Daily is not applicable for Datasource Type "
            "AzureDatabaseForPostgreSQLFlexibleServer"
        },
        Refusal{
            "RemoveDefault",
            [] { return remove_retention_rule(flexible_template(), "Default"); },
            "Removing Default Retention Rule is not allowed. Please try again with different rule "
            "name."
        },
        Refusal{
            "Day29",
            [] { return create_generic_criteria({.days_of_month = {{"29"}}}); },
            "Day of month should be between 1 and 28."
        },
        Refusal{
            "Day0",
            [] { return create_generic_criteria({.days_of_month = {{"0"}}}); },
            "Day of month should be between 1 and 28."
        },
        Refusal{
            "DayOfManyDigits",
            [] { return create_generic_criteria({.days_of_month = {{"99999999999999999999"}}}); },
            "Day of month should be between 1 and 28."
        },
        Refusal{
            "DayName",
            [] { return create_generic_criteria({.days_of_month = {{"-1"}}}); },
            "Day of month should either be between 1 and 28 or it should be last"
        },
        Refusal{
            "Disk",
            [] { return default_policy_template("AzureDisk"); },
            "Holdfast protects PostgreSQL; the datasource type 'AzureDisk' is not one of it.",
            ErrorKind::kDatasourceUnsupported
        },
        // Tracebacks of the Azure CLI:
        Refusal{
            "NoRules",
            [] {
                return set_trigger({.policy = without("/policyRules"), .schedule = {"R/x/P1W"}});
            },
            "The policy has no list policyRules."
        },
        Refusal{
            "NoTypes",
            [] { return set_tag({.policy = without("/datasourceTypes"), .name = "Weekly"}); },
            "The policy has no datasourceTypes."
        },
        Refusal{
            "NoTrigger",
            [] {
                return set_trigger(
                    {.policy = without("/policyRules/0/trigger"), .schedule = {"R/x/P1W"}}
                );
            },
            "The policy has no trigger with a schedule."
        },
        Refusal{
            "NoTags",
            [] { return remove_tag(without("/policyRules/0/trigger/taggingCriteria"), "Weekly"); },
            "The policy has no trigger with a list taggingCriteria."
        },
        Refusal{
            "NotAnObject",
            [] { return remove_tag(Json::array(), "Weekly"); },
            "The policy has no list policyRules."
        },
        Refusal{
            "NotAPolicy",
            [] { return set_tag({.policy = Json("x"), .name = "Weekly"}); },
            "The policy has no datasourceTypes."
        }
    ),
    [](const auto& row) { return row.param.name; }
);

}  // namespace
}  // namespace holdfast::cli
