#include "jobs/data_plane.h"

#include "postgres/client_tools.h"
#include "postgres/restore_files.h"

namespace holdfast::jobs {
namespace {

class PostgresDataPlane final : public DataPlane {
public:
    PostgresDataPlane(const postgres::ClientTools& tools, Clock& clock, DataPlaneSettings settings)
        : tools_{tools}, clock_{clock}, settings_{settings} {}

    postgres::PreflightReport preflight(
        const postgres::ConnectionParameters& connection,
        const postgres::BackupScope& scope,
        std::stop_token stop
    ) override {
        return postgres::preflight_backup(connection, scope, tools_, stop);
    }

    postgres::LogicalBackup backup(
        const postgres::ConnectionParameters& connection,
        const postgres::BackupScope& scope,
        postgres::StreamSink& sink,
        const postgres::BackupOptions& options
    ) override {
        postgres::BackupOptions own = options;
        own.lock_wait_timeout = settings_.lock_wait_timeout;
        return postgres::run_logical_backup(connection, scope, tools_, clock_, sink, own);
    }

    postgres::RestoreCheck check_restore(
        const postgres::ConnectionParameters& target,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) override {
        return postgres::check_restore(target, source, tools_, options);
    }

    postgres::LogicalRestore restore(
        const postgres::ConnectionParameters& target,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) override {
        return postgres::run_logical_restore(target, source, tools_, options);
    }

    std::string schema_sql(const postgres::StreamSource& source, std::stop_token stop) override {
        return postgres::render_schema_sql(source, tools_, stop);
    }

private:
    const postgres::ClientTools& tools_;
    Clock& clock_;
    const DataPlaneSettings settings_;
};

}  // namespace

std::unique_ptr<DataPlane> postgres_data_plane(
    const postgres::ClientTools& tools, Clock& clock, DataPlaneSettings settings
) {
    return std::make_unique<PostgresDataPlane>(tools, clock, settings);
}

}  // namespace holdfast::jobs
