#include "postgres/restore_files.h"

#include "base/text.h"
#include "postgres/archive_composer.h"
#include "postgres/logical_restore.h"
#include "postgres/streams.h"

#include <charconv>
#include <map>

#include <fmt/format.h>

namespace holdfast::postgres {
namespace {

constexpr std::uint64_t kGlobalsBytesMax = 256 * kMiB;
constexpr std::uint64_t kSettingsBytesMax = 16 * kMiB;
constexpr std::size_t kSchemaBytesMax = 128 * kMiB;
constexpr int kArchiveNumber = 3;

bool has_stream(const StreamSource& source, const std::string& name) {
    bool found = false;
    source.list(name, [&](const StreamInfo& stream) { found = found || stream.spec.name == name; });
    return found;
}

std::string read_text(const StreamSource& source, const std::string& name) {
    return std::string{as_text(read_stream(source, name, kGlobalsBytesMax))};
}

/// Statements of pg_dumpall, each ending in a semicolon. A literal may hold any character, line
/// ends too.
std::vector<std::string> split_statements(std::string_view sql) {
    std::vector<std::string> statements;
    std::string current;
    char quote = 0;
    for (const char c : sql) {
        if (quote != 0) {
            quote = c == quote ? 0 : quote;
        } else if (c == '\'' || c == '"') {
            quote = c;
        } else if (current.empty() && (c == '\n' || c == ' ')) {
            continue;
        }
        current.push_back(c);
        if (c == ';' && quote == 0) {
            statements.push_back(std::exchange(current, {}));
        }
    }
    return statements;
}

/// The identifier at the start of `text`, as written and as meant.
struct Identifier {
    std::string written;
    std::string name;
};
Identifier leading_identifier(std::string_view text) {
    Identifier result;
    if (!text.starts_with('"')) {
        result.written = text.substr(0, text.find_first_of(" ;"));
        result.name = result.written;
        return result;
    }
    result.written = "\"";
    for (std::size_t i = 1; i < text.size(); ++i) {
        result.written.push_back(text[i]);
        if (text[i] == '"') {
            if (i + 1 == text.size() || text[i + 1] != '"') {
                break;
            }
            result.written.push_back(text[++i]);
        }
        result.name.push_back(text[i]);
    }
    return result;
}

/// Only a superuser may say NOSUPERUSER, and a new role is that anyway.
std::string without_defaults(std::string statement) {
    const std::size_t password = std::min(statement.find(" PASSWORD "), statement.size());
    std::string head = statement.substr(0, password);
    for (const std::string_view word : {" NOSUPERUSER", " NOREPLICATION", " NOBYPASSRLS"}) {
        if (const std::size_t at = head.find(word); at != std::string::npos) {
            head.erase(at, word.size());
        }
    }
    return head + statement.substr(password);
}

std::string guarded(std::string_view catalog_condition, std::string_view body) {
    return fmt::format(
        "SELECT NOT EXISTS (SELECT FROM {}) AS missing \\gset\n\\if :missing\n{}\\endif\n",
        catalog_condition,
        body
    );
}

constexpr std::string_view kPsqlHeader =
    "-- For psql: psql -X -v ON_ERROR_STOP=1 -f <this file>\n"
    "SET client_encoding = 'UTF8';\n"
    "SET standard_conforming_strings = on;\n";

/// Single quotes for a POSIX shell.
std::string shell_quote(std::string_view text) {
    std::string quoted = "'";
    for (const char c : text) {
        if (c == '\'') {
            quoted += "'\\''";
        } else {
            quoted.push_back(c);
        }
    }
    return quoted + "'";
}

std::string schema_of(
    const ArchiveComposer& composer, const ToolSet& tools, const std::stop_token& stop
) {
    MemoryBytes archive;
    ComposePlan plan;
    plan.shape = ComposeShape::kPostData;  // Keeps the definitions, and has the grants too.
    composer.compose(plan, archive);
    const FileDescriptor file = make_memory_file("holdfast-toc", archive.bytes());
    ProcessSpec spec;
    spec.program = tools.program("pg_restore");
    spec.arguments = {"--schema-only", "--file=-", fmt::format("/proc/self/fd/{}", kArchiveNumber)};
    spec.environment = {{"LC_ALL", "C"}};
    spec.files = {{.source = file.get(), .number = kArchiveNumber}};
    const RunResult result = run_process(spec, kSchemaBytesMax, stop);
    if (!result.status.ok()) {
        ErrorText text;
        text.message = fmt::format(
            "pg_restore could not render the schema of database {}: {}",
            quote_identifier(composer.toc().header().database),
            trim(result.error)
        );
        throw Error{ErrorKind::kRestoreFailed, std::move(text)};
    }
    return result.output;
}

// ---- restore.sh

constexpr std::string_view kScriptStart = R"sh(
set -eu
umask 077

usage() {
    cat <<'END'
Restores the databases of this backup with PostgreSQL's own programs.

  -j, --jobs N         parallel jobs of pg_restore (default: 2)
      --no-owner       leave owners and grants out; everything belongs to you
      --no-roles       do not create the roles
      --tablespaces    create the tablespaces and use them (default: all in pg_default)
      --list           name the databases and stop
  -h, --help           this text

Without names all databases are restored. One that exists is left alone. The server is the one
that PGHOST, PGPORT, PGUSER and PGPASSFILE or PGPASSWORD name; PGDATABASE (default: postgres) is
connected to for creating databases.
END
}

die() {
    echo "$0: $*" >&2
    exit 1
}

jobs=2
owner=yes
roles=yes
tablespaces=no
list=no
while [ $# -gt 0 ]; do
    case "$1" in
        -j | --jobs) jobs=${2:?"$1 needs a number"}; shift ;;
        --no-owner) owner=no ;;
        --no-roles) roles=no ;;
        --tablespaces) tablespaces=yes ;;
        --list) list=yes ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        -*) usage >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done
