#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "control/http/http_server.h"
#include "control/http/tls_material.h"
#include "control/testing/https_client.h"

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>

#include <fcntl.h>
#include <gtest/gtest.h>

namespace holdfast::control::testing {

/// Some blocks of 600 KB, then the end or a failure.
class Blocks final : public BodySource {
public:
    enum class End { kWhole, kFailing };
    Blocks(End end, std::atomic<int>& made) : end_{end}, made_{made} {}
    std::string next() override {
        if (++made_ <= kCount) {
            return std::string(600'000, static_cast<char>('a' + made_ % 26));
        }
        if (end_ == End::kFailing) {
            throw Error{ErrorKind::kVaultCorrupt, "The source broke."};
        }
        return {};
    }
    static constexpr int kCount = 40;

private:
    const End end_;
    std::atomic<int>& made_;
};

/// Answers what it got, or a file, or waits for a signal.
class EchoHandler final : public RequestHandler {
public:
    Reply handle(Request request) noexcept override {
        ++handled;
        if (request.raw_target == "/wait") {
            std::unique_lock lock{mutex};
            ++waiting;
            changed.notify_all();
            changed.wait(lock, [this] { return released; });
        }
        if (request.raw_target == "/file") {
            FileDescriptor fd{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
            return file_reply(request, std::move(fd), file_size, "\"f\"");
        }
        if (request.raw_target == "/stream" || request.raw_target == "/broken-stream") {
            blocks_made = 0;
            const auto end =
                request.raw_target == "/stream" ? Blocks::End::kWhole : Blocks::End::kFailing;
            return Reply::stream(std::make_unique<Blocks>(end, blocks_made), "text/plain");
        }
        if (request.raw_target == "/big") {
            return Reply::text(200, std::string(8U << 20U, 'x'), "text/plain");
        }
        return Reply::ok(
            Json{{"method", request.method}, {"target", request.raw_target}, {"body", request.body}}
        );
    }
    Reply refuse(Request, const Error& error) noexcept override {
        ++refused;
        Reply reply = Reply::ok(Json{{"error", {{"code", error.code()}}}});
        reply.status = traits(error.kind()).http_status;
        return reply;
    }

    std::atomic<int> handled{0};
    std::atomic<int> refused{0};
    std::atomic<int> blocks_made{0};
    std::mutex mutex;
    std::condition_variable changed;
    int waiting = 0;
    bool released = false;
    std::filesystem::path file;
    std::uint64_t file_size = 0;
};

/// A server on a port of its own in front of an EchoHandler.
class EchoServer : public ::testing::Test {
protected:
    static void SetUpTestSuite() { set_log_level(LogLevel::kError); }

    HttpServer& start(HttpSettings settings = {}) {
        server = std::make_unique<HttpServer>(std::move(settings), material.slot(), clock);
        server->start(handler);
        return *server;
    }
    /// A TCP connection to it, without TLS. A read gives up after 20 seconds.
    [[nodiscard]] FileDescriptor connect_plain() const {
        FileDescriptor fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const timeval deadline{.tv_sec = 20, .tv_usec = 0};
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(server->port()));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        return fd;
    }
    void release() {
        const std::lock_guard lock{handler.mutex};
        handler.released = true;
        handler.changed.notify_all();
    }
    void await_waiting(int count) {
        std::unique_lock lock{handler.mutex};
        ASSERT_TRUE(handler.changed.wait_for(lock, std::chrono::seconds{20}, [&] {
            return handler.waiting >= count;
        }));
    }
    /// For what happens on the server's side without an answer.
    void await(const std::function<bool()>& condition) {
        for (int i = 0; i < 2000 && !condition(); ++i) {
            clock.wait_for(std::chrono::milliseconds{10}, {});
        }
        EXPECT_TRUE(condition());
    }

    SystemClock clock;
    TemporaryDirectory directory{"holdfast-http"};
    TlsMaterial material{
        {.directory = directory.path(), .names = {"localhost", "127.0.0.1"}},
        Secret::random(32),
        clock
    };
    EchoHandler handler;
    std::unique_ptr<HttpServer> server;
};

}  // namespace holdfast::control::testing
