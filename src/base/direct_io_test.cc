#include "base/direct_io.h"

#include "base/file.h"
#include "base/zeros.h"

#include <algorithm>
#include <cerrno>
#include <random>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace holdfast {
namespace {

using Sizes = std::vector<std::size_t>;

Bytes random_bytes(std::size_t size) {
    std::mt19937_64 random{size};
    Bytes bytes(size);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });
    return bytes;
}

/// On the disk, as far as the build folder is on one; and where only the page cache is.
class DirectIo : public testing::TestWithParam<const char*> {
protected:
    DirectIo()
        : path_{std::filesystem::path{GetParam()} / ("direct_io." + std::to_string(::getpid()))},
          file_{::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)} {}
    ~DirectIo() override { ::unlink(path_.c_str()); }

    void SetUp() override {
        if (!file_.valid()) {
            GTEST_SKIP() << path_ << " cannot be made here.";
        }
    }

    [[nodiscard]] int fd() const { return file_.get(); }

    [[nodiscard]] Bytes written() const {
        Bytes bytes(static_cast<std::size_t>(::lseek(fd(), 0, SEEK_END)));
        EXPECT_EQ(::pread(fd(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
        return bytes;
    }

    std::filesystem::path path_;
    FileDescriptor file_;
};

TEST_P(DirectIo, WritesEveryLengthAtEveryPlace) {
    for (const auto size : Sizes{0, 1, 4095, 131'072, 131'073, 1'048'576, 1'052'671}) {
        for (const auto offset : Sizes{0, 1, 4096, 1'000'000}) {
            for (const auto shift : Sizes{0, 1}) {  // In memory.
                AlignedBuffer memory;
                const MutableByteSpan bytes = memory.reserve(size + shift).subspan(shift);
                const Bytes content = random_bytes(size);
                std::copy(content.begin(), content.end(), bytes.begin());
                ASSERT_EQ(::ftruncate(fd(), 0), 0);
                ASSERT_EQ(write_past_cache(fd(), bytes, offset), 0);
                const Bytes found = written();
                ASSERT_EQ(found.size(), size == 0 ? 0 : offset + size);
                ASSERT_TRUE(std::equal(
                    content.begin(), content.end(), found.end() - static_cast<std::ptrdiff_t>(size)
                ));
                ASSERT_TRUE(is_zero(ByteSpan{found}.first(found.size() - size)));
            }
        }
    }
    EXPECT_EQ(::fcntl(fd(), F_GETFL) & O_DIRECT, 0);
}

TEST_P(DirectIo, ReadsEveryRange) {
    const Bytes content = random_bytes(1'100'001);
    ASSERT_EQ(write_past_cache(fd(), content, 0), 0);
    AlignedBuffer scratch;
    for (const bool cached : {false, true}) {
        if (cached) {
            EXPECT_TRUE(written() == content);  // Reads it through the cache.
        }
        for (const auto offset : Sizes{0, 1, 4096, 500'000, 1'100'000, 1'100'001, 2'000'000}) {
            const ByteSpan rest = ByteSpan{content}.subspan(std::min(offset, content.size()));
            for (const auto size : Sizes{0, 1, 100'000, 131'072, 600'001, 1'100'001}) {
                Bytes out(size);
                const ByteSpan expected = rest.first(std::min(size, rest.size()));
                ASSERT_EQ(
                    read_past_cache(fd(), out, offset, scratch),
                    static_cast<std::int64_t>(expected.size())
                );
                ASSERT_TRUE(std::equal(expected.begin(), expected.end(), out.begin()));
            }
        }
    }
    EXPECT_EQ(::fcntl(fd(), F_GETFL) & O_DIRECT, 0);
}

TEST_P(DirectIo, ReturnsWhatTheSystemSays) {
    const FileDescriptor to_read{::open(path_.c_str(), O_RDONLY | O_CLOEXEC)};
    AlignedBuffer memory;
    EXPECT_EQ(write_past_cache(to_read.get(), memory.reserve(kMiB), 0), EBADF);
    const FileDescriptor to_write{::open(path_.c_str(), O_WRONLY | O_CLOEXEC)};
    AlignedBuffer scratch;
    EXPECT_EQ(read_past_cache(to_write.get(), memory.reserve(kMiB), 0, scratch), -EBADF);
}

INSTANTIATE_TEST_SUITE_P(Places, DirectIo, testing::Values(".", "/dev/shm"));

TEST(AlignedBuffer, BeginsAtAMultipleAndGrows) {
    AlignedBuffer buffer;
    for (const auto size : Sizes{1, 5000, 100, 1'000'000}) {
        const MutableByteSpan bytes = buffer.reserve(size);
        EXPECT_EQ(bytes.size(), size);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.data()) % kDirectBytes, 0U);
    }
    EXPECT_EQ(buffer.capacity(), 1'000'000U);
}

}  // namespace
}  // namespace holdfast
