#pragma once

// Included by catalog.h: the record table and the typed face of View and Transaction.

#include "base/ids.h"
#include "base/text.h"
#include "catalog/catalog.h"

namespace holdfast::catalog {

[[nodiscard]] inline std::string resource_group_key(
    std::string_view subscription_id, std::string_view resource_group
) {
    return to_lower(
        "/subscriptions/" + std::string{subscription_id} + "/resourceGroups/" +
        std::string{resource_group}
    );
}
[[nodiscard]] inline std::string secret_parent(std::string_view store, std::string_view name) {
    return to_lower(std::string{store} + "/" + std::string{name});
}

void to_json(Json& out, const SubscriptionRecord& record);
void from_json(const Json& in, SubscriptionRecord& record);
void to_json(Json& out, const ResourceGroupRecord& record);
void from_json(const Json& in, ResourceGroupRecord& record);
void to_json(Json& out, const ServerRecord& record);
void from_json(const Json& in, ServerRecord& record);
void to_json(Json& out, const VaultRecord& record);
void from_json(const Json& in, VaultRecord& record);
void to_json(Json& out, const PolicyRecord& record);
void from_json(const Json& in, PolicyRecord& record);
void to_json(Json& out, const InstanceRecord& record);
void from_json(const Json& in, InstanceRecord& record);
void to_json(Json& out, const JobRecord& record);
void from_json(const Json& in, JobRecord& record);
void to_json(Json& out, const PointRecord& record);
void from_json(const Json& in, PointRecord& record);
void to_json(Json& out, const OperationRecord& record);
void from_json(const Json& in, OperationRecord& record);
void to_json(Json& out, const SecretRecord& record);
void from_json(const Json& in, SecretRecord& record);
void to_json(Json& out, const PrincipalRecord& record);
void from_json(const Json& in, PrincipalRecord& record);
void to_json(Json& out, const TokenRecord& record);
void from_json(const Json& in, TokenRecord& record);
void to_json(Json& out, const SigningKeyRecord& record);
void from_json(const Json& in, SigningKeyRecord& record);
void to_json(Json& out, const RoleDefinitionRecord& record);
void from_json(const Json& in, RoleDefinitionRecord& record);
void to_json(Json& out, const RoleAssignmentRecord& record);
void from_json(const Json& in, RoleAssignmentRecord& record);
void to_json(Json& out, const ResourceGuardRecord& record);
void from_json(const Json& in, ResourceGuardRecord& record);
void to_json(Json& out, const GuardProxyRecord& record);
void from_json(const Json& in, GuardProxyRecord& record);
void to_json(Json& out, const GuardRequestRecord& record);
void from_json(const Json& in, GuardRequestRecord& record);
void to_json(Json& out, const PolicyVersionRecord& record);
void from_json(const Json& in, PolicyVersionRecord& record);
void to_json(Json& out, const AuditRecord& record);
void from_json(const Json& in, AuditRecord& record);

/// What a specialisation says: the table, whether it belongs to the exported resources, and the
/// row's columns.
struct RowColumns {
    std::string key;
    std::string parent = {};
    std::string subject = {};
    std::string state = {};
    Instant at;
    std::vector<ExtraColumn> extra = {};
};

/// What the resource graph calls the operation of a job: `OnDemandBackup`, `ScheduledBackup`,
/// `Restore`…
[[nodiscard]] std::string job_activity(const JobRecord& job);
/// The columns that only the jobs have, for JobCondition.
[[nodiscard]] std::vector<ExtraColumn> job_columns(const JobRecord& job);

/// The key of a policy's version.
[[nodiscard]] inline std::string policy_version_key(
    std::string_view policy_id, std::int64_t version
) {
    return std::string{policy_id} + "/" + std::to_string(version);
}

#define HOLDFAST_RECORD(Record, table_name, ...)                   \
    template <>                                                    \
    struct RecordTraits<Record> {                                  \
        static constexpr std::string_view kTable = table_name;     \
        [[nodiscard]] static RowColumns columns(const Record& r) { \
            return RowColumns{__VA_ARGS__};                        \
        }                                                          \
    }

HOLDFAST_RECORD(SubscriptionRecord, "subscriptions", .key = r.id, .at = r.created_at);
HOLDFAST_RECORD(
    ResourceGroupRecord,
    "resource_groups",
    .key = r.id,
    .parent = r.subscription_id,
    .at = r.created_at
);
HOLDFAST_RECORD(
    ServerRecord,
    "servers",
    .key = r.id,
    .parent = resource_group_key(r.subscription_id, r.resource_group),
    .at = r.created_at
);
HOLDFAST_RECORD(
    VaultRecord,
    "vaults",
    .key = r.id,
    .parent = resource_group_key(r.subscription_id, r.resource_group),
    .subject = r.repository_id,
    .state = r.provisioning_state,
    .at = r.created_at
);
HOLDFAST_RECORD(PolicyRecord, "policies", .key = r.id, .parent = r.vault_id, .at = r.created_at);
HOLDFAST_RECORD(
    InstanceRecord,
    "instances",
    .key = r.id,
    .parent = r.vault_id,
    .subject = r.datasource_id,
    .state = r.state,
    .at = r.created_at
);
HOLDFAST_RECORD(
    JobRecord,
    "jobs",
    .key = r.id,
    .parent = r.vault_id,
    .subject = r.instance_id,
    .state = r.status,
    .at = r.created_at,
    .extra = job_columns(r)
);
HOLDFAST_RECORD(
    PointRecord,
    "points",
    .key = r.id,
    .parent = r.instance_id,
    .subject = r.vault_id,
    .state = r.state,
    .at = r.time
);
HOLDFAST_RECORD(
    OperationRecord,
    "operations",
    .key = r.id,
    .parent = r.resource_id,
    .subject = r.request_fingerprint,
    .state = r.status,
    .at = r.started_at
);
HOLDFAST_RECORD(
    SecretRecord,
    "secrets",
    .key = secret_parent(r.store, r.name) + "/" + r.version,
    .parent = secret_parent(r.store, r.name),
    .subject = r.store,
    .at = r.created_at
);
HOLDFAST_RECORD(
    PrincipalRecord,
    "principals",
    .key = r.id,
    .parent = r.login_name,
    .subject = r.resource_id,
    .state = r.kind,
    .at = r.created_at
);
HOLDFAST_RECORD(TokenRecord, "tokens", .key = r.id, .parent = r.principal_id, .at = r.created_at);
HOLDFAST_RECORD(SigningKeyRecord, "signing_keys", .key = r.id, .at = r.created_at);
HOLDFAST_RECORD(
    RoleDefinitionRecord, "role_definitions", .key = r.id, .parent = r.name, .at = r.created_at
);
HOLDFAST_RECORD(
    RoleAssignmentRecord,
    "role_assignments",
    .key = r.id,
    .parent = r.scope,
    .subject = r.principal_id,
    .at = r.created_at
);
HOLDFAST_RECORD(
    ResourceGuardRecord,
    "resource_guards",
    .key = r.id,
    .parent = resource_group_key(r.subscription_id, r.resource_group),
    .at = r.created_at
);
HOLDFAST_RECORD(
    GuardProxyRecord,
    "guard_proxies",
    .key = r.id,
    .parent = r.vault_id,
    .subject = r.guard_id,
    .at = r.created_at
);
HOLDFAST_RECORD(
    GuardRequestRecord,
    "guard_requests",
    .key = r.id,
    .parent = r.guard_id,
    .subject = r.requester_id,
    .state = r.status,
    .at = r.created_at
);
HOLDFAST_RECORD(
    PolicyVersionRecord,
    "policy_versions",
    .key = policy_version_key(r.policy_id, r.version),
    .parent = r.policy_id,
    .at = r.created_at
);
#undef HOLDFAST_RECORD

/// Where a record stands in a listing: Query::after takes it.
template <typename Record>
[[nodiscard]] Place place_of(const Record& record) {
    const RowColumns columns = RecordTraits<Record>::columns(record);
    return {.at = columns.at.time_since_epoch().count(), .key = to_lower(columns.key)};
}

template <typename Record>
std::optional<Record> View::get(std::string_view key) const {
    const auto document = get_document(RecordTraits<Record>::kTable, to_lower(key));
    if (!document) {
        return std::nullopt;
    }
    return parse_own_json(*document).template get<Record>();
}

template <typename Record>
void View::each(const Query& query, const std::function<bool(const Record&)>& visitor) const {
    visit_documents(RecordTraits<Record>::kTable, query, [&](const std::string& document) {
        return visitor(parse_own_json(document).template get<Record>());
    });
}

template <typename Record>
std::vector<Record> View::list(const Query& query) const {
    std::vector<Record> found;
    each<Record>(query, [&](const Record& record) {
        found.push_back(record);
        return true;
    });
    return found;
}

template <typename Record>
std::int64_t View::count(const Query& query) const {
    return count_documents(RecordTraits<Record>::kTable, query);
}

template <typename Record>
void Transaction::put(Record& record) {
    if constexpr (requires { record.etag; }) {
        record.etag = new_guid();
        record.modified_at = now();
    }
    const RowColumns columns = RecordTraits<Record>::columns(record);
    put_row(
        RecordTraits<Record>::kTable,
        Row{
            .key = to_lower(columns.key),
            .parent = to_lower(columns.parent),
            .subject = to_lower(columns.subject),
            .state = columns.state,
            .at = columns.at.time_since_epoch().count(),
            .document = Json(record).dump(),
            .extra = columns.extra,
        }
    );
}

template <typename Record>
bool Transaction::remove(std::string_view key) {
    return remove_row(RecordTraits<Record>::kTable, to_lower(key));
}

}  // namespace holdfast::catalog
