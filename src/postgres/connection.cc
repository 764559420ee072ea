#include "postgres/connection.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "postgres/root_certificate.h"
#include "postgres/wire_reader.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

namespace holdfast::postgres {
namespace {

using std::chrono::milliseconds;

struct ConnectionCloser {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
};
using ConnectionHandle = std::unique_ptr<PGconn, ConnectionCloser>;

PGresult* native(void* result) {
    return static_cast<PGresult*>(result);
}

std::string field(const PGresult* result, int code) {
    const char* text = PQresultErrorField(result, code);
    return text == nullptr ? std::string{} : std::string{text};
}

/// What a wait ended with.
enum class Wait { kReady, kStopped, kTimeout };

Wait wait_for_socket(int socket, short events, const StopEvent& stop, SteadyInstant deadline) {
    const SystemClock clock;
    while (true) {
        const auto left = std::chrono::ceil<milliseconds>(deadline - clock.steady_now());
        if (left.count() <= 0) {
            return Wait::kTimeout;
        }
        constexpr milliseconds kStepMax{3'600'000};
        std::array<pollfd, 2> polled{
            pollfd{socket, events, 0}, pollfd{stop.descriptor(), POLLIN, 0}
        };
        const int count =
            poll(polled.data(), polled.size(), static_cast<int>(std::min(left, kStepMax).count()));
        if (count < 0 && errno != EINTR) {
            throw_errno("poll", "the connection to PostgreSQL", errno);
        }
        if (stop.stop_requested()) {
            return Wait::kStopped;
        }
        if (count > 0) {
            return Wait::kReady;
        }
    }
}

// ---- Connecting

/// With PQERRORS_VERBOSE libpq writes `FATAL:  28P01: message`, whatever the server's language.
/// Without this the kind of a refused connection could only be guessed from words.
std::string sqlstate_in(std::string_view message) {
    constexpr std::size_t kLength = 5;
    std::string found;
    for (std::size_t at = message.find(":  "); at != std::string_view::npos;
         at = message.find(":  ", at + 1)) {
        const std::string_view code = message.substr(at + 3, kLength);
        const bool is_code =
            code.size() == kLength && std::all_of(code.begin(), code.end(), [](char c) {
                return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
            });
        if (is_code && message.substr(at + 3 + kLength).starts_with(": ")) {
            found = code;  // The last attempt's word counts: `prefer` tries twice.
        }
    }
    return found;
}

/// libpq's text without the LOCATION lines of the verbose form, in one line.
std::string tidy(std::string_view message) {
    std::string tidied;
    for (const std::string& line : split(message, '\n')) {
        const std::string_view text = trim(line);
        if (text.empty() || text.starts_with("LOCATION:")) {
            continue;
        }
        if (!tidied.empty()) {
            tidied.push_back(' ');
        }
        tidied += text;
    }
    return tidied;
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

ErrorKind kind_of_refusal(std::string_view sqlstate, std::string_view message) {
    if (sqlstate == "28P01" || sqlstate == "28000") {
        return ErrorKind::kServerAuthFailed;
    }
    if (sqlstate == "3D000") {
        return ErrorKind::kDatabaseNotFound;
    }
    if (sqlstate == "42501") {
        return ErrorKind::kMissingDatabasePermissions;
    }
    if (sqlstate == "55000") {  // "database … is not currently accepting connections"
        return ErrorKind::kDatasourceUnsupported;
    }
    if (sqlstate.empty()) {
        if (contains(message, "no password supplied")) {
            return ErrorKind::kServerAuthFailed;
        }
        // libpq is not translated here: the process runs in the C locale.
        for (const std::string_view word : {"SSL", "certificate", "TLS"}) {
            if (contains(message, word)) {
                return ErrorKind::kServerTls;
            }
        }
    }
    return ErrorKind::kServerUnreachable;
}

std::vector<std::string> advice(ErrorKind kind, const ConnectionParameters& parameters) {
    if (kind == ErrorKind::kServerAuthFailed) {
        return {fmt::format(
            "Check the password of role {} in the secret or the server registration, and "
            "pg_hba.conf on the server.",
            quote_identifier(parameters.user)
        )};
    }
    if (kind == ErrorKind::kDatabaseNotFound) {
        return {"Check the database's name; it may have been dropped or renamed."};
    }
    if (kind == ErrorKind::kMissingDatabasePermissions) {
        return {fmt::format(
            "GRANT CONNECT ON DATABASE {} TO {};",
            quote_identifier(parameters.database),
            quote_identifier(parameters.user)
        )};
    }
    if (kind == ErrorKind::kServerTls) {
        return {
            "Give the certificate of the server's authority as sslRootCert, check that the host "
            "name is the one in "
            "the server's certificate, or choose a weaker sslMode explicitly."
        };
    }
    return {
        "Check host and port, that the server runs, and that a firewall lets this machine through."
    };
}

[[noreturn]] void throw_refused(PGconn* connection, const ConnectionParameters& parameters) {
    const std::string message = PQerrorMessage(connection);
    const std::string sqlstate = sqlstate_in(message);
    const ErrorKind kind = kind_of_refusal(sqlstate, message);
    ErrorText text;
    const std::string said = redact(tidy(message), parameters);
    text.message = fmt::format("Connecting to {} failed: {}", parameters.describe(), said);
    text.recommended_actions = advice(kind, parameters);
    text.details.push_back({.code = sqlstate, .message = said, .target = parameters.describe()});
    if (!sqlstate.empty()) {
        text.properties["sqlstate"] = sqlstate;
    }
    throw Error{kind, std::move(text)};
}

void require_sane(const ConnectionParameters& parameters) {
    for (const std::string* text :
         {&parameters.host, &parameters.user, &parameters.database, &parameters.ssl_root_cert}) {
        if (text->find('\0') != std::string::npos) {
            throw Error{ErrorKind::kInvalidParameter, "A connection parameter holds a NUL byte."};
        }
    }
    // libpq would take it for a list of servers.
    if (parameters.host.find(',') != std::string::npos) {
        throw Error{ErrorKind::kInvalidParameter, "The host of a server can't hold a comma."};
    }
    if (parameters.host.empty() || parameters.user.empty() || parameters.database.empty()) {
        throw Error{
            ErrorKind::kInvalidParameter,
            "Host, user and database of a PostgreSQL connection must be given."
        };
    }
    if (parameters.port < 1 || parameters.port > 65535) {
        throw Error{
            ErrorKind::kInvalidParameter,
            fmt::format("{} is no port: 1 to 65535 is.", parameters.port)
        };
    }
}

/// Everything that libpq would otherwise take from the environment or the home directory of this
/// process is given.
ConnectionHandle start_connection(
    const ConnectionParameters& parameters, const std::string& root_certificate
) {
    const std::string port = std::to_string(parameters.port);
    std::string password{parameters.password.expose_text()};
    const std::string timeout = std::to_string(parameters.connect_timeout.count());
    const std::string mode{ssl_mode_name(parameters.effective_ssl_mode())};
    std::vector<const char*> keywords;
    std::vector<const char*> values;
    const auto add = [&](const char* keyword, const char* value) {
        keywords.push_back(keyword);
        values.push_back(value);
    };
    add("host", parameters.host.c_str());
    add("port", port.c_str());
    add("user", parameters.user.c_str());
    add("dbname", parameters.database.c_str());
    add("password", password.c_str());
    add("passfile", "/nonexistent");
    add("sslmode", mode.c_str());
    add("sslcert", "/nonexistent");
    add("sslrootcert", root_certificate.empty() ? "/nonexistent" : root_certificate.c_str());
    add("gssencmode", "disable");
    add("target_session_attrs", "any");
    add("client_encoding", "UTF8");
    add("connect_timeout", timeout.c_str());
    add("keepalives_idle", "30");
    add("keepalives_interval", "10");
    add("keepalives_count", "6");
    add("tcp_user_timeout", "90000");
    add("application_name", parameters.application_name.c_str());
    add("options", parameters.options.c_str());
    if (parameters.session == SessionKind::kReplication) {
        add("replication", "true");
    }
    add(nullptr, nullptr);
    constexpr int kNoExpansion = 0;  // A database named `postgresql://h/` is a name.
    ConnectionHandle connection{PQconnectStartParams(keywords.data(), values.data(), kNoExpansion)};
    wipe(password);
    if (!connection) {
        throw Error{ErrorKind::kInternal, "libpq could not allocate a connection."};
    }
    return connection;
}

void finish_connecting(
    PGconn* connection, const ConnectionParameters& parameters, const std::stop_token& stop
) {
    const SystemClock clock;
    const SteadyInstant deadline = clock.steady_now() + parameters.connect_timeout;
    const StopEvent stop_event{stop};
    PQsetErrorVerbosity(connection, PQERRORS_VERBOSE);
    if (PQstatus(connection) == CONNECTION_BAD) {
        throw_refused(connection, parameters);
    }
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED) {
            throw_refused(connection, parameters);
        }
        const short events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        switch (wait_for_socket(PQsocket(connection), events, stop_event, deadline)) {
            case Wait::kStopped:
                throw Error{
                    ErrorKind::kCancelled, "Connecting to PostgreSQL was stopped by request."
                };
            case Wait::kTimeout:
                throw Error{
                    ErrorKind::kServerUnreachable,
                    {.message = fmt::format(
                         "Connecting to {} failed: no answer within {} seconds.",
                         parameters.describe(),
                         parameters.connect_timeout.count()
                     ),
                     .recommended_actions = advice(ErrorKind::kServerUnreachable, parameters)}
                };
            case Wait::kReady:
                break;
        }
        state = PQconnectPoll(connection);
    }
}

}  // namespace

