#pragma once

#include "postgres/connection.h"
#include "postgres/logical_restore.h"
#include "postgres/restore_plan.h"

namespace holdfast::postgres {

/// What check_restore returns and throws, for a plan that exists.
[[nodiscard]] RestoreCheck check_plan(
    Connection& maintenance, const RestorePlan& plan, const RestoreOptions& options
);

}  // namespace holdfast::postgres
