#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/transport.h"

#include <cerrno>
#include <cstdio>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <unistd.h>

// The only file of this folder that knows Boost: it is slow to compile.
namespace holdfast::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using Stream = beast::ssl_stream<beast::tcp_stream>;

constexpr std::uint64_t kBodyBytesMax = 1 * kGiB;

struct Origin {
    std::string host;
    std::string port;
    std::string target;
    bool operator==(const Origin& other) const { return host == other.host && port == other.port; }
};

/// "https://host:port/path"; the host may be an address in brackets.
Origin parse_url(std::string_view url) {
    const auto refuse = [&] {
        throw Error{
            ErrorKind::kUsage,
            ErrorText{
                .message = fmt::format("'{}' is not an https URL.", url),
                .recommended_actions = {"Give it as https://HOST:PORT."},
            }
        };
    };
    constexpr std::string_view kScheme = "https://";
    if (!starts_with_ignoring_case(url, kScheme)) {
        refuse();
    }
    std::string_view rest = url.substr(kScheme.size());
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    std::string_view authority = rest.substr(0, slash);
    Origin out;
    out.target = slash == rest.size() ? "/" : std::string{rest.substr(slash)};
    if (authority.starts_with('[')) {
        const std::size_t end = authority.find(']');
        if (end == std::string_view::npos) {
            refuse();
        }
        out.host = authority.substr(1, end - 1);
        authority.remove_prefix(end + 1);
    } else {
        out.host = authority.substr(0, authority.find(':'));
        authority.remove_prefix(out.host.size());
    }
    out.port = authority.starts_with(':') ? std::string{authority.substr(1)} : "443";
    if (out.host.empty() || out.port.empty() ||
        out.port.find_first_not_of("0123456789") != std::string::npos) {
        refuse();
    }
    return out;
}

/// A file beside the wanted one, which takes its place when it is complete and goes when it is not.
class PartialFile {
public:
    explicit PartialFile(std::string wanted)
        : wanted_{std::move(wanted)},
          path_{wanted_ + ".part"},
          // Made here, because the body's own file would be readable by others.
          file_{::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)
          } {
        if (!file_.valid()) {
            throw_errno("open", path_, errno);
        }
    }
    PartialFile(const PartialFile&) = delete;
    PartialFile& operator=(const PartialFile&) = delete;
    ~PartialFile() {
        if (!published_) {
            ::unlink(path_.c_str());
        }
    }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    void publish() {
        if (::fsync(file_.get()) != 0) {
            throw_errno("fsync", path_, errno);
        }
        if (::rename(path_.c_str(), wanted_.c_str()) != 0) {
            throw_errno("rename", wanted_, errno);
        }
        published_ = true;
    }

private:
    std::string wanted_;
    std::string path_;
    FileDescriptor file_;
    bool published_ = false;
};

class HttpsTransport final : public Transport {
public:
    explicit HttpsTransport(HttpsOptions options) : options_{std::move(options)} {
        context_.set_options(
            asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
            asio::ssl::context::no_tlsv1_1
        );
        context_.set_verify_mode(asio::ssl::verify_peer);
        error_code fault;
        if (options_.ca_file.empty()) {
            context_.set_default_verify_paths(fault);
        } else {
            context_.load_verify_file(options_.ca_file, fault);
        }
        if (fault) {
            throw Error{
                ErrorKind::kConfigInvalid,
                ErrorText{
                    .message = fmt::format(
                        "The CA file '{}' cannot be read: {}.", options_.ca_file, fault.message()
                    ),
                    .recommended_actions = {"Name a PEM file with the server's CA certificate."},
                }
            };
        }
    }

    std::unique_ptr<ResponseStream> open(const Request& request) override {
        const Origin origin = parse_url(request.url);
        const bool reuse = stream_ && origin == origin_;
        if (!reuse) {
            connect(origin);
        }
        try {
            return begin_stream(request, origin);
        } catch (const Error& error) {
            stream_.reset();
            if (!reuse || error.kind() != ErrorKind::kServerNotReachable) {
                throw;
            }
        }
        connect(origin);
        return begin_stream(request, origin);
    }

