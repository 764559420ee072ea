#include "base/error.h"
#include "base/text.h"
#include "protection/date_time.h"
#include "protection/policy.h"
#include "protection/policy_words.h"
#include "protection/schedule.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include <fmt/format.h>

namespace holdfast::protection {
namespace {

// Bounds on one document, far above what a policy needs: they keep evaluation cheap whatever a
// client sends.
constexpr std::size_t kRulesMax = 100;
constexpr std::size_t kListMax = 200;
constexpr std::size_t kNameBytesMax = 150;

constexpr std::string_view kDurationAllowed =
    "a duration of days, weeks, months or years such as P7D, P2W, P3M or P10Y, from P1D to P100Y";

std::string listed(const auto& table) {
    std::string out;
    for (const auto& word : table) {
        out += (out.empty() ? "" : ", ");
        out += word.text;
    }
    return out;
}

template <typename Table>
auto word_of(const JsonReader& reader, const Table& table) {
    const std::string& text = reader.as_string();
    for (const auto& word : table) {
        if (equal_ignoring_case(text, word.text)) {
            return word.value;
        }
    }
    reader.fail(fmt::format("\"{}\" is not a valid value.", clipped(text)), listed(table));
}

std::vector<JsonReader> bounded_elements(
    const JsonReader& reader, std::size_t count_max = kListMax
) {
    std::vector<JsonReader> elements = reader.elements();
    if (elements.size() > count_max) {
        reader.fail(
            fmt::format("The list has {} entries.", elements.size()),
            fmt::format("at most {}", count_max)
        );
    }
    return elements;
}

template <typename Table, typename T>
void read_words(
    const JsonReader& parent, std::string_view name, const Table& table, std::vector<T>& out
) {
    if (const auto member = parent.optional_member(name)) {
        for (const JsonReader& element : bounded_elements(*member)) {
            out.push_back(word_of(element, table));
        }
    }
}

/// The discriminator may be left out where only one value is possible, but a wrong one is refused.
void check_object_type(const JsonReader& object, std::string_view only) {
    if (const auto type = object.optional_member("objectType")) {
        (void)type->as_one_of({only});
    }
}

std::string read_name(const JsonReader& reader) {
    const std::string& name = reader.as_string();
    const bool printable = std::all_of(name.begin(), name.end(), [](char c) {
        return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
    });
    if (trim(name).empty() || trim(name) != name || name.size() > kNameBytesMax || !printable) {
        reader.fail(
            fmt::format("\"{}\" is not a valid name.", clipped(name)),
            fmt::format("1 to {} characters without blanks at the ends", kNameBytesMax)
        );
    }
    return name;
}

DataStoreType read_data_store(const JsonReader& reader) {
    reader.refuse_unknown({"dataStoreType", "objectType"});
    check_object_type(reader, "DataStoreInfoBase");
    const JsonReader type = reader.member("dataStoreType");
    const DataStoreType store = word_of(type, words::kDataStores);
    if (store == DataStoreType::kOperationalStore) {
        type.fail(
            "OperationalStore holds snapshots inside the protected resource; PostgreSQL backups "
            "cannot be kept there.",
            "VaultStore, ArchiveStore"
        );
    }
    return store;
}

CalendarDuration read_duration(const JsonReader& reader) {
    const std::string& text = reader.as_string();
    if (auto duration = parse_calendar_duration(text)) {
        return *std::move(duration);
    }
    std::string problem = fmt::format("\"{}\" is not a valid duration.", clipped(text));
    if (text.find('-') != std::string::npos) {
        problem = fmt::format("The duration \"{}\" is negative.", clipped(text));
    } else if (text.find('T') != std::string::npos) {
        problem = fmt::format("The duration \"{}\" has hours or minutes.", clipped(text));
    }
    reader.fail(problem, kDurationAllowed);
}

// Schedule and tags.

Schedule read_schedule(const JsonReader& reader) {
    reader.refuse_unknown({"repeatingTimeIntervals", "timeZone"});
    Schedule schedule;
    const JsonReader list = reader.member("repeatingTimeIntervals");
    for (const JsonReader& element : bounded_elements(list)) {
        std::string problem;
        auto interval = parse_repeating_interval(element.as_string(), problem);
        if (!interval) {
            element.fail(problem);
        }
        schedule.intervals.push_back(*std::move(interval));
    }
    if (schedule.intervals.empty()) {
        list.fail(
            "The schedule has no interval.", "at least one, such as R/2021-08-15T06:30:00+00:00/P1W"
        );
    }
    if (const auto zone = reader.optional_member("timeZone")) {
        schedule.time_zone = zone->as_string();
        if (!trim(schedule.time_zone).empty() && !Zone::find(schedule.time_zone)) {
            zone->fail(
                fmt::format("The time zone \"{}\" is not known.", clipped(schedule.time_zone)),
                "an IANA name such as Europe/Berlin, a Windows name such as W. Europe Standard "
                "Time, UTC, or an offset "
                "such as +05:30"
            );
        }
        schedule.time_zone = trim(schedule.time_zone);
    }
    return schedule;
}

DayOfMonth read_day_of_month(const JsonReader& reader) {
    reader.refuse_unknown({"date", "isLast"});
    const std::int64_t date = reader.optional_integer("date").value_or(0);
    const bool is_last = reader.optional_bool("isLast").value_or(false);
    if (is_last ? date != 0 : (date < 1 || date > 28)) {
        reader.fail(
            is_last ? "The day is both the last one and a date."
                    : fmt::format("{} is not a day that every month has.", date),
            "a date from 1 to 28, or isLast true"
        );
    }
    return {.date = static_cast<unsigned>(date), .is_last = is_last};
}

BackupCriteria read_criteria(const JsonReader& reader) {
    reader.refuse_unknown(
        {"objectType",
         "absoluteCriteria",
         "daysOfTheWeek",
         "weeksOfTheMonth",
         "monthsOfYear",
         "daysOfMonth",
         "scheduleTimes"}
    );
    check_object_type(reader, "ScheduleBasedBackupCriteria");
    BackupCriteria out;
    read_words(reader, "absoluteCriteria", words::kAbsoluteMarkers, out.absolute);
    read_words(reader, "daysOfTheWeek", words::kWeekdays, out.days_of_the_week);
    read_words(reader, "weeksOfTheMonth", words::kWeeks, out.weeks_of_the_month);
    read_words(reader, "monthsOfYear", words::kMonths, out.months_of_year);
    if (const auto list = reader.optional_member("daysOfMonth")) {
        for (const JsonReader& element : bounded_elements(*list)) {
            out.days_of_month.push_back(read_day_of_month(element));
        }
    }
    if (const auto list = reader.optional_member("scheduleTimes")) {
        for (const JsonReader& element : bounded_elements(*list)) {
            if (!parse_date_time(element.as_string())) {
                element.fail(
                    fmt::format(
                        "\"{}\" is not a date with time of day.", clipped(element.as_string())
                    ),
                    "YYYY-MM-DDThh:mm[:ss[.fff]][Z|+hh:mm|-hh:mm]"
                );
            }
            out.schedule_times.push_back(element.as_string());
        }
    }
    if (out.absolute.empty() && out.days_of_the_week.empty() && out.weeks_of_the_month.empty() &&
        out.months_of_year.empty() && out.days_of_month.empty() && out.schedule_times.empty()) {
        reader.fail(
            "The criteria say nothing.",
            "at least one of absoluteCriteria, daysOfTheWeek, weeksOfTheMonth, monthsOfYear, "
            "daysOfMonth, scheduleTimes"
        );
    }
    return out;
}

/// The command line leaves the old `criteria` in place when it sets a tag again and adds
/// `Criteria`: the latter counts.
std::optional<JsonReader> criteria_of(const JsonReader& tag) {
    if (const auto newer = tag.value().find("Criteria");
        newer != tag.value().end() && !newer->is_null()) {
        return JsonReader{*newer, tag.path() + ".Criteria", ErrorKind::kInvalidPolicy};
    }
    return tag.optional_member("criteria");
}

/// The priorities that the Azure clients give to the tags they know.
std::optional<std::int64_t> usual_priority(std::string_view tag_name) {
    constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> kUsual{{
        {"Default", 99},
        {"Daily", 25},
        {"Weekly", 20},
        {"Monthly", 15},
        {"Yearly", 10},
    }};
    for (const auto& [name, priority] : kUsual) {
        if (equal_ignoring_case(name, tag_name)) {
            return priority;
        }
    }
    return std::nullopt;
}

void read_tag_info(const JsonReader& info, TaggingCriteria& tag) {
    info.refuse_unknown({"tagName", "id", "eTag"});
    tag.tag_name = read_name(info.member("tagName"));
    tag.tag_etag = info.string_or("eTag", "");
}

TaggingCriteria read_tag(const JsonReader& reader) {
    reader.refuse_unknown({"isDefault", "taggingPriority", "criteria", "tagInfo"});
    TaggingCriteria tag;
    read_tag_info(reader.member("tagInfo"), tag);
    const bool named_default = equal_ignoring_case(tag.tag_name, "Default");
    tag.is_default = reader.optional_bool("isDefault").value_or(named_default);
    if (tag.is_default != named_default) {
        JsonReader{reader.member("tagInfo").member("tagName")}.fail(
            tag.is_default ? "The default tag must be named Default."
                           : "The tag named Default must have isDefault true."
        );
    }
    auto priority = reader.optional_integer("taggingPriority");
    if (!priority) {
        priority = usual_priority(tag.tag_name);
    }
    if (!priority) {
        (void)reader.member("taggingPriority");  // Throws: it is missing.
    }
    tag.priority = priority.value_or(0);
    if (tag.priority < 0) {
        reader.member("taggingPriority")
            .fail("The priority is negative.", "0 or greater; the smaller number wins");
    }
    if (const auto criteria = criteria_of(reader)) {
        if (criteria->value().is_object()) {
            tag.criteria.push_back(read_criteria(*criteria));
        } else {
            for (const JsonReader& element : bounded_elements(*criteria)) {
                tag.criteria.push_back(read_criteria(element));
            }
        }
        if (tag.is_default && !tag.criteria.empty()) {
            criteria->fail(
                "The default tag has criteria, but it is for all backups that no other tag "
                "matches.",
                "no criteria"
            );
        }
    }
    if (!tag.is_default && tag.criteria.empty()) {
        reader.fail(
            fmt::format(
                "The tag {} has no criteria, so no backup would get it.", clipped(tag.tag_name)
            ),
            "criteria with at least one entry"
        );
    }
    return tag;
}

void check_tags(const JsonReader& list, const std::vector<TaggingCriteria>& tags) {
    std::map<std::string, std::size_t> by_name;
    std::map<std::int64_t, std::size_t> by_priority;
    const TaggingCriteria* fallback = nullptr;
    const std::vector<JsonReader> elements = list.elements();
    for (std::size_t i = 0; i < tags.size(); ++i) {
        const TaggingCriteria& tag = tags[i];
        if (const auto [at, added] = by_name.emplace(to_lower(tag.tag_name), i); !added) {
            elements[i].member("tagInfo").fail(
                fmt::format(
                    "The tag {} is already defined at taggingCriteria[{}].",
                    clipped(tag.tag_name),
                    at->second
                ),
                "one entry per tag; give it several criteria instead"
            );
        }
        if (const auto [at, added] = by_priority.emplace(tag.priority, i); !added) {
            JsonReader{
                elements[i].value(),
                elements[i].path() + ".taggingPriority",
                ErrorKind::kInvalidPolicy
            }
                .fail(
                    fmt::format(
                        "The priority {} is already that of the tag {}.",
                        tag.priority,
                        clipped(tags[at->second].tag_name)
                    ),
                    "a number of its own for each tag"
                );
        }
        if (tag.is_default) {
            fallback = &tag;
        }
    }
    if (fallback == nullptr) {
        list.fail(
            "The default tag is missing.",
            "exactly one entry with isDefault true and the tag name Default"
        );
    }
    const auto weakest = by_priority.rbegin();
    if (weakest->first != fallback->priority) {
        const auto at = elements[weakest->second];
        JsonReader{at.value(), at.path() + ".taggingPriority", ErrorKind::kInvalidPolicy}.fail(
            fmt::format(
                "The tag {} would never be given: the tag Default matches every backup and its "
                "priority {} is stronger.",
                clipped(tags[weakest->second].tag_name),
                fallback->priority
            ),
            fmt::format("a number smaller than {}", fallback->priority)
        );
    }
}

// Rules.

void read_trigger(const JsonReader& reader, BackupRule& rule) {
    const std::string type =
        reader.member("objectType")
            .as_one_of({"ScheduleBasedTriggerContext", "AdhocBasedTriggerContext"});
    if (type == "AdhocBasedTriggerContext") {
        reader.refuse_unknown({"objectType", "taggingCriteria"});
        const JsonReader tagging = reader.member("taggingCriteria");
        tagging.refuse_unknown({"tagInfo"});
        TaggingCriteria tag;
        read_tag_info(tagging.member("tagInfo"), tag);
        tag.is_default = true;
        rule.tagging.push_back(std::move(tag));
        return;
    }
    reader.refuse_unknown({"objectType", "schedule", "taggingCriteria"});
    rule.schedule = read_schedule(reader.member("schedule"));
    const JsonReader list = reader.member("taggingCriteria");
    for (const JsonReader& element : bounded_elements(list)) {
        rule.tagging.push_back(read_tag(element));
    }
    check_tags(list, rule.tagging);
}

BackupRule read_backup_rule(const JsonReader& reader) {
    reader.refuse_unknown({"name", "objectType", "backupParameters", "dataStore", "trigger"});
    BackupRule rule;
    rule.name = read_name(reader.member("name"));
    if (const auto parameters = reader.optional_member("backupParameters")) {
        parameters->refuse_unknown({"backupType", "objectType"});
        check_object_type(*parameters, "AzureBackupParams");
        rule.backup_type = parameters->member("backupType").as_one_of({"Full"});
    }
    const JsonReader store = reader.member("dataStore");
    rule.data_store = read_data_store(store);
    if (rule.data_store != DataStoreType::kVaultStore) {
        store.member("dataStoreType")
            .fail("A backup cannot land in the archive directly.", "VaultStore");
    }
    read_trigger(reader.member("trigger"), rule);
    return rule;
}

CopySetting read_copy(const JsonReader& reader, const Lifecycle& lifecycle) {
    reader.refuse_unknown({"copyAfter", "dataStore"});
    CopySetting copy;
    const JsonReader store = reader.member("dataStore");
    copy.target = read_data_store(store);
    if (lifecycle.source != DataStoreType::kVaultStore ||
        copy.target != DataStoreType::kArchiveStore) {
        store.member("dataStoreType")
            .fail(
                fmt::format(
                    "A point cannot be copied from {} to {}.",
                    to_string(lifecycle.source),
                    to_string(copy.target)
                ),
                "a copy from VaultStore to ArchiveStore"
            );
    }
    const JsonReader after = reader.member("copyAfter");
    const JsonReader type = after.member("objectType");
    const std::string option =
        type.as_one_of({"ImmediateCopyOption", "CopyOnExpiryOption", "CustomCopyOption"});
    if (option == "CustomCopyOption") {
        after.refuse_unknown({"objectType", "duration"});
        const JsonReader span = after.member("duration");
        copy.when = CustomCopy{read_duration(span)};
        // Compared on a date where no month end interferes; the copy must find its source still
        // there.
        const Instant start{std::chrono::sys_days{std::chrono::year{2001} / 1 / 1}};
        if (add(start, std::get<CustomCopy>(copy.when).after) >
            add(start, lifecycle.delete_after)) {
            span.fail(
                fmt::format(
                    "The copy would be made after its source is deleted ({}).",
                    lifecycle.delete_after.text
                ),
                "a duration up to that of deleteAfter"
            );
        }
    } else {
        after.refuse_unknown({"objectType"});
        copy.when = option == "CopyOnExpiryOption" ? CopyOption{CopyOnExpiry{}}
                                                   : CopyOption{ImmediateCopy{}};
    }
    return copy;
}

Lifecycle read_lifecycle(const JsonReader& reader) {
    reader.refuse_unknown({"deleteAfter", "sourceDataStore", "targetDataStoreCopySettings"});
    Lifecycle lifecycle;
    lifecycle.source = read_data_store(reader.member("sourceDataStore"));
    const JsonReader remove = reader.member("deleteAfter");
    remove.refuse_unknown({"duration", "objectType"});
    check_object_type(remove, "AbsoluteDeleteOption");
    lifecycle.delete_after = read_duration(remove.member("duration"));
    // Null, one object or a list: the clients send all three.
    if (const auto copies = reader.optional_member("targetDataStoreCopySettings")) {
        if (copies->value().is_object()) {
            lifecycle.copies.push_back(read_copy(*copies, lifecycle));
        } else {
            for (const JsonReader& element : bounded_elements(*copies)) {
                lifecycle.copies.push_back(read_copy(element, lifecycle));
            }
        }
        if (lifecycle.copies.size() > 1) {
            copies->fail(
                "A point would be copied to ArchiveStore more than once.", "one copy per data store"
            );
        }
    }
    return lifecycle;
}

void check_lifecycles(const JsonReader& list, const std::vector<Lifecycle>& lifecycles) {
    std::set<DataStoreType> sources;
    std::set<DataStoreType> targets;
    const std::vector<JsonReader> elements = list.elements();
    for (std::size_t i = 0; i < lifecycles.size(); ++i) {
        if (!sources.insert(lifecycles[i].source).second) {
            elements[i]
                .member("sourceDataStore")
                .fail(
                    fmt::format(
                        "The rule already has a lifecycle for {}.", to_string(lifecycles[i].source)
                    ),
                    "one lifecycle per data store"
                );
        }
        for (const CopySetting& copy : lifecycles[i].copies) {
            targets.insert(copy.target);
        }
    }
    if (!sources.contains(DataStoreType::kVaultStore)) {
        list.fail(
            "Backups land in VaultStore, and no lifecycle says how long they stay there.",
            "a lifecycle with the source VaultStore"
        );
    }
    for (const DataStoreType target : targets) {
        if (!sources.contains(target)) {
            list.fail(
                fmt::format(
                    "Points are copied to {}, and no lifecycle says how long they stay there.",
                    to_string(target)
                ),
                fmt::format("a lifecycle with the source {}", to_string(target))
            );
        }
    }
    for (std::size_t i = 0; i < lifecycles.size(); ++i) {
        if (lifecycles[i].source != DataStoreType::kVaultStore &&
            !targets.contains(lifecycles[i].source)) {
            elements[i].fail(
                fmt::format("No point ever reaches {}.", to_string(lifecycles[i].source)),
                "targetDataStoreCopySettings that name this store in the lifecycle of VaultStore"
            );
        }
    }
}

RetentionRule read_retention_rule(const JsonReader& reader) {
    reader.refuse_unknown({"name", "objectType", "isDefault", "lifecycles"});
    RetentionRule rule;
    rule.name = read_name(reader.member("name"));
    const bool named_default = equal_ignoring_case(rule.name, "Default");
    rule.is_default = reader.optional_bool("isDefault").value_or(named_default);
    if (rule.is_default != named_default) {
        reader.member("name").fail(
            rule.is_default
                ? fmt::format("The default retention rule is named \"{}\".", clipped(rule.name))
                : "The retention rule named Default has isDefault false.",
            "exactly one rule with isDefault true, and its name is Default"
        );
    }
    const JsonReader list = reader.member("lifecycles");
    for (const JsonReader& element : bounded_elements(list)) {
        rule.lifecycles.push_back(read_lifecycle(element));
    }
    if (rule.lifecycles.empty()) {
        list.fail("The retention rule has no lifecycle.", "at least one, for VaultStore");
    }
    check_lifecycles(list, rule.lifecycles);
    return rule;
}

// The whole.

void read_datasource_types(const JsonReader& reader, BackupPolicy& policy) {
    for (const JsonReader& element : bounded_elements(reader)) {
        if (!parse_datasource_type(element.as_string())) {
            element.fail(
                fmt::format(
                    "\"{}\" is not a datasource that can be protected here.",
                    clipped(element.as_string())
                ),
                allowed_datasource_types()
            );
        }
        policy.datasource_types.push_back(element.as_string());
    }
    if (policy.datasource_types.empty()) {
        reader.fail("The policy is for no datasource type.", allowed_datasource_types());
    }
}

/// Every tag must have its retention rule; from here on it is spelled as the rule is.
void bind_tags(const std::vector<JsonReader>& rules, BackupPolicy& policy) {
    std::string names;
    for (const RetentionRule& rule : policy.retention_rules) {
        names += (names.empty() ? "" : ", ") + rule.name;
    }
    for (BackupRule& rule : policy.backup_rules) {
        const auto at = std::find(policy.rule_order.begin(), policy.rule_order.end(), rule.name);
        const JsonReader tagging = rules[static_cast<std::size_t>(at - policy.rule_order.begin())]
                                       .member("trigger")
                                       .member("taggingCriteria");
        for (std::size_t i = 0; i < rule.tagging.size(); ++i) {
            TaggingCriteria& tag = rule.tagging[i];
            const RetentionRule* named = policy.find_retention_rule(tag.tag_name);
            if (named == nullptr) {
                const JsonReader entry = rule.schedule ? tagging.elements()[i] : tagging;
                entry.member("tagInfo").member("tagName").fail(
                    fmt::format("No retention rule is named \"{}\".", clipped(tag.tag_name)), names
                );
            }
            tag.tag_name = named->name;
        }
    }
}

void read_rules(const JsonReader& list, BackupPolicy& policy) {
    const std::vector<JsonReader> rules = bounded_elements(list, kRulesMax);
    std::map<std::string, std::size_t> seen;
    for (std::size_t i = 0; i < rules.size(); ++i) {
        const std::string type =
            rules[i].member("objectType").as_one_of({"AzureBackupRule", "AzureRetentionRule"});
        if (type == "AzureBackupRule") {
            policy.backup_rules.push_back(read_backup_rule(rules[i]));
            policy.rule_order.push_back(policy.backup_rules.back().name);
        } else {
            policy.retention_rules.push_back(read_retention_rule(rules[i]));
            policy.rule_order.push_back(policy.retention_rules.back().name);
        }
        const auto [at, added] = seen.emplace(to_lower(policy.rule_order.back()), i);
        if (!added) {
            rules[i].member("name").fail(
                fmt::format(
                    "The name \"{}\" is already that of policyRules[{}].",
                    clipped(policy.rule_order.back()),
                    at->second
                ),
                "a name of its own for each rule"
            );
        }
    }
    if (policy.backup_rules.empty()) {
        list.fail(
            "The policy has no backup rule, so nothing would be backed up.",
            "at least one rule with objectType AzureBackupRule"
        );
    }
    const bool has_default = std::any_of(
        policy.retention_rules.begin(),
        policy.retention_rules.end(),
        [](const RetentionRule& rule) { return rule.is_default; }
    );
    if (!has_default) {
        list.fail(
            "The policy has no default retention rule.",
            "exactly one rule with objectType AzureRetentionRule, isDefault true and the name "
            "Default"
        );
    }
    bind_tags(rules, policy);
}

void read_own_settings(const JsonReader& reader, BackupPolicy& policy) {
    reader.refuse_unknown({"weekStart", "testRestore"});
    if (const auto start = reader.optional_member("weekStart")) {
        policy.week_start = word_of(*start, words::kWeekdays);
    }
    if (const auto rule = reader.optional_member("testRestore")) {
        policy.test_restore = word_of(*rule, words::kTestRestoreRules);
    }
}

void note_ignored(const JsonReader& root, PolicyNotes& notes) {
    for (const auto& [key, value] : root.value().items()) {
        std::string folded = to_lower(key);
        std::erase(folded, '_');
        const auto is = [&folded](std::string_view name) {
            return folded == to_lower(name);
        };
        // `name` is in every template of the command line, so ignoring it is not news.
        if (!value.is_null() && !is("objectType") && !is("datasourceTypes") && !is("policyRules") &&
            !is("name") && !is("holdfast")) {
            notes.ignored.push_back(root.path().empty() ? key : root.path() + "." + key);
        }
    }
}

}  // namespace

BackupPolicy parse_policy(const Json& properties, std::string_view path, PolicyNotes* notes) {
    const JsonReader root{properties, std::string{path}, ErrorKind::kInvalidPolicy};
    root.require_object();
    check_object_type(root, "BackupPolicy");
    BackupPolicy policy;
    read_datasource_types(root.member("datasourceTypes"), policy);
    read_rules(root.member("policyRules"), policy);
    if (const auto own = root.optional_member("holdfast")) {
        read_own_settings(*own, policy);
    }
    if (notes != nullptr) {
        note_ignored(root, *notes);
    }
    return policy;
}

}  // namespace holdfast::protection
