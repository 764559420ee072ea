#include "control/http/http_server.h"

#include "control/testing/echo_server.h"

#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

using testing::Blocks;
using testing::ClientReply;
using testing::HttpsClient;

class HttpServerTest : public testing::EchoServer {};

TEST_F(HttpServerTest, answers_and_keeps_the_connection) {
    HttpsClient client{start().port(), *read_file(material.ca_file(), 100000)};
    ASSERT_TRUE(client.connected());
    for (int i = 0; i < 3; ++i) {
        const ClientReply reply = client.request("PUT", "/a?b=c", {.body = "hello"});
        EXPECT_EQ(reply.status, 200);
        EXPECT_EQ(reply.json(), (Json{{"method", "PUT"}, {"target", "/a?b=c"}, {"body", "hello"}}));
        EXPECT_EQ(reply.headers.get_or("Connection", ""), "keep-alive");
        EXPECT_EQ(reply.headers.get_or("Content-Type", ""), "application/json; charset=utf-8");
        EXPECT_TRUE(reply.headers.has("Date"));
    }
    const ClientReply head = client.request("HEAD", "/a");
    EXPECT_EQ(head.status, 200);
    EXPECT_NE(head.headers.get_or("Content-Length", "0"), "0");
    EXPECT_EQ(client.request("GET", "/after-head").status, 200);
    Headers close;
    close.set("Connection", "close");
    EXPECT_EQ(
        client.request("GET", "/", {.headers = close}).headers.get_or("Connection", ""), "close"
    );
    EXPECT_TRUE(client.closed());
}

TEST_F(HttpServerTest, takes_pipelined_and_chunked_requests) {
    HttpsClient client{start().port()};
    client.send(
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
        "POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
        "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n"
    );
    EXPECT_EQ(client.read_reply().json()["target"], "/1");
    EXPECT_EQ(client.read_reply().json()["body"], "abcde");
    EXPECT_EQ(client.read_reply().json()["target"], "/3");
}

TEST_F(HttpServerTest, takes_a_request_byte_by_byte) {
    HttpsClient client{start().port()};
    for (const char c :
         std::string_view{"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"}) {
        ASSERT_TRUE(client.send({&c, 1}));
    }
    EXPECT_EQ(client.read_reply().json()["body"], "abc");
}

