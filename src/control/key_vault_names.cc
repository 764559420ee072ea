#include "control/key_vault_names.h"

#include "base/text.h"

#include <set>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

bool is_dns_name(std::string_view name) noexcept {
    return name.find(':') == std::string_view::npos && !name.starts_with("*.") &&
           name.find_first_not_of("0123456789.") != std::string_view::npos;
}

bool is_vault_name(std::string_view name) noexcept {
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-';
    });
    return !name.empty() && name.size() <= 63 && plain && name.front() != '-';
}

std::string_view host_of(std::string_view origin) noexcept {
    if (const auto scheme = origin.find("://"); scheme != std::string_view::npos) {
        origin.remove_prefix(scheme + 3);
    }
    if (origin.starts_with('[')) {
        return {};
    }
    return origin.substr(0, origin.find(':'));
}

}  // namespace

std::vector<std::string> key_vault_suffixes(const Config& config) {
    if (!config.service.key_vault_dns.empty()) {
        return {to_lower(config.service.key_vault_dns)};
    }
    std::vector<std::string> suffixes;
    for (const std::string& name : config.server.names) {
        if (is_dns_name(name)) {
            suffixes.push_back(to_lower(name));
        }
    }
    return suffixes;
}

std::string vault_of_host(const Config& config, std::string_view origin) {
    const std::string host = to_lower(host_of(origin));
    // A name that the server itself has is never a vault's, though it may look like one.
    for (const std::string& name : config.server.names) {
        if (equal_ignoring_case(name, host)) {
            return {};
        }
    }
    std::vector<std::string> suffixes = key_vault_suffixes(config);
    // Also below an address, where only our own command line puts a vault's label.
    suffixes.insert(suffixes.end(), config.server.names.begin(), config.server.names.end());
    for (const std::string& suffix : suffixes) {
        if (host.size() > suffix.size() + 1 && host.ends_with("." + suffix)) {
            const std::string label = host.substr(0, host.size() - suffix.size() - 1);
            if (is_vault_name(label)) {
                return label;
            }
        }
    }
    return {};
}

std::vector<std::string> key_vault_host_names(
    const Config& config, const std::vector<std::string>& vaults
) {
    std::set<std::string> names;
    for (const std::string& suffix : key_vault_suffixes(config)) {
        for (const std::string& vault : vaults) {
            if (is_vault_name(vault)) {
                names.insert(fmt::format("{}.{}", to_lower(vault), suffix));
            }
        }
    }
    return {names.begin(), names.end()};
}

std::string key_vault_id(
    const Config& config, std::string_view subscription_id, std::string_view vault
) {
    return fmt::format(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.KeyVault/vaults/{}",
        subscription_id,
        config.service.resource_group,
        vault
    );
}

std::string restore_container_id(
    const Config& config, std::string_view subscription_id, std::string_view container
) {
    const std::string account = fmt::format(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Storage/storageAccounts/holdfast",
        subscription_id,
        config.service.resource_group
    );
    return container.empty()
               ? account
               : fmt::format("{}/blobServices/default/containers/{}", account, container);
}

}  // namespace holdfast::control
