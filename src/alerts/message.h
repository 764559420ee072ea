#pragma once

#include "alerts/settings.h"
#include "base/clock.h"
#include "catalog/alert_records.h"

#include <string>
#include <string_view>

namespace holdfast::alerts {

/// What a webhook gets; docs/operating/alerts.md describes it. `source`: the server's own URL.
[[nodiscard]] Json to_document(const catalog::AlertRecord& record, std::string_view source);

/// A whole message of RFC 5322, ASCII only, lines ended by CR LF: nothing in the record can add a
/// header. REQUIRES: addresses without line breaks (the configuration checks them).
[[nodiscard]] std::string to_mail(
    const catalog::AlertRecord& record,
    const EmailSettings& settings,
    std::string_view source,
    Instant now
);

/// `t=<seconds since 1970>,v1=<hex>`: HMAC-SHA-256 of `<seconds>.<body>` under `key`.
[[nodiscard]] std::string signature_of(const Secret& key, std::string_view body, Instant now);

}  // namespace holdfast::alerts
