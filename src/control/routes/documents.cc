#include "control/routes/documents.h"

#include "base/text.h"
#include "catalog/secret_store.h"
#include "control/resource_id.h"
#include "control/routes/lookup.h"
#include "control/routes/providers/data_protection/vault_settings.h"
#include "jobs/backup_method.h"
#include "jobs/credentials.h"

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using catalog::InstanceRecord;
using catalog::JobRecord;
using catalog::PointRecord;
using catalog::PolicyRecord;
using catalog::ServerRecord;
using catalog::VaultRecord;

constexpr std::string_view kVaultStore = "VaultStore";

Json text_or_null(const std::string& text) {
    return text.empty() ? Json{} : Json(text);
}

Json time_or_null(const std::optional<Instant>& time) {
    return time ? Json(format_instant(*time)) : Json{};
}

/// An object whose every value is a text, as the clients demand of additionalDetails.
Json only_texts(const Json& object) {
    if (!object.is_object()) {
        return nullptr;
    }
    Json out = Json::object();
    for (const auto& [key, value] : object.items()) {
        out[key] = value.is_string() || value.is_null() ? value : Json(value.dump());
    }
    return out;
}

Json member_or_null(const Json& object, std::string_view name) {
    const auto found = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && found != object.end() ? *found : Json{};
}

}  // namespace

Json vault_document(const VaultRecord& vault, std::string_view tenant_id, GuardMapping mapping) {
    const SecurityLevels levels = security_levels_of(vault.properties, mapping);
    Json properties = vault.properties;
    const Json assigned = properties.value(kAssignedIdentities, Json::array());
    properties.erase(kAssignedIdentities);
    properties["provisioningState"] = vault.provisioning_state;
    properties["isVaultProtectedByResourceGuard"] = mapping == GuardMapping::kMapped;
    properties["secureScore"] = levels.secure_score;
    properties["bcdrSecurityLevel"] = levels.bcdr_security_level;
    properties["replicatedRegions"] = Json::array();
    Json out{
        {"id", vault.id},
        {"name", vault.name},
        {"type", kVaultType},
        {"location", vault.location},
        {"tags", vault.tags},
        {"properties", std::move(properties)}
    };
    if (!vault.identity_type.empty() && vault.identity_type != "None") {
        Json identity{{"type", vault.identity_type}};
        if (vault.identity_type.starts_with("SystemAssigned")) {
            identity["principalId"] = vault.principal_id;
            identity["tenantId"] = tenant_id;
        }
        for (const Json& id : assigned) {
            // There is one principal: whatever names it was given, it acts as itself.
            identity["userAssignedIdentities"][id.get<std::string>()] = Json{
                {"principalId", vault.principal_id}, {"clientId", vault.principal_id}
            };
        }
        out["identity"] = std::move(identity);
    }
    return out;
}

Json policy_document(const PolicyRecord& policy) {
    return Json{
        {"id", policy.id},
        {"name", policy.name},
        {"type", kPolicyType},
        {"properties", policy.properties}
    };
}

namespace {

/// What this server alone has to say of an instance.
Json instance_facts(const InstanceRecord& instance) {
    Json facts{{"backupSolutionType", jobs::to_string(jobs::method_of(instance))}};
    if (!instance.backup_method_reason.empty()) {
        facts["backupSolutionReason"] = instance.backup_method_reason;
    }
    if (!instance.last_test_restore.empty()) {
        facts["lastTestRestore"] = instance.last_test_restore;
    }
    return facts;
}

}  // namespace

Json instance_document(const InstanceRecord& instance) {
    Json properties = instance.properties;
    properties["friendlyName"] = instance.friendly_name;
    properties["policyInfo"]["policyId"] = instance.policy_id;
    properties["provisioningState"] = instance.provisioning_state;
    properties["currentProtectionState"] = instance.state;
    properties["protectionStatus"] = Json{{"status", instance.state}};
    if (instance.protection_error.is_object()) {
        properties["protectionStatus"]["errorDetails"] = instance.protection_error;
        properties["protectionErrorDetails"] = instance.protection_error;
    }
    properties["objectType"] = instance.soft_deleted ? "DeletedBackupInstance" : "BackupInstance";
    properties["holdfast"] = instance_facts(instance);
    std::string id = instance.id;
    if (instance.soft_deleted) {
        id = child_id(instance.vault_id, "deletedBackupInstances", instance.name);
        properties["deletionInfo"] = Json{
            {"deletionTime", time_or_null(instance.deleted_at)},
            {"billingEndDate", time_or_null(instance.purge_at)},
            {"scheduledPurgeTime", time_or_null(instance.purge_at)},
            {"deleteActivityID", text_or_null(instance.delete_activity_id)}
        };
    }
    return Json{
        {"id", std::move(id)},
        {"name", instance.name},
        {"type", instance.soft_deleted ? kDeletedInstanceType : kInstanceType},
        {"tags", instance.tags},
        {"properties", std::move(properties)}
    };
}

