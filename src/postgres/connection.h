#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "base/secret.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// libpq's sslmode.
enum class SslMode { kDisable, kAllow, kPrefer, kRequire, kVerifyCa, kVerifyFull };

/// `verify-full`. parse accepts libpq's words and .NET's (`VerifyFull`), without case.
[[nodiscard]] std::string_view ssl_mode_name(SslMode mode) noexcept;
[[nodiscard]] std::optional<SslMode> parse_ssl_mode(std::string_view text) noexcept;

/// kReplication: a walsender, which takes replication commands (BASE_BACKUP, SHOW…) instead of SQL.
/// The role needs REPLICATION and a `replication` line in pg_hba.conf.
enum class SessionKind { kOrdinary, kReplication };

/// Where and as whom to connect. Move-only because of the password; clone() copies on purpose.
struct ConnectionParameters {
    std::string host;  ///< Name, address, or the directory of a Unix socket (begins with `/`).
    int port = 5432;
    std::string user;
    Secret password;  ///< Empty: none is sent.
    std::string database =
        "postgres";  ///< A name, never a conninfo string, whatever it looks like.
    std::optional<SslMode>
        ssl_mode;  ///< Absent: verify-full; prefer for loopback addresses and Unix sockets.
    /// File of trusted certificates, or their PEM text itself. Empty: the system's.
    std::string ssl_root_cert;
    std::chrono::seconds connect_timeout{15};
    std::string application_name = "holdfast";
    /// libpq's `options`: `-c name=value` for the session. Some connection poolers refuse a session
    /// that has any.
    std::string options;
    SessionKind session = SessionKind::kOrdinary;

    [[nodiscard]] ConnectionParameters clone() const;
    [[nodiscard]] ConnectionParameters with_database(std::string_view name) const;
    /// The mode that will be used.
    [[nodiscard]] SslMode effective_ssl_mode() const;
    /// `user@host:port/database`, for messages. Never the password.
    [[nodiscard]] std::string describe() const;
};

/// True for Unix socket directories, `localhost`, 127.0.0.0/8 and ::1.
[[nodiscard]] bool is_loopback(std::string_view host);

/// Warnings a user should see for these parameters (a TLS mode that does not prove who the server
/// is, over a network).
[[nodiscard]] std::vector<std::string> tls_warnings(const ConnectionParameters& parameters);

/// Makes the conninfo string `key='value' …` with libpq's escaping, safe for any value without NUL.
/// For children that take only `--dbname=`.
[[nodiscard]] std::string make_conninfo(
    const std::vector<std::pair<std::string, std::string>>& keywords
);

/// `"odd ""name"`; always quoted.
[[nodiscard]] std::string quote_identifier(std::string_view name);
/// `'it''s'`, with E'' when it holds a backslash.
[[nodiscard]] std::string quote_literal(std::string_view text);

/// What a secret value holds. What it does not say stays empty.
struct SecretConnection {
    std::string host;
    std::optional<int> port;
    std::string user;
    Secret password;
    std::string database;
    std::optional<SslMode> ssl_mode;
    std::string ssl_root_cert;
};

/// A secret is a bare password, a libpq URI (`postgresql://user:password@host:port/db?sslmode=…`)
/// or an ADO.NET string
/// (`Server=h;Port=5432;Database=d;User Id=u;Password=p;Ssl Mode=Require`). Throws kSecretFormat,
/// without any part of the value, when it begins like one of the latter two and is not well formed,
/// or is empty.
[[nodiscard]] SecretConnection parse_secret_value(const Secret& value);

/// Uses what the secret says about user, password and TLS mode; the server's own host and port win
/// (a secret never redirects a connection): they are taken only where `parameters` has none.
void apply_secret(ConnectionParameters& parameters, SecretConnection secret);

/// Rows of a query, all text. Owns its memory.
class QueryResult {
public:
    struct Deleter {
        void operator()(void* result) const noexcept;
    };
    explicit QueryResult(void* pg_result) noexcept;

