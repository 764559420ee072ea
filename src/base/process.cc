#include "base/process.h"

#include "base/error.h"
#include "base/threads.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace holdfast {
namespace {

/// The default 64 KiB of a pipe means a switch between parent and child every 64 KiB. 1 MiB is what
/// an unprivileged user may ask for (fs.pipe-max-size); when refused, the default does.
constexpr int kPipeBytes = 1 << 20;

/// Descriptors handed to a child are first moved above this, so that putting one in place never
/// overwrites another that is still to be placed.
constexpr int kDescriptorBase = 100;

[[noreturn]] void fail(std::string_view call, std::string_view what, int number) {
    throw_errno(call, what, number);
}

// <sys/pidfd.h> of glibc 2.36 declares these without C linkage, so C++ can't link them.
int open_pidfd(pid_t pid) {
    return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}
void signal_pidfd(int pidfd, int number) {
    syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0);
}

struct Pipe {
    FileDescriptor read;
    FileDescriptor write;
};

Pipe make_pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
        fail("pipe2", "a child's pipe", errno);
    }
    fcntl(ends[0], F_SETPIPE_SZ, kPipeBytes);
    return {FileDescriptor{ends[0]}, FileDescriptor{ends[1]}};
}

FileDescriptor duplicate_high(int fd, std::string_view what) {
    FileDescriptor high{fcntl(fd, F_DUPFD_CLOEXEC, kDescriptorBase)};
    if (!high.valid()) {
        fail("fcntl", what, errno);
    }
    return high;
}

void set_nonblocking(int fd) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        fail("fcntl", "a child's pipe", errno);
    }
}

class FileActions {
public:
    FileActions() {
        if (const int number = posix_spawn_file_actions_init(&actions_); number != 0) {
            fail("posix_spawn_file_actions_init", "a child", number);
        }
    }
    ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
    FileActions(const FileActions&) = delete;
    FileActions& operator=(const FileActions&) = delete;

    void place(int source, int number) {
        check(posix_spawn_file_actions_adddup2(&actions_, source, number), "dup2");
    }
    void open_null(int number, int flags) {
        check(posix_spawn_file_actions_addopen(&actions_, number, "/dev/null", flags, 0), "open");
    }
    void close(int number) { check(posix_spawn_file_actions_addclose(&actions_, number), "close"); }
    void close_from(int number) {
        check(posix_spawn_file_actions_addclosefrom_np(&actions_, number), "closefrom");
    }
    [[nodiscard]] const posix_spawn_file_actions_t* get() const { return &actions_; }

private:
    static void check(int number, std::string_view call) {
        if (number != 0) {
            fail(call, "a child's descriptors", number);
        }
    }
    posix_spawn_file_actions_t actions_{};
};

class SpawnAttributes {
public:
    SpawnAttributes() {
        posix_spawnattr_init(&attributes_);
        sigset_t none;
        sigemptyset(&none);
        posix_spawnattr_setsigmask(&attributes_, &none);
        sigset_t all;
        sigfillset(&all);
        posix_spawnattr_setsigdefault(&attributes_, &all);
        posix_spawnattr_setpgroup(&attributes_, 0);
        constexpr int kFlags =
            POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
        posix_spawnattr_setflags(&attributes_, static_cast<short>(kFlags));
    }
    ~SpawnAttributes() { posix_spawnattr_destroy(&attributes_); }
    SpawnAttributes(const SpawnAttributes&) = delete;
    SpawnAttributes& operator=(const SpawnAttributes&) = delete;
    [[nodiscard]] const posix_spawnattr_t* get() const { return &attributes_; }

private:
    posix_spawnattr_t attributes_{};
};

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    pointers.reserve(texts.size() + 1);
    for (std::string& text : texts) {
        pointers.push_back(text.data());
    }
    pointers.push_back(nullptr);
    return pointers;
}

void require_no_nul(const ProcessSpec& spec) {
    for (const std::string& argument : spec.arguments) {
        if (argument.find('\0') != std::string::npos) {
            throw Error{ErrorKind::kInvalidParameter, "A program's argument holds a NUL byte."};
        }
    }
}

/// Keeps the first and the last half of what passes through.
class BoundedText {
public:
    explicit BoundedText(std::size_t size_max) : half_{std::max<std::size_t>(size_max / 2, 1)} {}

    void append(std::string_view text) {
        const std::size_t to_head = std::min(half_ - head_.size(), text.size());
        head_.append(text.substr(0, to_head));
        tail_.append(text.substr(to_head));
        if (tail_.size() > 2 * half_) {
            dropped_ += tail_.size() - half_;
            tail_.erase(0, tail_.size() - half_);
        }
    }
    [[nodiscard]] std::string str() const {
        if (tail_.size() <= half_ && dropped_ == 0) {
            return head_ + tail_;
        }
        const std::size_t cut = tail_.size() > half_ ? tail_.size() - half_ : 0;
        return fmt::format("{}\n[{} bytes left out]\n{}", head_, dropped_ + cut, tail_.substr(cut));
    }

private:
    std::size_t half_;
    std::string head_;
    std::string tail_;
    std::size_t dropped_ = 0;
};

