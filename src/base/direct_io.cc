#include "base/direct_io.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace holdfast {
namespace {

constexpr std::align_val_t kAlignment{kDirectBytes};

constexpr std::uint64_t round_down(std::uint64_t value) {
    return value / kDirectBytes * kDirectBytes;
}
constexpr std::uint64_t round_up(std::uint64_t value) {
    return round_down(value + kDirectBytes - 1);
}

/// Takes a descriptor past the page cache for as long as it lives, where the file system has that.
class DirectMode {
public:
    explicit DirectMode(int fd) noexcept : fd_{fd}, flags_{::fcntl(fd, F_GETFL)} {
        on_ = flags_ >= 0 && ::fcntl(fd, F_SETFL, flags_ | O_DIRECT) == 0;
    }
    ~DirectMode() { off(); }
    DirectMode(const DirectMode&) = delete;
    DirectMode& operator=(const DirectMode&) = delete;
    [[nodiscard]] bool on() const noexcept { return on_; }
    void off() noexcept {
        if (std::exchange(on_, false)) {
            (void)::fcntl(fd_, F_SETFL, flags_);
        }
    }

private:
    const int fd_;
    const int flags_;
    bool on_ = false;
};

/// Takes from `left` what was written; returns the error number.
int write_at(int fd, ByteSpan& left, std::uint64_t& offset) noexcept {
    while (!left.empty()) {
        const ssize_t count = ::pwrite(fd, left.data(), left.size(), static_cast<off_t>(offset));
        if (count < 0 && errno != EINTR) {
            return errno;
        }
        const auto written = static_cast<std::size_t>(std::max<ssize_t>(count, 0));
        left = left.subspan(written);
        offset += written;
    }
    return 0;
}

std::int64_t read_through_cache(int fd, MutableByteSpan out, std::uint64_t offset) noexcept {
    std::size_t got = 0;
    while (got < out.size()) {
        const ssize_t count =
            ::pread(fd, out.data() + got, out.size() - got, static_cast<off_t>(offset + got));
        if (count < 0 && errno != EINTR) {
            return -errno;
        }
        if (count == 0) {
            break;
        }
        got += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    }
    return static_cast<std::int64_t>(got);
}

/// Whether all of it lies in the page cache: the disk would be slower. mincore(2) says so of files
/// that belong to this process or that it may write, and of others always; then it is read through
/// the cache.
bool is_cached(int fd, std::uint64_t begin, std::size_t size) noexcept {
    constexpr std::size_t kPagesMax = 2048;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::uint64_t aligned = begin / page * page;
    const std::size_t length = static_cast<std::size_t>(begin - aligned) + size;
    if ((length + page - 1) / page > kPagesMax) {
        return false;
    }
    void* const mapped =
        ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(aligned));
    if (mapped == MAP_FAILED) {
        return false;
    }
    std::array<unsigned char, kPagesMax> resident{};
    const bool known = ::mincore(mapped, length, resident.data()) == 0;
    ::munmap(mapped, length);
    const auto end = resident.begin() + static_cast<std::ptrdiff_t>((length + page - 1) / page);
    return known &&
           std::all_of(resident.begin(), end, [](unsigned char one) { return (one & 1U) != 0; });
}

}  // namespace

void AlignedBuffer::Free::operator()(std::byte* bytes) const noexcept {
    ::operator delete[](bytes, kAlignment);
}

MutableByteSpan AlignedBuffer::reserve(std::size_t size) {
    if (size > capacity_) {
        bytes_.reset();  // First, so that the two are never there at once.
        capacity_ = 0;
        bytes_.reset(new (kAlignment) std::byte[size]);
        capacity_ = size;
    }
    return {bytes_.get(), size};
}

int write_past_cache(int fd, ByteSpan bytes, std::uint64_t offset) noexcept {
    const bool aligned = reinterpret_cast<std::uintptr_t>(bytes.data()) % kDirectBytes == 0 &&
                         offset % kDirectBytes == 0;
    if (aligned && bytes.size() >= kDirectBytesMin) {
        const DirectMode direct{fd};
        if (direct.on()) {
            ByteSpan left = bytes.first(round_down(bytes.size()));
            const std::size_t size = left.size();
            const int error = write_at(fd, left, offset);
            // EINVAL: the file system wants it aligned otherwise.
            if (error != 0 && error != EINVAL) {
                return error;
            }
            bytes = bytes.subspan(size - left.size());
        }
    }
    return write_at(fd, bytes, offset);
}

std::int64_t read_past_cache(
    int fd, MutableByteSpan out, std::uint64_t offset, AlignedBuffer& scratch
) {
    if (out.size() < kDirectBytesMin || is_cached(fd, offset, out.size())) {
        return read_through_cache(fd, out, offset);
    }
    const std::uint64_t begin = round_down(offset);
    const MutableByteSpan whole = scratch.reserve(round_up(offset + out.size()) - begin);
    DirectMode direct{fd};
    if (!direct.on()) {
        return read_through_cache(fd, out, offset);
    }
    std::size_t got = 0;
    while (got < whole.size()) {
        const MutableByteSpan left = whole.subspan(got);
        const ssize_t count =
            ::pread(fd, left.data(), left.size(), static_cast<off_t>(begin + got));
        if (count < 0 && errno == EINVAL && got == 0) {
            direct.off();  // The file system wants it aligned otherwise.
            return read_through_cache(fd, out, offset);
        }
        if (count < 0 && errno != EINTR) {
            return -errno;
        }
        got += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
        if (count >= 0 && static_cast<std::size_t>(count) % kDirectBytes != 0) {
            break;  // The file's end.
        }
        if (count == 0) {
            break;
        }
    }
    const std::size_t before = offset - begin;
    const std::size_t count = std::min(out.size(), got - std::min(got, before));
    std::copy_n(whole.data() + before, count, out.data());
    return static_cast<std::int64_t>(count);
}

}  // namespace holdfast
