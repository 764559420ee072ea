// How records become documents. A field that is missing in a stored document takes its default, so
// an added field needs no migration.

#include "catalog/records.h"

#include "catalog/alert_records.h"
#include "catalog/catalog_traits.h"

namespace nlohmann {

template <>
struct adl_serializer<holdfast::Instant> {
    static void to_json(json& out, const holdfast::Instant& instant) {
        out = instant.time_since_epoch().count();
    }
    static void from_json(const json& in, holdfast::Instant& instant) {
        instant = holdfast::Instant{std::chrono::microseconds{in.get<std::int64_t>()}};
    }
};

template <typename T>
struct adl_serializer<std::optional<T>> {
    static void to_json(json& out, const std::optional<T>& value) {
        out = value ? json(*value) : json(nullptr);
    }
    static void from_json(const json& in, std::optional<T>& value) {
        value = in.is_null() ? std::nullopt : std::optional<T>{in.get<T>()};
    }
};

}  // namespace nlohmann

namespace holdfast::catalog {

// The library's own macro makes inline functions; these are declared in catalog_traits.h, so that
// the expansion (slow to compile) stands in this file alone.
#define HOLDFAST_RECORD_JSON(Record, ...)                                                       \
    void to_json(Json& nlohmann_json_j, const Record& nlohmann_json_t) {                        \
        nlohmann_json_j = Json::object();                                                       \
        NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_TO, __VA_ARGS__))                \
    }                                                                                           \
    void from_json(const Json& nlohmann_json_j, Record& nlohmann_json_t) {                      \
        const Record nlohmann_json_default_obj{};                                               \
        NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_FROM_WITH_DEFAULT, __VA_ARGS__)) \
    }

HOLDFAST_RECORD_JSON(SubscriptionRecord, id, display_name, tenant_id, created_at)
HOLDFAST_RECORD_JSON(
    ResourceGroupRecord, id, subscription_id, name, location, tags, created_at, modified_at, etag
)
HOLDFAST_RECORD_JSON(
    ServerRecord,
    id,
    subscription_id,
    resource_group,
    name,
    location,
    tags,
    host,
    port,
    login,
    ssl_mode,
    ssl_root_cert,
    secret_uri,
    excluded_databases,
    version,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    VaultRecord,
    id,
    subscription_id,
    resource_group,
    name,
    location,
    tags,
    identity_type,
    principal_id,
    properties,
    provisioning_state,
    repository_id,
    repository_directory,
    soft_deleted,
    deleted_name,
    deleted_at,
    purge_at,
    delete_activity_id,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    PolicyRecord, id, vault_id, name, version, properties, created_at, modified_at, etag
)
HOLDFAST_RECORD_JSON(
    InstanceRecord,
    id,
    vault_id,
    name,
    tags,
    friendly_name,
    datasource_id,
    datasource_type,
    policy_id,
    policy_name,
    secret_uri,
    properties,
    state,
    provisioning_state,
    protection_error,
    soft_deleted,
    deleted_at,
    purge_at,
    delete_activity_id,
    last_scheduled_run,
    tag_bound_at,
    backup_method,
    backup_method_reason,
    last_test_restore,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    JobRecord,
    id,
    vault_id,
    instance_id,
    instance_name,
    friendly_name,
    datasource_id,
    datasource_type,
    server_key,
    policy_id,
    policy_name,
    location,
    operation,
    status,
    user_triggered,
    correlation_id,
    principal_id,
    created_at,
    started_at,
    ended_at,
    request,
    progress,
    sub_tasks,
    details,
    errors,
    warnings,
    bytes_transferred,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    PointRecord,
    id,
    vault_id,
    instance_id,
    job_id,
    time,
    scheduled_at,
    type,
    state,
    tag,
    tag_version,
    policy_name,
    policy_version,
    rule_name,
    expires_at,
    held,
    logical_bytes,
    stored_bytes,
    metadata,
    test_restore,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    OperationRecord,
    id,
    kind,
    resource_id,
    location,
    status,
    job_id,
    principal_id,
    correlation_id,
    request_fingerprint,
    result,
    error,
    request,
    started_at,
    ended_at,
    expires_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    SecretRecord,
    store,
    name,
    version,
    sealed,
    content_type,
    tags,
    enabled,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    PrincipalRecord,
    id,
    kind,
    display_name,
    resource_id,
    login_name,
    password_hash,
    tags,
    tokens_valid_from,
    enabled,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(SigningKeyRecord, id, sealed, public_key, created_at, modified_at, etag)
HOLDFAST_RECORD_JSON(
    RoleDefinitionRecord,
    id,
    name,
    description,
    actions,
    not_actions,
    data_actions,
    not_data_actions,
    assignable_scopes,
    created_by,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    TokenRecord,
    id,
    principal_id,
    hash,
    description,
    created_at,
    expires_at,
    revoked,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    RoleAssignmentRecord,
    id,
    scope,
    role_definition_id,
    principal_id,
    principal_type,
    description,
    created_by,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    ResourceGuardRecord,
    id,
    subscription_id,
    resource_group,
    name,
    location,
    tags,
    exclusions,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    GuardProxyRecord, id, vault_id, name, guard_id, unlocks, created_at, modified_at, etag
)
HOLDFAST_RECORD_JSON(
    GuardRequestRecord,
    id,
    guard_id,
    kind,
    name,
    vault_id,
    requester_id,
    justification,
    status,
    approver_id,
    decided_at,
    expires_at,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(PolicyVersionRecord, policy_id, version, properties, created_at)
HOLDFAST_RECORD_JSON(
    AlertRecord,
    id,
    kind,
    severity,
    security,
    scope,
    dedup_key,
    title,
    message,
    actions,
    details,
    count,
    earlier_unsent,
    last_at,
    state,
    deliveries,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    AlertMuteRecord,
    id,
    kind,
    scope,
    reason,
    until,
    created_by,
    created_at,
    modified_at,
    etag
)
HOLDFAST_RECORD_JSON(
    AuditRecord,
    sequence,
    at,
    principal_id,
    principal_name,
    peer,
    method,
    path,
    action,
    scope,
    status,
    code,
    correlation_id,
    details,
    hash
)

std::string job_activity(const JobRecord& job) {
    if (!starts_with_ignoring_case(job.operation, "Backup")) {
        return job.operation;
    }
    return (job.user_triggered ? "OnDemand" : "Scheduled") + job.operation;
}

std::vector<ExtraColumn> job_columns(const JobRecord& job) {
    return {
        {"activity", job_activity(job)},
        {"datasource", to_lower(job.datasource_id)},
        {"datasource_type", job.datasource_type},
        {"started", job.started_at.value_or(job.created_at).time_since_epoch().count()},
        {"ended", job.ended_at ? job.ended_at->time_since_epoch().count() : 0},
    };
}

}  // namespace holdfast::catalog
