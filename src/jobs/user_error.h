#pragma once

#include "base/error.h"
#include "base/json.h"

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::jobs {

/// A user-facing error as job rows and protectionStatus keep it (az-visible shape): code, message,
/// recommendedAction, details, innerError, isRetryable, isUserError, properties, target. Every
/// value inside `properties` is a string; members without a value are left out.
[[nodiscard]] Json user_error(const Error& error, std::string_view activity_id);

/// One element of extendedInfo.warningDetails.
struct WarningText {
    std::string resource_name;
    std::string code;
    std::string message;
    std::vector<std::string> recommended_actions = {};
};
[[nodiscard]] Json warning_detail(const WarningText& warning);

}  // namespace holdfast::jobs
