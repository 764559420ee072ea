#include "control/routes/testing/api_fixture.h"

#include "alerts/courier.h"
#include "alerts/outbox.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/ids.h"
#include "catalog/secret_store.h"
#include "control/audit.h"
#include "control/config.h"
#include "control/dispatcher.h"
#include "control/identity/authenticator.h"
#include "control/identity/authorize.h"
#include "control/identity/catalog_grants.h"
#include "control/identity/identity.h"
#include "control/operations.h"
#include "control/routes/providers/authorization/vault_permissions.h"
#include "control/routes/routes.h"
#include "control/services.h"
#include "jobs/containers.h"
#include "jobs/credentials.h"
#include "jobs/data_plane.h"
#include "jobs/engine.h"
#include "jobs/protection_service.h"
#include "jobs/repositories.h"
#include "postgres/streams.h"

#include <map>
#include <mutex>

namespace holdfast::control {
namespace {

/// A server that has the databases `postgres`, `app` and `empdb11`, and a few bytes in each.
class FakeDataPlane final : public jobs::DataPlane {
public:
    explicit FakeDataPlane(const Clock& clock) : clock_{clock} {}
    [[nodiscard]] postgres::ServerInfo read_server(
        const postgres::ConnectionParameters& connection, std::stop_token stop
    ) override;
    [[nodiscard]] postgres::PreflightReport preflight(
        const postgres::ConnectionParameters& connection,
        const postgres::BackupScope& scope,
        std::stop_token stop
    ) override;
    [[nodiscard]] postgres::LogicalBackup backup(
        const postgres::ConnectionParameters& connection,
        const postgres::BackupScope& scope,
        postgres::StreamSink& sink,
        const postgres::BackupOptions& options
    ) override;
    [[nodiscard]] postgres::RestoreCheck check_restore(
        const postgres::ConnectionParameters& target,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) override;
    [[nodiscard]] postgres::LogicalRestore restore(
        const postgres::ConnectionParameters& target,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) override;
    [[nodiscard]] std::string schema_sql(const postgres::StreamSource& source, std::stop_token stop)
        override;
    [[nodiscard]] postgres::PhysicalPreflight preflight_physical(
        const postgres::ConnectionParameters& connection, std::stop_token stop
    ) override;
    [[nodiscard]] postgres::PhysicalBackup backup_physical(
        const postgres::ConnectionParameters& connection,
        postgres::BackupStreams& streams,
        const postgres::PhysicalBackupOptions& options
    ) override;
    void check_scratch(int) override {}
    [[nodiscard]] postgres::TestRestore test_restore(
        const postgres::StreamSource& source, const postgres::TestRestoreOptions& options
    ) override;
    [[nodiscard]] postgres::LogicalRestore restore_from_physical(
        const postgres::ConnectionParameters& target,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) override;

    void fail_with(std::optional<Error> error);
    [[nodiscard]] std::string last_connection() const;
    void add_finding(postgres::Finding finding);

private:
    void connect(const postgres::ConnectionParameters& connection);