enum class Ready { kYes, kStopped, kTimeout };

/// Waits until `fd` has one of `events`, is hung up, `stop` is signalled, or the time is over
/// (negative: never).
Ready wait_ready(int fd, short events, const StopEvent* stop, int timeout_ms) {
    while (true) {
        std::array<pollfd, 2> polled{
            pollfd{fd, events, 0}, pollfd{stop != nullptr ? stop->descriptor() : -1, POLLIN, 0}
        };
        const int count = poll(polled.data(), polled.size(), timeout_ms);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            fail("poll", "a child", errno);
        }
        if (polled[1].revents != 0) {
            return Ready::kStopped;
        }
        return count == 0 ? Ready::kTimeout : Ready::kYes;
    }
}

[[noreturn]] void throw_cancelled(const std::string& program) {
    throw Error{ErrorKind::kCancelled, fmt::format("{} was stopped by request.", program)};
}

}  // namespace

// ---- StopEvent

struct StopEvent::Signal {
    explicit Signal(std::stop_token stop)
        : event{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)},
          callback{std::move(stop), [this] { raise(); }} {}
    void raise() const noexcept {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = ::write(event.get(), &one, sizeof one);
    }
    FileDescriptor event;
    std::stop_callback<std::function<void()>> callback;
};

StopEvent::StopEvent(std::stop_token stop) : stop_{std::move(stop)} {
    if (stop_.stop_possible() || stop_.stop_requested()) {
        signal_ = std::make_unique<Signal>(stop_);
        if (!signal_->event.valid()) {
            fail("eventfd", "a stop event", errno);
        }
    }
}
StopEvent::~StopEvent() = default;
int StopEvent::descriptor() const noexcept {
    return signal_ ? signal_->event.get() : -1;
}
bool StopEvent::stop_requested() const noexcept {
    return stop_.stop_requested();
}

// ---- ExitStatus

std::string ExitStatus::describe() const {
    if (signal != 0) {
        const char* name = sigdescr_np(signal);
        return fmt::format("signal {} ({})", signal, name != nullptr ? name : "unknown");
    }
    return fmt::format("exit code {}", code);
}

// ---- Process

struct Process::State {
    std::string name;
    pid_t pid = -1;
    FileDescriptor pidfd;
    FileDescriptor input;
    FileDescriptor output;
    std::chrono::milliseconds stop_grace{};
    std::optional<ExitStatus> status;

    mutable std::mutex error_mutex;
    std::condition_variable error_changed;
    bool error_done = false;
    BoundedText error_text{0};
    std::jthread error_reader;

    /// One event per use would cost a descriptor per block read; the token is the same from call to
    /// call.
    std::optional<std::pair<std::stop_token, StopEvent>> output_stop;
    std::optional<std::pair<std::stop_token, StopEvent>> input_stop;

    void signal(int number) const noexcept {
        if (pidfd.valid()) {
            signal_pidfd(pidfd.get(), number);
        }
    }

    void drain_errors(FileDescriptor pipe, const std::stop_token& stop) {
        const StopEvent event{stop};
        std::array<char, 4096> buffer{};
        while (wait_ready(pipe.get(), POLLIN, &event, -1) == Ready::kYes) {
            const ssize_t count = ::read(pipe.get(), buffer.data(), buffer.size());
            if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
                continue;
            }
            if (count <= 0) {
                return;
            }
            const std::lock_guard lock{error_mutex};
            error_text.append({buffer.data(), static_cast<std::size_t>(count)});
        }
    }

    void reap() {
        siginfo_t info{};
        while (waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED) != 0) {
            if (errno != EINTR) {
                fail("waitid", name, errno);
            }
        }
        ExitStatus result;
        if (info.si_code == CLD_EXITED) {
            result.code = info.si_status;
        } else {
            result.signal = info.si_status;
        }
        status = result;
        finish_errors();
    }

    /// A grandchild may hold standard error open after the child is gone: what is there is read,
    /// then it is over.
    void finish_errors() {
        if (!error_reader.joinable()) {
            return;
        }
        constexpr std::chrono::milliseconds kLinger{500};
        {
            std::unique_lock lock{error_mutex};
            error_changed.wait_for(lock, kLinger, [this] { return error_done; });
        }
        error_reader.request_stop();
        error_reader.join();
    }
};

