#pragma once

#include "base/clock.h"
#include "base/json.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::catalog {

// The durable records of the control plane. Values: load, change, put back inside one transaction.
//
// ARM ids are kept as first written (`id`); the catalog compares them without case. Fields named
// `properties` hold the canonical camelCase ARM document of the resource without what the server
// computes when it answers. `etag` and `modified_at` are set by Transaction::put().

struct SubscriptionRecord {
    std::string id;  ///< Guid, the key.
    std::string display_name;
    std::string tenant_id;
    Instant created_at;
};

struct ResourceGroupRecord {
    std::string id;  ///< /subscriptions/SUB/resourceGroups/RG
    std::string subscription_id;
    std::string name;
    std::string location;
    Json tags = Json::object();
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// A registered PostgreSQL server: Microsoft.DBforPostgreSQL/flexibleServers.
struct ServerRecord {
    std::string id;
    std::string subscription_id;
    std::string resource_group;
    std::string name;
    std::string location;
    Json tags = Json::object();
    std::string host;
    int port = 5432;
    std::string login;
    std::string ssl_mode;       ///< libpq's words; empty = the default rule (verify-full, prefer on
                                ///< loopback and sockets).
    std::string ssl_root_cert;  ///< PEM file on this host; empty = the system's store.
    std::string secret_uri;  ///< Where the password is; the built-in store when it was given in the
                             ///< request.
    std::vector<std::string> excluded_databases;
    std::string version;  ///< As detected last, e.g. "15.14"; empty before the first contact.
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// Microsoft.DataProtection/backupVaults.
struct VaultRecord {
    std::string id;
    std::string subscription_id;
    std::string resource_group;
    std::string name;
    std::string location;
    Json tags = Json::object();
    std::string identity_type;  ///< SystemAssigned, UserAssigned, None…; empty = no identity.
    std::string
        principal_id;  ///< Of the system-assigned identity; stays the same for the vault's life.
    Json properties = Json::object(
    );  ///< storageSettings, securitySettings, featureSettings, monitoringSettings.
    std::string provisioning_state = "Succeeded";
    std::string repository_id;         ///< 32 hex digits; empty until the repository exists.
    std::string repository_directory;  ///< Below the configured vault root.
    /// Listed under deletedVaults instead of backupVaults; comes back whole until it is purged.
    bool soft_deleted = false;
    std::string deleted_name;  ///< Guid: what the deleted vault is called.
    std::optional<Instant> deleted_at;
    std::optional<Instant> purge_at;
    std::string delete_activity_id;
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// Microsoft.DataProtection/backupVaults/backupPolicies.
struct PolicyRecord {
    std::string id;
    std::string vault_id;
    std::string name;
    std::int64_t version = 1;          ///< Counts the edits in place.
    Json properties = Json::object();  ///< protection::to_json of the policy in force.
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// Microsoft.DataProtection/backupVaults/backupInstances, also while soft-deleted (then listed
/// under deletedBackupInstances).
struct InstanceRecord {
    std::string id;
    std::string vault_id;
    std::string name;
    Json tags = Json::object();
    std::string friendly_name;
    std::string datasource_id;    ///< ARM id of the server or database.
    std::string datasource_type;  ///< As sent, canonical spelling.
    std::string policy_id;
    std::string policy_name;
    std::string secret_uri;  ///< From datasourceAuthCredentials; empty = the server registration's.
    Json properties = Json::object(
    );  ///< dataSourceInfo, dataSourceSetInfo, policyInfo, datasourceAuthCredentials… as sent.
    std::string state = "ConfiguringProtection";  ///< currentProtectionState, wire spelling.
    std::string provisioning_state = "Succeeded";
    Json protection_error = nullptr;  ///< User-facing error object while the state is an error.
    bool soft_deleted = false;
    std::optional<Instant> deleted_at;
    std::optional<Instant> purge_at;
    std::string delete_activity_id;
    Json last_scheduled_run =
        Json::object();  ///< Rule name -> scheduled instant of the last run that was queued.
    std::string
        tag_bound_at;  ///< retentionTagVersion: .NET ticks of when the policy was bound, as text.
    std::string backup_method;         ///< LogicalBackup or PhysicalBackup; empty: logical.
    std::string backup_method_reason;  ///< One sentence: why that one.
    Json last_test_restore = Json::object();  ///< As PointRecord::test_restore, and of which point.
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// One run of backup, restore, expiry…; Microsoft.DataProtection/backupVaults/backupJobs.
struct JobRecord {
    std::string id;           ///< Guid.
    std::string vault_id;     ///< ARM id.
    std::string instance_id;  ///< ARM id; empty for vault-wide jobs.
    std::string instance_name;
    std::string friendly_name;
    std::string datasource_id;
    std::string datasource_type;
    std::string server_key;  ///< Lower-case ARM id of the server, for max_jobs_per_server.
    std::string policy_id;
    std::string policy_name;
    std::string location;
    std::string operation;  ///< Backup, Restore, Expire, Verify…
    /// Queued, InProgress, Cancelling, Completed, CompletedWithWarnings, Failed, Cancelled. On the
    /// wire a queued job is InProgress.
    std::string status = "Queued";
    bool user_triggered = true;
    std::string correlation_id;
    std::string principal_id;  ///< Who asked; empty for the scheduler.
    Instant created_at;
    std::optional<Instant> started_at;
    std::optional<Instant> ended_at;
    Json request = Json::object(
    );  ///< The runner's input; durable, so that a restart can judge it. No secrets.
    Json progress = Json::object(
    );  ///< bytesDone, bytesTotal, percent, rateBytesPerSecond, secondsLeft, phase.
    Json sub_tasks = Json::array(
    );  ///< taskId, taskName, taskStatus, taskProgress, additionalDetails (strings).
    Json details = Json::object(
    );  ///< The rest of extendedInfo: recovery point, destination, additionalDetails…
    Json errors = Json::array();    ///< User-facing error objects (az-contract c.6).
    Json warnings = Json::array();  ///< extendedInfo.warningDetails.
    std::int64_t bytes_transferred = 0;
    Instant modified_at;
    std::string etag;
};

/// A committed recovery point, as the repository has it.
struct PointRecord {
    std::string id;  ///< 32 hex digits: the repository's point id.
    std::string vault_id;
    std::string instance_id;
    std::string job_id;
    Instant time;  ///< recoveryPointTime: the instant whose content it has.
    std::optional<Instant> scheduled_at;
    std::string type = "Full";
    std::string state = "Completed";  ///< recoveryPointState: Completed or Partial.
    std::string tag;
    std::string tag_version;
    std::string policy_name;
    std::int64_t policy_version = 1;
    std::string rule_name;
    std::optional<Instant> expires_at;  ///< None = kept until somebody decides.
    bool held = false;
    std::int64_t logical_bytes = 0;  ///< Of all streams.
    std::int64_t stored_bytes = 0;   ///< Added to the repository by this point.
    Json metadata = Json::object();  ///< The point's metadata document.
    Json test_restore = Json::object();  ///< Of the last one: result, times, figures; {}: none yet.
    Instant modified_at;
    std::string etag;
};

/// A long-running operation of the API.
struct OperationRecord {
    std::string id;  ///< Unguessable; the last segment of its URLs.
    std::string kind;
    std::string resource_id;
    std::string location;
    std::string status = "Inprogress";  ///< Inprogress, Succeeded, Failed, Canceled.
    std::string job_id;                 ///< ARM id of the job, for backup and restore.
    std::string principal_id;
    std::string correlation_id;
    std::string request_fingerprint;  ///< For replay-safe POSTs; empty = none.
    Json result = nullptr;            ///< Body of operationResults.
    Json error = nullptr;             ///< ARM error object when Failed.
    Json request = Json::object();    ///< What a worker needs to go on after a restart. No secrets.
    Instant started_at;
    std::optional<Instant> ended_at;
    Instant expires_at;
    Instant modified_at;
    std::string etag;
};

/// One version of a secret; the value is sealed (SecretStore seals and opens it).
struct SecretRecord {
    std::string store;  ///< Key vault name, lower case; "default" for the built-in default store.
    std::string name;
    std::string version;  ///< 32 hex digits.
    std::string sealed;   ///< Base64.
    std::string content_type;
    Json tags = Json::object();
    bool enabled = true;
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

struct PrincipalRecord {
    std::string id;    ///< Guid.
    std::string kind;  ///< User, ServicePrincipal, ManagedIdentity.
    std::string display_name;
    std::string resource_id;  ///< Of the vault, for its managed identity.
    /// What it logs in with: a service principal's client id (guid), a user's name
    /// (alice@example.org). Unique without case; empty for a managed identity.
    std::string login_name;
    std::string password_hash;  ///< A user's, in libsodium's Argon2id text form; else empty.
    Json tags = Json::array();  ///< Texts, as Graph's servicePrincipals have them.
    /// Access tokens that were issued before this instant are refused.
    std::optional<Instant> tokens_valid_from;
    bool enabled = true;
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// An opaque access token; only a hash of it is kept.
struct TokenRecord {
    std::string id;
    std::string principal_id;
    std::string hash;  ///< Lower-case hex.
    std::string description;
    Instant created_at;
    std::optional<Instant> expires_at;
    bool revoked = false;
    Instant modified_at;
    std::string etag;
};

/// A key that access tokens are signed with. The newest one signs; all of them verify.
struct SigningKeyRecord {
    std::string id;                    ///< The `kid` of the tokens.
    std::string sealed;                ///< The private JWK, sealed, in base64.
    Json public_key = Json::object();  ///< The JWK that is published.
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// A custom role. The built-in ones are in the program.
struct RoleDefinitionRecord {
    std::string id;  ///< Guid.
    std::string name;
    std::string description;
    std::vector<std::string> actions;
    std::vector<std::string> not_actions;
    std::vector<std::string> data_actions;
    std::vector<std::string> not_data_actions;
    std::vector<std::string> assignable_scopes;
    std::string created_by;
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

struct RoleAssignmentRecord {
    std::string id;     ///< Guid.
    std::string scope;  ///< ARM id or "/".
    std::string role_definition_id;
    std::string principal_id;
    std::string principal_type;
    std::string description;
    std::string created_by;  ///< Principal id; empty for what the service made itself.
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// Microsoft.DataProtection/resourceGuards: who wants a guarded operation on a vault mapped to it
/// needs a second person's word.
struct ResourceGuardRecord {
    std::string id;
    std::string subscription_id;
    std::string resource_group;
    std::string name;
    std::string location;
    Json tags = Json::object();
    std::vector<std::string> exclusions;  ///< vaultCriticalOperationExclusionList.
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// Microsoft.DataProtection/backupVaults/backupResourceGuardProxies: a vault mapped to a guard.
struct GuardProxyRecord {
    std::string id;
    std::string vault_id;
    std::string name;
    std::string guard_id;
    /// Open windows of unlockDelete: principalId, operation, until (microseconds since 1970).
    Json unlocks = Json::array();
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// A request for a guarded operation and the answer to it: `{guard}/{kind}Requests/{name}`.
struct GuardRequestRecord {
    std::string id;
    std::string guard_id;
    std::string kind;  ///< E.g. deleteBackupInstanceRequests.
    std::string name;
    std::string vault_id;      ///< The only vault it is for; empty: any that the guard protects.
    std::string requester_id;  ///< The principal that may use it.
    std::string justification;
    std::string status = "Pending";  ///< Pending, Approved, Rejected.
    std::string approver_id;
    std::optional<Instant> decided_at;
    std::optional<Instant> expires_at;  ///< An approval holds until then.
    Instant created_at;
    Instant modified_at;
    std::string etag;
};

/// What a policy said before it was edited: points keep the version that they were made under.
struct PolicyVersionRecord {
    std::string policy_id;
    std::int64_t version = 1;
    Json properties = Json::object();
    Instant created_at;  ///< When it came into force.
};

/// One entry of the audit trail; the catalog numbers them.
struct AuditRecord {
    std::int64_t sequence = 0;
    Instant at;
    std::string principal_id;
    std::string principal_name;
    std::string peer;
    std::string method;
    std::string path;
    std::string action;  ///< ARM action.
    std::string scope;   ///< ARM id it was judged on.
    int status = 0;      ///< HTTP status of the answer; 0 for what the service did by itself.
    std::string code;    ///< ARM error code of a refusal or failure.
    std::string correlation_id;
    Json details = Json::object();
    /// SHA-256 of the record before this one and of this one without `hash`, in lower-case hex.
    std::string hash;
};

}  // namespace holdfast::catalog
