#include "control/config.h"

#include "alerts/outbox.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/text.h"
#include "control/config_file.h"

#include <charconv>
#include <set>

#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::control {
namespace {

[[noreturn]] void refuse(const Setting& setting, std::string_view problem) {
    throw Error{
        ErrorKind::kConfigInvalid,
        ErrorText{
            .message = fmt::format("{}: {}: {}", setting.origin, setting.key, problem),
            .target = setting.key,
            .recommended_actions = {fmt::format(
                "Correct {}; docs/operating/configuration.md lists the keys.", setting.key
            )},
        }
    };
}

const std::string& text_of(const Setting& setting) {
    if (setting.values.size() != 1) {
        refuse(setting, "one value is expected, not a list.");
    }
    return setting.values.front();
}

struct Bounds {
    std::int64_t min;
    std::int64_t max;
};

std::int64_t integer_of(const Setting& setting, Bounds bounds) {
    const std::string& text = text_of(setting);
    std::int64_t value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault != std::errc{} || end != text.data() + text.size() || value < bounds.min ||
        value > bounds.max) {
        refuse(
            setting,
            fmt::format(
                "'{}' is not a whole number from {} to {}.",
                text.substr(0, 64),
                bounds.min,
                bounds.max
            )
        );
    }
    return value;
}

std::size_t count_of(const Setting& setting, Bounds bounds) {
    return static_cast<std::size_t>(integer_of(setting, bounds));
}

bool flag_of(const Setting& setting) {
    const std::string& text = text_of(setting);
    if (text != "true" && text != "false") {
        refuse(setting, fmt::format("'{}' is neither true nor false.", text.substr(0, 64)));
    }
    return text == "true";
}

struct Unit {
    std::string_view suffix;
    std::int64_t factor;
};

/// A number and one of `units`, within `bounds` (in the smallest unit).
std::int64_t quantity_of(
    const Setting& setting, std::span<const Unit> units, Bounds bounds, std::string_view example
) {
    const std::string& text = text_of(setting);
    std::int64_t number = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view suffix{end, static_cast<std::size_t>(text.data() + text.size() - end)};
    for (const Unit& unit : units) {
        if (fault == std::errc{} && suffix == unit.suffix && number >= 0 &&
            number <= bounds.max / unit.factor && number * unit.factor >= bounds.min) {
            return number * unit.factor;
        }
    }
    std::string allowed;
    for (const Unit& unit : units) {
        allowed += fmt::format(
            "{}{}", allowed.empty() ? "" : ", ", unit.suffix.empty() ? "none" : unit.suffix
        );
    }
    refuse(
        setting,
        fmt::format(
            "'{}' is not a quantity like {} within its bounds. Units: {}.",
            text.substr(0, 64),
            example,
            allowed
        )
    );
}

std::chrono::milliseconds duration_of(const Setting& setting) {
    static constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
    // 20 ms is what the deadline timers resolve, a day more than any phase may need.
    return std::chrono::milliseconds{quantity_of(setting, kUnits, {20, 24 * 3'600'000}, "30s")};
}

/// Of what is done now and then; 0: never.
std::chrono::seconds interval_of(const Setting& setting) {
    static constexpr Unit kUnits[] = {{"h", 3600}, {"d", 24 * 3600}};
    return std::chrono::seconds{quantity_of(setting, kUnits, {0, 90 * 24 * 3600}, "24h")};
}

std::chrono::seconds token_life_of(const Setting& setting) {
    static constexpr Unit kUnits[] = {{"s", 1}, {"m", 60}, {"h", 3600}};
    return std::chrono::seconds{quantity_of(setting, kUnits, {600, 24 * 3600}, "1h")};
}

