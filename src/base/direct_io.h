#pragma once

#include "base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace holdfast {

// Reading and writing past the page cache, for bulk data that nobody reads again soon: a backup
// should not push out of memory what a server on the same machine works with, and filling a page
// cache costs more processor time than hashing what goes into it (docs/decisions/0018).

/// Where direct reads and writes begin and end, in files and in memory: what every common file
/// system is content with.
constexpr std::size_t kDirectBytes = 4096;
/// Less than this at a time goes through the page cache: waiting for the disk would cost more time
/// than it saves, and what is small is sooner read again.
constexpr std::size_t kDirectBytesMin = 128 * kKiB;

/// Memory that is used again and again: begins at a multiple of kDirectBytes, never shrinks, is
/// never cleared.
class AlignedBuffer {
public:
    /// Grows to at least `size` bytes of capacity; the contents are lost when it has to grow.
    MutableByteSpan reserve(std::size_t size);
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] std::byte* data() noexcept { return bytes_.get(); }
    [[nodiscard]] const std::byte* data() const noexcept { return bytes_.get(); }

private:
    struct Free {
        void operator()(std::byte* bytes) const noexcept;
    };
    std::unique_ptr<std::byte[], Free> bytes_;
    std::size_t capacity_ = 0;
};

/// Writes all of `bytes` at `offset`: past the page cache what begins and ends at multiples of
/// kDirectBytes, and the rest through it; all of it when it is less than kDirectBytesMin, when the
/// file system cannot do the former, or when `bytes` does not begin at a multiple in memory.
/// Nothing of it is durable before fsync(2). Returns 0 or the error number. One thread at a time
/// for one descriptor.
[[nodiscard]] int write_past_cache(int fd, ByteSpan bytes, std::uint64_t offset) noexcept;

/// Fills `out` from `offset`, as far as the file goes, past the page cache unless it is less than
/// kDirectBytesMin, lies in the cache already, or the file system cannot do that. Returns the bytes
/// read, or the negative error number. One thread at a time for one descriptor.
[[nodiscard]] std::int64_t read_past_cache(
    int fd, MutableByteSpan out, std::uint64_t offset, AlignedBuffer& scratch
);

}  // namespace holdfast
