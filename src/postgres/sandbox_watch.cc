#include "postgres/sandbox_watch.h"

#include "base/text.h"
#include "base/threads.h"

#include <atomic>
#include <charconv>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fts.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kTick{250};
/// Walking a directory may take at most this part of the time.
constexpr int kWalkShare = 10;
constexpr std::uint64_t kBlockBytes = 512;  ///< What st_blocks counts.

template <typename Number>
std::optional<Number> leading(std::string_view text) {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} ? std::optional{number} : std::nullopt;
}

std::string read_proc(pid_t process, std::string_view name) {
    std::string text;
    run_boundary(
        [&] { text = read_file(fmt::format("/proc/{}/{}", process, name), 64 * kKiB).value_or(""); },
        [](const Error&) {}  // It has ended since.
    );
    return text;
}

/// `4711 (name, which may hold anything) S 4700 …`
std::optional<pid_t> parent_in(std::string_view stat) {
    const std::size_t at = stat.rfind(')');
    constexpr std::size_t kToParent = 4;
    return at == std::string_view::npos || at + kToParent >= stat.size()
               ? std::nullopt
               : leading<pid_t>(stat.substr(at + kToParent));
}

/// The process and all below it. One whose parent has ended belongs to the first process of its
/// namespace, which is below bubblewrap.
std::vector<pid_t> family(pid_t root) {
    std::multimap<pid_t, pid_t> children;
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator{"/proc", ignored}) {
        const auto process = leading<pid_t>(entry.path().filename().string());
        if (!process) {
            continue;
        }
        if (const auto parent = parent_in(read_proc(*process, "stat"))) {
            children.emplace(*parent, *process);
        }
    }
    std::vector<pid_t> found{root};
    for (std::size_t i = 0; i < found.size(); ++i) {
        const auto [begin, end] = children.equal_range(found[i]);
        for (auto child = begin; child != end; ++child) {
            found.push_back(child->second);
        }
    }
    return found;
}

std::uint64_t resident_bytes(pid_t process) {
    const std::vector<std::string> numbers = split(read_proc(process, "statm"), ' ');
    static const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    return numbers.size() < 2 ? 0 : leading<std::uint64_t>(numbers[1]).value_or(0) * page;
}

/// As resident_bytes, but memory shared by n processes counts 1/n for each.
std::uint64_t proportional_bytes(pid_t process) {
    constexpr std::string_view kMark = "\nPss:";
    const std::string text = read_proc(process, "smaps_rollup");
    const std::size_t at = text.find(kMark);
    if (at == std::string::npos) {
        return resident_bytes(process);
    }
    return leading<std::uint64_t>(trim(std::string_view{text}.substr(at + kMark.size())))
               .value_or(0) *
           kKiB;
}

std::uint64_t sum(
    const std::vector<pid_t>& processes, const std::function<std::uint64_t(pid_t)>& of
) {
    std::uint64_t total = 0;
    for (const pid_t process : processes) {
        total += of(process);
    }
    return total;
}

/// Files that are written to and have no name any more: no walk finds them.
std::uint64_t nameless_bytes(const std::vector<pid_t>& processes, dev_t device) {
    std::set<ino_t> seen;
    std::uint64_t total = 0;
    for (const pid_t process : processes) {
        std::error_code ignored;
        for (const fs::directory_entry& entry :
             fs::directory_iterator{fmt::format("/proc/{}/fd", process), ignored}) {
            struct stat facts{};
            if (::stat(entry.path().c_str(), &facts) == 0 && facts.st_nlink == 0 &&
                facts.st_dev == device && seen.insert(facts.st_ino).second) {
                total += static_cast<std::uint64_t>(facts.st_blocks) * kBlockBytes;
            }
        }
    }
    return total;
}

std::uint64_t free_bytes(const fs::path& directory) {
    struct statvfs facts{};
    return ::statvfs(directory.c_str(), &facts) == 0
               ? static_cast<std::uint64_t>(facts.f_bavail) * facts.f_frsize
               : 0;
}

dev_t device_of(const fs::path& directory) {
    struct stat facts{};
    return ::stat(directory.c_str(), &facts) == 0 ? facts.st_dev : 0;
}

}  // namespace

std::optional<std::uint64_t> disk_usage(const fs::path& directory) {
    std::string path = directory.string();
    char* const roots[] = {path.data(), nullptr};
    const std::unique_ptr<FTS, int (*)(FTS*)> walk{
        fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, nullptr), &fts_close
    };
    if (!walk) {
        return std::nullopt;
    }
    std::uint64_t total = 0;
    while (const FTSENT* entry = fts_read(walk.get())) {
        const auto gone = entry->fts_errno == ENOENT;
        if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR) {
            if (!gone) {
                return std::nullopt;
            }
        } else if (entry->fts_info != FTS_DP && entry->fts_info != FTS_NS) {
            total += static_cast<std::uint64_t>(entry->fts_statp->st_blocks) * kBlockBytes;
        }
    }
    return total;
}