    Response send(const Request& request) override {
        const Origin origin = parse_url(request.url);
        // An idle connection may have been closed by the server meanwhile. What changes something
        // begins on a fresh one, so that it never has to be sent twice.
        const bool repeatable = request.method == "GET" || request.method == "HEAD";
        const bool reuse = repeatable && stream_ && origin == origin_;
        if (!reuse) {
            connect(origin);
        }
        try {
            return exchange(request, origin);
        } catch (const Error& error) {
            stream_.reset();
            if (!reuse || error.kind() != ErrorKind::kServerNotReachable) {
                throw;
            }
        }
        connect(origin);
        return exchange(request, origin);
    }

private:
    /// Starts one asynchronous step and runs it to its end or the deadline.
    template <typename Start>
    error_code run(Start&& start) {
        error_code result = asio::error::timed_out;
        io_.restart();
        start([&result](error_code fault, auto&&...) { result = fault; });
        io_.run_for(options_.deadline + std::chrono::seconds{1});
        if (!io_.stopped()) {  // Name resolution alone has no deadline of its own.
            io_.stop();
            return beast::error::timeout;
        }
        return result;
    }

    void connect(const Origin& origin) {
        stream_.reset();
        asio::ip::tcp::resolver resolver{io_};
        asio::ip::tcp::resolver::results_type addresses;
        error_code fault = run([&](auto done) {
            resolver.async_resolve(
                origin.host,
                origin.port,
                [&addresses, done](error_code code, auto found) mutable {
                    addresses = std::move(found);
                    done(code);
                }
            );
        });
        check(fault, origin, "resolve its name");
        auto stream = std::make_unique<Stream>(io_, context_);
        beast::get_lowest_layer(*stream).expires_after(options_.deadline);
        fault = run([&](auto done) {
            beast::get_lowest_layer(*stream).async_connect(addresses, std::move(done));
        });
        check(fault, origin, "connect");
        error_code ignored;
        beast::get_lowest_layer(*stream).socket().set_option(
            asio::ip::tcp::no_delay{true}, ignored
        );
        const bool is_address = (asio::ip::make_address(origin.host, ignored), !ignored);
        if (!is_address) {
            // The macro casts in the old style.
            (void)SSL_ctrl(
                stream->native_handle(),
                SSL_CTRL_SET_TLSEXT_HOSTNAME,
                TLSEXT_NAMETYPE_host_name,
                const_cast<char*>(origin.host.c_str())
            );
        }
        stream->set_verify_callback(asio::ssl::host_name_verification{origin.host});
        fault = run([&](auto done) {
            stream->async_handshake(asio::ssl::stream_base::client, std::move(done));
        });
        if (fault) {
            refuse_handshake(fault, *stream, origin);
        }
        stream_ = std::move(stream);
        origin_ = origin;
    }

    [[noreturn]] void refuse_handshake(
        const error_code& fault, Stream& stream, const Origin& origin
    ) {
        const long verdict = SSL_get_verify_result(stream.native_handle());
        const bool certificate = fault.category() == asio::error::get_ssl_category() &&
                                 ERR_GET_REASON(static_cast<unsigned long>(fault.value())) ==
                                     SSL_R_CERTIFICATE_VERIFY_FAILED;
        if (!certificate) {
            check(fault, origin, "agree on TLS");
        }
        const std::string reason = verdict == X509_V_OK
                                       ? fmt::format("it is not for the name '{}'", origin.host)
                                       : X509_verify_cert_error_string(verdict);
        throw Error{
            ErrorKind::kServerTls,
            ErrorText{
                .message = fmt::format(
                    "The certificate of https://{}:{} is not trusted: {}.",
                    origin.host,
                    origin.port,
                    reason
                ),
                .recommended_actions =
                    {"Log in again with the server's CA: holdfast login --server URL --ca FILE"},
            }
        };
    }

