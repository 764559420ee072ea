#include "protection/policy.h"

#include "base/error.h"
#include "base/text.h"
#include "protection/policy_words.h"

#include <charconv>

#include <fmt/format.h>

namespace holdfast::protection {
namespace {

constexpr std::int64_t kDurationMonthsMax =
    1200;  // A hundred years: what a calendar can still be asked about.
constexpr std::int64_t kDurationDaysMax = 36525;

/// Takes `<digits><unit>` off the front when the unit is the wanted one; 0 when it is not there.
std::optional<std::int64_t> take_count(std::string_view& rest, char unit) {
    std::int64_t count = 0;
    const auto [end, fault] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
    const auto used = static_cast<std::size_t>(end - rest.data());
    if (fault != std::errc{} || used >= rest.size() || rest[used] != unit || rest.front() == '-') {
        return std::nullopt;
    }
    rest.remove_prefix(used + 1);
    return count;
}

std::string names_of(const BackupPolicy& policy) {
    std::string backup;
    for (const BackupRule& rule : policy.backup_rules) {
        backup += (backup.empty() ? "" : ", ") + rule.name;
    }
    std::string retention;
    for (const RetentionRule& rule : policy.retention_rules) {
        retention += (retention.empty() ? "" : ", ") + rule.name;
    }
    return fmt::format("backup rules {}; retention rules (tags) {}", backup, retention);
}

[[noreturn]] void refuse_name(
    const BackupPolicy& policy, std::string_view property, std::string_view name
) {
    const std::string target = fmt::format("backupRuleOptions.{}", property);
    throw Error{
        ErrorKind::kInvalidInput,
        ErrorText{
            .message = fmt::format(
                "{}: The policy has no rule named \"{}\". Allowed: {}.",
                target,
                name,
                names_of(policy)
            ),
            .target = target,
            .recommended_actions = {"Name one of the policy's rules and send the request again."},
        }
    };
}

}  // namespace

std::string_view to_string(DataStoreType type) noexcept {
    return words::text_of(words::kDataStores, type);
}

std::optional<DataStoreType> parse_data_store_type(std::string_view text) noexcept {
    for (const auto& word : words::kDataStores) {
        if (equal_ignoring_case(text, word.text)) {
            return word.value;
        }
    }
    return std::nullopt;
}

std::optional<CalendarDuration> parse_calendar_duration(std::string_view text) {
    std::string canonical{trim(text)};
    for (char& c : canonical) {
        c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    std::string_view rest = canonical;
    if (rest.size() < 3 || rest.size() > 32 || rest.front() != 'P') {
        return std::nullopt;
    }
    rest.remove_prefix(1);
    const std::int64_t years = take_count(rest, 'Y').value_or(0);
    const std::int64_t months = take_count(rest, 'M').value_or(0);
    const std::int64_t weeks = take_count(rest, 'W').value_or(0);
    const std::int64_t days = take_count(rest, 'D').value_or(0);
    if (!rest.empty() || years > kDurationMonthsMax / 12 || months > kDurationMonthsMax ||
        weeks > kDurationDaysMax || days > kDurationDaysMax) {
        return std::nullopt;
    }
    const std::int64_t all_months = years * 12 + months;
    const std::int64_t all_days = weeks * 7 + days;
    const bool positive = all_months + all_days > 0;
    // The sum is limited too: P100Y36525D would be two hundred years.
    if (!positive || all_months * 31 + all_days > kDurationMonthsMax * 31) {
        return std::nullopt;
    }
    return CalendarDuration{
        .months = static_cast<std::int32_t>(all_months),
        .days = static_cast<std::int32_t>(all_days),
        .text = std::move(canonical),
    };
}

Instant add(Instant instant, const CalendarDuration& duration) {
    using std::chrono::days;
    using std::chrono::year_month_day;
    const auto day = std::chrono::floor<days>(instant);
    const auto time_of_day = instant - day;
    year_month_day date = year_month_day{day} + std::chrono::months{duration.months};
    if (!date.ok()) {
        date = date.year() / date.month() / std::chrono::last;
    }
    return std::chrono::sys_days{date} + days{duration.days} + time_of_day;
}

Zone Schedule::zone_of(const RepeatingInterval& interval) const {
    if (!time_zone.empty()) {
        if (auto named = Zone::find(time_zone)) {
            return *std::move(named);
        }
        // It was known when the policy was accepted: the machine's time zone database has shrunk
        // since.
        throw Error{
            ErrorKind::kConfigInvalid,
            ErrorText{
                .message = fmt::format(
                    "The time zone \"{}\" of a backup policy is not known on this machine.",
                    time_zone
                ),
                .target = "timeZone",
                .recommended_actions =
                    {"Install the current package tzdata, or change the policy's time zone."},
            }
        };
    }
    return interval.offset ? Zone::fixed(*interval.offset) : Zone::utc();
}

Zone Schedule::zone() const {
    HOLDFAST_CHECK(!intervals.empty());
    return zone_of(intervals.front());
}

const BackupRule* BackupPolicy::find_backup_rule(std::string_view name) const noexcept {
    for (const BackupRule& rule : backup_rules) {
        if (equal_ignoring_case(rule.name, name)) {
            return &rule;
        }
    }
    return nullptr;
}

const RetentionRule* BackupPolicy::find_retention_rule(std::string_view name) const noexcept {
    for (const RetentionRule& rule : retention_rules) {
        if (equal_ignoring_case(rule.name, name)) {
            return &rule;
        }
    }
    return nullptr;
}

const RetentionRule& BackupPolicy::default_retention_rule() const {
    for (const RetentionRule& rule : retention_rules) {
        if (rule.is_default) {
            return rule;
        }
    }
    throw Error{ErrorKind::kInternal, "A stored backup policy has no default retention rule."};
}

bool BackupPolicy::covers(DatasourceKind kind) const noexcept {
    for (const std::string& type : datasource_types) {
        const auto parsed = parse_datasource_type(type);
        if (parsed && protection::covers(*parsed, kind)) {
            return true;
        }
    }
    return false;
}

AdhocDecision resolve_adhoc(const BackupPolicy& policy, const AdhocRequest& request) {
    const BackupRule* rule = policy.find_backup_rule(request.rule_name);
    const RetentionRule* tag = nullptr;
    if (rule == nullptr) {
        tag = policy.find_retention_rule(request.rule_name);
        if (tag == nullptr || policy.backup_rules.empty()) {
            refuse_name(policy, "ruleName", request.rule_name);
        }
        rule = &policy.backup_rules.front();
    }
    if (!request.tag_override.empty()) {
        tag = policy.find_retention_rule(request.tag_override);
        if (tag == nullptr) {
            refuse_name(policy, "triggerOption.retentionTagOverride", request.tag_override);
        }
    }
    if (tag == nullptr && !rule->schedule && !rule->tagging.empty()) {
        // A rule for on-demand backups names its tag itself.
        tag = policy.find_retention_rule(rule->tagging.front().tag_name);
    }
    if (tag == nullptr) {
        tag = &policy.default_retention_rule();
    }
    return {.backup_rule = rule->name, .tag_name = tag->name, .data_store = rule->data_store};
}

}  // namespace holdfast::protection
