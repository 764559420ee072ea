#include "alerts/channel.h"
#include "alerts/detail/transfer.h"
#include "alerts/message.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::alerts {
namespace {

constexpr std::size_t kSecretMax = 4096;

class Webhook final : public Channel {
public:
    Webhook(WebhookSettings settings, ChannelContext context)
        : settings_{std::move(settings)}, context_{std::move(context)} {}

    [[nodiscard]] const std::string& name() const noexcept override { return settings_.name; }
    [[nodiscard]] std::string describe() const override {
        // Chat services put the key into the path: only the host is for everybody's eyes.
        return settings_.url.substr(0, settings_.url.find("://")) + "://" +
               host_of_url(settings_.url);
    }

    [[nodiscard]] SendResult send(
        const catalog::AlertRecord& record, std::stop_token stop
    ) const override {
        const std::string body =
            to_document(record, context_.source)
                .dump(-1, ' ', false, Json::error_handler_t::replace);
        std::vector<std::string> headers{
            "Content-Type: application/json",
            "Expect:",
            "X-Holdfast-Alert: " + record.id,
        };
        if (const auto key = secret()) {
            headers.push_back(
                "X-Holdfast-Signature: " + signature_of(*key, body, context_.clock.now())
            );
        }
        Transfer transfer;
        transfer.trust(settings_.ca_file);
        return judge(transfer.post(settings_.url, body, headers, std::move(stop)));
    }

private:
    [[nodiscard]] std::optional<Secret> secret() const {
        if (!settings_.secret_uri.empty()) {
            return context_.secrets(settings_.secret_uri);
        }
        if (settings_.secret_file.empty()) {
            return std::nullopt;
        }
        const auto text = read_secret_file(settings_.secret_file, kSecretMax);
        if (!text) {
            throw Error{
                ErrorKind::kSecretNotFound,
                ErrorText{
                    .message = fmt::format(
                        "The secret file {} does not exist.", settings_.secret_file.string()
                    ),
                    .target = "alerts.webhooks",
                    .recommended_actions = {"Write the key into it, mode 0600."},
                }
            };
        }
        return Secret{trim(text->expose_text())};
    }

    [[nodiscard]] static SendResult judge(const Transfer::Result& result) {
        using enum SendResult::Outcome;
        if (!result.transferred) {
            return {kLater, result.fault};
        }
        if (result.status >= 200 && result.status < 300) {
            return {kDelivered, fmt::format("HTTP {}", result.status)};
        }
        const bool busy = result.status == 408 || result.status == 425 || result.status == 429 ||
                          result.status >= 500;
        const bool elsewhere = result.status >= 300 && result.status < 400;
        return {
            busy ? kLater : kRefused,
            fmt::format(
                "HTTP {}{}", result.status, elsewhere ? ": redirects are not followed" : ""
            )
        };
    }

    const WebhookSettings settings_;
    const ChannelContext context_;
};

}  // namespace

std::unique_ptr<Channel> make_webhook(WebhookSettings settings, ChannelContext context) {
    return std::make_unique<Webhook>(std::move(settings), std::move(context));
}

bool is_loopback_host(std::string_view host) noexcept {
    return equal_ignoring_case(host, "localhost") || host == "::1" || host == "[::1]" ||
           (host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos);
}

std::string host_of_url(std::string_view url) {
    const auto scheme = url.find("://");
    if (scheme == std::string_view::npos) {
        return {};
    }
    const std::string_view kind = url.substr(0, scheme);
    std::string_view rest = url.substr(scheme + 3);
    rest = rest.substr(0, rest.find_first_of("/?"));
    if ((kind != "https" && kind != "http") || url.find_first_of("#\\ \t\r\n") != url.npos ||
        rest.find('@') != rest.npos) {
        return {};
    }
    if (rest.starts_with('[')) {
        const auto end = rest.find(']');
        return end == rest.npos ? std::string{} : std::string{rest.substr(1, end - 1)};
    }
    return std::string{rest.substr(0, rest.find(':'))};
}

}  // namespace holdfast::alerts