    /// A body on its way, read through the transport's connection.
    class Body final : public ResponseStream {
    public:
        Body(
            HttpsTransport& transport,
            const Origin& origin,
            Response head,
            http::response_parser<http::empty_body>&& parsed,
            beast::flat_buffer buffer
        )
            : transport_{transport},
              origin_{origin},
              head_{std::move(head)},
              keep_{parsed.keep_alive()},
              parser_{std::move(parsed)},
              buffer_{std::move(buffer)} {
            parser_.body_limit(boost::none);
        }
        ~Body() override {
            if (!parser_.is_done() || !keep_) {
                transport_.stream_.reset();  // What is left of it would be in the way.
            }
        }
        Body(const Body&) = delete;
        Body& operator=(const Body&) = delete;

        [[nodiscard]] const Response& head() const noexcept override { return head_; }
        std::size_t read(MutableByteSpan out) override {
            auto& body = parser_.get().body();
            std::size_t got = 0;
            while (got == 0 && !parser_.is_done() && !out.empty()) {
                body.data = out.data();
                body.size = out.size();
                beast::get_lowest_layer(*transport_.stream_)
                    .expires_after(transport_.options_.deadline);
                error_code fault = transport_.run([&](auto done) {
                    http::async_read_some(
                        *transport_.stream_, buffer_, parser_, std::move(done)
                    );
                });
                got = out.size() - body.size;
                if (fault == http::error::need_buffer) {
                    fault = {};  // `out` is full.
                }
                if (fault) {
                    keep_ = false;
                }
                transport_.check(fault, origin_, "read the whole answer");
            }
            return got;
        }

    private:
        HttpsTransport& transport_;
        const Origin origin_;
        const Response head_;
        bool keep_;
        http::response_parser<http::buffer_body> parser_;
        beast::flat_buffer buffer_;
    };

    /// What both kinds of request begin with: sends it and reads the answer's header.
    struct Begun {
        http::response_parser<http::empty_body> head;
        beast::flat_buffer buffer;
        Response response;
        bool keep = false;
    };

    std::unique_ptr<ResponseStream> begin_stream(const Request& request, const Origin& origin) {
        auto begun = std::make_unique<Begun>();
        begin(request, origin, *begun);
        if (begun->response.status >= 400) {
            http::response_parser<http::string_body> parser{std::move(begun->head)};
            parser.body_limit(kBodyBytesMax);
            read_body(parser, begun->buffer, origin);
            begun->response.body = std::move(parser.get().body());
            stream_.reset();
            return std::make_unique<Refused>(std::move(begun->response));
        }
        return std::make_unique<Body>(
            *this,
            origin,
            std::move(begun->response),
            std::move(begun->head),
            std::move(begun->buffer)
        );
    }

    /// An answer that is an error: nothing to read but its text.
    class Refused final : public ResponseStream {
    public:
        explicit Refused(Response head) : head_{std::move(head)} {}
        [[nodiscard]] const Response& head() const noexcept override { return head_; }
        std::size_t read(MutableByteSpan) override { return 0; }

    private:
        const Response head_;
    };

    Response exchange(const Request& request, const Origin& origin) {
        Begun begun;
        begin(request, origin, begun);
        Response& response = begun.response;
        if (response.status == 200 && !request.output_file.empty()) {
            download(std::move(begun.head), begun.buffer, request.output_file, origin);
        } else {
            http::response_parser<http::string_body> parser{std::move(begun.head)};
            parser.body_limit(kBodyBytesMax);
            read_body(parser, begun.buffer, origin);
            response.body = std::move(parser.get().body());
        }
        if (!begun.keep) {
            stream_.reset();
        }
        return std::move(response);
    }

