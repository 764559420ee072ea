// What somebody sends who means no good, or knows no better. Each is refused precisely or dropped
// at its deadline, and a client that behaves is served meanwhile and afterwards.

#include "control/testing/echo_server.h"

#include <fstream>
#include <future>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using std::chrono::milliseconds;
using testing::ClientReply;
using testing::HttpsClient;

class HttpAttackTest : public testing::EchoServer {
protected:
    /// One connection, these bytes, the first answer.
    ClientReply answer_to(std::string_view bytes) const {
        HttpsClient client{server->port()};
        client.send(bytes);
        return client.read_reply();
    }
    void expect_still_serving() {
        HttpsClient client{server->port()};
        EXPECT_EQ(client.request("GET", "/").status, 200);
    }
};

/// A request with this header field beside Host.
std::string with_field(std::string_view field) {
    return fmt::format("POST / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", field);
}

std::string with_chunks(std::string_view chunks) {
    return with_field("Transfer-Encoding: chunked") + std::string{chunks};
}

TEST_F(HttpAttackTest, no_request_has_two_lengths) {
    start();
    const std::string smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    for (const std::string& bytes : {
             with_field("Content-Length: 5\r\nTransfer-Encoding: chunked") + smuggled,
             with_field("Transfer-Encoding: chunked\r\nContent-Length: 5") + smuggled,
             with_field("Transfer-Encoding: chunked, identity") + smuggled,
             with_field("Transfer-Encoding: identity") + smuggled,
             with_field("Transfer-Encoding: xchunked") + smuggled,
             with_field("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity") + smuggled,
             with_field("Transfer-Encoding:\x0b"
                        "chunked"
             ) + smuggled,
             with_field("Transfer-Encoding : chunked") + smuggled,
             with_field("Content-Length: 5\r\nContent-Length: 6") + smuggled,
             with_field("Content-Length: 5, 6") + smuggled,
             with_field("Content-Length: +5") + smuggled,
             with_field("Content-Length: 0x5") + smuggled,
             with_field("Content-Length: 5 5") + smuggled,
             with_field("Content-Length:") + smuggled,
             with_field("Content-Length: 18446744073709551616") + smuggled,
         }) {
        const ClientReply reply = answer_to(bytes);
        EXPECT_EQ(reply.status, 400) << bytes;
        EXPECT_EQ(reply.headers.get_or("Connection", ""), "close") << bytes;
    }
    EXPECT_EQ(handler.handled, 0);
    expect_still_serving();
}

TEST_F(HttpAttackTest, a_length_beyond_all_bounds_is_too_large) {
    start();
    for (const std::string_view size : {"18446744073709551615", "9223372036854775808"}) {
        EXPECT_EQ(answer_to(with_field(fmt::format("Content-Length: {}", size))).status, 413);
    }
    EXPECT_EQ(answer_to(with_chunks("ffffffffffffffff\r\n")).status, 413);
    EXPECT_EQ(handler.handled, 0);
}

TEST_F(HttpAttackTest, refuses_chunks_that_are_none) {
    start();
    for (const std::string& bytes : {
             with_chunks("\r\n\r\nx"),
             with_chunks("-1\r\nx\r\n0\r\n\r\n"),
             with_chunks("0x3\r\nabc\r\n0\r\n\r\n"),
             with_chunks("10000000000000000\r\n"),
             with_chunks("3\r\nabcd\r\n0\r\n\r\n"),
             with_chunks("3;\x01=2\r\nabc\r\n0\r\n\r\n"),
             with_chunks("0\r\nbad name: x\r\n\r\n"),
             with_chunks("0\r\nContent-Length: 5\r\n\r\n"),
         }) {
        EXPECT_EQ(answer_to(bytes).status, 400) << bytes;
    }
    EXPECT_EQ(handler.handled, 0);
    expect_still_serving();
}

TEST_F(HttpAttackTest, a_trailer_changes_nothing) {
    start();
    HttpsClient client{server->port()};
    client.send(with_chunks("3\r\nabc\r\n0\r\nX: y\r\nHost: evil\r\n\r\n"));
    EXPECT_EQ(client.read_reply().json()["body"], "abc");
    EXPECT_EQ(client.request("GET", "/next").json()["target"], "/next");
}

