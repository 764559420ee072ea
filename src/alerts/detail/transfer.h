#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

namespace holdfast::alerts {

/// One transfer with libcurl: TLS 1.2 or newer, certificate and name verified, no redirect, no
/// proxy, no credentials but those given here. One thread at a time.
class Transfer {
public:
    Transfer();
    ~Transfer();
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    struct Result {
        bool transferred = false;  ///< The protocol ran to its end.
        long status = 0;           ///< HTTP status, or the last SMTP reply's code.
        std::string fault;         ///< Why it did not; empty else.
        std::string answer;        ///< The first bytes of an HTTP body.
    };

    void trust(const std::filesystem::path& ca_file);
    void login(const std::string& user, std::string_view password);

    [[nodiscard]] Result post(
        const std::string& url,
        const std::string& body,
        std::span<const std::string> headers,
        std::stop_token stop
    );

    struct Mail {
        std::string url;  ///< `smtp://host:port/our-name` or `smtps://…`.
        bool start_tls = false;
        std::string from;
        std::span<const std::string> to;
        std::string_view message;
    };
    [[nodiscard]] Result mail(const Mail& mail, std::stop_token stop);

private:
    Result run(std::stop_token stop);

    struct Handle;
    std::unique_ptr<Handle> handle_;
};

}  // namespace holdfast::alerts
