#include "postgres/client_tools.h"

#include "base/text.h"
#include "postgres/root_certificate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

/// Where a child finds what it is passed.
constexpr int kPasswordNumber = 3;
constexpr int kCertificateNumber = 4;

/// `pg_dump (PostgreSQL) 15.4 (Debian …)`, `… 18beta1`.
std::optional<ToolSet> read_version(const fs::path& directory, std::string_view output) {
    constexpr std::string_view kMark = "(PostgreSQL) ";
    const std::size_t at = output.find(kMark);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    std::string_view rest = output.substr(at + kMark.size());
    rest = rest.substr(0, rest.find_first_of(" \n"));
    ToolSet tools{.version = std::string{rest}, .directory = directory};
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), tools.major);
    return error == std::errc{} ? std::optional{tools} : std::nullopt;
}

std::optional<ToolSet> probe(const fs::path& directory) {
    std::error_code ignored;
    for (const char* program : {"pg_dump", "pg_restore", "pg_dumpall", "psql"}) {
        if (!fs::exists(directory / program, ignored)) {
            return std::nullopt;
        }
    }
    return read_tool_version(directory, "pg_dump");
}

/// A password file's fields are separated by colons; a backslash escapes.
void append_escaped(std::string& line, std::string_view text) {
    for (const char c : text) {
        if (c == ':' || c == '\\') {
            line.push_back('\\');
        }
        line.push_back(c);
    }
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

/// pg_restore quotes the statement that failed over any number of lines: that is the user's schema,
/// for the log only.
std::string without_statements(std::string_view text) {
    std::string kept;
    bool in_statement = false;
    for (const std::string& line : split(text, '\n')) {
        if (contains(line, "Command was:") || contains(line, "Query was:")) {
            in_statement = true;
        } else if (line.starts_with("pg_restore:") || line.starts_with("pg_dump:")) {
            in_statement = false;
        }
        if (!in_statement) {
            kept += line;
            kept.push_back('\n');
        }
    }
    return std::string{trim(kept)};
}

/// The server's own word, when there is one; else what the program says first.
std::string headline(const std::vector<std::string>& lines) {
    for (const std::string_view mark : {"ERROR:  ", "FATAL:  ", "Error message from server: "}) {
        for (const std::string& line : lines) {
            if (const std::size_t at = line.find(mark); at != std::string::npos) {
                return line.substr(at);
            }
        }
    }
    return lines.front();
}

std::vector<ErrorDetail> message_details(std::string_view text) {
    constexpr std::size_t kDetailsMax = 20;
    std::vector<ErrorDetail> details;
    for (const std::string& line : split(text, '\n')) {
        if (details.size() == kDetailsMax) {
            break;
        }
        if (!trim(line).empty()) {
            details.push_back({.code = {}, .message = std::string{trim(line)}, .target = {}});
        }
    }
    return details;
}

struct Symptom {
    std::string_view words;
    ErrorKind kind;
    std::string_view sqlstate;
};

/// PostgreSQL's programs print messages, not codes. libpq's own are English here (LC_ALL=C); the
/// server's are in the server's language, which only a superuser may change. So this is what can be
/// told at a glance; callers that need to know more look at the server itself. The words are from
/// src/backend, the codes from src/backend/utils/errcodes.txt.
constexpr std::array kSymptoms{
    Symptom{
        "terminating connection due to administrator command",
        ErrorKind::kServerConnectionClosed,
        "57P01"
    },
    Symptom{"the database system is shutting down", ErrorKind::kServerConnectionClosed, "57P03"},
    Symptom{"the database system is starting up", ErrorKind::kServerConnectionClosed, "57P03"},
    Symptom{"the database system is in recovery mode", ErrorKind::kServerConnectionClosed, "57P03"},
    Symptom{
        "server closed the connection unexpectedly", ErrorKind::kServerConnectionClosed, "08006"
    },
    Symptom{"terminating connection because of crash", ErrorKind::kServerConnectionClosed, "57P02"},
    Symptom{
        "SSL connection has been closed unexpectedly", ErrorKind::kServerConnectionClosed, "08006"
    },
    Symptom{"SSL SYSCALL error", ErrorKind::kServerConnectionClosed, "08006"},
    Symptom{"could not receive data from server", ErrorKind::kServerConnectionClosed, "08006"},
    Symptom{"no connection to the server", ErrorKind::kServerConnectionClosed, "08003"},
    Symptom{"password authentication failed", ErrorKind::kServerAuthFailed, "28P01"},
    Symptom{"no pg_hba.conf entry", ErrorKind::kServerAuthFailed, "28000"},
    Symptom{"permission denied", ErrorKind::kMissingDatabasePermissions, "42501"},
    Symptom{
        "query would be affected by row-level security",
        ErrorKind::kMissingDatabasePermissions,
        "42501"
    },
    Symptom{"canceling statement due to lock timeout", ErrorKind::kTimeout, "55P03"},
    Symptom{"canceling statement due to statement timeout", ErrorKind::kTimeout, "57014"},
    Symptom{"No space left on device", ErrorKind::kRestoreFailed, "53100"},
};

}  // namespace

std::vector<fs::path> standard_program_directories() {
    std::vector<fs::path> directories;
    std::error_code ignored;
    for (const fs::directory_entry& entry :
         fs::directory_iterator{"/usr/lib/postgresql", ignored}) {
        directories.push_back(entry.path() / "bin");
    }
    for (const fs::directory_entry& entry : fs::directory_iterator{"/usr", ignored}) {
        if (entry.path().filename().string().starts_with("pgsql-")) {
            directories.push_back(entry.path() / "bin");
        }
    }
    return directories;
}

