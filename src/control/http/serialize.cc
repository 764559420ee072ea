#include "control/http/serialize.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

std::string_view reason_of(int status) noexcept {
    switch (status) {
        case 200:
            return "OK";
        case 201:
            return "Created";
        case 202:
            return "Accepted";
        case 204:
            return "No Content";
        case 206:
            return "Partial Content";
        case 304:
            return "Not Modified";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 409:
            return "Conflict";
        case 412:
            return "Precondition Failed";
        case 413:
            return "Content Too Large";
        case 415:
            return "Unsupported Media Type";
        case 416:
            return "Range Not Satisfiable";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 507:
            return "Insufficient Storage";
        default:
            return "Status";
    }
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append(": ");
    for (const char c : value) {
        out.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c);
    }
    out.append("\r\n");
}

}  // namespace

std::string format_http_date(Instant instant) {
    namespace chrono = std::chrono;
    constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::string_view kMonths[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
    };
    const auto day = chrono::floor<chrono::days>(instant);
    const chrono::year_month_day date{day};
    const chrono::hh_mm_ss time{chrono::floor<chrono::seconds>(instant - day)};
    return fmt::format(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        kDays[chrono::weekday{day}.c_encoding()],
        static_cast<unsigned>(date.day()),
        kMonths[static_cast<unsigned>(date.month()) - 1],
        static_cast<int>(date.year()),
        time.hours().count(),
        time.minutes().count(),
        time.seconds().count()
    );
}

std::string serialize(Reply& reply, const ReplyHead& head) {
    reply.encode();
    std::string_view body;
    std::string_view content_type;
    if (std::holds_alternative<Json>(reply.body)) {
        body = reply.json_text;
        content_type = kJsonContentType;
    } else if (const auto* text = std::get_if<std::string>(&reply.body)) {
        body = *text;
    }
    std::string out = fmt::format("HTTP/1.1 {} {}\r\n", reply.status, reason_of(reply.status));
    append_field(out, "Date", format_http_date(head.now));
    append_field(
        out, "Connection", head.connection == ReplyConnection::kKeepAlive ? "keep-alive" : "close"
    );
    if (std::holds_alternative<std::unique_ptr<BodySource>>(reply.body)) {
        if (head.coding == StreamCoding::kChunked) {
            append_field(out, "Transfer-Encoding", "chunked");
        }
    } else if (reply.status != 204 && reply.status != 304) {
        append_field(out, "Content-Length", std::to_string(reply.body_size()));
    }
    if (!content_type.empty() && !reply.headers.has("Content-Type")) {
        append_field(out, "Content-Type", content_type);
    }
    for (const auto& [name, value] : reply.headers.fields()) {
        append_field(out, name, value);
    }
    out += "\r\n";
    if (head.body == ReplyBody::kSent && reply.status != 204 && reply.status != 304) {
        out += body;
    }
    return out;
}

}  // namespace holdfast::control
