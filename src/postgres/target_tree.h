#pragma once

#include "base/bytes.h"
#include "base/file.h"
#include "postgres/cluster_restore.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <sys/stat.h>

namespace holdfast::postgres {

/// Throws kRestoreTargetFull, kContainerNotAccessible, kRestoreTargetExists (something else is in
/// the way) or kInternal.
[[noreturn]] void throw_target_errno(
    std::string_view what, const std::filesystem::path& path, int error_number
);

/// A directory to write below, without ever following a link: whoever owns a directory that is
/// restored onto must not lead a privileged restore elsewhere. Paths are relative to it, without
/// `..`.
///
/// Threads: safe from any.
class TargetTree {
public:
    /// The directory itself may be reached through links. Throws as throw_target_errno().
    [[nodiscard]] static TargetTree open(
        const std::filesystem::path& root, std::optional<FileOwner> owner
    );

    [[nodiscard]] const std::filesystem::path& root() const noexcept { return root_; }
    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }

    /// What there is; nothing when nothing.
    [[nodiscard]] std::optional<struct stat> look(const std::string& path) const;
    /// An existing directory is left as it is but for mode and owner; anything else is replaced.
    void make_directory(const std::string& path, mode_t mode) const;
    void make_link(const std::string& path, const std::string& target) const;
    /// With the flags of open(2) besides O_NOFOLLOW and O_CLOEXEC; `mode` for O_CREAT. Invalid when
    /// it does not exist, or is no regular file.
    [[nodiscard]] FileDescriptor open_file(const std::string& path, int flags, mode_t mode) const;
    /// Sets mode and owner where they differ.
    void give(int fd, const std::string& path, mode_t mode) const;
    /// Writes a whole file anew.
    void write_file(const std::string& path, ByteSpan bytes, mode_t mode) const;
    /// Nothing when it does not exist. REQUIRES: a small file.
    [[nodiscard]] std::optional<std::string> read_file(const std::string& path) const;
    void rename(const std::string& from, const std::string& to) const;
    /// With all that is below it. Returns how many files and directories went.
    std::uint64_t remove(const std::string& path) const;
    /// Calls `visit` with each entry below `path` (empty: the root), depth first, parents first.
    /// Below what `visit` returns false for is not looked.
    void walk(
        const std::string& path,
        const std::function<bool(const std::string& path, const struct stat& status)>& visit
    ) const;
    /// All that was written below this directory survives power loss when this returns. (And
    /// whatever else lies in its filesystem.)
    void sync() const;
    void sync_directory(const std::string& path) const;

private:
    TargetTree(std::filesystem::path root, FileDescriptor fd, std::optional<FileOwner> owner)
        : root_{std::move(root)}, fd_{std::move(fd)}, owner_{owner} {}

    struct Place {
        FileDescriptor parent;  ///< Invalid: a directory on the way does not exist.
        std::string name;
    };
    [[nodiscard]] FileDescriptor open_directory(const std::string& path) const;
    [[nodiscard]] Place place_of(const std::string& path) const;
    [[nodiscard]] Place require_place(const std::string& path) const;
    void own(int parent, const std::string& name, const std::string& path) const;

    std::filesystem::path root_;
    FileDescriptor fd_;
    std::optional<FileOwner> owner_;
};

}  // namespace holdfast::postgres