// ---- QueryResult

void QueryResult::Deleter::operator()(void* result) const noexcept {
    PQclear(native(result));
}

QueryResult::QueryResult(void* pg_result) noexcept : result_{pg_result} {}

std::size_t QueryResult::row_count() const noexcept {
    return static_cast<std::size_t>(PQntuples(native(result_.get())));
}

int QueryResult::column_index(std::string_view column) const {
    const int count = PQnfields(native(result_.get()));
    for (int i = 0; i < count; ++i) {
        if (column == PQfname(native(result_.get()), i)) {
            return i;
        }
    }
    throw Error{ErrorKind::kInternal, fmt::format("The query has no column {}.", column)};
}

bool QueryResult::is_null(std::size_t row, std::string_view column) const {
    HOLDFAST_CHECK(row < row_count());
    return PQgetisnull(native(result_.get()), static_cast<int>(row), column_index(column)) != 0;
}

std::string QueryResult::text(std::size_t row, std::string_view column) const {
    HOLDFAST_CHECK(row < row_count());
    const int index = column_index(column);
    const int length = PQgetlength(native(result_.get()), static_cast<int>(row), index);
    return {
        PQgetvalue(native(result_.get()), static_cast<int>(row), index),
        static_cast<std::size_t>(length)
    };
}

