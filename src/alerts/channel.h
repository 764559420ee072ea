#pragma once

#include "alerts/settings.h"
#include "base/clock.h"
#include "catalog/alert_records.h"

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::alerts {

struct SendResult {
    enum class Outcome {
        kDelivered,
        kLater,    ///< The channel is at fault (unreachable, busy): nothing goes through it now.
        kRefused,  ///< The other side does not take this message; others may pass.
    };
    Outcome outcome = Outcome::kDelivered;
    std::string detail = {};  ///< What the other side or the transport said. No secrets.
};

/// A way to somebody. Safe from any thread.
class Channel {
public:
    virtual ~Channel() = default;
    [[nodiscard]] virtual const std::string& name() const noexcept = 0;
    /// Where to, for people: a URL without its query, or addresses.
    [[nodiscard]] virtual std::string describe() const = 0;
    /// Blocks for half a minute at most, or until `stop`. Throws for what is wrong on this side: a
    /// secret that cannot be read.
    [[nodiscard]] virtual SendResult send(
        const catalog::AlertRecord& record, std::stop_token stop
    ) const = 0;
};

struct ChannelContext {
    std::string source;  ///< This server's URL, for those who read the alert.
    SecretSource secrets;
    Clock& clock;
};

[[nodiscard]] std::unique_ptr<Channel> make_webhook(
    WebhookSettings settings, ChannelContext context
);
[[nodiscard]] std::unique_ptr<Channel> make_email(EmailSettings settings, ChannelContext context);

/// `localhost`, 127.0.0.0/8 and ::1: where a channel may speak without TLS.
[[nodiscard]] bool is_loopback_host(std::string_view host) noexcept;
/// The host of an http(s) URL; empty when it is none, or has a user or a fragment.
[[nodiscard]] std::string host_of_url(std::string_view url);

}  // namespace holdfast::alerts