cd -- "$(dirname -- "$0")"
PGDATABASE=${PGDATABASE:-postgres}
export PGDATABASE

sql() {
    psql -X -q -v ON_ERROR_STOP=1 "$@"
}

# The major version of a program: "pg_restore (PostgreSQL) 15.4" is 15.
major_of() {
    "$1" --version | sed -n 's/^[^0-9]*\([0-9][0-9]*\).*/\1/p'
}

# wanted NAME ARGUMENTS…: whether a database was asked for; without names all are.
wanted() {
    [ $# -gt 1 ] || return 0
    this=$1
    shift
    for name in "$@"; do
        [ "$name" != "$this" ] || return 0
    done
    return 1
}

# check FILE SHA256: the file is there and what the backup wrote.
check() {
    [ -r "$1" ] || die "$1 is missing"
    [ -n "$2" ] || return 0
    if ! command -v sha256sum >/dev/null; then
        echo "$1: not checked, sha256sum is not installed" >&2
        return 0
    fi
    sum=$(sha256sum <"$1")
    [ "${sum%% *}" = "$2" ] || die "$1 is damaged: its SHA-256 is not the one of the backup"
}

# A database that is half there must not look like a restored one.
current=
interrupted() {
    trap '' INT TERM HUP
    if [ -n "$current" ]; then
        echo "interrupted, dropping the unfinished database again" >&2
        "drop_$current"
    fi
    exit 1
}
trap interrupted INT TERM HUP

# restore NUMBER FILE NAME EXISTS-QUERY CONNINFO, with create_NUMBER, drop_NUMBER and finish_NUMBER.
restore() {
    if [ -n "$(printf '%s' "$4" | sql -At -f -)" ]; then
        echo "database $3 exists: left alone"
        return 0
    fi
    echo "database $3: creating"
    "create_$1"
    current=$1
    echo "database $3: restoring $2"
    options=
    [ "$owner" = yes ] || options="--no-owner --no-acl"
    [ "$tablespaces" = yes ] || options="$options --no-tablespaces"
    # shellcheck disable=SC2086
    if ! pg_restore --exit-on-error --no-password --jobs="$jobs" $options --dbname="$5" -- "$2"; then
        echo "database $3: failed, dropping it again" >&2
        "drop_$1"
        exit 1
    fi
    "finish_$1"
    current=
    echo "database $3: done"
}
)sh";