std::optional<std::string> QueryResult::optional_text(std::size_t row, std::string_view column)
    const {
    if (is_null(row, column)) {
        return std::nullopt;
    }
    return text(row, column);
}

std::int64_t QueryResult::integer(std::size_t row, std::string_view column) const {
    const std::string value = text(row, column);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc{} || end != value.data() + value.size()) {
        throw Error{
            ErrorKind::kPostgresQuery,
            fmt::format("The server answered \"{}\" for {}, which is no integer.", value, column)
        };
    }
    return number;
}

bool QueryResult::boolean(std::size_t row, std::string_view column) const {
    return text(row, column) == "t";
}

bool QueryResult::first_column_is_true() const {
    HOLDFAST_CHECK(row_count() > 0);
    return std::string_view{PQgetvalue(native(result_.get()), 0, 0)} == "t";
}

// ---- Connection

struct Connection::State {
    ConnectionParameters parameters;
    ConnectionHandle handle;

    std::unique_ptr<char, decltype(&PQfreemem)> copied{nullptr, &PQfreemem};

    std::optional<WireReader> wire;  ///< Between start_bulk() and the end of its answers.
    bool flowing = false;            ///< Bytes came since the last wait for them.

    [[nodiscard]] PGconn* get() const { return handle.get(); }

