#pragma once

#include "base/error.h"
#include "control/http/message.h"

#include <cstddef>
#include <memory>
#include <string>

namespace holdfast::control {

/// One HTTP/1.x request, taken apart as its bytes arrive. How they are cut into pieces makes no
/// difference, but for a header that is a few bytes short of its limit. Not for several threads at
/// once.
class RequestReader {
public:
    struct Limits {
        std::size_t header_bytes_max = 0;  ///< Also of a chunk's head, and of the trailer.
        std::size_t body_bytes_max = 0;
    };

    explicit RequestReader(const Limits& limits);
    ~RequestReader();
    RequestReader(RequestReader&&) noexcept;
    RequestReader& operator=(RequestReader&&) noexcept;

    enum class State {
        kMore,      ///< Everything usable was taken; more bytes are needed.
        kHeader,    ///< Said once, when a body is to follow: feed() again.
        kComplete,  ///< take() it. What is left in `bytes` belongs to the next request.
        kRefused,   ///< See error(). Where the next request begins is unknown.
    };
    /// Takes what it can from the front of `bytes`. REQUIRES: not complete or refused before.
    [[nodiscard]] State feed(std::string& bytes);

    /// kBadRequest, kHeaderTooLarge or kPayloadTooLarge. REQUIRES: refused.
    [[nodiscard]] const Error& error() const;
    /// method, raw_target, headers and body as far as they are known (a refused request may have
    /// none of them).
    [[nodiscard]] Request take();
    [[nodiscard]] bool keep_alive() const;
    /// HTTP/1.1: the answer may come in chunks.
    [[nodiscard]] bool takes_chunks() const;
    /// The client waits for our word before it sends the body.
    [[nodiscard]] bool expects_continue() const;

private:
    struct Parser;
    std::unique_ptr<Parser> parser_;
};

}  // namespace holdfast::control
