#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "postgres/client_tools.h"
#include "postgres/cluster_check.h"
#include "postgres/logical_restore.h"
#include "postgres/scratch_server.h"
#include "postgres/server_programs.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

// What jobs do with a physical recovery point and a scratch server: prove that it restores, and get
// one database or some tables out of it. Both block for as long as it takes, on a thread that must
// not end before they do.

namespace holdfast::postgres {

class StreamSource;  // postgres/streams.h

/// Where and under which limits scratch servers run; the same for all jobs of a service.
struct ScratchSettings {
    /// Below it a directory is made for each server. In a file system with room for the cluster. At
    /// the start of the service: ScratchDirectory::remove_leftovers().
    std::filesystem::path directory;
    SandboxOptions sandbox = {};
    std::size_t restore_workers = 0;  ///< As RestoreClusterOptions::workers.
};

struct TestRestoreProgress {
    std::string step;  ///< `restore`, `start`, `amcheck`, `count`, `pages`
    std::uint64_t done = 0;   ///< `restore`: bytes; `amcheck`: databases; `count`: tables.
    std::uint64_t total = 0;  ///< 0: not known.
};

struct TestRestoreOptions {
    HeapAllIndexed heap_all_indexed = HeapAllIndexed::kNo;
    PageChecksums page_checksums = PageChecksums::kYes;
    std::size_t workers = 2;                ///< Sessions of amcheck.
    std::chrono::seconds count_time{300};   ///< For counting rows, largest tables first.
    /// At most about ten times a second; from one thread at a time.
    std::function<void(const TestRestoreProgress&)> progress = {};
    std::stop_token stop = {};
};

/// The proof of a recovery point.
struct TestRestore {
    Instant started = {};
    Instant ended = {};
    std::string server_version;                   ///< Of the programs that ran it: `15.4`.
    std::chrono::microseconds restore_time{};     ///< From the repository to files.
    std::chrono::microseconds recovery_time{};    ///< From there until it took connections.
    std::uint64_t restored_bytes = 0;
    RecoveryReport recovery;
    ClusterCheck check;
    std::vector<std::string> warnings;  ///< All of them, those of the check too.
    SandboxIsolation isolation = SandboxIsolation::kOwnUser;

    /// The cluster became consistent, and nothing in it is damaged.
    [[nodiscard]] bool passed() const noexcept { return check.passed(); }
};
/// For the recovery point and the job.
[[nodiscard]] Json to_json(const TestRestore& result);

/// Restores the physical recovery point into a scratch directory, starts it in a sandbox, checks
/// it, and removes everything again. Damage is a result (passed() is false), not an exception.
///
/// Throws before anything is restored: kObjectNotFound for a point that is not physical,
/// kServerProgramsMissing, kSandboxUnavailable, kRestoreTargetFull when there is no room. Then:
/// what restore_cluster throws, kScratchServerFailed when the cluster does not start or become
/// consistent, kScratchLimitExceeded, kCancelled.
[[nodiscard]] TestRestore run_test_restore(
    const StreamSource& source,
    const ScratchSettings& settings,
    const ServerPrograms& programs,
    Clock& clock,
    const TestRestoreOptions& options
);

/// A single database (`options.items` empty), or schemas and tables of one, out of a physical
/// recovery point into the server `target`, as run_logical_restore does it: by way of a scratch
/// server and pg_dump. The steps of its progress are `restore`, `start`, `dump`, then those of
/// RestoreProgress. Plain data lies in the scratch directory and nowhere else.
///
/// Throws before anything is restored: as run_test_restore, and what Connection::open throws for
/// the target. Then: what run_test_restore, dump_database and run_logical_restore throw.
[[nodiscard]] LogicalRestore restore_from_physical(
    const ConnectionParameters& target,
    const StreamSource& source,
    const ScratchSettings& settings,
    const ServerPrograms& programs,
    const ClientTools& tools,
    Clock& clock,
    const RestoreOptions& options
);

}  // namespace holdfast::postgres