    [[noreturn]] void throw_closed(std::string_view said, std::string sqlstate = {}) const {
        ErrorText text;
        const std::string message = redact(tidy(said), parameters);
        text.message =
            fmt::format("The connection to {} was lost: {}", parameters.describe(), message);
        text.recommended_actions = {"Check that the server runs and is reachable, then try again."};
        text.details.push_back(
            {.code = sqlstate, .message = message, .target = parameters.describe()}
        );
        if (!sqlstate.empty()) {
            text.properties["sqlstate"] = std::move(sqlstate);
        }
        throw Error{ErrorKind::kServerConnectionClosed, std::move(text)};
    }

    [[noreturn]] void throw_failed(const PGresult* result, const std::string& sql) const {
        throw_failed(
            ServerMessage{
                .severity = field(result, PG_DIAG_SEVERITY),
                .sqlstate = field(result, PG_DIAG_SQLSTATE),
                .primary = field(result, PG_DIAG_MESSAGE_PRIMARY),
                .detail = field(result, PG_DIAG_MESSAGE_DETAIL),
                .hint = field(result, PG_DIAG_MESSAGE_HINT),
            },
            PQresultErrorMessage(result),
            sql
        );
    }

    /// `whole`: what libpq makes of it, for a failure that the server did not report.
    [[noreturn]] void throw_failed(
        const ServerMessage& said, std::string_view whole, const std::string& sql
    ) const {
        const std::string& sqlstate = said.sqlstate;
        const std::string& primary = said.primary;
        const bool closing = sqlstate.starts_with("57P") || sqlstate.starts_with("08");
        if (closing || PQstatus(get()) == CONNECTION_BAD) {
            throw_closed(primary.empty() ? whole : primary, sqlstate);
        }
        ErrorText text;
        text.message = fmt::format(
            "PostgreSQL refused a statement on {}: {}",
            parameters.describe(),
            redact(primary.empty() ? tidy(whole) : primary, parameters)
        );
        text.internal = sql;
        text.properties["sqlstate"] = sqlstate;
        std::string full = said.severity + ": " + primary;
        if (!said.detail.empty()) {
            full += " DETAIL: " + said.detail;
        }
        if (!said.hint.empty()) {
            full += " HINT: " + said.hint;
        }
        text.details.push_back(
            {.code = sqlstate, .message = redact(full, parameters), .target = parameters.describe()}
        );
        const ErrorKind kind = sqlstate == "42501" ? ErrorKind::kMissingDatabasePermissions
                                                   : ErrorKind::kPostgresQuery;
        throw Error{kind, std::move(text)};
    }

    /// Asks the server to give up the running statement, and gives it a moment to say so.
    /// Afterwards the session is usable, or closed.
    void cancel_running() {
        constexpr std::chrono::seconds kPatience{5};
        constexpr milliseconds kRetry{250};
        const SystemClock clock;
        const SteadyInstant end = clock.steady_now() + kPatience;
        // A request that overtakes its statement finds nothing to cancel: it is sent again.
        while (clock.steady_now() < end && request_cancel()) {
            if (drained_before(std::min(end, clock.steady_now() + kRetry))) {
                return;
            }
        }
        handle.reset();
    }

    bool request_cancel() {
        std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel{
            PQgetCancel(get()), &PQfreeCancel
        };
        std::array<char, 256> message{};
        return cancel && PQcancel(cancel.get(), message.data(), message.size()) != 0;
    }

    /// True when the statement has ended before `deadline`.
    bool drained_before(SteadyInstant deadline) {
        const StopEvent never{{}};
        while (true) {
            PQflush(get());
            while (PQisBusy(get()) != 0) {
                if (wait_for_socket(PQsocket(get()), POLLIN, never, deadline) != Wait::kReady ||
                    PQconsumeInput(get()) == 0) {
                    return false;
                }
            }
            PGresult* result = PQgetResult(get());
            if (result == nullptr) {
                return true;
            }
            PQclear(result);
        }
    }

