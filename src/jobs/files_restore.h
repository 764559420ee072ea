#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "jobs/containers.h"
#include "jobs/requests.h"
#include "postgres/streams.h"

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::jobs {

struct FilesRestore {
    const postgres::StreamSource& source;
    const ContainerDirectory& directory;
    std::string file_prefix;  ///< Passed check_file_prefix().
    RolePasswordFiles role_passwords = RolePasswordFiles::kLeaveOut;
    Json point = Json::object();  ///< About the recovery point, for the manifest.
    Instant now;
    /// Makes `_schema.sql`; none is written when it is empty.
    std::function<std::string(std::stop_token)> schema_sql = {};
    /// (bytes written, bytes in all), now and then.
    std::function<void(std::uint64_t, std::uint64_t)> progress = {};
    std::stop_token stop = {};
};

struct RestoredFile {
    std::string name;
    std::uint64_t size_bytes = 0;
    std::string sha256;  ///< Lower-case hexadecimal.
};
struct FilesRestoreReport {
    std::vector<RestoredFile> files;
    std::uint64_t bytes = 0;
    std::vector<std::string> warnings;
};

/// The names that a restore of these streams will write, in the order of writing.
[[nodiscard]] std::vector<std::string> restore_file_names(const FilesRestore& restore);

/// Throws kRestoreTargetExists naming every file that is in the way. Nothing is written.
void check_files_absent(const FilesRestore& restore);

/// Restore as files: `<prefix>_database_<db>.sql` (archives that pg_restore reads, with offsets),
/// `_roles.sql`, `_tablespace.sql`, `_schema.sql`, `_restore.sh` and, last, `_manifest.json` with
/// the SHA-256 of each. All files get their names at the end, when all are written and synced: a
/// failure or a crash before leaves none of them. When this returns, they survive power loss.
///
/// Throws: kRestoreTargetExists, kRestoreTargetFull, kContainerNotAccessible, kVaultCorrupt,
/// kCancelled, kMissingDatabasePermissions (role passwords that the backup could not read).
[[nodiscard]] FilesRestoreReport restore_as_files(const FilesRestore& restore);

}  // namespace holdfast::jobs
