#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "control/http/message.h"
#include "control/http/tls.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace holdfast::control {

/// What the front hands complete requests to.
class RequestHandler {
public:
    virtual ~RequestHandler() = default;
    /// Runs on a worker and may block. `method`, `raw_target`, `headers`, `body` and `peer_address`
    /// are filled in.
    [[nodiscard]] virtual Reply handle(Request request) noexcept = 0;
    /// The answer to a request that never became one (too large, malformed, server busy). Runs on
    /// the thread that serves the sockets: must not block.
    [[nodiscard]] virtual Reply refuse(Request request, const Error& error) noexcept = 0;
};

struct HttpSettings {
    std::string host = "127.0.0.1";
    int port = 0;  ///< 0: the system chooses.
    /// More than these displace the connection that has waited for its client longest, when that is
    /// at least `displace_after`, or are closed at once.
    std::size_t connections_max = 10000;
    std::chrono::milliseconds displace_after{1000};
    std::size_t socket_threads = 2;
    std::size_t workers = 4;
    std::size_t queue_max =
        512;  ///< Complete requests that may wait for a worker; more are answered 429.
    /// Of answers that wait for clients to take them, over all connections; answers of a TLS record
    /// or less apart. Where more would be needed, the connections whose client has been taking
    /// longest are closed, when that is at least `displace_after`; else a download waits, and
    /// another answer is a 429 instead (an ended connection, where the request may have changed
    /// something).
    std::size_t answer_bytes_max = 64 * 1024 * 1024;
    std::size_t header_bytes_max = 32 * 1024;
    std::size_t body_bytes_max = 4 * 1024 * 1024;
    // A deadline for every phase; a connection that misses one is closed.
    std::chrono::milliseconds handshake_timeout{10'000};
    std::chrono::milliseconds header_timeout{15'000};
    std::chrono::milliseconds body_timeout{60'000};
    std::chrono::milliseconds write_timeout{60'000
    };  ///< For a reply; for a download, between two blocks.
    std::chrono::milliseconds idle_timeout{75'000};
    std::chrono::milliseconds shutdown_timeout{10'000};
};

/// The HTTPS front: HTTP/1.1 over TLS, sockets served by callbacks on a few threads, requests by a
/// bounded pool. A slow or silent client costs a socket and a few kilobytes, never a worker.
class HttpServer {
public:
    /// Binds and listens; clients that connect now wait for start(). `tls` and `clock` outlive
    /// this. Throws kConfigInvalid when the address cannot be bound.
    HttpServer(HttpSettings settings, const TlsSlot& tls, Clock& clock);
    /// stop().
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    /// Begins to serve. `handler` outlives this. Once only.
    void start(RequestHandler& handler);

    [[nodiscard]] int port() const noexcept;
    [[nodiscard]] std::size_t connections() const noexcept;
    /// Of answers that wait for clients to take them.
    [[nodiscard]] std::size_t answer_bytes() const noexcept;

    /// Stops accepting, closes idle connections, lets requests under way finish within
    /// shutdown_timeout. Idempotent.
    void stop();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace holdfast::control