Process::Process(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&& other) noexcept {
    Process old{std::move(*this)};
    state_ = std::move(other.state_);
    return *this;
}

Process::~Process() {
    if (!state_ || state_->status) {
        return;
    }
    // Nobody waited, so something failed on our side.
    state_->input.reset();
    state_->output.reset();
    state_->signal(SIGTERM);
    run_boundary(
        [this] {
            if (wait_ready(
                    state_->pidfd.get(),
                    POLLIN,
                    nullptr,
                    static_cast<int>(state_->stop_grace.count())
                ) != Ready::kYes) {
                state_->signal(SIGKILL);
            }
            state_->reap();
        },
        [](const Error&) {}
    );
}

namespace {

/// The descriptors of a child to be: which of ours it gets, and our ends of its pipes.
class ChildDescriptors {
public:
    explicit ChildDescriptors(const ProcessSpec& spec) : name_{spec.program.filename().string()} {
        if (spec.input == ChildStream::kPipe) {
            Pipe pipe = make_pipe();
            place(pipe.read.get(), STDIN_FILENO);
            input = std::move(pipe.write);
            set_nonblocking(input.get());
        } else {
            actions_.open_null(STDIN_FILENO, O_RDONLY);
        }
        if (spec.output == ChildStream::kPipe) {
            output = read_end(STDOUT_FILENO);
        } else {
            actions_.open_null(STDOUT_FILENO, O_WRONLY);
        }
        error = read_end(STDERR_FILENO);
        place_files(spec.files);
    }

    [[nodiscard]] const posix_spawn_file_actions_t* actions() const { return actions_.get(); }

    FileDescriptor input;
    FileDescriptor output;
    FileDescriptor error;

private:
    void place(int source, int number) {
        high_.push_back(duplicate_high(source, name_));
        actions_.place(high_.back().get(), number);
    }
    FileDescriptor read_end(int number) {
        Pipe pipe = make_pipe();
        place(pipe.write.get(), number);
        set_nonblocking(pipe.read.get());
        return std::move(pipe.read);
    }
    void place_files(const std::vector<PassedFile>& files) {
        std::set<int> taken;
        for (const PassedFile& file : files) {
            HOLDFAST_CHECK(file.number > STDERR_FILENO && file.number < kDescriptorBase);
            place(file.source, file.number);
            taken.insert(file.number);
        }
        const int number_max = taken.empty() ? STDERR_FILENO : *taken.rbegin();
        for (int number = STDERR_FILENO + 1; number < number_max; ++number) {
            if (!taken.contains(number)) {
                actions_.close(number);
            }
        }
        actions_.close_from(number_max + 1);
    }

    std::string name_;
    FileActions actions_;
    std::vector<FileDescriptor> high_;  ///< Open until the child has them.
};

pid_t spawn(const ProcessSpec& spec, const ChildDescriptors& descriptors) {
    std::vector<std::string> arguments{spec.program.string()};
    arguments.insert(arguments.end(), spec.arguments.begin(), spec.arguments.end());
    std::vector<std::string> environment;
    for (const auto& [name, value] : spec.environment) {
        environment.push_back(name + "=" + value);
    }
    const SpawnAttributes attributes;
    pid_t pid = -1;
    const int number = posix_spawn(
        &pid,
        spec.program.c_str(),
        descriptors.actions(),
        attributes.get(),
        pointers_to(arguments).data(),
        pointers_to(environment).data()
    );
    if (number != 0) {
        throw Error{
            ErrorKind::kInternal,
            {.message = fmt::format(
                 "{} could not be started: {}.", spec.program.string(), strerror(number)
             ),
             .target = spec.program.string()}
        };
    }
    return pid;
}

}  // namespace

void ignore_broken_pipes() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action{};
        if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
            action.sa_handler = SIG_IGN;
            sigaction(SIGPIPE, &action, nullptr);
        }
    });
}

Process Process::start(const ProcessSpec& spec) {
    ignore_broken_pipes();  // A child that ends early must not take this process with it.
    require_no_nul(spec);
    auto state = std::make_unique<State>();
    state->name = spec.program.filename().string();
    state->stop_grace = spec.stop_grace;
    state->error_text = BoundedText{spec.error_bytes_max};
    ChildDescriptors descriptors{spec};
    state->input = std::move(descriptors.input);
    state->output = std::move(descriptors.output);

    const pid_t pid = spawn(spec, descriptors);
    state->pid = pid;
    state->pidfd = FileDescriptor{open_pidfd(pid)};
    if (!state->pidfd.valid()) {
        const int open_error = errno;
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        fail("pidfd_open", state->name, open_error);
    }
    Process process{std::move(state)};
    State* const raw = process.state_.get();
    raw->error_reader =
        std::jthread{[raw,
                      pipe = std::move(descriptors.error)](const std::stop_token& stop) mutable {
            name_this_thread("child-stderr");
            run_boundary([&] { raw->drain_errors(std::move(pipe), stop); }, [](const Error&) {});
            {
                const std::lock_guard lock{raw->error_mutex};
                raw->error_done = true;
            }
            raw->error_changed.notify_all();
        }};
    return process;
}

