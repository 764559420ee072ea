#include "control/http/request_reader.h"

#include "base/text.h"

#include <optional>

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <fmt/format.h>

namespace holdfast::control {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using ErrorCode = boost::system::error_code;
using BeastParser = http::request_parser<http::string_body>;

/// Beast asserts that it is never shown less of the last chunk than this. The line break before it
/// belongs to the chunk before.
bool may_begin_last_chunk(std::string_view bytes) noexcept {
    constexpr std::string_view kLastChunk = "0\r\n\r\n";
    return bytes.size() < kLastChunk.size() && (bytes.front() == '0' || bytes.front() == '\r');
}

/// What Beast lets through and we do not.
std::optional<Error> header_fault(const BeastParser& parser) {
    const auto& message = parser.get();
    if (message.version() != 10 && message.version() != 11) {
        return Error{ErrorKind::kBadRequest, "Only HTTP/1.0 and HTTP/1.1 are spoken here."};
    }
    if (message.version() == 11 && message.count(http::field::host) != 1) {
        return Error{ErrorKind::kBadRequest, "An HTTP/1.1 request needs exactly one Host header."};
    }
    if (message.count(http::field::transfer_encoding) != 0 &&
        (!parser.chunked() || message.count(http::field::content_length) != 0)) {
        return Error{
            ErrorKind::kBadRequest,
            "The request's length is ambiguous: send either Content-Length or chunks."
        };
    }
    return std::nullopt;
}

Error header_too_large(std::size_t limit) {
    return Error{
        ErrorKind::kHeaderTooLarge,
        ErrorText{
            .message = fmt::format("The request header is larger than {}.", format_size(limit)),
            .recommended_actions = {"Send fewer or shorter header fields."},
        }
    };
}

Error protocol_error(ErrorCode fault, const RequestReader::Limits& limits) {
    if (fault == http::error::body_limit) {
        return Error{
            ErrorKind::kPayloadTooLarge,
            ErrorText{
                .message = fmt::format(
                    "The request body is larger than the {} that this server accepts.",
                    format_size(limits.body_bytes_max)
                ),
                .recommended_actions = {"Send a smaller body; server.body_bytes_max sets the limit."
                },
            }
        };
    }
    if (fault == http::error::header_limit) {
        return header_too_large(limits.header_bytes_max);
    }
    return Error{
        ErrorKind::kBadRequest,
        ErrorText{
            .message = fmt::format("The request is not valid HTTP: {}.", fault.message()),
            .recommended_actions = {"Send an HTTP/1.1 request."},
        }
    };
}

}  // namespace

struct RequestReader::Parser {
    explicit Parser(const Limits& limits_in) : limits{limits_in} {
        beast.header_limit(static_cast<std::uint32_t>(limits.header_bytes_max));
        beast.body_limit(limits.body_bytes_max);
    }

    State refuse(Error fault) {
        error = std::move(fault);
        return State::kRefused;
    }

    /// Until something is to be done or nothing more can be. Many small chunks are taken in one go:
    /// to cut each off the buffer would cost the square of their number.
    State feed(std::string_view bytes, std::size_t& used) {
        while (used < bytes.size()) {
            if (header_taken && beast.chunked() && may_begin_last_chunk(bytes.substr(used))) {
                return State::kMore;
            }
            ErrorCode fault;
            used += beast.put(asio::buffer(bytes.data() + used, bytes.size() - used), fault);
            if (fault == http::error::need_more) {
                // Beast limits the header, but neither a chunk's extension nor the trailer.
                return bytes.size() - used < limits.header_bytes_max
                           ? State::kMore
                           : refuse(header_too_large(limits.header_bytes_max));
            }
            if (fault) {
                return refuse(protocol_error(fault, limits));
            }
            if (beast.is_header_done() && !header_taken) {
                header_taken = true;
                take_header();
                if (auto unwanted = header_fault(beast)) {
                    return refuse(std::move(*unwanted));
                }
                if (!beast.is_done()) {
                    return State::kHeader;
                }
            }
            if (beast.is_done()) {
                return State::kComplete;
            }
        }
        return State::kMore;
    }

    /// Before the trailer, whose fields Beast would put among those of the header.
    void take_header() {
        const auto& message = beast.get();
        request.method = std::string{message.method_string()};
        request.raw_target = std::string{message.target()};
        for (const auto& field : message) {
            request.headers.add(std::string{field.name_string()}, std::string{field.value()});
        }
        keep_alive = beast.keep_alive();
    }

    Limits limits;
    BeastParser beast;
    Request request;
    std::optional<Error> error;
    bool header_taken = false;
    bool keep_alive = false;
};

RequestReader::RequestReader(const Limits& limits) : parser_{std::make_unique<Parser>(limits)} {}
RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;
RequestReader& RequestReader::operator=(RequestReader&&) noexcept = default;

RequestReader::State RequestReader::feed(std::string& bytes) {
    HOLDFAST_CHECK(!parser_->error);
    std::size_t used = 0;
    const State state = parser_->feed(bytes, used);
    bytes.erase(0, used);
    return state;
}

const Error& RequestReader::error() const {
    HOLDFAST_CHECK(parser_->error);
    return *parser_->error;
}

Request RequestReader::take() {
    if (!parser_->error) {
        parser_->request.body = std::move(parser_->beast.get().body());
    }
    return std::move(parser_->request);
}

bool RequestReader::keep_alive() const {
    return parser_->keep_alive;
}

bool RequestReader::takes_chunks() const {
    return parser_->header_taken && parser_->beast.get().version() == 11;
}

bool RequestReader::expects_continue() const {
    return equal_ignoring_case(parser_->request.headers.get_or("Expect", ""), "100-continue");
}

}  // namespace holdfast::control
