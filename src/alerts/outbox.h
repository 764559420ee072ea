#pragma once

#include "alerts/alert.h"
#include "alerts/settings.h"
#include "base/clock.h"
#include "catalog/alert_records.h"
#include "catalog/catalog.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::alerts {

/// Takes events in and keeps them in the catalog until every channel has them: what raise_in()
/// wrote becomes durable together with what it tells of. Safe from any thread.
class Outbox {
public:
    /// Alerts that wait to be sent at most; beyond it, further ones are counted in one alert of
    /// kAlertsSuppressed. Matters of security have ten times the room.
    static constexpr std::int64_t kPendingMax = 1000;
    /// How long a state that still stands is not told again.
    static constexpr std::chrono::hours kStandingWindow{24};

    explicit Outbox(OutboxSettings settings) : settings_{std::move(settings)} {}

    /// In the caller's transaction. Within the window the same event only counts up.
    void raise_in(catalog::Transaction& transaction, const Event& event) const;

    [[nodiscard]] const OutboxSettings& settings() const noexcept { return settings_; }

    /// Why an alert is not sent: the configuration's rule or one of the catalog's; nothing when it
    /// is.
    [[nodiscard]] std::optional<std::string> muted_by(
        const catalog::View& view, const KindTraits& kind, std::string_view scope, Instant now
    ) const;

private:
    [[nodiscard]] catalog::AlertRecord make(
        const catalog::Transaction& transaction, const Event& event, std::string dedup_key
    ) const;

    const OutboxSettings settings_;
};

/// Whether alerts of this name may be muted. Throws kInvalidInput for a kind that does not exist,
/// and for a matter of security; `target` is what the error names.
const KindTraits& require_mutable(std::string_view kind, std::string_view target);

/// True when `scope` is `at` or lies below it, without case; `/` contains everything.
[[nodiscard]] bool lies_at_or_below(std::string_view scope, std::string_view at);

inline constexpr std::string_view kPending = "Pending";
inline constexpr std::string_view kSent = "Sent";
inline constexpr std::string_view kFailed = "Failed";
inline constexpr std::string_view kMuted = "Muted";
inline constexpr std::string_view kRecorded = "Recorded";

}  // namespace holdfast::alerts
