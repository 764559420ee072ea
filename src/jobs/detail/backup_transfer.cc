#include "jobs/detail/backup_transfer.h"

#include "jobs/data_plane.h"
#include "jobs/point_streams.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::jobs {
namespace {

std::vector<WarningText> logical_warnings(
    const BackupSource& source, const postgres::LogicalBackup& backup
) {
    std::vector<WarningText> warnings;
    for (const std::string& text : backup.warnings) {
        warnings.push_back({source.name, "BackupIncomplete", text, {}});
    }
    for (const postgres::SkippedDatabase& skipped : backup.skipped) {
        warnings.push_back(
            {skipped.name,
             "DatabaseExcluded",
             fmt::format(
                 "The database \"{}\" is not part of this recovery point: {}.",
                 skipped.name,
                 skipped.reason
             ),
             {"Take it off the server's excludedDatabases, or protect it by an instance of its own."
             }}
        );
    }
    return warnings;
}

TakenBackup take_logical(
    const EngineParts& parts,
    JobContext& job,
    const BackupSource& source,
    vault::PointWriter& writer
) {
    PointSink sink{writer};
    postgres::BackupOptions options;
    options.stop = job.stop();
    options.progress = [&](const postgres::BackupProgress& progress) {
        const std::string phase =
            progress.database.empty()
                ? std::string{"reading globals"}
                : fmt::format(
                      "database {} ({} of {})",
                      progress.database,
                      std::min(progress.databases_done + 1, progress.databases_total),
                      progress.databases_total
                  );
        job.report(
            {.phase = phase,
             .bytes_done = progress.bytes_done,
             .bytes_total = progress.bytes_estimate}
        );
    };
    const postgres::LogicalBackup backup =
        parts.data_plane.backup(source.connection, source.scope, sink, options);
    TakenBackup taken{
        .source = backup.manifest, .time = source.started_at, .warnings = {}, .notes = {}
    };
    for (const postgres::DatabaseBackup& database : backup.databases) {
        if (&database == &backup.databases.front() || database.started < taken.time) {
            taken.time = database.started;
        }
    }
    taken.warnings = logical_warnings(source, backup);
    return taken;
}

TakenBackup take_physical(
    const EngineParts& parts,
    JobContext& job,
    const BackupSource& source,
    vault::PointWriter& writer
) {
    PointStreams streams{writer};
    postgres::PhysicalBackupOptions options = source.physical;
    options.stop = job.stop();
    options.progress = [&](const postgres::BaseBackupProgress& progress) {
        // The estimate comes before the first byte; while the server waits for its checkpoint there
        // is nothing to show.
        const bool waiting = progress.bytes_done == 0 && progress.file.empty();
        job.report(
            {.phase = waiting ? "waiting for the server's checkpoint" : "copying the data directory",
             .bytes_done = progress.bytes_done,
             .bytes_total = progress.bytes_estimate}
        );
    };
    postgres::PhysicalBackup backup =
        parts.data_plane.backup_physical(source.connection, streams, options);
    // What it restores to is the state at the backup's end: that is what its log leads to.
    TakenBackup taken{
        .source = std::move(backup.manifest),
        .time = backup.cluster.ended,
        .warnings = {},
        .notes = {}
    };
    for (const std::string& text : backup.warnings) {
        taken.warnings.push_back({source.name, "BackupIncomplete", text, {}});
    }
    for (const std::string& text : backup.notes) {
        taken.notes.push_back({source.name, "BackupNote", text, {}});
    }
    return taken;
}

}  // namespace

TakenBackup take_backup(
    const EngineParts& parts,
    JobContext& job,
    const BackupSource& source,
    vault::PointWriter& writer
) {
    return source.method == BackupMethod::kPhysical ? take_physical(parts, job, source, writer)
                                                    : take_logical(parts, job, source, writer);
}

}  // namespace holdfast::jobs
