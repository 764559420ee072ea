#include "postgres/scratch_server.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/process.h"
#include "base/text.h"
#include "postgres/cluster_hardening.h"
#include "postgres/sandbox_watch.h"

#include <array>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLogBytesMax = 256 * kKiB;
constexpr std::size_t kOutputBytesMax = 256 * kKiB;
constexpr std::chrono::milliseconds kPoll{20};
constexpr std::string_view kReady = "database system is ready to accept connections";
constexpr const char* kSocketName = ".s.PGSQL.5432";

/// Runs its arguments until they end or its standard input does: then it asks them for a fast
/// shutdown. So a server is stopped cleanly without a signal across the border of its namespace.
constexpr const char* kSupervise =
    "exec 3<&0 </dev/null; \"$@\" & server=$!; "
    "(read -r _ <&3; kill -INT $server) & watcher=$!; exec 3<&-; "
    "wait $server; status=$?; kill $watcher 2>/dev/null; exit $status";

std::string word_after(std::string_view log, std::string_view mark) {
    const std::size_t at = log.find(mark);
    if (at == std::string_view::npos) {
        return {};
    }
    const std::string_view rest = log.substr(at + mark.size());
    return std::string{rest.substr(0, rest.find_first_of(" \n,;"))};
}

RecoveryReport read_recovery(std::string_view log, bool from_backup) {
    return {
        .from_backup = from_backup,
        .redo_start = word_after(log, "redo starts at "),
        .consistent_at = word_after(log, "consistent recovery state reached at "),
        .redo_end = word_after(log, "redo done at "),
    };
}

std::vector<std::string> tail_of(std::string_view log) {
    constexpr std::size_t kLinesMax = 20;
    constexpr std::size_t kLineBytesMax = 400;
    const ConnectionParameters none;
    std::vector<std::string> lines;
    for (const std::string& line : split(trim(log), '\n')) {
        if (!line.empty()) {
            lines.push_back(redact(line.substr(0, kLineBytesMax), none));
        }
    }
    if (lines.size() > kLinesMax) {
        lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(kLinesMax));
    }
    return lines;
}

struct LogWords {
    std::string_view words;
    std::string_view advice;
};
/// What a start fails of though the backup is good.
constexpr std::array kCurable{
    LogWords{
        "could not locate required checkpoint record",
        "The recovery point lacks write-ahead log: take a new backup, and check its warnings."
    },
    LogWords{
        "locale is incompatible with operating system",
        "Install the cluster's locale on this machine (package locales, or locales-all)."
    },
    LogWords{
        "database files are incompatible with server",
        "The server's programs were built with other options than the cluster's."
    },
    LogWords{
        "resource manager",
        "The cluster's log needs an extension's resource manager, which a scratch server does not "
        "load."
    },
    LogWords{"could not map anonymous shared memory", "Raise the scratch servers' memory limit."},
    LogWords{"No space left on device", "Free space in the scratch directory."},
};

[[noreturn]] void fail(std::string message, std::string_view log) {
    ErrorText text;
    std::string last_words;
    text.message = std::move(message);
    for (const std::string& line : tail_of(log)) {
        text.details.push_back({.code = {}, .message = line, .target = {}});
        if (line.find("FATAL: ") != std::string::npos || line.find("PANIC: ") != std::string::npos) {
            last_words = line;
        }
    }
    if (!last_words.empty()) {
        text.message += " " + last_words;
    } else if (!text.details.empty()) {
        text.message += " " + text.details.back().message;
    }
    for (const LogWords& known : kCurable) {
        if (log.find(known.words) != std::string_view::npos) {
            text.recommended_actions.emplace_back(known.advice);
        }
    }
    if (text.recommended_actions.empty()) {
        text.recommended_actions = {
            "See the details for what the server said. Try another recovery point to learn whether "
            "it is this one."
        };
    }
    throw Error{ErrorKind::kScratchServerFailed, std::move(text)};
}

/// PostgreSQL outside /usr must be seen: its programs, libraries and share files.
std::vector<fs::path> visible_directories(const ToolSet& programs) {
    std::vector<fs::path> visible;
    const fs::path directory = fs::canonical(programs.directory);
    if (directory.string().starts_with("/usr/")) {
        return visible;
    }
    visible.push_back(directory);
    for (const char* name : {"lib", "lib64", "share"}) {
        const fs::path sibling = directory.parent_path() / name;
        std::error_code ignored;
        if (directory.has_parent_path() && fs::is_directory(sibling, ignored)) {
            visible.push_back(sibling);
        }
    }
    return visible;
}

ToolSet resolved(ToolSet programs) {
    programs.directory = fs::canonical(programs.directory);
    return programs;
}

}  // namespace

struct ScratchServer::State {
    State(
        ScratchDirectory& where,
        const ToolSet& found,
        Clock& time,
        const ScratchServerOptions& options,
        const ClearedCluster& cleared_cluster
    )
        : directory{where},
          programs{resolved(found)},
          clock{time},
          cleared{cleared_cluster},
          role{"holdfast_" + to_hex(random_array<6>())},
          settings_role{role + "_all"},
          sandbox{where.cluster(), options.sandbox, visible_directories(programs)},
          watch{sandbox, time, options.stop} {}

