#pragma once

#include "base/bytes.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::postgres {

/// What an ErrorResponse says.
struct ServerMessage {
    std::string severity;
    std::string sqlstate;
    std::string primary;
    std::string detail;
    std::string hint;
};

/// Takes the messages of PostgreSQL's protocol (version 3) straight out of the bytes that a socket
/// gives, in big pieces and without copying them: libpq copies every message twice, which was two
/// fifths of what receiving a base backup costs.
///
/// One thread at a time.
class WireReader {
public:
    struct Message {
        char type = 0;
        ByteSpan body;  ///< Valid until the next call of room().
    };
    /// The next whole message; nothing when more bytes are needed. Throws kServerConnectionClosed
    /// for what is no message.
    [[nodiscard]] std::optional<Message> next();
    /// Where the next bytes from the socket go, at least one; then say how many came.
    [[nodiscard]] MutableByteSpan room();
    void add(std::size_t count);

private:
    Bytes buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

/// Bodies of messages. Throw kServerConnectionClosed when cut off.
[[nodiscard]] ServerMessage parse_server_message(ByteSpan body);
[[nodiscard]] std::vector<std::string> parse_row_description(ByteSpan body);
[[nodiscard]] std::vector<std::optional<std::string>> parse_data_row(ByteSpan body);
/// A simple Query.
[[nodiscard]] Bytes make_query_message(const std::string& sql);

}  // namespace holdfast::postgres
