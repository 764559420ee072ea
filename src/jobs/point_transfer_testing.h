#pragma once

#include "jobs/point_transfer.h"

#include <functional>
#include <memory>
#include <stop_token>
#include <string_view>
#include <utility>

namespace holdfast::jobs::testing {

/// Sends what is in memory, through an object of its own for each transfer, as a point's source is.
inline TransferSource source_of(std::shared_ptr<const postgres::MemoryStreams> streams) {
    class Borrowed final : public postgres::StreamSource {
    public:
        explicit Borrowed(const postgres::MemoryStreams& streams) : streams_{streams} {}
        void list(
            std::string_view prefix, const std::function<void(const postgres::StreamInfo&)>& visit
        ) const override {
            streams_.list(prefix, visit);
        }
        [[nodiscard]] std::unique_ptr<postgres::StreamReader> open(std::string_view name
        ) const override {
            return streams_.open(name);
        }

    private:
        const postgres::MemoryStreams& streams_;
    };
    const postgres::MemoryStreams& all = *streams;
    return {
        std::const_pointer_cast<postgres::MemoryStreams>(std::move(streams)),
        [&all](std::stop_token) { return std::make_unique<Borrowed>(all); }
    };
}

}  // namespace holdfast::jobs::testing
