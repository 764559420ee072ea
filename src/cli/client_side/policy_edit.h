#pragma once

#include "base/json.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The verbs that make and edit policy files. They send nothing and print what the Azure CLI
/// prints, refusals included: kInvalidInput in its words (exit 1) where it refuses a value, and in
/// ours where it would end in a traceback. Enumerated words arrive in their canonical spelling: the
/// verb table has matched them.
namespace holdfast::cli {

/// What the client-side verbs let through.
enum class Breadth {
    kAzure,     ///< What the Azure CLI allows for the datasource type.
    kHoldfast,  ///< What the server can do: also daily and hourly schedules, and the tag Daily.
};

/// `backup-policy get-default-policy-template`. Throws kDatasourceUnsupported for what is not
/// PostgreSQL.
[[nodiscard]] Json default_policy_template(std::string_view datasource_type);

struct ScheduleArguments {
    std::string interval_type;  ///< Daily, Weekly, Hourly.
    std::int64_t interval_count = 1;
    std::vector<std::string> schedule_days;  ///< Used as they are; the server judges them.
};

/// `trigger create-schedule`: a list of repeating intervals.
[[nodiscard]] Json create_schedule(const ScheduleArguments& arguments);

struct TriggerSetArguments {
    Json policy;
    std::vector<std::string> schedule;
    Breadth breadth = Breadth::kAzure;
};

/// `trigger set`: replaces the intervals and renames the rule by the first one's frequency.
[[nodiscard]] Json set_trigger(TriggerSetArguments arguments);

struct LifecycleArguments {
    std::string source_datastore;
    std::string retention_duration_type;  ///< Days, Weeks, Months, Years.
    std::int64_t retention_duration_count = 0;
    std::optional<std::string> target_datastore = {};
    std::optional<std::string> copy_option = {};
};

/// `retention-rule create-lifecycle`.
[[nodiscard]] Json create_lifecycle(const LifecycleArguments& arguments);

struct RetentionSetArguments {
    Json policy;
    std::string name;
    std::vector<Json> lifecycles;  ///< A list among them counts as its elements.
    Breadth breadth = Breadth::kAzure;
};

/// `retention-rule set`: replaces the lifecycles of the rule, or appends a rule.
[[nodiscard]] Json set_retention_rule(RetentionSetArguments arguments);

/// `retention-rule remove`. No complaint when there is no such rule.
[[nodiscard]] Json remove_retention_rule(Json policy, std::string_view name);

/// `tag create-absolute-criteria`.
[[nodiscard]] Json create_absolute_criteria(std::string_view absolute_criteria);

struct GenericCriteriaArguments {
    std::optional<std::vector<std::string>> days_of_week = {};
    std::optional<std::vector<std::string>> weeks_of_month = {};
    std::optional<std::vector<std::string>> months_of_year = {};
    std::optional<std::vector<std::string>> days_of_month = {};  ///< 1 to 28, or Last.
};

/// `tag create-generic-criteria`: in snake_case, absent parts null, as the Azure CLI prints it.
[[nodiscard]] Json create_generic_criteria(const GenericCriteriaArguments& arguments);

struct TagSetArguments {
    Json policy;
    std::string name;
    std::vector<Json> criteria;  ///< A list among them counts as its elements.
    Breadth breadth = Breadth::kAzure;
};

/// `tag set`: appends a tag; for one that exists the criteria go under `Criteria`, which the server
/// prefers to the older `criteria`.
[[nodiscard]] Json set_tag(TagSetArguments arguments);

/// `tag remove`. No complaint when there is no such tag.
[[nodiscard]] Json remove_tag(Json policy, std::string_view name);

}  // namespace holdfast::cli