/// What comes without an end in a place that has no limit of its own.
TEST_F(HttpAttackTest, nothing_grows_without_end) {
    start({.header_bytes_max = 2000});
    const std::string block(1000, 'x');
    const auto status_after = [&](const std::string& beginning, std::string_view piece) {
        HttpsClient client{server->port()};
        client.send(beginning);
        for (int i = 0; i < 200; ++i) {
            client.send(piece);
        }
        return client.read_reply().status;
    };
    EXPECT_EQ(status_after(with_chunks("3;name="), block), 431);           // A chunk's extension.
    EXPECT_EQ(status_after(with_chunks("0\r\nTrailer: "), block), 431);    // A trailer field,
    EXPECT_EQ(status_after(with_chunks("0\r\n"), "X-Field: y\r\n"), 431);  // or many.
    EXPECT_EQ(status_after("GET / HTTP/1.1\r\n", "X-Field: y\r\n"), 431);
    EXPECT_EQ(status_after("GET /", block), 431);
    EXPECT_EQ(status_after("", block), 431);
    EXPECT_EQ(handler.handled, 0);
    expect_still_serving();
}

TEST_F(HttpAttackTest, takes_chunks_byte_by_byte) {
    start();
    for (const std::string_view chunks :
         {"0\r\n\r\n", "1\r\nx\r\n0\r\n\r\n", "0\r\nX: y\r\n\r\n"}) {
        HttpsClient client{server->port()};
        for (const char c : with_chunks(chunks)) {
            ASSERT_TRUE(client.send({&c, 1}));
        }
        EXPECT_EQ(client.read_reply().status, 200) << chunks;
    }
}

