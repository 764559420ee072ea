#pragma once

#include "control/config.h"

#include <string>
#include <string_view>
#include <vector>

// Which of a server's names are those of key vaults: `<vault>.<suffix>`; and the ARM ids of what
// has no resource of its own here.
namespace holdfast::control {

/// The suffixes in use: the configured one, else the DNS names of the server.
[[nodiscard]] std::vector<std::string> key_vault_suffixes(const Config& config);

/// The vault that `origin` (`https://kv1.localhost:8443`) names, in lower case; empty when its host
/// is no single label below a suffix or below one of the server's own names: then it is the server
/// itself, with its default vault.
[[nodiscard]] std::string vault_of_host(const Config& config, std::string_view origin);

/// What the certificate has to carry beside the server's own names, so that clients reach `vaults`.
[[nodiscard]] std::vector<std::string> key_vault_host_names(
    const Config& config, const std::vector<std::string>& vaults
);

/// `/subscriptions/S/resourceGroups/G/providers/Microsoft.KeyVault/vaults/V`: the scope of its
/// secrets. All vaults of this server are in the default group.
[[nodiscard]] std::string key_vault_id(
    const Config& config, std::string_view subscription_id, std::string_view vault
);

/// `…/Microsoft.Storage/storageAccounts/holdfast/blobServices/default/containers/NAME`: the scope
/// of a restore container's files; with an empty name that of all, and of targets below the file
/// root.
[[nodiscard]] std::string restore_container_id(
    const Config& config, std::string_view subscription_id, std::string_view container
);

}  // namespace holdfast::control
