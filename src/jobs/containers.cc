#include "jobs/containers.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast::jobs {
namespace {

constexpr std::size_t kFilePrefixBytesMax = 100;
constexpr std::string_view kRestorePath = "/restore/";
constexpr std::string_view kFileScheme = "file://";

/// Opens `path` so that the kernel refuses every step out of `directory`: `..`, absolute paths,
/// links of any kind.
FileDescriptor open_beneath(int directory, const std::string& path, std::uint64_t flags) {
    open_how how{};
    how.flags = flags | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    while (true) {
        const long fd = ::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
        if (fd >= 0) {
            return FileDescriptor{static_cast<int>(fd)};
        }
        // EAGAIN: a rename raced with the resolution; the kernel asks to try again.
        if (errno != EINTR && errno != EAGAIN) {
            return FileDescriptor{};
        }
    }
}

[[noreturn]] void refuse_target(
    std::string_view url, std::string message, std::vector<std::string> actions
) {
    throw Error{
        ErrorKind::kContainerNotAccessible,
        ErrorText{
            .message = std::move(message),
            .target = std::string{url},
            .recommended_actions = std::move(actions),
        }
    };
}

/// Names inside a container are plain: this is for our own callers, names from requests are checked
/// before.
void require_plain_name(std::string_view name) {
    const bool plain = !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
                       name.find('/') == std::string_view::npos &&
                       name.find('\0') == std::string_view::npos;
    if (!plain) {
        throw Error{
            ErrorKind::kPluginInvalidInput,
            ErrorText{
                .message = fmt::format("\"{}\" is not the name of a file in a container.", name),
                .target = "filePrefix",
                .recommended_actions = {"Use a shorter file prefix without slashes."},
            }
        };
    }
}

FileDescriptor open_directory(const std::filesystem::path& path, std::string_view url) {
    FileDescriptor fd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!fd.valid()) {
        const int error_number = errno;
        refuse_target(
            url,
            fmt::format(
                "The directory behind the restore target \"{}\" cannot be opened: {}.",
                url,
                std::strerror(error_number
                )  // NOLINT(concurrency-mt-unsafe): glibc's is thread-safe.
            ),
            {"Create the directory that the server's configuration names, writable by the server's "
             "user."}
        );
    }
    return fd;
}

FileDescriptor open_subdirectory(
    FileDescriptor root, const std::string& relative, std::string_view url
) {
    if (relative.empty() || relative == ".") {
        return root;
    }
    FileDescriptor fd = open_beneath(root.get(), relative, O_RDONLY | O_DIRECTORY);
    if (fd.valid()) {
        return fd;
    }
    const int error_number = errno;
    const bool escapes = error_number == EXDEV || error_number == ELOOP;
    refuse_target(
        url,
        escapes ? fmt::format(
                      "The restore target \"{}\" leads out of its container: links and \"..\" are "
                      "refused.",
                      url
                  )
                : fmt::format(
                      "The directory of the restore target \"{}\" cannot be opened: {}.",
                      url,
                      std::strerror(error_number)  // NOLINT(concurrency-mt-unsafe)
                  ),
        {"Name an existing directory in the container, without links in its path."}
    );
}

std::string_view strip_slashes(std::string_view path) {
    while (!path.empty() && path.front() == '/') {
        path.remove_prefix(1);
    }
    while (!path.empty() && path.back() == '/') {
        path.remove_suffix(1);
    }
    return path;
}

std::string decode_path(std::string_view path, std::string_view url) {
    std::string decoded;
    try {
        decoded = percent_decode(path);
    } catch (const Error&) {
        refuse_target(
            url, fmt::format("The restore target \"{}\" has a broken percent escape.", url), {}
        );
    }
    if (std::any_of(decoded.begin(), decoded.end(), [](unsigned char c) { return c < 0x20; })) {
        refuse_target(
            url, "The restore target contains control characters.", {"Use a plain path."}
        );
    }
    return decoded;
}

