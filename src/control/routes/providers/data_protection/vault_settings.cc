#include "control/routes/providers/data_protection/vault_settings.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr double kRetentionDaysDefault = 14;
constexpr double kRetentionDaysMax = 180;

/// `value` at `path` ("a.b") of a canonical document, or an empty text.
std::string text_at(const Json& document, std::string_view pointer) {
    const Json::json_pointer at{std::string{pointer}};
    return document.contains(at) ? document.at(at).get<std::string>() : std::string{};
}

constexpr std::string_view kSoftDeleteState = "/securitySettings/softDeleteSettings/state";
constexpr std::string_view kSoftDeleteDays =
    "/securitySettings/softDeleteSettings/retentionDurationInDays";
constexpr std::string_view kImmutabilityState = "/securitySettings/immutabilitySettings/state";
constexpr std::string_view kCrossRegionState = "/featureSettings/crossRegionRestoreSettings/state";
constexpr std::string_view kCrossSubscriptionState =
    "/featureSettings/crossSubscriptionRestoreSettings/state";

void set_at(Json& document, std::string_view pointer, Json value) {
    document[Json::json_pointer{std::string{pointer}}] = std::move(value);
}

void read_storage(const JsonReader& properties, Json& out, IgnoredProperties& ignored) {
    const auto settings = properties.optional_member("storageSettings");
    if (!settings) {
        if (!out.contains("storageSettings")) {
            (void)properties.member("storageSettings");
        }
        return;
    }
    Json list = Json::array();
    std::set<std::string> stores;
    for (const JsonReader& setting : settings->elements()) {
        ignored.note_unknown(setting, {"datastoreType", "type"});
        const JsonReader store = setting.member("datastoreType");
        const std::string type =
            store.as_one_of({"ArchiveStore", "OperationalStore", "VaultStore"});
        if (!stores.insert(type).second) {
            store.fail(fmt::format("{} is there twice.", type));
        }
        list.push_back(
            {{"datastoreType", type},
             {"type",
              setting.member("type").as_one_of({"GeoRedundant", "LocallyRedundant", "ZoneRedundant"}
              )}}
        );
    }
    if (list.empty()) {
        settings->fail("A vault needs at least one data store.");
    }
    out["storageSettings"] = std::move(list);
}

void read_soft_delete(const JsonReader& security, Json& out, IgnoredProperties& ignored) {
    const auto settings = security.optional_member("softDeleteSettings");
    if (!settings) {
        return;
    }
    ignored.note_unknown(*settings, {"state", "retentionDurationInDays"});
    if (const auto state = settings->optional_member("state")) {
        set_at(out, kSoftDeleteState, state->as_one_of({"Off", "On", "AlwaysOn"}));
    }
    if (const auto days = settings->optional_member("retentionDurationInDays")) {
        const double count = days->as_number();
        const bool off = text_at(out, kSoftDeleteState) == "Off";
        if (!(off && count == 0) &&
            !(count >= kRetentionDaysDefault && count <= kRetentionDaysMax)) {
            days->fail("The soft-delete retention is out of range.", "14 to 180 days");
        }
        set_at(out, kSoftDeleteDays, count == 0 ? kRetentionDaysDefault : count);
    }
}

void read_encryption(const JsonReader& security, IgnoredProperties& ignored) {
    const auto settings = security.optional_member("encryptionSettings");
    if (!settings) {
        return;
    }
    ignored.note_unknown(
        *settings, {"state", "infrastructureEncryption", "kekIdentity", "keyVaultProperties"}
    );
    const auto state = settings->optional_member("state");
    if (state && state->as_one_of({"Enabled", "Disabled", "Inconsistent"}) == "Enabled") {
        throw Error{
            ErrorKind::kUnsupportedOperation,
            ErrorText{
                .message = "Customer-managed keys are not set on a vault: every vault is encrypted "
                           "under the server's own key-encryption key.",
                .target = settings->path(),
                .recommended_actions =
                    {"Leave encryptionSettings out. The key-encryption key is chosen in the "
                     "server's configuration (keys.kek_file)."},
            }
        };
    }
}