/// One database: what is particular to it, as functions that the common part calls.
std::string script_functions(const RestoreScriptDatabase& entry, std::size_t number, int major) {
    const DatabaseInfo& database = entry.database;
    const std::string name = database.name;
    const auto heredoc = [](const std::string& sql) {
        return fmt::format("    sql -f - <<'HOLDFAST_SQL'\n{}HOLDFAST_SQL\n", sql);
    };
    const std::string create =
        create_database_sql(database, {name, major}, Tablespaces::kSkip) + ";\n";
    const std::string placed =
        create_database_sql(database, {name, major}, Tablespaces::kRestore) + ";\n";
    std::string settings;
    std::string ownership;
    for (const std::string& statement : database_settings_sql(database, name)) {
        (statement.starts_with("ALTER ROLE ") ? ownership : settings) += statement + ";\n";
    }
    for (const std::string& statement : database_ownership_sql(database, name)) {
        ownership += statement + ";\n";
    }
    std::string text = fmt::format("\n# ---- {}\n", percent_encode(name));
    if (placed == create) {
        text += fmt::format("create_{}() {{\n{}}}\n", number, heredoc(create));
    } else {
        text += fmt::format(
            "create_{}() {{\n    if [ \"$tablespaces\" = yes ]; then\n{}    else\n{}    fi\n}}\n",
            number,
            heredoc(placed),
            heredoc(create)
        );
    }
    text += fmt::format(
        "drop_{}() {{\n{}}}\n",
        number,
        heredoc(fmt::format("DROP DATABASE {} WITH (FORCE);\n", quote_identifier(name)))
    );
    text += fmt::format(
        "finish_{}() {{\n{}    [ \"$owner\" = yes ] || return 0\n{}}}\n",
        number,
        heredoc(settings),
        heredoc(ownership)
    );
    return text;
}

std::string script_check(const RestoreScriptInput& input, const std::string& file_name) {
    const auto sum = input.sha256.find(file_name);
    return fmt::format(
        "    check {} {}\n",
        shell_quote("./" + file_name),
        sum == input.sha256.end() ? "''" : sum->second
    );
}

std::string script_main(const RestoreScriptInput& input) {
    std::string text = "\n# ---- what to do\nif [ \"$list\" = yes ]; then\n";
    for (const RestoreScriptDatabase& entry : input.databases) {
        text += fmt::format("    printf '%s\\n' {}\n", shell_quote(entry.database.name));
    }
    text += fmt::format(
        "    exit 0\nfi\nfor program in psql pg_restore; do\n"
        "    command -v \"$program\" >/dev/null || die \"$program is not installed (package "
        "postgresql-client-{0})\"\n"
        "done\n[ \"$(major_of pg_restore)\" -ge {0} ] || die \"pg_restore must be of version {0} "
        "or newer\"\n",
        input.client_major_min
    );
    text += fmt::format(
        "[ \"$(sql -At -c 'SHOW server_version_num')\" -ge {} ] || die \"the server must be of "
        "version {} or newer\"\n",
        input.client_major_min * 10000,
        input.client_major_min
    );
    std::string known;
    for (const RestoreScriptDatabase& entry : input.databases) {
        known += (known.empty() ? "" : " | ") + shell_quote(entry.database.name);
    }
    if (!known.empty()) {
        text += fmt::format(
            "for name in \"$@\"; do\n    case \"$name\" in\n        {}) ;;\n"
            "        *) die \"this backup has no database $name; --list names those it has\" ;;\n"
            "    esac\ndone\n",
            known
        );
    }
    // All that will be read is checked before anything is made.
    for (const RestoreScriptDatabase& entry : input.databases) {
        text += fmt::format(
            "if wanted {} \"$@\"; then\n{}fi\n",
            shell_quote(entry.database.name),
            script_check(input, entry.file_name)
        );
    }
    if (!input.tablespace_file.empty()) {
        text += fmt::format(
            "if [ \"$tablespaces\" = yes ]; then\n{}fi\n",
            script_check(input, input.tablespace_file)
        );
    }
    if (!input.roles_file.empty()) {
        text += fmt::format(
            "if [ \"$roles\" = yes ] && [ \"$owner\" = yes ]; then\n{}fi\n",
            script_check(input, input.roles_file)
        );
    }
    if (!input.tablespace_file.empty()) {
        text += fmt::format(
            "if [ \"$tablespaces\" = yes ]; then\n    sql -f {}\nfi\n",
            shell_quote("./" + input.tablespace_file)
        );
    }
    if (!input.roles_file.empty()) {
        text += fmt::format(
            "if [ \"$roles\" = yes ] && [ \"$owner\" = yes ]; then\n    echo \"roles: creating "
            "those that are missing\"\n"
            "    sql -f {}\nfi\n",
            shell_quote("./" + input.roles_file)
        );
    }
    return text;
}

}  // namespace

