#pragma once

#include "base/json.h"
#include "catalog/catalog.h"

#include <string>

namespace holdfast::jobs {

/// The instance looks unhealthy while `problem` (a user_error) stands, and well again when it is
/// null. Nothing happens to an instance that is gone or not in service.
void put_instance_health(
    catalog::Transaction& transaction, const std::string& instance_id, const Json& problem
);

}  // namespace holdfast::jobs