void read_security(const JsonReader& properties, Json& out, IgnoredProperties& ignored) {
    const auto security = properties.optional_member("securitySettings");
    if (!security) {
        return;
    }
    ignored.note_unknown(
        *security, {"softDeleteSettings", "immutabilitySettings", "encryptionSettings"}
    );
    read_soft_delete(*security, out, ignored);
    read_encryption(*security, ignored);
    if (const auto settings = security->optional_member("immutabilitySettings")) {
        ignored.note_unknown(*settings, {"state"});
        if (const auto state = settings->optional_member("state")) {
            set_at(out, kImmutabilityState, state->as_one_of({"Disabled", "Unlocked", "Locked"}));
        }
    }
}

void read_features(const JsonReader& properties, Json& out, IgnoredProperties& ignored) {
    const auto features = properties.optional_member("featureSettings");
    if (!features) {
        return;
    }
    ignored.note_unknown(
        *features, {"crossRegionRestoreSettings", "crossSubscriptionRestoreSettings"}
    );
    if (const auto settings = features->optional_member("crossRegionRestoreSettings")) {
        ignored.note_unknown(*settings, {"state"});
        if (const auto state = settings->optional_member("state")) {
            set_at(out, kCrossRegionState, state->as_one_of({"Disabled", "Enabled"}));
        }
    }
    if (const auto settings = features->optional_member("crossSubscriptionRestoreSettings")) {
        ignored.note_unknown(*settings, {"state"});
        if (const auto state = settings->optional_member("state")) {
            set_at(
                out,
                kCrossSubscriptionState,
                state->as_one_of({"Disabled", "PermanentlyDisabled", "Enabled"})
            );
        }
    }
}

void read_monitoring(const JsonReader& properties, Json& out, IgnoredProperties& ignored) {
    const auto monitoring = properties.optional_member("monitoringSettings");
    if (!monitoring) {
        return;
    }
    ignored.note_unknown(*monitoring, {"azureMonitorAlertSettings"});
    const auto alerts = monitoring->optional_member("azureMonitorAlertSettings");
    if (!alerts) {
        return;
    }
    ignored.note_unknown(*alerts, {"alertsForAllJobFailures"});
    if (const auto state = alerts->optional_member("alertsForAllJobFailures")) {
        set_at(
            out,
            "/monitoringSettings/azureMonitorAlertSettings/alertsForAllJobFailures",
            state->as_one_of({"Enabled", "Disabled"})
        );
    }
}

[[noreturn]] void refuse(
    ErrorKind kind, std::string message, std::string_view target, std::string action
) {
    throw Error{
        kind,
        ErrorText{
            .message = std::move(message),
            .target = "properties" + std::string{target},
            .recommended_actions = {std::move(action)},
        }
    };
}

std::string dotted(std::string_view pointer) {
    std::string out{pointer};
    std::replace(out.begin(), out.end(), '/', '.');
    return out;
}

/// What has been raised for good stays: a change that takes it back is refused, here and nowhere
/// else.
void check_transition(const Json& from, const Json& to) {
    const std::string soft_delete = text_at(from, kSoftDeleteState);
    if (soft_delete == "AlwaysOn" && text_at(to, kSoftDeleteState) != "AlwaysOn") {
        refuse(
            ErrorKind::kSoftDeleteChangeRefused,
            "Cannot disable soft delete once set to AlwaysOn.",
            dotted(kSoftDeleteState),
            "Leave the soft-delete state at AlwaysOn."
        );
    }
    const std::string immutability = text_at(from, kImmutabilityState);
    if (immutability == "Locked" && text_at(to, kImmutabilityState) != "Locked") {
        refuse(
            ErrorKind::kImmutabilityChangeRefused,
            "The immutability of this vault is Locked and can no longer be changed.",
            dotted(kImmutabilityState),
            "Leave the immutability state at Locked."
        );
    }
    if (text_at(from, kCrossRegionState) == "Enabled" &&
        text_at(to, kCrossRegionState) != "Enabled") {
        refuse(
            ErrorKind::kCrossRegionChangeRefused,
            "Cross-region restore cannot be disabled once it was enabled.",
            dotted(kCrossRegionState),
            "Leave cross-region restore at Enabled."
        );
    }
    if (text_at(from, kCrossSubscriptionState) == "PermanentlyDisabled" &&
        text_at(to, kCrossSubscriptionState) != "PermanentlyDisabled") {
        refuse(
            ErrorKind::kUnsupportedOperation,
            "Cross-subscription restore of this vault is disabled permanently.",
            dotted(kCrossSubscriptionState),
            "Leave cross-subscription restore at PermanentlyDisabled."
        );
    }
}

