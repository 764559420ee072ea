#include "vault/object_store/local_store.h"

#include "base/direct_io.h"
#include "vault/object_store/checks.h"

#include <cerrno>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast::vault {
namespace {

namespace fs = std::filesystem;

// Starts with a dot and so is no part of a key that this program makes.
constexpr std::string_view kTemporaryName = ".tmp";

/// Nothing when there is no such file.
std::optional<FileDescriptor> open_to_read(const fs::path& path) {
    FileDescriptor fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!fd.valid()) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return std::nullopt;
        }
        throw_errno("open", path.string(), errno);
    }
    return fd;
}

std::uint64_t size_of(int fd, const std::string& name) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) {
        throw_errno("fstat", name, errno);
    }
    return static_cast<std::uint64_t>(status.st_size);
}

Bytes read_range(int fd, const ObjectKey& key, std::uint64_t offset, std::uint64_t length) {
    thread_local AlignedBuffer scratch;
    Bytes out(length);
    const std::int64_t got = read_past_cache(fd, out, offset, scratch);
    if (got < 0) {
        throw_errno("read", key.text(), static_cast<int>(-got));
    }
    if (static_cast<std::uint64_t>(got) < length) {
        throw_short_object(key, offset + length, offset + static_cast<std::uint64_t>(got));
    }
    return out;
}

/// A temporary file that is unlinked when destroyed; its content stays when it was linked to a name
/// before.
class TemporaryFile {
public:
    TemporaryFile(const fs::path& directory, const std::string& name)
        : path_{directory / name},
          fd_{::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)} {
        if (!fd_.valid()) {
            throw_errno("create", path_.string(), errno);
        }
    }
    ~TemporaryFile() { ::unlink(path_.c_str()); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] const fs::path& path() const noexcept { return path_; }

private:
    const fs::path path_;
    const FileDescriptor fd_;
};

}  // namespace

LocalStore::LocalStore(fs::path root) : root_{std::move(root)} {
    make_directory_durably(root_, 0700);
    make_directory_durably(root_ / kTemporaryName, 0700);
}

StoreFeatures LocalStore::features() const noexcept {
    return {.object_size_best_bytes = 16 * kMiB, .survives_process = true, .is_near = true};
}

PutOutcome LocalStore::put_new(const ObjectKey& key, ByteSpan data, std::stop_token stop) {
    throw_if_stopped(stop);
    if (poisoned_) {
        throw Error{
            ErrorKind::kVaultPoisoned,
            ErrorText{
                .message =
                    "The vault's storage is read-only: an earlier write could not be made durable.",
                .recommended_actions =
                    {"Check the disk and the kernel log, then restart the service.",
                     "Run 'holdfast vault check --read-data' afterwards."},
            }
        };
    }
    const fs::path path = root_ / key.text();
    if (::access(path.c_str(), F_OK) == 0) {
        return PutOutcome::kAlreadyExists;
    }
    const TemporaryFile temporary{root_ / kTemporaryName, to_hex(random_array<12>())};
    if (const int error = write_past_cache(temporary.fd(), data, 0)) {
        throw_errno("write", key.text(), error);
    }
    sync_or_poison(temporary.fd(), key.text());
    make_parents(key.text());
    if (::link(temporary.path().c_str(), path.c_str()) != 0) {
        if (errno == EEXIST) {
            return PutOutcome::kAlreadyExists;
        }
        throw_errno("link", key.text(), errno);
    }
    const fs::path parent = path.parent_path();
    const FileDescriptor directory{::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory.valid()) {
        throw_errno("open", parent.string(), errno);
    }
    sync_or_poison(directory.get(), parent.string());
    return PutOutcome::kCreated;
}

std::optional<Bytes> LocalStore::get(const ObjectKey& key, std::stop_token stop) {
    throw_if_stopped(stop);
    const auto fd = open_to_read(root_ / key.text());
    if (!fd) {
        return std::nullopt;
    }
    return read_range(fd->get(), key, 0, size_of(fd->get(), key.text()));
}

std::optional<Bytes> LocalStore::get_range(
    const ObjectKey& key, std::uint64_t offset, std::uint64_t length, std::stop_token stop
) {
    throw_if_stopped(stop);
    const auto fd = open_to_read(root_ / key.text());
    if (!fd) {
        return std::nullopt;
    }
    // Checked before allocating: the length may come from a damaged index.
    const std::uint64_t size = size_of(fd->get(), key.text());
    if (offset > size || length > size - offset) {
        throw_short_object(key, offset + length, size);
    }
    return read_range(fd->get(), key, offset, length);
}

std::optional<std::uint64_t> LocalStore::size(const ObjectKey& key, std::stop_token stop) {
    throw_if_stopped(stop);
    const auto fd = open_to_read(root_ / key.text());
    if (!fd) {
        return std::nullopt;
    }
    return size_of(fd->get(), key.text());
}

void LocalStore::list(std::string_view prefix, const ListVisitor& visitor, std::stop_token stop) {
    const fs::path start = root_ / prefix;
    std::error_code failure;
    fs::recursive_directory_iterator entries{start, failure};
    if (failure == std::errc::no_such_file_or_directory || failure == std::errc::not_a_directory) {
        return;
    }
    if (failure) {
        throw_errno("list", start.string(), failure.value());
    }
    for (const fs::recursive_directory_iterator end; entries != end; entries.increment(failure)) {
        if (failure) {
            throw_errno("list", start.string(), failure.value());
        }
        throw_if_stopped(stop);
        const std::string relative = entries->path().lexically_relative(root_).generic_string();
        if (relative == kTemporaryName) {
            entries.disable_recursion_pending();
            continue;
        }
        // Removed between the listing and the look at it: as if it had never been there.
        std::error_code gone;
        if (!entries->is_regular_file(gone) || gone) {
            continue;
        }
        const std::uint64_t size = entries->file_size(gone);
        const auto key = ObjectKey::parse(relative);
        if (!gone && key && !visitor({*key, size})) {
            return;
        }
    }
}

bool LocalStore::remove(const ObjectKey& key, std::stop_token stop) {
    throw_if_stopped(stop);
    const fs::path path = root_ / key.text();
    if (::unlink(path.c_str()) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return false;
        }
        throw_errno("unlink", key.text(), errno);
    }
    return true;
}

void LocalStore::clear_temporary_files() {
    std::error_code failure;
    for (const fs::directory_entry& entry :
         fs::directory_iterator{root_ / kTemporaryName, failure}) {
        ::unlink(entry.path().c_str());
    }
}

void LocalStore::sync_or_poison(int fd, const std::string& name) {
    if (::fsync(fd) != 0) {
        const int error_number = errno;
        poisoned_ = true;
        throw_errno("fsync", name, error_number);
    }
}

void LocalStore::make_parents(const std::string& key) {
    const std::string parent = key.substr(0, key.find_last_of('/'));
    if (parent.size() == key.size()) {
        return;
    }
    {
        const std::lock_guard lock{known_mutex_};
        if (known_directories_.contains(parent)) {
            return;
        }
    }
    make_directory_durably(root_ / parent, 0700);
    const std::lock_guard lock{known_mutex_};
    known_directories_.insert(parent);
}

}  // namespace holdfast::vault
