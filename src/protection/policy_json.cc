#include "protection/policy.h"
#include "protection/policy_words.h"

namespace holdfast::protection {
namespace {

Json data_store_json(DataStoreType type) {
    return {{"dataStoreType", to_string(type)}, {"objectType", "DataStoreInfoBase"}};
}

template <typename Table, typename List>
void put_words(Json& out, const char* name, const Table& table, const List& list) {
    if (list.empty()) {
        return;
    }
    Json array = Json::array();
    for (const auto& value : list) {
        array.push_back(words::text_of(table, value));
    }
    out[name] = std::move(array);
}

Json criteria_json(const BackupCriteria& criteria) {
    Json out{{"objectType", "ScheduleBasedBackupCriteria"}};
    put_words(out, "absoluteCriteria", words::kAbsoluteMarkers, criteria.absolute);
    put_words(out, "daysOfTheWeek", words::kWeekdays, criteria.days_of_the_week);
    put_words(out, "weeksOfTheMonth", words::kWeeks, criteria.weeks_of_the_month);
    put_words(out, "monthsOfYear", words::kMonths, criteria.months_of_year);
    for (const DayOfMonth& day : criteria.days_of_month) {
        out["daysOfMonth"].push_back(
            day.is_last ? Json{{"isLast", true}} : Json{{"date", day.date}, {"isLast", false}}
        );
    }
    if (!criteria.schedule_times.empty()) {
        out["scheduleTimes"] = criteria.schedule_times;
    }
    return out;
}

Json tag_info_json(const TaggingCriteria& tag) {
    Json out{{"id", tag.tag_name + "_"}, {"tagName", tag.tag_name}};
    if (!tag.tag_etag.empty()) {
        out["eTag"] = tag.tag_etag;
    }
    return out;
}

Json tagging_json(const TaggingCriteria& tag) {
    Json out{
        {"isDefault", tag.is_default},
        {"tagInfo", tag_info_json(tag)},
        {"taggingPriority", tag.priority},
    };
    for (const BackupCriteria& criteria : tag.criteria) {
        out["criteria"].push_back(criteria_json(criteria));
    }
    return out;
}

Json trigger_json(const BackupRule& rule) {
    if (!rule.schedule) {
        return {
            {"objectType", "AdhocBasedTriggerContext"},
            {"taggingCriteria", {{"tagInfo", tag_info_json(rule.tagging.front())}}},
        };
    }
    Json intervals = Json::array();
    for (const RepeatingInterval& interval : rule.schedule->intervals) {
        intervals.push_back(interval.text);
    }
    Json schedule{{"repeatingTimeIntervals", std::move(intervals)}};
    if (!rule.schedule->time_zone.empty()) {
        schedule["timeZone"] = rule.schedule->time_zone;
    }
    Json tagging = Json::array();
    for (const TaggingCriteria& tag : rule.tagging) {
        tagging.push_back(tagging_json(tag));
    }
    return {
        {"objectType", "ScheduleBasedTriggerContext"},
        {"schedule", std::move(schedule)},
        {"taggingCriteria", std::move(tagging)},
    };
}

Json backup_rule_json(const BackupRule& rule) {
    return {
        {"name", rule.name},
        {"objectType", "AzureBackupRule"},
        {"backupParameters", {{"backupType", rule.backup_type}, {"objectType", "AzureBackupParams"}}
        },
        {"dataStore", data_store_json(rule.data_store)},
        {"trigger", trigger_json(rule)},
    };
}

Json copy_option_json(const CopyOption& option) {
    if (const auto* custom = std::get_if<CustomCopy>(&option)) {
        return {{"objectType", "CustomCopyOption"}, {"duration", custom->after.text}};
    }
    return {
        {"objectType",
         std::holds_alternative<CopyOnExpiry>(option) ? "CopyOnExpiryOption" : "ImmediateCopyOption"
        }
    };
}

Json lifecycle_json(const Lifecycle& lifecycle) {
    Json copies = Json::array();
    for (const CopySetting& copy : lifecycle.copies) {
        copies.push_back(
            {{"copyAfter", copy_option_json(copy.when)}, {"dataStore", data_store_json(copy.target)}
            }
        );
    }
    return {
        {"deleteAfter",
         {{"duration", lifecycle.delete_after.text}, {"objectType", "AbsoluteDeleteOption"}}},
        {"sourceDataStore", data_store_json(lifecycle.source)},
        {"targetDataStoreCopySettings", std::move(copies)},
    };
}

Json retention_rule_json(const RetentionRule& rule) {
    Json lifecycles = Json::array();
    for (const Lifecycle& lifecycle : rule.lifecycles) {
        lifecycles.push_back(lifecycle_json(lifecycle));
    }
    return {
        {"name", rule.name},
        {"objectType", "AzureRetentionRule"},
        {"isDefault", rule.is_default},
        {"lifecycles", std::move(lifecycles)},
    };
}

}  // namespace

Json to_json(const BackupPolicy& policy) {
    Json rules = Json::array();
    for (const std::string& name : policy.rule_order) {
        if (const BackupRule* rule = policy.find_backup_rule(name)) {
            rules.push_back(backup_rule_json(*rule));
        } else if (const RetentionRule* retention = policy.find_retention_rule(name)) {
            rules.push_back(retention_rule_json(*retention));
        }
    }
    Json out{
        {"objectType", "BackupPolicy"},
        {"datasourceTypes", policy.datasource_types},
        {"policyRules", std::move(rules)},
    };
    if (policy.week_start != std::chrono::Sunday) {
        out["holdfast"]["weekStart"] = words::text_of(words::kWeekdays, policy.week_start);
    }
    if (policy.test_restore != TestRestoreRule::kNever) {
        out["holdfast"]["testRestore"] =
            words::text_of(words::kTestRestoreRules, policy.test_restore);
    }
    return out;
}

}  // namespace holdfast::protection