void check_cross_region(const Json& properties) {
    if (text_at(properties, kCrossRegionState) != "Enabled") {
        return;
    }
    const Json& stores = properties.at("storageSettings");
    const bool redundant = std::any_of(stores.begin(), stores.end(), [](const Json& store) {
        return store.at("type") == "GeoRedundant";
    });
    if (!redundant) {
        refuse(
            ErrorKind::kInvalidRequestContent,
            "Cross-region restore needs a vault whose storage is GeoRedundant.",
            dotted(kCrossRegionState),
            "Choose GeoRedundant storage, or leave cross-region restore disabled."
        );
    }
}

}  // namespace

Json apply_vault_settings(
    const JsonReader& properties, const Json& existing, IgnoredProperties& ignored
) {
    properties.require_object();
    ignored.note_unknown(
        properties,
        {"storageSettings",
         "securitySettings",
         "featureSettings",
         "monitoringSettings",
         // What the server computes, and clients send back as they were shown it.
         "provisioningState",
         "resourceMoveState",
         "resourceMoveDetails",
         "isVaultProtectedByResourceGuard",
         "secureScore",
         "bcdrSecurityLevel",
         "replicatedRegions",
         "holdfast",
         "resourceGuardOperationRequests"}
    );
    Json out = existing.is_object() ? existing : Json::object();
    if (!existing.is_object()) {
        set_at(out, kSoftDeleteState, "On");
        set_at(out, kSoftDeleteDays, kRetentionDaysDefault);
    }
    read_storage(properties, out, ignored);
    read_security(properties, out, ignored);
    read_features(properties, out, ignored);
    read_monitoring(properties, out, ignored);
    if (existing.is_object()) {
        check_transition(existing, out);
    }
    check_cross_region(out);
    return out;
}

bool same_storage(const Json& a, const Json& b) {
    const auto as_set = [](const Json& properties) {
        std::set<std::string> out;
        for (const Json& setting : properties.value("storageSettings", Json::array())) {
            out.insert(setting.dump());
        }
        return out;
    };
    return as_set(a) == as_set(b);
}

protection::SoftDelete soft_delete_of(const Json& properties) {
    const std::string state = text_at(properties, kSoftDeleteState);
    if (state == "Off") {
        return protection::SoftDelete::kOff;
    }
    return state == "AlwaysOn" ? protection::SoftDelete::kAlwaysOn : protection::SoftDelete::kOn;
}

double soft_delete_retention_of(const Json& properties) {
    const Json::json_pointer at{std::string{kSoftDeleteDays}};
    return properties.contains(at) ? properties.at(at).get<double>() : kRetentionDaysDefault;
}

protection::Immutability immutability_of(const Json& properties) {
    const std::string state = text_at(properties, kImmutabilityState);
    if (state == "Locked") {
        return protection::Immutability::kLocked;
    }
    return state == "Unlocked" ? protection::Immutability::kUnlocked
                               : protection::Immutability::kDisabled;
}

SecurityLevels security_levels_of(const Json& properties, GuardMapping mapping) {
    const protection::SoftDelete soft_delete = soft_delete_of(properties);
    const protection::Immutability immutability = immutability_of(properties);
    if (soft_delete == protection::SoftDelete::kAlwaysOn) {
        // Nothing is left that one person alone could take back.
        if (immutability == protection::Immutability::kLocked && mapping == GuardMapping::kMapped) {
            return {"Maximum", "Excellent"};
        }
        return {"Adequate", "Good"};
    }
    if (soft_delete == protection::SoftDelete::kOn) {
        if (immutability == protection::Immutability::kLocked) {
            return {"Adequate", "Good"};
        }
        if (immutability == protection::Immutability::kUnlocked) {
            return {"Minimum", "Fair"};
        }
    }
    return {"None", "Poor"};
}

}  // namespace holdfast::control