    void begin(const Request& request, const Origin& origin, Begun& begun) {
        http::request<http::string_body> message;
        message.method_string(request.method);
        message.target(origin.target);
        message.version(11);
        const bool six = origin.host.find(':') != std::string::npos;
        message.set(
            http::field::host,
            fmt::format(
                "{}{}{}{}",
                six ? "[" : "",
                origin.host,
                six ? "]" : "",
                origin.port == "443" ? "" : ":" + origin.port
            )
        );
        for (const auto& [name, value] : request.headers) {
            message.set(name, value);
        }
        message.body() = request.body;
        message.prepare_payload();
        auto& layer = beast::get_lowest_layer(*stream_);
        layer.expires_after(options_.deadline);
        error_code fault =
            run([&](auto done) { http::async_write(*stream_, message, std::move(done)); });
        // A server that refuses early (413) answers although it stopped reading.
        const error_code write_fault = fault;
        http::response_parser<http::empty_body>& head = begun.head;
        head.body_limit(boost::none);
        head.skip(request.method == "HEAD");
        layer.expires_after(options_.deadline);
        fault = run([&](auto done) {
            http::async_read_header(*stream_, begun.buffer, head, std::move(done));
        });
        if (fault) {
            check(write_fault ? write_fault : fault, origin, "talk");
        }
        begun.response.status = static_cast<int>(head.get().result_int());
        for (const auto& field : head.get()) {
            begun.response.headers[to_lower(std::string_view{field.name_string()})] =
                std::string{field.value()};
        }
        begun.keep = head.keep_alive() && !write_fault;
    }

    void read_body(
        http::basic_parser<false>& parser, beast::flat_buffer& buffer, const Origin& origin
    ) {
        while (!parser.is_done()) {
            beast::get_lowest_layer(*stream_).expires_after(options_.deadline);
            const error_code fault = run([&](auto done) {
                http::async_read_some(*stream_, buffer, parser, std::move(done));
            });
            check(fault, origin, "read the answer");
        }
    }

    /// Into a file beside the wanted one, which takes its place when all has arrived.
    void download(
        http::response_parser<http::empty_body>&& head,
        beast::flat_buffer& buffer,
        const std::string& path,
        const Origin& origin
    ) {
        PartialFile file{path};
        {
            http::response_parser<http::file_body> parser{std::move(head)};
            parser.body_limit(boost::none);
            error_code fault;
            parser.get().body().open(file.path().c_str(), beast::file_mode::write_existing, fault);
            check(fault, origin, "open the file for the answer");
            read_body(parser, buffer, origin);
        }
        file.publish();
    }

    void check(const error_code& fault, const Origin& origin, std::string_view step) const {
        if (!fault) {
            return;
        }
        if (fault == beast::error::timeout || fault == asio::error::timed_out) {
            throw Error{
                ErrorKind::kTimeout,
                ErrorText{
                    .message = fmt::format(
                        "https://{}:{} did not answer within {} s.",
                        origin.host,
                        origin.port,
                        options_.deadline.count() / 1000
                    ),
                    .recommended_actions =
                        {"Look whether it took effect before you repeat what changes something."},
                }
            };
        }
        throw Error{
            ErrorKind::kServerNotReachable,
            ErrorText{
                .message = fmt::format(
                    "The server https://{}:{} cannot be reached: could not {}: {}.",
                    origin.host,
                    origin.port,
                    step,
                    fault.message()
                ),
                .recommended_actions = {"Check that 'holdfast serve' runs there and the URL is "
                                        "right (holdfast login --server URL)."},
            }
        };
    }

    const HttpsOptions options_;
    asio::io_context io_{1};
    asio::ssl::context context_{asio::ssl::context::tls_client};
    std::unique_ptr<Stream> stream_;
    Origin origin_;
};

}  // namespace

std::unique_ptr<Transport> make_https_transport(HttpsOptions options) {
    return std::make_unique<HttpsTransport>(std::move(options));
}

}  // namespace holdfast::cli
