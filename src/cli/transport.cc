#include "cli/transport.h"

#include <algorithm>

namespace holdfast::cli {
namespace {

/// A body that came whole.
class WholeResponse final : public ResponseStream {
public:
    explicit WholeResponse(Response response)
        : response_{std::move(response)}, rest_{as_bytes(response_.body)} {}
    [[nodiscard]] const Response& head() const noexcept override { return response_; }
    std::size_t read(MutableByteSpan out) override {
        const std::size_t size = std::min(out.size(), rest_.size());
        std::copy_n(rest_.begin(), size, out.begin());
        rest_ = rest_.subspan(size);
        return size;
    }

private:
    const Response response_;
    ByteSpan rest_;
};

}  // namespace

std::unique_ptr<ResponseStream> Transport::open(const Request& request) {
    return std::make_unique<WholeResponse>(send(request));
}

}  // namespace holdfast::cli
