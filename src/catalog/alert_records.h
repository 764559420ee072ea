#pragma once

#include "catalog/catalog.h"

#include <string>
#include <vector>

namespace holdfast::catalog {

/// Something that somebody has to hear of: an entry of the outbox of alerts (src/alerts).
struct AlertRecord {
    std::string id;  ///< Guid; the same in every repeat of a delivery.
    std::string kind;
    std::string severity;
    bool security = false;
    std::string scope;      ///< ARM id of what it is about; "/" for the service itself.
    std::string dedup_key;  ///< Kind, scope and subject: what makes two events the same.
    std::string title;
    std::string message;
    std::vector<std::string> actions;  ///< What to do about it, one sentence each.
    Json details = Json::object();     ///< Texts. No secrets.
    std::int64_t count = 1;            ///< How often it happened within the window.
    /// How often it had happened before, after the alert of it was sent.
    std::int64_t earlier_unsent = 0;
    Instant last_at;
    /// Pending (some channel has not got it yet), Sent, Failed (given up for a channel), Muted,
    /// Recorded (no channel is configured).
    std::string state = "Pending";
    /// Of each channel: channel, state (Pending, Sent, Failed), attempts, nextAt (microseconds
    /// since 1970), error, count (what it was told).
    Json deliveries = Json::array();
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// A rule by which alerts of a kind are recorded and not sent.
struct AlertMuteRecord {
    std::string id;  ///< Name, as given.
    std::string kind;
    std::string scope = "/";  ///< What lies at it or below is muted.
    std::string reason;
    std::optional<Instant> until;
    std::string created_by;  ///< Principal id.
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

void to_json(Json& out, const AlertRecord& record);
void from_json(const Json& in, AlertRecord& record);
void to_json(Json& out, const AlertMuteRecord& record);
void from_json(const Json& in, AlertMuteRecord& record);

template <>
struct RecordTraits<AlertRecord> {
    static constexpr std::string_view kTable = "alerts";
    [[nodiscard]] static RowColumns columns(const AlertRecord& r) {
        return RowColumns{
            .key = r.id,
            .parent = r.scope,
            .subject = r.dedup_key,
            .state = r.state,
            .at = r.created_at
        };
    }
};

template <>
struct RecordTraits<AlertMuteRecord> {
    static constexpr std::string_view kTable = "alert_mutes";
    [[nodiscard]] static RowColumns columns(const AlertMuteRecord& r) {
        return RowColumns{.key = r.id, .subject = r.kind, .at = r.created_at};
    }
};

}  // namespace holdfast::catalog
