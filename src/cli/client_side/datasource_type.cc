#include "cli/client_side/datasource_type.h"

#include "base/error.h"

#include <fmt/format.h>

namespace holdfast::cli {

protection::DatasourceKind postgres_type(std::string_view datasource_type) {
    if (const auto kind = protection::parse_datasource_type(datasource_type)) {
        return *kind;
    }
    throw Error{
        ErrorKind::kDatasourceUnsupported,
        ErrorText{
            .message = fmt::format(
                "Holdfast protects PostgreSQL; the datasource type '{}' is not one of it.",
                datasource_type
            ),
            .target = "datasource-type",
            .recommended_actions =
                {"Use AzureDatabaseForPostgreSQLFlexibleServer, for any PostgreSQL server."},
        }
    };
}

}  // namespace holdfast::cli
