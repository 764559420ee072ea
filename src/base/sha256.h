#pragma once

#include "base/bytes.h"

#include <array>
#include <cstddef>
#include <memory>

namespace holdfast {

using Sha256Digest = std::array<std::byte, 32>;

/// SHA-256 of bytes that come piece by piece. One thread at a time.
class Sha256 {
public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    void update(ByteSpan bytes);
    /// The digest of all bytes given; no update() afterwards.
    [[nodiscard]] Sha256Digest finish();

private:
    struct Deleter {
        void operator()(void* context) const noexcept;
    };
    std::unique_ptr<void, Deleter> context_;
};

[[nodiscard]] Sha256Digest sha256(ByteSpan bytes);

}  // namespace holdfast
