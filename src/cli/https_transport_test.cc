#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "cli/transport.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

namespace holdfast::cli {
namespace {

template <auto Free>
struct Deleter {
    template <typename T>
    void operator()(T* value) const {
        Free(value);
    }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using SslContext = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using Connection = std::unique_ptr<SSL, Deleter<SSL_free>>;

Certificate self_signed(EVP_PKEY* key, const char* alternative_names) {
    Certificate certificate{X509_new()};
    X509* x509 = certificate.get();
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, key);
    const std::array<unsigned char, 5> name{'t', 'e', 's', 't', 0};
    X509_NAME_add_entry_by_txt(
        X509_get_subject_name(x509), "CN", MBSTRING_ASC, name.data(), -1, -1, 0
    );
    X509_set_issuer_name(x509, X509_get_subject_name(x509));
    for (const auto& [nid, value] :
         {std::pair{NID_subject_alt_name, alternative_names}, {NID_basic_constraints, "CA:TRUE"}}) {
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
        X509_add_ext(x509, extension, -1);
        X509_EXTENSION_free(extension);
    }
    X509_sign(x509, key, EVP_sha256());
    return certificate;
}

/// Accepts TLS connections on loopback and answers each request with the next text of a script; an
/// empty text closes the connection instead.
class TlsServer {
public:
    TlsServer(const char* alternative_names, std::vector<std::string> script)
        : script_{std::move(script)} {
        const Key key{EVP_EC_gen("P-256")};
        const Certificate certificate = self_signed(key.get(), alternative_names);
        context_.reset(SSL_CTX_new(TLS_server_method()));
        SSL_CTX_use_certificate(context_.get(), certificate.get());
        SSL_CTX_use_PrivateKey(context_.get(), key.get());
        FILE* file = fopen(ca_file().c_str(), "w");
        PEM_write_X509(file, certificate.get());
        fclose(file);
        listener_ = FileDescriptor{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        socklen_t size = sizeof(address);
        EXPECT_EQ(::bind(listener_.get(), generic, size), 0);
        EXPECT_EQ(::listen(listener_.get(), 8), 0);
        EXPECT_EQ(::getsockname(listener_.get(), generic, &size), 0);
        port_ = ntohs(address.sin_port);
        thread_ = std::jthread{[this] { serve(); }};
    }
    ~TlsServer() { ::shutdown(listener_.get(), SHUT_RDWR); }

    [[nodiscard]] std::string ca_file() const { return (directory_.path() / "ca.pem").string(); }
    [[nodiscard]] std::string url(std::string_view host, std::string_view path) const {
        return fmt::format("https://{}:{}{}", host, port_, path);
    }

    std::atomic<int> connections{0};
    std::vector<std::string> requests;  ///< Read only after the answers have arrived.

private:
    void serve() {
        while (true) {
            const FileDescriptor socket{::accept(listener_.get(), nullptr, nullptr)};
            if (!socket.valid()) {
                return;
            }
            const Connection connection{SSL_new(context_.get())};
            SSL_set_fd(connection.get(), socket.get());
            if (SSL_accept(connection.get()) == 1) {
                ++connections;
                talk(connection.get());
            }
        }
    }

    void talk(SSL* connection) {
        while (next_ < script_.size()) {
            std::string request;
            std::array<char, 4096> buffer{};
            while (request.find("\r\n\r\n") == std::string::npos) {
                const int size = SSL_read(connection, buffer.data(), buffer.size());
                if (size <= 0) {
                    return;
                }
                request.append(buffer.data(), static_cast<std::size_t>(size));
            }
            requests.push_back(request);
            const std::string& answer = script_[next_++];
            if (answer.empty()) {
                return;
            }
            (void)SSL_write(connection, answer.data(), static_cast<int>(answer.size()));
        }
        std::array<char, 16> rest{};  // Silence until the client goes.
        (void)SSL_read(connection, rest.data(), rest.size());
    }

    TemporaryDirectory directory_{"holdfast-tls"};
    std::vector<std::string> script_;
    std::size_t next_ = 0;
    SslContext context_;
    FileDescriptor listener_;
    int port_ = 0;
    std::jthread thread_;
};

const std::string kHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: 1\r\n\r\nhello";
const std::string kChunked =
    "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";

ErrorKind kind_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        EXPECT_FALSE(error.text().recommended_actions.empty());
        return error.kind();
    }
    ADD_FAILURE() << "nothing was thrown";
    return ErrorKind::kInternal;
}

TEST(HttpsTransport, SendsAndReadsOverOneTrustedConnection) {
    TlsServer server{"DNS:localhost,IP:127.0.0.1", {kHello, kChunked}};
    const auto transport = make_https_transport({.ca_file = server.ca_file()});
    const Response first = transport->send(
        {.url = server.url("127.0.0.1", "/a?b=c"), .headers = {{"Authorization", "Bearer t"}}}
    );
    EXPECT_EQ(first.status, 200);
    EXPECT_EQ(first.body, "hello");
    EXPECT_EQ(first.header("x-one"), "1");
    const Response second = transport->send({.url = server.url("127.0.0.1", "/d")});
    EXPECT_EQ(second.status, 202);
    EXPECT_EQ(second.body, "abcde");
    EXPECT_EQ(server.connections, 1);
    EXPECT_EQ(server.requests.at(0).find("GET /a?b=c HTTP/1.1\r\n"), 0U);
    EXPECT_NE(server.requests.at(0).find("Authorization: Bearer t\r\n"), std::string::npos);
}

TEST(HttpsTransport, AReadIsRepeatedWhenTheServerClosedAnIdleConnection) {
    TlsServer server{"IP:127.0.0.1", {kHello, "", kHello}};
    const auto transport = make_https_transport({.ca_file = server.ca_file()});
    EXPECT_EQ(transport->send({.url = server.url("127.0.0.1", "/")}).status, 200);
    EXPECT_EQ(transport->send({.url = server.url("127.0.0.1", "/")}).status, 200);
    EXPECT_EQ(server.connections, 2);
}

TEST(HttpsTransport, AWriteIsNeverRepeated) {
    TlsServer server{"IP:127.0.0.1", {kHello, "", kHello}};
    const auto transport = make_https_transport({.ca_file = server.ca_file()});
    EXPECT_EQ(transport->send({.url = server.url("127.0.0.1", "/")}).status, 200);
    EXPECT_EQ(
        kind_of([&] {
            (void
            )transport->send({.method = "POST", .url = server.url("127.0.0.1", "/"), .body = "{}"});
        }),
        ErrorKind::kServerNotReachable
    );
    EXPECT_EQ(server.connections, 2);
}

TEST(HttpsTransport, TrustsOnlyTheGivenCaAndName) {
    TlsServer server{"DNS:localhost", {kHello}};
    const auto strangers = make_https_transport({});
    EXPECT_EQ(
        kind_of([&] { (void)strangers->send({.url = server.url("localhost", "/")}); }),
        ErrorKind::kServerTls
    );
    const auto pinned = make_https_transport({.ca_file = server.ca_file()});
    EXPECT_EQ(
        kind_of([&] { (void)pinned->send({.url = server.url("127.0.0.1", "/")}); }),
        ErrorKind::kServerTls
    );
    EXPECT_EQ(pinned->send({.url = server.url("localhost", "/")}).status, 200);
    EXPECT_EQ(
        kind_of([] { (void)make_https_transport({.ca_file = "/nowhere"}); }),
        ErrorKind::kConfigInvalid
    );
}

TEST(HttpsTransport, DownloadsIntoAFileCompleteOrNotAtAll) {
    const std::string refused = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
    const std::string cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    TlsServer server{
        "IP:127.0.0.1", {kChunked.substr(0, 9) + "200" + kChunked.substr(12), refused, cut, ""}
    };
    const auto transport = make_https_transport(
        {.ca_file = server.ca_file(), .deadline = std::chrono::milliseconds{1000}}
    );
    TemporaryDirectory directory{"holdfast-download"};
    const auto fetch = [&](const std::string& name) {
        return transport->send(
            {.url = server.url("127.0.0.1", "/"), .output_file = (directory.path() / name).string()}
        );
    };
    EXPECT_EQ(fetch("a").body, "");
    EXPECT_EQ(read_file(directory.path() / "a", 100), "abcde");
    EXPECT_EQ(
        std::filesystem::status(directory.path() / "a").permissions(),
        std::filesystem::perms::owner_read | std::filesystem::perms::owner_write
    );
    EXPECT_EQ(fetch("b").body, "no");
    EXPECT_FALSE(std::filesystem::exists(directory.path() / "b"));
    EXPECT_EQ(kind_of([&] { (void)fetch("c"); }), ErrorKind::kTimeout);
    EXPECT_FALSE(std::filesystem::exists(directory.path() / "c"));
    EXPECT_FALSE(std::filesystem::exists(directory.path() / "c.part"));
}

TEST(HttpsTransport, EndsAtTheDeadline) {
    TlsServer server{"IP:127.0.0.1", {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"}};
    const auto transport = make_https_transport(
        {.ca_file = server.ca_file(), .deadline = std::chrono::milliseconds{200}}
    );
    EXPECT_EQ(
        kind_of([&] { (void)transport->send({.url = server.url("127.0.0.1", "/")}); }),
        ErrorKind::kTimeout
    );
}

TEST(HttpsTransport, SaysThatNobodyAnswers) {
    const auto transport = make_https_transport({});
    EXPECT_EQ(
        kind_of([&] { (void)transport->send({.url = "https://127.0.0.1:1/"}); }),
        ErrorKind::kServerNotReachable
    );
    for (const char* url :
         {"http://127.0.0.1/", "https://", "https://:1/", "https://h:x/", "https://[::1"}) {
        EXPECT_EQ(kind_of([&] { (void)transport->send({.url = url}); }), ErrorKind::kUsage) << url;
    }
}

}  // namespace
}  // namespace holdfast::cli