std::size_t size_of(const Setting& setting) {
    static constexpr Unit kUnits[] = {
        {"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}
    };
    return static_cast<std::size_t>(
        quantity_of(setting, kUnits, {1024, std::int64_t{1024} * 1024 * 1024}, "4MiB")
    );
}

std::filesystem::path path_of(const Setting& setting) {
    const std::string& text = text_of(setting);
    if (!text.empty() && text.front() != '/') {
        refuse(setting, fmt::format("'{}' is not an absolute path.", text.substr(0, 200)));
    }
    return std::filesystem::path{text}.lexically_normal();
}

std::vector<std::filesystem::path> paths_of(const Setting& setting) {
    std::vector<std::filesystem::path> out;
    for (const std::string& value : setting.values) {
        out.push_back(path_of({setting.key, {value}, setting.origin}));
    }
    return out;
}

std::string guid_of(const Setting& setting) {
    const std::string& text = text_of(setting);
    if (!text.empty() && !is_guid(text)) {
        refuse(setting, fmt::format("'{}' is not a GUID.", text.substr(0, 64)));
    }
    return to_lower(text);
}

std::string nonempty_of(const Setting& setting) {
    if (text_of(setting).empty()) {
        refuse(setting, "the value must not be empty.");
    }
    return text_of(setting);
}

void set_listen(Config& config, const Setting& setting) {
    const std::string& text = text_of(setting);
    const std::size_t colon = text.rfind(':');
    std::string host = text.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string::npos) {
        host.clear();  // An IPv6 address without brackets.
    }
    if (colon == std::string::npos || host.empty()) {
        refuse(
            setting,
            fmt::format(
                "'{}' is not host:port, like 0.0.0.0:8443 or [::]:8443.", text.substr(0, 100)
            )
        );
    }
    const Setting port{setting.key, {text.substr(colon + 1)}, setting.origin};
    config.server.listen_port = static_cast<int>(integer_of(port, {0, 65535}));
    config.server.listen_host = host;
}

void set_public_url(Config& config, const Setting& setting) {
    std::string url = text_of(setting);
    while (!url.empty() && url.back() == '/') {
        url.pop_back();
    }
    constexpr std::string_view kScheme = "https://";
    if (!url.empty() && (!url.starts_with(kScheme) || url.size() == kScheme.size() ||
                         url.find('/', kScheme.size()) != std::string::npos)) {
        refuse(
            setting, "an origin like https://backup.example.org:8443 is expected: https, no path."
        );
    }
    config.server.public_url = url;
}

void set_containers(Config& config, const Setting& setting) {
    config.restore.containers.clear();
    std::set<std::string> names;
    for (const std::string& value : setting.values) {
        const std::size_t equals = value.find('=');
        const std::string name = value.substr(0, equals);
        const bool good_name =
            !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
                return c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
            });
        if (equals == std::string::npos || !good_name) {
            refuse(
                setting,
                fmt::format(
                    "'{}' is not a container: a name of 1 to 63 lower-case letters, digits and "
                    "hyphens and a "
                    "directory are expected.",
                    value.substr(0, 100)
                )
            );
        }
        if (!names.insert(name).second) {
            refuse(setting, fmt::format("the name '{}' is given twice.", name));
        }
        config.restore.containers.push_back(
            {name, path_of({setting.key, {value.substr(equals + 1)}, setting.origin})}
        );
    }
}

/// `Backup Reader@/subscriptions/…` given to whoever has `value`: `value=Backup Reader@/…`.
ClaimedRole claimed_role_of(const Setting& setting, const std::string& text) {
    const auto equals = text.find('=');
    const auto at = text.rfind('@');
    if (equals == std::string::npos || equals == 0 || at == std::string::npos || at < equals ||
        at + 2 > text.size() || text[at + 1] != '/') {
        refuse(
            setting,
            fmt::format(
                "'{}' is not a role mapping like 'backup-admins=Backup Contributor@/'.",
                text.substr(0, 200)
            )
        );
    }
    return {
        .value = text.substr(0, equals),
        .role = std::string{trim(std::string_view{text}.substr(equals + 1, at - equals - 1))},
        .scope = text.substr(at + 1),
    };
}

IssuerConfig issuer_of(const Setting& setting, const std::string& lines) {
    IssuerConfig issuer;
    for (const std::string& line : split(lines, '\n')) {
        const auto equals = line.find('=');
        const std::string name = line.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : line.substr(equals + 1);
        if (name.empty()) {
            continue;
        }
        if (name == "issuer") {
            issuer.issuer = value;
        } else if (name == "audiences") {
            issuer.audiences.push_back(value);
        } else if (name == "jwks_uri") {
            issuer.jwks_uri = value;
        } else if (name == "ca_file") {
            issuer.ca_file = path_of({setting.key, {value}, setting.origin});
        } else if (name == "subject_claim") {
            issuer.subject_claim = value;
        } else if (name == "name_claim") {
            issuer.name_claim = value;
        } else if (name == "roles_claim") {
            issuer.roles_claim = value;
        } else if (name == "roles") {
            issuer.roles.push_back(claimed_role_of(setting, value));
        } else {
            refuse(
                setting,
                fmt::format(
                    "'{}' is not known here. Allowed: issuer, audiences, jwks_uri, ca_file, "
                    "subject_claim, name_claim, roles_claim, roles.",
                    name.substr(0, 100)
                )
            );
        }
    }
    if (issuer.issuer.empty() || issuer.audiences.empty() ||
        !issuer.jwks_uri.starts_with("https://")) {
        refuse(setting, "each issuer needs issuer, audiences and an https jwks_uri.");
    }
    return issuer;
}

