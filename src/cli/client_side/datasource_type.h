#pragma once

#include "protection/datasource.h"

#include <string_view>

namespace holdfast::cli {

/// The kind that a `--datasource-type` or the datasource type of a policy names. Throws
/// kDatasourceUnsupported for any other: it names what is protected here.
[[nodiscard]] protection::DatasourceKind postgres_type(std::string_view datasource_type);

}  // namespace holdfast::cli
