#include "jobs/data_plane.h"

#include "base/error.h"
#include "postgres/client_tools.h"
#include "postgres/restore_files.h"

#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::jobs {
namespace {

class PostgresDataPlane final : public DataPlane {
public:
    PostgresDataPlane(PostgresPrograms programs, Clock& clock, DataPlaneSettings settings)
        : tools_{programs.clients},
          servers_{programs.servers},
          clock_{clock},
          settings_{std::move(settings)} {}

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

    postgres::PhysicalPreflight preflight_physical(
        const postgres::ConnectionParameters& connection, std::stop_token stop
    ) override {
        return postgres::preflight_physical_backup(connection, stop);
    }

    postgres::PhysicalBackup backup_physical(
        const postgres::ConnectionParameters& connection,
        postgres::BackupStreams& streams,
        const postgres::PhysicalBackupOptions& options
    ) override {
        return postgres::run_physical_backup(connection, clock_, streams, options);
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

    void check_scratch(int major) override {
        (void)servers_.of_major(major);
        const std::filesystem::path& sandbox = settings_.scratch.sandbox.bubblewrap;
        if (::access(sandbox.c_str(), X_OK) != 0) {
            throw Error{
                ErrorKind::kSandboxUnavailable,
                ErrorText{
                    .message = fmt::format(
                        "A scratch server runs in a sandbox only, and {} is not there.",
                        sandbox.string()
                    ),
                    .recommended_actions = {"Install it on the Holdfast host: apt-get install "
                                            "bubblewrap."},
                }
            };
        }
    }

    postgres::TestRestore test_restore(
        const postgres::StreamSource& source, const postgres::TestRestoreOptions& options
    ) override {
        return postgres::run_test_restore(source, settings_.scratch, servers_, clock_, options);
    }

    postgres::LogicalRestore restore_from_physical(
        const postgres::ConnectionParameters& target,
        const postgres::StreamSource& source,
        const postgres::RestoreOptions& options
    ) override {
        return postgres::restore_from_physical(
            target, source, settings_.scratch, servers_, tools_, clock_, options
        );
    }

    std::string schema_sql(const postgres::StreamSource& source, std::stop_token stop) override {
        return postgres::render_schema_sql(source, tools_, stop);
    }

private:
    const postgres::ClientTools& tools_;
    const postgres::ServerPrograms& servers_;
    Clock& clock_;
    const DataPlaneSettings settings_;
};

}  // namespace

std::unique_ptr<DataPlane> postgres_data_plane(
    PostgresPrograms programs, Clock& clock, DataPlaneSettings settings
) {
    return std::make_unique<PostgresDataPlane>(programs, clock, std::move(settings));
}

}  // namespace holdfast::jobs
