#include "control/identity/jwks_fetch.h"

#include "base/error.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <fmt/format.h>

namespace holdfast::control {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

constexpr std::chrono::seconds kDeadline{5};
constexpr std::size_t kBytesMax = 256 * 1024;

struct Address {
    std::string host;
    std::string port = "443";
    std::string path = "/";
};

Address address_of(std::string_view uri) {
    std::string_view rest = uri.substr(std::string_view{"https://"}.size());
    Address out;
    if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
        out.path = rest.substr(slash);
        rest = rest.substr(0, slash);
    }
    if (const auto colon = rest.rfind(':');
        colon != std::string_view::npos && rest.find(']', colon) == std::string_view::npos) {
        out.port = rest.substr(colon + 1);
        rest = rest.substr(0, colon);
    }
    out.host = rest;
    return out;
}

/// One exchange, step by step; the first fault ends it.
class Exchange {
public:
    Exchange(asio::io_context& context, asio::ssl::context& tls, Address address)
        : resolver_{context}, stream_{context, tls}, address_{std::move(address)} {
        parser_.body_limit(kBytesMax);
    }

    void start() {
        beast::get_lowest_layer(stream_).expires_after(kDeadline);
        stream_.set_verify_callback(asio::ssl::host_name_verification{address_.host});
        // SSL_set_tlsext_host_name is a macro with an old-style cast.
        (void)SSL_ctrl(
            stream_.native_handle(),
            SSL_CTRL_SET_TLSEXT_HOSTNAME,
            TLSEXT_NAMETYPE_host_name,
            const_cast<char*>(address_.host.c_str())
        );
        resolver_.async_resolve(
            address_.host,
            address_.port,
            [this](error_code fault, const asio::ip::tcp::resolver::results_type& found) {
                next(fault, [&] {
                    beast::get_lowest_layer(stream_).async_connect(
                        found, [this](error_code failed, const auto&) { connected(failed); }
                    );
                });
            }
        );
    }

    [[nodiscard]] const error_code& fault() const noexcept { return fault_; }
    [[nodiscard]] bool done() const noexcept { return done_; }
    [[nodiscard]] auto& response() { return parser_.get(); }

private:
    template <typename Step>
    void next(error_code fault, const Step& step) {
        if (fault) {
            fault_ = fault;
            return;
        }
        step();
    }

    void connected(error_code fault) {
        next(fault, [this] {
            stream_.async_handshake(asio::ssl::stream_base::client, [this](error_code failed) {
                send(failed);
            });
        });
    }

    void send(error_code fault) {
        next(fault, [this] {
            request_.version(11);
            request_.method(http::verb::get);
            request_.target(address_.path);
            request_.set(http::field::host, address_.host);
            request_.set(http::field::accept, "application/json");
            http::async_write(stream_, request_, [this](error_code failed, std::size_t) {
                receive(failed);
            });
        });
    }

    void receive(error_code fault) {
        next(fault, [this] {
            http::async_read(stream_, buffer_, parser_, [this](error_code failed, std::size_t) {
                fault_ = failed;
                done_ = !failed;
            });
        });
    }

    asio::ip::tcp::resolver resolver_;
    beast::ssl_stream<beast::tcp_stream> stream_;
    Address address_;
    http::request<http::empty_body> request_;
    http::response_parser<http::string_body> parser_;
    beast::flat_buffer buffer_{kBytesMax};
    error_code fault_;
    bool done_ = false;
};

[[noreturn]] void fail(const IssuerConfig& issuer, const std::string& why) {
    throw Error{
        ErrorKind::kServerNotReachable,
        ErrorText{
            .message = fmt::format("{} could not be fetched: {}.", issuer.jwks_uri, why),
            .target = issuer.jwks_uri,
            .recommended_actions = {"Check identity.issuers and the way to the issuer."},
        }
    };
}

}  // namespace

std::string fetch_jwks(const IssuerConfig& issuer) {
    asio::io_context context;
    asio::ssl::context tls{asio::ssl::context::tls_client};
    tls.set_verify_mode(asio::ssl::verify_peer);
    error_code fault;
    if (issuer.ca_file.empty()) {
        tls.set_default_verify_paths(fault);
    } else {
        tls.load_verify_file(issuer.ca_file.string(), fault);
    }
    if (fault) {
        fail(issuer, fault.message());
    }
    Exchange exchange{context, tls, address_of(issuer.jwks_uri)};
    exchange.start();
    // The name's resolution has no deadline of its own.
    context.run_for(kDeadline);
    if (!exchange.done()) {
        fail(issuer, exchange.fault() ? exchange.fault().message() : "it took too long");
    }
    const auto status = exchange.response().result_int();
    if (status != 200) {
        fail(issuer, fmt::format("status {}", status));
    }
    return exchange.response().body();
}

}  // namespace holdfast::control