/// What follows `origin` in `url`, when `url` begins with it at a path boundary.
std::optional<std::string_view> path_below(std::string_view url, std::string_view origin) {
    while (!origin.empty() && origin.back() == '/') {
        origin.remove_suffix(1);
    }
    if (origin.empty() || !starts_with_ignoring_case(url, origin)) {
        return std::nullopt;
    }
    const std::string_view rest = url.substr(origin.size());
    if (!rest.empty() && rest.front() != '/') {
        return std::nullopt;
    }
    return rest;
}

}  // namespace

ContainerOutput::ContainerOutput(std::shared_ptr<const FileDescriptor> directory, std::string name)
    : directory_{std::move(directory)}, name_{std::move(name)} {}

ContainerOutput::~ContainerOutput() {
    if (directory_ && !published_ && !temporary_name_.empty()) {
        ::unlinkat(directory_->get(), temporary_name_.c_str(), 0);
    }
}

void ContainerOutput::write(ByteSpan bytes) {
    write_all(file_.get(), bytes, name_);
    size_bytes_ += bytes.size();
}

void ContainerOutput::finish() {
    if (::fsync(file_.get()) != 0) {
        throw_errno("fsync", name_, errno);
    }
}

bool ContainerOutput::publish() {
    int result = 0;
    if (temporary_name_.empty()) {
        const std::string self = fmt::format("/proc/self/fd/{}", file_.get());
        result =
            ::linkat(AT_FDCWD, self.c_str(), directory_->get(), name_.c_str(), AT_SYMLINK_FOLLOW);
    } else {
        result = ::linkat(
            directory_->get(), temporary_name_.c_str(), directory_->get(), name_.c_str(), 0
        );
    }
    if (result != 0) {
        if (errno == EEXIST) {
            return false;
        }
        throw_errno("link", name_, errno);
    }
    if (!temporary_name_.empty()) {
        ::unlinkat(directory_->get(), temporary_name_.c_str(), 0);
    }
    published_ = true;
    return true;
}

void ContainerOutput::retract() noexcept {
    if (published_) {
        ::unlinkat(directory_->get(), name_.c_str(), 0);
        published_ = false;
        temporary_name_.clear();
    }
}

