#pragma once

#include "catalog/records.h"
#include "protection/instance_state.h"

#include <string_view>

namespace holdfast::jobs {

/// What a vault's `securitySettings` say. Absent settings are Azure's defaults: soft delete On for
/// 14 days, immutability Disabled.
struct SoftDeleteSettings {
    protection::SoftDelete state = protection::SoftDelete::kOn;
    double retention_days = 14.0;
};
[[nodiscard]] SoftDeleteSettings soft_delete_of(const catalog::VaultRecord& vault);
[[nodiscard]] protection::Immutability immutability_of(const catalog::VaultRecord& vault);
[[nodiscard]] std::string_view to_string(protection::Immutability immutability) noexcept;
void set_immutability(catalog::VaultRecord& vault, protection::Immutability immutability);

/// Throws kSoftDeleteChangeRefused or kImmutabilityChangeRefused for what can't be taken back.
void check_vault_change(const catalog::VaultRecord& present, const catalog::VaultRecord& wanted);

}  // namespace holdfast::jobs
