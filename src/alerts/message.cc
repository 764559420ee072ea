#include "alerts/message.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <array>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace holdfast::alerts {
namespace {

using catalog::AlertRecord;

constexpr std::size_t kMailLine = 76;  // Of base64: RFC 2045.
constexpr std::size_t kEncodedWordBytes = 42;  // 75 characters of RFC 2047 at most.

/// One line without control characters.
std::string one_line(std::string_view text) {
    std::string out{text};
    for (char& c : out) {
        c = static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
    }
    return out;
}

bool is_plain(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

/// A header's text: as it is, or as encoded words, each of whole characters.
std::string header_text(std::string_view text) {
    if (is_plain(text)) {
        return std::string{text.substr(0, 200)};
    }
    std::string out;
    std::string_view rest = text.substr(0, 200);
    while (!rest.empty()) {
        std::size_t size = std::min(rest.size(), kEncodedWordBytes);
        while (size > 1 && size < rest.size() &&
               (static_cast<unsigned char>(rest[size]) & 0xC0U) == 0x80U) {
            --size;
        }
        out += fmt::format(
            "{}=?utf-8?B?{}?=", out.empty() ? "" : "\r\n ", to_base64(as_bytes(rest.substr(0, size)))
        );
        rest.remove_prefix(size);
    }
    return out;
}

std::string in_lines(std::string_view base64) {
    std::string out;
    for (std::size_t at = 0; at < base64.size(); at += kMailLine) {
        out += base64.substr(at, kMailLine);
        out += "\r\n";
    }
    return out;
}

std::string date_of(Instant now) {
    const std::time_t seconds =
        std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
    return fmt::format("{:%a, %d %b %Y %H:%M:%S} +0000", fmt::gmtime(seconds));
}

std::string text_of(const AlertRecord& record, std::string_view source) {
    std::string text = fmt::format("{}\n\n{}\n", record.title, record.message);
    if (!record.actions.empty()) {
        text += "\nWhat to do:\n";
        for (const std::string& action : record.actions) {
            text += fmt::format("  - {}\n", action);
        }
    }
    text += fmt::format(
        "\nKind:     {}\nSeverity: {}{}\nAbout:    {}\nFirst:    {}\n",
        record.kind,
        record.severity,
        record.security ? " (security)" : "",
        record.scope,
        format_instant_seconds(record.created_at)
    );
    if (record.count > 1) {
        text += fmt::format(
            "Last:     {}\nTimes:    {}\n", format_instant_seconds(record.last_at), record.count
        );
    }
    if (record.earlier_unsent > 0) {
        text += fmt::format("Earlier:  {} more than the last message said\n", record.earlier_unsent);
    }
    for (const auto& [name, value] : record.details.items()) {
        text += fmt::format("{}: {}\n", name, value.is_string() ? value.get<std::string>() : value.dump());
    }
    return text + fmt::format("Alert:    {}\nServer:   {}\n", record.id, source);
}

}  // namespace

Json to_document(const AlertRecord& record, std::string_view source) {
    return Json{
        {"schema", "holdfast.alert/1"},
        {"id", record.id},
        {"kind", record.kind},
        {"severity", record.severity},
        {"security", record.security},
        {"scope", record.scope},
        {"title", record.title},
        {"message", record.message},
        {"recommendedActions", record.actions},
        {"details", record.details},
        {"time", format_instant(record.created_at)},
        {"lastTime", format_instant(record.last_at)},
        {"count", record.count},
        {"earlierUnsent", record.earlier_unsent},
        {"server", source},
    };
}

std::string to_mail(
    const AlertRecord& record,
    const EmailSettings& settings,
    std::string_view source,
    Instant now
) {
    const std::string subject =
        one_line(fmt::format("[Holdfast] {}: {}", record.severity, record.title));
    const auto at = settings.from.rfind('@');
    const std::string domain = at == std::string::npos ? "holdfast" : settings.from.substr(at + 1);
    // The id of a repeat is the same: mail programs show it once.
    return fmt::format(
               "From: {}\r\nTo: {}\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: <{}@{}>\r\n"
               "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
               "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
               "\r\n",
               settings.from,
               join(settings.to, ", "),
               header_text(subject),
               date_of(now),
               record.id,
               domain
           ) +
           in_lines(to_base64(as_bytes(text_of(record, source))));
}

std::string signature_of(const Secret& key, std::string_view body, Instant now) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
    const std::string signed_text = fmt::format("{}.{}", seconds, body);
    std::array<unsigned char, 32> digest{};
    unsigned int size = 0;
    const unsigned char* made = HMAC(
        EVP_sha256(),
        key.expose().data(),
        static_cast<int>(key.size()),
        reinterpret_cast<const unsigned char*>(signed_text.data()),
        signed_text.size(),
        digest.data(),
        &size
    );
    HOLDFAST_CHECK(made != nullptr && size == digest.size());
    return fmt::format("t={},v1={}", seconds, to_hex(std::as_bytes(std::span{digest})));
}

}  // namespace holdfast::alerts