std::optional<ToolSet> read_tool_version(const fs::path& directory, std::string_view program) {
    std::optional<ToolSet> tools;
    run_boundary(
        [&] {
            ProcessSpec spec;
            spec.program = directory / program;
            spec.arguments = {"--version"};
            spec.environment = {{"LC_ALL", "C"}};
            const RunResult result = run_process(spec, 4096, {});
            if (result.status.ok()) {
                tools = read_version(directory, result.output);
            }
        },
        [](const Error&) {}
    );
    return tools;
}

ClientTools::ClientTools(const std::vector<fs::path>& directories) {
    for (const fs::path& directory :
         directories.empty() ? standard_program_directories() : directories) {
        if (auto tools = probe(directory)) {
            found_.push_back(std::move(*tools));
        }
    }
    std::stable_sort(found_.begin(), found_.end(), [](const ToolSet& a, const ToolSet& b) {
        return a.major < b.major;
    });
}

const ToolSet& ClientTools::at_least(int major) const {
    for (const ToolSet& tools : found_) {
        if (tools.major >= major) {
            return tools;
        }
    }
    const std::string newest = found_.empty()
                                   ? "none was found"
                                   : fmt::format("the newest found is {}", found_.back().version);
    throw Error{
        ErrorKind::kClientToolMissing,
        {.message = fmt::format(
             "PostgreSQL {} needs pg_dump and pg_restore of version {} or newer; {}.",
             major,
             major,
             newest
         ),
         .recommended_actions =
             {fmt::format(
                  "Install the package postgresql-client-{} (apt.postgresql.org has every "
                  "version).",
                  major
              ),
              "Or name the directory that holds the programs in the configuration."},
         .properties = {{"requiredMajor", std::to_string(major)}}}
    };
}

ToolConnection::ToolConnection(const ConnectionParameters& parameters) {
    std::string line = "*:*:*:*:";
    append_escaped(line, parameters.password.expose_text());
    line.push_back('\n');
    password_file_ = make_memory_file("holdfast-passfile", as_bytes(line));
    wipe(line);

    RootCertificate root{parameters};
    const std::string certificate =
        root.in_memory() ? fmt::format("/proc/self/fd/{}", kCertificateNumber) : root.own_path();
    conninfo_ = make_conninfo({
        {"host", parameters.host},
        {"port", std::to_string(parameters.port)},
        {"user", parameters.user},
        {"dbname", parameters.database},
        {"passfile", fmt::format("/proc/self/fd/{}", kPasswordNumber)},
        {"sslmode", std::string{ssl_mode_name(parameters.effective_ssl_mode())}},
        {"sslcert", "/nonexistent"},
        {"sslrootcert", certificate.empty() ? "/nonexistent" : certificate},
        {"gssencmode", "disable"},
        {"connect_timeout", std::to_string(parameters.connect_timeout.count())},
        // A server that is gone without a word is noticed within a minute and a half.
        {"keepalives_idle", "30"},
        {"keepalives_interval", "10"},
        {"keepalives_count", "6"},
        {"tcp_user_timeout", "90000"},
        {"application_name", parameters.application_name},
        {"options", parameters.options},
    });
    if (root.in_memory()) {
        root_certificate_ = root.take();
    }
}

void ToolConnection::apply(ProcessSpec& spec) const {
    spec.arguments.push_back("--no-password");
    spec.arguments.push_back("--dbname=" + conninfo_);
    // Nothing of ours: PGPASSWORD, PGSERVICE or PGOPTIONS of whoever started this process must not
    // matter.
    spec.environment = {
        {"LC_ALL", "C"}, {"LC_MESSAGES", "C"}, {"TZ", "UTC"}, {"HOME", "/nonexistent"}
    };
    spec.files.push_back({.source = password_file_.get(), .number = kPasswordNumber});
    if (root_certificate_.valid()) {
        spec.files.push_back({.source = root_certificate_.get(), .number = kCertificateNumber});
    }
}

Error tool_error(
    const ToolFailure& failure, ErrorKind fallback, const ConnectionParameters& parameters
) {
    const std::string everything = redact(trim(failure.standard_error), parameters);
    const std::string said = without_statements(everything);
    ErrorKind kind = fallback;
    std::string sqlstate;
    for (const Symptom& symptom : kSymptoms) {
        if (contains(said, symptom.words)) {
            kind = symptom.kind == ErrorKind::kRestoreFailed ? fallback : symptom.kind;
            sqlstate = symptom.sqlstate;
            break;
        }
    }
    ErrorText text;
    const std::vector<std::string> lines = split(said, '\n');
    text.message = fmt::format(
        "{} on {} ended with {}{}{}",
        failure.program,
        parameters.describe(),
        failure.status.describe(),
        said.empty() ? "." : ": ",
        said.empty() ? "" : headline(lines)
    );
    text.details = message_details(said);
    if (!text.details.empty() && !sqlstate.empty()) {
        text.details.front().code = sqlstate;
        text.properties["sqlstate"] = sqlstate;
    }
    text.properties["tool"] = failure.program;
    text.internal = everything;
    text.recommended_actions = {"See the details for what the server said; cure it and try again."};
    return Error{kind, std::move(text)};
}

}  // namespace holdfast::postgres