pid_t Process::pid() const noexcept {
    return state_->pid;
}

namespace {
const StopEvent& event_for(
    std::optional<std::pair<std::stop_token, StopEvent>>& cached, const std::stop_token& stop
) {
    if (!cached || !(cached->first == stop)) {
        cached.reset();
        cached.emplace(
            std::piecewise_construct, std::forward_as_tuple(stop), std::forward_as_tuple(stop)
        );
    }
    return cached->second;
}
}  // namespace

std::size_t Process::read_output(MutableByteSpan out, std::stop_token stop) {
    HOLDFAST_CHECK(state_->output.valid());
    const StopEvent& event = event_for(state_->output_stop, stop);
    while (true) {
        if (stop.stop_requested()) {
            throw_cancelled(state_->name);
        }
        const ssize_t count = ::read(state_->output.get(), out.data(), out.size());
        if (count >= 0) {
            return static_cast<std::size_t>(count);
        }
        if (errno != EAGAIN && errno != EINTR) {
            fail("read", state_->name, errno);
        }
        wait_ready(state_->output.get(), POLLIN, &event, -1);
    }
}

Process::WriteOutcome Process::write_input(ByteSpan bytes, std::stop_token stop) {
    if (!state_->input.valid()) {
        return WriteOutcome::kClosed;
    }
    const StopEvent& event = event_for(state_->input_stop, stop);
    while (!bytes.empty()) {
        if (stop.stop_requested()) {
            throw_cancelled(state_->name);
        }
        const ssize_t count = ::write(state_->input.get(), bytes.data(), bytes.size());
        if (count >= 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(count));
            continue;
        }
        if (errno == EPIPE) {
            return WriteOutcome::kClosed;
        }
        if (errno != EAGAIN && errno != EINTR) {
            fail("write", state_->name, errno);
        }
        wait_ready(state_->input.get(), POLLOUT, &event, -1);
    }
    return WriteOutcome::kWritten;
}

void Process::close_input() noexcept {
    state_->input.reset();
}
void Process::close_output() noexcept {
    state_->output.reset();
}

ExitStatus Process::wait(std::stop_token stop) {
    if (state_->status) {
        return *state_->status;
    }
    const StopEvent event{stop};
    if (wait_ready(state_->pidfd.get(), POLLIN, &event, -1) == Ready::kStopped) {
        state_->signal(SIGTERM);
        const int grace_ms = static_cast<int>(state_->stop_grace.count());
        if (wait_ready(state_->pidfd.get(), POLLIN, nullptr, grace_ms) != Ready::kYes) {
            state_->signal(SIGKILL);
        }
    }
    state_->reap();
    return *state_->status;
}

void Process::terminate() noexcept {
    state_->signal(SIGTERM);
}

std::string Process::standard_error() const {
    const std::lock_guard lock{state_->error_mutex};
    return state_->error_text.str();
}

RunResult run_process(const ProcessSpec& spec, std::size_t output_bytes_max, std::stop_token stop) {
    ProcessSpec piped = spec;
    piped.output = ChildStream::kPipe;
    Process process = Process::start(piped);
    RunResult result;
    Bytes buffer(64 * kKiB);
    while (const std::size_t count = process.read_output(buffer, stop)) {
        if (result.output.size() + count > output_bytes_max) {
            throw Error{
                ErrorKind::kPayloadTooLarge,
                fmt::format(
                    "{} wrote more than {} bytes.",
                    spec.program.filename().string(),
                    output_bytes_max
                )
            };
        }
        result.output.append(as_text(ByteSpan{buffer}.first(count)));
    }
    result.status = process.wait(stop);
    if (stop.stop_requested() && !result.status.ok()) {
        throw_cancelled(spec.program.filename().string());
    }
    result.error = process.standard_error();
    return result;
}

FileDescriptor make_memory_file(std::string_view name, ByteSpan contents) {
    FileDescriptor file{memfd_create(std::string{name}.c_str(), MFD_CLOEXEC)};
    if (!file.valid()) {
        fail("memfd_create", name, errno);
    }
    if (fchmod(file.get(), 0600) != 0) {
        fail("fchmod", name, errno);
    }
    write_all(file.get(), contents, name);
    if (lseek(file.get(), 0, SEEK_SET) != 0) {
        fail("lseek", name, errno);
    }
    return file;
}

}  // namespace holdfast
