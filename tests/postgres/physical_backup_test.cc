#include "postgres/physical_backup.h"

#include "base/file.h"
#include "base/text.h"
#include "postgres/cluster_archive.h"
#include "postgres/cluster_restore.h"
#include "postgres/server_fixture.h"

#include <filesystem>
#include <fstream>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::PostgresServer;
using testing::PostgresServerOptions;

constexpr std::string_view kHba =
    "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

class PhysicalBackupTest : public ServerTest {
protected:
    static PostgresServerOptions options() {
        PostgresServerOptions out;
        out.hba = kHba;
        return out;
    }
    static void fill(const PostgresServer& server) {
        server.sql(
            "postgres",
            "CREATE TABLE rows AS SELECT g AS id, repeat(md5(g::text), 8) AS text FROM "
            "generate_series(1, 20000) g; CREATE INDEX ON rows (id); VACUUM rows;"
        );
    }
    static std::string digest(const PostgresServer& server) {
        return server.sql(
            "postgres", "SELECT count(*), md5(string_agg(id || text, ',' ORDER BY id)) FROM rows"
        );
    }
};

TEST_F(PhysicalBackupTest, ARestoredServerHasWhatTheOldOneHad) {
    PostgresServer server{options()};
    fill(server);
    MemoryStreams streams;
    const PhysicalBackup backup = run_physical_backup(superuser(server), clock_, streams, {});
    EXPECT_TRUE(backup.warnings.empty());
    EXPECT_EQ(backup.manifest.at("method"), "physical");
    const std::string before = digest(server);
    server.stop();

    const TemporaryDirectory home{"holdfast-restored"};
    fs::permissions(home.path(), fs::perms::owner_all | fs::perms::others_exec);
    const RestoredCluster restored = restore_cluster(streams, {.target = home.path() / "data"});
    EXPECT_EQ(restored.bytes, restored.bytes_written);
    EXPECT_TRUE(restored.warnings.empty());
    const PostgresServer again{home.path() / "data", options()};
    EXPECT_EQ(digest(again), before);
}

}  // namespace
}  // namespace holdfast::postgres
