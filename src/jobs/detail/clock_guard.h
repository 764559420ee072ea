#pragma once

#include "base/clock.h"
#include "catalog/catalog.h"
#include "jobs/engine.h"

#include <chrono>
#include <optional>

namespace holdfast::jobs {

/// The rule of the leaping clock: the highest time seen is kept in the catalog. A clock that is
/// more than `leap_max` ahead of it, or back behind it, is suspect until somebody confirms; then
/// nothing expires and nothing is purged. Backups go on.
class ClockGuard {
public:
    ClockGuard(
        catalog::Catalog& catalog,
        Clock& clock,
        std::chrono::hours leap_max,
        alerts::Outbox* alerts = nullptr
    )
        : catalog_{catalog}, clock_{clock}, leap_max_{leap_max}, alerts_{alerts} {}

    /// Looks at the clock and keeps what it saw. Returns the leap while there is one.
    std::optional<ClockLeap> observe();
    [[nodiscard]] std::optional<ClockLeap> leap() const;
    void confirm();

private:
    catalog::Catalog& catalog_;
    Clock& clock_;
    const std::chrono::hours leap_max_;
    alerts::Outbox* const alerts_;  // Null: nobody is told.
};

[[nodiscard]] std::optional<ClockLeap> stored_clock_leap(const catalog::View& view);

}  // namespace holdfast::jobs
