#pragma once

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "control/http/message.h"

#include <charconv>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

namespace holdfast::control::testing {

struct ClientReply {
    int status = 0;  ///< 0: the connection ended before a whole reply.
    Headers headers;
    std::string body;

    [[nodiscard]] Json json() const { return parse_json(body, ErrorKind::kInternal, "The reply"); }
    [[nodiscard]] std::string error_code() const {
        const Json document = Json::parse(body, nullptr, false);
        return document.is_object() && document.contains("error")
                   ? document["error"].value("code", std::string{})
                   : std::string{};
    }
};

/// A blocking HTTPS client for tests: one connection to 127.0.0.1, full control over the bytes.
/// Every read has a deadline of 20 seconds.
class HttpsClient {
public:
    explicit HttpsClient(int port) : HttpsClient{port, ""} {}
    /// Verifies the server against `ca_pem` and `host` when `ca_pem` is not empty.
    HttpsClient(int port, const std::string& ca_pem, const std::string& host = "localhost") {
        signal(SIGPIPE, SIG_IGN);
        connect_tcp(port);
        context_.reset(SSL_CTX_new(TLS_client_method()));
        if (!ca_pem.empty()) {
            trust(ca_pem);
        }
        ssl_.reset(SSL_new(context_.get()));
        // SSL_set_tlsext_host_name is a macro with an old-style cast.
        std::string sni = host;
        SSL_ctrl(ssl_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, sni.data());
        if (!ca_pem.empty()) {
            SSL_set1_host(ssl_.get(), host.c_str());
        }
        SSL_set_fd(ssl_.get(), fd_.get());
        ERR_clear_error();
        connected_ = SSL_connect(ssl_.get()) == 1;
        verify_result_ = SSL_get_verify_result(ssl_.get());
    }

    [[nodiscard]] bool connected() const noexcept { return connected_; }
    [[nodiscard]] long verify_result() const noexcept { return verify_result_; }
    [[nodiscard]] std::string server_certificate() const {
        X509* certificate = SSL_get1_peer_certificate(ssl_.get());
        BIO* bio = BIO_new(BIO_s_mem());
        PEM_write_bio_X509(bio, certificate);
        char* data = nullptr;
        const long size = BIO_get_mem_data(bio, &data);
        std::string pem{data, static_cast<std::size_t>(size)};
        BIO_free(bio);
        X509_free(certificate);
        return pem;
    }

    /// False when the server has closed the connection.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            ERR_clear_error();
            const int put = SSL_write(
                ssl_.get(),
                bytes.data(),
                static_cast<int>(std::min<std::size_t>(bytes.size(), 1U << 20U))
            );
            if (put <= 0) {
                return false;
            }
            bytes.remove_prefix(static_cast<std::size_t>(put));
        }
        return true;
    }

    /// Breaks the TCP connection without a word.
    void abort() { fd_.reset(); }

    ClientReply read_reply(bool head_only = false) {
        ClientReply reply;
        std::size_t end = 0;
        while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
            if (!fill()) {
                return reply;
            }
        }
        const std::string head = buffer_.substr(0, end);
        buffer_.erase(0, end + 4);
        std::from_chars(head.data() + 9, head.data() + 12, reply.status);
        for (std::string& line : split(head.substr(head.find('\n') + 1), '\n')) {
            const std::size_t colon = line.find(':');
            reply.headers.add(line.substr(0, colon), std::string{trim(line.substr(colon + 1))});
        }
        if (!head_only && reply.headers.get_or("Transfer-Encoding", "") == "chunked") {
            if (!read_chunks(reply.body)) {
                reply.status = 0;
            }
            return reply;
        }
        const std::size_t size = std::stoul(reply.headers.get_or("Content-Length", "0"));
        while (!head_only && buffer_.size() < size) {
            if (!fill()) {
                reply.status = 0;
                return reply;
            }
        }
        if (!head_only) {
            reply.body = buffer_.substr(0, size);
            buffer_.erase(0, size);
        }
        return reply;
    }

    /// True when the server ends the connection within the deadline without sending anything more.
    bool closed() { return !fill() && buffer_.empty() && !timed_out_; }

    struct Options {
        std::string token = {};
        std::string body = {};
        Headers headers = {};
    };
    ClientReply request(std::string_view method, std::string_view target, const Options& options) {
        std::string text =
            std::string{method} + " " + std::string{target} + " HTTP/1.1\r\nHost: localhost\r\n";
        if (!options.token.empty()) {
            text += "Authorization: Bearer " + options.token + "\r\n";
        }
        if (!options.body.empty()) {
            text += "Content-Length: " + std::to_string(options.body.size()) + "\r\n";
        }
        for (const auto& [name, value] : options.headers.fields()) {
            text += name + ": " + value + "\r\n";
        }
        if (!send(text + "\r\n" + options.body)) {
            // The server may have answered before it stopped listening.
        }
        return read_reply(method == "HEAD");
    }
    ClientReply request(std::string_view method, std::string_view target) {
        return request(method, target, Options{});
    }

private:
    void connect_tcp(int port) {
        fd_ = FileDescriptor{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const timeval deadline{.tv_sec = 20, .tv_usec = 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
            ADD_FAILURE() << "connect: " << errno;
        }
    }

    void trust(const std::string& ca_pem) {
        BIO* bio = BIO_new_mem_buf(ca_pem.data(), static_cast<int>(ca_pem.size()));
        X509* authority = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), authority);
        X509_free(authority);
        BIO_free(bio);
        SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    }

    bool fill() {
        std::array<char, 16384> block{};
        ERR_clear_error();
        errno = 0;
        const int got = SSL_read(ssl_.get(), block.data(), static_cast<int>(block.size()));
        if (got <= 0) {
            timed_out_ = errno == EAGAIN;
            return false;
        }
        buffer_.append(block.data(), static_cast<std::size_t>(got));
        return true;
    }

    bool have(std::size_t size) {
        while (buffer_.size() < size) {
            if (!fill()) {
                return false;
            }
        }
        return true;
    }
    /// False when the connection ended before the last chunk.
    bool read_chunks(std::string& body) {
        while (true) {
            std::size_t end = 0;
            while ((end = buffer_.find("\r\n")) == std::string::npos) {
                if (!fill()) {
                    return false;
                }
            }
            const std::size_t size = std::stoul(buffer_.substr(0, end), nullptr, 16);
            if (!have(end + size + 4)) {
                return false;
            }
            body.append(buffer_, end + 2, size);
            buffer_.erase(0, end + size + 4);
            if (size == 0) {
                return true;
            }
        }
    }

    struct Free {
        void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
        void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
    };
    FileDescriptor fd_;
    std::unique_ptr<SSL_CTX, Free> context_;
    std::unique_ptr<SSL, Free> ssl_;
    std::string buffer_;
    bool connected_ = false;
    bool timed_out_ = false;
    long verify_result_ = 0;
};

}  // namespace holdfast::control::testing
