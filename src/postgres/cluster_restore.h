#pragma once

#include "base/clock.h"
#include "postgres/cluster_description.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <sys/types.h>

namespace holdfast::postgres {

class StreamSource;  // postgres/streams.h

/// Where a tablespace goes. `from` is its OID in digits or its location on the backed-up server.
struct TablespaceMapping {
    std::string from;
    std::filesystem::path to;
};

struct FileOwner {
    uid_t user = 0;
    gid_t group = 0;
};
/// Of a user's name, with its first group. Throws kInvalidParameter when there is no such user.
[[nodiscard]] FileOwner find_file_owner(const std::string& user_name);

enum class ExistingFiles {
    kRefuse,  ///< Directories must be empty or absent.
    kDelta,   ///< The target may hold a data directory: it is made equal, rewriting what differs.
};

enum class Durability {
    kDurable,  ///< What was restored survives power loss.
    kNone,     ///< For a cluster that is thrown away again: nothing waits for the disk.
};

struct ClusterRestoreProgress {
    std::uint64_t bytes_done = 0;
    std::uint64_t bytes_total = 0;
    std::uint64_t files_done = 0;
};

struct RestoreClusterOptions {
    std::filesystem::path target;  ///< The data directory to be; absolute.
    /// A tablespace that is not named goes where it was on the server.
    std::vector<TablespaceMapping> tablespaces = {};
    ExistingFiles existing = ExistingFiles::kRefuse;
    Durability durability = Durability::kDurable;
    std::size_t workers = 0;  ///< 0: two for each of the machine's processors, at most 16.
    /// Empty: the server starts at the state of the backup's end. Else it goes on from there with
    /// the log that this command fetches (`%f`, `%p`), up to the log's end, on a new timeline.
    std::string restore_command = {};
    /// Of all that is written. Nothing: when run as root, the owner of the target where it exists,
    /// else `postgres` where there is such a user; when not root, whoever runs this.
    std::optional<FileOwner> owner = {};
    std::stop_token stop = {};
    /// Called about ten times a second, from one thread at a time.
    std::function<void(const ClusterRestoreProgress&)> progress = {};
};

struct RestoredCluster {
    ClusterDescription cluster;
    std::filesystem::path data_directory;
    std::uint64_t file_count = 0;
    std::uint64_t bytes = 0;          ///< Of all files.
    std::uint64_t bytes_written = 0;  ///< Less than `bytes` where a delta found them equal.
    std::uint64_t files_removed = 0;  ///< By a delta: they do not belong.
    std::vector<std::string> warnings;
    std::vector<std::string> next_steps;  ///< What to do now, one sentence each.
};

/// Makes a data directory out of a physical recovery point, such that PostgreSQL of the same major
/// version starts from it. When this returns, it survives power loss (kDurable).
/// `global/pg_control` is written last of all: what was broken off in between never starts, and can
/// be taken up again with kDelta.
///
/// Every file is compared with the server's manifest while it is written. No link below the target
/// is followed, but for those of tablespaces and of pg_wal.
///
/// Throws kRestoreTargetExists (a directory that is not empty, a tablespace's place that is taken),
/// kConflict when a server runs there, kRestoreTargetFull, kContainerNotAccessible (may not write),
/// kInvalidParameter (a mapping of no tablespace, a relative path), kVaultCorrupt, kCancelled, and
/// what `source` throws.
[[nodiscard]] RestoredCluster restore_cluster(
    const StreamSource& source, const RestoreClusterOptions& options
);

}  // namespace holdfast::postgres
