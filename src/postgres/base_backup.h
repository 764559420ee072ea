#pragma once

#include "base/bytes.h"
#include "postgres/cluster_description.h"
#include "postgres/connection.h"
#include "postgres/page.h"
#include "postgres/tar_reader.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

// The physical backup's client: BASE_BACKUP over the replication protocol, PostgreSQL 13 to 18.
//
// The stream is taken apart into the files of the data directory while it comes by; nothing is
// spooled. Each file's size and CRC are compared with the server's manifest at the end, and the
// pages of relations with their own checksums on the way. Memory: what file_table.h says.

namespace holdfast::postgres {

enum class CheckpointMode { kFast, kSpread };
/// Whether the archive holds the log that the backup needs to become consistent, or the caller
/// streams it beside the backup.
enum class BackupWal { kIncluded, kStreamedBeside };
/// What the server does to the archives before it sends them, where the network is the slowest
/// part: PostgreSQL 15 and later; an older server sends them as they are.
enum class ServerCompression { kNone, kZstd };

struct BaseBackupProgress {
    std::uint64_t bytes_done = 0;
    std::uint64_t bytes_estimate = 0;  ///< Of all tablespaces, as the server guessed at the start.
    std::string file;                  ///< Being received.
};

struct BaseBackupOptions {
    std::string label = "holdfast";  ///< Shows in the server's backup_label and activity views.
    CheckpointMode checkpoint = CheckpointMode::kFast;
    BackupWal wal = BackupWal::kStreamedBeside;
    std::uint32_t rate_max_kib = 0;  ///< Kibibytes a second, 32 to 1048576; 0: no limit.
    ServerCompression compression = ServerCompression::kNone;
    std::stop_token stop = {};
    /// How long the server may be silent. It says nothing while a spread checkpoint runs.
    std::chrono::milliseconds silence_max = std::chrono::minutes{30};
    /// Called once, when the server has said where the backup begins, before the first file.
    std::function<void(Lsn start, std::uint32_t timeline)> on_start = {};
    /// Called with the server's `backup_manifest` as it comes, after the last file.
    std::function<void(ByteSpan bytes)> on_manifest = {};
    /// Called about ten times a second, on the caller's thread.
    std::function<void(const BaseBackupProgress&)> progress = {};
};

struct BackupTablespace {
    std::uint32_t oid = 0;
    std::string location;  ///< On the server.
    std::uint64_t size_estimate_bytes = 0;
};

struct BaseBackup {
    std::string system_identifier;
    int server_version = 0;  ///< 150004 for 15.4.
    std::uint32_t timeline = 0;
    Lsn start = 0;  ///< Recovery begins here…
    Lsn end = 0;    ///< …and is consistent when it has come to here.
    std::uint32_t end_timeline = 0;
    std::uint64_t wal_segment_bytes = 0;
    std::uint32_t block_bytes = 0;
    std::uint32_t segment_blocks = 0;             ///< In one file of a relation fork.
    unsigned directory_mode = 0700;               ///< Of the data directory.
    std::map<std::string, std::string> settings;  ///< What a restore must know, where readable.
    std::vector<BackupTablespace> tablespaces;    ///< Without pg_default and pg_global.
    std::uint64_t file_count = 0;
    std::uint64_t bytes = 0;
    enum class PageChecks { kDone, kNoChecksums, kOtherPageSize };
    PageChecks page_checks = PageChecks::kNoChecksums;
    std::uint64_t pages_checked = 0;
    std::uint64_t page_failure_count = 0;
    std::vector<PageFailure> page_failures;  ///< The first of them.
};

/// Gives the entries of the data directory to `handler` in the order in which the server sends
/// them; names are relative to the data directory, those of a tablespace below `pg_tblspc/<oid>/`.
/// `parameters.session` is set here.
///
/// Throws kMissingReplicationRight with what to grant, kNoFreeWalSender, kServerConnectionClosed,
/// kBaseBackupFailed (the server's message and SQLSTATE in the details; a file that does not match
/// the manifest), kTimeout, kCancelled, and what `handler` throws. The server's side has ended, or
/// is told to, when this returns.
[[nodiscard]] BaseBackup take_base_backup(
    const ConnectionParameters& parameters, TarHandler& handler, const BaseBackupOptions& options
);

class WalTarget;

/// The same, and beside it, on a second session, the log from before the backup's start to its end:
/// when this returns, all that the backup needs to become consistent has been given to `wal` and is
/// durable there. `wal` is called on a thread of its own.
[[nodiscard]] BaseBackup take_base_backup_with_wal(
    const ConnectionParameters& parameters,
    TarHandler& handler,
    WalTarget& wal,
    const BaseBackupOptions& options
);

/// The command for a server of this major version. For tests.
[[nodiscard]] std::string base_backup_command(int major, const BaseBackupOptions& options);

}  // namespace holdfast::postgres
