#pragma once

#include "base/bytes.h"
#include "base/secret.h"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

/// Owns one file descriptor. Move-only; closes in the destructor (errors ignored: whoever needs
/// durability calls sync() and then close()).
class FileDescriptor {
public:
    FileDescriptor() = default;
    explicit FileDescriptor(int fd) noexcept : fd_{fd} {}
    FileDescriptor(FileDescriptor&& other) noexcept : fd_{other.release()} {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept;
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() { reset(); }

    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }
    [[nodiscard]] int release() noexcept;
    void reset() noexcept;

private:
    int fd_ = -1;
};

/// Writes all of `bytes`; throws kStoreFull, kStoreDenied or kInternal naming `name`.
void write_all(int fd, ByteSpan bytes, std::string_view name);
/// Reads until `out` is full or the end; returns how much was read.
[[nodiscard]] std::size_t read_up_to(int fd, MutableByteSpan out, std::string_view name);

/// The whole file, or nothing when it does not exist. Throws kPayloadTooLarge above `size_max`
/// bytes.
[[nodiscard]] std::optional<std::string> read_file(
    const std::filesystem::path& path, std::size_t size_max
);
/// As read_file, for key files and passwords: opened without following a link. Throws
/// kKeyPermissions when the file is not owned by this user (or root) or when group or others have
/// any right to it.
[[nodiscard]] std::optional<Secret> read_secret_file(
    const std::filesystem::path& path, std::size_t size_max
);

enum class Overwrite { kNo, kYes };
/// Writes a temporary file beside `path`, syncs it, renames it into place and syncs the directory.
/// With kNo an existing file is left alone and false returned. When this returns, the file survives
/// power loss.
bool write_file_durably(
    const std::filesystem::path& path, ByteSpan bytes, unsigned mode, Overwrite overwrite
);
/// Makes the directory and its missing parents with `mode`; each new entry survives power loss.
void make_directory_durably(const std::filesystem::path& path, unsigned mode);
void sync_directory(const std::filesystem::path& path);

/// An advisory lock held until destruction; nothing when another process holds it.
[[nodiscard]] std::optional<FileDescriptor> try_lock_file(const std::filesystem::path& path);

/// A fresh directory (mode 0700) below the system's temporary directory, removed with its contents
/// when destroyed.
class TemporaryDirectory {
public:
    explicit TemporaryDirectory(std::string_view prefix);
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace holdfast
