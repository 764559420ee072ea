#pragma once

#include "base/bytes.h"

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::cli {

struct Request {
    std::string method = "GET";
    std::string url;  ///< Absolute, https.
    std::map<std::string, std::string> headers = {};
    std::string body = {};
    /// When not empty, the body of a 200 goes there (mode 0600, complete or not at all) and not
    /// into the answer: bodies of any size.
    std::string output_file = {};
};

struct Response {
    int status = 0;
    std::map<std::string, std::string> headers = {};  ///< Names in lower case.
    std::string body = {};

    /// "" when absent.
    [[nodiscard]] const std::string& header(const std::string& lower_case_name) const;
};

/// An answer whose body is read as it comes.
class ResponseStream {
public:
    virtual ~ResponseStream() = default;
    /// Status and headers; the whole body too when the status is 400 or more.
    [[nodiscard]] virtual const Response& head() const noexcept = 0;
    /// Puts what has come at the front of `out`, at least one byte; 0 at the end. Throws
    /// kServerNotReachable when the connection ends before the body does, kTimeout.
    virtual std::size_t read(MutableByteSpan out) = 0;
};

/// Sends one request and returns the answer, whatever its status. Tests script one.
class Transport {
public:
    virtual ~Transport() = default;
    /// Throws kServerNotReachable, kServerTls (the certificate is not trusted) or kTimeout.
    virtual Response send(const Request& request) = 0;
    /// As send(), for bodies of any size. REQUIRES: the request changes nothing (it may be sent
    /// twice); the stream ends before this does and before the next request.
    [[nodiscard]] virtual std::unique_ptr<ResponseStream> open(const Request& request);
};

struct HttpsOptions {
    std::string ca_file = {
    };  ///< PEM; only what it signed is trusted. Empty: the system's certificates.
    std::chrono::milliseconds deadline{120'000
    };  ///< For one request, from connect to the last byte.
};

/// Keeps one TLS connection to the last host. Not safe for use by several threads at once.
[[nodiscard]] std::unique_ptr<Transport> make_https_transport(HttpsOptions options);

}  // namespace holdfast::cli
