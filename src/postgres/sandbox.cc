#include "postgres/sandbox.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "postgres/syscall_filter.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrlimit = "/usr/bin/prlimit";
constexpr const char* kSetpriv = "/usr/bin/setpriv";
constexpr const char* kEnv = "/usr/bin/env";
/// Where bubblewrap finds what it is passed.
constexpr int kFilterNumber = 3;
constexpr int kPasswdNumber = 4;
constexpr std::uint64_t kTemporaryBytes = 16 * kMiB;
constexpr std::chrono::seconds kTryOutTime{20};
constexpr std::chrono::milliseconds kTryOutPoll{5};
/// A segment of a relation or of the log is 1 GiB at most.
constexpr std::uint64_t kFileBytesMax = 2 * kGiB;

/// Uids that no user of a machine has. The first range is assigned to nothing
/// (https://systemd.io/UIDS-GIDS); the second is for processes that come and go, and all that a
/// container with 65536 uids has.
struct UidRange {
    uid_t first;
    uid_t last;
};
constexpr std::array kFreeUids{UidRange{1'879'100'000, 2'147'300'000}, UidRange{61'184, 65'519}};

[[noreturn]] void unavailable(std::string why, std::vector<std::string> actions) {
    throw Error{
        ErrorKind::kSandboxUnavailable,
        {.message = "A restored cluster runs its owner's code, and the sandbox that this needs can't "
                    "be had: " +
                    std::move(why),
         .recommended_actions = std::move(actions)}
    };
}

std::optional<std::uint64_t> to_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional{number}
                                                                    : std::nullopt;
}

/// Whether this process's user namespace knows all uids of the range: lines of `first, first
/// outside, count`.
bool is_mapped(const UidRange& range) {
    const auto map = read_file("/proc/self/uid_map", 64 * kKiB);
    for (const std::string& line : split(map.value_or(""), '\n')) {
        std::vector<std::uint64_t> numbers;
        for (const std::string& word : split(line, ' ')) {
            if (const auto number = to_number(word)) {
                numbers.push_back(*number);
            }
        }
        if (numbers.size() == 3 && numbers[0] <= range.first &&
            range.last < numbers[0] + numbers[2]) {
            return true;
        }
    }
    return false;
}

bool is_somebodys(uid_t uid) {
    passwd entry{};
    passwd* found = nullptr;
    std::array<char, 16 * kKiB> buffer{};
    return getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found != nullptr;
}

uid_t choose_uid() {
    for (const UidRange& range : kFreeUids) {
        if (!is_mapped(range)) {
            continue;
        }
        constexpr int kTries = 100;
        for (int i = 0; i < kTries; ++i) {
            const auto random = get_little_endian<std::uint32_t>(random_array<4>().data());
            const uid_t uid = range.first + random % (range.last - range.first + 1);
            if (!is_somebodys(uid)) {
                return uid;
            }
        }
    }
    unavailable(
        "there is no free uid for it in this container.",
        {"Run the service with more than 65536 uids, or as another user than root."}
    );
}

void give(const fs::path& path, uid_t uid) {
    if (fchownat(AT_FDCWD, path.c_str(), uid, uid, AT_SYMLINK_NOFOLLOW) != 0) {
        throw_errno("chown", path.string(), errno);
    }
}

void require_program(const fs::path& program, std::string_view package) {
    if (access(program.c_str(), X_OK) != 0) {
        unavailable(
            fmt::format("{} is missing.", program.string()),
            {fmt::format("Install the package {}.", package)}
        );
    }
}

std::vector<std::string> advice(SandboxIsolation isolation) {
    if (isolation == SandboxIsolation::kOwnUser) {
        return {
            "In a container: give it CAP_SYS_ADMIN, or run the service as another user than root "
            "where user namespaces are allowed.",
            "Or run the service outside a container."
        };
    }
    return {
        "Allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
        "user.max_user_namespaces above 0, kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu).",
        "Under systemd use the unit that comes with this version: RestrictNamespaces, "
        "RestrictAddressFamilies and SystemCallFilter must let bubblewrap work.",
        "Or run the service as root: the sandbox then has a uid of its own."
    };
}