Json server_document(const ServerRecord& server) {
    Json own{
        {"port", server.port},
        {"sslMode", text_or_null(server.ssl_mode)},
        {"sslRootCert", text_or_null(server.ssl_root_cert)},
        {"secretUri", nullptr},
        {"excludedDatabases", server.excluded_databases}
    };
    // A password given at registration has a secret of its own, which is nobody else's business.
    if (!server.secret_uri.empty() &&
        catalog::SecretStore::parse_uri(server.secret_uri).store != kServerSecretStore) {
        own["secretUri"] = server.secret_uri;
    }
    Json properties{
        {"fullyQualifiedDomainName", server.host},
        {"administratorLogin", text_or_null(server.login)},
        {"holdfast", std::move(own)}
    };
    if (!server.version.empty()) {
        const auto dot = server.version.find('.');
        properties["version"] = server.version.substr(0, dot);
        properties["minorVersion"] =
            dot == std::string::npos ? Json{} : Json(server.version.substr(dot + 1));
        properties["state"] = "Ready";
    }
    return Json{
        {"id", server.id},
        {"name", server.name},
        {"type", kServerType},
        {"location", server.location},
        {"tags", server.tags},
        {"properties", std::move(properties)}
    };
}

std::string format_clock_duration(std::chrono::microseconds duration) {
    const auto total = std::max<std::int64_t>(duration.count(), 0);
    const std::int64_t seconds = total / 1'000'000;
    return fmt::format(
        "{:02}:{:02}:{:02}.{:06}0",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        total % 1'000'000
    );
}

std::string wire_job_status(std::string_view status) {
    return status == "Queued" ? "InProgress" : std::string{status};
}

namespace {

bool is_over(const JobRecord& job) {
    return job.ended_at.has_value();
}

Json sub_tasks_of(const JobRecord& job) {
    Json out = Json::array();
    for (const Json& task : job.sub_tasks) {
        out.push_back(
            {{"taskId", task.value("taskId", 0)},
             {"taskName", task.value("taskName", std::string{})},
             {"taskStatus", task.value("taskStatus", std::string{})},
             {"taskProgress", member_or_null(task, "taskProgress")},
             {"additionalDetails", only_texts(member_or_null(task, "additionalDetails"))}}
        );
    }
    return out;
}

Json extended_info(const JobRecord& job) {
    Json out = job.details.is_object() ? job.details : Json::object();
    for (const char* name :
         {"backupInstanceState", "targetRecoverPoint", "sourceRecoverPoint", "recoveryDestination"
         }) {
        if (!out.contains(name)) {
            out[name] = nullptr;
        }
    }
    out["dataTransferredInBytes"] = static_cast<double>(job.bytes_transferred);
    out["subTasks"] = sub_tasks_of(job);
    out["additionalDetails"] = only_texts(member_or_null(out, "additionalDetails"));
    out["warningDetails"] = job.warnings.empty() ? Json{} : job.warnings;
    return out;
}

void add_source(const JobRecord& job, Json& properties) {
    for (const char* name :
         {"dataSourceName", "dataSourceSetName", "sourceResourceGroup", "sourceSubscriptionID"}) {
        properties[name] = nullptr;  // A job of the vault itself has no source.
    }
    if (!job.datasource_id.empty()) {
        const auto source = jobs::parse_datasource_id(job.datasource_id, "dataSourceId");
        properties["dataSourceName"] = source.database.value_or(source.server_name);
        properties["sourceResourceGroup"] = source.resource_group;
        properties["sourceSubscriptionID"] = source.subscription_id;
    }
    properties["dataSourceId"] = text_or_null(job.datasource_id);
    properties["dataSourceType"] = text_or_null(job.datasource_type);
    properties["dataSourceLocation"] = text_or_null(job.location);
}

void add_stores(const JobRecord& job, Json& properties) {
    const bool restore = job.operation == "Restore" || job.operation == "Verify";
    properties["sourceDataStoreName"] = restore ? Json(kVaultStore) : Json{};
    properties["sourceDataStoreType"] = restore ? Json(kVaultStore) : Json{};
    properties["destinationDataStoreName"] = !restore && is_over(job) ? Json(kVaultStore) : Json{};
}

void add_times(const JobRecord& job, JobDetail detail, Instant now, Json& properties) {
    const Instant start = job.started_at.value_or(job.created_at);
    const auto duration = job.ended_at.value_or(std::max(now, start)) - start;
    properties["startTime"] = format_instant(start);
    properties["endTime"] = time_or_null(job.ended_at);
    properties["duration"] =
        detail == JobDetail::kFull ? format_duration(duration) : format_clock_duration(duration);
}

}  // namespace

