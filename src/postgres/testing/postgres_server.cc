#include "postgres/testing/postgres_server.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/text.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace holdfast::postgres::testing {

namespace fs = std::filesystem;

namespace {

constexpr const char* kServerUser = "postgres";
constexpr const char* kSetpriv = "/usr/bin/setpriv";
constexpr std::chrono::seconds kStartTimeout{60};
constexpr int kPollMs = 10;
constexpr std::size_t kOutputBytesMax = 1 * kGiB;
constexpr std::size_t kLogBytesMax = 4 * kMiB;

bool has_ended(pid_t pid) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == pid;
}

[[noreturn]] void fail(const std::string& message) {
    throw Error{ErrorKind::kInternal, message};
}

std::string read_text(const fs::path& path) {
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

void write_text(const fs::path& path, std::string_view text) {
    std::ofstream out{path, std::ios::binary | std::ios::trunc};
    out << text;
    if (!out.flush()) {
        fail(fmt::format("{} could not be written.", path.string()));
    }
}

/// Free at the time of asking; good enough for a test server.
int free_loopback_port() {
    const FileDescriptor socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (!socket.valid() || ::bind(socket.get(), generic, length) != 0 ||
        ::getsockname(socket.get(), generic, &length) != 0) {
        fail("No free TCP port was found on 127.0.0.1.");
    }
    return ntohs(address.sin_port);
}

std::map<std::string, std::string> plain_environment() {
    return {{"LC_ALL", "C.UTF-8"}, {"PATH", "/usr/bin:/bin"}, {"TZ", "UTC"}};
}

}  // namespace

PostgresServer::PostgresServer(PostgresServerOptions options)
    : options_{std::move(options)}, home_{std::make_unique<TemporaryDirectory>("holdfast-pg")} {
    if (options_.tcp == PostgresServerOptions::Tcp::kLoopback) {
        port_ = free_loopback_port();
    }
    fs::permissions(
        home_->path(), fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec
    );
    fs::create_directory(home_->path() / "socket");
    fs::copy(initialized_template(), data_directory(), fs::copy_options::recursive);
    fs::permissions(data_directory(), fs::perms::owner_all);

    std::string conf = fmt::format(
        "port = {}\nunix_socket_directories = '{}'\nlisten_addresses = '{}'\n"
        "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nautovacuum = off\n"
        "shared_buffers = 32MB\nmax_connections = 60\nlogging_collector = off\ntimezone = 'UTC'\n",
        port_,
        socket_directory(),
        options_.tcp == PostgresServerOptions::Tcp::kLoopback ? "127.0.0.1" : ""
    );
    for (const auto& [name, value] : options_.settings) {
        conf += fmt::format("{} = {}\n", name, value);
    }
    write_text(data_directory() / "postgresql.auto.conf", conf);
    write_text(data_directory() / "pg_hba.conf", options_.hba);
    give_to_server_user(home_->path());
    start();
}

PostgresServer::PostgresServer(fs::path data_directory, PostgresServerOptions options)
    : options_{std::move(options)},
      home_{std::make_unique<TemporaryDirectory>("holdfast-pg")},
      adopted_{std::move(data_directory)} {
    fs::permissions(
        home_->path(), fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec
    );
    fs::create_directory(home_->path() / "socket");
    give_to_server_user(home_->path() / "socket");
    start();
}

PostgresServer::~PostgresServer() {
    try {
        stop();
    } catch (const Error&) {
        process_.reset();  // Kills it: nothing may outlive the test.
    }
}

bool PostgresServer::available(const PostgresServerOptions& options) {
    return fs::exists(options.programs / "postgres") && fs::exists(options.programs / "initdb") &&
           fs::exists(kSetpriv);
}

PostgresServer& PostgresServer::shared() {
    static PostgresServer server;
    return server;
}

fs::path PostgresServer::initialized_template() const {
    // The build tree may be somebody else's.
    const fs::path common = HOLDFAST_TEST_CACHE_DIR;
    const bool writable = ::access(common.parent_path().c_str(), W_OK) == 0;
    const fs::path cache =
        writable ? common
                 : fs::temp_directory_path() / fmt::format("holdfast-initdb-{}", ::geteuid());
    const std::string key = percent_encode(
        fmt::format("{}+{}+{}+checksums", options_.programs.string(), options_.encoding, options_.locale)
    );
    const fs::path done = cache / key;
    if (fs::exists(done)) {
        return done;
    }
    const TemporaryDirectory work{"holdfast-initdb"};
    fs::permissions(
        work.path(), fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec
    );
    const fs::path data = work.path() / "data";
    fs::create_directory(data);
    give_to_server_user(data);
    const RunResult result = run_process(
        as_server_user(
            "initdb",
            {"--pgdata=" + data.string(),
             "--no-sync",
             "--auth=trust",
             "--username=" + superuser(),
             "--encoding=" + options_.encoding,
             "--locale=" + options_.locale,
             "--data-checksums"}
        ),
        kOutputBytesMax,
        {}
    );
    if (!result.status.ok()) {
        fail(fmt::format("initdb ended with {}: {}", result.status.describe(), result.error));
    }
    // Several test programs may get here at once: the first rename wins, the others use its result.
    const fs::path mine = cache / (key + "." + new_guid());
    fs::create_directories(cache);
    fs::copy(data, mine, fs::copy_options::recursive);
    std::error_code ignored;
    fs::rename(mine, done, ignored);
    if (ignored) {
        fs::remove_all(mine);
    }
    return done;
}