void set_issuers(Config& config, const Setting& setting) {
    config.identity.issuers.clear();
    for (const std::string& value : setting.values) {
        config.identity.issuers.push_back(issuer_of(setting, value));
    }
}

/// `member=value` lines, as read_config_file() makes them of a table.
alerts::SettingMembers members_of(const std::string& lines) {
    alerts::SettingMembers members;
    for (const std::string& line : split(lines, '\n')) {
        const auto equals = line.find('=');
        if (equals != std::string::npos) {
            members[line.substr(0, equals)].push_back(line.substr(equals + 1));
        }
    }
    return members;
}

template <typename Channel>
std::vector<Channel> channels_of(
    const Setting& setting, Channel (*parse)(const alerts::SettingMembers&)
) {
    std::vector<Channel> out;
    for (const std::string& value : setting.values) {
        try {
            out.push_back(parse(members_of(value)));
        } catch (const Error& error) {
            refuse(setting, error.what());
        }
    }
    return out;
}

void set_muted(Config& config, const Setting& setting) {
    for (const std::string& kind : setting.values) {
        try {
            (void)alerts::require_mutable(kind, setting.key);
        } catch (const Error& error) {
            refuse(setting, error.what());
        }
    }
    config.alerts.mute = setting.values;
}

void set_log_level_of(Config& config, const Setting& setting) {
    const std::map<std::string_view, LogLevel> levels{
        {"debug", LogLevel::kDebug},
        {"info", LogLevel::kInfo},
        {"warning", LogLevel::kWarning},
        {"error", LogLevel::kError},
    };
    const auto found = levels.find(text_of(setting));
    if (found == levels.end()) {
        refuse(setting, "one of debug, info, warning, error is expected.");
    }
    config.log.level = found->second;
}

/// One row per key: parser, default and documentation read the same table.
struct Key {
    std::string_view name;
    std::string_view kind;          // For the documentation.
    std::string_view default_text;  // Applied through `set`; empty: nothing, or what `help` says.
    std::string_view help;
    void (*set)(Config&, const Setting&);
    bool list = false;
};

constexpr Bounds kAnyCount{1, 1'000'000};