    [[noreturn]] void give_up(Wait why, const QueryOptions& options) {
        if (wire) {
            // What is under way is not for libpq to drain.
            request_cancel();
            handle.reset();
        } else {
            cancel_running();
        }
        if (why == Wait::kStopped) {
            throw Error{
                ErrorKind::kCancelled,
                fmt::format("A statement on {} was stopped by request.", parameters.describe())
            };
        }
        throw Error{
            ErrorKind::kTimeout,
            fmt::format(
                "A statement on {} was cancelled after {} ms.",
                parameters.describe(),
                options.timeout.count()
            )
        };
    }

    /// Until something has come from the server. Whoever gives up here has nothing to go on with:
    /// the session is closed, which also ends a walsender's work.
    void wait_for_server(const QueryOptions& options) {
        const SystemClock clock;
        const StopEvent stop{options.stop};
        const SteadyInstant deadline = clock.steady_now() + options.timeout;
        int unsent = PQflush(get());
        const short events = static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN);
        switch (wait_for_socket(PQsocket(get()), events, stop, deadline)) {
            case Wait::kReady:
                break;
            case Wait::kStopped:
                (void)request_cancel();
                handle.reset();
                throw Error{
                    ErrorKind::kCancelled,
                    fmt::format("A command on {} was stopped by request.", parameters.describe())
                };
            case Wait::kTimeout:
                (void)request_cancel();
                handle.reset();
                throw Error{
                    ErrorKind::kTimeout,
                    fmt::format(
                        "{} said nothing for {} ms.", parameters.describe(), options.timeout.count()
                    )
                };
        }
        if (PQconsumeInput(get()) == 0) {
            throw_closed(PQerrorMessage(get()));
        }
    }

    void flush(const QueryOptions& options) {
        while (const int unsent = PQflush(get())) {
            if (unsent < 0) {
                throw_closed(PQerrorMessage(get()));
            }
            wait_for_server(options);
        }
    }

    QueryResult collect(const std::string& sql, const QueryOptions& options) {
        const SystemClock clock;
        const SteadyInstant deadline = clock.steady_now() + options.timeout;
        const StopEvent stop{options.stop};
        QueryResult last{nullptr};
        while (true) {
            int unsent = PQflush(get());
            while (unsent > 0 || PQisBusy(get()) != 0) {
                const short events = static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN);
                const Wait outcome = wait_for_socket(PQsocket(get()), events, stop, deadline);
                if (outcome != Wait::kReady) {
                    give_up(outcome, options);
                }
                if (PQconsumeInput(get()) == 0) {
                    throw_closed(PQerrorMessage(get()));
                }
                unsent = unsent > 0 ? PQflush(get()) : 0;
            }
            PGresult* result = PQgetResult(get());
            if (result == nullptr) {
                break;
            }
            QueryResult owned{result};
            const ExecStatusType status = PQresultStatus(result);
            if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
                status == PGRES_EMPTY_QUERY) {
                last = std::move(owned);
            } else if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
                       status == PGRES_COPY_BOTH) {
                handle.reset();
                throw Error{ErrorKind::kInternal, "COPY can't be run as an ordinary statement."};
            } else {
                if (PQstatus(get()) != CONNECTION_BAD) {
                    drain();
                }
                throw_failed(result, sql);
            }
        }
        if (PQstatus(get()) == CONNECTION_BAD) {
            throw_closed(PQerrorMessage(get()));
        }
        return last;
    }

    // ---- Without libpq

    void send_wire(ByteSpan bytes, const QueryOptions& options) {
        const SystemClock clock;
        const StopEvent stop{options.stop};
        while (!bytes.empty()) {
            const ssize_t sent =
                ::send(PQsocket(get()), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0) {
                bytes = bytes.subspan(static_cast<std::size_t>(sent));
            } else if (errno == EAGAIN) {
                const Wait wait = wait_for_socket(
                    PQsocket(get()), POLLOUT, stop, clock.steady_now() + options.timeout
                );
                if (wait != Wait::kReady) {
                    give_up(wait, options);
                }
            } else if (errno != EINTR) {
                throw_closed(std::strerror(errno));
            }
        }
    }

    /// The session is closed: what still comes is not for libpq.
    [[noreturn]] void fail_with(const ServerMessage& said) {
        struct Closer {
            State& state;
            ~Closer() { state.handle.reset(); }
        } const closer{*this};
        throw_failed(said, said.primary, {});
    }

    /// The next message that is not merely by the way.
    WireReader::Message next_message(const QueryOptions& options) {
        for (;;) {
            while (const auto message = wire->next()) {
                if (message->type == 'E') {
                    fail_with(parse_server_message(message->body));
                }
                constexpr std::string_view kByTheWay = "NSAK";
                if (kByTheWay.find(message->type) == std::string_view::npos) {
                    return *message;
                }
            }
            receive(options);
        }
    }

    /// How many bytes wake who waits for the socket. Not every system and kind of socket knows it;
    /// then any byte does.
    void set_low_water(int bytes) const {
        (void)::setsockopt(PQsocket(get()), SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
    }

    /// While data flows, waits a moment for a good deal of it: a server sends 8 KiB at a time, and
    /// being woken for each costs both sides more than moving the bytes. Otherwise for any.
    Wait wait_for_bytes(const QueryOptions& options) {
        constexpr int kGoodDealBytes = 128 * 1024;
        constexpr milliseconds kMoment{20};
        const SystemClock clock;
        const StopEvent stop{options.stop};
        const bool flows = std::exchange(flowing, false);
        set_low_water(flows ? kGoodDealBytes : 1);
        const milliseconds patience = flows ? kMoment : options.timeout;
        const Wait wait =
            wait_for_socket(PQsocket(get()), POLLIN, stop, clock.steady_now() + patience);
        return flows && wait == Wait::kTimeout ? Wait::kReady : wait;
    }

    void receive(const QueryOptions& options) {
        const MutableByteSpan room = wire->room();
        for (;;) {
            const ssize_t got = ::recv(PQsocket(get()), room.data(), room.size(), MSG_DONTWAIT);
            if (got > 0) {
                flowing = true;
                wire->add(static_cast<std::size_t>(got));
                if (options.stop.stop_requested()) {
                    give_up(Wait::kStopped, options);
                }
                return;
            }
            if (got == 0) {
                throw_closed("the server closed the connection unexpectedly.");
            }
            if (errno == EAGAIN) {
                if (const Wait wait = wait_for_bytes(options); wait != Wait::kReady) {
                    give_up(wait, options);
                }
            } else if (errno != EINTR) {
                throw_closed(std::strerror(errno));
            }
        }
    }

    Answer next_wire_answer(QueryResult& rows, const QueryOptions& options) {
        std::unique_ptr<PGresult, decltype(&PQclear)> result{nullptr, &PQclear};
        int row = 0;
        for (;;) {
            const WireReader::Message message = next_message(options);
            switch (message.type) {
                case 'T':
                    result.reset(make_result(parse_row_description(message.body)));
                    break;
                case 'D':
                    add_row(result.get(), row++, parse_data_row(message.body));
                    break;
                case 'C':
                    if (!result) {
                        result.reset(PQmakeEmptyPGresult(get(), PGRES_COMMAND_OK));
                    }
                    rows = QueryResult{result.release()};
                    return Answer::kRows;
                case 'H':
                    return Answer::kCopyOut;
                case 'I':
                    break;
                case 'Z':
                    wire.reset();
                    set_low_water(1);
                    return Answer::kEnd;
                default:
                    throw_closed(fmt::format("it sent a message '{}' out of turn.", message.type));
            }
        }
    }

    PGresult* make_result(std::vector<std::string> names) const {
        PGresult* result = PQmakeEmptyPGresult(get(), PGRES_TUPLES_OK);
        std::vector<PGresAttDesc> columns(names.size());
        for (std::size_t i = 0; i < names.size(); ++i) {
            columns[i].name = names[i].data();
        }
        if (result == nullptr ||
            PQsetResultAttrs(result, static_cast<int>(columns.size()), columns.data()) == 0) {
            PQclear(result);
            throw_closed("its answer could not be kept.");
        }
        return result;
    }

    void add_row(
        PGresult* result, int row, const std::vector<std::optional<std::string>>& values
    ) const {
        const bool fits =
            result != nullptr && static_cast<int>(values.size()) == PQnfields(result);
        for (int column = 0; fits && column < PQnfields(result); ++column) {
            std::optional<std::string> value = values[static_cast<std::size_t>(column)];
            const int length = value ? static_cast<int>(value->size()) : -1;
            if (PQsetvalue(result, row, column, value ? value->data() : nullptr, length) == 0) {
                throw_closed("its answer could not be kept.");
            }
        }
        if (!fits) {
            throw_closed("it sent a row that is not as announced.");
        }
    }

    std::optional<ByteSpan> read_wire_copy(const QueryOptions& options) {
        const WireReader::Message message = next_message(options);
        if (message.type == 'd') {
            return message.body;
        }
        if (message.type != 'c') {
            throw_closed(fmt::format("it sent a message '{}' out of turn.", message.type));
        }
        return std::nullopt;
    }

    /// After an error only the end of the statement follows.
    void drain() {
        while (PGresult* result = PQgetResult(get())) {
            PQclear(result);
        }
    }

    void require_ready(const QueryOptions& options) const {
        if (options.stop.stop_requested()) {
            throw Error{
                ErrorKind::kCancelled,
                fmt::format("A statement on {} was stopped by request.", parameters.describe())
            };
        }
        if (!handle) {
            throw_closed("the session was given up after a statement could not be cancelled.");
        }
    }
};

