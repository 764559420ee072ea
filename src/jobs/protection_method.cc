// How an instance is backed up: asked for, kept, or found out from the server.
#include "base/error.h"
#include "base/text.h"
#include "jobs/protection_service.h"

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

using catalog::InstanceRecord;

std::string problems_of(const postgres::PhysicalPreflight& report) {
    std::vector<std::string> problems;
    for (const postgres::Finding& finding : report.findings) {
        if (finding.severity == postgres::Severity::kError) {
            problems.push_back(finding.message);
        }
    }
    return join(problems, " ");
}

}  // namespace

ProtectionService::MethodChoice ProtectionService::method_without_asking(
    const InstanceRecord& instance
) {
    if (const auto asked = method_asked_for(instance)) {
        return {*asked, "The request asks for it.", {}};
    }
    if (!instance.backup_method.empty()) {
        return {method_of(instance), instance.backup_method_reason, {}};
    }
    if (!is_server_datasource(instance)) {
        return {BackupMethod::kLogical, "One database can only be backed up logically.", {}};
    }
    return {
        BackupMethod::kLogical,
        "It was configured without asking the server (ShallowValidation); ask for PhysicalBackup "
        "to change it.",
        {}
    };
}

ProtectionService::MethodChoice ProtectionService::choose_default_method(
    const ResolvedDatasource& datasource, std::stop_token stop
) const {
    MethodChoice choice;
    run_boundary(
        [&] {
            const auto report = data_plane_.preflight_physical(datasource.connection, stop);
            if (report.ok()) {
                choice.method = BackupMethod::kPhysical;
                choice.reason = fmt::format(
                    "The login \"{}\" may replicate, so the whole server is backed up physically.",
                    datasource.connection.user
                );
                choice.warnings = report.warnings();
            } else {
                choice.reason =
                    fmt::format("A physical backup is not possible: {}", problems_of(report));
            }
        },
        [&](const Error& error) {
            // Whatever it is, a logical backup's own checks say whether it matters to that too.
            choice.reason =
                fmt::format("A physical backup is not possible: {}", error.text().message);
        }
    );
    return choice;
}

ProtectionService::MethodChoice ProtectionService::preflight(
    const InstanceRecord& instance, std::stop_token stop
) const {
    const ResolvedDatasource datasource =
        credentials_.resolve(instance.datasource_id, instance.secret_uri);
    const bool undecided = !method_asked_for(instance) && instance.backup_method.empty() &&
                           is_server_datasource(instance);
    MethodChoice choice =
        undecided ? choose_default_method(datasource, stop) : method_without_asking(instance);
    if (choice.method == BackupMethod::kPhysical) {
        if (!undecided) {
            const auto report = data_plane_.preflight_physical(datasource.connection, stop);
            report.throw_if_failed();
            choice.warnings = report.warnings();
        }
        return choice;
    }
    const postgres::BackupScope scope{
        .database = datasource.name.database,
        .excluded_databases = datasource.name.database ? std::vector<std::string>{}
                                                       : datasource.server.excluded_databases,
    };
    const auto report = data_plane_.preflight(datasource.connection, scope, stop);
    report.throw_if_failed();
    choice.warnings = report.warnings();
    return choice;
}

}  // namespace holdfast::jobs
