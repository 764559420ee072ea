#pragma once

// Servers on the loopback that play a script, with or without TLS. For tests only.

#include "base/error.h"
#include "base/file.h"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

namespace holdfast::alerts::testing {

/// A self-signed certificate for 127.0.0.1, and a TLS context that shows it.
class TestCertificate {
public:
    explicit TestCertificate(const char* address = "IP:127.0.0.1") {
        key_.reset(EVP_EC_gen("P-256"));
        certificate_.reset(X509_new());
        X509* x = certificate_.get();
        X509_set_version(x, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
        X509_gmtime_adj(X509_getm_notBefore(x), -3600);
        X509_gmtime_adj(X509_getm_notAfter(x), 3600);
        X509_set_pubkey(x, key_.get());
        const unsigned char name[] = "test";
        X509_NAME_add_entry_by_txt(
            X509_get_subject_name(x), "CN", MBSTRING_ASC, name, -1, -1, 0
        );
        X509_set_issuer_name(x, X509_get_subject_name(x));
        X509_EXTENSION* names =
            X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, address);
        X509_add_ext(x, names, -1);
        X509_EXTENSION_free(names);
        HOLDFAST_CHECK(X509_sign(x, key_.get(), EVP_sha256()) > 0);
        context_.reset(SSL_CTX_new(TLS_server_method()));
        HOLDFAST_CHECK(SSL_CTX_use_certificate(context_.get(), x) == 1);
        HOLDFAST_CHECK(SSL_CTX_use_PrivateKey(context_.get(), key_.get()) == 1);
    }
    [[nodiscard]] SSL_CTX* context() const { return context_.get(); }
    void write_pem(const std::filesystem::path& file) const {
        FILE* out = std::fopen(file.c_str(), "w");
        HOLDFAST_CHECK(out != nullptr && PEM_write_X509(out, certificate_.get()) == 1);
        std::fclose(out);
    }

private:
    template <typename T, void (*free)(T*)>
    struct Deleter {
        void operator()(T* thing) const noexcept { free(thing); }
    };
    std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>> key_;
    std::unique_ptr<X509, Deleter<X509, X509_free>> certificate_;
    std::unique_ptr<SSL_CTX, Deleter<SSL_CTX, SSL_CTX_free>> context_;
};

/// One accepted connection, in the clear until start_tls().
class Connection {
public:
    explicit Connection(int fd) : fd_{fd} {
        const timeval patience{.tv_sec = 20, .tv_usec = 0};
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    ~Connection() {
        if (ssl_ != nullptr) {
            SSL_free(ssl_);
        }
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    bool start_tls(SSL_CTX* context) {
        ssl_ = SSL_new(context);
        SSL_set_fd(ssl_, fd_.get());
        return SSL_accept(ssl_) == 1;
    }
    /// Without its line end; empty at the end of the connection.
    std::string line() {
        while (buffer_.find('\n') == std::string::npos && fill()) {
        }
        const auto end = buffer_.find('\n');
        std::string out = buffer_.substr(0, end);
        buffer_.erase(0, end == std::string::npos ? end : end + 1);
        if (!out.empty() && out.back() == '\r') {
            out.pop_back();
        }
        return out;
    }
    std::string bytes(std::size_t size) {
        while (buffer_.size() < size && fill()) {
        }
        std::string out = buffer_.substr(0, size);
        buffer_.erase(0, size);
        return out;
    }
    void send(std::string_view text) {
        if (ssl_ != nullptr) {
            (void)SSL_write(ssl_, text.data(), static_cast<int>(text.size()));
        } else {
            (void)::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
        }
    }

private:
    bool fill() {
        char block[4096];
        const long got = ssl_ != nullptr ? SSL_read(ssl_, block, sizeof block)
                                         : ::recv(fd_.get(), block, sizeof block, 0);
        if (got <= 0) {
            return false;
        }
        buffer_.append(block, static_cast<std::size_t>(got));
        return true;
    }
    FileDescriptor fd_;
    SSL* ssl_ = nullptr;
    std::string buffer_;
};

/// Accepts one connection after the other and lets `play` speak.
class LoopbackServer {
public:
    explicit LoopbackServer(std::function<void(Connection&)> play) : play_{std::move(play)} {
        listener_ = FileDescriptor{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        auto* plain = reinterpret_cast<sockaddr*>(&address);
        HOLDFAST_CHECK(::bind(listener_.get(), plain, sizeof address) == 0);
        HOLDFAST_CHECK(::listen(listener_.get(), 8) == 0);
        socklen_t size = sizeof address;
        ::getsockname(listener_.get(), plain, &size);
        port_ = ntohs(address.sin_port);
        thread_ = std::jthread{[this](const std::stop_token& stop) {
            while (!stop.stop_requested()) {
                const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
                if (fd >= 0 && !stop.stop_requested()) {
                    Connection connection{fd};
                    play_(connection);
                } else if (fd >= 0) {
                    ::close(fd);
                }
            }
        }};
    }
    ~LoopbackServer() {
        thread_.request_stop();
        ::shutdown(listener_.get(), SHUT_RDWR);
    }
    [[nodiscard]] int port() const { return port_; }

private:
    const std::function<void(Connection&)> play_;
    FileDescriptor listener_;
    int port_ = 0;
    std::jthread thread_;
};

/// An HTTP endpoint that keeps what it is sent and answers what it is told to.
class HttpSink {
public:
    struct Received {
        std::string first_line;
        std::vector<std::string> headers;
        std::string body;
        [[nodiscard]] std::string header(std::string_view name) const {
            for (const std::string& each : headers) {
                if (each.starts_with(name)) {
                    return each.substr(name.size() + 2);
                }
            }
            return {};
        }
    };
    explicit HttpSink(SSL_CTX* tls = nullptr)
        : server_{[this, tls](Connection& connection) {
              if (tls == nullptr || connection.start_tls(tls)) {
                  serve(connection);
              }
          }} {}

    void answer_with(std::vector<int> statuses) {
        const std::lock_guard lock{mutex_};
        statuses_ = std::move(statuses);
    }
    [[nodiscard]] std::vector<Received> received() const {
        const std::lock_guard lock{mutex_};
        return received_;
    }
    [[nodiscard]] int port() const { return server_.port(); }

private:
    void serve(Connection& connection) {
        Received request{.first_line = connection.line(), .headers = {}, .body = {}};
        if (request.first_line.empty()) {
            return;  // The client looked at the certificate and left without a word.
        }
        std::size_t size = 0;
        for (std::string line = connection.line(); !line.empty(); line = connection.line()) {
            if (line.starts_with("Content-Length: ")) {
                size = std::stoul(line.substr(16));
            }
            request.headers.push_back(std::move(line));
        }
        request.body = connection.bytes(size);
        int status = 200;
        {
            const std::lock_guard lock{mutex_};
            received_.push_back(request);
            if (!statuses_.empty()) {
                status = statuses_.front();
                statuses_.erase(statuses_.begin());
            }
        }
        connection.send(fmt::format(
            "HTTP/1.1 {} X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n"
            "Connection: close\r\n\r\nok",
            status
        ));
    }
    mutable std::mutex mutex_;
    std::vector<Received> received_;  // Guarded by mutex_.
    std::vector<int> statuses_;       // Guarded by mutex_. Then 200.
    LoopbackServer server_;
};

/// A mail server: greets, offers STARTTLS when it has a certificate, takes logins and one message
/// per connection.
class SmtpSink {
public:
    struct Mail {
        bool tls = false;
        std::vector<std::string> commands;
        std::string message;
    };
    explicit SmtpSink(SSL_CTX* tls = nullptr)
        : tls_{tls}, server_{[this](Connection& connection) { serve(connection); }} {}

    /// The answer to RCPT, once: `550 no such user`, `451 later`.
    void refuse_next(std::string reply) {
        const std::lock_guard lock{mutex_};
        refusal_ = std::move(reply);
    }
    [[nodiscard]] std::vector<Mail> mails() const {
        const std::lock_guard lock{mutex_};
        return mails_;
    }
    [[nodiscard]] int port() const { return server_.port(); }

private:
    void serve(Connection& connection) {
        Mail mail;
        connection.send("220 test ESMTP\r\n");
        for (std::string line = connection.line(); !line.empty(); line = connection.line()) {
            mail.commands.push_back(line);
            if (line.starts_with("EHLO")) {
                connection.send(
                    tls_ != nullptr && !mail.tls
                        ? "250-test\r\n250 STARTTLS\r\n"
                        : "250-test\r\n250 AUTH PLAIN\r\n"
                );
            } else if (line.starts_with("STARTTLS")) {
                connection.send("220 go\r\n");
                if (!connection.start_tls(tls_)) {
                    break;
                }
                mail.tls = true;
            } else if (line.starts_with("AUTH PLAIN") && line.size() < 12) {
                connection.send("334 \r\n");
            } else if (line.starts_with("AUTH")) {
                connection.send("235 welcome\r\n");
            } else if (line.starts_with("RCPT")) {
                const std::lock_guard lock{mutex_};
                connection.send(refusal_.empty() ? "250 ok\r\n" : refusal_ + "\r\n");
                refusal_.clear();
            } else if (line.starts_with("DATA")) {
                connection.send("354 go on\r\n");
                for (std::string text = connection.line(); text != "."; text = connection.line()) {
                    mail.message += text + "\n";
                    if (text.empty() && mail.message.size() > 1'000'000) {
                        break;
                    }
                }
                const std::lock_guard lock{mutex_};
                mails_.push_back(mail);
                connection.send("250 queued\r\n");
            } else if (line.starts_with("QUIT")) {
                connection.send("221 bye\r\n");
                break;
            } else if (line.starts_with("MAIL")) {
                connection.send("250 ok\r\n");
            } else {
                connection.send("235 welcome\r\n");  // The answer to an AUTH challenge.
            }
        }
        if (mail.message.empty()) {
            const std::lock_guard lock{mutex_};
            mails_.push_back(mail);  // What was said before it was broken off.
        }
    }
    SSL_CTX* const tls_;
    mutable std::mutex mutex_;
    std::vector<Mail> mails_;  // Guarded by mutex_.
    std::string refusal_;      // Guarded by mutex_.
    LoopbackServer server_;
};

}  // namespace holdfast::alerts::testing