Connection::Connection(std::unique_ptr<State> state) noexcept : state_{std::move(state)} {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Connection Connection::open(const ConnectionParameters& parameters, std::stop_token stop) {
    require_sane(parameters);
    auto state = std::make_unique<State>();
    state->parameters = parameters.clone();
    const RootCertificate root{parameters};
    state->handle = start_connection(parameters, root.own_path());
    finish_connecting(state->get(), parameters, stop);
    PQsetErrorVerbosity(state->get(), PQERRORS_DEFAULT);
    PQsetnonblocking(state->get(), 1);
    PQsetNoticeProcessor(state->get(), [](void*, const char*) {}, nullptr);
    if (PQserverVersion(state->get()) / 10000 < 13) {
        throw Error{
            ErrorKind::kUnsupportedOperation,
            fmt::format(
                "The server at {} runs PostgreSQL {}; 13 is the oldest that is supported.",
                parameters.describe(),
                PQserverVersion(state->get()) / 10000
            )
        };
    }
    const SessionKind kind = state->parameters.session;
    Connection connection{std::move(state)};
    if (kind == SessionKind::kReplication) {
        return connection;  // A walsender knows no settings of this sort.
    }
    [[maybe_unused]] const QueryResult settings = connection.execute(
        "SELECT pg_catalog.set_config('search_path', '', false),"
        " pg_catalog.set_config('lock_timeout', '60000', false),"
        " pg_catalog.set_config('statement_timeout', '0', false),"
        " pg_catalog.set_config('DateStyle', 'ISO', false)",
        {.stop = std::move(stop)}
    );
    return connection;
}

QueryResult Connection::query(
    const std::string& sql,
    const std::vector<std::optional<std::string>>& parameters,
    const QueryOptions& options
) {
    state_->require_ready(options);
    std::vector<const char*> values;
    values.reserve(parameters.size());
    for (const auto& parameter : parameters) {
        values.push_back(parameter ? parameter->c_str() : nullptr);
    }
    constexpr int kTextResults = 0;
    const int sent = PQsendQueryParams(
        state_->get(),
        sql.c_str(),
        static_cast<int>(values.size()),
        nullptr,
        values.data(),
        nullptr,
        nullptr,
        kTextResults
    );
    if (sent == 0) {
        state_->throw_closed(PQerrorMessage(state_->get()));
    }
    return state_->collect(sql, options);
}

QueryResult Connection::execute(const std::string& sql, const QueryOptions& options) {
    state_->require_ready(options);
    if (PQsendQuery(state_->get(), sql.c_str()) == 0) {
        state_->throw_closed(PQerrorMessage(state_->get()));
    }
    return state_->collect(sql, options);
}

void Connection::start(const std::string& sql, const QueryOptions& options) {
    state_->require_ready(options);
    if (PQsendQuery(state_->get(), sql.c_str()) == 0) {
        state_->throw_closed(PQerrorMessage(state_->get()));
    }
}

void Connection::start_bulk(const std::string& sql, const QueryOptions& options) {
    state_->require_ready(options);
    if (PQsslInUse(state_->get()) != 0 || PQgssEncInUse(state_->get()) != 0) {
        start(sql, options);
        return;
    }
    state_->wire.emplace();
    state_->send_wire(make_query_message(sql), options);
}

Answer Connection::next_answer(QueryResult& rows, const QueryOptions& options) {
    state_->require_ready(options);
    if (state_->wire) {
        return state_->next_wire_answer(rows, options);
    }
    while (PQisBusy(state_->get()) != 0) {
        state_->wait_for_server(options);
    }
    PGresult* result = PQgetResult(state_->get());
    if (result == nullptr) {
        return Answer::kEnd;
    }
    QueryResult owned{result};
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COPY_OUT) {
        return Answer::kCopyOut;
    }
    if (status == PGRES_COPY_BOTH) {
        return Answer::kCopyBoth;
    }
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        state_->throw_failed(result, {});
    }
    rows = std::move(owned);
    return Answer::kRows;
}