const std::vector<Key>& keys() {
    static const std::vector<Key> table{
        {"server.listen",
         "host:port",
         "127.0.0.1:8443",
         "Where the HTTPS API listens. Port 0 lets the system choose; the port is printed and "
         "written to "
         "`<state>/server.json`.",
         &set_listen},
        {"server.names",
         "list",
         "localhost,127.0.0.1,::1",
         "DNS names and IP addresses that clients use for this server: what the certificate is "
         "made for, and all that "
         "the self-made CA may ever sign for. A new name makes a new CA. The host of "
         "`server.listen` and of "
         "`server.public_url` are added.",
         [](Config& c, const Setting& s) { c.server.names = s.values; },
         true},
        {"server.public_url",
         "origin",
         "",
         "The origin in absolute URLs of replies, for a server behind a proxy. Empty: the `Host` "
         "that the client asked "
         "for.",
         &set_public_url},
        {"server.tls_certificate",
         "path",
         "",
         "PEM file with the certificate chain, leaf first. Empty: a CA and certificates of its "
         "own.",
         [](Config& c, const Setting& s) { c.server.tls_certificate = path_of(s); }},
        {"server.tls_key",
         "path",
         "",
         "PEM file with the private key of `server.tls_certificate`.",
         [](Config& c, const Setting& s) { c.server.tls_key = path_of(s); }},
        {"server.connections_max",
         "number",
         "10000",
         "Connections at once; above it the one that has been silent longest is closed for a new "
         "one.",
         [](Config& c, const Setting& s) { c.server.connections_max = count_of(s, kAnyCount); }},
        {"server.threads",
         "number",
         "4",
         "Requests that are worked on at once.",
         [](Config& c, const Setting& s) { c.server.threads = count_of(s, {1, 256}); }},
        {"server.body_bytes_max",
         "size",
         "4MiB",
         "Largest request body; a larger one is answered 413.",
         [](Config& c, const Setting& s) { c.server.body_bytes_max = size_of(s); }},
        {"server.header_bytes_max",
         "size",
         "32KiB",
         "Largest request header; a larger one is answered 431.",
         [](Config& c, const Setting& s) { c.server.header_bytes_max = size_of(s); }},
        {"server.handshake_timeout",
         "duration",
         "10s",
         "For the TLS handshake.",
         [](Config& c, const Setting& s) { c.server.handshake_timeout = duration_of(s); }},
        {"server.header_timeout",
         "duration",
         "15s",
         "From the first byte of a request to the end of its header.",
         [](Config& c, const Setting& s) { c.server.header_timeout = duration_of(s); }},
        {"server.body_timeout",
         "duration",
         "1m",
         "For the body of a request.",
         [](Config& c, const Setting& s) { c.server.body_timeout = duration_of(s); }},
        {"server.write_timeout",
         "duration",
         "1m",
         "For a client to take a reply, or the next part of a download.",
         [](Config& c, const Setting& s) { c.server.write_timeout = duration_of(s); }},
        {"server.idle_timeout",
         "duration",
         "75s",
         "Between two requests of a connection.",
         [](Config& c, const Setting& s) { c.server.idle_timeout = duration_of(s); }},
        {"server.shutdown_timeout",
         "duration",
         "10s",
         "For requests under way when the server is stopped.",
         [](Config& c, const Setting& s) { c.server.shutdown_timeout = duration_of(s); }},
        {"state.directory",
         "path",
         "",
         "Catalog, keys and certificates. Default: `$STATE_DIRECTORY` (systemd), else "
         "`/var/lib/holdfast` for root, "
         "else `~/.local/state/holdfast`. One server at a time uses it.",
         [](Config& c, const Setting& s) { c.state.directory = path_of(s); }},
        {"vaults.directory",
         "path",
         "",
         "One subdirectory per vault. Default: `<state>/vaults`.",
         [](Config& c, const Setting& s) { c.vaults.directory = path_of(s); }},
        {"vaults.verify_writes",
         "true or false",
         "true",
         "Decrypt, decompress and compare every pack before it is stored: catches bad memory.",
         [](Config& c, const Setting& s) { c.vaults.verify_writes = flag_of(s); }},
        {"vaults.compression_level",
         "number",
         "1",
         "zstd level of new vaults, 1 to 19.",
         [](Config& c, const Setting& s) {
             c.vaults.compression_level = static_cast<int>(integer_of(s, {1, 19}));
         }},
        {"keys.kek_file",
         "path",
         "",
         "The key-encryption key, one line, mode 0600, outside every vault. Made at the first "
         "start. Default: "
         "`<state>/keys/kek.key`. Without it (or the recovery kit) no backup can be read.",
         [](Config& c, const Setting& s) { c.keys.kek_file = path_of(s); }},
        {"restore.containers",
         "tables",
         "",
         "`[[restore.containers]]` with `name` and `directory`: where restores as files may go, as "
         "`https://<this server>/restore/<name>`. As a list: `name=/directory,…`.",
         &set_containers,
         true},
        {"restore.file_root",
         "path",
         "",
         "`file://` targets lie beneath it. Empty: none are allowed.",
         [](Config& c, const Setting& s) { c.restore.file_root = path_of(s); }},
        {"postgres.bin_directories",
         "list",
         "",
         "Directories with pg_dump, pg_restore and psql, looked at before "
         "`/usr/lib/postgresql/*/bin`.",
         [](Config& c, const Setting& s) { c.postgres.bin_directories = paths_of(s); },
         true},
        {"postgres.lock_wait_timeout",
         "duration",
         "5m",
         "How long a backup waits for a table lock before it fails.",
         [](Config& c, const Setting& s) { c.postgres.lock_wait_timeout = duration_of(s); }},
        {"scratch.directory",
         "path",
         "",
         "Where test restores, and single databases out of physical recovery points, restore a "
         "cluster to; removed again afterwards. Default: `<state>/scratch`.",
         [](Config& c, const Setting& s) { c.scratch.directory = path_of(s); }},
        {"scratch.bubblewrap",
         "path",
         "/usr/bin/bwrap",
         "The sandbox that their servers run in. Without it they are refused.",
         [](Config& c, const Setting& s) { c.scratch.bubblewrap = path_of(s); }},
        {"scratch.memory_max_mib",
         "number",
         "4096",
         "Memory of such a server, MiB, 256 to 1048576.",
         [](Config& c, const Setting& s) {
             c.scratch.memory_max_bytes =
                 static_cast<std::uint64_t>(integer_of(s, {256, 1'048'576})) << 20U;
         }},
        {"scratch.disk_max_gib",
         "number",
         "1024",
         "How much its directory may grow while it runs, GiB, 1 to 1048576.",
         [](Config& c, const Setting& s) {
             c.scratch.disk_max_bytes = static_cast<std::uint64_t>(integer_of(s, {1, 1'048'576}))
                                        << 30U;
         }},
        {"scratch.time_max",
         "duration",
         "6h",
         "How long it may run.",
         [](Config& c, const Setting& s) {
             c.scratch.time_max = std::chrono::duration_cast<std::chrono::seconds>(duration_of(s));
         }},
        {"jobs.max_jobs",
         "number",
         "2",
         "Backups, restores, test restores and expiries that run at once; one collection may run "
         "beside them.",
         [](Config& c, const Setting& s) { c.jobs.max_jobs = count_of(s, {1, 64}); }},
        {"jobs.max_jobs_per_server",
         "number",
         "1",
         "Of these, on one PostgreSQL server.",
         [](Config& c, const Setting& s) { c.jobs.max_jobs_per_server = count_of(s, {1, 64}); }},
        {"jobs.collect_interval",
         "duration",
         "24h",
         "How often the space of removed recovery points is reclaimed, besides after each expiry; "
         "`0h`: only then.",
         [](Config& c, const Setting& s) { c.jobs.collect_interval = interval_of(s); }},
        {"jobs.collect_repack_percent",
         "number",
         "50",
         "A stored pack is rewritten when so much of it is not needed any more; 100: never.",
         [](Config& c, const Setting& s) { c.jobs.collect_repack_percent = count_of(s, {1, 100}); }
        },
        {"jobs.collect_unused_percent",
         "number",
         "5",
         "So much of a vault's data may stay unneeded inside packs; 100: any amount.",
         [](Config& c, const Setting& s) { c.jobs.collect_unused_percent = count_of(s, {0, 100}); }
        },
        {"service.subscription_id",
         "GUID",
         "",
         "Default: made at the first start and kept.",
         [](Config& c, const Setting& s) { c.service.subscription_id = guid_of(s); }},
        {"service.subscription_name",
         "text",
         "Holdfast",
         "What clients show for the subscription.",
         [](Config& c, const Setting& s) { c.service.subscription_name = nonempty_of(s); }},
        {"service.tenant_id",
         "GUID",
         "",
         "Default: made at the first start and kept.",
         [](Config& c, const Setting& s) { c.service.tenant_id = guid_of(s); }},
        {"service.location",
         "text",
         "local",
         "The location of resources that name none.",
         [](Config& c, const Setting& s) { c.service.location = nonempty_of(s); }},
        {"service.resource_group",
         "text",
         "default",
         "A resource group made at the first start.",
         [](Config& c, const Setting& s) { c.service.resource_group = nonempty_of(s); }},
        {"service.key_vault_dns",
         "text",
         "",
         "Key vault V of the built-in secret store is at `https://V.<this>:port`. Default: below "
         "each DNS name of the server.",
         [](Config& c, const Setting& s) { c.service.key_vault_dns = nonempty_of(s); }},
        {"service.key_vaults",
         "list",
         "",
         "Names of key vaults that the certificate carries from the start; those that hold secrets "
         "are added by themselves.",
         [](Config& c, const Setting& s) { c.service.key_vaults = s.values; },
         true},
        {"identity.bootstrap_token_file",
         "path",
         "",
         "The owner's first token is written here (0600) instead of printed. Default under "
         "systemd, whose journal "
         "must not keep it: `<state>/owner-token`.",
         [](Config& c, const Setting& s) { c.identity.bootstrap_token_file = path_of(s); }},
        {"identity.access_token_lifetime",
         "duration",
         "1h",
         "How long an access token is good, from 10m to 24h; az asks for a new one five minutes "
         "before.",
         [](Config& c, const Setting& s) { c.identity.access_token_lifetime = token_life_of(s); }},
        {"identity.issuers",
         "list",
         "",
         "`[[identity.issuers]]` with `issuer`, `audiences` and `jwks_uri`, and if wanted "
         "`ca_file`, "
         "`subject_claim` (`sub`), `name_claim` (`preferred_username`), `roles_claim` (`roles`) "
         "and "
         "`roles` like `backup-admins=Backup Contributor@/`: OpenID Connect issuers whose tokens "
         "are accepted. In the file only.",
         &set_issuers,
         true},
        {"identity.auto_grant",
         "flag",
         "true",
         "Validations create the role assignments that a vault's identity lacks, where the caller "
         "may assign roles.",
         [](Config& c, const Setting& s) { c.identity.auto_grant = flag_of(s); }},
        {"alerts.webhooks",
         "tables",
         "",
         "`[[alerts.webhooks]]` with `name`, `url` (https; http to a loopback address only) and if "
         "wanted `secret_file` or `secret_uri` (the key of the signature) and `ca_file`: where "
         "alerts are posted to. No other host is ever contacted. In the file only.",
         [](Config& c, const Setting& s) {
             c.alerts.webhooks = channels_of(s, &alerts::webhook_from);
         },
         true},
        {"alerts.emails",
         "tables",
         "",
         "`[[alerts.emails]]` with `name`, `host`, `from`, `to` and if wanted `port` (587, 465 "
         "with "
         "tls), `security` (`starttls`, `tls`; `none` to a loopback address only), `user` with "
         "`password_file` or `password_uri`, `ca_file`: who gets alerts by mail. In the file only.",
         [](Config& c, const Setting& s) { c.alerts.emails = channels_of(s, &alerts::email_from); },
         true},
        {"alerts.window",
         "duration",
         "1h",
         "The same event on the same resource within it is one alert, with a count.",
         [](Config& c, const Setting& s) { c.alerts.window = duration_of(s); }},
        {"alerts.no_point_hours",
         "number",
         "0",
         "Alert when an instance has had no good recovery point for so many hours; 0: twice the "
         "time between two runs of its policy.",
         [](Config& c, const Setting& s) {
             c.alerts.no_point_after = std::chrono::hours{integer_of(s, {0, 24 * 366})};
         }},
        {"alerts.mute",
         "list",
         "",
         "Kinds of alerts that are recorded and not sent, like `JobFailed`. Those of security "
         "cannot be muted.",
         &set_muted,
         true},
        {"log.access_file",
         "path",
         "",
         "One JSON line per request goes into this file (0640), opened again at SIGHUP. Empty: "
         "requests are lines of the log on standard error.",
         [](Config& c, const Setting& s) { c.log.access_file = path_of(s); }},
        {"log.level", "word", "info", "debug, info, warning or error.", &set_log_level_of},
    };
    return table;
}

