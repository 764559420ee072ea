#pragma once

#include "base/clock.h"
#include "postgres/connection.h"
#include "postgres/sandbox.h"
#include "postgres/scratch_directory.h"
#include "postgres/server_programs.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::postgres {

struct ScratchServerOptions {
    SandboxOptions sandbox = {};
    std::stop_token stop = {};
};

/// What recovery did, from the server's own log.
struct RecoveryReport {
    bool from_backup = false;     ///< There was a backup_label.
    std::string redo_start;       ///< `0/2000028`; empty when there was nothing to replay.
    std::string consistent_at;    ///< Where the cluster became consistent.
    std::string redo_end;
};

/// A PostgreSQL server on a restored data directory, in a sandbox, reachable over a Unix socket
/// only. Started in three steps, so that nothing of the cluster's own settings and code runs before
/// it is asked to:
///
/// 1. The configuration is replaced, links of tablespaces are put right, and the server of the
///    cluster's major version recovers until it is consistent and takes connections. Nobody
///    connects; it is stopped.
/// 2. In single-user mode (no settings of databases and roles, no event triggers) a role of our own
///    is made, and the settings that apply to every role are put aside.
/// 3. The server is started again, for that role alone.
///
/// Threads: one at a time; limits are watched by a thread of its own. The thread that starts it
/// must outlive it (the kernel ends the server with the thread).
class ScratchServer {
public:
    /// `directory.data()` holds the restored data directory, tablespaces lie in
    /// `directory.tablespace(oid)`. It is used up: this changes files in it.
    ///
    /// Throws kSandboxUnavailable, kServerProgramsMissing, kScratchServerFailed (the end of the
    /// server's log in the details) when it does not become consistent, kScratchLimitExceeded,
    /// kCancelled.
    [[nodiscard]] static std::unique_ptr<ScratchServer> start(
        ScratchDirectory& directory,
        const ServerPrograms& programs,
        Clock& clock,
        const ScratchServerOptions& options
    );
    ~ScratchServer();
    ScratchServer(const ScratchServer&) = delete;
    ScratchServer& operator=(const ScratchServer&) = delete;

    /// As the role made for us, a superuser.
    [[nodiscard]] ConnectionParameters connection(std::string_view database = "") const;
    /// A database that one can connect to.
    [[nodiscard]] const std::string& maintenance_database() const noexcept;
    [[nodiscard]] int major() const noexcept;
    [[nodiscard]] const ToolSet& programs() const noexcept;
    [[nodiscard]] const Sandbox& sandbox() const noexcept;
    [[nodiscard]] const ScratchDirectory& directory() const noexcept;
    [[nodiscard]] Clock& clock() const noexcept;
    [[nodiscard]] const RecoveryReport& recovery() const noexcept;
    [[nodiscard]] bool data_checksums() const noexcept;
    /// From the first start to consistency.
    [[nodiscard]] std::chrono::microseconds recovery_time() const noexcept;
    /// The role that stands for "every role" in the settings of databases (see step 2).
    [[nodiscard]] const std::string& settings_role() const noexcept;

    /// Requested when a limit was passed or the caller's stop was requested. For everything that
    /// is done with the server.
    [[nodiscard]] std::stop_token stop_token() const noexcept;
    /// Throws kScratchLimitExceeded or kCancelled when a limit was passed or the caller wants to
    /// stop: what is done with the server then fails in any way.
    void throw_if_over() const;
    /// For whoever used the server and got `error`: throws the same, or kScratchServerFailed when
    /// the server has ended. After a lost connection its end is waited for, for some seconds.
    /// Returns when the error is one of its own.
    void throw_cause_of(const Error& error) const;

    /// Runs one of the server's programs in its sandbox, to the end. Throws what throw_if_over()
    /// throws.
    [[nodiscard]] RunResult run_program(
        const std::string& program, std::vector<std::string> arguments
    );

    /// Clean shutdown, so that files on disk are what the server meant them to be. start() is not
    /// possible again.
    void stop();

    /// The end of the server's log, without secrets.
    [[nodiscard]] std::vector<std::string> log_tail() const;

private:
    struct State;
    explicit ScratchServer(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace holdfast::postgres
