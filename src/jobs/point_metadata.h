#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "catalog/records.h"
#include "vault/vault.h"

#include <cstdint>
#include <optional>
#include <string>

namespace holdfast::jobs {

/// The metadata document of a recovery point (PointCommit::metadata_json): enough to put the point,
/// and at need its instance and policy, back into an empty catalog, and to tell a person what it
/// is. Version 1; readers ignore members that they don't know.
struct PointMetadata {
    Instant time;  ///< recoveryPointTime: when the first snapshot was taken.
    std::optional<Instant> scheduled_at;
    bool user_triggered = false;
    std::string state = "Completed";  ///< recoveryPointState.
    std::string tag;
    std::string tag_version;
    std::string rule_name;
    std::string vault_id;
    std::string job_id;
    Json instance = Json::object(
    );  ///< id, name, friendlyName, datasourceId, datasourceType, secretUri, properties.
    Json policy = Json::object();  ///< id, name, version, properties.
    Json source =
        Json::object();  ///< What the PostgreSQL side says: versions, databases, skipped, warnings.
};

[[nodiscard]] Json to_json(const PointMetadata& metadata);
/// Throws kVaultCorrupt when `json` is not such a document.
[[nodiscard]] PointMetadata point_metadata_from_json(const Json& json);

/// The instance's and policy's part, as they are now.
void describe_instance(PointMetadata& metadata, const catalog::InstanceRecord& instance);
void describe_policy(PointMetadata& metadata, const catalog::PolicyRecord& policy);

/// The catalog's record of a point that the repository holds. Throws kVaultCorrupt.
[[nodiscard]] catalog::PointRecord point_record(
    const vault::PointSummary& point, std::string_view vault_id
);

/// The other way, for a vault whose instance or policy is in no catalog any more: the instance with
/// its protection stopped, so that nothing expires.
[[nodiscard]] catalog::InstanceRecord instance_from_metadata(
    const PointMetadata& metadata, Instant created_at
);
/// Nothing when the document holds no policy.
[[nodiscard]] std::optional<catalog::PolicyRecord> policy_from_metadata(
    const PointMetadata& metadata, Instant created_at
);

}  // namespace holdfast::jobs
