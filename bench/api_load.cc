// A load generator for the API: many keep-alive TLS connections on one thread, a fixed rate of
// requests, a histogram.
//
//   api_load --port N --ca FILE --path TARGET [--head FILE] [--body FILE] [--method GET]
//            [--connections 500] [--rate 2000] [--requests 40000] [--seconds 0] [--pid PID]
//
// The loop is open: request n is due at n / rate, whatever became of those before it, and its
// latency counts from then, so a server that stalls is charged for all that fell due meanwhile.
// `--rate 0` closes the loop: every connection sends its next request when it has its answer, and
// latencies count from the sending. `--head`: header fields, a line each (the token: a file, never
// an argument).
// `--pid`: whose resident memory is shown, ten times over the run, and whose processor time and
// context switches a request took. The connections are opened one after another before the first
// request is due; how long that takes is a figure of its own. `--seconds`: ends the run early.

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using SteadyClock = std::chrono::steady_clock;
using Microseconds = std::chrono::microseconds;

struct Options {
    std::uint16_t port = 0;
    std::string ca;
    std::string path;
    std::string head;
    std::string body;
    std::string method = "GET";
    std::size_t connections = 500;
    std::size_t rate = 2000;
    std::size_t requests = 40'000;
    std::size_t seconds = 0;  // 0: no limit.
    long pid = 0;
};

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error{what};
}

std::string text_of(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    if (!file) {
        fail("cannot read " + path);
    }
    std::ostringstream out;
    out << file.rdbuf();
    return out.str();
}

Options read_options(int argc, char** argv) {
    std::map<std::string, std::string> given;
    for (int i = 1; i + 1 < argc; i += 2) {
        given[argv[i]] = argv[i + 1];
    }
    Options options;
    const auto number = [&](const char* name, std::size_t otherwise) {
        return given.count(name) != 0 ? std::stoul(given[name]) : otherwise;
    };
    options.port = static_cast<std::uint16_t>(number("--port", 0));
    options.ca = given["--ca"];
    options.path = given["--path"];
    options.head = given.count("--head") != 0 ? text_of(given["--head"]) : "";
    options.body = given.count("--body") != 0 ? text_of(given["--body"]) : "";
    options.method = given.count("--method") != 0 ? given["--method"] : "GET";
    options.connections = number("--connections", options.connections);
    options.rate = number("--rate", options.rate);
    options.requests = number("--requests", options.requests);
    options.seconds = number("--seconds", options.seconds);
    options.pid = static_cast<long>(number("--pid", 0));
    if (options.port == 0 || options.ca.empty() || options.path.empty()) {
        fail("--port, --ca and --path are needed");
    }
    return options;
}

std::string request_text(const Options& options) {
    std::string text = options.method + " " + options.path +
                       " HTTP/1.1\r\nHost: localhost:" + std::to_string(options.port) + "\r\n";
    std::istringstream lines{options.head};
    for (std::string line; std::getline(lines, line);) {
        text += line.empty() ? "" : line + "\r\n";
    }
    if (!options.body.empty()) {
        text += "Content-Length: " + std::to_string(options.body.size()) + "\r\n";
    }
    return text + "\r\n" + options.body;
}

/// Of the whole process, in MiB.
double resident_mib(long pid) {
    std::ifstream file{"/proc/" + std::to_string(pid) + "/statm"};
    std::size_t total = 0;
    std::size_t resident = 0;
    file >> total >> resident;
    return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) /
           (1024 * 1024);
}

/// Of a whole process, so far.
struct Usage {
    double user = 0;  // Seconds.
    double system = 0;
    std::uint64_t switches = 0;  // Of context, both kinds; of the threads that are there.
};

Usage operator-(const Usage& a, const Usage& b) {
    return {a.user - b.user, a.system - b.system, a.switches - b.switches};
}

Usage usage_of(long pid) {
    Usage usage;
    const std::filesystem::path process{"/proc/" + std::to_string(pid)};
    const std::string stat = text_of(process / "stat");
    std::istringstream fields{stat.substr(stat.rfind(')') + 2)};
    std::string skipped;
    for (int i = 0; i < 11; ++i) {
        fields >> skipped;
    }
    fields >> usage.user >> usage.system;
    const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
    usage.user /= ticks;
    usage.system /= ticks;
    for (const auto& task : std::filesystem::directory_iterator{process / "task"}) {
        std::ifstream status{task.path() / "status"};
        for (std::string line; std::getline(status, line);) {
            if (line.find("ctxt_switches:") != std::string::npos) {
                usage.switches += std::stoull(line.substr(line.find(':') + 1));
            }
        }
    }
    return usage;
}