bool ContainerDirectory::exists(std::string_view name) const {
    require_plain_name(name);
    struct stat status{};
    const std::string file{name};
    if (::fstatat(fd_->get(), file.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
        return true;
    }
    if (errno != ENOENT) {
        throw_errno("stat", name, errno);
    }
    return false;
}

ContainerOutput ContainerDirectory::create(std::string_view name, unsigned mode) const {
    require_plain_name(name);
    ContainerOutput output{fd_, std::string{name}};
    output.file_ = FileDescriptor{::openat(fd_->get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode)};
    if (!output.file_.valid() && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
        output.temporary_name_ = fmt::format(".holdfast-{}.part", to_hex(random_array<8>()));
        output.file_ = FileDescriptor{::openat(
            fd_->get(),
            output.temporary_name_.c_str(),
            O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW,
            mode
        )};
    }
    if (!output.file_.valid()) {
        const int error_number = errno;
        output.temporary_name_.clear();
        if (error_number == EACCES || error_number == EPERM || error_number == EROFS) {
            refuse_target(
                url_,
                fmt::format(
                    "The server may not write into the restore target \"{}\": {}.",
                    url_,
                    std::strerror(error_number)  // NOLINT(concurrency-mt-unsafe)
                ),
                {"Give the user that runs Holdfast write permission on the target's directory."}
            );
        }
        throw_errno("create", name, error_number);
    }
    // The umask may have taken bits away; none may have been added.
    if (::fchmod(output.file_.get(), mode) != 0) {
        throw_errno("fchmod", name, errno);
    }
    return output;
}

std::vector<ContainerFile> ContainerDirectory::list() const {
    const int copy = ::openat(fd_->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) {
        throw_errno("open", url_, errno);
    }
    DIR* directory = ::fdopendir(copy);
    if (directory == nullptr) {
        const int error_number = errno;
        ::close(copy);
        throw_errno("opendir", url_, error_number);
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> closer{directory, &::closedir};
    std::vector<ContainerFile> files;
    while (const dirent* entry =
               ::readdir(directory)) {  // NOLINT(concurrency-mt-unsafe): own stream.
        const std::string name{static_cast<const char*>(entry->d_name)};
        struct stat status{};
        if (name.starts_with('.') ||
            ::fstatat(fd_->get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(status.st_mode)) {
            continue;
        }
        const auto since_epoch = std::chrono::seconds{status.st_mtim.tv_sec} +
                                 std::chrono::microseconds{status.st_mtim.tv_nsec / 1000};
        files.push_back(ContainerFile{
            .name = name,
            .size_bytes = static_cast<std::uint64_t>(status.st_size),
            .modified = Instant{since_epoch},
        });
    }
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) {
        return a.name < b.name;
    });
    return files;
}

std::optional<ContainerDownload> ContainerDirectory::open_file(std::string_view name) const {
    if (name.empty() || name.starts_with('.') || name.find('/') != std::string_view::npos ||
        name.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    // O_NONBLOCK: a FIFO of that name must not block the request.
    FileDescriptor fd =
        open_beneath(fd_->get(), std::string{name}, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    struct stat status{};
    if (!fd.valid() || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
        return std::nullopt;
    }
    return ContainerDownload{std::move(fd), static_cast<std::uint64_t>(status.st_size)};
}

void ContainerDirectory::sync() const {
    if (::fsync(fd_->get()) != 0) {
        throw_errno("fsync", url_, errno);
    }
}

std::uint64_t ContainerDirectory::free_bytes() const {
    struct statvfs status{};
    if (::fstatvfs(fd_->get(), &status) != 0) {
        throw_errno("statvfs", url_, errno);
    }
    return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

RestoreContainers::RestoreContainers(ContainerSettings settings) : settings_{std::move(settings)} {
    for (const NamedContainer& container : settings_.containers) {
        const bool valid = !container.name.empty() && container.name.size() <= 63 &&
                           std::all_of(container.name.begin(), container.name.end(), [](char c) {
                               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                      (c >= '0' && c <= '9') || c == '-' || c == '_';
                           });
        if (!valid) {
            throw Error{
                ErrorKind::kConfigInvalid,
                ErrorText{
                    .message = fmt::format(
                        "\"{}\" is not a name for a restore container.", container.name
                    ),
                    .target = "restore.containers",
                    .recommended_actions = {"Use 1 to 63 letters, digits, hyphens or underscores."},
                }
            };
        }
    }
}

const NamedContainer* RestoreContainers::find(std::string_view name) const noexcept {
    for (const NamedContainer& container : settings_.containers) {
        if (equal_ignoring_case(container.name, name)) {
            return &container;
        }
    }
    return nullptr;
}

ContainerDirectory RestoreContainers::open_container(std::string_view name) const {
    const NamedContainer* container = find(name);
    if (container == nullptr) {
        throw Error{
            ErrorKind::kResourceNotFound,
            ErrorText{
                .message = fmt::format("There is no restore container named \"{}\".", name),
                .target = std::string{name},
                .recommended_actions = {"Name one of the containers of the server's configuration."
                },
            }
        };
    }
    const std::string url = std::string{kRestorePath} + container->name;
    return ContainerDirectory{
        std::make_shared<const FileDescriptor>(open_directory(container->directory, url)), url
    };
}

ContainerDirectory RestoreContainers::open(std::string_view url) const {
    if (starts_with_ignoring_case(url, kFileScheme)) {
        return open_file_url(url);
    }
    for (const NamedContainer& container : settings_.containers) {
        for (const std::string& alias : container.url_aliases) {
            if (equal_ignoring_case(strip_slashes(alias), strip_slashes(url))) {
                return ContainerDirectory{
                    std::make_shared<const FileDescriptor>(open_directory(container.directory, url)
                    ),
                    std::string{url}
                };
            }
        }
    }
    std::optional<std::string_view> path;
    if (url.starts_with(kRestorePath)) {
        path = url;
    }
    for (const std::string& origin : settings_.origins) {
        if (!path) {
            path = path_below(url, origin);
        }
    }
    if (path && starts_with_ignoring_case(*path, kRestorePath)) {
        const std::string inside =
            decode_path(strip_slashes(path->substr(kRestorePath.size())), url);
        const std::size_t slash = inside.find('/');
        const NamedContainer* container = find(std::string_view{inside}.substr(0, slash));
        if (container != nullptr) {
            const std::string relative = slash == std::string::npos ? "" : inside.substr(slash + 1);
            FileDescriptor directory =
                open_subdirectory(open_directory(container->directory, url), relative, url);
            return ContainerDirectory{
                std::make_shared<const FileDescriptor>(std::move(directory)), std::string{url}
            };
        }
    }
    std::vector<std::string> names;
    for (const NamedContainer& container : settings_.containers) {
        names.push_back(container.name);
    }
    refuse_target(
        url,
        fmt::format("The restore target \"{}\" is not one that this server may write to.", url),
        {names.empty() ? std::string{"The server has no restore container. Add one to its "
                                     "configuration and start it "
                                     "again: [[restore.containers]] name = \"files\" directory = "
                                     "\"/srv/holdfast/restore\"."}
                       : fmt::format(
                             "Use https://<this server>/restore/<container> with one of: {}.",
                             join(names, ", ")
                         )}
    );
}

ContainerDirectory RestoreContainers::open_file_url(std::string_view url) const {
    // file:///path or file://localhost/path.
    std::string_view rest = url.substr(kFileScheme.size());
    if (starts_with_ignoring_case(rest, "localhost/")) {
        rest.remove_prefix(std::string_view{"localhost"}.size());
    }
    const std::string path = decode_path(rest, url);
    if (path.empty() || path.front() != '/') {
        refuse_target(
            url,
            fmt::format("The restore target \"{}\" must be an absolute path: file:///…", url),
            {"Use file:// followed by an absolute path."}
        );
    }
    for (const std::filesystem::path& root : settings_.file_roots) {
        std::string prefix = root.lexically_normal().string();
        while (prefix.size() > 1 && prefix.back() == '/') {
            prefix.pop_back();
        }
        const bool below =
            path.starts_with(prefix) &&
            (path.size() == prefix.size() || path[prefix.size()] == '/' || prefix == "/");
        if (!below) {
            continue;
        }
        const std::string relative{strip_slashes(std::string_view{path}.substr(prefix.size()))};
        FileDescriptor directory = open_subdirectory(open_directory(root, url), relative, url);
        return ContainerDirectory{
            std::make_shared<const FileDescriptor>(std::move(directory)), std::string{url}
        };
    }
    refuse_target(
        url,
        fmt::format("The restore target \"{}\" is not beneath a configured restore root.", url),
        {"Use a path beneath one of the roots of the server's configuration ([restore] file_roots)."
        }
    );
}

void check_file_prefix(std::string_view prefix) {
    const auto refuse = [&](std::string_view why) {
        throw Error{
            ErrorKind::kPluginInvalidInput,
            ErrorText{
                .message = fmt::format("filePrefix cannot be used: {}.", why),
                .target = "restoreTargetInfo.targetDetails.filePrefix",
                .recommended_actions = {"Use 1 to 100 letters, digits, blanks, dots, hyphens or "
                                        "underscores, not beginning "
                                        "with a dot or a hyphen."},
            }
        };
    };
    if (prefix.empty()) {
        refuse("it is empty");
    }
    if (prefix.size() > kFilePrefixBytesMax) {
        refuse(fmt::format("it is longer than {} bytes", kFilePrefixBytesMax));
    }
    if (prefix.find_first_of("/\\") != std::string_view::npos) {
        refuse("it contains a slash or a backslash");
    }
    if (prefix.find("..") != std::string_view::npos) {
        refuse("it contains \"..\"");
    }
    if (prefix.front() == '.' || prefix.front() == '-') {
        refuse("it begins with a dot or a hyphen");
    }
    const bool control = std::any_of(prefix.begin(), prefix.end(), [](unsigned char c) {
        return c < 0x20 || c == 0x7f;
    });
    if (control) {
        refuse("it contains control characters");
    }
}

}  // namespace holdfast::jobs