std::string render_roles_sql(const StreamSource& source, RolePasswords passwords) {
    const bool with = passwords == RolePasswords::kInclude;
    const std::string stream = with ? "globals/roles_with_passwords.sql" : "globals/roles.sql";
    if (with && !has_stream(source, stream)) {
        throw Error{
            ErrorKind::kMissingDatabasePermissions,
            {.message = "The backup holds no password hashes: its role could not read pg_authid.",
             .recommended_actions =
                 {"Restore without role passwords and set new ones.",
                  "For the next backups: GRANT SELECT ON pg_catalog.pg_authid to the backup's role."
                 }}
        };
    }
    std::vector<std::string> order;
    std::map<std::string, std::string> bodies;
    std::string rest;
    for (const std::string& statement : split_statements(read_text(source, stream))) {
        const bool creates = statement.starts_with("CREATE ROLE ");
        if (creates || statement.starts_with("ALTER ROLE ")) {
            const std::size_t start = creates ? std::string_view{"CREATE ROLE "}.size()
                                              : std::string_view{"ALTER ROLE "}.size();
            const std::string name =
                leading_identifier(std::string_view{statement}.substr(start)).name;
            if (creates) {
                order.push_back(name);
            }
            bodies[name] += (creates ? statement : without_defaults(statement)) + "\n";
        } else if (!statement.starts_with("SET ")) {
            rest += statement + "\n";
        }
    }
    std::string text = "-- Roles of the server. A role that exists is left as it is.\n";
    text += kPsqlHeader;
    for (const std::string& name : order) {
        text += guarded(
            fmt::format("pg_catalog.pg_roles WHERE rolname = {}", quote_literal(name)),
            "BEGIN;\n" + bodies[name] + "COMMIT;\n"
        );
    }
    return text + rest;
}

std::string render_tablespaces_sql(const StreamSource& source) {
    std::string text =
        "-- Tablespaces of the server: their directories must exist. A tablespace that exists is "
        "left as it is.\n";
    text += kPsqlHeader;
    for (const std::string& statement :
         split_statements(read_text(source, "globals/tablespaces.sql"))) {
        constexpr std::string_view kCreate = "CREATE TABLESPACE ";
        if (statement.starts_with(kCreate)) {
            const std::string name =
                leading_identifier(std::string_view{statement}.substr(kCreate.size())).name;
            text += guarded(
                fmt::format("pg_catalog.pg_tablespace WHERE spcname = {}", quote_literal(name)),
                statement + "\n"
            );
        } else if (!statement.starts_with("SET ")) {
            text += statement + "\n";
        }
    }
    return text;
}

std::string render_schema_sql(
    const StreamSource& source, const ClientTools& tools, std::stop_token stop
) {
    std::string text =
        "-- Definitions of every database, for reading: they are in the database files already.\n";
    for (const std::string& name : databases_in(source)) {
        const std::string prefix = database_prefix(name);
        text += fmt::format("\n-- ==== database {}\n", percent_encode(name));
        if (!has_stream(source, prefix + "toc")) {
            text +=
                "-- Its archive is kept as one piece; pg_restore --schema-only of its file shows "
                "them.\n";
            continue;
        }
        const ArchiveComposer composer{source, prefix};
        const std::string& dumped_by = composer.toc().header().dump_version;
        int major = 0;
        std::from_chars(dumped_by.data(), dumped_by.data() + dumped_by.size(), major);
        text += schema_of(composer, tools.at_least(major), stop);
    }
    return text;
}

std::string render_restore_script(const RestoreScriptInput& input) {
    std::string text = "#!/bin/sh\n# Made by holdfast. What it restores is listed in ";
    text += input.manifest_file + ".\n";
    text += kScriptStart.substr(1);
    for (std::size_t i = 0; i < input.databases.size(); ++i) {
        text += script_functions(input.databases[i], i, input.client_major_min);
    }
    text += script_main(input);
    for (std::size_t i = 0; i < input.databases.size(); ++i) {
        const std::string& name = input.databases[i].database.name;
        const std::string exists = fmt::format(
            "SELECT 1 FROM pg_catalog.pg_database WHERE datname = {}", quote_literal(name)
        );
        text += fmt::format(
            "if wanted {} \"$@\"; then\n    restore {} {} {} {} {}\nfi\n",
            shell_quote(name),
            i,
            shell_quote("./" + input.databases[i].file_name),
            shell_quote(name),
            shell_quote(exists),
            shell_quote(make_conninfo({{"dbname", name}}))
        );
    }
    return text;
}

DatabaseInfo read_database_settings(const StreamSource& source, const std::string& database) {
    const Bytes bytes =
        read_stream(source, database_prefix(database) + "settings.json", kSettingsBytesMax);
    return database_from_json(
        parse_json(as_text(bytes), ErrorKind::kVaultCorrupt, "settings of the database")
    );
}

}  // namespace holdfast::postgres
