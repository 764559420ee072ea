#include "jobs/detail/runners.h"

#include "base/error.h"
#include "base/text.h"
#include "jobs/backup_method.h"

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

[[noreturn]] void not_found(std::string_view what, std::string_view id) {
    throw Error{
        ErrorKind::kGenericResourceNotFound,
        ErrorText{
            .message = fmt::format("The {} \"{}\" does not exist.", what, id),
            .target = std::string{id},
            .recommended_actions = {"Check the id; names are listed by the resource's list command."
            },
        }
    };
}

template <typename Record>
Record require(const catalog::View& view, std::string_view what, std::string_view id) {
    auto record = view.get<Record>(id);
    if (!record) {
        not_found(what, id);
    }
    return std::move(*record);
}

}  // namespace

catalog::InstanceRecord require_instance(const catalog::View& view, std::string_view id) {
    auto instance = require<catalog::InstanceRecord>(view, "backup instance", id);
    if (instance.soft_deleted) {
        not_found("backup instance", id);
    }
    return instance;
}

catalog::VaultRecord require_vault(const catalog::View& view, std::string_view id) {
    return require<catalog::VaultRecord>(view, "backup vault", id);
}

catalog::PolicyRecord require_policy(const catalog::View& view, std::string_view id) {
    return require<catalog::PolicyRecord>(view, "backup policy", id);
}

void require_physical(const catalog::PointRecord& point) {
    if (method_of(point) == BackupMethod::kPhysical) {
        return;
    }
    throw Error{
        ErrorKind::kUnsupportedOperation,
        ErrorText{
            .message = fmt::format(
                "The recovery point {} is of a logical backup; a test restore starts a server on a "
                "physical one.",
                point.id
            ),
            .target = "recoveryPointId",
            .recommended_actions =
                {"Restore it into a database of another name to try it, or back the server up "
                 "physically: holdfast dataprotection backup-instance update "
                 "--backup-solution-type PhysicalBackup."},
        }
    };
}

JobResult run_job(const EngineParts& parts, JobContext& job) {
    const std::string operation = job.record().operation;
    if (operation == kBackupOperation) {
        return run_backup(parts, job);
    }
    if (operation == kRestoreOperation) {
        return run_restore(parts, job);
    }
    if (operation == kExpireOperation) {
        return run_expire(parts, job);
    }
    if (operation == kCollectOperation) {
        return run_collect(parts, job);
    }
    if (operation == kVerifyOperation) {
        return run_verify(parts, job);
    }
    throw Error{
        ErrorKind::kInternal, fmt::format("No runner for a job of operation \"{}\".", operation)
    };
}

}  // namespace holdfast::jobs
