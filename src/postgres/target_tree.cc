#include "postgres/target_tree.h"

#include "base/error.h"
#include "base/text.h"

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::postgres {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kSmallFileBytesMax = 16 * kMiB;
constexpr mode_t kModeBits = 07777;

FileDescriptor open_below(int parent, const std::string& name, int flags, mode_t mode = 0) {
    return FileDescriptor{::openat(parent, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode)};
}

/// Names in a directory, without `.` and `..`.
std::vector<std::string> names_in(FileDescriptor fd, const fs::path& path) {
    DIR* opened = ::fdopendir(fd.get());
    if (opened == nullptr) {
        throw_target_errno("read", path, errno);
    }
    (void)fd.release();
    const std::unique_ptr<DIR, int (*)(DIR*)> directory{opened, &::closedir};
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory.get())) {
        const std::string_view name{entry->d_name};
        if (name != "." && name != "..") {
            names.emplace_back(name);
        }
    }
    if (errno != 0) {
        throw_target_errno("read", path, errno);
    }
    return names;
}

}  // namespace

void throw_target_errno(std::string_view what, const fs::path& path, int error_number) {
    ErrorText text;
    text.target = path.string();
    text.message = fmt::format(
        "The restore could not {} {}: {}.", what, path.string(), ::strerror(error_number)
    );
    switch (error_number) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            text.recommended_actions = {
                "Make room there, then restore again onto it (delta), which goes on from what is "
                "there already; or restore elsewhere."};
            throw Error{ErrorKind::kRestoreTargetFull, std::move(text)};
        case EACCES:
        case EPERM:
        case EROFS:
            text.recommended_actions = {"Give the account that restores the right to write there."};
            throw Error{ErrorKind::kContainerNotAccessible, std::move(text)};
        case ELOOP:
        case ENOTDIR:
        case EEXIST:
            text.recommended_actions = {"Remove what is there, or restore elsewhere."};
            throw Error{ErrorKind::kRestoreTargetExists, std::move(text)};
        default:
            throw Error{ErrorKind::kInternal, std::move(text)};
    }
}

TargetTree TargetTree::open(const fs::path& root, std::optional<FileOwner> owner) {
    FileDescriptor fd{::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!fd.valid()) {
        throw_target_errno("open", root, errno);
    }
    return TargetTree{root, std::move(fd), owner};
}

FileDescriptor TargetTree::open_directory(const std::string& path) const {
    FileDescriptor at{::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0)};
    if (!at.valid()) {
        throw_target_errno("open", root_, errno);
    }
    if (path.empty()) {
        return at;
    }
    for (const std::string& part : split(path, '/')) {
        HOLDFAST_CHECK(part != ".." && !part.empty());
        at = open_below(at.get(), part, O_RDONLY | O_DIRECTORY);
        if (!at.valid()) {
            if (errno == ENOENT) {
                return {};
            }
            throw_target_errno("enter", root_ / path, errno);
        }
    }
    return at;
}

TargetTree::Place TargetTree::place_of(const std::string& path) const {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) {
        return {open_directory({}), path};
    }
    return {open_directory(path.substr(0, slash)), path.substr(slash + 1)};
}

TargetTree::Place TargetTree::require_place(const std::string& path) const {
    Place place = place_of(path);
    if (!place.parent.valid()) {
        throw_target_errno("enter", (root_ / path).parent_path(), ENOENT);
    }
    return place;
}

