#include "control/routes/providers/data_protection/vault_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

const Json kStorage =
    Json::parse(R"({"storageSettings":[{"datastoreType":"VaultStore","type":"LocallyRedundant"}]})"
    );

Json with(const std::string& pointer, Json value) {
    Json out = kStorage;
    out[Json::json_pointer{pointer}] = std::move(value);
    return out;
}

Json settings_after(const Json& properties, const Json& existing = nullptr) {
    IgnoredProperties ignored;
    return apply_vault_settings(
        {properties, "properties", ErrorKind::kInvalidRequestContent}, existing, ignored
    );
}

struct Fault {
    std::string code;
    std::string target;
};

Fault fault_of(const Json& properties, const Json& existing = nullptr) {
    try {
        (void)settings_after(properties, existing);
    } catch (const Error& error) {
        EXPECT_FALSE(error.text().recommended_actions.empty());
        return {std::string{error.code()}, error.text().target};
    }
    return {"none", ""};
}

const std::string kState = "/securitySettings/softDeleteSettings/state";
const std::string kDays = "/securitySettings/softDeleteSettings/retentionDurationInDays";
const std::string kImmutable = "/securitySettings/immutabilitySettings/state";
const std::string kRegion = "/featureSettings/crossRegionRestoreSettings/state";

TEST(VaultSettings, ANewVaultHasAzuresDefaults) {
    const Json vault = settings_after(kStorage);
    EXPECT_EQ(vault.at(Json::json_pointer{kState}), "On");
    EXPECT_EQ(vault.at(Json::json_pointer{kDays}), 14.0);
    EXPECT_EQ(security_levels_of(vault, GuardMapping::kNone).secure_score, "None");
    EXPECT_EQ(security_levels_of(vault, GuardMapping::kNone).bcdr_security_level, "Poor");
}

TEST(VaultSettings, ReadsTheGuidesRequestInAnySpelling) {
    const Json guide = Json::parse(R"({
        "securitySettings":{"softDeleteSettings":{"retentionDurationInDays":14.0,"state":"On"}},
        "storageSettings":[{"datastoreType":"VaultStore","type":"LocallyRedundant"}]})");
    const Json snake = Json::parse(R"({
        "security_settings":{"soft_delete_settings":{"retention_duration_in_days":14.0,"state":"on"},
                             "immutability_settings":null},
        "STORAGESETTINGS":[{"dataStoreType":"vaultstore","type":"locallyredundant"}]})");
    EXPECT_EQ(settings_after(guide), settings_after(snake));
}

TEST(VaultSettings, OmissionKeepsWhatIsSet) {
    Json strong = with(kState, "AlwaysOn");
    strong[Json::json_pointer{kDays}] = 90.0;
    strong[Json::json_pointer{kImmutable}] = "Locked";
    const Json vault = settings_after(strong);
    EXPECT_EQ(settings_after(kStorage, vault), vault);
    EXPECT_EQ(settings_after(Json::object(), vault), vault);
    EXPECT_EQ(security_levels_of(vault, GuardMapping::kNone).secure_score, "Adequate");
}

TEST(VaultSettings, WhatIsRaisedForGoodStays) {
    const Json always_on = settings_after(with(kState, "AlwaysOn"));
    EXPECT_EQ(fault_of(with(kState, "On"), always_on).code, "UserErrorDisableSoftDeleteNotAllowed");
    EXPECT_EQ(
        fault_of(with(kState, "Off"), always_on).target,
        "properties.securitySettings.softDeleteSettings.state"
    );
    const Json locked = settings_after(with(kImmutable, "Locked"));
    for (const char* state : {"Disabled", "Unlocked"}) {
        EXPECT_EQ(
            fault_of(with(kImmutable, state), locked).code,
            "UserErrorUnsupportedVaultImmutabilityStateChange"
        );
    }
    EXPECT_EQ(fault_of(with(kImmutable, "Locked"), locked).code, "none");
    Json geo = with(kRegion, "Enabled");
    geo["storageSettings"][0]["type"] = "GeoRedundant";
    const Json cross_region = settings_after(geo);
    geo[Json::json_pointer{kRegion}] = "Disabled";
    EXPECT_EQ(fault_of(geo, cross_region).code, "UserErrorCrossRegionRestoreStateChangeNotAllowed");
}

TEST(VaultSettings, RefusesWhatIsWrongAndSaysWhere) {
    struct Case {
        Json properties;
        std::string target;
    };
    Json twice = kStorage;
    twice["storageSettings"].push_back(kStorage["storageSettings"][0]);
    const std::vector<Case> cases{
        {Json::object(), "properties.storageSettings"},
        {Json{{"storageSettings", Json::array()}}, "properties.storageSettings"},
        {Json{{"storageSettings", "VaultStore"}}, "properties.storageSettings"},
        {Json{{"storageSettings", Json::array({Json{{"type", "LocallyRedundant"}}})}},
         "properties.storageSettings[0].datastoreType"},
        {twice, "properties.storageSettings[1].datastoreType"},
        {with("/storageSettings/0/type", "Sometimes"), "properties.storageSettings[0].type"},
        {with("/storageSettings/0/type", 5), "properties.storageSettings[0].type"},
        {with(kState, true), "properties.securitySettings.softDeleteSettings.state"},
        {with(kDays, 13), "properties.securitySettings.softDeleteSettings.retentionDurationInDays"},
        {with(kDays, 181), "properties.securitySettings.softDeleteSettings.retentionDurationInDays"
        },
        {with(kDays, "14"), "properties.securitySettings.softDeleteSettings.retentionDurationInDays"
        },
        {with(kImmutable, "Frozen"), "properties.securitySettings.immutabilitySettings.state"},
        {with(kRegion, "Enabled"), "properties.featureSettings.crossRegionRestoreSettings.state"},
        {with("/securitySettings/encryptionSettings/state", "Enabled"),
         "properties.securitySettings.encryptionSettings"},
    };
    for (const Case& one : cases) {
        EXPECT_EQ(fault_of(one.properties).target, one.target) << one.properties.dump();
    }
}

TEST(VaultSettings, NotesWhatItDoesNotKnow) {
    IgnoredProperties ignored;
    Json properties = with(kState, "On");
    properties["colour"] = "blue";
    properties["securitySettings"]["softDeleteSettings"]["mood"] = 1;
    properties["securitySettings"]["nothing"] = nullptr;
    (void)apply_vault_settings(
        {properties, "properties", ErrorKind::kInvalidRequestContent}, Json{}, ignored
    );
    EXPECT_THAT(
        ignored.paths(),
        testing::ElementsAre(
            "properties.colour", "properties.securitySettings.softDeleteSettings.mood"
        )
    );
}

}  // namespace
}  // namespace holdfast::control
