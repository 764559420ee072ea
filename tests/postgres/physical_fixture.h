#pragma once

#include "base/file.h"
#include "postgres/cluster_restore.h"
#include "postgres/physical_backup.h"
#include "postgres/server_fixture.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::postgres {

/// Where the server programs of a major are; nothing when they are not on this machine.
[[nodiscard]] std::optional<std::filesystem::path> server_programs(int major);

/// A directory that the server's account can reach.
class OpenDirectory {
public:
    OpenDirectory();
    [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }
    [[nodiscard]] std::filesystem::path operator/(std::string_view name) const {
        return path() / name;
    }

private:
    TemporaryDirectory directory_;
};

/// Tests of physical backups and what becomes of them.
class PhysicalTest : public ServerTest {
protected:
    /// Lets replication in over the Unix socket.
    [[nodiscard]] static testing::PostgresServerOptions options();
    /// A table with an index of some megabytes.
    static void fill(const testing::PostgresServer& server, int rows = 20000);
    /// Of that table.
    [[nodiscard]] static std::string digest(const testing::PostgresServer& server);
    [[nodiscard]] PhysicalBackup back_up(
        const testing::PostgresServer& server,
        BackupStreams& streams,
        const PhysicalBackupOptions& options = {}
    );
    /// Restores without waiting for the disk, which other tests share.
    static RestoredCluster restore(const StreamSource& source, RestoreClusterOptions options);
    /// Makes a directory that the server's account may use.
    static void make_for_server(const std::filesystem::path& path);
};

/// Every file below a directory with its contents, mode and link target, but for what a server
/// that ran in it writes; by path.
[[nodiscard]] std::map<std::string, std::string> contents_of(const std::filesystem::path& directory
);

}  // namespace holdfast::postgres
