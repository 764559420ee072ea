#pragma once

#include <string>

namespace holdfast::control {

/// docs/errors.md, from base/error_codes.def.
[[nodiscard]] std::string describe_errors();

/// docs/api.md, from the route table.
[[nodiscard]] std::string describe_api();

}  // namespace holdfast::control
