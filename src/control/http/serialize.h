#pragma once

#include "base/clock.h"
#include "control/http/message.h"

#include <string>
#include <string_view>

namespace holdfast::control {

inline constexpr std::string_view kJsonContentType = "application/json; charset=utf-8";

enum class ReplyConnection { kKeepAlive, kClose };
enum class ReplyBody { kSent, kOmitted };  ///< kOmitted: the answer to HEAD.
enum class StreamCoding { kChunked, kUntilClose };  ///< How a body of unknown length is sent.

struct ReplyHead {
    Instant now;
    ReplyConnection connection = ReplyConnection::kKeepAlive;
    ReplyBody body = ReplyBody::kSent;
    StreamCoding coding = StreamCoding::kChunked;
};

/// The bytes of an HTTP/1.1 response: status line, header fields and, but for a FileBody and a
/// BodySource, the body. Encodes a JSON body that is not encoded yet.
/// Control characters in field values become blanks, so that no value can begin a new field.
[[nodiscard]] std::string serialize(Reply& reply, const ReplyHead& head);

/// `Sun, 06 Nov 1994 08:49:37 GMT`
[[nodiscard]] std::string format_http_date(Instant instant);

}  // namespace holdfast::control