    const Clock& clock_;
    mutable std::mutex mutex_;
    std::optional<Error> error_;               // Guarded by mutex_.
    std::string last_connection_;              // Guarded by mutex_.
    std::vector<postgres::Finding> findings_;  // Guarded by mutex_.
};

postgres::ServerInfo FakeDataPlane::read_server(
    const postgres::ConnectionParameters& connection, std::stop_token
) {
    connect(connection);
    postgres::ServerInfo info;
    info.version_number = 150014;
    info.version = "15.14";
    for (const char* name : {"postgres", "app", "empdb11"}) {
        postgres::DatabaseInfo database;
        database.name = name;
        database.owner = "postgres";
        database.encoding = "UTF8";
        database.collate = "C.UTF-8";
        database.size_bytes = 7'844'323;
        info.databases.push_back(std::move(database));
    }
    return info;
}

postgres::PreflightReport FakeDataPlane::preflight(
    const postgres::ConnectionParameters& connection,
    const postgres::BackupScope& scope,
    std::stop_token stop
) {
    postgres::PreflightReport report;
    report.server = read_server(connection, stop);
    report.client_version = "15.14";
    report.size_estimate_bytes = 7'844'323;
    for (const postgres::DatabaseInfo& database : report.server.databases) {
        if (!scope.database || *scope.database == database.name) {
            report.databases.push_back(database.name);
        }
    }
    if (report.databases.empty()) {
        throw Error{
            ErrorKind::kDatabaseNotFound,
            ErrorText{
                .message = fmt::format("The database \"{}\" does not exist.", *scope.database),
                .recommended_actions = {"Name a database that exists."},
            }
        };
    }
    const std::lock_guard lock{mutex_};
    report.findings = findings_;
    return report;
}

/// May replicate.
postgres::PhysicalPreflight FakeDataPlane::preflight_physical(
    const postgres::ConnectionParameters& connection, std::stop_token
) {
    connect(connection);
    postgres::PhysicalPreflight report;
    report.server_version = 150014;
    const std::lock_guard lock{mutex_};
    report.findings = findings_;
    return report;
}

postgres::PhysicalBackup FakeDataPlane::backup_physical(
    const postgres::ConnectionParameters& connection,
    postgres::BackupStreams& streams,
    const postgres::PhysicalBackupOptions&
) {
    connect(connection);
    const auto put = [&](std::string name, postgres::StreamKind kind, std::string_view contents) {
        const auto writer = streams.open({.name = std::move(name), .kind = kind});
        writer->write(as_bytes(contents));
        writer->close();
    };
    postgres::PhysicalBackup result;
    result.cluster.server_version = 150014;
    result.cluster.started = clock_.now();
    result.cluster.ended = clock_.now();
    put("data/PG_VERSION", postgres::StreamKind::kFile, "15\n");
    put("data/base/1/1259", postgres::StreamKind::kFile, std::string(700'000, 'p'));
    put("cluster.json", postgres::StreamKind::kCluster, postgres::to_json(result.cluster).dump());
    result.manifest = Json{{"method", "physical"}};
    return result;
}

postgres::TestRestore FakeDataPlane::test_restore(
    const postgres::StreamSource&, const postgres::TestRestoreOptions&
) {
    postgres::TestRestore result;
    result.started = clock_.now();
    result.restore_time = std::chrono::seconds{2};
    return result;
}

postgres::LogicalRestore FakeDataPlane::restore_from_physical(
    const postgres::ConnectionParameters& target,
    const postgres::StreamSource&,
    const postgres::RestoreOptions& options
) {
    connect(target);
    postgres::LogicalRestore result;
    result.database = options.target_database;
    return result;
}

postgres::LogicalBackup FakeDataPlane::backup(
    const postgres::ConnectionParameters& connection,
    const postgres::BackupScope& scope,
    postgres::StreamSink& sink,
    const postgres::BackupOptions& options
) {
    const postgres::PreflightReport report = preflight(connection, scope, options.stop);
    postgres::LogicalBackup result;
    result.manifest = Json{{"databases", report.databases}};
    for (const std::string& name : report.databases) {
        const std::string data = "the data of " + name;
        sink.begin(
            {.name = "databases/" + name + "/archive",
             .kind = postgres::StreamKind::kArchive,
             .attributes = {}}
        );
        sink.write(as_bytes(data));
        sink.end();
        result.bytes += data.size();
        postgres::DatabaseBackup database;
        database.name = name;
        database.bytes = data.size();
        database.started = clock_.now();
        database.ended = clock_.now();
        database.format = "opaque";
        result.databases.push_back(std::move(database));
    }
    return result;
}

postgres::RestoreCheck FakeDataPlane::check_restore(
    const postgres::ConnectionParameters& target,
    const postgres::StreamSource& /*source*/,
    const postgres::RestoreOptions& /*options*/
) {
    connect(target);
    return {};
}

postgres::LogicalRestore FakeDataPlane::restore(
    const postgres::ConnectionParameters& target,
    const postgres::StreamSource&,
    const postgres::RestoreOptions& options
) {
    connect(target);
    postgres::LogicalRestore result;
    result.database = options.target_database;
    result.database_created = true;
    return result;
}

std::string FakeDataPlane::schema_sql(const postgres::StreamSource&, std::stop_token) {
    return "-- nothing\n";
}

void FakeDataPlane::fail_with(std::optional<Error> error) {
    const std::lock_guard lock{mutex_};
    error_ = std::move(error);
}

std::string FakeDataPlane::last_connection() const {
    const std::lock_guard lock{mutex_};
    return last_connection_;
}

void FakeDataPlane::add_finding(postgres::Finding finding) {
    const std::lock_guard lock{mutex_};
    findings_.push_back(std::move(finding));
}

void FakeDataPlane::connect(const postgres::ConnectionParameters& connection) {
    const std::lock_guard lock{mutex_};
    last_connection_ = fmt::format(
        "{}:{} {} {}",
        connection.host,
        connection.port,
        connection.user,
        connection.password.expose_text()
    );
    if (error_) {
        throw *error_;
    }
}

/// The token is the principal's name; its object id the name too.
class FakeAuthenticator final : public Authenticator {
public:
    explicit FakeAuthenticator(std::string tenant) : tenant_{std::move(tenant)} {}
    [[nodiscard]] std::optional<Principal> authenticate(std::string_view credential) override {
        Principal principal;
        principal.kind = PrincipalKind::kServicePrincipal;
        principal.object_id = std::string{credential};
        principal.display_name = principal.object_id;
        principal.tenant_id = tenant_;
        return principal;
    }

private:
    std::string tenant_;
};

Config make_config(const TemporaryDirectory& directory) {
    Config config;
    config.state.directory = directory.path();
    config.service.location = "westus";
    return config;
}

jobs::ContainerSettings make_containers(const TemporaryDirectory& directory) {
    make_directory_durably(directory.path() / "restored", 0700);
    return {
        .containers = {{.name = "restored", .directory = directory.path() / "restored"}},
        .file_roots = {},
        .origins = {"https://localhost:8443"},
    };
}

constexpr std::string_view kDefaultVersion = "api-version=2024-04-01";

}  // namespace

std::string Answer::code() const {
    const Json* error = find_member(body, "error");
    return error == nullptr ? std::string{} : error->value("code", std::string{});
}

struct ApiFixture::Stack {
    TemporaryDirectory directory{"holdfast-api"};
    FakeClock clock{*parse_instant("2026-01-02T03:04:05Z")};
    Config config = make_config(directory);
    std::unique_ptr<catalog::Catalog> catalog = catalog::open_sqlite_catalog(":memory:", clock);
    catalog::SecretStore secrets{Secret::random(32), clock};
    jobs::CredentialResolver credentials{*catalog, secrets};
    FakeDataPlane data_plane{clock};
    jobs::RepositoryPool repositories{
        jobs::RepositorySettings{.root = directory.path() / "vaults"}, Secret::random(32), clock
    };
    jobs::ProtectionService protection{*catalog, repositories, credentials, data_plane, clock};
    jobs::RestoreContainers containers{make_containers(directory)};
    alerts::Outbox outbox{alerts::OutboxSettings{}};
    alerts::Courier courier{*catalog, clock, {}};
    std::map<std::string, std::vector<RoleGrant>> grants{
        {"owner",
         {{"owner", std::string{kOwnerRoleId}, "/"},
          {"owner", std::string{kSecretsOfficerRoleId}, "/"},
          {"owner", std::string{kBlobContributorRoleId}, "/"},
          {"owner", std::string{kPointDataRoleId}, "/"}}}
    };
    Authorizer authorizer{
        [this](const std::string& id) {
            // What tests gave, and what requests made.
            std::vector<RoleGrant> all = grants_in(*catalog, id);
            if (const auto found = grants.find(id); found != grants.end()) {
                all.insert(all.end(), found->second.begin(), found->second.end());
            }
            return all;
        },
        [this](std::string_view guid) { return custom_role_in(*catalog, guid); }
    };
    VaultIdentityCheck identity_check{{config, *catalog, secrets}, authorizer};
    jobs::Engine engine{
        jobs::EngineParts{
            .catalog = *catalog,
            .repositories = repositories,
            .credentials = credentials,
            .containers = containers,
            .data_plane = data_plane,
            .clock = clock,
            .identity_check = &identity_check,
            .alerts = &outbox,
        },
        jobs::EngineSettings{}
    };
    Operations operations{*catalog, clock};
    Audit audit{*catalog, clock, &outbox};
    Identity identity{*catalog, Secret::random(32), {.tenant_id = std::string{kTenant}}, clock};
    Services services{
        .config = config,
        .clock = clock,
        .catalog = *catalog,
        .secrets = secrets,
        .jobs = engine,
        .protection = protection,
        .repositories = repositories,
        .credentials = credentials,
        .containers = containers,
        .data_plane = data_plane,
        .authorizer = authorizer,
        .operations = operations,
        .audit = audit,
        .identity = identity,
        .alerts = outbox,
        .courier = courier,
    };
    FakeAuthenticator authenticator{std::string{kTenant}};
    Dispatcher dispatcher{
        services,
        all_routes(),
        {&authenticator},
        DispatcherSettings{.public_url = {}, .fallback_origin = "https://localhost:8443"}
    };
};

ApiFixture::ApiFixture() : stack_{std::make_unique<Stack>()} {
    catalog().write([&](catalog::Transaction& transaction) {
        catalog::SubscriptionRecord subscription;
        subscription.id = kSubscription;
        subscription.display_name = "Holdfast";
        subscription.tenant_id = kTenant;
        subscription.created_at = transaction.now();
        transaction.put(subscription);
    });
}

ApiFixture::~ApiFixture() = default;

catalog::Catalog& ApiFixture::catalog() {
    return *stack_->catalog;
}

Services& ApiFixture::services() {
    return stack_->services;
}

FakeClock& ApiFixture::clock() {
    return stack_->clock;
}

void ApiFixture::fail_connections(std::optional<Error> error) {
    stack_->data_plane.fail_with(std::move(error));
}

std::string ApiFixture::last_connection() const {
    return stack_->data_plane.last_connection();
}

void ApiFixture::add_finding(std::string code, std::string message, std::string remedy) {
    stack_->data_plane.add_finding(
        {.severity = postgres::Severity::kError,
         .code = std::move(code),
         .database = "empdb11",
         .message = std::move(message),
         .remedies = {std::move(remedy)}}
    );
}

Answer ApiFixture::call(
    std::string_view method,
    const std::string& path,
    const Json& body,
    const Headers& headers,
    const std::string& token
) {
    Request request;
    request.method = method;
    request.raw_target = path;
    if (path.find("api-version") == std::string::npos) {
        request.raw_target +=
            fmt::format("{}{}", path.find('?') == std::string::npos ? "?" : "&", kDefaultVersion);
    }
    for (const auto& [name, value] : headers.fields()) {
        request.headers.set(name, value);
    }
    request.headers.set("Authorization", "Bearer " + token);
    if (!body.is_null()) {
        request.headers.set("Content-Type", "application/json");
        request.body = body.dump();
    }
    const Reply reply = stack_->dispatcher.handle(std::move(request));
    Answer answer{.status = reply.status, .headers = reply.headers, .body = nullptr, .text = {}};
    if (const auto* json = std::get_if<Json>(&reply.body)) {
        answer.body = *json;
    } else if (const auto* text = std::get_if<std::string>(&reply.body)) {
        answer.text = *text;
    } else if (const auto* made = std::get_if<std::unique_ptr<BodySource>>(&reply.body)) {
        for (std::string block = (*made)->next(); !block.empty(); block = (*made)->next()) {
            answer.text += block;
        }
    }
    return answer;
}

Answer ApiFixture::raw(std::string_view method, const std::string& target, std::string body) {
    Request request;
    request.method = method;
    request.raw_target = target;
    request.headers.set("Authorization", "Bearer owner");
    request.headers.set("Content-Type", "application/json");
    request.body = std::move(body);
    const Reply reply = stack_->dispatcher.handle(std::move(request));
    Answer answer{.status = reply.status, .headers = reply.headers, .body = nullptr, .text = {}};
    if (const auto* json = std::get_if<Json>(&reply.body)) {
        answer.body = *json;
    }
    return answer;
}

namespace {

std::string path_of(const std::string& url) {
    const auto slash = url.find('/', url.find("://") + 3);
    return slash == std::string::npos ? url : url.substr(slash);
}

}  // namespace

Json ApiFixture::wait(const Answer& answer) {
    const std::string url = answer.header("Azure-AsyncOperation");
    EXPECT_FALSE(url.empty()) << answer.status << " " << answer.body.dump();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    Json status;
    do {
        status = get(path_of(url)).body;
        std::this_thread::yield();
    } while (status.value("status", "") == "Inprogress" &&
             std::chrono::steady_clock::now() < deadline);
    return status;
}

Answer ApiFixture::result(const Answer& answer) {
    (void)wait(answer);
    return get(path_of(answer.header("Location")));
}

void ApiFixture::grant(const std::string& token, std::string role, std::string scope) {
    stack_->grants[token].push_back({token, std::move(role), std::move(scope)});
}

std::string ApiFixture::group(std::string_view name) const {
    return fmt::format("/subscriptions/{}/resourceGroups/{}", kSubscription, name);
}

std::string ApiFixture::vault(std::string_view name) const {
    return fmt::format("{}/providers/Microsoft.DataProtection/backupVaults/{}", group(), name);
}

std::string ApiFixture::server(std::string_view name) const {
    return fmt::format(
        "{}/providers/Microsoft.DBforPostgreSQL/flexibleServers/{}", group("ossrg"), name
    );
}

Json ApiFixture::vault_body() const {
    return Json::parse(R"({"identity":{"type":"SystemAssigned"},"location":"westus",
        "properties":{"securitySettings":{"softDeleteSettings":{"retentionDurationInDays":14.0,"state":"On"}},
        "storageSettings":[{"datastoreType":"VaultStore","type":"LocallyRedundant"}]}})");
}

Json ApiFixture::server_body() const {
    return Json::parse(R"({"location":"westus","properties":{
        "fullyQualifiedDomainName":"db.example","administratorLogin":"backup",
        "administratorLoginPassword":"hunter2","holdfast":{"port":5433,"sslMode":"require"}}})");
}

