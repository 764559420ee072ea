#include "postgres/wire_reader.h"

#include "base/error.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace holdfast::postgres {

namespace {

// Large enough for what a socket holds, small enough to stay in the processor's cache.
constexpr std::size_t kBufferBytes = 512 * kKiB;
constexpr std::size_t kRoomBytesMin = 64 * kKiB;
constexpr std::size_t kMessageBytesMax = 16 * kMiB;  // A server sends 32 KiB or so at a time.
constexpr std::size_t kHeaderBytes = 5;              // A letter, a length that counts itself.
constexpr std::size_t kLengthBytes = 4;

[[noreturn]] void fail() {
    throw Error{
        ErrorKind::kServerConnectionClosed,
        ErrorText{
            .message = "The server sent something that is not PostgreSQL's protocol.",
            .recommended_actions = {"Try again; if it happens again, look at what lies between."}
        }
    };
}

/// Reads a body from its start.
class Cursor {
public:
    explicit Cursor(ByteSpan bytes) : left_{bytes} {}

    std::uint32_t integer(std::size_t bytes) {
        std::uint32_t value = 0;
        for (const std::byte byte : take(bytes)) {
            value = value << 8 | std::to_integer<std::uint32_t>(byte);
        }
        return value;
    }
    ByteSpan take(std::size_t count) {
        if (count > left_.size()) {
            fail();
        }
        const ByteSpan taken = left_.first(count);
        left_ = left_.subspan(count);
        return taken;
    }
    std::string text() {
        const auto nul = std::find(left_.begin(), left_.end(), std::byte{0});
        if (nul == left_.end()) {
            fail();
        }
        std::string out{as_text(take(static_cast<std::size_t>(nul - left_.begin())))};
        (void)take(1);
        return out;
    }

private:
    ByteSpan left_;
};

}  // namespace

std::optional<WireReader::Message> WireReader::next() {
    const std::size_t have = end_ - begin_;
    if (have < kHeaderBytes) {
        return std::nullopt;
    }
    const ByteSpan bytes = ByteSpan{buffer_}.subspan(begin_, have);
    const std::size_t length = Cursor{bytes.subspan(1)}.integer(kLengthBytes);
    if (length < kLengthBytes || length > kMessageBytesMax) {
        fail();
    }
    if (have < 1 + length) {
        return std::nullopt;
    }
    begin_ += 1 + length;
    return Message{
        std::to_integer<char>(bytes.front()), bytes.subspan(kHeaderBytes, length - kLengthBytes)};
}

MutableByteSpan WireReader::room() {
    if (begin_ == end_) {
        begin_ = end_ = 0;
    }
    if (buffer_.size() < kBufferBytes) {
        buffer_.resize(kBufferBytes);
    }
    if (buffer_.size() - end_ < kRoomBytesMin) {
        // The begun message moves to the front; at most one a buffer's length.
        std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
        if (buffer_.size() - end_ < kRoomBytesMin) {
            buffer_.resize(buffer_.size() * 2);
        }
    }
    return MutableByteSpan{buffer_}.subspan(end_);
}

void WireReader::add(std::size_t count) {
    HOLDFAST_CHECK(count <= buffer_.size() - end_);
    end_ += count;
}

ServerMessage parse_server_message(ByteSpan body) {
    ServerMessage message;
    Cursor cursor{body};
    while (const char field = static_cast<char>(cursor.integer(1))) {
        std::string text = cursor.text();
        switch (field) {
            case 'S':
                message.severity = std::move(text);
                break;
            case 'C':
                message.sqlstate = std::move(text);
                break;
            case 'M':
                message.primary = std::move(text);
                break;
            case 'D':
                message.detail = std::move(text);
                break;
            case 'H':
                message.hint = std::move(text);
                break;
            default:
                break;
        }
    }
    return message;
}

std::vector<std::string> parse_row_description(ByteSpan body) {
    constexpr std::size_t kRestBytes = 18;  // Table, column, type, size, modifier, format.
    Cursor cursor{body};
    std::vector<std::string> names(cursor.integer(2));
    for (std::string& name : names) {
        name = cursor.text();
        (void)cursor.take(kRestBytes);
    }
    return names;
}

std::vector<std::optional<std::string>> parse_data_row(ByteSpan body) {
    constexpr std::uint32_t kNull = 0xffffffff;
    Cursor cursor{body};
    std::vector<std::optional<std::string>> values(cursor.integer(2));
    for (auto& value : values) {
        if (const std::uint32_t length = cursor.integer(kLengthBytes); length != kNull) {
            value = std::string{as_text(cursor.take(length))};
        }
    }
    return values;
}

Bytes make_query_message(const std::string& sql) {
    const std::uint32_t length = static_cast<std::uint32_t>(sql.size() + 1 + kLengthBytes);
    Bytes message{std::byte{'Q'}};
    for (int shift = 24; shift >= 0; shift -= 8) {
        message.push_back(static_cast<std::byte>(length >> shift & 0xff));
    }
    const ByteSpan text = as_bytes(sql);
    message.insert(message.end(), text.begin(), text.end());
    message.push_back(std::byte{0});
    return message;
}

}  // namespace holdfast::postgres
