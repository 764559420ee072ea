#include "base/text.h"
#include "postgres/connection.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

struct SslModeName {
    SslMode mode;
    std::string_view name;
};
constexpr std::array kSslModes{
    SslModeName{SslMode::kDisable, "disable"},
    SslModeName{SslMode::kAllow, "allow"},
    SslModeName{SslMode::kPrefer, "prefer"},
    SslModeName{SslMode::kRequire, "require"},
    SslModeName{SslMode::kVerifyCa, "verify-ca"},
    SslModeName{SslMode::kVerifyFull, "verify-full"},
};

/// `VerifyFull`, `verify_full` and `verify-full` are one word.
std::string only_letters(std::string_view text) {
    std::string letters = to_lower(text);
    std::erase_if(letters, [](char c) { return c == '-' || c == '_' || c == ' '; });
    return letters;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
    if (from.empty()) {
        return;
    }
    for (std::size_t at = text.find(from); at != std::string::npos;
         at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
    }
}

constexpr std::string_view kRedacted = "***";

/// `password=…` of a conninfo string, quoted or not, and `//user:…@` of a URI.
void redact_conninfo(std::string& text) {
    for (const std::string_view key : {"password=", "password ="}) {
        for (std::size_t at = text.find(key); at != std::string::npos;
             at = text.find(key, at + 1)) {
            std::size_t begin = text.find_first_not_of(' ', at + key.size());
            if (begin == std::string::npos) {
                break;
            }
            std::size_t end = begin;
            if (text[begin] == '\'') {
                for (end = begin + 1; end < text.size() && text[end] != '\''; ++end) {
                    if (text[end] == '\\') {
                        ++end;
                    }
                }
                end = std::min(end + 1, text.size());
            } else {
                end = std::min(text.find_first_of(" \n&\"", begin), text.size());
            }
            text.replace(begin, end - begin, kRedacted);
        }
    }
    for (std::size_t at = text.find("://"); at != std::string::npos;
         at = text.find("://", at + 3)) {
        const std::size_t end = text.find_first_of("/ \n\"", at + 3);
        const std::size_t sign = text.substr(0, end).rfind('@');
        const std::size_t colon = text.find(':', at + 3);
        if (sign != std::string::npos && colon != std::string::npos && colon < sign && sign > at) {
            text.replace(colon + 1, sign - colon - 1, kRedacted);
        }
    }
}

}  // namespace

std::string_view ssl_mode_name(SslMode mode) noexcept {
    for (const SslModeName& row : kSslModes) {
        if (row.mode == mode) {
            return row.name;
        }
    }
    return "verify-full";
}

std::optional<SslMode> parse_ssl_mode(std::string_view text) noexcept {
    const std::string letters = only_letters(text);
    for (const SslModeName& row : kSslModes) {
        if (letters == only_letters(row.name)) {
            return row.mode;
        }
    }
    return std::nullopt;
}

ConnectionParameters ConnectionParameters::clone() const {
    ConnectionParameters copy;
    copy.host = host;
    copy.port = port;
    copy.user = user;
    copy.password = password.clone();
    copy.database = database;
    copy.ssl_mode = ssl_mode;
    copy.ssl_root_cert = ssl_root_cert;
    copy.connect_timeout = connect_timeout;
    copy.application_name = application_name;
    copy.options = options;
    copy.session = session;
    return copy;
}

ConnectionParameters ConnectionParameters::with_database(std::string_view name) const {
    ConnectionParameters copy = clone();
    copy.database = name;
    return copy;
}

SslMode ConnectionParameters::effective_ssl_mode() const {
    if (ssl_mode) {
        return *ssl_mode;
    }
    return is_loopback(host) ? SslMode::kPrefer : SslMode::kVerifyFull;
}

std::string ConnectionParameters::describe() const {
    const bool ipv6 = host.find(':') != std::string::npos;
    return fmt::format(
        "{}@{}{}{}:{}/{}", user, ipv6 ? "[" : "", host, ipv6 ? "]" : "", port, database
    );
}

bool is_loopback(std::string_view host) {
    if (host.starts_with('/') || host.starts_with('@') || host == "::1" ||
        equal_ignoring_case(host, "localhost")) {
        return true;
    }
    // Only a dotted quad of digits: `127.evil.example` is a name.
    return host.starts_with("127.") &&
           host.find_first_not_of("0123456789.") == std::string_view::npos;
}

std::vector<std::string> tls_warnings(const ConnectionParameters& parameters) {
    if (is_loopback(parameters.host)) {
        return {};
    }
    const SslMode mode = parameters.effective_ssl_mode();
    const std::string_view name = ssl_mode_name(mode);
    switch (mode) {
        case SslMode::kVerifyFull:
            return {};
        case SslMode::kVerifyCa:
            return {fmt::format(
                "TLS to {} uses sslMode {}: the certificate's host name is not checked. Use "
                "verify-full.",
                parameters.host,
                name
            )};
        case SslMode::kRequire:
            return {fmt::format(
                "TLS to {} uses sslMode {}: encrypted, but nothing proves who the server is. Use "
                "verify-full "
                "with sslRootCert.",
                parameters.host,
                name
            )};
        case SslMode::kDisable:
        case SslMode::kAllow:
        case SslMode::kPrefer:
            break;
    }
    return {fmt::format(
        "The connection to {} uses sslMode {}: data and credentials may travel in clear. Use "
        "verify-full with "
        "sslRootCert.",
        parameters.host,
        name
    )};
}

std::string make_conninfo(const std::vector<std::pair<std::string, std::string>>& keywords) {
    std::string conninfo;
    for (const auto& [keyword, value] : keywords) {
        if (!conninfo.empty()) {
            conninfo.push_back(' ');
        }
        conninfo += keyword;
        conninfo += "='";
        for (const char c : value) {
            if (c == '\'' || c == '\\') {
                conninfo.push_back('\\');
            }
            conninfo.push_back(c);
        }
        conninfo.push_back('\'');
    }
    return conninfo;
}

std::string quote_identifier(std::string_view name) {
    std::string quoted{"\""};
    for (const char c : name) {
        if (c == '"') {
            quoted.push_back('"');
        }
        quoted.push_back(c);
    }
    quoted.push_back('"');
    return quoted;
}

std::string quote_literal(std::string_view text) {
    std::string quoted;
    if (text.find('\\') != std::string_view::npos) {
        quoted.push_back('E');
    }
    quoted.push_back('\'');
    for (const char c : text) {
        if (c == '\'' || c == '\\') {
            quoted.push_back(c);
        }
        quoted.push_back(c);
    }
    quoted.push_back('\'');
    return quoted;
}

std::string redact(std::string_view message, const ConnectionParameters& parameters) {
    std::string text{message};
    // A shorter password would take single letters out of words, and protects nothing anyway.
    constexpr std::size_t kPasswordLengthMin = 4;
    if (parameters.password.size() >= kPasswordLengthMin) {
        replace_all(text, parameters.password.expose_text(), kRedacted);
        replace_all(text, percent_encode(parameters.password.expose_text()), kRedacted);
    }
    redact_conninfo(text);
    return text;
}

}  // namespace holdfast::postgres
