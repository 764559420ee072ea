#include "jobs/vault_settings.h"

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

#include <string>

namespace holdfast::jobs {
namespace {

const Json* setting(
    const catalog::VaultRecord& vault, std::string_view group, std::string_view name
) {
    const Json* security = find_member(vault.properties, "securitySettings");
    if (security == nullptr || !security->is_object()) {
        return nullptr;
    }
    const Json* settings = find_member(*security, group);
    if (settings == nullptr || !settings->is_object()) {
        return nullptr;
    }
    return find_member(*settings, name);
}

std::string text_of(const Json* value) {
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string{};
}

}  // namespace

SoftDeleteSettings soft_delete_of(const catalog::VaultRecord& vault) {
    SoftDeleteSettings settings;
    const std::string state = text_of(setting(vault, "softDeleteSettings", "state"));
    if (equal_ignoring_case(state, "Off")) {
        settings.state = protection::SoftDelete::kOff;
    } else if (equal_ignoring_case(state, "AlwaysOn")) {
        settings.state = protection::SoftDelete::kAlwaysOn;
    }
    const Json* days = setting(vault, "softDeleteSettings", "retentionDurationInDays");
    if (days != nullptr && days->is_number()) {
        settings.retention_days = days->get<double>();
    }
    return settings;
}

protection::Immutability immutability_of(const catalog::VaultRecord& vault) {
    const std::string state = text_of(setting(vault, "immutabilitySettings", "state"));
    if (equal_ignoring_case(state, "Unlocked")) {
        return protection::Immutability::kUnlocked;
    }
    if (equal_ignoring_case(state, "Locked")) {
        return protection::Immutability::kLocked;
    }
    return protection::Immutability::kDisabled;
}

std::string_view to_string(protection::Immutability immutability) noexcept {
    switch (immutability) {
        case protection::Immutability::kUnlocked:
            return "Unlocked";
        case protection::Immutability::kLocked:
            return "Locked";
        case protection::Immutability::kDisabled:
            break;
    }
    return "Disabled";
}

void set_immutability(catalog::VaultRecord& vault, protection::Immutability immutability) {
    vault.properties["securitySettings"]["immutabilitySettings"]["state"] =
        std::string{to_string(immutability)};
}

void check_vault_change(const catalog::VaultRecord& present, const catalog::VaultRecord& wanted) {
    if (soft_delete_of(present).state == protection::SoftDelete::kAlwaysOn &&
        soft_delete_of(wanted).state != protection::SoftDelete::kAlwaysOn) {
        throw Error{
            ErrorKind::kSoftDeleteChangeRefused,
            ErrorText{
                .message = "Cannot disable soft delete once set to AlwaysOn.",
                .target = "properties.securitySettings.softDeleteSettings.state",
                .recommended_actions = {"Leave the state at AlwaysOn."},
            }
        };
    }
    if (immutability_of(present) == protection::Immutability::kLocked &&
        immutability_of(wanted) != protection::Immutability::kLocked) {
        throw Error{
            ErrorKind::kImmutabilityChangeRefused,
            ErrorText{
                .message = "The immutability of this vault is locked and cannot be taken back.",
                .target = "properties.securitySettings.immutabilitySettings.state",
                .recommended_actions = {"Leave the state at Locked."},
            }
        };
    }
}

}  // namespace holdfast::jobs