std::optional<ByteSpan> Connection::read_copy(const QueryOptions& options) {
    state_->require_ready(options);
    if (state_->wire) {
        return state_->read_wire_copy(options);
    }
    for (;;) {
        char* bytes = nullptr;
        constexpr int kDoNotBlock = 1;
        const int size = PQgetCopyData(state_->get(), &bytes, kDoNotBlock);
        state_->copied.reset(bytes);
        if (size > 0) {
            return as_bytes({bytes, static_cast<std::size_t>(size)});
        }
        if (size == -1) {
            return std::nullopt;
        }
        if (size < 0) {
            state_->throw_closed(PQerrorMessage(state_->get()));
        }
        state_->wait_for_server(options);
    }
}

CopyPoll Connection::poll_copy(
    ByteSpan& message, std::chrono::milliseconds patience, const std::stop_token& stop
) {
    state_->require_ready({});
    const SystemClock clock;
    const StopEvent stop_event{stop};
    const SteadyInstant deadline = clock.steady_now() + patience;
    for (;;) {
        char* bytes = nullptr;
        constexpr int kDoNotBlock = 1;
        const int size = PQgetCopyData(state_->get(), &bytes, kDoNotBlock);
        state_->copied.reset(bytes);
        if (size > 0) {
            message = as_bytes({bytes, static_cast<std::size_t>(size)});
            return CopyPoll::kMessage;
        }
        if (size == -1) {
            return CopyPoll::kEnd;
        }
        if (size < 0) {
            state_->throw_closed(PQerrorMessage(state_->get()));
        }
        if (wait_for_socket(PQsocket(state_->get()), POLLIN, stop_event, deadline) !=
            Wait::kReady) {
            return CopyPoll::kNothingYet;
        }
        if (PQconsumeInput(state_->get()) == 0) {
            state_->throw_closed(PQerrorMessage(state_->get()));
        }
    }
}

void Connection::put_copy(ByteSpan message, const QueryOptions& options) {
    state_->require_ready(options);
    const auto* bytes = reinterpret_cast<const char*>(message.data());
    if (PQputCopyData(state_->get(), bytes, static_cast<int>(message.size())) <= 0) {
        state_->throw_closed(PQerrorMessage(state_->get()));
    }
    state_->flush(options);
}

void Connection::end_copy(const QueryOptions& options) {
    state_->require_ready(options);
    if (PQputCopyEnd(state_->get(), nullptr) <= 0) {
        state_->throw_closed(PQerrorMessage(state_->get()));
    }
    state_->flush(options);
}

int Connection::server_version() const noexcept {
    return state_->handle ? PQserverVersion(state_->get()) : 0;
}
bool Connection::uses_tls() const noexcept {
    return state_->handle && PQsslInUse(state_->get()) != 0;
}
const std::string& Connection::database() const noexcept {
    return state_->parameters.database;
}

}  // namespace holdfast::postgres
