#pragma once

#include "base/process.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <sys/types.h>

// A restored cluster runs its owner's code: whoever was a superuser of the source decides what
// happens in it. Its programs therefore run in a sandbox (bubblewrap), or not at all.
//
// Inside there are: /usr, read-only; the sandbox's own directory as /cluster, writable; a /tmp and
// a /dev/shm of a few MiB; the harmless devices. There are not: the network (a network namespace
// with nothing in it), other processes, System V objects and message queues of the host, /proc,
// /sys, /etc, /home, /var, the rest of the disk, any privilege, a way to get one (no new
// privileges, no new user namespaces, a system call filter).
//
// Whose uid: a service that runs as root gives the programs a uid of their own, which nobody else
// has, with no capability left. One that runs as another user can't change uid; the programs run as
// the same user in a user namespace, without a view of the service's files and processes.

namespace holdfast::postgres {

/// What all programs of one sandbox together may use.
struct SandboxLimits {
    std::uint64_t memory_bytes = 4 * kGiB;
    std::size_t processes = 128;
    /// How much the sandbox's directory may grow.
    std::uint64_t disk_bytes = 16 * kGiB;
    /// The file system that the directory is in keeps at least this much free.
    std::uint64_t disk_free_bytes = 512 * kMiB;
    std::chrono::seconds time = std::chrono::hours{6};
};

struct SandboxOptions {
    std::filesystem::path bubblewrap = "/usr/bin/bwrap";
    /// For a service that runs as root: the uid of the programs, never 0. Absent: one that no user
    /// of this machine has, different for each sandbox.
    std::optional<uid_t> uid = {};
    SandboxLimits limits = {};
};

enum class SandboxIsolation {
    kOwnUser,        ///< A uid of its own and no capabilities.
    kUserNamespace,  ///< The service's uid in a user namespace.
};

/// Starts programs around one directory. Immutable: safe from any thread. What rlimits can't hold
/// (memory and disk of all together, time) is held by SandboxWatch.
class Sandbox {
public:
    /// Tries the sandbox out with a program that does nothing. Throws kSandboxUnavailable, with
    /// what to install or to enable, when it can't be had. `directory` belongs to the programs and
    /// is where they may write; it is owned by uid() when this returns (not what it contains).
    /// `visible` are directories beside /usr that the programs need to read (PostgreSQL elsewhere).
    Sandbox(
        std::filesystem::path directory,
        SandboxOptions options,
        std::vector<std::filesystem::path> visible = {}
    );

    /// Starts `spec.program` (a path as seen inside) in the sandbox. It ends with the thread that
    /// starts it, and with the process that is returned: that is bubblewrap, and a signal to it is
    /// the end of everything inside. The environment is LC_ALL=C, TZ=UTC and a PATH;
    /// `spec.environment` and `spec.files` must be empty.
    [[nodiscard]] Process start(const ProcessSpec& spec) const;
    /// As run_process.
    [[nodiscard]] RunResult run(
        const ProcessSpec& spec, std::size_t output_bytes_max, const std::stop_token& stop
    ) const;

    [[nodiscard]] SandboxIsolation isolation() const noexcept { return isolation_; }
    [[nodiscard]] uid_t uid() const noexcept { return uid_; }
    [[nodiscard]] const SandboxOptions& options() const noexcept { return options_; }
    [[nodiscard]] const std::filesystem::path& directory() const noexcept { return directory_; }
    /// `directory` as the programs see it.
    [[nodiscard]] static std::filesystem::path inside() { return "/cluster"; }

    /// Gives the directory and everything in it to uid(), without following links. Nothing to do
    /// for kUserNamespace.
    void take_ownership() const;

private:
    void try_out() const;
    [[nodiscard]] std::vector<std::string> arguments() const;
    [[nodiscard]] std::vector<std::string> mounts() const;
    /// Calls `use` with the spec that starts `spec` in the sandbox.
    void with_command(
        const ProcessSpec& spec, const std::function<void(const ProcessSpec&)>& use
    ) const;

    std::filesystem::path directory_;
    SandboxOptions options_;
    std::vector<std::filesystem::path> visible_;
    SandboxIsolation isolation_;
    uid_t uid_ = 0;
};

/// Whether a child of this process has ended. It is not waited for.
[[nodiscard]] bool child_has_ended(pid_t process) noexcept;

}  // namespace holdfast::postgres
