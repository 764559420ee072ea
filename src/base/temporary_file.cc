#include "base/temporary_file.h"

#include "base/error.h"

#include <cerrno>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

namespace holdfast {

FileDescriptor make_unnamed_file() {
    const std::filesystem::path directory = std::filesystem::temp_directory_path();
    FileDescriptor fd{::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (fd.valid()) {
        return fd;
    }
    // Not every file system can make one without a name.
    std::string pattern = (directory / "holdfast-XXXXXX").string();
    fd = FileDescriptor{::mkostemp(pattern.data(), O_CLOEXEC)};
    if (!fd.valid() || ::unlink(pattern.c_str()) != 0) {
        throw_errno("mkostemp", pattern, errno);
    }
    return fd;
}

void write_all_at(int fd, std::uint64_t offset, ByteSpan bytes, std::string_view name) {
    while (!bytes.empty()) {
        const ssize_t written =
            ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw_errno("pwrite", name, errno);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
        offset += static_cast<std::uint64_t>(written);
    }
}

void read_all_at(int fd, std::uint64_t offset, MutableByteSpan out, std::string_view name) {
    while (!out.empty()) {
        const ssize_t got = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw_errno("pread", name, errno);
        }
        if (got == 0) {
            throw Error{
                ErrorKind::kInternal, fmt::format("The file {} is shorter than it was.", name)
            };
        }
        out = out.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
}

}  // namespace holdfast