std::string variable_of(std::string_view key) {
    std::string name = fmt::format("HOLDFAST_{}", key);
    for (char& c : name) {
        c = c == '.' ? '_' : (c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
    }
    return name;
}

const Key* find_key(std::string_view name) {
    for (const Key& key : keys()) {
        if (key.name == name) {
            return &key;
        }
    }
    return nullptr;
}

/// For "did you mean": the key that shares the most leading characters with the last part of
/// `name`.
std::string nearest_key(std::string_view name) {
    const std::string_view last =
        name.substr(name.rfind('.') == std::string_view::npos ? 0 : name.rfind('.') + 1);
    std::string best;
    std::size_t best_shared = 2;
    for (const Key& key : keys()) {
        const std::string_view other = key.name.substr(key.name.find('.') + 1);
        const auto [a, b] = std::mismatch(last.begin(), last.end(), other.begin(), other.end());
        const auto shared = static_cast<std::size_t>(a - last.begin());
        if (shared > best_shared) {
            best_shared = shared;
            best = key.name;
        }
    }
    return best;
}

void apply(Config& config, const Setting& setting) {
    const Key* key = find_key(setting.key);
    if (key == nullptr) {
        const std::string hint = nearest_key(setting.key);
        refuse(
            setting,
            hint.empty() ? "this key is not known."
                         : fmt::format("this key is not known. Did you mean {}?", hint)
        );
    }
    key->set(config, setting);
}

/// Text from the command line, the environment or the table: lists are comma-separated there.
Setting text_setting(const Key& key, std::string_view text, std::string origin) {
    Setting setting{std::string{key.name}, {}, std::move(origin)};
    if (!key.list) {
        setting.values.emplace_back(text);
        return setting;
    }
    for (const std::string& part : split(text, ',')) {
        if (!trim(part).empty()) {
            setting.values.emplace_back(trim(part));
        }
    }
    return setting;
}

void apply_environment(Config& config, const Environment& environment) {
    std::set<std::string> known;
    std::set<std::string> sections;
    for (const Key& key : keys()) {
        const std::string variable = variable_of(key.name);
        known.insert(variable);
        sections.insert(variable_of(key.name.substr(0, key.name.find('.'))) + "_");
        if (const auto text = environment.get(variable)) {
            apply(config, text_setting(key, *text, variable));
        }
    }
    for (const auto& [name, value] : environment.variables()) {
        const bool like_ours = std::any_of(
            sections.begin(),
            sections.end(),
            [&variable = name](const std::string& section) { return variable.starts_with(section); }
        );
        if (like_ours && !known.contains(name)) {
            refuse({name, {}, "environment"}, "this variable names no key.");
        }
    }
}

void apply_flags(Config& config, const ConfigSources& sources) {
    for (const auto& [name, text] : sources.flags) {
        const Key* key = find_key(name);
        apply(
            config,
            key == nullptr ? Setting{name, {text}, "command line"}
                           : text_setting(*key, text, "command line")
        );
    }
}

std::filesystem::path default_state_directory(const Environment& environment) {
    if (const auto given = environment.get("STATE_DIRECTORY")) {
        return given->substr(0, given->find(':'));
    }
    if (::geteuid() == 0) {
        return "/var/lib/holdfast";
    }
    if (const auto state_home = environment.get("XDG_STATE_HOME")) {
        return std::filesystem::path{*state_home} / "holdfast";
    }
    if (const auto home = environment.get("HOME")) {
        return std::filesystem::path{*home} / ".local/state/holdfast";
    }
    return "/var/lib/holdfast";
}

bool lies_within(const std::filesystem::path& path, const std::filesystem::path& directory) {
    std::error_code ignored;
    const auto inner = std::filesystem::weakly_canonical(path, ignored);
    const auto outer = std::filesystem::weakly_canonical(directory, ignored);
    const auto [end, rest] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
    return end == outer.end();
}

void add_name(std::vector<std::string>& names, std::string_view name) {
    const bool there = std::any_of(names.begin(), names.end(), [&](const std::string& each) {
        return equal_ignoring_case(each, name);
    });
    if (!there) {
        names.emplace_back(name);
    }
}

void fill_derived(Config& config, const Environment& environment) {
    if (config.state.directory.empty()) {
        config.state.directory = default_state_directory(environment);
    }
    if (config.vaults.directory.empty()) {
        config.vaults.directory = config.state.directory / "vaults";
    }
    if (config.scratch.directory.empty()) {
        config.scratch.directory = config.state.directory / "scratch";
    }
    if (config.keys.kek_file.empty()) {
        config.keys.kek_file = config.state.directory / "keys/kek.key";
    }
    if (config.identity.bootstrap_token_file.empty() && environment.get("JOURNAL_STREAM")) {
        config.identity.bootstrap_token_file = config.state.directory / "owner-token";
    }
    const std::string& host = config.server.listen_host;
    if (host != "0.0.0.0" && host != "::") {
        add_name(config.server.names, host);
    }
    if (!config.server.public_url.empty()) {
        std::string public_host =
            config.server.public_url.substr(std::string_view{"https://"}.size());
        const std::size_t colon = public_host.rfind(':');
        if (colon != std::string::npos && !public_host.ends_with(']')) {
            public_host.resize(colon);
        }
        if (public_host.starts_with('[') && public_host.ends_with(']')) {
            public_host = public_host.substr(1, public_host.size() - 2);
        }
        add_name(config.server.names, public_host);
    }
}

void check_whole(const Config& config) {
    const auto refuse_key = [](std::string key, std::string_view problem) {
        refuse({std::move(key), {}, "configuration"}, problem);
    };
    if (config.server.names.empty()) {
        refuse_key("server.names", "at least one name is needed.");
    }
    if (config.server.tls_certificate.empty() != config.server.tls_key.empty()) {
        refuse_key("server.tls_key", "server.tls_certificate and server.tls_key go together.");
    }
    if (lies_within(config.keys.kek_file, config.vaults.directory)) {
        refuse_key(
            "keys.kek_file",
            "the key must not lie inside a vault: whoever copies the vault would have the key to "
            "it."
        );
    }
    std::vector<std::pair<std::string, std::filesystem::path>> targets;
    for (const RestoreContainer& container : config.restore.containers) {
        targets.emplace_back("restore.containers", container.directory);
    }
    if (!config.restore.file_root.empty()) {
        targets.emplace_back("restore.file_root", config.restore.file_root);
    }
    for (const auto& [key, directory] : targets) {
        for (const auto& own : {config.vaults.directory, config.keys.kek_file.parent_path()}) {
            if (lies_within(directory, own) || lies_within(own, directory)) {
                refuse_key(
                    key,
                    fmt::format(
                        "{} and {} must not contain each other.", directory.string(), own.string()
                    )
                );
            }
        }
    }
    std::set<std::string> channels;
    const auto take_name = [&](const std::string& key, const std::string& name) {
        if (!channels.insert(name).second) {
            refuse_key(key, fmt::format("the name '{}' is given twice.", name));
        }
    };
    for (const auto& webhook : config.alerts.webhooks) {
        take_name("alerts.webhooks", webhook.name);
    }
    for (const auto& email : config.alerts.emails) {
        take_name("alerts.emails", email.name);
    }
    // What is restored there runs its owner's code.
    const std::filesystem::path& scratch = config.scratch.directory;
    const std::filesystem::path& vaults = config.vaults.directory;
    if (lies_within(config.keys.kek_file, scratch) || lies_within(scratch, vaults) ||
        lies_within(vaults, scratch)) {
        refuse_key(
            "scratch.directory", "it must not contain the key or a vault, nor lie in a vault."
        );
    }
    if (config.jobs.max_jobs_per_server > config.jobs.max_jobs) {
        refuse_key("jobs.max_jobs_per_server", "it must not be greater than jobs.max_jobs.");
    }
}

}  // namespace

