#include "control/server.h"

#include "alerts/channel.h"
#include "alerts/courier.h"
#include "alerts/outbox.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sealing.h"
#include "catalog/catalog.h"
#include "catalog/secret_store.h"
#include "control/access_log.h"
#include "control/audit.h"
#include "control/audit_watch.h"
#include "control/bootstrap.h"
#include "control/dispatcher.h"
#include "control/health.h"
#include "control/http/tls_material.h"
#include "control/identity/authorize.h"
#include "control/identity/catalog_grants.h"
#include "control/identity/external_issuers.h"
#include "control/identity/identity.h"
#include "control/identity/jwks_fetch.h"
#include "control/key_vault_names.h"
#include "control/metrics.h"
#include "control/operations.h"
#include "control/routes/documents.h"
#include "control/routes/providers/authorization/vault_permissions.h"
#include "control/routes/providers/data_protection/deleted_vaults.h"
#include "control/routes/routes.h"
#include "control/services.h"
#include "jobs/containers.h"
#include "jobs/credentials.h"
#include "jobs/data_plane.h"
#include "jobs/engine.h"
#include "jobs/protection_service.h"
#include "jobs/repositories.h"
#include "postgres/client_tools.h"
#include "postgres/server_programs.h"
#include "postgres/test_restore.h"

#include <csignal>
#include <cstdio>
#include <set>

#include <fmt/format.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

