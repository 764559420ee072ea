#include "control/config_file.h"

#include "base/error.h"
#include "base/file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

namespace holdfast::control {
namespace {

constexpr std::size_t kFileSizeMax = 1024 * 1024;

std::string place_of(const std::filesystem::path& path, const toml::source_region& region) {
    return fmt::format("{}:{}", path.string(), region.begin.line);
}

[[noreturn]] void refuse(const std::string& origin, const std::string& problem) {
    throw Error{
        ErrorKind::kConfigInvalid,
        ErrorText{
            .message = fmt::format("{}: {}", origin, problem),
            .target = origin,
            .recommended_actions =
                {"Correct the configuration file; docs/operating/configuration.md lists the keys."},
        }
    };
}

std::string scalar_text(const toml::node& node, const std::string& key, const std::string& origin) {
    if (const auto* text = node.as_string()) {
        return text->get();
    }
    if (const auto* number = node.as_integer()) {
        return std::to_string(number->get());
    }
    if (const auto* flag = node.as_boolean()) {
        return flag->get() ? "true" : "false";
    }
    refuse(origin, fmt::format("{} must be a string, a whole number, true or false.", key));
}

/// `{name = "files", directory = "/srv/x"}` as `files=/srv/x`.
std::string container_text(
    const toml::table& table, const std::filesystem::path& path, const std::string& key
) {
    std::string name;
    std::string directory;
    for (const auto& [member, node] : table) {
        const std::string origin = place_of(path, node.source());
        const std::string full = fmt::format("{}.{}", key, member.str());
        if (member.str() == "name") {
            name = scalar_text(node, full, origin);
        } else if (member.str() == "directory") {
            directory = scalar_text(node, full, origin);
        } else {
            refuse(origin, fmt::format("{} is not a known key. Allowed: name, directory.", full));
        }
    }
    const std::string origin = place_of(path, table.source());
    if (name.empty() || directory.empty()) {
        refuse(origin, fmt::format("Each [[{}]] needs name and directory.", key));
    }
    return name + "=" + directory;
}

/// Any other table as `member=value` lines; an array's values are lines of their own.
std::string table_text(
    const toml::table& table, const std::filesystem::path& path, const std::string& key
) {
    std::string out;
    for (const auto& [member, node] : table) {
        const std::string full = fmt::format("{}.{}", key, member.str());
        const auto add = [&](const toml::node& value) {
            const std::string origin = place_of(path, value.source());
            const std::string text = scalar_text(value, full, origin);
            if (text.find('\n') != std::string::npos) {
                refuse(origin, fmt::format("{} must be a single line.", full));
            }
            out += fmt::format("{}={}\n", member.str(), text);
        };
        if (const auto* array = node.as_array()) {
            for (const toml::node& value : *array) {
                add(value);
            }
        } else {
            add(node);
        }
    }
    return out;
}

Setting list_setting(
    const toml::array& array, const std::filesystem::path& path, const std::string& key
) {
    Setting setting{key, {}, place_of(path, array.source())};
    for (const toml::node& node : array) {
        if (const auto* table = node.as_table()) {
            setting.values.push_back(
                key == "restore.containers" ? container_text(*table, path, key)
                                            : table_text(*table, path, key)
            );
        } else {
            setting.values.push_back(scalar_text(node, key, place_of(path, node.source())));
        }
    }
    return setting;
}

void flatten(
    const toml::table& table,
    const std::filesystem::path& path,
    const std::string& prefix,
    std::vector<Setting>& out
) {
    for (const auto& [name, node] : table) {
        const std::string key =
            prefix.empty() ? std::string{name.str()} : fmt::format("{}.{}", prefix, name.str());
        if (const auto* section = node.as_table()) {
            flatten(*section, path, key, out);
        } else if (const auto* array = node.as_array()) {
            out.push_back(list_setting(*array, path, key));
        } else {
            const std::string origin = place_of(path, node.source());
            out.push_back({key, {scalar_text(node, key, origin)}, origin});
        }
    }
}

}  // namespace

std::vector<Setting> read_config_file(const std::filesystem::path& path) {
    const auto text = read_file(path, kFileSizeMax);
    if (!text) {
        refuse(path.string(), "The configuration file does not exist.");
    }
    std::vector<Setting> settings;
    try {
        flatten(toml::parse(*text, path.string()), path, "", settings);
    } catch (const toml::parse_error& fault) {
        const auto& at = fault.source().begin;
        refuse(
            fmt::format("{}:{}:{}", path.string(), at.line, at.column),
            fmt::format("This is not valid TOML: {}.", fault.description())
        );
    }
    return settings;
}

}  // namespace holdfast::control
