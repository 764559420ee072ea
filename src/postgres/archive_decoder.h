#pragma once

#include "base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

struct ZSTD_DCtx_s;

namespace holdfast::postgres {

/// Unpacks an archive that the server compressed with zstd, while it streams by. Memory: the
/// window, 8 MiB at most whatever the stream asks for, and 128 KiB.
///
/// Threads: one caller at a time. Throws kBaseBackupFailed, saying at which byte, for whatever is
/// not zstd or is damaged.
class ArchiveDecoder {
public:
    ArchiveDecoder();
    /// Gives what came of `bytes` to `out`, in order, in any number of calls; the bytes are only
    /// valid during the call.
    void write(ByteSpan bytes, const std::function<void(ByteSpan)>& out);
    /// The archive is complete; throws when it was cut off.
    void finish() const;

private:
    struct Free {
        void operator()(ZSTD_DCtx_s* context) const noexcept;
    };
    std::unique_ptr<ZSTD_DCtx_s, Free> context_;
    Bytes unpacked_;
    std::uint64_t offset_ = 0;  ///< Of the compressed bytes.
    bool at_end_ = false;       ///< Of a frame.
};

}  // namespace holdfast::postgres