struct SandboxWatch::State {
    State(const Sandbox& watched, Clock& time, std::stop_token stop)
        : sandbox{watched},
          clock{time},
          caller{std::move(stop)},
          started{time.steady_now()},
          device{device_of(watched.directory())},
          bytes_at_start{disk_usage(watched.directory()).value_or(0)},
          free_at_walk{free_bytes(watched.directory())},
          next_walk{started},
          pass_on{caller, [this] { source.request_stop(); }} {}

    const Sandbox& sandbox;
    Clock& clock;
    std::stop_token caller;
    std::stop_source source;
    SteadyInstant started;
    dev_t device;
    std::uint64_t bytes_at_start;
    std::uint64_t free_at_walk;
    SteadyInstant next_walk;
    std::atomic<pid_t> followed = 0;
    mutable std::mutex mutex;
    std::optional<Error> passed;  ///< Guarded by mutex.
    std::stop_callback<std::function<void()>> pass_on;
    std::jthread thread;

    [[nodiscard]] const SandboxLimits& limits() const { return sandbox.options().limits; }

    void end(std::string what, std::string setting) {
        {
            const std::lock_guard lock{mutex};
            if (!passed) {
                passed = Error{
                    ErrorKind::kScratchLimitExceeded,
                    {.message = fmt::format("The scratch server was ended: {}", what),
                     .target = std::move(setting),
                     .recommended_actions = {"Raise the limit in the configuration when the cluster "
                                             "needs more."}}
                };
            }
        }
        source.request_stop();
    }

    void look() {
        if (clock.steady_now() - started > limits().time) {
            end(fmt::format("it ran longer than {} s.", limits().time.count()), "time");
            return;
        }
        look_at_disk();
        if (const pid_t root = followed; root != 0) {
            look_at_memory(family(root));
        }
    }

    void look_at_memory(const std::vector<pid_t>& processes) {
        // The cheap sum counts shared memory many times: never too little.
        if (sum(processes, resident_bytes) > limits().memory_bytes &&
            sum(processes, proportional_bytes) > limits().memory_bytes) {
            end(fmt::format("it used more than {} of memory.", format_size(limits().memory_bytes)),
                "memory");
        }
    }

    void look_at_disk() {
        const fs::path& directory = sandbox.directory();
        const std::uint64_t free = free_bytes(directory);
        if (free < limits().disk_free_bytes) {
            end(fmt::format(
                    "its file system has less than {} free.", format_size(limits().disk_free_bytes)
                ),
                "disk");
            return;
        }
        const SteadyInstant begin = clock.steady_now();
        const bool shrinking =
            free < free_at_walk && free_at_walk - free > limits().disk_bytes / 4;
        if (begin < next_walk && !shrinking) {
            return;
        }
        free_at_walk = free;
        const auto used = disk_usage(directory);
        const pid_t root = followed;
        const std::uint64_t nameless = root == 0 ? 0 : nameless_bytes(family(root), device);
        next_walk = clock.steady_now() + kWalkShare * (clock.steady_now() - begin);
        if (!used) {
            end("it made a part of its directory unreadable.", "disk");
        } else if (*used + nameless > bytes_at_start + limits().disk_bytes) {
            end(fmt::format(
                    "its directory grew by more than {}.", format_size(limits().disk_bytes)
                ),
                "disk");
        }
    }
};

SandboxWatch::SandboxWatch(const Sandbox& sandbox, Clock& clock, std::stop_token caller)
    : state_{std::make_unique<State>(sandbox, clock, std::move(caller))} {
    state_->thread = std::jthread{[state = state_.get()](const std::stop_token& stop) {
        name_this_thread("sandbox-watch");
        run_boundary(
            [&] {
                while (!state->source.stop_requested() && state->clock.wait_for(kTick, stop)) {
                    state->look();
                }
            },
            [&](const Error& error) { state->end(error.what(), "watch"); }
        );
    }};
}

SandboxWatch::~SandboxWatch() {
    state_->thread.request_stop();
    state_->thread.join();
}

std::stop_token SandboxWatch::stop_token() const noexcept {
    return state_->source.get_token();
}

void SandboxWatch::follow(pid_t process) noexcept {
    state_->followed = process;
}

std::optional<Error> SandboxWatch::reason() const {
    const std::lock_guard lock{state_->mutex};
    if (!state_->passed && state_->caller.stop_requested()) {
        return Error{ErrorKind::kCancelled, "The scratch server was stopped by request."};
    }
    return state_->passed;
}

}  // namespace holdfast::postgres
