#pragma once

#include "jobs/engine.h"
#include "vault/vault.h"

#include <string>

namespace holdfast::jobs {

/// Brings the catalog up to what the repositories know, at the start of the service: points whose
/// commit the catalog did not live to see are adopted, removed ones forgotten, and state records
/// rolled forward. A vault that can't be opened is logged and left.
void settle_with_repositories(const EngineParts& parts);

/// Instances whose configuration was under way when the former process ended: it is said to have
/// failed, and the same PUT makes it well.
void fail_interrupted_configurations(const EngineParts& parts);

/// Applies state records, in order, to the instances and points of one vault. Idempotent: the last
/// word on each counts.
void apply_states(
    catalog::Transaction& transaction, const std::string& vault_id, const vault::StateLog& log
);

}  // namespace holdfast::jobs
