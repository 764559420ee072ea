#pragma once

#include "base/process.h"
#include "postgres/connection.h"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::postgres {

/// PostgreSQL's programs of one version, in one directory.
struct ToolSet {
    int major = 0;
    std::string version;  ///< `15.4`
    std::filesystem::path directory;
    [[nodiscard]] std::filesystem::path program(std::string_view name) const {
        return directory / name;
    }
};

/// Debian's and Ubuntu's layout /usr/lib/postgresql/*/bin, then that of PostgreSQL's own RPMs.
[[nodiscard]] std::vector<std::filesystem::path> standard_program_directories();
/// What `program --version` in `directory` says; nothing when it can't be run or says something
/// else.
[[nodiscard]] std::optional<ToolSet> read_tool_version(
    const std::filesystem::path& directory, std::string_view program
);

/// Finds pg_dump, pg_restore, pg_dumpall and psql; PATH is never used. Immutable after
/// construction, safe from any thread.
class ClientTools {
public:
    /// Looks into `directories` (each holds pg_dump itself); when there are none, into the Debian
    /// layout /usr/lib/postgresql/*/bin and the usual places of PostgreSQL's own packages. Runs
    /// `pg_dump --version` once in each.
    explicit ClientTools(const std::vector<std::filesystem::path>& directories = {});

    /// Ascending by major.
    [[nodiscard]] const std::vector<ToolSet>& found() const noexcept { return found_; }
    /// The oldest tools that are at least of this major. Throws kClientToolMissing, naming the
    /// package to install.
    [[nodiscard]] const ToolSet& at_least(int major) const;

private:
    std::vector<ToolSet> found_;
};

/// A child's environment, password file and conninfo for `parameters`; keeps the memory files that
/// the child reads.
class ToolConnection {
public:
    explicit ToolConnection(const ConnectionParameters& parameters);
    /// Adds `--dbname=<conninfo>`, `--no-password`, the environment and the passed files to `spec`.
    void apply(ProcessSpec& spec) const;

private:
    std::string conninfo_;
    FileDescriptor password_file_;
    FileDescriptor root_certificate_;
};

/// What a tool wrote to standard error, understood: the server's own messages (`ERROR: …`) as
/// details, SQLSTATE-like kind where it can be told, secrets taken out.
struct ToolFailure {
    std::string program;  ///< `pg_dump`
    std::string standard_error;
    ExitStatus status;
};
/// Makes the Error for a tool that failed. `fallback` is kDumpFailed or kRestoreFailed.
[[nodiscard]] Error tool_error(
    const ToolFailure& failure, ErrorKind fallback, const ConnectionParameters& parameters
);

}  // namespace holdfast::postgres
