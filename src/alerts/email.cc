#include "alerts/channel.h"
#include "alerts/detail/transfer.h"
#include "alerts/message.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

#include <fmt/format.h>

namespace holdfast::alerts {
namespace {

constexpr std::size_t kPasswordMax = 4096;

class Email final : public Channel {
public:
    Email(EmailSettings settings, ChannelContext context)
        : settings_{std::move(settings)}, context_{std::move(context)} {}

    [[nodiscard]] const std::string& name() const noexcept override { return settings_.name; }
    [[nodiscard]] std::string describe() const override {
        return fmt::format("{} through {}", join(settings_.to, ", "), settings_.host);
    }

    [[nodiscard]] SendResult send(
        const catalog::AlertRecord& record, std::stop_token stop
    ) const override {
        const std::string message =
            to_mail(record, settings_, context_.source, context_.clock.now());
        const auto at = settings_.from.rfind('@');
        const bool v6 = settings_.host.find(':') != std::string::npos;
        Transfer transfer;
        transfer.trust(settings_.ca_file);
        if (!settings_.user.empty()) {
            transfer.login(settings_.user, password().expose_text());
        }
        const bool tls = settings_.security == EmailSettings::Security::kTls;
        const Transfer::Result result = transfer.mail(
            {.url = fmt::format(
                 "{}://{}{}{}:{}/{}",
                 tls ? "smtps" : "smtp",
                 v6 ? "[" : "",
                 settings_.host,
                 v6 ? "]" : "",
                 settings_.port,
                 settings_.from.substr(at + 1)
             ),
             .start_tls = settings_.security == EmailSettings::Security::kStartTls,
             .from = settings_.from,
             .to = settings_.to,
             .message = message},
            std::move(stop)
        );
        using enum SendResult::Outcome;
        if (result.transferred) {
            return {kDelivered, fmt::format("SMTP {}", result.status)};
        }
        // 5xx: not again like this; all else (4xx, no connection, a bad certificate) may pass.
        return {result.status >= 500 && result.status < 600 ? kRefused : kLater, result.fault};
    }

private:
    [[nodiscard]] Secret password() const {
        if (!settings_.password_uri.empty()) {
            return context_.secrets(settings_.password_uri);
        }
        const auto text = read_secret_file(settings_.password_file, kPasswordMax);
        if (!text) {
            throw Error{
                ErrorKind::kSecretNotFound,
                ErrorText{
                    .message = fmt::format(
                        "The password file {} does not exist.", settings_.password_file.string()
                    ),
                    .target = "alerts.emails",
                    .recommended_actions = {"Write the password into it, mode 0600."},
                }
            };
        }
        return Secret{trim(text->expose_text())};
    }

    const EmailSettings settings_;
    const ChannelContext context_;
};

}  // namespace

std::unique_ptr<Channel> make_email(EmailSettings settings, ChannelContext context) {
    return std::make_unique<Email>(std::move(settings), std::move(context));
}

}  // namespace holdfast::alerts
