#pragma once

#include "jobs/backup_method.h"
#include "jobs/containers.h"
#include "jobs/credentials.h"
#include "jobs/engine.h"
#include "jobs/files_restore.h"
#include "jobs/point_streams.h"
#include "jobs/requests.h"
#include "postgres/logical_restore.h"
#include "vault/vault.h"

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::jobs {

/// A restore request with everything it names looked up: what validation and the run have in
/// common.
struct RestorePlan {
    RestoreRequest request;
    catalog::InstanceRecord instance;
    catalog::VaultRecord vault;
    catalog::PointRecord point;
    std::shared_ptr<vault::Repository> repository;
    std::unique_ptr<vault::PointReader> reader;
    std::unique_ptr<PointSource> source;

    BackupMethod method = BackupMethod::kLogical;  ///< Of the point.

    // As files.
    std::optional<ContainerDirectory> directory;

    // To a server: one step per target database.
    std::optional<ResolvedDatasource> target;
    std::vector<postgres::RestoreOptions> steps;
};

/// Throws kGenericResourceNotFound, kInvalidProtectionState, kRecoveryPointNotFound,
/// kContainerNotAccessible, kServerNotRegistered, kRestoreItemNotFound, kDatabaseNotFound…
[[nodiscard]] std::unique_ptr<RestorePlan> plan_restore(
    const EngineParts& parts, const RestoreRequest& request, std::stop_token stop
);

/// Whether step `step` of a plan can run: throws what is wrong with the target, returns warnings.
[[nodiscard]] std::vector<std::string> check_step(
    const EngineParts& parts, const RestorePlan& plan, const postgres::RestoreOptions& step
);

/// The files part of a plan. REQUIRES: plan.directory.
[[nodiscard]] FilesRestore files_restore(
    const EngineParts& parts, const RestorePlan& plan, std::stop_token stop
);

}  // namespace holdfast::jobs
