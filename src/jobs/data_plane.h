#pragma once

#include "base/clock.h"
#include "postgres/logical_backup.h"
#include "postgres/logical_restore.h"
#include "postgres/preflight.h"
#include "postgres/server_info.h"
#include "postgres/streams.h"

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

    /// `_schema.sql` of a restore as files.
    [[nodiscard]] virtual std::string schema_sql(
        const postgres::StreamSource& source, std::stop_token stop
    ) = 0;
};

struct DataPlaneSettings {
    std::chrono::milliseconds lock_wait_timeout{300'000};
};

/// The real one. `tools` and `clock` outlive it.
[[nodiscard]] std::unique_ptr<DataPlane> postgres_data_plane(
    const postgres::ClientTools& tools, Clock& clock, DataPlaneSettings settings = {}
);

}  // namespace holdfast::jobs
