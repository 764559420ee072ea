#pragma once

#include "catalog/records.h"
#include "control/routes/request_body.h"
#include "jobs/protection_service.h"

namespace holdfast::control {

/// A backup instance as a client describes it: the `properties` of a PUT, or the `backupInstance`
/// of a validation.
struct InstanceRequest {
    /// datasource_id, datasource_type, policy_id, friendly_name, secret_uri and the canonical
    /// `properties`; what names and places the instance is for the caller.
    catalog::InstanceRecord record;
    jobs::ProtectionService::Validation validation = jobs::ProtectionService::Validation::kDeep;
};

/// Reads it: any spelling of names, nulls as absent, `resourceID` in the answer. Throws
/// kInvalidRequestContent with the JSON path, kInvalidResourceId, kDatasourceUnsupported.
[[nodiscard]] InstanceRequest read_instance(
    const JsonReader& properties, IgnoredProperties& ignored
);

}  // namespace holdfast::control
