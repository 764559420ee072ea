#pragma once

#include "base/file.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace holdfast::postgres {

/// A directory for one scratch server below `parent`, mode 0700, locked while this lives and
/// removed with everything in it by the destructor.
///
///     <parent>/scratch-<id>/lock
///     <parent>/scratch-<id>/private/    ours: the server's socket, once it is known to be one
///     <parent>/scratch-<id>/dump/       ours: what is on its way from the scratch server elsewhere
///     <parent>/scratch-<id>/cluster/    the server's, and all that it sees:
///         data/                         the data directory
///         tablespaces/<oid>/
///         socket/
class ScratchDirectory {
public:
    /// Makes `parent` when it is missing. Throws kStoreDenied, kStoreFull; kInvalidParameter when
    /// `parent` is so long that a socket in it has no name.
    explicit ScratchDirectory(const std::filesystem::path& parent);
    ~ScratchDirectory();
    ScratchDirectory(const ScratchDirectory&) = delete;
    ScratchDirectory& operator=(const ScratchDirectory&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    [[nodiscard]] std::filesystem::path cluster() const { return path_ / "cluster"; }
    /// What a restore fills: made here, empty.
    [[nodiscard]] std::filesystem::path data() const { return cluster() / "data"; }
    [[nodiscard]] std::filesystem::path tablespaces() const { return cluster() / "tablespaces"; }
    /// Where that tablespace goes. Made by whoever restores it.
    [[nodiscard]] std::filesystem::path tablespace(std::uint32_t oid) const;
    [[nodiscard]] std::filesystem::path socket() const { return cluster() / "socket"; }
    [[nodiscard]] std::filesystem::path dump() const { return path_ / "dump"; }
    [[nodiscard]] std::filesystem::path private_directory() const { return path_ / "private"; }

    /// Removes those that a crashed service left below `parent`. Returns how many.
    static std::size_t remove_leftovers(const std::filesystem::path& parent);

private:
    std::filesystem::path path_;
    FileDescriptor lock_;
};

}  // namespace holdfast::postgres