Config load_config(const ConfigSources& sources) {
    Config config;
    for (const Key& key : keys()) {
        if (!key.default_text.empty()) {
            apply(config, text_setting(key, key.default_text, "default"));
        }
    }
    std::optional<std::filesystem::path> file = sources.file;
    if (!file) {
        if (const auto named = sources.environment.get("HOLDFAST_CONFIG")) {
            file = *named;
        } else if (std::error_code ignored;
                   std::filesystem::exists("/etc/holdfast/holdfast.toml", ignored)) {
            file = "/etc/holdfast/holdfast.toml";
        }
    }
    if (file) {
        for (const Setting& setting : read_config_file(*file)) {
            apply(config, setting);
        }
        config.file = *file;
    }
    apply_environment(config, sources.environment);
    apply_flags(config, sources);
    fill_derived(config, sources.environment);
    check_whole(config);
    return config;
}

std::string describe_config() {
    std::string out =
        "# Configuration\n\n"
        "This page is written by `holdfast docs configuration` from the table that the server "
        "itself reads; a test\n"
        "keeps it true.\n\n"
        "A value is looked for in this order, and the first one found counts:\n\n"
        "1. the command line: `holdfast serve --set server.listen=0.0.0.0:8443`\n"
        "2. the environment: `HOLDFAST_SERVER_LISTEN=0.0.0.0:8443` (lists are comma-separated)\n"
        "3. the file: `--config FILE`, else `$HOLDFAST_CONFIG`, else "
        "`/etc/holdfast/holdfast.toml`\n"
        "4. the default below\n\n"
        "Unknown keys and variables that look like keys are refused, with file and line.\n"
        "`holdfast serve --check-config` checks everything without starting. Durations are written "
        "`250ms`, `30s`,\n"
        "`5m`, `1h`; sizes `512KiB`, `4MiB`. Paths are absolute. `<state>` is `state.directory`.\n";
    std::string section;
    for (const Key& key : keys()) {
        const std::string_view its_section = key.name.substr(0, key.name.find('.'));
        if (its_section != section) {
            section = its_section;
            out += fmt::format(
                "\n## [{}]\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n",
                section
            );
        }
        out += fmt::format(
            "| `{}` | {} | {} | {} |\n",
            key.name,
            key.kind,
            key.default_text.empty() ? std::string{} : fmt::format("`{}`", key.default_text),
            key.help
        );
    }
    out +=
        "\n## Example\n\n"
        "```toml\n"
        "[server]\n"
        "listen = \"0.0.0.0:8443\"\n"
        "names = [\"backup.example.org\", \"localhost\", \"127.0.0.1\"]\n\n"
        "[vaults]\n"
        "directory = \"/srv/holdfast/vaults\"\n\n"
        "[[restore.containers]]\n"
        "name = \"files\"\n"
        "directory = \"/srv/holdfast/restore\"\n"
        "```\n";
    return out;
}

}  // namespace holdfast::control