TEST_F(HttpAttackTest, a_body_in_the_smallest_chunks_is_a_body) {
    start();
    std::string chunks;
    for (int i = 0; i < 100'000; ++i) {
        chunks += "1\r\nx\r\n";
    }
    HttpsClient client{server->port()};
    client.send(with_chunks(chunks + "0\r\n\r\n"));
    EXPECT_EQ(client.read_reply().json()["body"], std::string(100'000, 'x'));
}

TEST_F(HttpAttackTest, refuses_bytes_that_no_header_has) {
    start();
    using std::string_literals::operator""s;
    for (const std::string& bytes : {
             "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"s,
             "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n"s,
             "GET /a\nb HTTP/1.1\r\nHost: a\r\n\r\n"s,
             "GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n"s,
             "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"s,
             "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"s,
             "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n"s,
             "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"s,
             "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"s,
             "GET / HTTP/1.1\r\nHost: a\r\nX\0Y: a\r\n\r\n"s,
             "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n"s,
             "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"s,
             "GET / HTTP/1.1\r\n Host: a\r\n\r\n"s,
             "GET / HTTP/0.9\r\nHost: a\r\n\r\n"s,
             "GET / HTTP/1.2\r\nHost: a\r\n\r\n"s,
             "GET / http/1.1\r\nHost: a\r\n\r\n"s,
             "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"s,
             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"s,
             "\x16\x03\x01\x00\x05hello\r\n\r\n"s,
         }) {
        EXPECT_EQ(answer_to(bytes).status, 400) << bytes;
    }
    EXPECT_EQ(handler.handled, 0);
    expect_still_serving();
}

TEST_F(HttpAttackTest, speaks_http_1_0_and_ends_the_connection) {
    start();
    HttpsClient client{server->port()};
    client.send("GET /old HTTP/1.0\r\n\r\n");
    const ClientReply reply = client.read_reply();
    EXPECT_EQ(reply.json()["target"], "/old");
    EXPECT_EQ(reply.headers.get_or("Connection", ""), "close");
    EXPECT_TRUE(client.closed());
}

TEST_F(HttpAttackTest, a_fold_in_a_header_is_one_value) {
    start();
    // Obsolete, but a folded line must never become a field of its own.
    const ClientReply reply =
        answer_to("POST / HTTP/1.1\r\nHost: a\r\nX: a\r\n Content-Length: 5\r\n\r\n");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.json()["body"], "");
}

TEST_F(HttpAttackTest, drops_half_a_handshake) {
    start({.handshake_timeout = milliseconds{150}});
    const FileDescriptor silent = connect_plain();
    const FileDescriptor half = connect_plain();
    // The head of a TLS record that announces more than ever comes.
    constexpr std::string_view kHalf{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11};
    write_all(half.get(), as_bytes(kHalf), "socket");
    std::array<std::byte, 64> block{};
    EXPECT_EQ(read_up_to(silent.get(), block, "socket"), 0U);
    EXPECT_EQ(read_up_to(half.get(), block, "socket"), 0U);
    await([&] { return server->connections() == 0; });
}

/// A byte now and then does not move a deadline.
TEST_F(HttpAttackTest, a_trickle_is_no_request) {
    start({.header_timeout = milliseconds{300}, .body_timeout = milliseconds{300}});
    for (const std::string_view beginning :
         {"GET / HTTP/1.1\r\nX: ", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"}) {
        HttpsClient client{server->port()};
        client.send(beginning);
        // Ends by the server's hand alone: a deadline that moved with each byte would let it go on.
        await([&] { return !client.send("x") || server->connections() == 0; });
    }
    EXPECT_EQ(handler.handled, 0);
    expect_still_serving();
}

TEST_F(HttpAttackTest, silent_connections_lock_nobody_out) {
    constexpr std::chrono::minutes kLong{10};
    start({
        .connections_max = 20,
        .displace_after = milliseconds{0},
        .handshake_timeout = kLong,
        .header_timeout = kLong,
        .body_timeout = kLong,
        .idle_timeout = kLong,
    });
    std::vector<FileDescriptor> silent;
    std::vector<std::unique_ptr<HttpsClient>> slow;
    for (int i = 0; i < 10; ++i) {
        silent.push_back(connect_plain());
        slow.push_back(std::make_unique<HttpsClient>(server->port()));
        slow.back()->send("PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    }
    await([&] { return server->connections() == 20; });
    for (int i = 0; i < 30; ++i) {
        HttpsClient client{server->port()};
        ASSERT_EQ(client.request("GET", "/").status, 200) << i;
    }
    await([&] { return server->connections() <= 20; });
}

TEST_F(HttpAttackTest, work_under_way_is_not_displaced) {
    start({.connections_max = 1, .displace_after = milliseconds{0}, .workers = 1});
    HttpsClient busy{server->port()};
    busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    await_waiting(1);
    HttpsClient second{server->port()};
    EXPECT_FALSE(second.connected());
    release();
    EXPECT_EQ(busy.read_reply().status, 200);
}

/// Every refusal of a full queue is followed by the next request of the same connection: that must
/// not need more stack with each.
TEST_F(HttpAttackTest, takes_a_flood_of_pipelined_requests) {
    constexpr int kRequests = 30'000;
    start({.workers = 1, .queue_max = 1});
    HttpsClient busy{server->port()};
    busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    await_waiting(1);
    HttpsClient queued{server->port()};
    queued.send("GET /queued HTTP/1.1\r\nHost: x\r\n\r\n");
    HttpsClient other{server->port()};
    other.send("GET /other HTTP/1.1\r\nHost: x\r\n\r\n");
    await([&] { return handler.refused == 1; });  // One of the two waits now: the queue is full.
    HttpsClient flood{server->port()};
    std::string requests;
    for (int i = 0; i < kRequests; ++i) {
        requests += "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    }
    flood.send(requests);
    int refused = 0;
    for (int i = 0; i < kRequests; ++i) {
        refused += flood.read_reply().status == 429 ? 1 : 0;
    }
    EXPECT_EQ(refused, kRequests);
    release();
    EXPECT_EQ(busy.read_reply().status, 200);
}

TEST_F(HttpAttackTest, readers_that_stop_reading_hold_no_worker) {
    // Room for all ten answers: whoever is refused would keep its connection.
    start({
        .workers = 1,
        .answer_bytes_max = std::size_t{1} << 30U,
        .write_timeout = milliseconds{500},
    });
    std::vector<std::unique_ptr<HttpsClient>> slow;
    for (int i = 0; i < 10; ++i) {
        slow.push_back(std::make_unique<HttpsClient>(server->port()));
        slow.back()->send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    await([&] { return handler.handled == 10; });
    expect_still_serving();
    await([&] { return server->connections() == 0; });
}

/// Answers of 8 MB each, of which two have room.
class SlowReaders : public HttpAttackTest {
protected:
    static constexpr std::size_t kRoom = 20'000'000;
    static constexpr std::size_t kBig = std::size_t{8} << 20U;

    void start_with(milliseconds displace_after) {
        start({
            .displace_after = displace_after,
            .socket_threads = 1,
            .answer_bytes_max = kRoom,
            .write_timeout = std::chrono::minutes{10},
        });
    }
    /// Asks and does not read.
    void ask(const std::string& target) {
        slow.push_back(std::make_unique<HttpsClient>(server->port()));
        slow.back()->send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
    }

    std::vector<std::unique_ptr<HttpsClient>> slow;
};

TEST_F(SlowReaders, do_not_make_the_server_hold_more_than_its_bound) {
    start_with(std::chrono::hours{1});
    for (int i = 0; i < 6; ++i) {
        ask("/big");
    }
    await([&] { return handler.refused == 4; });  // Two are held, and nobody has to make way.
    EXPECT_GT(server->answer_bytes(), 2 * kBig);
    EXPECT_LT(server->answer_bytes(), kRoom);
    expect_still_serving();
    int whole = 0;
    int refused = 0;
    for (auto& client : slow) {
        const ClientReply reply = client->read_reply();
        whole += reply.status == 200 && reply.body.size() == kBig ? 1 : 0;
        refused += reply.status == 429 ? 1 : 0;
    }
    EXPECT_EQ(whole, 2);
    EXPECT_EQ(refused, 4);
    // They have read: there is room again.
    HttpsClient client{server->port()};
    EXPECT_EQ(client.request("GET", "/big").status, 200);
    await([&] { return server->answer_bytes() == 0; });
}

TEST_F(SlowReaders, make_way_for_others) {
    start_with(milliseconds{0});
    for (int i = 0; i < 10; ++i) {
        ask("/big");
        await([&] { return handler.handled == i + 1; });
    }
    HttpsClient client{server->port()};
    const ClientReply reply = client.request("GET", "/big");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body.size(), kBig);
    EXPECT_EQ(handler.refused, 0);
    // Of the ten, two at most are still there.
    await([&] { return server->connections() <= 3; });
    EXPECT_LT(server->answer_bytes(), kRoom);
    EXPECT_EQ(slow.front()->read_reply().status, 0);
}

/// What was done is not said to have been refused.
TEST_F(SlowReaders, are_cut_off_where_a_refusal_would_be_wrong) {
    start_with(std::chrono::hours{1});
    ask("/big");
    ask("/big");
    await([&] { return server->answer_bytes() > 2 * kBig; });
    HttpsClient writer{server->port()};
    writer.send("POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(writer.read_reply().status, 0);
    EXPECT_EQ(handler.refused, 0);
}

TEST_F(SlowReaders, let_downloads_wait_for_room) {
    constexpr std::size_t kTwoBlocks = 600'000;
    constexpr int kClients = 5;
    handler.file = directory.path() / "download";
    handler.file_size = 12'000'000;
    std::ofstream{handler.file};
    std::filesystem::resize_file(handler.file, handler.file_size);
    start({
        .displace_after = std::chrono::hours{1},
        .socket_threads = 1,
        .answer_bytes_max = kTwoBlocks,
        .write_timeout = std::chrono::minutes{10},
    });
    for (int i = 0; i < kClients; ++i) {
        ask("/file");
    }
    await([&] { return handler.handled == kClients && server->answer_bytes() > kTwoBlocks / 2; });
    EXPECT_LT(server->answer_bytes(), kTwoBlocks);
    expect_still_serving();
    // All at once: who holds the room may be any of them.
    std::vector<std::future<ClientReply>> replies;
    for (auto& client : slow) {
        replies.push_back(std::async(std::launch::async, [&] { return client->read_reply(); }));
    }
    for (auto& coming : replies) {
        const ClientReply reply = coming.get();
        EXPECT_EQ(reply.status, 200);
        EXPECT_EQ(reply.body.size(), handler.file_size);
    }
    EXPECT_EQ(handler.refused, 0);
    await([&] { return server->answer_bytes() == 0; });
}

}  // namespace
}  // namespace holdfast::control
