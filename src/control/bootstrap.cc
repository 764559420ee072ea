#include "control/bootstrap.h"

#include "base/error.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/log.h"
#include "control/identity/authorize.h"
#include "jobs/rebuild.h"
#include "vault/vault.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr std::string_view kKeySetting = jobs::kKeyFingerprintSetting;
constexpr std::string_view kSubscriptionSetting = "subscription_id";
constexpr std::string_view kTenantSetting = "tenant_id";
constexpr std::string_view kOwnerSetting = "owner_principal_id";

/// The configured id, else the one kept from an earlier start, else a new one; kept from now on.
std::string settle_id(
    catalog::Transaction& transaction, std::string_view setting, const std::string& configured
) {
    const auto kept = transaction.setting(setting);
    const std::string id = !configured.empty() ? configured : (kept ? *kept : new_guid());
    if (!kept || *kept != id) {
        transaction.set_setting(setting, id);
    }
    return id;
}

/// Directories that hold a repository.
std::vector<std::string> vaults_in(const std::filesystem::path& root) {
    std::vector<std::string> out;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator{root, ignored}) {
        if (std::filesystem::is_directory(entry.path() / "config", ignored)) {
            out.push_back(entry.path().string());
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

std::optional<std::string> setting_of(const catalog::Catalog& catalog, std::string_view name) {
    std::optional<std::string> value;
    catalog.read([&](const catalog::View& view) { value = view.setting(name); });
    return value;
}

}  // namespace

void check_first_start(const Config& config) {
    std::error_code ignored;
    if (std::filesystem::exists(config.state.directory / "catalog.db", ignored)) {
        return;
    }
    const std::vector<std::string> vaults = vaults_in(config.vaults.directory);
    if (vaults.empty()) {
        return;
    }
    std::string rebuild = "holdfast vault scan";
    for (const std::string& vault : vaults) {
        rebuild += " --path " + vault;
    }
    rebuild += fmt::format(
        " --key-file {} --write-catalog {}",
        config.keys.kek_file.string(),
        (config.state.directory / "catalog.db").string()
    );
    const bool has_key = std::filesystem::exists(config.keys.kek_file, ignored);
    ErrorText text{
        .message = fmt::format(
            "{} holds {} {} of an earlier server, but {} missing; nothing was made anew.",
            config.vaults.directory.string(),
            vaults.size(),
            vaults.size() == 1 ? "vault" : "vaults",
            has_key ? "its catalog is" : "both its catalog and its key file are"
        ),
        .target = has_key ? "state.directory" : "keys.kek_file",
        .recommended_actions = {},
    };
    if (!has_key) {
        text.recommended_actions.push_back(fmt::format(
            "Put the key file {} back from its copy, or open each vault with its recovery kit: "
            "holdfast vault add-key --path {} --key-file KIT --new-key-file {}",
            config.keys.kek_file.string(),
            vaults.front(),
            config.keys.kek_file.string()
        ));
    }
    text.recommended_actions.push_back(
        (has_key ? "Rebuild the catalog: " : "Then rebuild the catalog: ") + rebuild
    );
    text.recommended_actions.emplace_back(
        "For a new server beside the old vaults set state.directory and vaults.directory to "
        "directories of its own."
    );
    throw Error{has_key ? ErrorKind::kCatalogUnavailable : ErrorKind::kKeyMissing, std::move(text)};
}

Secret open_key(const KeysConfig& config, catalog::Catalog& catalog) {
    const auto known = setting_of(catalog, kKeySetting);
    std::error_code ignored;
    if (known && !std::filesystem::exists(config.kek_file, ignored)) {
        throw Error{
            ErrorKind::kKeyMissing,
            ErrorText{
                .message = fmt::format(
                    "The key file {} is missing; the vaults and secrets of this server were made "
                    "with it.",
                    config.kek_file.string()
                ),
                .target = "keys.kek_file",
                .recommended_actions =
                    {"Put the key file back from its copy, or set keys.kek_file to where it is.",
                     "If it is lost, restore from the vaults with their recovery kits: holdfast "
                     "vault extract."},
            }
        };
    }
    make_directory_durably(config.kek_file.parent_path(), 0700);
    Secret key = vault::read_or_create_key_file(config.kek_file.string());
    const std::string fingerprint = vault::key_fingerprint(key);
    // Empty: a catalog rebuilt from the vaults, which learns its key now.
    if (known && !known->empty() && *known != fingerprint) {
        throw Error{
            ErrorKind::kKeyWrong,
            ErrorText{
                .message = fmt::format(
                    "The key in {} (fingerprint {}) is not the one that this server was used with "
                    "(fingerprint {}).",
                    config.kek_file.string(),
                    fingerprint,
                    *known
                ),
                .target = "keys.kek_file",
                .recommended_actions = {"Put the right key file back, or set keys.kek_file to it."},
            }
        };
    }
    if (!known || known->empty()) {
        log_info(
            "key-encryption key in use",
            {{"file", config.kek_file.string()}, {"fingerprint", fingerprint}}
        );
        catalog.write([&](catalog::Transaction& transaction) {
            transaction.set_setting(kKeySetting, fingerprint);
        });
    }
    return key;
}

ServiceIds ensure_service(const ServiceConfig& config, catalog::Catalog& catalog, Clock& clock) {
    ServiceIds ids;
    catalog.write([&](catalog::Transaction& transaction) {
        ids.subscription_id = settle_id(transaction, kSubscriptionSetting, config.subscription_id);
        ids.tenant_id = settle_id(transaction, kTenantSetting, config.tenant_id);
        auto subscription = transaction.get<catalog::SubscriptionRecord>(ids.subscription_id);
        const bool stale = !subscription ||
                           subscription->display_name != config.subscription_name ||
                           subscription->tenant_id != ids.tenant_id;
        if (stale) {
            catalog::SubscriptionRecord record;
            record.id = ids.subscription_id;
            record.display_name = config.subscription_name;
            record.tenant_id = ids.tenant_id;
            record.created_at = subscription ? subscription->created_at : clock.now();
            transaction.put(record);
        }
        catalog::ResourceGroupRecord group;
        group.id = fmt::format(
            "/subscriptions/{}/resourceGroups/{}", ids.subscription_id, config.resource_group
        );
        if (!transaction.get<catalog::ResourceGroupRecord>(group.id)) {
            group.subscription_id = ids.subscription_id;
            group.name = config.resource_group;
            group.location = config.location;
            group.created_at = clock.now();
            transaction.put(group);
        }
    });
    return ids;
}

std::optional<OwnerCredential> ensure_owner(
    catalog::Catalog& catalog, TokenAuthority& tokens, Clock& clock
) {
    std::optional<OwnerCredential> made;
    catalog.write([&](catalog::Transaction& transaction) {
        const auto known = transaction.setting(kOwnerSetting);
        if (known && transaction.get<catalog::PrincipalRecord>(*known)) {
            return;
        }
        catalog::PrincipalRecord owner;
        owner.id = new_guid();
        owner.kind = "ServicePrincipal";
        owner.display_name = "owner";
        owner.login_name = new_guid();
        owner.created_at = clock.now();
        transaction.put(owner);
        for (const std::string_view role :
             {kOwnerRoleId, kSecretsOfficerRoleId, kBlobContributorRoleId, kPointDataRoleId}) {
            catalog::RoleAssignmentRecord assignment;
            assignment.id = new_guid();
            assignment.scope = "/";
            assignment.role_definition_id = role;
            assignment.principal_id = owner.id;
            assignment.principal_type = owner.kind;
            assignment.created_at = clock.now();
            transaction.put(assignment);
        }
        transaction.set_setting(kOwnerSetting, owner.id);
        made = OwnerCredential{
            owner.login_name,
            tokens.issue(transaction, {.principal_id = owner.id, .description = "first start"})
        };
    });
    return made;
}

IssuedToken issue_owner_token(catalog::Catalog& catalog, TokenAuthority& tokens) {
    std::optional<IssuedToken> issued;
    catalog.write([&](catalog::Transaction& transaction) {
        const auto owner = transaction.setting(kOwnerSetting);
        HOLDFAST_CHECK(owner.has_value());
        issued = tokens.issue(
            transaction, {.principal_id = *owner, .description = "issued on the server"}
        );
    });
    return std::move(*issued);
}

}  // namespace holdfast::control