namespace holdfast::control {
namespace {

// One key, one purpose: each part of the service gets its own, derived from the key-encryption key.
constexpr std::string_view kSecretsKey = "holdfast/1/secret-store";
constexpr std::string_view kAuthorityKey = "holdfast/1/tls-authority";

constexpr auto kExpirySweepInterval = std::chrono::hours{1};

/// State directory, locked: made (0700) when it does not exist.
FileDescriptor lock_state(const std::filesystem::path& directory) {
    make_directory_durably(directory, 0700);
    auto lock = try_lock_file(directory / "lock");
    if (!lock) {
        throw Error{
            ErrorKind::kStateDirectoryLocked,
            ErrorText{
                .message =
                    fmt::format("Another server uses the state directory {}.", directory.string()),
                .target = "state.directory",
                .recommended_actions =
                    {"Stop the other server, or give this one a state directory of its own "
                     "(state.directory).",
                     fmt::format("See who it is: fuser {}/lock", directory.string())},
            }
        };
    }
    return std::move(*lock);
}

std::string origin_of(const std::string& host, int port) {
    const bool v6 = host.find(':') != std::string::npos;
    return fmt::format("https://{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

HttpSettings http_settings(const ServerConfig& config) {
    return {
        .host = config.listen_host,
        .port = config.listen_port,
        .connections_max = config.connections_max,
        .workers = config.threads,
        .header_bytes_max = config.header_bytes_max,
        .body_bytes_max = config.body_bytes_max,
        .handshake_timeout = config.handshake_timeout,
        .header_timeout = config.header_timeout,
        .body_timeout = config.body_timeout,
        .write_timeout = config.write_timeout,
        .idle_timeout = config.idle_timeout,
        .shutdown_timeout = config.shutdown_timeout,
    };
}

jobs::ContainerSettings container_settings(const Config& config, int port) {
    jobs::ContainerSettings settings;
    for (const RestoreContainer& container : config.restore.containers) {
        settings.containers.push_back({.name = container.name, .directory = container.directory});
    }
    if (!config.restore.file_root.empty()) {
        settings.file_roots.push_back(config.restore.file_root);
    }
    for (const std::string& name : config.server.names) {
        settings.origins.push_back(origin_of(name, port));
    }
    if (!config.server.public_url.empty()) {
        settings.origins.push_back(config.server.public_url);
    }
    return settings;
}

std::unique_ptr<catalog::Catalog> open_catalog(const Config& config, Clock& clock) {
    check_first_start(config);
    return catalog::open_sqlite_catalog(config.state.directory / "catalog.db", clock);
}

/// Who writes to the vaults: kept in the state directory, which one server at a time holds locked.
vault::OwnerId session_owner(const std::filesystem::path& state_directory) {
    const std::filesystem::path path = state_directory / "session-owner";
    constexpr std::size_t kDigits = 32;
    for (;;) {
        if (const auto text = read_secret_file(path.string(), kDigits + 1)) {
            const auto id = vault::OwnerId::parse(text->expose_text().substr(0, kDigits));
            if (!id) {
                throw Error{
                    ErrorKind::kConfigInvalid,
                    ErrorText{
                        .message = fmt::format("{} does not hold an owner's id.", path.string()),
                        .target = path.string(),
                        .recommended_actions =
                            {"Remove the file. Backups that were interrupted before then are "
                             "given up with 'holdfast vault collect --end-foreign-sessions'."},
                    }
                };
            }
            return *id;
        }
        const std::string text = vault::OwnerId::random().to_string() + "\n";
        (void)write_file_durably(path.string(), as_bytes(text), 0600, Overwrite::kNo);
    }
}

jobs::RepositorySettings repository_settings(const Config& config) {
    jobs::RepositorySettings settings{.root = config.vaults.directory};
    settings.open.verification = config.vaults.verify_writes
                                     ? vault::Verification::kBeforePublish
                                     : vault::Verification::kOff;
    settings.compression_level = config.vaults.compression_level;
    settings.owner = session_owner(config.state.directory);
    return settings;
}

jobs::CollectSettings collect_settings(const JobsConfig& config) {
    return {
        .interval = config.collect_interval,
        .repack_dead_percent = static_cast<int>(config.collect_repack_percent),
        .unused_percent_max = static_cast<int>(config.collect_unused_percent),
    };
}

/// Makes the directory, and clears what a crash left in it.
postgres::ScratchSettings scratch_settings(const ScratchConfig& config) {
    make_directory_durably(config.directory, 0700);
    if (const std::size_t removed = postgres::ScratchDirectory::remove_leftovers(config.directory);
        removed > 0) {
        log_info("Removed scratch servers' leftovers", {{"count", std::to_string(removed)}});
    }
    postgres::ScratchSettings settings{.directory = config.directory};
    settings.sandbox.bubblewrap = config.bubblewrap;
    settings.sandbox.limits.memory_bytes = config.memory_max_bytes;
    settings.sandbox.limits.disk_bytes = config.disk_max_bytes;
    settings.sandbox.limits.time = config.time_max;
    return settings;
}

/// The self-made authority's names: the server's, and the suffix of its key vaults.
std::vector<std::string> names_to_sign_for(const Config& config) {
    std::vector<std::string> names = config.server.names;
    for (const std::string& suffix : key_vault_suffixes(config)) {
        if (std::find(names.begin(), names.end(), suffix) == names.end()) {
            names.push_back(suffix);
        }
    }
    return names;
}

alerts::OutboxSettings outbox_settings(const AlertsConfig& config) {
    alerts::OutboxSettings settings{
        .window = std::chrono::duration_cast<std::chrono::seconds>(config.window),
        .muted = config.mute,
        .channels = {},
    };
    for (const auto& webhook : config.webhooks) {
        settings.channels.push_back(webhook.name);
    }
    for (const auto& email : config.emails) {
        settings.channels.push_back(email.name);
    }
    return settings;
}

std::vector<std::unique_ptr<alerts::Channel>> make_channels(
    const AlertsConfig& config, const alerts::ChannelContext& context
) {
    std::vector<std::unique_ptr<alerts::Channel>> channels;
    for (const auto& webhook : config.webhooks) {
        channels.push_back(alerts::make_webhook(webhook, context));
    }
    for (const auto& email : config.emails) {
        channels.push_back(alerts::make_email(email, context));
    }
    return channels;
}

/// 10,000 connections need more descriptors than the usual soft limit.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

}  // namespace

/// In the order of construction; destroyed from the last to the first.
struct Server::Graph {
    Graph(const Config& config_in, Clock& clock_in)
        : config{config_in},
          clock{clock_in},
          state_lock{lock_state(config.state.directory)},
          access_log{config.log.access_file},
          metrics{clock},
          catalog{open_catalog(config, clock)},
          key{open_key(config.keys, *catalog)},
          tls{{.directory = config.state.directory / "tls",
               .names = names_to_sign_for(config),
               .more_names = [this] { return vault_names(); },
               .certificate = config.server.tls_certificate,
               .key = config.server.tls_key},
              derive_key(key, kAuthorityKey),
              clock},
          http{http_settings(config.server), tls.slot(), clock},
          ids{ensure_service(config.service, *catalog, clock)},
          identity{
              *catalog,
              key,
              {.tenant_id = ids.tenant_id,
               .access_token_life = config.identity.access_token_lifetime},
              clock
          },
          owner{ensure_owner(*catalog, identity.tokens, clock)},
          issuers{config.identity.issuers, fetch_jwks, *catalog, ids.tenant_id, clock},
          secrets{derive_key(key, kSecretsKey), clock, config.server.names},
          tools{config.postgres.bin_directories},
          server_programs{config.postgres.bin_directories},
          data_plane{jobs::postgres_data_plane(
              {tools, server_programs},
              clock,
              {.lock_wait_timeout = config.postgres.lock_wait_timeout,
               .scratch = scratch_settings(config.scratch)}
          )},
          repositories{repository_settings(config), key.clone(), clock},
          credentials{*catalog, secrets},
          authorizer{
              [this](const std::string& id) { return grants_in(*catalog, id); },
              [this](std::string_view guid) { return custom_role_in(*catalog, guid); }
          },
          identity_check{{config, *catalog, secrets}, authorizer},
          url{!config.server.public_url.empty()
                  ? config.server.public_url
                  : origin_of(config.server.names.front(), http.port())},
          outbox{outbox_settings(config.alerts)},
          courier{
              *catalog,
              clock,
              make_channels(
                  config.alerts,
                  {.source = url,
                   .secrets = [this](const std::string& uri) { return secret_behind(uri); },
                   .clock = clock}
              )
          },
          audit_watch{*catalog, clock, outbox},
          containers{container_settings(config, http.port())},
          protection{*catalog, repositories, credentials, *data_plane, clock},
          engine{
              {*catalog,
               repositories,
               credentials,
               containers,
               *data_plane,
               clock,
               &identity_check,
               &outbox,
               &metrics,
               collect_settings(config.jobs)},
              {.max_jobs = config.jobs.max_jobs,
               .max_jobs_per_server = config.jobs.max_jobs_per_server,
               .no_point_after = config.alerts.no_point_after}
          },
          audit{*catalog, clock, &outbox},
          operations{*catalog, clock},
          services{
              .config = config,
              .clock = clock,
              .catalog = *catalog,
              .secrets = secrets,
              .jobs = engine,
              .protection = protection,
              .repositories = repositories,
              .credentials = credentials,
              .containers = containers,
              .data_plane = *data_plane,
              .authorizer = authorizer,
              .operations = operations,
              .audit = audit,
              .identity = identity,
              .alerts = outbox,
              .courier = courier,
          },
          dispatcher{
              services,
              routes(),
              {&identity.access_tokens, &identity.tokens, &issuers},
              {.public_url = config.server.public_url,
               .fallback_origin = url,
               .access_log = &access_log,
               .metrics = &metrics}
          } {
        identity.keys.prepare();  // Not while the first to log in waits for it.
        engine.start();
        courier.start();
        audit_watch.start();
        http.start(dispatcher);
        write_server_file();
    }

    /// The hosts of the key vaults that are configured or hold secrets.
    [[nodiscard]] std::vector<std::string> vault_names() const {
        std::set<std::string> vaults{
            config.service.key_vaults.begin(), config.service.key_vaults.end()
        };
        catalog->read([&](const catalog::View& view) {
            view.each<catalog::SecretRecord>({}, [&](const catalog::SecretRecord& record) {
                if (record.store != kServerSecretStore) {
                    vaults.insert(record.store);
                }
                return true;
            });
        });
        return key_vault_host_names(config, {vaults.begin(), vaults.end()});
    }

    std::vector<Route> routes() {
        std::vector<Route> all = all_routes();
        add_health_routes(all, [this] { return not_ready(); });
        add_metrics_route(all, [this] {
            return metrics.render(
                {.catalog = *catalog,
                 .connections = [this] { return http.connections(); },
                 .certificate_end = [this] { return tls.leaf_end(); }}
            );
        });
        return all;
    }

    /// For the channels of alerts.
    [[nodiscard]] Secret secret_behind(const std::string& uri) const {
        std::optional<Secret> value;
        catalog->read([&](const catalog::View& view) { value = secrets.resolve(view, uri); });
        return std::move(*value);
    }

    [[nodiscard]] std::optional<std::string> not_ready() const {
        std::optional<std::string> reason;
        run_boundary(
            [&] {
                catalog->read([](const catalog::View& view) { (void)view.setting("tenant_id"); });
            },
            [&](const Error& error) {
                reason = fmt::format("The catalog does not answer: {}", error.code());
            }
        );
        return reason;
    }

    /// For scripts that asked for port 0.
    void write_server_file() {
        const Json facts{
            {"url", url},
            {"port", http.port()},
            {"pid", ::getpid()},
            {"caFile", tls.ca_file().string()},
            {"startedAt", format_instant_seconds(clock.now())},
        };
        write_file_durably(
            config.state.directory / "server.json",
            as_bytes(facts.dump(2) + "\n"),
            0644,
            Overwrite::kYes
        );
    }

    const Config config;
    Clock& clock;
    FileDescriptor state_lock;
    AccessLog access_log;
    Metrics metrics;
    std::unique_ptr<catalog::Catalog> catalog;
    Secret key;
    TlsMaterial tls;
    HttpServer http;
    ServiceIds ids;
    Identity identity;
    std::optional<OwnerCredential> owner;
    ExternalIssuers issuers;
    catalog::SecretStore secrets;
    postgres::ClientTools tools;
    postgres::ServerPrograms server_programs;
    std::unique_ptr<jobs::DataPlane> data_plane;
    jobs::RepositoryPool repositories;
    jobs::CredentialResolver credentials;
    Authorizer authorizer;
    VaultIdentityCheck identity_check;
    std::string url;
    alerts::Outbox outbox;
    alerts::Courier courier;
    AuditWatch audit_watch;
    jobs::RestoreContainers containers;
    jobs::ProtectionService protection;
    jobs::Engine engine;
    Audit audit;
    Operations operations;
    Services services;
    Dispatcher dispatcher;
    Instant next_sweep{};

    /// Destroyed first, also when the constructor's body throws: requests end, then jobs, then the
    /// rest, which is only memory.
    struct Stopper {
        Graph& graph;
        ~Stopper() {
            graph.http.stop();
            graph.engine.stop();
            graph.audit_watch.stop();
            graph.courier.stop();
            std::error_code ignored;
            std::filesystem::remove(graph.config.state.directory / "server.json", ignored);
        }
    } stopper{*this};
};

Server::Server(const Config& config, Clock& clock)
    : graph_{std::make_unique<Graph>(config, clock)} {}

Server::~Server() = default;

int Server::port() const {
    return graph_->http.port();
}

const std::string& Server::url() const {
    return graph_->url;
}

std::filesystem::path Server::ca_file() const {
    return graph_->tls.ca_file();
}

std::optional<OwnerCredential> Server::take_owner_credential() {
    return std::exchange(graph_->owner, std::nullopt);
}

const std::string& Server::tenant_id() const {
    return graph_->ids.tenant_id;
}

std::optional<std::string> Server::not_ready() const {
    return graph_->not_ready();
}

void Server::tick() {
    graph_->tls.renew_if_due();
    if (graph_->clock.now() >= graph_->next_sweep) {
        (void)graph_->operations.remove_expired();
        graph_->identity.tick();
        (void)purge_deleted_vaults(graph_->services);
        graph_->next_sweep = graph_->clock.now() + kExpirySweepInterval;
    }
}

void Server::reload() {
    graph_->access_log.reopen();
    graph_->tls.renew();
}

namespace {

void announce(Server& server, const Config& config) {
    std::string text = fmt::format("Holdfast listens on {}\n", server.url());
    const std::string ca_option = server.ca_file().empty()
                                      ? std::string{}
                                      : fmt::format(" --ca {}", server.ca_file().string());
    if (auto owner = server.take_owner_credential()) {
        const Secret& token = owner->token.text;
        const auto& file = config.identity.bootstrap_token_file;
        text += "\nThis is the first start. ";
        if (file.empty()) {
            text += "The owner's token, shown only now:\n\n    ";
            text += token.expose_text();
            text += fmt::format(
                "\n\nLog in with:\n\n    holdfast login --server {}{}\n\n", server.url(), ca_option
            );
            text += fmt::format(
                "With az, the token is the secret of client {} in tenant {}; see: holdfast "
                "az-setup\n\n",
                owner->client_id,
                server.tenant_id()
            );
        } else {
            write_file_durably(file, token.expose(), 0600, Overwrite::kYes);
            text += fmt::format(
                "The owner's token is in {} (delete it after the login).\nLog in with:\n\n    "
                "holdfast login --server {}{} --token-file {}\n\nWith az, the token is the secret "
                "of client {} in tenant {}; see: holdfast az-setup\n\n",
                file.string(),
                server.url(),
                ca_option,
                file.string(),
                owner->client_id,
                server.tenant_id()
            );
        }
    }
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
    wipe(text);
}

/// Waits for the signals that end or reload the service, doing what is due meanwhile.
void run_until_stopped(
    Server& server, Clock& clock, const sigset_t& signals, std::stop_token stop
) {
    constexpr auto kTickInterval = std::chrono::seconds{15};
    std::uint64_t watchdog_us = 0;
    const bool watched = sd_watchdog_enabled(0, &watchdog_us) > 0;
    const auto watchdog_interval = std::chrono::microseconds{watchdog_us / 3};
    SteadyInstant next_tick{};
    SteadyInstant next_watchdog{};
    while (!stop.stop_requested()) {
        const timespec pause{.tv_sec = 0, .tv_nsec = 250'000'000};
        const int signal = sigtimedwait(&signals, nullptr, &pause);
        if (signal == SIGTERM || signal == SIGINT) {
            log_info("stopping", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
            return;
        }
        const auto report = [](const Error& error) {
            log_error("housekeeping failed", {{"error", error.log_line()}});
        };
        if (signal == SIGHUP) {
            run_boundary([&] { server.reload(); }, report);
        }
        const SteadyInstant now = clock.steady_now();
        if (now >= next_tick) {
            run_boundary([&] { server.tick(); }, report);
            next_tick = now + kTickInterval;
        }
        if (watched && now >= next_watchdog && !server.not_ready()) {
            sd_notify(0, "WATCHDOG=1");
            next_watchdog = now + watchdog_interval;
        }
    }
}

}  // namespace

int serve(const Config& config, Clock& clock, std::stop_token stop) {
    set_log_level(config.log.level);
    raise_descriptor_limit();
    // Blocked before any thread begins, so that only sigtimedwait() below gets them.
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
        sigaddset(&signals, signal);
    }
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    {
        Server server{config, clock};
        announce(server, config);
        sd_notify(0, fmt::format("READY=1\nSTATUS=Serving on {}", server.url()).c_str());
        run_until_stopped(server, clock, signals, stop);
        sd_notify(0, "STOPPING=1");
    }
    log_info("stopped");
    return 0;
}

void check_config(const Config& config) {
    ErrorText text{.message = "The configuration is not usable."};
    const auto check = [&text](std::string_view key, const std::function<void()>& body) {
        run_boundary(body, [&](const Error& error) {
            text.details.push_back({std::string{error.code()}, error.what(), std::string{key}});
            for (const std::string& action : error.text().recommended_actions) {
                text.recommended_actions.push_back(action);
            }
        });
    };
    const auto must_be_directory = [](const std::filesystem::path& path) {
        if (!std::filesystem::is_directory(path)) {
            throw Error{
                ErrorKind::kConfigInvalid,
                ErrorText{
                    .message = fmt::format("{} is not a directory.", path.string()),
                    .recommended_actions = {fmt::format(
                        "Create {} or correct the configuration.", path.string()
                    )},
                }
            };
        }
    };
    check("server.names", [&] {
        (void)make_authority(
            {.common_name = "check", .names = config.server.names, .not_before = {}, .not_after = {}
            }
        );
    });
    if (!config.server.tls_certificate.empty()) {
        check("server.tls_certificate", [&] {
            SystemClock clock;
            TlsMaterial{
                {.directory = {},
                 .names = config.server.names,
                 .certificate = config.server.tls_certificate,
                 .key = config.server.tls_key},
                Secret::random(kSealingKeySize),
                clock
            };
        });
    }
    check("keys.kek_file", [&] {
        std::error_code ignored;
        if (std::filesystem::exists(config.keys.kek_file, ignored)) {
            (void)vault::read_key_file(config.keys.kek_file.string());
        }
    });
    for (const RestoreContainer& container : config.restore.containers) {
        check("restore.containers", [&] { must_be_directory(container.directory); });
    }
    const auto must_be_secret = [](const std::filesystem::path& path) {
        if (!path.empty() && !read_secret_file(path, 4096)) {
            throw Error{
                ErrorKind::kConfigInvalid, fmt::format("{} does not exist.", path.string())
            };
        }
    };
    for (const auto& webhook : config.alerts.webhooks) {
        check("alerts.webhooks", [&] { must_be_secret(webhook.secret_file); });
    }
    for (const auto& email : config.alerts.emails) {
        check("alerts.emails", [&] { must_be_secret(email.password_file); });
    }
    if (!config.restore.file_root.empty()) {
        check("restore.file_root", [&] { must_be_directory(config.restore.file_root); });
    }
    for (const auto& directory : config.postgres.bin_directories) {
        check("postgres.bin_directories", [&] { must_be_directory(directory); });
    }
    if (!text.details.empty()) {
        for (const ErrorDetail& detail : text.details) {
            text.message += fmt::format(" {}: {}", detail.target, detail.message);
        }
        throw Error{ErrorKind::kConfigInvalid, std::move(text)};
    }
}

Secret make_owner_token(const Config& config, Clock& clock) {
    const auto database = config.state.directory / "catalog.db";
    std::error_code ignored;
    if (!std::filesystem::exists(database, ignored)) {
        throw Error{
            ErrorKind::kConfigInvalid,
            ErrorText{
                .message = fmt::format(
                    "No server has used the state directory {} yet.",
                    config.state.directory.string()
                ),
                .target = "state.directory",
                .recommended_actions = {"Start the server once: holdfast serve."},
            }
        };
    }
    const auto catalog = catalog::open_sqlite_catalog(database, clock);
    const Secret key = open_key(config.keys, *catalog);
    const ServiceIds ids = ensure_service(config.service, *catalog, clock);
    Identity identity{*catalog, key, {.tenant_id = ids.tenant_id}, clock};
    if (auto first = ensure_owner(*catalog, identity.tokens, clock)) {
        return std::move(first->token.text);
    }
    return issue_owner_token(*catalog, identity.tokens).text;
}

}  // namespace holdfast::control
