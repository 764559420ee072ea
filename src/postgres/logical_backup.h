#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "postgres/client_tools.h"
#include "postgres/connection.h"
#include "postgres/preflight.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::postgres {

class StreamSink;  // postgres/streams.h

struct BackupProgress {
    std::string database;  ///< Being dumped now; empty while globals are read.
    std::size_t databases_done = 0;
    std::size_t databases_total = 0;
    std::uint64_t bytes_done = 0;      ///< Read from pg_dump, over all databases.
    std::uint64_t bytes_estimate = 0;  ///< Of the server's own sizes; may be passed.
};

enum class LargeObjects { kInclude, kExclude };

struct BackupOptions {
    std::chrono::milliseconds lock_wait_timeout{300'000};
    /// Tables whose rows are left out, as `"schema"."table"`, quoted.
    std::vector<std::string> without_rows_of = {};
    LargeObjects large_objects = LargeObjects::kInclude;
    std::function<void(const BackupProgress&)>
        progress;  ///< Called at most every 100 ms, from the calling thread.
    std::stop_token stop;
};

struct DatabaseBackup {
    std::string name;
    Instant started;
    Instant ended;
    std::string wal_position;           ///< Just before the snapshot was taken.
    std::uint64_t bytes = 0;            ///< Of the archive as pg_dump wrote it.
    std::string archive_version;        ///< `1.14.0`
    std::vector<std::string> warnings;  ///< pg_dump's, and that the archive is not understood.
    std::string format;  ///< `split`, or `opaque` for an archive version that is not understood.
};

/// What a logical backup yielded; the streams themselves went into the sink.
struct LogicalBackup {
    std::vector<DatabaseBackup> databases;
    std::vector<SkippedDatabase> skipped;
    std::vector<std::string> warnings;  ///< Not empty: CompletedWithWarnings.
    std::uint64_t bytes = 0;
    /// The manifest, as also written to `server/manifest.json`: server version, tool version,
    /// databases, skipped, extensions, parameters that are not default, warnings. The recovery
    /// point's metadata.
    Json manifest;
};

/// Backs up a whole datasource: server manifest, globals, and for each database its settings and
/// its archive, split into streams by postgres/archive_splitter.h. Each database is one consistent
/// snapshot. Runs preflight_backup first and throws what it finds. Throws kDumpFailed,
/// kRowTooLarge, kServerConnectionClosed, kCancelled, kClientToolMissing, and what the sink throws.
[[nodiscard]] LogicalBackup run_logical_backup(
    const ConnectionParameters& connection,
    const BackupScope& scope,
    const ClientTools& tools,
    Clock& clock,
    StreamSink& sink,
    const BackupOptions& options
);

/// The parts of it.
[[nodiscard]] DatabaseBackup dump_database(
    const ConnectionParameters& connection,
    const std::string& database,
    const ClientTools& tools,
    Clock& clock,
    StreamSink& sink,
    const BackupOptions& options
);
/// Writes `globals/roles.sql`, `globals/roles_with_passwords.sql` (when this role may read the
/// hashes) and `globals/tablespaces.sql`.
void dump_globals(
    const ConnectionParameters& connection,
    const ServerInfo& server,
    const ClientTools& tools,
    StreamSink& sink,
    const BackupOptions& options
);

}  // namespace holdfast::postgres
