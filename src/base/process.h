#pragma once

#include "base/bytes.h"
#include "base/file.h"
#include "base/secret.h"

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace holdfast {

enum class ChildStream {
    kNull,  ///< /dev/null
    kPipe,  ///< Connected to the Process object.
};

/// An open file that the child gets under a number of its own, e.g. a memory file with a password.
struct PassedFile {
    int source = -1;  ///< Borrowed; must stay open until start() returns.
    int number = 3;   ///< The child's number, 3 or above.
};

struct ProcessSpec {
    std::filesystem::path program;  ///< Absolute; PATH is not searched.
    std::vector<std::string>
        arguments;  ///< Without argv[0]. Never a secret: every user of the machine can read it.
    std::map<std::string, std::string> environment;  ///< The whole of it: nothing is inherited.
    ChildStream input = ChildStream::kNull;
    ChildStream output = ChildStream::kNull;
    std::vector<PassedFile> files;
    std::size_t error_bytes_max =
        64 * kKiB;  ///< Of standard error, the first and the last half of this are kept.
    std::chrono::milliseconds stop_grace{5000};  ///< From SIGTERM to SIGKILL.
};

struct ExitStatus {
    int code = 0;    ///< Exit code, when it exited.
    int signal = 0;  ///< The signal that ended it, or 0.
    [[nodiscard]] bool ok() const noexcept { return code == 0 && signal == 0; }
    /// `exit code 1`, `signal 9 (Killed)`.
    [[nodiscard]] std::string describe() const;
};

/// Sets SIGPIPE to ignored in this process, unless it has a handler: whoever writes to a closed
/// pipe or socket gets an error instead. For libraries that write without MSG_NOSIGNAL. Any thread.
void ignore_broken_pipes();

/// One child process. It inherits no descriptor but those named, no environment, default signal
/// handling and an empty signal mask, and is the leader of its own process group (a Ctrl-C at our
/// terminal is ours to act on). It is always reaped: the destructor terminates it, waits
/// `stop_grace`, kills it, and waits. Only ever signalled through its pidfd, so a recycled number
/// is never hit. Standard error is drained by a thread of its own.
///
/// The read, write and wait functions may be called from different threads; one thread each at a
/// time. Starting the first process ignores broken pipes in this one.
class Process {
public:
    /// Throws kInternal, naming the program, when it can't be started.
    [[nodiscard]] static Process start(const ProcessSpec& spec);

    Process(Process&&) noexcept;
    Process& operator=(Process&&) noexcept;
    ~Process();

    [[nodiscard]] pid_t pid() const noexcept;

    /// Blocks for the next bytes of standard output; 0 at its end. Throws kCancelled when `stop` is
    /// requested.
    [[nodiscard]] std::size_t read_output(MutableByteSpan out, std::stop_token stop);

    enum class WriteOutcome { kWritten, kClosed };
    /// Blocks until all of `bytes` is in the child's standard input. kClosed when the child has
    /// closed it: wait() says why. Throws kCancelled when `stop` is requested.
    WriteOutcome write_input(ByteSpan bytes, std::stop_token stop);
    /// The child sees the end of its input.
    void close_input() noexcept;
    /// The child's writes fail from now on.
    void close_output() noexcept;

    /// Waits for the end. When `stop` is requested: SIGTERM, after `stop_grace` SIGKILL, and then
    /// returns the status.
    ExitStatus wait(std::stop_token stop);
    /// Asks the child to end (SIGTERM). Does not wait. Safe from any thread.
    void terminate() noexcept;

    /// What it wrote to standard error (the middle is left out when there was more than
    /// `error_bytes_max`). Complete after wait().
    [[nodiscard]] std::string standard_error() const;

private:
    struct State;
    explicit Process(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

struct RunResult {
    ExitStatus status;
    std::string output;
    std::string error;
};

/// Runs to the end and collects standard output, at most `output_bytes_max` (kPayloadTooLarge above
/// it). Throws kCancelled when stopped.
[[nodiscard]] RunResult run_process(
    const ProcessSpec& spec, std::size_t output_bytes_max, std::stop_token stop
);

/// An anonymous file in memory, mode 0600, close-on-exec, positioned at its start. Passing it to a
/// child under number N makes it readable there as /proc/self/fd/N.
[[nodiscard]] FileDescriptor make_memory_file(std::string_view name, ByteSpan contents);

/// Turns a stop request into a readable descriptor, so that poll() can wait for it beside others.
class StopEvent {
public:
    explicit StopEvent(std::stop_token stop);
    ~StopEvent();
    StopEvent(const StopEvent&) = delete;
    StopEvent& operator=(const StopEvent&) = delete;
    [[nodiscard]] int descriptor() const noexcept;
    [[nodiscard]] bool stop_requested() const noexcept;

private:
    struct Signal;
    std::stop_token stop_;
    std::unique_ptr<Signal> signal_;
};

}  // namespace holdfast