struct Free {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};

/// One connection with at most one request under way.
class Connection {
public:
    Connection(SSL_CTX* context, std::uint16_t port)
        : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}, ssl_{SSL_new(context)} {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int on = 1;
        ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        SSL_set1_host(ssl_.get(), "localhost");
        if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
            SSL_set_fd(ssl_.get(), fd_) != 1 || SSL_connect(ssl_.get()) != 1) {
            fail("cannot connect");
        }
        ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
    }
    ~Connection() { ::close(fd_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] SteadyClock::time_point due() const noexcept { return due_; }

    /// False when the connection is gone.
    bool send(std::string_view request, SteadyClock::time_point due) {
        due_ = due;
        received_.clear();
        ERR_clear_error();
        // Less than a socket buffer takes: never in part.
        return SSL_write(ssl_.get(), request.data(), static_cast<int>(request.size())) ==
               static_cast<int>(request.size());
    }

    enum class Progress { kWaiting, kDone, kGone };
    /// Takes what came. With kDone, `status` is the answer's.
    Progress receive(int& status) {
        std::array<char, 16384> block;
        while (true) {
            ERR_clear_error();
            const int got = SSL_read(ssl_.get(), block.data(), static_cast<int>(block.size()));
            if (got <= 0) {
                return SSL_get_error(ssl_.get(), got) == SSL_ERROR_WANT_READ ? Progress::kWaiting
                                                                             : Progress::kGone;
            }
            received_.append(block.data(), static_cast<std::size_t>(got));
            if (is_whole(status)) {
                return Progress::kDone;
            }
        }
    }

private:
    bool is_whole(int& status) const {
        const std::size_t end = received_.find("\r\n\r\n");
        if (end == std::string::npos) {
            return false;
        }
        constexpr std::string_view kLength = "\r\nContent-Length: ";
        const std::size_t at = received_.find(kLength);
        std::size_t size = 0;
        if (at < end) {
            std::from_chars(received_.data() + at + kLength.size(), received_.data() + end, size);
        }
        std::from_chars(received_.data() + 9, received_.data() + 12, status);
        return received_.size() >= end + 4 + size;
    }

    int fd_;
    std::unique_ptr<SSL, Free> ssl_;
    std::string received_;
    SteadyClock::time_point due_;
};

class Load {
public:
    explicit Load(const Options& options)
        : options_{options},
          request_{request_text(options)},
          context_{SSL_CTX_new(TLS_client_method())} {
        // Timers as exact as the system has them, so that what is due is not sent late.
        ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
        SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
        if (SSL_CTX_load_verify_locations(context_.get(), options.ca.c_str(), nullptr) != 1) {
            fail("cannot read " + options.ca);
        }
        std::vector<std::uint32_t> opening;
        for (std::size_t i = 0; i < options.connections; ++i) {
            const auto began = SteadyClock::now();
            auto connection = std::make_unique<Connection>(context_.get(), options.port);
            epoll_event event{.events = EPOLLIN, .data = {.ptr = connection.get()}};
            ::epoll_ctl(epoll_, EPOLL_CTL_ADD, connection->fd(), &event);
            free_.push_back(connection.get());
            connections_.push_back(std::move(connection));
            opening.push_back(microseconds_since(began));
        }
        std::sort(opening.begin(), opening.end());
        std::printf(
            "%zu connections opened one by one; ms each: p50 %.2f, p99 %.2f\n",
            opening.size(),
            percentile_ms(opening, 0.5),
            percentile_ms(opening, 0.99)
        );
        latencies_.reserve(options.requests);
    }

    void run() {
        const Usage own = usage_of(::getpid());
        const Usage theirs = options_.pid != 0 ? usage_of(options_.pid) : Usage{};
        started_ = SteadyClock::now();
        while (latencies_.size() + errors_ < options_.requests && !is_over()) {
            send_what_is_due();
            take_answers();
        }
        report();
        report_usage("load generator", usage_of(::getpid()) - own);
        if (options_.pid != 0) {
            report_usage("server", usage_of(options_.pid) - theirs);
        }
    }

private:
    static std::uint32_t microseconds_since(SteadyClock::time_point then) {
        return static_cast<std::uint32_t>(
            std::chrono::duration_cast<Microseconds>(SteadyClock::now() - then).count()
        );
    }

    [[nodiscard]] bool is_over() const {
        return options_.seconds != 0 &&
               SteadyClock::now() - started_ >= std::chrono::seconds{options_.seconds};
    }