TEST_F(HttpServerTest, continues_when_asked) {
    HttpsClient client{start().port()};
    client.send("PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.read_reply().status, 100);
    client.send("ok");
    EXPECT_EQ(client.read_reply().json()["body"], "ok");
}

TEST_F(HttpServerTest, refuses_a_body_of_100_MB_without_reading_it) {
    HttpsClient client{start({.body_bytes_max = 1024 * 1024}).port()};
    client.send("PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n");
    const std::string block(1U << 20U, 'x');
    for (int i = 0; i < 100; ++i) {
        if (!client.send(block)) {
            break;
        }
    }
    const ClientReply reply = client.read_reply();
    EXPECT_EQ(reply.status, 413);
    EXPECT_EQ(reply.error_code(), "RequestEntityTooLarge");
    EXPECT_EQ(handler.handled, 0);
}

TEST_F(HttpServerTest, refuses_a_chunked_body_that_grows_too_large) {
    HttpsClient client{start({.body_bytes_max = 1000}).port()};
    client.send("PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; ++i) {
        client.send("64\r\n" + std::string(100, 'x') + "\r\n");
    }
    EXPECT_EQ(client.read_reply().status, 413);
    EXPECT_EQ(handler.handled, 0);
}

TEST_F(HttpServerTest, refuses_a_header_that_is_too_large) {
    HttpsClient client{start({.header_bytes_max = 2000}).port()};
    client.send("GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + std::string(5000, 'a') + "\r\n\r\n");
    EXPECT_EQ(client.read_reply().status, 431);
}

TEST_F(HttpServerTest, refuses_what_is_not_http) {
    start();
    for (const std::string_view bytes :
         {"\x01\x02\x03 nonsense\r\n\r\n",
          "GET /\r\n\r\n",
          "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
          "GET / HTTP/1.1\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
          "chunked\r\n\r\n0\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
        HttpsClient client{server->port()};
        client.send(bytes);
        EXPECT_EQ(client.read_reply().status, 400) << bytes;
    }
    EXPECT_EQ(handler.handled, 0);
    HttpsClient after{server->port()};
    EXPECT_EQ(after.request("GET", "/").status, 200);
}

TEST_F(HttpServerTest, drops_a_truncated_body_and_goes_on) {
    start();
    {
        HttpsClient client{server->port()};
        client.send("PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
        client.abort();
    }
    await([&] { return server->connections() == 0; });
    EXPECT_EQ(handler.handled, 0);
    HttpsClient after{server->port()};
    EXPECT_EQ(after.request("GET", "/").status, 200);
}

TEST_F(HttpServerTest, tells_plain_http_to_use_https) {
    start();
    const FileDescriptor fd = connect_plain();
    write_all(fd.get(), as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "socket");
    std::array<std::byte, 4096> block{};
    const std::size_t got = read_up_to(fd.get(), block, "socket");
    const std::string_view answer = as_text(ByteSpan{block}.first(got));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
    EXPECT_TRUE(answer.ends_with("\r\n\r\nThis server speaks HTTPS only: use https.\n")) << answer;
    EXPECT_NE(answer.find("Content-Length: 42\r\n"), std::string_view::npos);
}

TEST_F(HttpServerTest, drops_whoever_misses_a_deadline) {
    using std::chrono::milliseconds;
    start({
        .handshake_timeout = milliseconds{150},
        .header_timeout = milliseconds{150},
        .body_timeout = milliseconds{150},
        .idle_timeout = milliseconds{150},
    });
    // A silent TCP connection: no handshake.
    const FileDescriptor silent = connect_plain();
    std::array<std::byte, 16> block{};
    EXPECT_EQ(read_up_to(silent.get(), block, "socket"), 0U);

    HttpsClient no_request{server->port()};
    EXPECT_TRUE(no_request.closed());
    HttpsClient slow_header{server->port()};
    slow_header.send("GET / HTTP/1.1\r\nHost:");
    EXPECT_TRUE(slow_header.closed());
    HttpsClient slow_body{server->port()};
    slow_body.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    EXPECT_TRUE(slow_body.closed());
    HttpsClient idle{server->port()};
    EXPECT_EQ(idle.request("GET", "/").status, 200);
    EXPECT_TRUE(idle.closed());
    await([&] { return server->connections() == 0; });
}

TEST_F(HttpServerTest, drops_a_reader_that_does_not_read) {
    start({.write_timeout = std::chrono::milliseconds{200}});
    HttpsClient client{server->port()};
    client.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    await([&] { return handler.handled == 1; });
    await([&] { return server->connections() == 0; });
}

TEST_F(HttpServerTest, slow_clients_do_not_hold_workers) {
    start({.workers = 1});
    std::vector<std::unique_ptr<HttpsClient>> slow;
    for (int i = 0; i < 20; ++i) {
        slow.push_back(std::make_unique<HttpsClient>(server->port()));
        slow.back()->send("PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    }
    HttpsClient quick{server->port()};
    EXPECT_EQ(quick.request("GET", "/").status, 200);
    for (auto& client : slow) {
        client->send("defghij");
        EXPECT_EQ(client->read_reply().json()["body"], "abcdefghij");
    }
}

TEST_F(HttpServerTest, holds_many_idle_connections) {
    // On a busy machine a hundred handshakes take longer than the usual deadlines leave them.
    constexpr std::chrono::minutes kLong{10};
    start({.handshake_timeout = kLong, .header_timeout = kLong, .idle_timeout = kLong});
    std::vector<std::unique_ptr<HttpsClient>> idle;
    for (int i = 0; i < 100; ++i) {
        idle.push_back(std::make_unique<HttpsClient>(server->port()));
        ASSERT_TRUE(idle.back()->connected());
    }
    await([&] { return server->connections() == 100; });
    for (auto& client : idle) {
        EXPECT_EQ(client->request("GET", "/").status, 200);
    }
}

TEST_F(HttpServerTest, caps_connections) {
    start({.connections_max = 2, .displace_after = std::chrono::hours{1}});
    HttpsClient first{server->port()};
    HttpsClient second{server->port()};
    EXPECT_EQ(first.request("GET", "/").status, 200);
    EXPECT_EQ(second.request("GET", "/").status, 200);
    HttpsClient third{server->port()};
    EXPECT_FALSE(third.connected());
    first.abort();
    await([&] { return server->connections() == 1; });
    HttpsClient fourth{server->port()};
    EXPECT_EQ(fourth.request("GET", "/").status, 200);
}

TEST_F(HttpServerTest, answers_429_when_nobody_can_take_the_request) {
    start({.workers = 1, .queue_max = 1});
    HttpsClient busy{server->port()};
    busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    await_waiting(1);
    HttpsClient queued{server->port()};
    queued.send("GET /queued HTTP/1.1\r\nHost: x\r\n\r\n");
    // The queue holds one: of two more, one or both are refused.
    HttpsClient third{server->port()};
    third.send("GET /third HTTP/1.1\r\nHost: x\r\n\r\n");
    HttpsClient fourth{server->port()};
    const ClientReply refused = fourth.request("GET", "/fourth");
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(refused.error_code(), "TooManyRequests");
    release();
    EXPECT_EQ(busy.read_reply().status, 200);
}

TEST_F(HttpServerTest, streams_files_and_ranges) {
    handler.file = directory.path() / "data";
    std::string content;
    for (int i = 0; i < 100000; ++i) {
        content += fmt::format("{:07}\n", i);
    }
    handler.file_size = content.size();
    std::ofstream{handler.file} << content;
    HttpsClient client{start().port()};
    EXPECT_EQ(client.request("GET", "/file").body, content);
    Headers range;
    range.set("Range", "bytes=300000-699999");
    const ClientReply part = client.request("GET", "/file", {.headers = range});
    EXPECT_EQ(part.status, 206);
    EXPECT_EQ(part.body, content.substr(300000, 400000));
    EXPECT_EQ(part.headers.get_or("Content-Range", ""), "bytes 300000-699999/800000");
    EXPECT_EQ(client.request("HEAD", "/file").headers.get_or("Content-Length", ""), "800000");
    EXPECT_EQ(client.request("GET", "/").status, 200);
}

TEST_F(HttpServerTest, streams_bodies_as_they_are_made) {
    start();
    HttpsClient client{server->port()};
    for (int i = 0; i < 2; ++i) {  // The connection is kept.
        const ClientReply reply = client.request("GET", "/stream");
        EXPECT_EQ(reply.status, 200);
        EXPECT_FALSE(reply.headers.has("Content-Length"));
        EXPECT_EQ(reply.body.size(), Blocks::kCount * 600'000U);
        EXPECT_EQ(reply.body.back(), static_cast<char>('a' + Blocks::kCount % 26));
    }
    const ClientReply head = client.request("HEAD", "/stream");
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(handler.blocks_made, 0);
    HttpsClient old{server->port()};
    old.send("GET /stream HTTP/1.0\r\n\r\n");
    const ClientReply until_close = old.read_reply();
    EXPECT_FALSE(until_close.headers.has("Transfer-Encoding"));
    EXPECT_EQ(until_close.headers.get_or("Connection", ""), "close");
}

TEST_F(HttpServerTest, cuts_the_connection_when_a_body_cannot_be_finished) {
    start();
    HttpsClient client{server->port()};
    EXPECT_EQ(client.request("GET", "/broken-stream").status, 0);
    EXPECT_EQ(handler.blocks_made, Blocks::kCount + 1);
}

TEST_F(HttpServerTest, makes_no_more_of_a_body_than_the_client_takes) {
    start({.write_timeout = std::chrono::milliseconds{200}});
    HttpsClient client{server->port()};
    client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    await([&] { return handler.handled == 1; });
    await([&] { return server->connections() == 0; });
    EXPECT_LT(handler.blocks_made, Blocks::kCount);
}

TEST_F(HttpServerTest, breaks_off_when_a_file_is_shorter_than_promised) {
    handler.file = directory.path() / "data";
    std::ofstream{handler.file} << "short";
    handler.file_size = 500000;
    HttpsClient client{start().port()};
    EXPECT_EQ(client.request("GET", "/file").status, 0);
}

TEST_F(HttpServerTest, finishes_requests_at_shutdown) {
    start();
    HttpsClient idle{server->port()};
    EXPECT_EQ(idle.request("GET", "/").status, 200);
    HttpsClient busy{server->port()};
    busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    await_waiting(1);
    std::jthread stopper{[&] { server->stop(); }};
    EXPECT_TRUE(idle.closed());
    release();
    const ClientReply reply = busy.read_reply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.headers.get_or("Connection", ""), "close");
}

TEST_F(HttpServerTest, cuts_what_does_not_end_at_shutdown) {
    start({.shutdown_timeout = std::chrono::milliseconds{100}});
    HttpsClient stuck{server->port()};
    stuck.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    await([&] { return server->connections() == 1; });
    server->stop();
    EXPECT_TRUE(stuck.closed());
}

TEST_F(HttpServerTest, refuses_old_tls) {
    start();
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context{
        SSL_CTX_new(TLS_client_method()), &SSL_CTX_free
    };
    SSL_CTX_set_security_level(context.get(), 0);
    SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context.get(), TLS1_1_VERSION);
    const FileDescriptor fd = connect_plain();
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl{SSL_new(context.get()), &SSL_free};
    SSL_set_fd(ssl.get(), fd.get());
    EXPECT_NE(SSL_connect(ssl.get()), 1);
    ERR_clear_error();
}

TEST_F(HttpServerTest, says_when_the_address_is_taken) {
    const int port = start().port();
    try {
        HttpServer second{{.port = port}, material.slot(), clock};
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kConfigInvalid);
        EXPECT_NE(
            std::string_view{error.what()}.find("Address already in use"), std::string_view::npos
        );
    }
}

}  // namespace
}  // namespace holdfast::control
