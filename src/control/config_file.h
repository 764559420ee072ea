#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace holdfast::control {

/// One value as some source gave it: text, or several for a list.
struct Setting {
    std::string key;  ///< `server.listen`
    std::vector<std::string> values;
    std::string origin;  ///< `/etc/holdfast/holdfast.toml:12`, `--set`, `HOLDFAST_SERVER_LISTEN`:
                         ///< for messages.
};

/// Reads a TOML file into settings, in no particular order. An array of tables becomes a list of
/// `name=directory`. Throws kConfigInvalid with file, line and column.
[[nodiscard]] std::vector<Setting> read_config_file(const std::filesystem::path& path);

}  // namespace holdfast::control
