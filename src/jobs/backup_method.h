#pragma once

#include "catalog/records.h"
#include "postgres/physical_backup.h"

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::jobs {

/// How an instance is backed up. The words are the API's `backupSolutionType`.
enum class BackupMethod { kLogical, kPhysical };

/// `LogicalBackup`, `PhysicalBackup`.
[[nodiscard]] std::string_view to_string(BackupMethod method) noexcept;
/// Any case.
[[nodiscard]] std::optional<BackupMethod> parse_backup_method(std::string_view text) noexcept;

/// What the instance's `policyInfo.policyParameters.backupDatasourceParametersList` asks for;
/// nothing when it does not say. REQUIRES: it passed the control plane's reader.
[[nodiscard]] std::optional<BackupMethod> method_asked_for(const catalog::InstanceRecord& instance);

/// What its backups are made with. An instance of before there was a choice is backed up logically.
[[nodiscard]] BackupMethod method_of(const catalog::InstanceRecord& instance) noexcept;

/// What its physical backups ask of the server, from the same parameters' `holdfast`: checkpoint,
/// rate, compression. REQUIRES: it passed the control plane's reader.
[[nodiscard]] postgres::PhysicalBackupOptions physical_options_of(
    const catalog::InstanceRecord& instance
);

/// How a recovery point was made.
[[nodiscard]] BackupMethod method_of(const catalog::PointRecord& point);

/// True when the datasource is a whole server, which alone can be backed up physically.
[[nodiscard]] bool is_server_datasource(const catalog::InstanceRecord& instance);

/// Throws kUnsupportedOperation when a physical backup of a single database is asked for.
void check_method(const catalog::InstanceRecord& instance);

}  // namespace holdfast::jobs
