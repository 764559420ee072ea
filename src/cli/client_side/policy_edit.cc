#include "cli/client_side/policy_edit.h"

#include "base/error.h"
#include "base/text.h"
#include "cli/client_side/datasource_type.h"

#include <array>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

[[noreturn]] void refuse(std::string message, std::string action) {
    throw Error{
        ErrorKind::kInvalidInput,
        ErrorText{.message = std::move(message), .recommended_actions = {std::move(action)}}
    };
}

/// The Azure CLI ends in a traceback on a policy file that lacks a part; here it is named.
[[noreturn]] void refuse_policy(std::string_view lacks) {
    refuse(
        fmt::format("The policy has no {}.", lacks),
        "Begin with the output of 'holdfast backup-policy get-default-policy-template'."
    );
}

Json& rules_of(Json& policy) {
    if (!policy.is_object() || !policy.contains("policyRules") ||
        !policy["policyRules"].is_array()) {
        refuse_policy("list policyRules");
    }
    return policy["policyRules"];
}

bool has_text(const Json& object, const char* name, std::string_view text) {
    if (!object.is_object()) {
        return false;
    }
    const auto found = object.find(name);
    return found != object.end() && found->is_string() &&
           found->get_ref<const std::string&>() == text;
}

/// The command-line name of the policy's datasource type, for messages.
std::string_view type_of(const Json& policy) {
    const auto types = policy.find("datasourceTypes");
    if (types == policy.end() || !types->is_array() || types->empty() ||
        !types->front().is_string()) {
        refuse_policy("datasourceTypes");
    }
    return protection::cli_name(postgres_type(types->front().get_ref<const std::string&>()));
}

Json& backup_rule_of(Json& policy) {
    for (Json& rule : rules_of(policy)) {
        if (has_text(rule, "objectType", "AzureBackupRule")) {
            return rule;
        }
    }
    refuse_policy("rule of the objectType AzureBackupRule");
}

Json& tags_of(Json& policy) {
    Json& rule = backup_rule_of(policy);
    const auto trigger = rule.find("trigger");
    if (trigger == rule.end() || !trigger->is_object() || !trigger->contains("taggingCriteria") ||
        !(*trigger)["taggingCriteria"].is_array()) {
        refuse_policy("trigger with a list taggingCriteria");
    }
    return (*trigger)["taggingCriteria"];
}

Json* find_retention_rule(Json& rules, std::string_view name) {
    for (Json& rule : rules) {
        if (has_text(rule, "objectType", "AzureRetentionRule") && has_text(rule, "name", name)) {
            return &rule;
        }
    }
    return nullptr;
}

Json::iterator find_tag(Json& tags, std::string_view name) {
    return std::find_if(tags.begin(), tags.end(), [&](const Json& tag) {
        return tag.is_object() && tag.contains("tagInfo") &&
               has_text(tag["tagInfo"], "tagName", name);
    });
}

/// Both PostgreSQL types of the Azure CLI allow the same tags.
bool tag_allowed(std::string_view name, Breadth breadth) {
    return name == "Weekly" || name == "Monthly" || name == "Yearly" ||
           (name == "Daily" && breadth == Breadth::kHoldfast);
}

constexpr std::string_view kBreadthAction =
    "Use Weekly, Monthly or Yearly, or add --allow-any-frequency: the server here can do more than "
    "the Azure CLI allows.";

/// Daily, Weekly or Hourly by the last letter of an interval, as the Azure CLI tells them apart.
std::string_view frequency_of(std::string_view interval) {
    switch (interval.empty() ? '\0' : interval.back()) {
        case 'D':
            return "Daily";
        case 'W':
            return "Weekly";
        case 'H':
            return "Hourly";
        default:
            refuse(
                fmt::format("'{}' is not a schedule: it must end in P1W, P1D or PTnH.", interval),
                "Make schedules with 'holdfast backup-policy trigger create-schedule'."
            );
    }
}

Json flattened(std::vector<Json> values) {
    Json out = Json::array();
    for (Json& value : values) {
        if (value.is_array()) {
            out.insert(out.end(), value.begin(), value.end());
        } else {
            out.push_back(std::move(value));
        }
    }
    return out;
}

int tagging_priority(std::string_view name) {
    return name == "Yearly" ? 10 : name == "Monthly" ? 15 : name == "Weekly" ? 20 : 25;
}

Json data_store(std::string_view type) {
    return {{"objectType", "DataStoreInfoBase"}, {"dataStoreType", type}};
}

