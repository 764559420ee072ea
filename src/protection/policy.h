#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "protection/datasource.h"
#include "protection/zone.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// The policy object: what is backed up when, how points are tagged, and how long each tag is kept.
/// Values only.
namespace holdfast::protection {

enum class DataStoreType { kOperationalStore, kVaultStore, kArchiveStore };

/// `VaultStore` and so on.
[[nodiscard]] std::string_view to_string(DataStoreType type) noexcept;
[[nodiscard]] std::optional<DataStoreType> parse_data_store_type(std::string_view text) noexcept;

// Durations.

/// `P3M`, `P1Y6M`, `P10D`, `P2W`: a span of the calendar, not of seconds. Weeks are seven days,
/// years twelve months.
struct CalendarDuration {
    std::int32_t months = 0;
    std::int32_t days = 0;
    std::string text;  ///< Canonical ISO 8601 form, as it is echoed.

    friend bool operator==(const CalendarDuration& a, const CalendarDuration& b) noexcept {
        return a.months == b.months && a.days == b.days;
    }
};

/// Nothing when `text` is not an ISO 8601 duration of whole years, months, weeks and days, or when
/// it is not between one day and a hundred years.
[[nodiscard]] std::optional<CalendarDuration> parse_calendar_duration(std::string_view text);

/// Adds months first, clamped to the end of the month (31 January + P1M = 28 or 29 February), then
/// days. Computed in UTC, as Azure does, so the time of day stays.
[[nodiscard]] Instant add(Instant instant, const CalendarDuration& duration);

// Schedule.

enum class Frequency { kHourly, kDaily, kWeekly };

/// One `R/<start>/<P1W|P1D|PTnH>`.
struct RepeatingInterval {
    std::string text;  ///< As given.
    LocalTime start;   ///< As written.
    std::optional<std::chrono::minutes>
        offset;  ///< As written, 0 for `Z`; absent when none was written.
    Frequency frequency = Frequency::kWeekly;
    std::int32_t hours = 0;  ///< n of PTnH; 0 otherwise.
};

struct Schedule {
    std::vector<RepeatingInterval> intervals;  ///< At least one.
    std::string time_zone;                     ///< As given; empty when absent.

    /// The zone in which the wall clock of `interval` is kept: the policy's, else the interval's
    /// offset, else UTC.
    [[nodiscard]] Zone zone_of(const RepeatingInterval& interval) const;
    /// The zone in which tags are judged: the policy's, else the offset of the first interval, else
    /// UTC.
    [[nodiscard]] Zone zone() const;
};

// Tagging.

enum class AbsoluteMarker { kAllBackup, kFirstOfDay, kFirstOfWeek, kFirstOfMonth, kFirstOfYear };

/// The n-th seven days of a month: First is days 1 to 7, so with daysOfTheWeek it is "the first
/// Tuesday". Last is the last seven days.
enum class WeekOfMonth { kFirst, kSecond, kThird, kFourth, kLast };

struct DayOfMonth {
    unsigned date = 0;  ///< 1 to 28; 0 when is_last.
    bool is_last = false;
};

/// One `ScheduleBasedBackupCriteria`. Fields combine with AND, the members of one field with OR; an
/// empty field says nothing. At least one field is set.
struct BackupCriteria {
    std::vector<AbsoluteMarker> absolute;
    std::vector<std::chrono::weekday> days_of_the_week;
    std::vector<WeekOfMonth> weeks_of_the_month;
    std::vector<std::chrono::month> months_of_year;
    std::vector<DayOfMonth> days_of_month;
    std::vector<std::string>
        schedule_times;  ///< Date-times as given; only their time of day counts.
};

/// One entry of `taggingCriteria`.
struct TaggingCriteria {
    std::string tag_name;        ///< Spelled as the retention rule it names.
    std::string tag_etag;        ///< Empty when absent.
    std::int64_t priority = 99;  ///< The smaller number wins.
    bool is_default = false;
    std::vector<BackupCriteria> criteria;  ///< Combined with OR; empty for the default tag.
};

/// When recovery points are restored and started on trial; `holdfast.testRestore`.
enum class TestRestoreRule {
    kNever,
    kAfterEachBackup,
    kWeekly,  ///< The newest point, when the last trial is a week old.
};

// Rules.

/// One `AzureBackupRule`. Without a schedule (an AdhocBasedTriggerContext) it runs on demand only.
struct BackupRule {
    std::string name;
    std::string backup_type = "Full";
    DataStoreType data_store = DataStoreType::kVaultStore;
    std::optional<Schedule> schedule;
    std::vector<TaggingCriteria> tagging;  ///< Exactly one is the default.
};

struct ImmediateCopy {};
struct CopyOnExpiry {};
struct CustomCopy {
    CalendarDuration after;
};
using CopyOption = std::variant<ImmediateCopy, CopyOnExpiry, CustomCopy>;

struct CopySetting {
    DataStoreType target = DataStoreType::kArchiveStore;
    CopyOption when;
};

/// How long a point stays in one store, counted from its arrival there.
struct Lifecycle {
    DataStoreType source = DataStoreType::kVaultStore;
    CalendarDuration delete_after;
    std::vector<CopySetting> copies;
};

/// One `AzureRetentionRule`.
struct RetentionRule {
    std::string name;
    bool is_default = false;
    std::vector<Lifecycle> lifecycles;  ///< At least one; one per store; the first store a point
                                        ///< lands in is among them.
};

/// A valid policy. Only parse_policy makes one from foreign data.
struct BackupPolicy {
    std::vector<std::string>
        datasource_types;                  ///< As given; each is accepted by parse_datasource_type.
    std::vector<BackupRule> backup_rules;  ///< At least one.
    std::vector<RetentionRule>
        retention_rules;  ///< Exactly one is named Default and is the default.
    std::vector<std::string>
        rule_order;  ///< Names as given, so that the answer keeps the client's order.
    std::chrono::weekday week_start =
        std::chrono::Sunday;  ///< For FirstOfWeek; `holdfast.weekStart`.
    TestRestoreRule test_restore = TestRestoreRule::kNever;

