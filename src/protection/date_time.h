#pragma once

#include "protection/zone.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::protection {

/// A date-time as it was written.
struct WrittenDateTime {
    LocalTime local;
    std::optional<std::chrono::minutes> offset;  ///< 0 for `Z`; absent when none was written.
};

/// Strictly YYYY-MM-DDThh:mm[:ss[.f]][Z|±hh:mm], years 1970 to 2999; nothing for any other text.
/// The compact ISO forms are refused, as Azure does.
[[nodiscard]] std::optional<WrittenDateTime> parse_date_time(std::string_view text) noexcept;

/// The first 80 bytes, for messages that quote foreign text.
[[nodiscard]] std::string clipped(std::string_view text);

}  // namespace holdfast::protection