    ScratchDirectory& directory;
    ToolSet programs;
    Clock& clock;
    ClearedCluster cleared;
    std::string role;
    std::string settings_role;
    Sandbox sandbox;
    SandboxWatch watch;
    ControlFacts control;
    RecoveryReport recovery;
    std::chrono::microseconds recovery_time{};
    std::string maintenance_database;
    std::optional<Process> server;
    std::string last_log;

    [[nodiscard]] std::stop_token stop() const { return watch.stop_token(); }

    /// A stop request that we caused ourselves must not look like the caller's.
    void throw_if_over() const {
        if (const auto reason = watch.reason()) {
            ErrorText text = reason->text();
            for (const std::string& line : tail_of(server ? server->standard_error() : last_log)) {
                text.details.push_back({.code = {}, .message = line, .target = {}});
            }
            throw Error{reason->kind(), std::move(text)};
        }
    }

    [[nodiscard]] RunResult run(const std::string& program, std::vector<std::string> arguments) {
        ProcessSpec spec;
        spec.program = programs.program(program);
        spec.arguments = std::move(arguments);
        try {
            return sandbox.run(spec, kOutputBytesMax, stop());
        } catch (const Error&) {
            throw_if_over();
            throw;
        }
    }

    void read_control() {
        const RunResult result = run("pg_controldata", {"-D", inside_data()});
        if (!result.status.ok()) {
            fail(
                fmt::format("pg_controldata ended with {}.", result.status.describe()), result.error
            );
        }
        control = parse_control_data(result.output);
    }

    [[nodiscard]] static std::string inside_data() {
        return (Sandbox::inside() / "data").string();
    }

    void start_server() {
        ProcessSpec spec;
        spec.program = "/bin/sh";
        spec.arguments = {
            "-c", kSupervise, "sh", programs.program("postgres").string(), "-D", inside_data()
        };
        spec.input = ChildStream::kPipe;
        spec.error_bytes_max = kLogBytesMax;
        spec.stop_grace = std::chrono::seconds{2};
        server.emplace(sandbox.start(spec));
        watch.follow(server->pid());
        while (server->standard_error().find(kReady) == std::string::npos) {
            if (stop().stop_requested()) {
                end_server();
                throw_if_over();
            }
            if (child_has_ended(server->pid())) {
                const ExitStatus status = end_server();
                fail(
                    fmt::format(
                        "The restored cluster does not start: PostgreSQL {} ended with {} before "
                        "it was consistent.",
                        programs.version,
                        status.describe()
                    ),
                    last_log
                );
            }
            clock.wait_for(kPoll, stop());
        }
    }

    /// Waits for the end of a server that has ended or is to end; keeps its log.
    ExitStatus end_server() {
        const ExitStatus status = server->wait(stop());
        watch.follow(0);
        last_log = server->standard_error();
        server.reset();
        return status;
    }

    void shut_down() {
        if (!server) {
            return;
        }
        server->close_input();
        const ExitStatus status = end_server();
        throw_if_over();
        if (!status.ok()) {
            fail(
                fmt::format("The scratch server ended with {}.", status.describe()), last_log
            );
        }
    }

    /// Single-user mode connects as the bootstrap superuser, whatever its name, applies no settings
    /// of databases and roles and fires no event triggers.
    [[nodiscard]] bool make_role(const std::string& database, std::string& said) {
        ProcessSpec spec;
        spec.program = programs.program("postgres");
        spec.arguments = {"--single", "-D", inside_data(), "-c", "exit_on_error=on", database};
        spec.input = ChildStream::kPipe;
        Process process = sandbox.start(spec);
        const std::string statements = fmt::format(
            "CREATE ROLE {0} SUPERUSER LOGIN\n"
            "CREATE ROLE {1} NOLOGIN\n"
            "UPDATE pg_catalog.pg_db_role_setting SET setrole = (SELECT oid FROM "
            "pg_catalog.pg_authid WHERE rolname = '{1}') WHERE setrole = 0\n",
            role,
            settings_role
        );
        // A server that refuses the database has closed its input: its exit code says so.
        static_cast<void>(process.write_input(as_bytes(statements), stop()));
        process.close_input();
        const ExitStatus status = process.wait(stop());
        throw_if_over();
        said = process.standard_error();
        return status.ok();
    }

    void prepare_roles() {
        std::string said;
        for (const char* database : {"postgres", "template1"}) {
            std::string now;
            if (make_role(database, now)) {
                return;
            }
            said += now;
        }
        fail("The restored cluster's superuser could not make a role for the checks.", said);
    }

