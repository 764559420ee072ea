#pragma once

#include "base/file.h"

#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace holdfast::postgres {

/// Carries TCP connections of a free port of 127.0.0.1 to another port of it, until they are cut.
class TcpProxy {
public:
    explicit TcpProxy(int target_port);
    ~TcpProxy();
    TcpProxy(const TcpProxy&) = delete;
    TcpProxy& operator=(const TcpProxy&) = delete;

    [[nodiscard]] int port() const noexcept { return port_; }
    /// Resets every connection, from both sides; new ones are refused.
    void cut();

private:
    void accept_all(const std::stop_token& stop);
    void carry(int from, int to) const;

    int target_port_;
    int port_ = 0;
    FileDescriptor listener_;
    std::mutex mutex_;
    std::vector<FileDescriptor> sockets_;
    std::vector<std::jthread> carriers_;
    bool cut_ = false;
    std::jthread acceptor_;
};

}  // namespace holdfast::postgres
