#include "postgres/archive_decoder.h"

#include "base/error.h"

#include <fmt/format.h>
#include <zstd.h>

namespace holdfast::postgres {

namespace {

constexpr std::size_t kUnpackedBytes = 128 * kKiB;
constexpr int kWindowLogMax = 23;

[[noreturn]] void fail(std::uint64_t offset, std::string_view problem) {
    throw Error{
        ErrorKind::kBaseBackupFailed,
        {.message = fmt::format(
             "The server's compressed archive is not usable: {} at byte {}.", problem, offset
         ),
         .recommended_actions =
             {"Back up again; if it happens again, switch the compression of the server off "
              "(backup-instance update --server-compression None)."}}
    };
}

}  // namespace

void ArchiveDecoder::Free::operator()(ZSTD_DCtx_s* context) const noexcept {
    ZSTD_freeDCtx(context);
}

ArchiveDecoder::ArchiveDecoder() : context_{ZSTD_createDCtx()}, unpacked_(kUnpackedBytes) {
    HOLDFAST_CHECK(context_ != nullptr);
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kWindowLogMax);
}

void ArchiveDecoder::write(ByteSpan bytes, const std::function<void(ByteSpan)>& out) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    bool more = true;  // Unpacked bytes may be left when all compressed ones were taken.
    while (in.pos < in.size || more) {
        ZSTD_outBuffer room{unpacked_.data(), unpacked_.size(), 0};
        const std::size_t before = in.pos;
        const std::size_t result = ZSTD_decompressStream(context_.get(), &room, &in);
        offset_ += in.pos - before;
        if (ZSTD_isError(result) != 0) {
            fail(offset_, ZSTD_getErrorName(result));
        }
        // Zero, too, for a call between two frames that had nothing to do.
        at_end_ = result == 0 || (at_end_ && in.pos == before && room.pos == 0);
        if (room.pos > 0) {
            out(ByteSpan{unpacked_}.first(room.pos));
        }
        more = room.pos == room.size;
    }
}

void ArchiveDecoder::finish() const {
    if (!at_end_) {
        fail(offset_, "it ends too early");
    }
}

}  // namespace holdfast::postgres