Json or_null(const std::optional<std::vector<std::string>>& values) {
    return values ? Json(*values) : Json(nullptr);
}

Json day_of_month(const std::string& text) {
    const bool digits = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return c >= '0' && c <= '9';
    });
    if (digits) {
        const std::size_t first = std::min(text.find_first_not_of('0'), text.size() - 1);
        const int day = text.size() - first > 2 ? 99 : std::stoi(text.substr(first));
        if (day < 1 || day > 28) {
            refuse(
                "Day of month should be between 1 and 28.", "For the end of the month use Last."
            );
        }
        return {{"date", day}, {"is_last", false}};
    }
    if (!equal_ignoring_case(text, "last")) {
        refuse(
            "Day of month should either be between 1 and 28 or it should be last",
            "Give numbers such as 1 15, or Last."
        );
    }
    return {{"is_last", true}};
}

}  // namespace

Json default_policy_template(std::string_view datasource_type) {
    const bool single =
        postgres_type(datasource_type) == protection::DatasourceKind::kSingleServerDatabase;
    const Json tag{
        {"isDefault", true},
        {"taggingPriority", 99},
        {"tagInfo", {{"id", "Default_"}, {"tagName", "Default"}}},
    };
    const Json backup_rule{
        {"name", "BackupWeekly"},
        {"objectType", "AzureBackupRule"},
        {"backupParameters", {{"backupType", "Full"}, {"objectType", "AzureBackupParams"}}},
        {"dataStore", data_store("VaultStore")},
        {"trigger",
         {{"objectType", "ScheduleBasedTriggerContext"},
          {"schedule",
           {{"timeZone", "UTC"},
            {"repeatingTimeIntervals", Json::array({"R/2021-08-15T06:30:00+00:00/P1W"})}}},
          {"taggingCriteria", Json::array({tag})}}},
    };
    Json lifecycle = create_lifecycle({
        .source_datastore = "VaultStore",
        .retention_duration_type = "Months",
        .retention_duration_count = 3,
    });
    lifecycle["targetDataStoreCopySettings"] = Json::array();
    const Json retention_rule{
        {"name", "Default"},
        {"objectType", "AzureRetentionRule"},
        {"isDefault", true},
        {"lifecycles", Json::array({lifecycle})},
    };
    return {
        {"name", single ? "OssPolicy1" : "OssFlexiblePolicy1"},
        {"objectType", "BackupPolicy"},
        {"datasourceTypes",
         Json::array(
             {single ? "Microsoft.DBforPostgreSQL/servers/databases"
                     : "Microsoft.DBforPostgreSQL/flexibleServers"}
         )},
        {"policyRules", Json::array({backup_rule, retention_rule})},
    };
}

Json create_schedule(const ScheduleArguments& arguments) {
    const std::int64_t count = arguments.interval_count;
    std::string duration;
    if (arguments.interval_type == "Hourly") {
        constexpr std::array<std::int64_t, 4> kHours{4, 6, 8, 12};
        if (std::find(kHours.begin(), kHours.end(), count) == kHours.end()) {
            refuse(
                "Interval Count for Hourly Backup must be one of 4, 6, 8, 12.",
                "Any other number of hours can be written into the policy file by hand."
            );
        }
        duration = fmt::format("PT{}H", count);
    } else {
        if (count != 1) {
            refuse(
                "Interval Count for Daily or Weekly Backup must be 1.",
                "For several days of the week give several --schedule-days."
            );
        }
        duration = arguments.interval_type == "Daily" ? "P1D" : "P1W";
    }
    Json out = Json::array();
    for (const std::string& day : arguments.schedule_days) {
        out.push_back(fmt::format("R/{}+00:00/{}", day, duration));
    }
    return out;
}

Json set_trigger(TriggerSetArguments arguments) {
    const std::string_view type = type_of(arguments.policy);
    const std::string_view frequency = frequency_of(
        arguments.schedule.empty() ? "" : std::string_view{arguments.schedule.front()}
    );
    if (frequency != "Weekly" && arguments.breadth == Breadth::kAzure) {
        refuse(
            fmt::format("{} Backup Schedule is not supported for {} policy", frequency, type),
            std::string{kBreadthAction}
        );
    }
    Json& rule = backup_rule_of(arguments.policy);
    const auto trigger = rule.find("trigger");
    if (trigger == rule.end() || !trigger->is_object() || !trigger->contains("schedule") ||
        !(*trigger)["schedule"].is_object()) {
        refuse_policy("trigger with a schedule");
    }
    (*trigger)["schedule"]["repeatingTimeIntervals"] = arguments.schedule;
    rule["name"] = fmt::format("Backup{}", frequency);
    return std::move(arguments.policy);
}