    /// Counts the edits of the stored policy. Not part of the document: the catalog sets it, points
    /// record it.
    std::int64_t version = 0;

    /// Names are compared without case. Null when there is none.
    [[nodiscard]] const BackupRule* find_backup_rule(std::string_view name) const noexcept;
    [[nodiscard]] const RetentionRule* find_retention_rule(std::string_view name) const noexcept;
    [[nodiscard]] const RetentionRule& default_retention_rule() const;
    [[nodiscard]] bool covers(DatasourceKind kind) const noexcept;
};

/// Properties that parse_policy accepted and ignored, as JSON paths; for the `x-holdfast-ignored`
/// header.
struct PolicyNotes {
    std::vector<std::string> ignored;
};

/// Reads the `properties` of a policy. `path` is where they stand in the request ("properties").
///
/// Accepts what the Azure clients send: any case and snake_case in names, nulls, `Criteria` beside
/// `criteria` (then the former counts, it is the later edit), copy settings as null, object or
/// list, `name` (ignored). Inside policyRules an unknown property is refused; outside it is ignored
/// and noted. Throws: kInvalidPolicy with the JSON path as target, what is wrong and what is
/// allowed.
[[nodiscard]] BackupPolicy parse_policy(
    const Json& properties, std::string_view path, PolicyNotes* notes = nullptr
);

/// The canonical form: camelCase, no nulls, tagInfo.id filled, copy settings always a list.
/// parse_policy(to_json(p)) gives p again.
[[nodiscard]] Json to_json(const BackupPolicy& policy);

// On demand.

struct AdhocRequest {
    /// A backup rule's name or, as the Azure guide has it, a retention rule's.
    std::string rule_name = {};
    std::string tag_override = {};  ///< Empty for none.
};

struct AdhocDecision {
    std::string backup_rule;
    std::string tag_name;  ///< Also the name of the retention rule.
    DataStoreType data_store = DataStoreType::kVaultStore;
};

/// Without an override the tag is Default; a retention rule's name in `rule_name` counts as
/// override of the first backup rule. Throws: kInvalidInput listing the names that are valid.
[[nodiscard]] AdhocDecision resolve_adhoc(const BackupPolicy& policy, const AdhocRequest& request);

}  // namespace holdfast::protection