Json job_document(
    const JobRecord& job,
    JobDetail detail,
    const std::optional<jobs::JobProgress>& progress,
    std::optional<Instant> now
) {
    const auto vault = ResourceId::try_parse(job.vault_id);
    Json properties{
        {"activityID", job.correlation_id.empty() ? job.id : job.correlation_id},
        {"subscriptionId", vault ? vault->subscription_id() : std::string{}},
        {"backupInstanceId", text_or_null(job.instance_id)},
        {"policyId", text_or_null(job.policy_id)},
        {"policyName", text_or_null(job.policy_name)},
        {"vaultName", vault ? vault->name() : std::string{}},
        {"backupInstanceFriendlyName", text_or_null(job.friendly_name)},
        {"progressEnabled", true},
        {"progressUrl", nullptr},
        {"etag", fmt::format("W/\"{}\"", job.etag)},
        {"operationCategory", job.operation},
        {"operation", job.operation},
        {"status", wire_job_status(job.status)},
        {"restoreType", nullptr},
        {"isUserTriggered", job.user_triggered},
        {"rehydrationPriority", nullptr},
        {"supportedActions", Json::array({is_over(job) ? "" : "Cancel"})},
        {"isCrossRegionRestore", nullptr},
        {"errorDetails", job.errors.empty() ? Json{} : job.errors},
        {"extendedInfo", detail == JobDetail::kSummary ? Json{} : extended_info(job)}
    };
    add_source(job, properties);
    add_stores(job, properties);
    add_times(job, detail, now.value_or(job.modified_at), properties);
    // A job that has just ended may still be known as running; its row has the last word.
    const Json figures = progress && !is_over(job) ? to_json(*progress) : job.progress;
    if (!figures.empty()) {
        properties["holdfast"] = Json{{"progress", figures}};
    }
    return Json{
        {"id", child_id(job.vault_id, "backupJobs", job.id)},
        {"name", job.id},
        {"type", kJobType},
        {"properties", std::move(properties)}
    };
}

namespace {

/// 32 hex digits as a GUID: the store's copy of a point has an id of its own on the wire.
std::string guid_of(std::string_view hex) {
    if (hex.size() != 32) {
        return std::string{hex};
    }
    return fmt::format(
        "{}-{}-{}-{}-{}",
        hex.substr(0, 8),
        hex.substr(8, 4),
        hex.substr(12, 4),
        hex.substr(16, 4),
        hex.substr(20)
    );
}

}  // namespace

Json point_document(const PointRecord& point, std::string_view instance_id, PointDetail detail) {
    const bool show_metadata = detail == PointDetail::kFull && !point.metadata.empty();
    const Json store{
        {"id", guid_of(point.id)},
        {"type", kVaultStore},
        {"creationTime", format_instant(point.time)},
        {"expiryTime", time_or_null(point.expires_at)},
        {"metaData", show_metadata ? Json(point.metadata.dump()) : Json{}},
        {"visible", true},
        {"state", "COMMITTED"},
        {"rehydrationExpiryTime", nullptr},
        {"rehydrationStatus", nullptr}
    };
    const Json properties{
        {"objectType", "AzureBackupDiscreteRecoveryPoint"},
        {"recoveryPointId", point.id},
        {"recoveryPointTime", format_instant(point.time)},
        {"recoveryPointType", point.type},
        {"friendlyName", point.id},
        {"recoveryPointDataStoresDetails", Json::array({store})},
        {"retentionTagName", text_or_null(point.tag)},
        {"retentionTagVersion", text_or_null(point.tag_version)},
        {"policyName", text_or_null(point.policy_name)},
        {"policyVersion", std::to_string(point.policy_version)},
        {"expiryTime", time_or_null(point.expires_at)},
        {"recoveryPointState", point.state},
        {"holdfast",
         {{"logicalBytes", point.logical_bytes},
          {"storedBytes", point.stored_bytes},
          {"ruleName", text_or_null(point.rule_name)},
          {"policyVersion", point.policy_version},
          {"held", point.held},
          {"backupSolutionType", jobs::to_string(jobs::method_of(point))},
          {"testRestore", point.test_restore.empty() ? Json{} : point.test_restore}}}
    };
    return Json{
        {"id", child_id(instance_id, "recoveryPoints", point.id)},
        {"name", point.id},
        {"type", kPointType},
        {"properties", properties}
    };
}

}  // namespace holdfast::control