    [[nodiscard]] SteadyClock::time_point due_at(std::size_t index) const {
        return started_ + Microseconds{index * 1'000'000 / options_.rate};
    }

    void send_what_is_due() {
        const auto now = SteadyClock::now();
        while (sent_ < options_.requests && !free_.empty()) {
            const auto due = options_.rate == 0 ? SteadyClock::now() : due_at(sent_);
            if (options_.rate != 0 && due > now) {
                return;
            }
            Connection& connection = *free_.front();
            free_.pop_front();
            ++sent_;
            if (!connection.send(request_, due)) {
                ++errors_;
            }
        }
    }

    void take_answers() {
        std::array<epoll_event, 256> events;
        // To the nanosecond: whole milliseconds would be a busy loop, at the cost of the server's
        // processor, or requests that are sent late.
        const timespec wait = time_to_wait();
        const int count =
            ::epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &wait, nullptr);
        for (int i = 0; i < count; ++i) {
            auto& connection =
                *static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
            int status = 0;
            switch (connection.receive(status)) {
                case Connection::Progress::kWaiting:
                    break;
                case Connection::Progress::kGone:
                    ++errors_;
                    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.fd(), nullptr);
                    break;
                case Connection::Progress::kDone:
                    take_answer(connection, status);
                    break;
            }
        }
    }

    [[nodiscard]] timespec time_to_wait() const {
        std::chrono::nanoseconds left = std::chrono::seconds{1};
        if (options_.rate != 0 && sent_ < options_.requests && !free_.empty()) {
            left = std::clamp<std::chrono::nanoseconds>(
                due_at(sent_) - SteadyClock::now(), std::chrono::nanoseconds{0}, left
            );
        }
        const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
        return {.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
    }

    void take_answer(Connection& connection, int status) {
        free_.push_back(&connection);
        if (status < 200 || status > 299) {
            ++errors_;
            ++statuses_[status];
            return;
        }
        latencies_.push_back(microseconds_since(connection.due()));
        if (options_.pid != 0 &&
            latencies_.size() % std::max<std::size_t>(options_.requests / 10, 1) == 0) {
            std::printf(
                "  after %9zu requests: %.1f MiB resident\n",
                latencies_.size(),
                resident_mib(options_.pid)
            );
            std::fflush(stdout);
        }
    }

    static double percentile_ms(const std::vector<std::uint32_t>& sorted, double share) {
        const auto index = static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1));
        return sorted.empty() ? 0 : sorted[index] / 1000.0;
    }

    void report_usage(const char* who, const Usage& usage) const {
        const auto count = static_cast<double>(std::max<std::size_t>(latencies_.size(), 1));
        std::printf(
            "  %s, a request: %.0f us of processor time (%.0f user, %.0f system), %.2f context "
            "switches\n",
            who,
            (usage.user + usage.system) * 1e6 / count,
            usage.user * 1e6 / count,
            usage.system * 1e6 / count,
            static_cast<double>(usage.switches) / count
        );
    }

    void report() {
        const std::chrono::duration<double> took = SteadyClock::now() - started_;
        std::sort(latencies_.begin(), latencies_.end());
        std::printf(
            "%zu requests over %zu connections in %.1f s (%.0f/s), %zu errors; ms: p50 %.2f, p99 "
            "%.2f, p99.9 %.2f, max %.2f\n",
            latencies_.size(),
            connections_.size(),
            took.count(),
            static_cast<double>(latencies_.size()) / took.count(),
            errors_,
            percentile_ms(latencies_, 0.5),
            percentile_ms(latencies_, 0.99),
            percentile_ms(latencies_, 0.999),
            percentile_ms(latencies_, 1)
        );
        for (const auto& [status, count] : statuses_) {
            std::printf("  %zu answers with status %d\n", count, status);
        }
    }

    const Options options_;
    const std::string request_;
    std::unique_ptr<SSL_CTX, Free> context_;
    const int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    std::vector<std::unique_ptr<Connection>> connections_;
    std::deque<Connection*> free_;
    std::vector<std::uint32_t> latencies_;
    std::map<int, std::size_t> statuses_;
    SteadyClock::time_point started_;
    std::size_t sent_ = 0;
    std::size_t errors_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    try {
        ::signal(SIGPIPE, SIG_IGN);
        Load{read_options(argc, argv)}.run();
        return 0;
    } catch (const std::exception& fault) {
        std::cerr << "api_load: " << fault.what() << '\n';
        return 1;
    }
}
