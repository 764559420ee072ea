#pragma once

#include "base/json.h"
#include "base/secret.h"
#include "cli/command.h"
#include "cli/session.h"
#include "vault/object_store/local_store.h"
#include "vault/vault.h"

#include <filesystem>
#include <memory>
#include <string>

namespace holdfast::cli {

/// A repository opened from its directory, with the store that it stands on.
struct OpenVault {
    std::filesystem::path path;
    std::unique_ptr<vault::LocalStore> store;
    std::unique_ptr<vault::Repository> repository;
};

/// The key in a key file, or in a recovery kit. Throws kKeyMissing, kKeyPermissions, kKeyWrong.
[[nodiscard]] Secret read_key(const std::string& path);
/// Throws kVaultNotFound, kKeyWrong.
[[nodiscard]] OpenVault open_vault(const std::string& path, const Secret& key, Session& session);

/// What `--point` or `--instance` says, else the newest. Throws kUsage, kRecoveryPointNotFound.
[[nodiscard]] vault::PointId choose_point(
    const Arguments& arguments, vault::Repository& repository
);
[[nodiscard]] Json point_json(const vault::PointSummary& point);

[[nodiscard]] Option path_option();
[[nodiscard]] Option key_option();
[[nodiscard]] Option point_option();
[[nodiscard]] Option instance_option();

/// `vault restore`.
[[nodiscard]] Command vault_restore_command();

}  // namespace holdfast::cli
