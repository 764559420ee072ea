#pragma once

#include "alerts/settings.h"
#include "base/environment.h"
#include "base/log.h"

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::control {

struct ServerConfig {
    std::string listen_host = "127.0.0.1";
    int listen_port =
        8443;  ///< 0: the system chooses; the port is printed and written to <state>/server.json.
    /// DNS names and IP addresses in the certificate, and the only ones the self-made CA may sign
    /// for.
    std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
    std::string public_url;  ///< Origin behind a proxy, `https://backup.example.org`; empty: what
                             ///< the client asked for.
    std::filesystem::path tls_certificate;  ///< PEM chain; empty: self-made CA and leaf.
    std::filesystem::path tls_key;
    std::size_t connections_max = 10000;
    std::size_t threads = 4;  ///< Workers that run requests.
    std::size_t body_bytes_max = 4 * 1024 * 1024;
    std::size_t header_bytes_max = 32 * 1024;
    std::chrono::milliseconds handshake_timeout{10'000};
    std::chrono::milliseconds header_timeout{15'000};
    std::chrono::milliseconds body_timeout{60'000};
    std::chrono::milliseconds write_timeout{60'000};
    std::chrono::milliseconds idle_timeout{75'000};
    std::chrono::milliseconds shutdown_timeout{10'000};
};

struct StateConfig {
    /// Catalog, keys, certificates. Default: $STATE_DIRECTORY (systemd), else /var/lib/holdfast for
    /// root, else ~/.local/state/holdfast.
    std::filesystem::path directory;
};

struct VaultsConfig {
    std::filesystem::path directory;  ///< One subdirectory per vault; empty: <state>/vaults.
    bool verify_writes = true;        ///< Decrypt and rehash every pack before it is published.
    int compression_level = 1;
};

struct KeysConfig {
    std::filesystem::path kek_file;  ///< Empty: <state>/keys/kek.key.
};

/// A named place that restores may write to: `https://<this server>/restore/<name>`.
struct RestoreContainer {
    std::string name;
    std::filesystem::path directory;
};

struct RestoreConfig {
    std::filesystem::path
        file_root;  ///< `file://` targets lie beneath it; empty: none are allowed.
    std::vector<RestoreContainer> containers;
};

struct PostgresConfig {
    std::vector<std::filesystem::path> bin_directories;  ///< Searched before the Debian layout.
    std::chrono::milliseconds lock_wait_timeout{300'000};
};

/// Test restores, and single databases out of physical recovery points: a server in a sandbox.
struct ScratchConfig {
    std::filesystem::path directory;  ///< Needs room for a whole cluster.
    std::filesystem::path bubblewrap = "/usr/bin/bwrap";
    std::uint64_t memory_max_bytes = 4ULL << 30U;
    std::uint64_t disk_max_bytes = 1ULL << 40U;  ///< How much the directory may grow.
    std::chrono::seconds time_max{6 * 3600};
};

struct JobsConfig {
    std::size_t max_jobs = 2;
    std::size_t max_jobs_per_server = 1;
    std::chrono::seconds collect_interval{std::chrono::hours{24}};
    std::size_t collect_repack_percent = 50;
    std::size_t collect_unused_percent = 5;
};

struct ServiceConfig {
    std::string subscription_id;  ///< Empty: made at the first start and kept.
    std::string subscription_name = "Holdfast";
    std::string tenant_id;  ///< Empty: made at the first start and kept.
    std::string location = "local";
    std::string resource_group = "default";
    /// A key vault V of the built-in store is reached at https://V.<this>; empty: below each of the
    /// server's own DNS names.
    std::string key_vault_dns;
    std::vector<std::string> key_vaults;  ///< Named in the certificate from the start.
};

/// What an external issuer's claim gives: who has `value` in the issuer's roles claim has `role` at
/// `scope`.
struct ClaimedRole {
    std::string value;
    std::string role;  ///< Name or GUID of a built-in role, GUID of a custom one.
    std::string scope;
};

/// An OpenID Connect issuer whose access tokens are accepted beside our own.
struct IssuerConfig {
    std::string issuer;  ///< Equals the tokens' `iss`, letter for letter.
    std::vector<std::string> audiences;
    std::string jwks_uri;           ///< https. Nothing else is ever fetched, no redirect followed.
    std::filesystem::path ca_file;  ///< PEM; empty: the system's.
    std::string subject_claim = "sub";
    std::string name_claim = "preferred_username";
    std::string roles_claim = "roles";
    std::vector<ClaimedRole> roles;
};

struct IdentityConfig {
    /// The owner's first token goes into this file (0600) instead of to standard output.
    std::filesystem::path bootstrap_token_file;
    std::chrono::seconds access_token_lifetime{3600};
    /// Whether validations create the role assignments that a vault's identity lacks, where the
    /// caller may.
    bool auto_grant = true;
    std::vector<IssuerConfig> issuers;
};

/// Who is told of what happens; see src/alerts.
struct AlertsConfig {
    std::chrono::milliseconds window{3'600'000};
    std::chrono::hours no_point_after{0};  ///< 0: from each instance's policy.
    std::vector<std::string> mute;
    std::vector<alerts::WebhookSettings> webhooks;
    std::vector<alerts::EmailSettings> emails;
};

struct LogConfig {
    LogLevel level = LogLevel::kInfo;
    std::filesystem::path access_file;  ///< Empty: requests go to the log itself.
};

/// What `holdfast serve` runs with. docs/operating/configuration.md is generated from the table in
/// config.cc.
struct Config {
    ServerConfig server;
    StateConfig state;
    VaultsConfig vaults;
    KeysConfig keys;
    RestoreConfig restore;
    PostgresConfig postgres;
    ScratchConfig scratch;
    JobsConfig jobs;
    ServiceConfig service;
    IdentityConfig identity;
    AlertsConfig alerts;
    LogConfig log;
    /// The file that was read; empty when there was none.
    std::filesystem::path file;
};

/// Where the values come from; the first that names a key wins: flags, environment, file, default.
struct ConfigSources {
    /// Key (`server.listen`) and text, from `--set server.listen=…` and the named flags.
    std::vector<std::pair<std::string, std::string>> flags = {};
    /// HOLDFAST_SERVER_LISTEN sets server.listen; lists are comma-separated. A name that begins
    /// like a section (HOLDFAST_SERVER_…) and is no key is refused.
    Environment environment = {};
    /// Must exist when given. Else HOLDFAST_CONFIG names it, else /etc/holdfast/holdfast.toml is
    /// read if it exists.
    std::optional<std::filesystem::path> file = {};
};

/// Merges and checks everything, filling the paths that depend on the state directory. Throws
/// kConfigInvalid with file:line (or the flag or variable), what is wrong and what is allowed;
/// unknown keys are refused.
[[nodiscard]] Config load_config(const ConfigSources& sources);

/// The reference page, from the same table that the parser reads.
[[nodiscard]] std::string describe_config();

}  // namespace holdfast::control
