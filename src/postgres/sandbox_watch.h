#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "postgres/sandbox.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>

#include <sys/types.h>

namespace holdfast::postgres {

/// Holds a sandbox to those of its limits that the kernel does not hold for a group of processes:
/// memory and disk of all together, and time. Looks several times a second, on a thread of its own,
/// from construction to destruction; when a limit is passed, stop_token() is requested, and whoever
/// waits for a program of the sandbox with it ends the program.
///
/// Disk: the growth of the directory since construction, files included that are open and have no
/// name any more. Between two looks a program can write for a quarter of a second; the free space
/// that is to remain is the second line.
///
/// Safe from any thread.
class SandboxWatch {
public:
    /// `caller` is passed on to stop_token(). `sandbox` and `clock` outlive this.
    SandboxWatch(const Sandbox& sandbox, Clock& clock, std::stop_token caller);
    ~SandboxWatch();
    SandboxWatch(const SandboxWatch&) = delete;
    SandboxWatch& operator=(const SandboxWatch&) = delete;

    [[nodiscard]] std::stop_token stop_token() const noexcept;
    /// The process (bubblewrap) below which memory is counted from now on; 0: none.
    void follow(pid_t process) noexcept;

    /// What was passed: kScratchLimitExceeded; or kCancelled when the caller asked to stop; or
    /// nothing.
    [[nodiscard]] std::optional<Error> reason() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Bytes on disk of everything below the directory. Nothing when a part of it can't be read.
[[nodiscard]] std::optional<std::uint64_t> disk_usage(const std::filesystem::path& directory);

}  // namespace holdfast::postgres