Json create_lifecycle(const LifecycleArguments& arguments) {
    Json copy = nullptr;
    if (arguments.target_datastore && arguments.copy_option) {
        copy = {
            {"copyAfter", {{"objectType", *arguments.copy_option}}},
            {"dataStore", data_store(*arguments.target_datastore)},
        };
    }
    return {
        {"deleteAfter",
         {{"objectType", "AbsoluteDeleteOption"},
          {"duration",
           fmt::format(
               "P{}{}",
               arguments.retention_duration_count,
               arguments.retention_duration_type.substr(0, 1)
           )}}},
        {"sourceDataStore", data_store(arguments.source_datastore)},
        {"targetDataStoreCopySettings", std::move(copy)},
    };
}

Json set_retention_rule(RetentionSetArguments arguments) {
    Json& rules = rules_of(arguments.policy);
    Json lifecycles = flattened(std::move(arguments.lifecycles));
    if (Json* rule = find_retention_rule(rules, arguments.name)) {
        (*rule)["lifecycles"] = std::move(lifecycles);
        return std::move(arguments.policy);
    }
    const std::string_view type = type_of(arguments.policy);
    if (!tag_allowed(arguments.name, arguments.breadth)) {
        refuse(
            fmt::format(
                "Selected Retention Rule {} is not applicable for Datasource Type {}",
                arguments.name,
                type
            ),
            std::string{kBreadthAction}
        );
    }
    rules.push_back({
        {"objectType", "AzureRetentionRule"},
        {"isDefault", arguments.name == "Default"},
        {"name", arguments.name},
        {"lifecycles", std::move(lifecycles)},
    });
    return std::move(arguments.policy);
}

Json remove_retention_rule(Json policy, std::string_view name) {
    if (name == "Default") {
        refuse(
            "Removing Default Retention Rule is not allowed. Please try again with different rule "
            "name.",
            "Every policy keeps its Default rule; 'retention-rule set' changes it."
        );
    }
    Json& rules = rules_of(policy);
    for (auto rule = rules.begin(); rule != rules.end(); ++rule) {
        if (has_text(*rule, "objectType", "AzureRetentionRule") && has_text(*rule, "name", name)) {
            rules.erase(rule);
            break;
        }
    }
    return policy;
}

Json create_absolute_criteria(std::string_view absolute_criteria) {
    return {
        {"objectType", "ScheduleBasedBackupCriteria"},
        {"absoluteCriteria", Json::array({absolute_criteria})},
    };
}

Json create_generic_criteria(const GenericCriteriaArguments& arguments) {
    Json days = nullptr;
    if (arguments.days_of_month) {
        days = Json::array();
        for (const std::string& day : *arguments.days_of_month) {
            days.push_back(day_of_month(day));
        }
    }
    return {
        {"object_type", "ScheduleBasedBackupCriteria"},
        {"days_of_month", std::move(days)},
        {"days_of_the_week", or_null(arguments.days_of_week)},
        {"months_of_year", or_null(arguments.months_of_year)},
        {"weeks_of_the_month", or_null(arguments.weeks_of_month)},
    };
}

Json set_tag(TagSetArguments arguments) {
    const std::string_view type = type_of(arguments.policy);
    if (!tag_allowed(arguments.name, arguments.breadth)) {
        refuse(
            fmt::format(
                "Selected Retention Tag {} is not applicable for Datasource Type {}",
                arguments.name,
                type
            ),
            std::string{kBreadthAction}
        );
    }
    Json& tags = tags_of(arguments.policy);
    Json criteria = flattened(std::move(arguments.criteria));
    if (const auto tag = find_tag(tags, arguments.name); tag != tags.end()) {
        (*tag)["Criteria"] = std::move(criteria);
        return std::move(arguments.policy);
    }
    tags.push_back({
        {"criteria", std::move(criteria)},
        {"isDefault", false},
        {"taggingPriority", tagging_priority(arguments.name)},
        {"tagInfo", {{"tagName", arguments.name}}},
    });
    return std::move(arguments.policy);
}

Json remove_tag(Json policy, std::string_view name) {
    Json& tags = tags_of(policy);
    if (const auto tag = find_tag(tags, name); tag != tags.end()) {
        tags.erase(tag);
    }
    return policy;
}

}  // namespace holdfast::cli
