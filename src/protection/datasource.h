#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::protection {

/// What a backup instance can protect. The two flexible-server kinds share one policy type.
enum class DatasourceKind {
    kFlexibleServer,          ///< `Microsoft.DBforPostgreSQL/flexibleServers`
    kFlexibleServerDatabase,  ///< `Microsoft.DBforPostgreSQL/flexibleServers/databases`
    kSingleServerDatabase,    ///< `Microsoft.DBforPostgreSQL/servers/databases`
};

/// Accepts the ARM types, the command line's names (`AzureDatabaseForPostgreSQLFlexibleServer`,
/// `AzureDatabaseForPostgreSQL`) and `OssDB`, in any case and with blanks around them.
[[nodiscard]] std::optional<DatasourceKind> parse_datasource_type(std::string_view text) noexcept;

/// `Microsoft.DBforPostgreSQL/flexibleServers` and so on.
[[nodiscard]] std::string_view arm_type(DatasourceKind kind) noexcept;

/// `AzureDatabaseForPostgreSQLFlexibleServer` or `AzureDatabaseForPostgreSQL`.
[[nodiscard]] std::string_view cli_name(DatasourceKind kind) noexcept;

/// Whether a policy for `policy_type` may protect a datasource of `instance_type`: same family.
[[nodiscard]] bool covers(DatasourceKind policy_type, DatasourceKind instance_type) noexcept;

/// For messages: every accepted spelling, separated by commas.
[[nodiscard]] std::string allowed_datasource_types();

}  // namespace holdfast::protection
