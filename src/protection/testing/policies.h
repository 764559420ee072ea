#pragma once

#include "base/error.h"
#include "base/json.h"
#include "protection/policy.h"

#include <string>
#include <string_view>
#include <vector>

/// Policies and instants for tests, written briefly.
namespace holdfast::protection::testing {

/// "2026-03-29T01:30:00Z"; aborts on a slip in the test.
inline Instant at(std::string_view text) {
    const auto instant = parse_instant(text);
    HOLDFAST_CHECK(instant.has_value());
    return *instant;
}

struct TagSpec {
    std::string name;
    int priority = 15;
    Json criteria = {};  ///< One ScheduleBasedBackupCriteria.
    std::string keep = "P6M";
};

struct PolicySpec {
    std::vector<std::string> intervals = {"R/2021-08-15T22:00:00+00:00/P1W"};
    std::string time_zone = "UTC";  ///< Empty: absent.
    std::vector<TagSpec> tags = {};
    std::string keep = "P3M";  ///< Of Default.
    std::string week_start = {};
};

inline Json retention_rule(const std::string& name, const std::string& keep) {
    return {
        {"name", name},
        {"objectType", "AzureRetentionRule"},
        {"isDefault", name == "Default"},
        {"lifecycles",
         {{{"deleteAfter", {{"duration", keep}, {"objectType", "AbsoluteDeleteOption"}}},
           {"sourceDataStore",
            {{"dataStoreType", "VaultStore"}, {"objectType", "DataStoreInfoBase"}}},
           {"targetDataStoreCopySettings", Json::array()}}}},
    };
}

inline Json policy_json(const PolicySpec& spec = {}) {
    Json tagging = Json::array();
    Json rules = Json::array();
    tagging.push_back(
        {{"isDefault", true},
         {"taggingPriority", 99},
         {"tagInfo", {{"id", "Default_"}, {"tagName", "Default"}}}}
    );
    for (const TagSpec& tag : spec.tags) {
        Json criteria = tag.criteria;
        criteria["objectType"] = "ScheduleBasedBackupCriteria";
        tagging.push_back(
            {{"isDefault", false},
             {"taggingPriority", tag.priority},
             {"tagInfo", {{"tagName", tag.name}}},
             {"criteria", {criteria}}}
        );
    }
    Json schedule{{"repeatingTimeIntervals", spec.intervals}};
    if (!spec.time_zone.empty()) {
        schedule["timeZone"] = spec.time_zone;
    }
    rules.push_back(
        {{"name", "BackupWeekly"},
         {"objectType", "AzureBackupRule"},
         {"backupParameters", {{"backupType", "Full"}, {"objectType", "AzureBackupParams"}}},
         {"dataStore", {{"dataStoreType", "VaultStore"}, {"objectType", "DataStoreInfoBase"}}},
         {"trigger",
          {{"objectType", "ScheduleBasedTriggerContext"},
           {"schedule", schedule},
           {"taggingCriteria", tagging}}}}
    );
    rules.push_back(retention_rule("Default", spec.keep));
    for (const TagSpec& tag : spec.tags) {
        rules.push_back(retention_rule(tag.name, tag.keep));
    }
    Json out{
        {"objectType", "BackupPolicy"},
        {"datasourceTypes", {"Microsoft.DBforPostgreSQL/flexibleServers"}},
        {"policyRules", rules},
    };
    if (!spec.week_start.empty()) {
        out["holdfast"] = {{"weekStart", spec.week_start}};
    }
    return out;
}

inline BackupPolicy policy(const PolicySpec& spec = {}) {
    return parse_policy(policy_json(spec), "properties");
}

}  // namespace holdfast::protection::testing
