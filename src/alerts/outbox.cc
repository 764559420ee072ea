#include "alerts/outbox.h"

#include "base/error.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::alerts {
namespace {

using catalog::AlertMuteRecord;
using catalog::AlertRecord;

// Texts that come from elsewhere (an error's message) are cut to what a mail or a chat can show.
constexpr std::size_t kMessageMax = 4000;

std::string key_of(const Event& event) {
    return to_lower(
        fmt::format("{}|{}|{}", traits(event.kind).name, event.scope, event.subject)
    );
}

/// At most `size` bytes, cut between characters.
std::string shortened(std::string_view text, std::size_t size) {
    if (text.size() <= size) {
        return std::string{text};
    }
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) {
        --size;
    }
    return std::string{text.substr(0, size)} + "…";
}

/// What has been told of an alert already, to the channel that knows least.
std::int64_t told_count(const AlertRecord& record) {
    std::int64_t told = record.count;
    for (const Json& delivery : record.deliveries) {
        told = std::min(told, delivery.value("count", std::int64_t{0}));
    }
    return told;
}

std::optional<AlertRecord> newest_of(const catalog::View& view, const std::string& key) {
    const auto found = view.list<AlertRecord>(
        {.subject = key, .order = catalog::Order::kNewestFirst, .limit = 1}
    );
    return found.empty() ? std::nullopt : std::optional{found.front()};
}

}  // namespace

bool lies_at_or_below(std::string_view scope, std::string_view at) {
    if (at == "/") {
        return true;
    }
    return starts_with_ignoring_case(scope, at) &&
           (scope.size() == at.size() || scope[at.size()] == '/');
}

const KindTraits& require_mutable(std::string_view kind, std::string_view target) {
    const KindTraits* found = find_kind(kind);
    if (found == nullptr) {
        std::string names;
        for (const KindTraits& row : all_kinds()) {
            if (row.concern == Concern::kOperation) {
                names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
            }
        }
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = fmt::format("'{}' is no kind of alert.", kind.substr(0, 100)),
                .target = std::string{target},
                .recommended_actions = {fmt::format("Choose one of: {}.", names)},
            }
        };
    }
    if (found->concern == Concern::kSecurity) {
        throw Error{
            ErrorKind::kInvalidInput,
            ErrorText{
                .message = fmt::format(
                    "Alerts of kind {} are a matter of security and cannot be muted.", found->name
                ),
                .target = std::string{target},
                .recommended_actions =
                    {"Leave it; the same event within the window is sent once only."},
            }
        };
    }
    return *found;
}

std::optional<std::string> Outbox::muted_by(
    const catalog::View& view, const KindTraits& kind, std::string_view scope, Instant now
) const {
    if (kind.concern == Concern::kSecurity) {
        return std::nullopt;
    }
    const auto& fixed = settings_.muted;
    if (std::any_of(fixed.begin(), fixed.end(), [&](const std::string& name) {
            return equal_ignoring_case(name, kind.name);
        })) {
        return "alerts.mute";
    }
    std::optional<std::string> by;
    view.each<AlertMuteRecord>(
        {.subject = std::string{kind.name}},
        [&](const AlertMuteRecord& rule) {
            const bool holds = !rule.until || now < *rule.until;
            if (holds && lies_at_or_below(scope, rule.scope)) {
                by = rule.id;
            }
            return !by;
        }
    );
    return by;
}

AlertRecord Outbox::make(
    const catalog::Transaction& transaction, const Event& event, std::string dedup_key
) const {
    const KindTraits& kind = traits(event.kind);
    AlertRecord record;
    record.id = new_guid();
    record.kind = kind.name;
    record.severity = to_string(kind.severity);
    record.security = kind.concern == Concern::kSecurity;
    record.scope = event.scope.empty() ? "/" : event.scope;
    record.dedup_key = std::move(dedup_key);
    record.title = kind.title;
    record.message = shortened(event.message, kMessageMax);
    record.actions = event.actions;
    record.details = event.details;
    record.created_at = transaction.now();
    record.last_at = record.created_at;
    if (const auto rule = muted_by(transaction, kind, record.scope, record.created_at)) {
        record.state = kMuted;
        record.details["mutedBy"] = *rule;
        return record;
    }
    for (const std::string& channel : settings_.channels) {
        record.deliveries.push_back(
            {{"channel", channel}, {"state", kPending}, {"attempts", 0}, {"nextAt", 0}, {"count", 0}}
        );
    }
    record.state = settings_.channels.empty() ? kRecorded : kPending;
    return record;
}

void Outbox::raise_in(catalog::Transaction& transaction, const Event& event) const {
    const std::string key = key_of(event);
    const Instant now = transaction.now();
    const auto before = newest_of(transaction, key);
    const auto window = event.repeat == Repeat::kStandsFor
                            ? std::chrono::duration_cast<std::chrono::seconds>(kStandingWindow)
                            : settings_.window;
    // A clock that was set back must not silence anything for ever.
    const bool same = before && now < before->created_at + window &&
                      now >= before->created_at - std::chrono::minutes{1};
    if (same && event.repeat == Repeat::kStandsFor) {
        return;
    }
    if (same) {
        AlertRecord counted = *before;
        ++counted.count;
        counted.last_at = now;
        transaction.put(counted);
        return;
    }
    const bool security = traits(event.kind).concern == Concern::kSecurity;
    const std::int64_t room = security ? 10 * kPendingMax : kPendingMax;
    if (event.kind != Kind::kAlertsSuppressed &&
        transaction.count<AlertRecord>({.states = {std::string{kPending}}}) >= room) {
        log_error(
            "An alert has no room in the outbox",
            {{"kind", std::string{traits(event.kind).name}}, {"scope", event.scope}}
        );
        raise_in(
            transaction,
            {.kind = Kind::kAlertsSuppressed,
             .message = fmt::format(
                 "More than {} alerts wait to be sent; further ones are only counted here and "
                 "written to the log.",
                 room
             ),
             .actions = {"Look at why alerts cannot be sent: holdfast alert test."}}
        );
        return;
    }
    AlertRecord record = make(transaction, event, key);
    if (before && event.repeat == Repeat::kCounted) {
        record.earlier_unsent = before->count - told_count(*before);
    }
    transaction.put(record);
    log_warning(
        "alert",
        {{"kind", record.kind},
         {"severity", record.severity},
         {"scope", record.scope},
         {"state", record.state},
         {"alert", record.id},
         {"message", record.message}}
    );
}

}  // namespace holdfast::alerts
