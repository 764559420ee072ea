#include "base/file.h"

#include "base/error.h"
#include "base/ids.h"

#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast {
namespace {

constexpr int kNoFd = -1;

FileDescriptor open_or_throw(const std::filesystem::path& path, int flags, unsigned mode = 0) {
    FileDescriptor fd{::open(path.c_str(), flags | O_CLOEXEC, mode)};
    if (!fd.valid()) {
        throw_errno("open", path.string(), errno);
    }
    return fd;
}

template <typename Buffer>
std::optional<Buffer> read_whole(int fd, const std::filesystem::path& path, std::size_t size_max) {
    std::string content;
    std::array<std::byte, 16384> block{};
    while (true) {
        const std::size_t got = read_up_to(fd, block, path.string());
        content.append(as_text(ByteSpan{block}.first(got)));
        if (content.size() > size_max) {
            throw Error{
                ErrorKind::kPayloadTooLarge,
                fmt::format("The file {} is larger than {} bytes.", path.string(), size_max)
            };
        }
        if (got < block.size()) {
            break;
        }
    }
    Buffer out{std::move(content)};
    return out;
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
        reset();
        fd_ = other.release();
    }
    return *this;
}

int FileDescriptor::release() noexcept {
    return std::exchange(fd_, kNoFd);
}

void FileDescriptor::reset() noexcept {
    if (fd_ >= 0) {
        ::close(fd_);
        fd_ = kNoFd;
    }
}

void write_all(int fd, ByteSpan bytes, std::string_view name) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw_errno("write", name, errno);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

std::size_t read_up_to(int fd, MutableByteSpan out, std::string_view name) {
    std::size_t total = 0;
    while (total < out.size()) {
        const ssize_t got = ::read(fd, out.data() + total, out.size() - total);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw_errno("read", name, errno);
        }
        if (got == 0) {
            break;
        }
        total += static_cast<std::size_t>(got);
    }
    return total;
}

std::optional<std::string> read_file(const std::filesystem::path& path, std::size_t size_max) {
    const FileDescriptor fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd.valid()) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return std::nullopt;
        }
        throw_errno("open", path.string(), errno);
    }
    return read_whole<std::string>(fd.get(), path, size_max);
}

std::optional<Secret> read_secret_file(const std::filesystem::path& path, std::size_t size_max) {
    const FileDescriptor fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!fd.valid()) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return std::nullopt;
        }
        throw_errno("open", path.string(), errno);
    }
    struct stat status{};
    if (::fstat(fd.get(), &status) != 0) {
        throw_errno("fstat", path.string(), errno);
    }
    const bool owner_ok = status.st_uid == ::geteuid() || status.st_uid == 0;
    if (!S_ISREG(status.st_mode) || !owner_ok || (status.st_mode & 077U) != 0) {
        throw Error{
            ErrorKind::kKeyPermissions,
            ErrorText{
                .message = fmt::format(
                    "The file {} must be a regular file that only its owner can read; its mode is "
                    "{:04o}.",
                    path.string(),
                    static_cast<unsigned>(status.st_mode & 07777U)
                ),
                .target = path.string(),
                .recommended_actions = {fmt::format("Run: chmod 600 {}", path.string())},
            }
        };
    }
    const auto text = read_whole<std::string>(fd.get(), path, size_max);
    std::string content = *text;
    Secret secret{std::string_view{content}};
    wipe(content);
    return secret;
}

bool write_file_durably(
    const std::filesystem::path& path, ByteSpan bytes, unsigned mode, Overwrite overwrite
) {
    const std::filesystem::path temporary =
        path.parent_path() /
        fmt::format(".{}.{}.tmp", path.filename().string(), to_hex(random_array<6>()));
    {
        const FileDescriptor fd = open_or_throw(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
        try {
            if (::fchmod(fd.get(), mode) != 0) {
                throw_errno("fchmod", temporary.string(), errno);
            }
            write_all(fd.get(), bytes, path.string());
            if (::fsync(fd.get()) != 0) {
                throw_errno("fsync", path.string(), errno);
            }
        } catch (const Error&) {
            ::unlink(temporary.c_str());
            throw;
        }
    }
    const unsigned flags = overwrite == Overwrite::kNo ? RENAME_NOREPLACE : 0U;
    if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), flags) != 0) {
        const int error_number = errno;
        ::unlink(temporary.c_str());
        if (error_number == EEXIST) {
            return false;
        }
        throw_errno("rename", path.string(), error_number);
    }
    sync_directory(path.parent_path());
    return true;
}

void make_directory_durably(const std::filesystem::path& path, unsigned mode) {
    if (path.empty() || std::filesystem::is_directory(path)) {
        return;
    }
    make_directory_durably(path.parent_path(), mode);
    if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
        throw_errno("mkdir", path.string(), errno);
    }
    sync_directory(path.parent_path());
}

void sync_directory(const std::filesystem::path& path) {
    const FileDescriptor fd = open_or_throw(path.empty() ? "." : path, O_RDONLY | O_DIRECTORY);
    if (::fsync(fd.get()) != 0) {
        throw_errno("fsync", path.string(), errno);
    }
}

std::optional<FileDescriptor> try_lock_file(const std::filesystem::path& path) {
    FileDescriptor fd = open_or_throw(path, O_RDWR | O_CREAT, 0600);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return std::nullopt;
        }
        throw_errno("flock", path.string(), errno);
    }
    return fd;
}

TemporaryDirectory::TemporaryDirectory(std::string_view prefix) {
    std::string pattern =
        (std::filesystem::temp_directory_path() / fmt::format("{}-XXXXXX", prefix)).string();
    if (::mkdtemp(pattern.data()) == nullptr) {
        throw_errno("mkdtemp", pattern, errno);
    }
    path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

}  // namespace holdfast
