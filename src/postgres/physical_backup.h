#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "postgres/base_backup.h"
#include "postgres/cluster_description.h"
#include "postgres/connection.h"
#include "postgres/preflight.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

// A physical backup of a whole server into the streams of one recovery point:
//
//   cluster.json                what it is (cluster_description.h); the last stream that is opened
//   data/<path>                 files, directories and links of the data directory; those of
//                               tablespaces below data/pg_tblspc/<oid>/. Attributes `mode` (octal)
//                               and, of links, `target`
//   wal/<24 hex digits>         the log from before the backup's start to its end, whole segments
//   wal/<8 hex digits>.history  how the timeline came to be
//   backup_manifest             the server's, as it came
//   configuration/<name>        configuration files that lie outside the data directory
//
// Each point is a full one and needs nothing beside it.

namespace holdfast::postgres {

class BackupStreams;  // postgres/streams.h

struct PhysicalBackupOptions {
    std::string label = "holdfast";  ///< Shows in the server's backup_label and activity views.
    CheckpointMode checkpoint = CheckpointMode::kFast;
    std::uint32_t rate_max_kib = 0;  ///< Kibibytes a second, 32 to 1048576; 0: no limit.
    ServerCompression compression = ServerCompression::kNone;
    /// How long the server may be silent. It says nothing while a spread checkpoint runs.
    std::chrono::milliseconds silence_max = std::chrono::minutes{30};
    std::stop_token stop = {};
    /// Called about ten times a second, on the caller's thread.
    std::function<void(const BaseBackupProgress&)> progress = {};
};

struct PhysicalBackup {
    ClusterDescription cluster;         ///< With times and sizes.
    std::vector<std::string> warnings;  ///< Not empty: CompletedWithWarnings.
    std::vector<std::string> notes;     ///< Good to know; the point is complete without.
    /// For the recovery point's metadata: `method` is `physical`; server, positions, tablespaces,
    /// page checks, warnings, notes.
    Json manifest;
};

/// Backs up the server into `streams`: data on the calling thread, the log on a thread of its own.
/// Every file's size and CRC-32C are compared with the server's manifest, pages with their own
/// checksums; a page that does not match is a warning. Nothing that was not compared is called
/// complete, nor is a backup without one of the server's tablespaces: when this throws, the streams
/// are no recovery point.
///
/// Throws what preflight_physical_backup() finds and take_base_backup() throws, and what `streams`
/// throws.
[[nodiscard]] PhysicalBackup run_physical_backup(
    const ConnectionParameters& parameters,
    Clock& clock,
    BackupStreams& streams,
    const PhysicalBackupOptions& options
);

/// What a physical backup of the server would lack, all at once.
struct PhysicalPreflight {
    int server_version = 0;         ///< 150004 for 15.4.
    std::string system_identifier;  ///< Empty: a replication session could not be had.
    bool data_checksums = false;
    /// Names by OID, without pg_default and pg_global; nothing where no ordinary session was had.
    std::optional<std::map<std::uint32_t, std::string>> tablespaces;
    std::vector<Finding> findings;

    [[nodiscard]] bool ok() const noexcept;
    [[nodiscard]] std::vector<std::string> warnings() const;
    /// Throws the kind of the first error, with every error as a detail and every cure as a
    /// recommended action.
    void throw_if_failed() const;
};

/// Opens two replication sessions, as a backup does, and an ordinary one where it may. Throws
/// kServerUnreachable, kServerAuthFailed when neither kind of session is let in, kTimeout,
/// kCancelled; everything else is a finding: `MissingReplication`, `ReplicationHba`,
/// `NoFreeWalSender`, `WalLevel`, `NoDataChecksums`, `NoSqlSession`, `ConfigurationUnreadable`.
[[nodiscard]] PhysicalPreflight preflight_physical_backup(
    const ConnectionParameters& parameters, std::stop_token stop = {}
);

}  // namespace holdfast::postgres
