#pragma once

#include "base/bytes.h"
#include "base/direct_io.h"

#include <cstddef>
#include <memory>

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace holdfast::vault {

/// Memory for one chunk or one pack.
using Buffer = AlignedBuffer;

/// One zstd context each way. Not for use from two threads at once.
class Compressor {
public:
    explicit Compressor(int level);
    /// The compressed form in `scratch`, or an empty span when it would not save at least 1/64.
    [[nodiscard]] ByteSpan compress(ByteSpan plain, Buffer& scratch);

private:
    struct Free {
        void operator()(ZSTD_CCtx_s* context) const noexcept;
    };
    std::unique_ptr<ZSTD_CCtx_s, Free> context_;
};

class Decompressor {
public:
    Decompressor();
    /// True when `compressed` held exactly `plain.size()` bytes.
    [[nodiscard]] bool decompress(ByteSpan compressed, MutableByteSpan plain);

private:
    struct Free {
        void operator()(ZSTD_DCtx_s* context) const noexcept;
    };
    std::unique_ptr<ZSTD_DCtx_s, Free> context_;
};

}  // namespace holdfast::vault