/// Niceness, and first in line when memory runs out. Helpful, not required.
std::vector<std::string> courtesies() {
    std::vector<std::string> words;
    const auto add = [&](const char* program, std::vector<std::string> arguments) {
        if (access(program, X_OK) == 0) {
            words.emplace_back(program);
            words.insert(words.end(), arguments.begin(), arguments.end());
        }
    };
    add("/usr/bin/choom", {"-n", "1000", "--"});
    add("/usr/bin/nice", {"-n", "10"});
    return words;
}

void append(std::vector<std::string>& words, std::vector<std::string> more) {
    words.insert(
        words.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end())
    );
}

/// /lib and the like are links into /usr, or directories of their own on a system that was not
/// merged.
void append_root_link(std::vector<std::string>& words, const std::string& name) {
    std::error_code ignored;
    const fs::path path = "/" + name;
    if (fs::is_symlink(path, ignored)) {
        append(words, {"--symlink", fs::read_symlink(path, ignored).string(), path.string()});
    } else if (fs::is_directory(path, ignored)) {
        append(words, {"--ro-bind", path.string(), path.string()});
    }
}

/// The directories above it, which bubblewrap would make for root alone, too.
void append_visible(std::vector<std::string>& words, const fs::path& path) {
    fs::path above = "/";
    for (const fs::path& part : path.parent_path().relative_path()) {
        above /= part;
        append(words, {"--perms", "0755", "--dir", above.string()});
    }
    append(words, {"--ro-bind", path.string(), path.string()});
}

}  // namespace

bool child_has_ended(pid_t process) noexcept {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == process;
}

Sandbox::Sandbox(fs::path directory, SandboxOptions options, std::vector<fs::path> visible)
    : directory_{std::move(directory)},
      options_{std::move(options)},
      visible_{std::move(visible)},
      isolation_{
          geteuid() == 0 ? SandboxIsolation::kOwnUser : SandboxIsolation::kUserNamespace
      } {
    require_program(options_.bubblewrap, "bubblewrap");
    require_program(kPrlimit, "util-linux");
    uid_ = geteuid();
    if (isolation_ == SandboxIsolation::kOwnUser) {
        require_program(kSetpriv, "util-linux");
        uid_ = options_.uid ? *options_.uid : choose_uid();
        if (uid_ == 0) {
            throw Error{
                ErrorKind::kInvalidParameter, "A sandbox's programs never run as root (uid 0)."
            };
        }
        give(directory_, uid_);
    }
    if (chmod(directory_.c_str(), 0700) != 0) {
        throw_errno("chmod", directory_.string(), errno);
    }
    try_out();
}

std::vector<std::string> Sandbox::mounts() const {
    std::vector<std::string> words{"--ro-bind", "/usr", "/usr"};
    for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
        append_root_link(words, name);
    }
    append(
        words,
        {"--perms",
         "0755",
         "--dir",
         "/etc",
         "--ro-bind-try",
         "/etc/ld.so.cache",
         "/etc/ld.so.cache",
         "--perms",
         "0644",
         "--ro-bind-data",
         fmt::format("{}", kPasswdNumber),
         "/etc/passwd"}
    );
    const std::string size = fmt::format("{}", kTemporaryBytes);
    append(words, {"--dev", "/dev", "--size", size, "--perms", "1777", "--tmpfs", "/dev/shm"});
    append(words, {"--remount-ro", "/dev", "--size", size, "--perms", "1777", "--tmpfs", "/tmp"});
    for (const fs::path& path : visible_) {
        append_visible(words, path);
    }
    append(words, {"--bind", directory_.string(), inside().string(), "--remount-ro", "/"});
    return words;
}

