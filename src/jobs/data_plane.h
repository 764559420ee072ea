#pragma once

#include "base/clock.h"
#include "postgres/logical_backup.h"
#include "postgres/logical_restore.h"
#include "postgres/physical_backup.h"
#include "postgres/preflight.h"
#include "postgres/server_info.h"
#include "postgres/server_programs.h"
#include "postgres/streams.h"
#include "postgres/test_restore.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace holdfast::jobs {

/// What jobs need of PostgreSQL. One implementation speaks to servers; the tests' one makes streams
/// up. Safe from any thread.
class DataPlane {
public:
    virtual ~DataPlane() = default;

    /// What a server is and has, over one connection: its version, its databases. Throws what
    /// postgres::Connection::open throws.
    [[nodiscard]] virtual postgres::ServerInfo read_server(
        const postgres::ConnectionParameters& connection, std::stop_token stop
    );

    [[nodiscard]] virtual postgres::PreflightReport preflight(
        const postgres::ConnectionParameters& connection,
        const postgres::BackupScope& scope,
        std::stop_token stop
    ) = 0;

    /// What a physical backup of the server misses: each finding with the statement or setting that
    /// cures it.
    [[nodiscard]] virtual postgres::PhysicalPreflight preflight_physical(
        const postgres::ConnectionParameters& connection, std::stop_token stop
    ) = 0;
    /// Throws what postgres::run_physical_backup throws, and what `streams` throws.
    [[nodiscard]] virtual postgres::PhysicalBackup backup_physical(
        const postgres::ConnectionParameters& connection,
        postgres::BackupStreams& streams,
        const postgres::PhysicalBackupOptions& options
    ) = 0;

    /// Throws what postgres::run_logical_backup throws, and what the sink throws.
    [[nodiscard]] virtual postgres::LogicalBackup backup(
        const postgres::ConnectionParameters& connection,
        const postgres::BackupScope& scope,
        postgres::StreamSink& sink,
        const postgres::BackupOptions& options
    ) = 0;

    [[nodiscard]] virtual postgres::RestoreCheck check_restore(
        const postgres::ConnectionParameters& target,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) = 0;
    [[nodiscard]] virtual postgres::LogicalRestore restore(
        const postgres::ConnectionParameters& target,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) = 0;

    /// Throws kServerProgramsMissing (naming the package) or kSandboxUnavailable when no scratch
    /// server of this major version can be run here.
    virtual void check_scratch(int major) = 0;
    /// As postgres::run_test_restore.
    [[nodiscard]] virtual postgres::TestRestore test_restore(
        const postgres::StreamSource& source, const postgres::TestRestoreOptions& options
    ) = 0;
    /// As postgres::restore_from_physical: a database, or items of it, out of a physical point.
    [[nodiscard]] virtual postgres::LogicalRestore restore_from_physical(
        const postgres::ConnectionParameters& target,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) = 0;

    /// `_schema.sql` of a restore as files.
    [[nodiscard]] virtual std::string schema_sql(
        const postgres::StreamSource& source, std::stop_token stop
    ) = 0;
};

struct DataPlaneSettings {
    std::chrono::milliseconds lock_wait_timeout{300'000};
    postgres::ScratchSettings scratch = {};
};

/// The real one. The tools, programs and `clock` outlive it.
struct PostgresPrograms {
    const postgres::ClientTools& clients;
    const postgres::ServerPrograms& servers;
};
[[nodiscard]] std::unique_ptr<DataPlane> postgres_data_plane(
    PostgresPrograms programs, Clock& clock, DataPlaneSettings settings = {}
);

}  // namespace holdfast::jobs
