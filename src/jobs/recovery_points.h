#pragma once

#include "catalog/catalog.h"
#include "catalog/records.h"

#include <string_view>

namespace holdfast::jobs {

/// Throws kRecoveryPointNotFound when the instance has no such point.
[[nodiscard]] catalog::PointRecord require_point(
    const catalog::View& view, const catalog::InstanceRecord& instance, std::string_view id
);

}  // namespace holdfast::jobs
