#pragma once

#include "jobs/backup_method.h"
#include "jobs/detail/job_context.h"
#include "jobs/engine.h"
#include "jobs/user_error.h"
#include "postgres/connection.h"
#include "postgres/preflight.h"
#include "vault/vault.h"

#include <string>
#include <vector>

namespace holdfast::jobs {

/// What a backup reads, and how.
struct BackupSource {
    BackupMethod method = BackupMethod::kLogical;
    const postgres::ConnectionParameters& connection;
    postgres::BackupScope scope;  ///< Of a logical one.
    postgres::PhysicalBackupOptions physical = {};  ///< Of a physical one: what it asks for.
    std::string name;             ///< For warnings: the instance's friendly name.
    Instant started_at;
};

/// What was read, as the point's metadata and the job keep it.
struct TakenBackup {
    Json source = Json::object();       ///< PointMetadata::source.
    Instant time;                       ///< The instant whose content it has.
    std::vector<WarningText> warnings;  ///< Not empty: CompletedWithWarnings.
    std::vector<WarningText> notes;     ///< Good to know; the point is whole without.
};

/// Reads the datasource into the point's streams; none is open when this returns. Throws what the
/// data plane and the writer throw.
[[nodiscard]] TakenBackup take_backup(
    const EngineParts& parts,
    JobContext& job,
    const BackupSource& source,
    vault::PointWriter& writer
);

}  // namespace holdfast::jobs
