#include "jobs/backup_method.h"

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "jobs/credentials.h"

#include <algorithm>

namespace holdfast::jobs {
namespace {

constexpr std::string_view kParameters = "backupDatasourceParametersList";

/// The parameters that say how the server is backed up, or null.
const Json* server_parameters(const catalog::InstanceRecord& instance) {
    const Json* info = find_member(instance.properties, "policyInfo");
    const Json* parameters = info == nullptr ? nullptr : find_member(*info, "policyParameters");
    const Json* list = parameters == nullptr ? nullptr : find_member(*parameters, kParameters);
    if (list == nullptr || !list->is_array()) {
        return nullptr;
    }
    const auto found = std::find_if(list->begin(), list->end(), [](const Json& entry) {
        const Json* type = find_member(entry, "backupSolutionType");
        return type != nullptr && type->is_string();
    });
    return found == list->end() ? nullptr : &*found;
}

}  // namespace

std::string_view to_string(BackupMethod method) noexcept {
    return method == BackupMethod::kPhysical ? "PhysicalBackup" : "LogicalBackup";
}

std::optional<BackupMethod> parse_backup_method(std::string_view text) noexcept {
    for (const BackupMethod method : {BackupMethod::kLogical, BackupMethod::kPhysical}) {
        if (equal_ignoring_case(text, to_string(method))) {
            return method;
        }
    }
    return std::nullopt;
}

std::optional<BackupMethod> method_asked_for(const catalog::InstanceRecord& instance) {
    const Json* parameters = server_parameters(instance);
    return parameters == nullptr
               ? std::nullopt
               : parse_backup_method(
                     find_member(*parameters, "backupSolutionType")->get_ref<const std::string&>()
                 );
}

postgres::PhysicalBackupOptions physical_options_of(const catalog::InstanceRecord& instance) {
    postgres::PhysicalBackupOptions options;
    const Json* parameters = server_parameters(instance);
    const Json* own = parameters == nullptr ? nullptr : find_member(*parameters, "holdfast");
    if (own == nullptr) {
        return options;
    }
    if (own->value("checkpoint", "") == "Spread") {
        options.checkpoint = postgres::CheckpointMode::kSpread;
    }
    options.rate_max_kib = own->value("transferRateMaxKiB", 0U);
    if (own->value("compression", "") == "Zstd") {
        options.compression = postgres::ServerCompression::kZstd;
    }
    return options;
}

BackupMethod method_of(const catalog::InstanceRecord& instance) noexcept {
    return parse_backup_method(instance.backup_method).value_or(BackupMethod::kLogical);
}

BackupMethod method_of(const catalog::PointRecord& point) {
    const Json* method = find_member(point.metadata, "method");
    return method != nullptr && *method == "physical" ? BackupMethod::kPhysical
                                                      : BackupMethod::kLogical;
}

bool is_server_datasource(const catalog::InstanceRecord& instance) {
    return !parse_datasource_id(instance.datasource_id, "properties.dataSourceInfo.resourceID")
                .database;
}

void check_method(const catalog::InstanceRecord& instance) {
    if (method_asked_for(instance) != BackupMethod::kPhysical || is_server_datasource(instance)) {
        return;
    }
    throw Error{
        ErrorKind::kUnsupportedOperation,
        ErrorText{
            .message = "A physical backup takes a whole server; this datasource is one database.",
            .target = "properties.policyInfo.policyParameters.backupDatasourceParametersList",
            .recommended_actions =
                {"Protect the server itself (…/flexibleServers/NAME), or use LogicalBackup."},
        }
    };
}

}  // namespace holdfast::jobs
