#pragma once

#include "base/clock.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace date {
class time_zone;
}

namespace holdfast::protection {

/// A wall-clock reading without a zone.
using LocalTime = std::chrono::local_time<std::chrono::microseconds>;

/// A time zone: rules of the IANA database (of the operating system), or a fixed offset. A small
/// value, safe from any thread.
class Zone {
public:
    [[nodiscard]] static Zone utc() { return Zone::fixed(std::chrono::minutes{0}); }
    [[nodiscard]] static Zone fixed(std::chrono::minutes east_of_utc);

    /// Accepts an IANA name (`Europe/Berlin`), a Windows name (`W. Europe Standard Time`), `UTC`,
    /// `Z` or an offset
    /// (`+05:30`), without regard to case. Nothing for any other text.
    /// Throws: kConfigInvalid when a named zone is wanted and the machine has no time zone
    /// database.
    [[nodiscard]] static std::optional<Zone> find(std::string_view name);

    /// The IANA name, or the offset as `+05:30`; `UTC` for zero.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    [[nodiscard]] LocalTime to_local(Instant instant) const;

    /// The rule for daylight saving: a wall-clock time that does not exist moves forward by the
    /// length of the gap (02:30 becomes 03:30), an ambiguous one is its first occurrence.
    [[nodiscard]] Instant to_instant(LocalTime local) const;

private:
    Zone(std::string name, const date::time_zone* rules, std::chrono::minutes offset)
        : name_{std::move(name)}, rules_{rules}, offset_{offset} {}

    std::string name_;
    const date::time_zone* rules_;  ///< Lives as long as the program; null for a fixed offset.
    std::chrono::minutes offset_;
};

}  // namespace holdfast::protection
