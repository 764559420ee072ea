#include "postgres/wire_reader.h"

#include "base/error.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

Bytes message(char type, std::string_view body) {
    const std::size_t length = body.size() + 4;
    Bytes out{static_cast<std::byte>(type)};
    for (int shift = 24; shift >= 0; shift -= 8) {
        out.push_back(static_cast<std::byte>(length >> shift & 0xff));
    }
    const ByteSpan bytes = as_bytes(body);
    out.insert(out.end(), bytes.begin(), bytes.end());
    return out;
}

/// What a reader makes of `bytes` that come in pieces.
std::string read_all(ByteSpan bytes, std::size_t piece) {
    WireReader reader;
    std::string out;
    while (!bytes.empty()) {
        const MutableByteSpan room = reader.room();
        const std::size_t count = std::min({piece, bytes.size(), room.size()});
        std::copy_n(bytes.begin(), count, room.begin());
        reader.add(count);
        bytes = bytes.subspan(count);
        while (const auto one = reader.next()) {
            out += one->type;
            out += as_text(one->body);
        }
    }
    return out;
}

TEST(WireReader, TakesMessagesFromAnyPieces) {
    Bytes bytes;
    std::string expected;
    for (int i = 0; i < 60; ++i) {
        const std::string body(static_cast<std::size_t>(i * 997), static_cast<char>('a' + i % 26));
        const Bytes one = message('d', body);
        bytes.insert(bytes.end(), one.begin(), one.end());
        expected += 'd' + body;
    }
    for (const std::size_t piece : {1U, 7U, 4096U, 70000U, 10000000U}) {
        EXPECT_EQ(read_all(bytes, piece), expected) << piece;
    }
    const std::string large(3 * kMiB, 'x');  // More than the buffer holds at first.
    EXPECT_EQ(read_all(message('d', large), 1000000), 'd' + large);
}

TEST(WireReader, RefusesWhatIsNoMessage) {
    for (const std::string_view bytes :
         {std::string_view{"d\0\0\0\3", 5}, std::string_view{"HTTP/1.1", 8}}) {
        try {
            (void)read_all(as_bytes(bytes), 100);
            FAIL();
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kServerConnectionClosed);
        }
    }
}

TEST(WireReader, ReadsBodies) {
    const ServerMessage said = parse_server_message(as_bytes(std::string_view{
        "SFATAL\0C57P01\0Mgoing down\0Wx\0Dbecause\0Hwait\0\0", 46}));
    EXPECT_EQ(said.severity, "FATAL");
    EXPECT_EQ(said.sqlstate, "57P01");
    EXPECT_EQ(said.primary, "going down");
    EXPECT_EQ(said.detail, "because");
    EXPECT_EQ(said.hint, "wait");
    EXPECT_THROW((void)parse_server_message(as_bytes("SFATAL")), Error);

    std::string columns{"\0\2", 2};
    for (const char* name : {"recptr", "tli"}) {
        columns += name + std::string(19, '\0');
    }
    EXPECT_EQ(
        parse_row_description(as_bytes(columns)), (std::vector<std::string>{"recptr", "tli"})
    );
    EXPECT_THROW(
        (void)parse_row_description(as_bytes(std::string_view{columns}.substr(0, 30))), Error
    );
    const auto row =
        parse_data_row(as_bytes(std::string_view{"\0\2\0\0\0\3abc\xff\xff\xff\xff", 13}));
    ASSERT_EQ(row.size(), 2U);
    EXPECT_EQ(row[0], "abc");
    EXPECT_EQ(row[1], std::nullopt);
    EXPECT_EQ(as_text(make_query_message("SHOW x")), (std::string_view{"Q\0\0\0\13SHOW x\0", 12}));
}

}  // namespace
}  // namespace holdfast::postgres
