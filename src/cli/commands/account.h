#pragma once

#include "cli/session.h"

#include <string_view>

namespace holdfast::cli {

/// The server's subscriptions as `az account list` shows them; `default_id` "" makes the first the
/// default.
[[nodiscard]] Json account_list(Session& session, std::string_view default_id);

}  // namespace holdfast::cli
