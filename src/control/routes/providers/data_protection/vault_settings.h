#pragma once

#include "base/json.h"
#include "control/routes/request_body.h"
#include "protection/instance_state.h"

#include <string>

// The settings of a backup vault as values: what may be asked for, what may follow what.
namespace holdfast::control {

/// Where a vault's record keeps, beside its settings, the ids of the user-assigned identities that
/// it was given; documents show them in `identity`.
inline constexpr const char* kAssignedIdentities = "assignedIdentities";

/// The canonical `properties` after a PUT or PATCH. What `properties` leaves out stays as it is in
/// `existing` (null for a new vault, which gets Azure's defaults: soft delete On for 14 days): a
/// setting is never weakened by omission. Unknown names go to `ignored`. Throws
/// kInvalidRequestContent with the JSON path; kUnsupportedOperation for customer-managed keys;
/// kSoftDeleteChangeRefused, kImmutabilityChangeRefused, kCrossRegionChangeRefused for a change
/// that cannot be taken back.
[[nodiscard]] Json apply_vault_settings(
    const JsonReader& properties, const Json& existing, IgnoredProperties& ignored
);

/// True when both have the same storage redundancy, whatever the order.
[[nodiscard]] bool same_storage(const Json& a, const Json& b);

[[nodiscard]] protection::SoftDelete soft_delete_of(const Json& properties);
/// In days; Azure's default where none was set.
[[nodiscard]] double soft_delete_retention_of(const Json& properties);
[[nodiscard]] protection::Immutability immutability_of(const Json& properties);

struct SecurityLevels {
    std::string secure_score;         ///< None, Minimum, Adequate, Maximum
    std::string bcdr_security_level;  ///< Poor, Fair, Good, Excellent
};
/// Whether a resource guard stands over the vault.
enum class GuardMapping { kNone, kMapped };
[[nodiscard]] SecurityLevels security_levels_of(const Json& properties, GuardMapping mapping);

}  // namespace holdfast::control
