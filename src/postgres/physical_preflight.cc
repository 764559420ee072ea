#include "base/error.h"
#include "postgres/configuration_files.h"
#include "postgres/physical_backup.h"
#include "postgres/server_info.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace holdfast::postgres {

namespace {

std::string sqlstate_of(const Error& error) {
    const auto& properties = error.text().properties;
    const auto found = properties.find("sqlstate");
    return found == properties.end() ? std::string{} : found->second;
}

/// What ends a preflight, since everything after it would fail the same way.
bool is_about_the_network(const Error& error) {
    if (const std::string sqlstate = sqlstate_of(error);
        sqlstate == "53300" || sqlstate == "42501") {
        return false;  // The server was reached and refused.
    }
    constexpr std::array kKinds{
        ErrorKind::kServerUnreachable,
        ErrorKind::kServerTls,
        ErrorKind::kTimeout,
        ErrorKind::kCancelled,
        ErrorKind::kUnsupportedOperation,
        ErrorKind::kInternal,
    };
    return std::find(kKinds.begin(), kKinds.end(), error.kind()) != kKinds.end();
}

Finding replication_finding(const Error& error, const ConnectionParameters& parameters) {
    const std::string sqlstate = sqlstate_of(error);
    Finding finding;
    finding.message = error.what();
    if (sqlstate == "42501" || error.kind() == ErrorKind::kMissingReplicationRight) {
        finding.code = "MissingReplication";
        finding.message = fmt::format(
            "The role {} may not take a physical backup: it lacks REPLICATION.", parameters.user
        );
        finding.remedies = {
            fmt::format("ALTER ROLE {} REPLICATION;", quote_identifier(parameters.user))};
    } else if (sqlstate == "53300") {
        finding.code = "NoFreeWalSender";
        finding.remedies = {
            "Raise max_wal_senders (a backup takes two) and restart the server, or end a "
            "replication client that is not needed (pg_stat_replication)."};
    } else {
        finding.code = "ReplicationHba";
        finding.remedies = {fmt::format(
            "Let the role in by a line of pg_hba.conf, then SELECT pg_reload_conf(): "
            "host replication {} <address of this machine>/32 scram-sha-256",
            quote_identifier(parameters.user)
        )};
    }
    return finding;
}

/// What an ordinary session adds: why there is no walsender, and what may be read.
void look_with_sql(
    const ConnectionParameters& parameters, PhysicalPreflight& report, const std::stop_token& stop
) {
    try {
        ConnectionParameters ordinary = parameters.clone();
        ordinary.session = SessionKind::kOrdinary;
        Connection session = Connection::open(ordinary, stop);
        const QueryResult settings = session.execute(
            "SELECT current_setting('wal_level') AS wal_level,"
            " current_setting('max_wal_senders') AS senders",
            {.stop = stop}
        );
        if (settings.text(0, "wal_level") == "minimal") {
            // The server then allows no walsender at all, which is the same fault seen twice.
            std::erase_if(report.findings, [](const Finding& one) {
                return one.code == "NoFreeWalSender";
            });
            report.findings.push_back(
                {.code = "WalLevel",
                 .message = "The server writes too little log for a physical backup: wal_level is "
                            "minimal.",
                 .remedies =
                     {"ALTER SYSTEM SET wal_level = 'replica';",
                      "ALTER SYSTEM SET max_wal_senders = 10;",
                      "Restart the server."}}
            );
        }
        report.tablespaces = list_tablespaces(session, stop);
        if (auto finding = find_unreadable_configuration(session, parameters.user, stop)) {
            report.findings.push_back(std::move(*finding));
        }
    } catch (const Error& error) {
        if (is_about_the_network(error)) {
            throw;
        }
        report.findings.push_back(
            {.severity = Severity::kNote,
             .code = "NoSqlSession",
             .message = fmt::format(
                 "Without an ordinary session, configuration files outside the data directory are "
                 "not saved and damaged pages not read twice: {}",
                 error.what()
             ),
             .remedies = {fmt::format(
                 "GRANT CONNECT ON DATABASE {} TO {};",
                 quote_identifier(parameters.database),
                 quote_identifier(parameters.user)
             )}}
        );
    }
}

void look_with_walsenders(
    const ConnectionParameters& parameters, PhysicalPreflight& report, const std::stop_token& stop
) {
    ConnectionParameters walsender = parameters.clone();
    walsender.session = SessionKind::kReplication;
    walsender.options.clear();
    try {
        // Both at once, as a backup has them.
        Connection data = Connection::open(walsender, stop);
        const Connection log = Connection::open(walsender, stop);
        report.server_version = data.server_version();
        report.system_identifier =
            data.execute("IDENTIFY_SYSTEM", {.stop = stop}).text(0, "systemid");
        report.data_checksums =
            data.execute("SHOW data_checksums", {.stop = stop}).text(0, "data_checksums") == "on";
        if (!report.data_checksums) {
            report.findings.push_back(
                {.severity = Severity::kNote,
                 .code = "NoDataChecksums",
                 .message = "The server has no data checksums: damaged pages go unnoticed.",
                 .remedies = {"Stop the server, run pg_checksums --enable, start it."}}
            );
        }
    } catch (const Error& error) {
        if (is_about_the_network(error)) {
            throw;
        }
        report.findings.push_back(replication_finding(error, walsender));
    }
}

ErrorKind kind_of(const Finding& finding) {
    if (finding.code == "MissingReplication") {
        return ErrorKind::kMissingReplicationRight;
    }
    if (finding.code == "NoFreeWalSender") {
        return ErrorKind::kNoFreeWalSender;
    }
    return finding.code == "ReplicationHba" ? ErrorKind::kServerAuthFailed
                                            : ErrorKind::kBaseBackupFailed;
}

}  // namespace

bool PhysicalPreflight::ok() const noexcept {
    return std::none_of(findings.begin(), findings.end(), [](const Finding& finding) {
        return finding.severity == Severity::kError;
    });
}

std::vector<std::string> PhysicalPreflight::warnings() const {
    std::vector<std::string> out;
    for (const Finding& finding : findings) {
        if (finding.severity == Severity::kWarning) {
            out.push_back(finding.message);
        }
    }
    return out;
}

void PhysicalPreflight::throw_if_failed() const {
    std::optional<ErrorKind> kind;
    ErrorText text;
    for (const Finding& finding : findings) {
        if (finding.severity != Severity::kError) {
            continue;
        }
        if (!kind) {
            kind = kind_of(finding);
            text.message = finding.message;
        }
        text.details.push_back({.code = finding.code, .message = finding.message, .target = {}});
        text.recommended_actions.insert(
            text.recommended_actions.end(), finding.remedies.begin(), finding.remedies.end()
        );
    }
    if (kind) {
        throw Error{*kind, std::move(text)};
    }
}

PhysicalPreflight preflight_physical_backup(
    const ConnectionParameters& parameters, std::stop_token stop
) {
    PhysicalPreflight report;
    look_with_walsenders(parameters, report, stop);
    look_with_sql(parameters, report, stop);
    return report;
}

}  // namespace holdfast::postgres
