#pragma once

#include "base/json.h"

#include <string>

namespace holdfast {

/// `value` as compact JSON text in UTF-8: what Json::dump(-1, ' ', false, replace) gives, in a
/// fraction of its time. What is not UTF-8 in a string becomes U+FFFD.
[[nodiscard]] std::string to_json_text(const Json& value);

}  // namespace holdfast