    /// What runs inside may write to the socket directory: a link there could lead our connections
    /// to another server of this machine. So the socket is moved to where only we can write, and
    /// looked at there.
    void take_socket() {
        const fs::path from = directory.socket() / kSocketName;
        const fs::path to = directory.private_directory() / kSocketName;
        if (::rename(from.c_str(), to.c_str()) != 0) {
            throw_errno("rename", from.string(), errno);
        }
        struct stat facts{};
        if (::lstat(to.c_str(), &facts) != 0 || !S_ISSOCK(facts.st_mode)) {
            fail("The scratch server's socket is not a socket.", {});
        }
    }

    [[nodiscard]] ConnectionParameters connection(std::string_view database) const {
        ConnectionParameters parameters;
        parameters.host = directory.private_directory().string();
        parameters.user = role;
        parameters.database = database;
        parameters.ssl_mode = SslMode::kDisable;
        return parameters;
    }

    void find_maintenance_database() {
        std::optional<Error> refused;
        for (const char* database : {"postgres", "template1"}) {
            try {
                const Connection session = Connection::open(connection(database), stop());
                maintenance_database = session.database();
                return;
            } catch (const Error& error) {
                throw_if_over();
                refused = error;
            }
        }
        fail(
            fmt::format("The restored cluster takes no connections: {}", refused->what()),
            server->standard_error()
        );
    }

    void bring_up() {
        sandbox.take_ownership();
        read_control();
        write_configuration(
            directory,
            sandbox,
            {.major = cleared.major,
             .control = control,
             .limits = sandbox.options().limits,
             .role = role,
             .in_place_tablespaces = cleared.has_in_place_tablespaces}
        );
        const SteadyInstant begin = clock.steady_now();
        start_server();
        recovery_time = std::chrono::duration_cast<std::chrono::microseconds>(
            clock.steady_now() - begin
        );
        recovery = read_recovery(server->standard_error(), cleared.has_backup_label);
        shut_down();
        prepare_roles();
        start_server();
        take_socket();
        find_maintenance_database();
    }
};

ScratchServer::ScratchServer(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}

ScratchServer::~ScratchServer() {
    if (state_->server) {
        // Nothing in it is wanted any more: no clean shutdown.
        state_->server->terminate();
        run_boundary(
            [&] { static_cast<void>(state_->server->wait({})); }, [](const Error&) {}
        );
    }
}

std::unique_ptr<ScratchServer> ScratchServer::start(
    ScratchDirectory& directory,
    const ServerPrograms& programs,
    Clock& clock,
    const ScratchServerOptions& options
) {
    const ClearedCluster cleared = clear_cluster(directory);
    const ToolSet& found = programs.of_major(cleared.major);
    std::unique_ptr<ScratchServer> server{new ScratchServer{
        std::make_unique<State>(directory, found, clock, options, cleared)
    }};
    server->state_->bring_up();
    return server;
}

ConnectionParameters ScratchServer::connection(std::string_view database) const {
    return state_->connection(database.empty() ? state_->maintenance_database : database);
}
const std::string& ScratchServer::maintenance_database() const noexcept {
    return state_->maintenance_database;
}
int ScratchServer::major() const noexcept {
    return state_->cleared.major;
}
const ToolSet& ScratchServer::programs() const noexcept {
    return state_->programs;
}
const Sandbox& ScratchServer::sandbox() const noexcept {
    return state_->sandbox;
}
const ScratchDirectory& ScratchServer::directory() const noexcept {
    return state_->directory;
}
Clock& ScratchServer::clock() const noexcept {
    return state_->clock;
}
const RecoveryReport& ScratchServer::recovery() const noexcept {
    return state_->recovery;
}
bool ScratchServer::data_checksums() const noexcept {
    return state_->control.data_checksums;
}
std::chrono::microseconds ScratchServer::recovery_time() const noexcept {
    return state_->recovery_time;
}
const std::string& ScratchServer::settings_role() const noexcept {
    return state_->settings_role;
}
std::stop_token ScratchServer::stop_token() const noexcept {
    return state_->stop();
}
void ScratchServer::throw_if_over() const {
    state_->throw_if_over();
}
RunResult ScratchServer::run_program(
    const std::string& program, std::vector<std::string> arguments
) {
    return state_->run(program, std::move(arguments));
}
void ScratchServer::throw_cause_of(const Error& error) const {
    constexpr int kPolls = 250;
    const bool lost = error.kind() == ErrorKind::kServerConnectionClosed ||
                      error.kind() == ErrorKind::kServerUnreachable;
    for (int i = 0; i < (lost ? kPolls : 1); ++i) {
        state_->throw_if_over();
        if (!state_->server || child_has_ended(state_->server->pid())) {
            fail(
                "The scratch server has ended.",
                state_->server ? state_->server->standard_error() : state_->last_log
            );
        }
        if (lost) {
            state_->clock.wait_for(kPoll, state_->stop());
        }
    }
}
void ScratchServer::stop() {
    state_->shut_down();
}
std::vector<std::string> ScratchServer::log_tail() const {
    return tail_of(state_->server ? state_->server->standard_error() : state_->last_log);
}

}  // namespace holdfast::postgres