    [[nodiscard]] std::size_t row_count() const noexcept;
    [[nodiscard]] bool is_null(std::size_t row, std::string_view column) const;
    /// The value; empty when null. Throws kInternal for an unknown column.
    [[nodiscard]] std::string text(std::size_t row, std::string_view column) const;
    [[nodiscard]] std::optional<std::string> optional_text(std::size_t row, std::string_view column)
        const;
    [[nodiscard]] std::int64_t integer(std::size_t row, std::string_view column) const;
    [[nodiscard]] bool boolean(std::size_t row, std::string_view column) const;
    /// Of the first row, for queries whose one column has no name.
    [[nodiscard]] bool first_column_is_true() const;

private:
    [[nodiscard]] int column_index(std::string_view column) const;
    std::unique_ptr<void, Deleter> result_;
};

struct QueryOptions {
    std::stop_token stop = {};
    std::chrono::milliseconds timeout{60000};
};

/// One of the answers to a statement that gives several of them.
enum class Answer {
    kRows,      ///< Also for a command that gives none.
    kCopyOut,   ///< Read it with read_copy() up to its end, then ask for the next answer.
    kCopyBoth,  ///< Read it with poll_copy(), write with put_copy(), end it with end_copy().
    kEnd,       ///< There are no more.
};

enum class CopyPoll { kMessage, kNothingYet, kEnd };

/// A session with a PostgreSQL server (libpq). One thread at a time. Sets client_encoding UTF8, an
/// empty search_path (names are resolved in pg_catalog only: nothing a database user made can be
/// called by accident), and, so that the session never waits on application locks for long,
/// lock_timeout.
class Connection {
public:
    /// Throws kServerUnreachable, kServerAuthFailed, kDatabaseNotFound, kServerTls, kTimeout,
    /// kCancelled.
    [[nodiscard]] static Connection open(
        const ConnectionParameters& parameters, std::stop_token stop = {}
    );
    Connection(Connection&&) noexcept;
    Connection& operator=(Connection&&) noexcept;
    ~Connection();

    /// Runs one statement with text parameters ($1…; nullopt is NULL). On stop or timeout the
    /// statement is cancelled on the server. Throws kPostgresQuery (properties["sqlstate"], the
    /// server's message in details), kServerConnectionClosed, kMissingDatabasePermissions (42501),
    /// kCancelled, kTimeout.
    QueryResult query(
        const std::string& sql,
        const std::vector<std::optional<std::string>>& parameters = {},
        const QueryOptions& options = {}
    );
    /// Runs one or more statements without parameters (simple protocol); returns the last one's
    /// rows.
    QueryResult execute(const std::string& sql, const QueryOptions& options = {});

    /// Sends a statement whose answers are taken one by one with next_answer(), to kEnd. An answer
    /// may be a COPY of any length. Any exception leaves the session closed.
    void start(const std::string& sql, const QueryOptions& options = {});
    /// As start(), for COPY OUT of much data: where the session is not encrypted, its bytes are
    /// taken from the socket without libpq, until kEnd.
    void start_bulk(const std::string& sql, const QueryOptions& options = {});
    /// `rows` is set for kRows. `options.timeout` is how long the server may be silent.
    [[nodiscard]] Answer next_answer(QueryResult& rows, const QueryOptions& options);
    /// The next message of a COPY OUT, valid until the next call; nothing at its end.
    [[nodiscard]] std::optional<ByteSpan> read_copy(const QueryOptions& options);

    /// Waits at most `patience`, and no longer than to a stop, for a message of a COPY. `message`
    /// is valid until the next call. After kNothingYet the session goes on.
    [[nodiscard]] CopyPoll poll_copy(
        ByteSpan& message, std::chrono::milliseconds patience, const std::stop_token& stop
    );
    /// Returns when the message has been handed to the system.
    void put_copy(ByteSpan message, const QueryOptions& options);
    void end_copy(const QueryOptions& options);

    /// 150004 for 15.4.
    [[nodiscard]] int server_version() const noexcept;
    [[nodiscard]] int server_major() const noexcept { return server_version() / 10000; }
    [[nodiscard]] bool uses_tls() const noexcept;
    [[nodiscard]] const std::string& database() const noexcept;

private:
    struct State;
    explicit Connection(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

/// Takes passwords and conninfo strings out of a message of libpq, pg_dump or pg_restore.
[[nodiscard]] std::string redact(std::string_view message, const ConnectionParameters& parameters);

}  // namespace holdfast::postgres
