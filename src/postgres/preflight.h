#pragma once

#include "postgres/client_tools.h"
#include "postgres/connection.h"
#include "postgres/server_info.h"

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::postgres {

enum class Severity {
    kNote,     ///< Good to know; a backup is complete without.
    kWarning,  ///< A backup will be CompletedWithWarnings.
    kError,    ///< A backup would fail.
};

/// One thing that would make a backup fail or incomplete.
struct Finding {
    Severity severity = Severity::kError;
    std::string
        code;  ///< Stable word: `MissingConnect`, `MissingSelect`, `RowSecurity`, `WeakTls`…
    std::string database;  ///< Empty: the server.
    std::string message;
    std::vector<std::string> remedies;  ///< SQL statements or sentences that cure it.
};

enum class SkipCause { kExcluded, kAllowsNoConnections, kTemplate, kManagedService, kDropped };

struct SkippedDatabase {
    std::string name;
    SkipCause cause = SkipCause::kExcluded;
    std::string reason;  ///< In words: `excluded by configuration`, `does not allow connections`
};

/// What of a server is to be backed up.
struct BackupScope {
    std::optional<std::string> database;          ///< Absent: every database that is no template.
    std::vector<std::string> excluded_databases;  ///< Only for a whole server.
};

struct PreflightReport {
    ServerInfo server;
    std::vector<std::string> databases;    ///< Those that will be dumped.
    std::vector<SkippedDatabase> skipped;  ///< Those that will not, and why.
    std::vector<Finding> findings;
    std::uint64_t size_estimate_bytes = 0;
    std::string client_version;  ///< Of the pg_dump that will be used.

    [[nodiscard]] bool ok() const noexcept;
    [[nodiscard]] std::vector<std::string> warnings() const;
    /// Throws kMissingDatabasePermissions (or the finding's own kind) with every error as a detail
    /// and every statement that cures as a recommended action.
    void throw_if_failed() const;
};

/// Connects and reports everything that is missing, at once. Throws what Connection::open throws,
/// kDatabaseNotFound, kClientToolMissing; missing rights are findings.
[[nodiscard]] PreflightReport preflight_backup(
    const ConnectionParameters& connection,
    const BackupScope& scope,
    const ClientTools& tools,
    std::stop_token stop = {}
);

}  // namespace holdfast::postgres
