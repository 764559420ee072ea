#include "vault/detail/compression.h"

#include "base/error.h"

#include <zstd.h>

namespace holdfast::vault {

/// Random bytes in a page of PostgreSQL's still have the page around them: a little over 1/64.
constexpr std::size_t kWorthShare = 64;

void Compressor::Free::operator()(ZSTD_CCtx_s* context) const noexcept {
    ZSTD_freeCCtx(context);
}

Compressor::Compressor(int level) : context_{ZSTD_createCCtx()} {
    HOLDFAST_CHECK(context_ != nullptr);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, level);
    // The frame is authenticated and its length is known: neither is needed in it.
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 0);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_contentSizeFlag, 0);
}

ByteSpan Compressor::compress(ByteSpan plain, Buffer& scratch) {
    // Whatever does not fit did not save enough, so that room is all zstd gets.
    const std::size_t worth = plain.size() - plain.size() / kWorthShare;
    if (plain.size() < kWorthShare) {
        return {};
    }
    const MutableByteSpan out = scratch.reserve(worth);
    const std::size_t size =
        ZSTD_compress2(context_.get(), out.data(), out.size(), plain.data(), plain.size());
    if (ZSTD_isError(size) != 0) {
        return {};
    }
    return out.first(size);
}

void Decompressor::Free::operator()(ZSTD_DCtx_s* context) const noexcept {
    ZSTD_freeDCtx(context);
}

Decompressor::Decompressor() : context_{ZSTD_createDCtx()} {
    HOLDFAST_CHECK(context_ != nullptr);
}

bool Decompressor::decompress(ByteSpan compressed, MutableByteSpan plain) {
    const std::size_t size = ZSTD_decompressDCtx(
        context_.get(), plain.data(), plain.size(), compressed.data(), compressed.size()
    );
    return ZSTD_isError(size) == 0 && size == plain.size();
}

}  // namespace holdfast::vault
