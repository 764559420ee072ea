#include "jobs/point_metadata.h"

#include "base/error.h"

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

constexpr int kFormat = 1;

Instant read_instant(const JsonReader& reader) {
    const auto instant = parse_instant(reader.as_string());
    if (!instant) {
        reader.fail("is not an instant");
    }
    return *instant;
}

Json object_member(const JsonReader& reader, std::string_view name) {
    const auto member = reader.optional_member(name);
    return member && member->value().is_object() ? member->value() : Json::object();
}

std::string text_of(const Json& object, std::string_view name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

}  // namespace

Json to_json(const PointMetadata& metadata) {
    Json json{
        {"format", kFormat},
        {"time", format_instant(metadata.time)},
        {"userTriggered", metadata.user_triggered},
        {"state", metadata.state},
        {"tag", metadata.tag},
        {"tagVersion", metadata.tag_version},
        {"ruleName", metadata.rule_name},
        {"vaultId", metadata.vault_id},
        {"jobId", metadata.job_id},
        {"instance", metadata.instance},
        {"policy", metadata.policy},
        {"source", metadata.source},
    };
    if (metadata.scheduled_at) {
        json["scheduledAt"] = format_instant(*metadata.scheduled_at);
    }
    return json;
}

PointMetadata point_metadata_from_json(const Json& json) {
    const JsonReader reader{json, "metadata", ErrorKind::kVaultCorrupt};
    reader.require_object();
    const std::int64_t format = reader.member("format").as_integer();
    if (format < kFormat) {
        reader.member("format").fail("is not a known version");
    }
    PointMetadata metadata;
    metadata.time = read_instant(reader.member("time"));
    if (const auto scheduled = reader.optional_member("scheduledAt")) {
        metadata.scheduled_at = read_instant(*scheduled);
    }
    metadata.user_triggered = reader.optional_bool("userTriggered").value_or(false);
    metadata.state = reader.string_or("state", "Completed");
    metadata.tag = reader.string_or("tag", "");
    metadata.tag_version = reader.string_or("tagVersion", "");
    metadata.rule_name = reader.string_or("ruleName", "");
    metadata.vault_id = reader.string_or("vaultId", "");
    metadata.job_id = reader.string_or("jobId", "");
    metadata.instance = object_member(reader, "instance");
    metadata.policy = object_member(reader, "policy");
    metadata.source = object_member(reader, "source");
    return metadata;
}

void describe_instance(PointMetadata& metadata, const catalog::InstanceRecord& instance) {
    metadata.instance = Json{
        {"id", instance.id},
        {"name", instance.name},
        {"friendlyName", instance.friendly_name},
        {"datasourceId", instance.datasource_id},
        {"datasourceType", instance.datasource_type},
        {"secretUri", instance.secret_uri},
        {"backupMethod", instance.backup_method},
        {"backupMethodReason", instance.backup_method_reason},
        {"properties", instance.properties},
    };
}

void describe_policy(PointMetadata& metadata, const catalog::PolicyRecord& policy) {
    metadata.policy = Json{
        {"id", policy.id},
        {"name", policy.name},
        {"version", policy.version},
        {"properties", policy.properties},
    };
}

catalog::PointRecord point_record(const vault::PointSummary& point, std::string_view vault_id) {
    const PointMetadata metadata = point_metadata_from_json(parse_json(
        point.metadata_json,
        ErrorKind::kVaultCorrupt,
        fmt::format("metadata of recovery point {}", point.id.to_string())
    ));
    catalog::PointRecord record;
    record.id = point.id.to_string();
    record.vault_id = std::string{vault_id};
    record.instance_id = point.instance_id;
    record.job_id = point.job_id;
    record.time = metadata.time;
    record.scheduled_at = metadata.scheduled_at;
    record.state = metadata.state;
    record.tag = metadata.tag;
    record.tag_version = metadata.tag_version;
    record.policy_name = text_of(metadata.policy, "name");
    record.policy_version = metadata.policy.value("version", std::int64_t{1});
    record.rule_name = metadata.rule_name;
    record.expires_at = point.expires_at;
    record.logical_bytes = static_cast<std::int64_t>(point.size_bytes);
    record.stored_bytes = static_cast<std::int64_t>(point.stored_bytes);
    record.metadata = metadata.source;
    return record;
}

catalog::InstanceRecord instance_from_metadata(const PointMetadata& metadata, Instant created_at) {
    const Json& stored = metadata.instance;
    catalog::InstanceRecord instance;
    instance.id = text_of(stored, "id");
    instance.vault_id = metadata.vault_id;
    instance.name = text_of(stored, "name");
    instance.friendly_name = text_of(stored, "friendlyName");
    instance.datasource_id = text_of(stored, "datasourceId");
    instance.datasource_type = text_of(stored, "datasourceType");
    instance.secret_uri = text_of(stored, "secretUri");
    instance.backup_method = text_of(stored, "backupMethod");
    instance.backup_method_reason = text_of(stored, "backupMethodReason");
    instance.policy_id = text_of(metadata.policy, "id");
    instance.policy_name = text_of(metadata.policy, "name");
    if (const auto properties = stored.find("properties");
        properties != stored.end() && properties->is_object()) {
        instance.properties = *properties;
    }
    instance.state = "ProtectionStopped";
    instance.tag_bound_at = metadata.tag_version;
    instance.created_at = created_at;
    return instance;
}

std::optional<catalog::PolicyRecord> policy_from_metadata(
    const PointMetadata& metadata, Instant created_at
) {
    const auto properties = metadata.policy.find("properties");
    const std::string id = text_of(metadata.policy, "id");
    if (properties == metadata.policy.end() || !properties->is_object() || id.empty()) {
        return std::nullopt;
    }
    catalog::PolicyRecord policy;
    policy.id = id;
    policy.vault_id = metadata.vault_id;
    policy.name = text_of(metadata.policy, "name");
    policy.version = metadata.policy.value("version", std::int64_t{1});
    policy.properties = *properties;
    policy.created_at = created_at;
    return policy;
}

}  // namespace holdfast::jobs