Json ApiFixture::policy_body() const {
    return Json::parse(
        R"({"properties":{"datasourceTypes":["Microsoft.DBforPostgreSQL/flexibleServers"],"name":"OssFlexiblePolicy1","objectType":"BackupPolicy","policyRules":[
 {"name":"BackupWeekly","objectType":"AzureBackupRule","backupParameters":{"backupType":"Full","objectType":"AzureBackupParams"},
  "dataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},
  "trigger":{"objectType":"ScheduleBasedTriggerContext",
   "schedule":{"repeatingTimeIntervals":["R/2021-08-15T22:00:00+00:00/P1W","R/2021-08-18T22:00:00+00:00/P1W","R/2021-08-20T22:00:00+00:00/P1W"],"timeZone":"UTC"},
   "taggingCriteria":[
    {"isDefault":true,"taggingPriority":99,"tagInfo":{"id":"Default_","tagName":"Default"}},
    {"isDefault":false,"taggingPriority":15,"tagInfo":{"tagName":"Monthly"},
     "criteria":[{"object_type":"ScheduleBasedBackupCriteria","days_of_the_week":["Sunday","Friday"],"days_of_month":null,"months_of_year":null,"weeks_of_the_month":null}]}]}},
 {"name":"Default","objectType":"AzureRetentionRule","isDefault":true,"lifecycles":[{"deleteAfter":{"duration":"P3M","objectType":"AbsoluteDeleteOption"},
   "sourceDataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},"targetDataStoreCopySettings":[]}]},
 {"name":"Monthly","objectType":"AzureRetentionRule","isDefault":false,"lifecycles":[{"deleteAfter":{"duration":"P6M","objectType":"AbsoluteDeleteOption"},
   "sourceDataStore":{"dataStoreType":"VaultStore","objectType":"DataStoreInfoBase"},"targetDataStoreCopySettings":null}]}]}})"
    );
}

