#pragma once

#include "base/secret.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace holdfast::alerts {

/// An HTTPS endpoint that alerts are posted to. The configuration names it; no request can.
struct WebhookSettings {
    std::string name;
    std::string url;  ///< https; http to a loopback address only.
    /// The key of the signature: a file (0600), or a secret of the built-in store. Neither: none.
    std::filesystem::path secret_file = {};
    std::string secret_uri = {};
    std::filesystem::path ca_file = {};  ///< PEM; empty: the system's.
};

/// A mail server that alerts are handed to.
struct EmailSettings {
    enum class Security { kStartTls, kTls, kNone };
    std::string name;
    std::string host;
    int port = 587;
    Security security = Security::kStartTls;  ///< kNone: to a loopback address only.
    std::string from;
    std::vector<std::string> to;
    std::string user = {};  ///< Empty: no login.
    std::filesystem::path password_file = {};
    std::string password_uri = {};
    std::filesystem::path ca_file = {};
};

/// The members of one table of the configuration, as texts.
using SettingMembers = std::map<std::string, std::vector<std::string>>;
/// Check what a table says. Throw kConfigInvalid with a sentence; it repeats no secret.
[[nodiscard]] WebhookSettings webhook_from(const SettingMembers& members);
[[nodiscard]] EmailSettings email_from(const SettingMembers& members);

struct OutboxSettings {
    std::chrono::seconds window{3600};  ///< The same event within it is one alert.
    std::vector<std::string> muted;     ///< Kinds, by the configuration.
    std::vector<std::string> channels;  ///< Names; what each alert has to reach.
};

/// The value of a secret by its URI. Throws kSecretNotFound, kInvalidSecret.
using SecretSource = std::function<Secret(const std::string& uri)>;

}  // namespace holdfast::alerts
