#pragma once

// A whole service but HTTP and PostgreSQL, for tests: real catalog, real repository on memory
// stores, a clock that stands still, and a data plane that makes streams up.

#include "alerts/outbox.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "catalog/catalog.h"
#include "catalog/secret_store.h"
#include "jobs/containers.h"
#include "jobs/credentials.h"
#include "jobs/data_plane.h"
#include "jobs/engine.h"
#include "jobs/protection_service.h"
#include "jobs/repositories.h"
#include "vault/object_store/faulty_store.h"
#include "vault/object_store/memory_store.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::jobs::testing {

/// Requests a stop after a while, so that no test can hang.
class Deadline {
public:
    explicit Deadline(std::chrono::seconds after = std::chrono::seconds{60})
        : thread_{[this, after](const std::stop_token& ended) {
              std::mutex mutex;
              std::condition_variable_any never;
              std::unique_lock lock{mutex};
              never.wait_for(lock, ended, after, [] { return false; });
              if (!ended.stop_requested()) {
                  source_.request_stop();
              }
          }} {}
    [[nodiscard]] std::stop_token token() const { return source_.get_token(); }

private:
    std::stop_source source_;
    std::jthread thread_;
};

class FakeDataPlane final : public DataPlane {
public:
    /// Database name -> contents of its one stream.
    std::map<std::string, std::string> databases{{"app", std::string(300'000, 'a')}};
    /// Files of the data directory.
    std::map<std::string, std::string> files{{"base/1/1", std::string(300'000, 'p')}};
    std::vector<postgres::Finding> physical_findings{
        {.code = "MissingReplication", .message = "The login may not replicate."}
    };
    std::vector<postgres::Damage> damages;  ///< Of a test restore.
    std::optional<Error> scratch_error;
    std::vector<postgres::SkippedDatabase> skipped;
    std::vector<std::string> warnings;
    std::optional<Error> backup_error;  ///< Thrown after half of the data.
    std::optional<Error> preflight_error;
    std::optional<Error> restore_error;
    Clock* clock = nullptr;

    /// While closed, backups wait in the middle (and can be stopped).
    void close_gate() {
        const std::lock_guard lock{mutex_};
        open_ = false;
    }
    void open_gate() {
        {
            const std::lock_guard lock{mutex_};
            open_ = true;
        }
        changed_.notify_all();
    }
    /// Waits until `count` backups stand before the gate.
    bool wait_for_waiting(std::size_t count, std::stop_token stop) {
        std::unique_lock lock{mutex_};
        return changed_.wait(lock, stop, [&] { return waiting_ == count; });
    }
    [[nodiscard]] std::size_t waiting_max() const {
        const std::lock_guard lock{mutex_};
        return waiting_max_;
    }
    [[nodiscard]] std::map<std::string, std::string> restored() const {
        const std::lock_guard lock{mutex_};
        return restored_;
    }

    postgres::PreflightReport preflight(
        const postgres::ConnectionParameters&, const postgres::BackupScope&, std::stop_token
    ) override {
        if (preflight_error) {
            throw Error{*preflight_error};
        }
        return {};
    }

    postgres::LogicalBackup backup(
        const postgres::ConnectionParameters&,
        const postgres::BackupScope& scope,
        postgres::StreamSink& sink,
        const postgres::BackupOptions& options
    ) override {
        postgres::LogicalBackup result;
        put(sink,
            "server/manifest.json",
            postgres::StreamKind::kManifest,
            "{\"serverVersion\":\"15.4\"}");
        for (const auto& [name, contents] : databases) {
            if (scope.database && *scope.database != name) {
                continue;
            }
            const Instant started = clock->now();
            postgres::DatabaseInfo settings;
            settings.name = name;
            settings.encoding = "UTF8";
            put(sink,
                postgres::database_prefix(name) + "settings.json",
                postgres::StreamKind::kSettings,
                postgres::to_json(settings).dump());
            sink.begin(
                {.name = postgres::database_prefix(name) + "archive",
                 .kind = postgres::StreamKind::kArchive}
            );
            sink.write(as_bytes(contents).first(contents.size() / 2));
            options.progress(
                {.database = name,
                 .databases_done = 0,
                 .databases_total = 1,
                 .bytes_done = contents.size() / 2,
                 .bytes_estimate = contents.size()}
            );
            pass_gate(options.stop);
            if (backup_error) {
                throw Error{*backup_error};
            }
            sink.write(as_bytes(contents).subspan(contents.size() / 2));
            sink.end();
            result.databases.push_back(
                {.name = name, .started = started, .ended = clock->now(), .bytes = contents.size()}
            );
            result.bytes += contents.size();
        }
        result.skipped = skipped;
        result.warnings = warnings;
        result.manifest = Json{{"serverVersion", "15.4"}};
        return result;
    }

    postgres::ServerInfo read_server(const postgres::ConnectionParameters&, std::stop_token)
        override {
        postgres::ServerInfo info;
        info.version_number = 150004;
        info.version = "15.4";
        for (const auto& [name, contents] : databases) {
            postgres::DatabaseInfo database;
            database.name = name;
            info.databases.push_back(std::move(database));
        }
        return info;
    }

    postgres::PhysicalPreflight preflight_physical(
        const postgres::ConnectionParameters&, std::stop_token
    ) override {
        if (preflight_error) {
            throw Error{*preflight_error};
        }
        postgres::PhysicalPreflight report;
        report.findings = physical_findings;
        return report;
    }

    postgres::PhysicalBackup backup_physical(
        const postgres::ConnectionParameters&,
        postgres::BackupStreams& streams,
        const postgres::PhysicalBackupOptions& options
    ) override {
        postgres::PhysicalBackup result;
        result.cluster.server_version = 150004;
        result.cluster.system_identifier = "7";
        result.cluster.started = clock->now();
        std::jthread wal{[&] {
            // As the real one: the log comes on a thread of its own, beside the data.
            put(streams,
                {.name = "wal/000000010000000000000001", .kind = postgres::StreamKind::kWal},
                std::string(100'000, 'w'));
        }};
        for (const auto& [path, contents] : files) {
            const auto writer = streams.open(
                {.name = "data/" + path,
                 .kind = postgres::StreamKind::kFile,
                 .attributes = {{"mode", "600"}},
                 .layout = postgres::StreamLayout::kPages,
                 .size_hint_bytes = contents.size()}
            );
            writer->write(as_bytes(contents).first(contents.size() / 2));
            options.progress(
                {.bytes_done = contents.size() / 2, .bytes_estimate = contents.size(), .file = path}
            );
            pass_gate(options.stop);
            if (backup_error) {
                throw Error{*backup_error};
            }
            writer->write(as_bytes(contents).subspan(contents.size() / 2));
            writer->close();
            result.cluster.bytes += contents.size();
            ++result.cluster.file_count;
        }
        wal.join();
        result.cluster.ended = clock->now();
        put(streams,
            {.name = "cluster.json", .kind = postgres::StreamKind::kCluster},
            postgres::to_json(result.cluster).dump());
        result.warnings = warnings;
        result.manifest = Json{{"method", "physical"}, {"serverVersion", "15.4"}};
        return result;
    }

    void check_scratch(int) override {
        if (scratch_error) {
            throw Error{*scratch_error};
        }
    }

    postgres::TestRestore test_restore(
        const postgres::StreamSource& source, const postgres::TestRestoreOptions& options
    ) override {
        if (scratch_error) {
            throw Error{*scratch_error};
        }
        postgres::TestRestore result;
        result.started = clock->now();
        result.restore_time = std::chrono::seconds{3};
        result.recovery_time = std::chrono::seconds{2};
        source.list("data/", [&](const postgres::StreamInfo& info) {
            result.restored_bytes += info.size;
        });
        options.progress({.step = "amcheck", .done = 1, .total = 2});
        pass_gate(options.stop);
        result.check.databases_checked = 1;
        result.check.rows_counted = 42;
        result.check.damages = damages;
        result.check.damage_count = damages.size();
        return result;
    }

    postgres::LogicalRestore restore_from_physical(
        const postgres::ConnectionParameters&,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) override {
        const Bytes bytes = postgres::read_stream(source, "data/base/1/1", 1 << 30);
        const std::lock_guard lock{mutex_};
        restored_[options.target_database] = std::string{as_text(bytes)};
        postgres::LogicalRestore result;
        result.database = options.target_database;
        result.bytes = bytes.size();
        return result;
    }

    postgres::RestoreCheck check_restore(
        const postgres::ConnectionParameters&,
        const postgres::StreamSource&,
        const postgres::RestoreOptions&
    ) override {
        return {};
    }

    postgres::LogicalRestore restore(
        const postgres::ConnectionParameters&,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) override {
        const Bytes bytes = postgres::read_stream(
            source, postgres::database_prefix(options.source_database) + "archive", 1 << 30
        );
        pass_gate(options.stop);
        if (restore_error) {
            throw Error{*restore_error};
        }
        const std::lock_guard lock{mutex_};
        restored_[options.target_database] = std::string{as_text(bytes)};
        postgres::LogicalRestore result;
        result.database = options.target_database;
        result.bytes = bytes.size();
        result.done = {"created database \"" + options.target_database + "\""};
        return result;
    }

    std::string schema_sql(const postgres::StreamSource&, std::stop_token) override {
        return "-- schema\n";
    }

private:
    static void put(
        postgres::BackupStreams& streams,
        const postgres::StreamSpec& spec,
        const std::string& contents
    ) {
        const auto writer = streams.open(spec);
        writer->write(as_bytes(contents));
        writer->close();
    }
    static void put(
        postgres::StreamSink& sink,
        const std::string& name,
        postgres::StreamKind kind,
        std::string_view text
    ) {
        sink.begin({.name = name, .kind = kind});
        sink.write(as_bytes(text));
        sink.end();
    }
    void pass_gate(std::stop_token stop) {
        std::unique_lock lock{mutex_};
        ++waiting_;
        waiting_max_ = std::max(waiting_max_, waiting_);
        changed_.notify_all();
        changed_.wait(lock, stop, [&] { return open_; });
        --waiting_;
        changed_.notify_all();
        if (stop.stop_requested()) {
            throw Error{ErrorKind::kCancelled, "The fake was asked to stop."};
        }
    }

    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    bool open_ = true;
    std::size_t waiting_ = 0;
    std::size_t waiting_max_ = 0;
    std::map<std::string, std::string> restored_;
};

/// Passes everything on to a store that outlives it.
class ForwardingStore final : public vault::ObjectStore {
public:
    using BeforePut = std::function<void(const vault::ObjectKey&, const std::stop_token&)>;

    explicit ForwardingStore(vault::ObjectStore& inner, BeforePut before_put = {})
        : inner_{inner}, before_put_{std::move(before_put)} {}
    [[nodiscard]] vault::StoreFeatures features() const noexcept override {
        return inner_.features();
    }
    vault::PutOutcome put_new(const vault::ObjectKey& key, ByteSpan data, std::stop_token stop)
        override {
        if (before_put_) {
            before_put_(key, stop);
        }
        return inner_.put_new(key, data, std::move(stop));
    }
    std::optional<Bytes> get(const vault::ObjectKey& key, std::stop_token stop) override {
        return inner_.get(key, std::move(stop));
    }
    std::optional<Bytes> get_range(
        const vault::ObjectKey& key,
        std::uint64_t offset,
        std::uint64_t length,
        std::stop_token stop
    ) override {
        return inner_.get_range(key, offset, length, std::move(stop));
    }
    std::optional<std::uint64_t> size(const vault::ObjectKey& key, std::stop_token stop) override {
        return inner_.size(key, std::move(stop));
    }
    void list(std::string_view prefix, const vault::ListVisitor& visitor, std::stop_token stop)
        override {
        inner_.list(prefix, visitor, std::move(stop));
    }
    bool remove(const vault::ObjectKey& key, std::stop_token stop) override {
        return inner_.remove(key, std::move(stop));
    }

private:
    vault::ObjectStore& inner_;
    BeforePut before_put_;
};

inline constexpr const char* kSubscription = "00000000-0000-4000-8000-000000000001";
inline const std::string kGroup =
    std::string{"/subscriptions/"} + kSubscription + "/resourceGroups/rg";
inline const std::string kServer =
    kGroup + "/providers/Microsoft.DBforPostgreSQL/flexibleServers/pg";
inline const std::string kVault = kGroup + "/providers/Microsoft.DataProtection/backupVaults/vault";
inline const std::string kPolicy = kVault + "/backupPolicies/policy";

inline Instant at(std::string_view text) {
    return parse_instant(text).value();
}

inline Json policy_json(
    std::vector<std::string> intervals, std::string_view default_retention = "P3M"
) {
    const Json store{{"dataStoreType", "VaultStore"}, {"objectType", "DataStoreInfoBase"}};
    const auto retention = [&](std::string_view name, std::string_view duration, bool is_default) {
        return Json{
            {"name", name},
            {"objectType", "AzureRetentionRule"},
            {"isDefault", is_default},
            {"lifecycles",
             Json::array(
                 {{{"deleteAfter", {{"duration", duration}, {"objectType", "AbsoluteDeleteOption"}}
                   },
                   {"sourceDataStore", store},
                   {"targetDataStoreCopySettings", Json::array()}}}
             )},
        };
    };
    return Json{
        {"objectType", "BackupPolicy"},
        {"datasourceTypes", {"Microsoft.DBforPostgreSQL/flexibleServers"}},
        {"policyRules",
         Json::array(
             {{{"name", "BackupDaily"},
               {"objectType", "AzureBackupRule"},
               {"backupParameters", {{"backupType", "Full"}, {"objectType", "AzureBackupParams"}}},
               {"dataStore", store},
               {"trigger",
                {{"objectType", "ScheduleBasedTriggerContext"},
                 {"schedule", {{"repeatingTimeIntervals", intervals}, {"timeZone", "UTC"}}},
                 {"taggingCriteria",
                  Json::array(
                      {{{"isDefault", true},
                        {"taggingPriority", 99},
                        {"tagInfo", {{"tagName", "Default"}}}},
                       {{"isDefault", false},
                        {"taggingPriority", 15},
                        {"tagInfo", {{"tagName", "Monthly"}}},
                        {"criteria",
                         Json::array(
                             {{{"objectType", "ScheduleBasedBackupCriteria"},
                               {"absoluteCriteria", {"FirstOfMonth"}}}}
                         )}}}
                  )}}}},
              retention("Default", default_retention, true),
              retention("Monthly", "P6M", false)}
         )},
    };
}

enum class Stores { kMemory, kDirectories };

struct WorldOptions {
    EngineSettings engine = {};
    std::vector<std::string> intervals{"R/2026-01-01T22:00:00+00:00/P1D"};
    std::string default_retention = "P3M";
    Stores stores = Stores::kMemory;
    const IdentityCheck* identity_check = nullptr;
    /// Only after expiry, so that tests of other jobs see no collection.
    CollectSettings collect = {.interval = std::chrono::seconds{0}};
    /// May wait, or throw.
    ForwardingStore::BeforePut before_put = {};
};

class World {
public:
    explicit World(WorldOptions given = {})
        : options{std::move(given)}, directory{"holdfast-jobs"}, clock{at("2026-01-05T12:00:00Z")} {
        std::filesystem::create_directories(directory.path() / "restore");
        data_plane.clock = &clock;
        build();
        seed();
    }
    ~World() { engine.reset(); }

    /// As after a restart of the service: same catalog file, same stores, new everything else.
    void restart() {
        engine.reset();
        service.reset();
        credentials.reset();
        secrets.reset();
        catalog.reset();
        repositories.reset();
        build();
    }

    void start() { engine->start(); }

    /// The whole server, by the method that is asked for ("": none is).
    catalog::InstanceRecord protect_server(const std::string& solution = "PhysicalBackup") {
        catalog::InstanceRecord instance;
        instance.id = kVault + "/backupInstances/server";
        instance.vault_id = kVault;
        instance.name = "server";
        instance.friendly_name = "pg";
        instance.datasource_id = kServer;
        instance.datasource_type = "Microsoft.DBforPostgreSQL/flexibleServers";
        instance.policy_id = kPolicy;
        if (!solution.empty()) {
            instance.properties["policyInfo"]["policyParameters"]
                               ["backupDatasourceParametersList"] = Json::array(
                {{{"objectType", "PostgreSqlFlexibleServerBackupDatasourceParameters"},
                  {"backupSolutionType", solution}}}
            );
        }
        service->begin_protection(instance);
        return service->finish_protection(instance.id, ProtectionService::Validation::kDeep, {});
    }

    catalog::InstanceRecord protect(const std::string& database) {
        catalog::InstanceRecord instance;
        instance.id = kVault + "/backupInstances/" + database;
        instance.vault_id = kVault;
        instance.name = database;
        instance.friendly_name = database;
        instance.datasource_id = kServer + "/databases/" + database;
        instance.datasource_type = "Microsoft.DBforPostgreSQL/flexibleServers";
        instance.policy_id = kPolicy;
        service->begin_protection(instance);
        return service->finish_protection(instance.id, ProtectionService::Validation::kDeep, {});
    }

    std::string backup(const std::string& database, const std::string& tag = {}) {
        return engine->submit_backup(AdhocBackupRequest{
            .instance_id = kVault + "/backupInstances/" + database,
            .rule_name = "BackupDaily",
            .tag_override = tag,
            .requester = {"someone", "correlation"},
        });
    }

    void wait_idle() {
        const Deadline deadline;
        ASSERT_TRUE(engine->wait_idle(deadline.token())) << "jobs did not end";
    }

    catalog::JobRecord job(const std::string& id) {
        return catalog->get<catalog::JobRecord>(id).value();
    }
    catalog::InstanceRecord instance(const std::string& database) {
        return catalog->get<catalog::InstanceRecord>(kVault + "/backupInstances/" + database)
            .value();
    }
    catalog::VaultRecord vault() { return catalog->get<catalog::VaultRecord>(kVault).value(); }
    std::vector<catalog::PointRecord> points(const std::string& database) {
        return catalog->list<catalog::PointRecord>(
            catalog::Query{.parent = kVault + "/backupInstances/" + database}
        );
    }
    std::vector<catalog::JobRecord> jobs() { return catalog->list<catalog::JobRecord>(); }

    /// The stores that repositories opened from now on see go through this.
    void inject(vault::FaultyStore::Plan plan, vault::FaultyStore::Count count) {
        fault_ = plan;
        fault_count_ = count;
    }
    void heal() { fault_.reset(); }
    [[nodiscard]] vault::FaultyStore* last_faulty() const {
        return faulty_.empty() ? nullptr : faulty_.back().get();
    }
    /// What the vault's repository stands on.
    [[nodiscard]] vault::MemoryStore& memory() {
        const std::lock_guard lock{stores_mutex_};
        return *stores_.at(vault().repository_directory);
    }
    [[nodiscard]] const Secret& key() const noexcept { return key_; }
    [[nodiscard]] EngineParts parts() {
        return EngineParts{
            *catalog,
            *repositories,
            *credentials,
            *containers,
            data_plane,
            clock,
            options.identity_check,
            &outbox,
            nullptr,
            options.collect
        };
    }

    WorldOptions options;
    alerts::Outbox outbox{alerts::OutboxSettings{}};
    TemporaryDirectory directory;
    FakeClock clock;
    FakeDataPlane data_plane;
    std::unique_ptr<catalog::Catalog> catalog;
    std::unique_ptr<catalog::SecretStore> secrets;
    std::unique_ptr<RepositoryPool> repositories;
    std::unique_ptr<CredentialResolver> credentials;
    std::unique_ptr<RestoreContainers> containers;
    std::unique_ptr<ProtectionService> service;
    std::unique_ptr<Engine> engine;

private:
    void build() {
        catalog = catalog::open_sqlite_catalog(directory.path() / "catalog.db", clock);
        secrets = std::make_unique<catalog::SecretStore>(key_.clone(), clock);
        repositories = std::make_unique<RepositoryPool>(
            RepositorySettings{.root = directory.path() / "vaults"},
            key_.clone(),
            clock,
            options.stores == Stores::kDirectories
                ? local_stores()
                : [this](
                      const std::filesystem::path& path, StorePurpose
                  ) { return open_store(path); }
        );
        credentials = std::make_unique<CredentialResolver>(*catalog, *secrets);
        containers = std::make_unique<RestoreContainers>(ContainerSettings{
            .containers = {{.name = "files", .directory = directory.path() / "restore"}},
            .file_roots = {},
            .origins = {},
        });
        service = std::make_unique<ProtectionService>(
            *catalog, *repositories, *credentials, data_plane, clock
        );
        engine = std::make_unique<Engine>(parts(), options.engine);
    }

    std::unique_ptr<vault::ObjectStore> open_store(const std::filesystem::path& path) {
        const std::lock_guard lock{stores_mutex_};
        auto& store = stores_[path.filename().string()];
        if (!store) {
            store = std::make_unique<vault::MemoryStore>();
        }
        if (!fault_) {
            return std::make_unique<ForwardingStore>(*store, options.before_put);
        }
        faulty_.push_back(std::make_unique<vault::FaultyStore>(*store, *fault_, fault_count_));
        return std::make_unique<ForwardingStore>(*faulty_.back());
    }

    void seed() {
        catalog->write([&](catalog::Transaction& transaction) {
            catalog::ServerRecord server;
            server.id = kServer;
            server.subscription_id = kSubscription;
            server.resource_group = "rg";
            server.name = "pg";
            server.host = "/nowhere";
            server.login = "postgres";
            server.created_at = clock.now();
            transaction.put(server);
        });
        catalog::VaultRecord vault;
        vault.id = kVault;
        vault.subscription_id = kSubscription;
        vault.resource_group = "rg";
        vault.name = "vault";
        vault.location = "local";
        service->create_vault(vault);
        catalog->write([&](catalog::Transaction& transaction) {
            catalog::PolicyRecord policy;
            policy.id = kPolicy;
            policy.vault_id = kVault;
            policy.name = "policy";
            policy.properties = policy_json(options.intervals, options.default_retention);
            policy.created_at = clock.now();
            transaction.put(policy);
        });
    }

    const Secret key_ = Secret::random(32);
    std::mutex stores_mutex_;
    std::map<std::string, std::unique_ptr<vault::MemoryStore>> stores_;
    std::vector<std::unique_ptr<vault::FaultyStore>> faulty_;
    std::optional<vault::FaultyStore::Plan> fault_;
    vault::FaultyStore::Count fault_count_ = vault::FaultyStore::Count::kMutations;
};

}  // namespace holdfast::jobs::testing
