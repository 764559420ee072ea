#include "postgres/archive_decoder.h"

#include "base/error.h"

#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

namespace holdfast::postgres {
namespace {

Bytes compressed(ByteSpan plain, int window_log = 0) {
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    Bytes out(ZSTD_compressBound(plain.size()));
    out.resize(ZSTD_compress2(context, out.data(), out.size(), plain.data(), plain.size()));
    ZSTD_freeCCtx(context);
    return out;
}

Bytes sample(std::size_t size) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::byte>(i / 1000 * i % 251);
    }
    return bytes;
}

/// Through the decoder, `step` bytes at a time.
Bytes unpacked(ByteSpan packed, std::size_t step) {
    ArchiveDecoder decoder;
    Bytes out;
    for (std::size_t at = 0; at < packed.size(); at += step) {
        decoder.write(packed.subspan(at, std::min(step, packed.size() - at)), [&](ByteSpan bytes) {
            out.insert(out.end(), bytes.begin(), bytes.end());
        });
    }
    decoder.finish();
    return out;
}

std::string fault_of(ByteSpan packed) {
    try {
        (void)unpacked(packed, 1000);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kBaseBackupFailed);
        return error.what();
    }
    return "no fault";
}

TEST(ArchiveDecoder, UnpacksWhateverThePieces) {
    const Bytes plain = sample(1'000'000);
    const Bytes packed = compressed(plain);
    for (const std::size_t step : {std::size_t{1}, std::size_t{777}, packed.size()}) {
        EXPECT_EQ(unpacked(packed, step), plain);
    }
}

TEST(ArchiveDecoder, UnpacksFramesOneAfterTheOther) {
    Bytes packed = compressed(sample(3000));
    const Bytes second = compressed(sample(5));
    packed.insert(packed.end(), second.begin(), second.end());
    EXPECT_EQ(unpacked(packed, 10).size(), 3005U);
}

// A megabyte of zeros is some 60 bytes: all of it must come out before the next are asked for.
TEST(ArchiveDecoder, UnpacksMuchOutOfLittle) {
    const Bytes plain(10 * kMiB);
    EXPECT_EQ(unpacked(compressed(plain), 16), plain);
}

TEST(ArchiveDecoder, RefusesWhatIsCutOffOrDamagedOrAsksForTooMuch) {
    using testing::HasSubstr;
    const Bytes packed = compressed(sample(100'000));
    EXPECT_THAT(fault_of(ByteSpan{packed}.first(packed.size() - 1)), HasSubstr("ends too early"));
    EXPECT_THAT(fault_of({}), HasSubstr("ends too early"));
    EXPECT_THAT(fault_of(as_bytes("no archive at all")), HasSubstr("at byte"));
    EXPECT_THAT(fault_of(compressed(sample(20'000'000), 26)), HasSubstr("too much memory"));
}

}  // namespace
}  // namespace holdfast::postgres
