#pragma once

#include "base/file.h"
#include "base/process.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres::testing {

struct PostgresServerOptions {
    /// initdb's own; part of the key of the cached template.
    std::string encoding = "UTF8";
    std::string locale = "C.UTF-8";
    /// Lines for postgresql.conf, value as written there (quote strings).
    std::map<std::string, std::string> settings = {};
    /// The whole of pg_hba.conf. The superuser comes in over the Unix socket without a password by
    /// default.
    std::string hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    enum class Tcp { kNone, kLoopback };
    /// kLoopback listens on a free port of 127.0.0.1.
    Tcp tcp = Tcp::kNone;
    /// Where the server's programs are.
    std::filesystem::path programs = "/usr/lib/postgresql/15/bin";
};

/// A throwaway PostgreSQL server of its own: own data directory, Unix socket in a directory that
/// nobody else knows. Runs as the user `postgres` when the tests run as root. Stopped, and its
/// files removed, by the destructor; ends with the test program in any case.
///
/// initdb runs once for each encoding and locale; its result is kept in the build tree and copied.
class PostgresServer {
public:
    explicit PostgresServer(PostgresServerOptions options = {});
    /// Starts a server in a data directory that is there already, as it is configured there but for
    /// port, socket and addresses. The directory stays when the server goes.
    PostgresServer(std::filesystem::path data_directory, PostgresServerOptions options);
    ~PostgresServer();
    PostgresServer(const PostgresServer&) = delete;
    PostgresServer& operator=(const PostgresServer&) = delete;

    /// True when the programs are installed. A test without them calls GTEST_SKIP.
    [[nodiscard]] static bool available(const PostgresServerOptions& options = {});

    /// One server for the whole test program, with default options, started at first use. Make
    /// databases of your own.
    [[nodiscard]] static PostgresServer& shared();

    /// The directory of the Unix socket, for libpq's `host`.
    [[nodiscard]] std::string socket_directory() const {
        return (home_->path() / "socket").string();
    }
    /// The port, which names the socket file and is the TCP port with Tcp::kLoopback.
    [[nodiscard]] int port() const noexcept { return port_; }
    [[nodiscard]] static std::string superuser() { return "postgres"; }
    [[nodiscard]] std::filesystem::path data_directory() const {
        return adopted_.empty() ? home_->path() / "data" : adopted_;
    }
    [[nodiscard]] const std::filesystem::path& programs() const noexcept {
        return options_.programs;
    }

    /// conninfo of the superuser, for `--dbname=`; any database name.
    [[nodiscard]] std::string conninfo(std::string_view database) const;

    /// Makes an empty database with a name no other test has, and returns the name.
    std::string create_database(std::string_view prefix = "test");

    /// Runs SQL (psql meta-commands too) as the superuser, ON_ERROR_STOP; throws kInternal with
    /// psql's message. Returns the rows, one line each, columns separated by '|'.
    std::string sql(std::string_view database, std::string_view text) const;

    /// Runs one of the server's client programs (pg_dump, pg_restore, psql...) to its end, with
    /// PGHOST, PGPORT and PGUSER set. `input` is its standard input.
    [[nodiscard]] RunResult run(
        std::string_view program, std::vector<std::string> arguments, ByteSpan input = {}
    ) const;

    /// Environment for a child that connects as the superuser.
    [[nodiscard]] std::map<std::string, std::string> environment() const;

    void stop();   ///< Fast shutdown; connections are ended.
    void kill();   ///< As a crash: no checkpoint.
    void start();  ///< After stop() or kill(): same port and data.
    /// Writes pg_hba.conf anew and reloads.
    void set_hba(std::string_view text);

    /// The server's log so far.
    [[nodiscard]] std::string log() const;

private:
    [[nodiscard]] std::filesystem::path initialized_template() const;
    [[nodiscard]] ProcessSpec as_server_user(
        std::string_view program, std::vector<std::string> arguments
    ) const;
    void give_to_server_user(const std::filesystem::path& path) const;

    PostgresServerOptions options_;
    std::unique_ptr<TemporaryDirectory> home_;
    std::filesystem::path adopted_;  ///< A data directory that is not ours.
    int port_ = 5432;
    std::optional<Process> process_;
    int next_database_ = 1;
};

}  // namespace holdfast::postgres::testing