std::vector<std::string> Sandbox::arguments() const {
    std::vector<std::string> words{
        "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
        "--die-with-parent", "--new-session", "--cap-drop", "ALL"
    };
    if (isolation_ == SandboxIsolation::kUserNamespace) {
        words.emplace_back("--unshare-user");
    } else {
        // What setpriv needs to give everything up.
        append(words, {"--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"});
        append(words, {"--cap-add", "CAP_SETPCAP"});
    }
    append(words, mounts());
    append(words, {"--seccomp", fmt::format("{}", kFilterNumber), "--"});
    const SandboxLimits& limits = options_.limits;
    append(
        words,
        {kPrlimit,
         fmt::format("--nproc={}", limits.processes),
         fmt::format("--as={}", limits.memory_bytes),
         fmt::format("--fsize={}", kFileBytesMax),
         fmt::format("--cpu={}", limits.time.count()),
         "--core=0",
         "--memlock=0",
         "--"}
    );
    if (isolation_ == SandboxIsolation::kOwnUser) {
        append(
            words,
            {kSetpriv,
             fmt::format("--reuid={}", uid_),
             fmt::format("--regid={}", uid_),
             "--clear-groups",
             "--inh-caps=-all",
             "--ambient-caps=-all",
             "--bounding-set=-all",
             "--no-new-privs",
             "--"}
        );
    }
    if (!visible_.empty()) {
        // Programs find libraries beside them ($ORIGIN) by way of /proc, which is not there.
        std::vector<std::string> places;
        for (const fs::path& path : visible_) {
            places.push_back(path.string());
        }
        append(words, {kEnv, "LD_LIBRARY_PATH=" + join(places, ":")});
    }
    return words;
}

void Sandbox::with_command(
    const ProcessSpec& spec, const std::function<void(const ProcessSpec&)>& use
) const {
    HOLDFAST_CHECK(spec.environment.empty() && spec.files.empty());
    const FileDescriptor filter = make_memory_file("sandbox-filter", sandbox_syscall_filter());
    const std::string user =
        fmt::format("holdfast:x:{0}:{0}:scratch:{1}:/bin/false\n", uid_, inside().string());
    const FileDescriptor passwd = make_memory_file("sandbox-passwd", as_bytes(user));

    std::vector<std::string> words = courtesies();
    words.push_back(options_.bubblewrap.string());
    append(words, arguments());
    words.push_back(spec.program.string());
    append(words, spec.arguments);

    ProcessSpec wrapped = spec;
    wrapped.program = words.front();
    wrapped.arguments.assign(words.begin() + 1, words.end());
    wrapped.environment = {{"LC_ALL", "C"}, {"TZ", "UTC"}, {"PATH", "/usr/bin:/bin"}};
    wrapped.files = {
        {.source = filter.get(), .number = kFilterNumber},
        {.source = passwd.get(), .number = kPasswdNumber}
    };
    use(wrapped);
}

Process Sandbox::start(const ProcessSpec& spec) const {
    std::optional<Process> process;
    with_command(spec, [&](const ProcessSpec& wrapped) { process = Process::start(wrapped); });
    return std::move(*process);
}

RunResult Sandbox::run(
    const ProcessSpec& spec, std::size_t output_bytes_max, const std::stop_token& stop
) const {
    RunResult result;
    with_command(spec, [&](const ProcessSpec& wrapped) {
        result = run_process(wrapped, output_bytes_max, stop);
    });
    return result;
}

void Sandbox::try_out() const {
    ProcessSpec nothing;
    nothing.program = "/usr/bin/true";
    Process process = start(nothing);
    SystemClock clock;
    const SteadyInstant deadline = clock.steady_now() + kTryOutTime;
    while (!child_has_ended(process.pid()) && clock.steady_now() < deadline) {
        clock.wait_for(kTryOutPoll, {});
    }
    // Where a system call filter of the service's own refuses what bubblewrap needs, a part of it
    // may wait for ever for another that has ended. They are one process group, whose number can't
    // be another's as long as its leader has not been waited for.
    ::kill(-process.pid(), SIGKILL);
    const ExitStatus status = process.wait({});
    if (!status.ok()) {
        unavailable(
            fmt::format(
                "{} ends with {}: {}",
                options_.bubblewrap.string(),
                status.describe(),
                trim(process.standard_error())
            ),
            advice(isolation_)
        );
    }
}

void Sandbox::take_ownership() const {
    if (isolation_ != SandboxIsolation::kOwnUser) {
        return;
    }
    give(directory_, uid_);
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator{directory_}) {
        give(entry.path(), uid_);
    }
}

}  // namespace holdfast::postgres
