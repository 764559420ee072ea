#include "postgres/tcp_proxy.h"

#include "base/error.h"

#include <array>
#include <cerrno>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace holdfast::postgres {

namespace {

sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return address;
}

}  // namespace

TcpProxy::TcpProxy(int target_port)
    : target_port_{target_port}, listener_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address = loopback(0);
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_.get(), generic, length) != 0 || ::listen(listener_.get(), 16) != 0 ||
        ::getsockname(listener_.get(), generic, &length) != 0) {
        throw_errno("listen", "127.0.0.1", errno);
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::jthread{[this](const std::stop_token& stop) { accept_all(stop); }};
}

TcpProxy::~TcpProxy() {
    cut();
    acceptor_.request_stop();
    acceptor_.join();
    carriers_.clear();
}

void TcpProxy::cut() {
    const std::lock_guard lock{mutex_};
    cut_ = true;
    for (const FileDescriptor& socket : sockets_) {
        // Closed with nothing said: the other side gets a reset.
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        (void)::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        (void)::shutdown(socket.get(), SHUT_RDWR);
    }
}

void TcpProxy::accept_all(const std::stop_token& stop) {
    constexpr int kPatienceMs = 20;
    while (!stop.stop_requested()) {
        pollfd ready{.fd = listener_.get(), .events = POLLIN, .revents = 0};
        if (::poll(&ready, 1, kPatienceMs) != 1) {
            continue;
        }
        FileDescriptor client{::accept(listener_.get(), nullptr, nullptr)};
        FileDescriptor server{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const sockaddr_in address = loopback(target_port_);
        const std::lock_guard lock{mutex_};
        if (cut_ || !client.valid() ||
            ::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
                0) {
            continue;
        }
        const int a = client.get();
        const int b = server.get();
        sockets_.push_back(std::move(client));
        sockets_.push_back(std::move(server));
        carriers_.emplace_back([this, a, b] { carry(a, b); });
        carriers_.emplace_back([this, a, b] { carry(b, a); });
    }
}

void TcpProxy::carry(int from, int to) const {
    std::array<std::byte, 65536> buffer{};
    for (;;) {
        const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
        if (got <= 0) {
            break;
        }
        for (ssize_t sent = 0; sent < got;) {
            const ssize_t put = ::send(
                to, buffer.data() + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL
            );
            if (put <= 0) {
                return;
            }
            sent += put;
        }
    }
    (void)::shutdown(to, SHUT_WR);
}

}  // namespace holdfast::postgres
