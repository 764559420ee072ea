#include "postgres/scratch_server.h"

#include "base/text.h"
#include "postgres/scratch_fixture.h"

#include <filesystem>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::PostgresServer;

class ScratchServerTest : public ScratchTest {};

TEST_F(ScratchServerTest, ARestoredClusterBecomesConsistentAndIsAsItWas) {
    PostgresServer source{source_options()};
    source.sql("postgres", "CREATE TABLE rows AS SELECT g FROM generate_series(1, 10000) g");
    const auto directory = restore(source);
    const auto server = start(*directory);

    EXPECT_EQ(ask(*server, "SELECT count(*) FROM public.rows"), "10000");
    EXPECT_EQ(ask(*server, "SELECT pg_catalog.pg_is_in_recovery()"), "false");
    EXPECT_TRUE(server->recovery().from_backup);
    EXPECT_FALSE(server->recovery().redo_start.empty());
    EXPECT_FALSE(server->recovery().consistent_at.empty());
    EXPECT_EQ(server->major(), 15);
    EXPECT_TRUE(server->data_checksums());
    EXPECT_GT(server->recovery_time().count(), 0);

    const fs::path path = directory->path();
    EXPECT_TRUE(fs::exists(path));
    server->stop();
    EXPECT_NE(join(server->log_tail(), "\n").find("shut down"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::postgres