Json ApiFixture::instance_body(std::string_view database, std::string_view policy) const {
    const std::string id = fmt::format("{}/databases/{}", server(), database);
    return Json{
        {"properties",
         {{"dataSourceInfo",
           {{"datasourceType", "Microsoft.DBforPostgreSQL/flexibleServers"},
            {"objectType", "Datasource"},
            {"resourceID", id},
            {"resourceLocation", "westus"},
            {"resourceName", database},
            {"resourceType", "Microsoft.DBforPostgreSQL/flexibleServers"},
            {"resourceUri", id}}},
          {"friendlyName", database},
          {"objectType", "BackupInstance"},
          {"policyInfo", {{"policyId", fmt::format("{}/backupPolicies/{}", vault(), policy)}}}}}
    };
}

void ApiFixture::make_vault(std::string_view name) {
    const Answer answer = put(vault(name), vault_body());
    ASSERT_EQ(answer.status, 201) << answer.body.dump(1);
}

void ApiFixture::make_server(std::string_view name) {
    const Answer answer = put(server(name), server_body());
    ASSERT_EQ(answer.status, 201) << answer.body.dump(1);
}

void ApiFixture::make_policy(std::string_view name) {
    const Answer answer = put(fmt::format("{}/backupPolicies/{}", vault(), name), policy_body());
    ASSERT_EQ(answer.status, 200) << answer.body.dump(1);
}

void ApiFixture::protect() {
    make_vault();
    make_server();
    make_policy();
    const Answer answer = put(vault() + "/backupInstances/BI", instance_body());
    ASSERT_EQ(answer.status, 201) << answer.body.dump(1);
    ASSERT_EQ(wait(answer)["status"], "Succeeded");
}

void ApiFixture::run_jobs() {
    stack_->engine.start();
    ASSERT_TRUE(stack_->engine.wait_idle({}));
}

}  // namespace holdfast::control