std::optional<struct stat> TargetTree::look(const std::string& path) const {
    const Place place = place_of(path);
    struct stat status {};
    if (!place.parent.valid() ||
        ::fstatat(place.parent.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return std::nullopt;
    }
    return status;
}

void TargetTree::own(int parent, const std::string& name, const std::string& path) const {
    if (owner_ &&
        ::fchownat(parent, name.c_str(), owner_->user, owner_->group, AT_SYMLINK_NOFOLLOW) != 0) {
        throw_target_errno("give away", root_ / path, errno);
    }
}

void TargetTree::give(int fd, const std::string& path, mode_t mode) const {
    struct stat status {};
    if (::fstat(fd, &status) != 0) {
        throw_target_errno("look at", root_ / path, errno);
    }
    // The owner first: giving a file away clears bits of its mode.
    if (owner_ && (status.st_uid != owner_->user || status.st_gid != owner_->group) &&
        ::fchown(fd, owner_->user, owner_->group) != 0) {
        throw_target_errno("give away", root_ / path, errno);
    }
    if ((status.st_mode & kModeBits) != mode && ::fchmod(fd, mode) != 0) {
        throw_target_errno("set the mode of", root_ / path, errno);
    }
}

void TargetTree::make_directory(const std::string& path, mode_t mode) const {
    const Place place = require_place(path);
    if (::mkdirat(place.parent.get(), place.name.c_str(), mode) != 0) {
        if (errno != EEXIST) {
            throw_target_errno("make", root_ / path, errno);
        }
        const auto status = look(path);
        if (!status || !S_ISDIR(status->st_mode)) {
            remove(path);
            if (::mkdirat(place.parent.get(), place.name.c_str(), mode) != 0) {
                throw_target_errno("make", root_ / path, errno);
            }
        }
    }
    const FileDescriptor made = open_below(place.parent.get(), place.name, O_RDONLY | O_DIRECTORY);
    if (!made.valid()) {
        throw_target_errno("enter", root_ / path, errno);
    }
    give(made.get(), path, mode);
}

void TargetTree::make_link(const std::string& path, const std::string& target) const {
    const Place place = require_place(path);
    for (int attempt = 0; ::symlinkat(target.c_str(), place.parent.get(), place.name.c_str()) != 0;
         ++attempt) {
        if (errno != EEXIST || attempt > 0) {
            throw_target_errno("make", root_ / path, errno);
        }
        remove(path);
    }
    own(place.parent.get(), place.name, path);
}

FileDescriptor TargetTree::open_file(const std::string& path, int flags, mode_t mode) const {
    const Place place = require_place(path);
    FileDescriptor fd = open_below(place.parent.get(), place.name, flags | O_NONBLOCK, mode);
    if (!fd.valid()) {
        if (errno == ENOENT || errno == ELOOP || errno == EISDIR || errno == ENXIO) {
            return {};
        }
        throw_target_errno("open", root_ / path, errno);
    }
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
        return {};
    }
    return fd;
}

void TargetTree::write_file(const std::string& path, ByteSpan bytes, mode_t mode) const {
    remove(path);
    const FileDescriptor fd = open_file(path, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (!fd.valid()) {
        throw_target_errno("write", root_ / path, EEXIST);
    }
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd.get(), bytes.data(), bytes.size());
        if (written < 0 && errno != EINTR) {
            throw_target_errno("write", root_ / path, errno);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
    }
    give(fd.get(), path, mode);
}

std::optional<std::string> TargetTree::read_file(const std::string& path) const {
    if (!look(path)) {
        return std::nullopt;
    }
    const FileDescriptor fd = open_file(path, O_RDONLY, 0);
    if (!fd.valid()) {
        return std::nullopt;
    }
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) {
        throw_target_errno("look at", root_ / path, errno);
    }
    if (static_cast<std::uint64_t>(status.st_size) > kSmallFileBytesMax) {
        throw_target_errno("read", root_ / path, EFBIG);
    }
    Bytes bytes(static_cast<std::size_t>(status.st_size));
    bytes.resize(read_up_to(fd.get(), bytes, path));
    return std::string{as_text(bytes)};
}

void TargetTree::rename(const std::string& from, const std::string& to) const {
    const Place old = require_place(from);
    const Place place = require_place(to);
    if (::renameat(old.parent.get(), old.name.c_str(), place.parent.get(), place.name.c_str()) !=
        0) {
        throw_target_errno("rename", root_ / from, errno);
    }
}

std::uint64_t TargetTree::remove(const std::string& path) const {
    const auto status = look(path);
    if (!status) {
        return 0;
    }
    std::uint64_t removed = 1;
    const Place place = require_place(path);
    const bool directory = S_ISDIR(status->st_mode);
    if (directory) {
        FileDescriptor fd = open_below(place.parent.get(), place.name, O_RDONLY | O_DIRECTORY);
        if (!fd.valid()) {
            throw_target_errno("enter", root_ / path, errno);
        }
        for (const std::string& name : names_in(std::move(fd), root_ / path)) {
            removed += remove(path + '/' + name);
        }
    }
    const int how = directory ? AT_REMOVEDIR : 0;
    if (::unlinkat(place.parent.get(), place.name.c_str(), how) != 0 && errno != ENOENT) {
        throw_target_errno("remove", root_ / path, errno);
    }
    return removed;
}

void TargetTree::walk(
    const std::string& path,
    const std::function<bool(const std::string& path, const struct stat& status)>& visit
) const {
    FileDescriptor fd = open_directory(path);
    if (!fd.valid()) {
        return;
    }
    for (const std::string& name : names_in(std::move(fd), root_ / path)) {
        const std::string below = path.empty() ? name : path + '/' + name;
        const auto status = look(below);
        if (status && visit(below, *status) && S_ISDIR(status->st_mode)) {
            walk(below, visit);
        }
    }
}

void TargetTree::sync() const {
    if (::syncfs(fd_.get()) != 0) {
        throw_target_errno("make durable", root_, errno);
    }
}

void TargetTree::sync_directory(const std::string& path) const {
    const FileDescriptor fd = open_directory(path);
    if (!fd.valid() || ::fsync(fd.get()) != 0) {
        throw_target_errno("make durable", root_ / path, errno);
    }
}

}  // namespace holdfast::postgres
