#pragma once

#include "base/environment.h"
#include "base/secret.h"

#include <filesystem>
#include <optional>
#include <string>

namespace holdfast::cli {

/// Which server the command line talks to, and as whom. Stored by `holdfast login` as profile.json
/// (mode 0600) in config_directory().
struct Profile {
    std::string server;  ///< "https://host:port", without a slash at the end.
    std::string
        ca_file;  ///< PEM that must have signed the server's certificate; empty: the system's.
    std::string subscription;
    Secret token;
};

/// $HOLDFAST_CONFIG_DIR, else $XDG_CONFIG_HOME/holdfast, else $HOME/.config/holdfast. Throws
/// kConfigInvalid when none of them is set.
[[nodiscard]] std::filesystem::path config_directory(const Environment& environment);

/// The stored profile under the variables HOLDFAST_SERVER, HOLDFAST_CA_FILE, HOLDFAST_TOKEN_FILE
/// and HOLDFAST_SUBSCRIPTION, which win. Nothing when neither names a server. Throws
/// kKeyPermissions when the stored file or the token's is readable by others, kConfigInvalid when
/// it is damaged.
[[nodiscard]] std::optional<Profile> load_profile(const Environment& environment);

/// A token alone in a file, blanks around it dropped. Throws kKeyPermissions when others may read
/// it, kInvalidInput when it is missing.
[[nodiscard]] Secret read_token_file(const std::filesystem::path& path);

/// Replaces the stored profile; the directory is 0700, the file 0600.
void save_profile(const Environment& environment, const Profile& profile);

/// True when there was one.
bool remove_profile(const Environment& environment);

}  // namespace holdfast::cli