ProcessSpec PostgresServer::as_server_user(
    std::string_view program, std::vector<std::string> arguments
) const {
    // setpriv replaces itself, so the process id is the server's; it also asks the kernel to end
    // the server when the test program dies without running destructors.
    ProcessSpec spec;
    spec.program = kSetpriv;
    spec.arguments = {"--pdeathsig", "QUIT"};
    if (::geteuid() == 0) {
        spec.arguments.insert(
            spec.arguments.end(),
            {std::string{"--reuid="} + kServerUser,
             std::string{"--regid="} + kServerUser,
             "--clear-groups"}
        );
    }
    spec.arguments.push_back((options_.programs / program).string());
    for (auto& argument : arguments) {
        spec.arguments.push_back(std::move(argument));
    }
    spec.environment = plain_environment();
    return spec;
}

void PostgresServer::give_to_server_user(const fs::path& path) const {
    if (::geteuid() != 0) {
        return;
    }
    const passwd* user = ::getpwnam(kServerUser);
    if (user == nullptr) {
        fail("There is no user postgres to run the test server as.");
    }
    const auto give = [user](const fs::path& one) {
        if (::lchown(one.c_str(), user->pw_uid, user->pw_gid) != 0) {
            throw_errno("chown", one.string(), errno);
        }
    };
    give(path);
    if (fs::is_directory(path)) {
        for (const auto& entry : fs::recursive_directory_iterator{path}) {
            give(entry.path());
        }
    }
}

void PostgresServer::start() {
    if (process_) {
        return;
    }
    std::vector<std::string> arguments{"-D", data_directory().string()};
    if (!adopted_.empty()) {
        for (const std::string& setting :
             {fmt::format("port={}", port_),
              fmt::format("unix_socket_directories={}", socket_directory()),
              std::string{"listen_addresses="}}) {
            arguments.insert(arguments.end(), {"-c", setting});
        }
    }
    ProcessSpec spec = as_server_user("postgres", std::move(arguments));
    spec.error_bytes_max = kLogBytesMax;
    process_.emplace(Process::start(spec));

    const auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
    while (true) {
        // The last line of postmaster.pid says when connections are accepted.
        const std::vector<std::string> lines =
            split(read_text(data_directory() / "postmaster.pid"), '\n');
        if (lines.size() >= 8 && trim(lines[7]) == "ready" &&
            lines[0] == fmt::format("{}", process_->pid())) {
            return;
        }
        if (std::chrono::steady_clock::now() > deadline || has_ended(process_->pid())) {
            const std::string message = log();
            process_.reset();
            fail("The test server does not start: " + message);
        }
        ::poll(nullptr, 0, kPollMs);
    }
}

void PostgresServer::stop() {
    if (process_) {
        ::kill(process_->pid(), SIGINT);
        static_cast<void>(process_->wait({}));
        process_.reset();
    }
}

void PostgresServer::kill() {
    if (process_) {
        ::kill(process_->pid(), SIGQUIT);
        static_cast<void>(process_->wait({}));
        process_.reset();
    }
}

void PostgresServer::set_hba(std::string_view text) {
    write_text(data_directory() / "pg_hba.conf", text);
    if (process_) {
        sql("postgres", "SELECT pg_reload_conf()");
    }
}

std::string PostgresServer::log() const {
    return process_ ? process_->standard_error() : std::string{};
}

std::string PostgresServer::conninfo(std::string_view database) const {
    std::string quoted;
    for (const char c : database) {
        if (c == '\'' || c == '\\') {
            quoted += '\\';
        }
        quoted += c;
    }
    return fmt::format(
        "host='{}' port={} user={} dbname='{}'", socket_directory(), port_, superuser(), quoted
    );
}

std::map<std::string, std::string> PostgresServer::environment() const {
    auto environment = plain_environment();
    environment["PGHOST"] = socket_directory();
    environment["PGPORT"] = fmt::format("{}", port_);
    environment["PGUSER"] = superuser();
    return environment;
}

std::string PostgresServer::create_database(std::string_view prefix) {
    std::string name = fmt::format("{}_{}", prefix, next_database_++);
    sql("postgres", fmt::format("CREATE DATABASE \"{}\" TEMPLATE template0", name));
    return name;
}

std::string PostgresServer::sql(std::string_view database, std::string_view text) const {
    RunResult result =
        run("psql",
            {"--no-psqlrc",
             "--quiet",
             "--no-align",
             "--tuples-only",
             "--set=ON_ERROR_STOP=1",
             "--dbname=" + conninfo(database),
             "--file=-"},
            as_bytes(text));
    if (!result.status.ok()) {
        fail(fmt::format("psql ended with {}: {}", result.status.describe(), result.error));
    }
    return std::move(result.output);
}

RunResult PostgresServer::run(
    std::string_view program, std::vector<std::string> arguments, ByteSpan input
) const {
    // Standard input is a memory file, so that neither side can block the other.
    const FileDescriptor file = make_memory_file("input", input);
    ProcessSpec spec;
    spec.program = "/bin/sh";
    // Servers from elsewhere than Debian come without client programs.
    const fs::path own = options_.programs / program;
    const fs::path path = fs::exists(own) ? own : PostgresServerOptions{}.programs / program;
    spec.arguments = {"-c", "exec \"$@\" </proc/self/fd/3", "sh", path.string()};
    for (auto& argument : arguments) {
        spec.arguments.push_back(std::move(argument));
    }
    spec.environment = environment();
    spec.output = ChildStream::kPipe;
    spec.files = {PassedFile{file.get(), 3}};
    return run_process(spec, kOutputBytesMax, {});
}

}  // namespace holdfast::postgres::testing
