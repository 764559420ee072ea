#include "postgres/test_restore.h"

#include "base/error.h"
#include "base/text.h"
#include "postgres/cluster_restore.h"
#include "postgres/scratch_restore.h"

#include <memory>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

using Report = std::function<void(std::string_view step, std::uint64_t done, std::uint64_t total)>;

/// What both need of a recovery point before they use a byte of its data.
class ScratchRestore {
public:
    ScratchRestore(
        const StreamSource& source,
        const ScratchSettings& settings,
        const ServerPrograms& programs,
        Clock& clock,
        std::stop_token stop
    )
        : source_{source},
          settings_{settings},
          programs_{programs},
          clock_{clock},
          stop_{std::move(stop)},
          description_{read_cluster_description(source)} {
        static_cast<void>(programs_.of_major(description_.major()));
        directory_ = std::make_unique<ScratchDirectory>(settings_.directory);
        const Sandbox probe{directory_->cluster(), settings_.sandbox};
        require_room();
    }

    RestoredCluster restore(const Report& report) {
        RestoreClusterOptions options;
        options.target = directory_->data();
        for (const ClusterTablespace& tablespace : description_.tablespaces) {
            if (fs::path{tablespace.location}.is_absolute()) {
                options.tablespaces.push_back(
                    {.from = fmt::format("{}", tablespace.oid),
                     .to = directory_->tablespace(tablespace.oid)}
                );
            }
        }
        options.workers = settings_.restore_workers;
        options.durability = Durability::kNone;
        if (::geteuid() == 0) {
            // Ours, until the sandbox has a uid for them.
            options.owner = FileOwner{.user = 0, .group = 0};
        }
        options.stop = stop_;
        options.progress = [&report](const ClusterRestoreProgress& progress) {
            report("restore", progress.bytes_done, progress.bytes_total);
        };
        return restore_cluster(source_, options);
    }

    [[nodiscard]] std::unique_ptr<ScratchServer> start(const Report& report) {
        report("start", 0, 0);
        return ScratchServer::start(
            *directory_, programs_, clock_, {.sandbox = settings_.sandbox, .stop = stop_}
        );
    }

private:
    void require_room() const {
        std::error_code error;
        const fs::space_info space = fs::space(directory_->path(), error);
        const std::uint64_t needed = description_.bytes + description_.wal_bytes +
                                     settings_.sandbox.limits.disk_free_bytes;
        if (!error && space.available < needed) {
            throw Error{
                ErrorKind::kRestoreTargetFull,
                {.message = fmt::format(
                     "The directory for scratch servers has {} free; the cluster needs {}.",
                     format_size(space.available),
                     format_size(needed)
                 ),
                 .recommended_actions =
                     {"Free space in it, or configure a directory in a larger file system."}}
            };
        }
    }

    const StreamSource& source_;
    const ScratchSettings& settings_;
    const ServerPrograms& programs_;
    Clock& clock_;
    std::stop_token stop_;
    ClusterDescription description_;
    std::unique_ptr<ScratchDirectory> directory_;
};

std::chrono::microseconds since(SteadyInstant begin, const Clock& clock) {
    return std::chrono::duration_cast<std::chrono::microseconds>(clock.steady_now() - begin);
}

}  // namespace

TestRestore run_test_restore(
    const StreamSource& source,
    const ScratchSettings& settings,
    const ServerPrograms& programs,
    Clock& clock,
    const TestRestoreOptions& options
) {
    const Report report = [&](std::string_view step, std::uint64_t done, std::uint64_t total) {
        if (options.progress) {
            options.progress({.step = std::string{step}, .done = done, .total = total});
        }
    };
    TestRestore result;
    result.started = clock.now();
    ScratchRestore scratch{source, settings, programs, clock, options.stop};

    const SteadyInstant begin = clock.steady_now();
    const RestoredCluster restored = scratch.restore(report);
    result.restore_time = since(begin, clock);
    result.restored_bytes = restored.bytes;
    result.warnings = restored.warnings;

    const std::unique_ptr<ScratchServer> server = scratch.start(report);
    result.server_version = server->programs().version;
    result.recovery = server->recovery();
    result.recovery_time = server->recovery_time();
    result.isolation = server->sandbox().isolation();

    ClusterCheckOptions how;
    how.heap_all_indexed = options.heap_all_indexed;
    how.page_checksums = options.page_checksums;
    how.workers = options.workers;
    how.count_time = options.count_time;
    how.progress = report;
    result.check = check_cluster(*server, how);
    result.warnings.insert(
        result.warnings.end(), result.check.warnings.begin(), result.check.warnings.end()
    );
    result.ended = clock.now();
    return result;
}

LogicalRestore restore_from_physical(
    const ConnectionParameters& target,
    const StreamSource& source,
    const ScratchSettings& settings,
    const ServerPrograms& programs,
    const ClientTools& tools,
    Clock& clock,
    const RestoreOptions& options
) {
    const Report report = [&](std::string_view step, std::uint64_t done, std::uint64_t total) {
        if (options.progress) {
            options.progress({.step = std::string{step}, .bytes_done = done, .bytes_total = total});
        }
    };
    {
        // Hours of restoring for a target that can't be reached would be a pity.
        const Connection probe = Connection::open(target, options.stop);
        static_cast<void>(tools.at_least(probe.server_major()));
    }
    ScratchRestore scratch{source, settings, programs, clock, options.stop};
    const RestoredCluster restored = scratch.restore(report);
    const std::unique_ptr<ScratchServer> server = scratch.start(report);
    LogicalRestore result = restore_from_scratch(target, *server, tools, options);
    result.warnings.insert(
        result.warnings.begin(), restored.warnings.begin(), restored.warnings.end()
    );
    return result;
}

Json to_json(const TestRestore& result) {
    const auto seconds = [](std::chrono::microseconds time) {
        return std::chrono::duration<double>{time}.count();
    };
    return {
        {"passed", result.passed()},
        {"startTime", format_instant(result.started)},
        {"endTime", format_instant(result.ended)},
        {"serverVersion", result.server_version},
        {"restoredBytes", result.restored_bytes},
        {"restoreSeconds", seconds(result.restore_time)},
        {"recoverySeconds", seconds(result.recovery_time)},
        {"redoStart", result.recovery.redo_start},
        {"consistentAt", result.recovery.consistent_at},
        {"redoEnd", result.recovery.redo_end},
        {"isolation",
         result.isolation == SandboxIsolation::kOwnUser ? "ownUser" : "userNamespace"},
        {"warnings", result.warnings},
        {"check", to_json(result.check)},
    };
}

}  // namespace holdfast::postgres
