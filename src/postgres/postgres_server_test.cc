#include "postgres/testing/postgres_server.h"

#include "base/error.h"

#include <gtest/gtest.h>

namespace holdfast::postgres::testing {
namespace {

TEST(PostgresServer, RunsStopsAndComesBack) {
    if (!PostgresServer::available()) {
        GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
    PostgresServer server;
    const std::string database = server.create_database();
    server.sql(database, "CREATE TABLE t(a int); INSERT INTO t VALUES (1), (2);");
    EXPECT_EQ(server.sql(database, "SELECT count(*), 'x' FROM t"), "2|x\n");
    server.stop();
    EXPECT_ANY_THROW(static_cast<void>(server.sql(database, "SELECT 1")));
    server.start();
    EXPECT_EQ(server.sql(database, "SELECT sum(a) FROM t"), "3\n");
    EXPECT_THROW(static_cast<void>(server.sql(database, "SELECT nonsense")), Error);
}

TEST(PostgresServer, ListensOnLoopbackWithPasswords) {
    if (!PostgresServer::available()) {
        GTEST_SKIP() << "PostgreSQL 15 is not installed";
    }
    PostgresServerOptions options;
    options.tcp = PostgresServerOptions::Tcp::kLoopback;
    PostgresServer server{options};
    server.sql("postgres", "CREATE ROLE app LOGIN PASSWORD 'secret'");
    const RunResult refused = server.run(
        "psql",
        {"--no-password",
         "--command=SELECT 1",
         "--dbname=host=127.0.0.1 port=" + std::to_string(server.port()) +
             " user=app dbname=postgres"}
    );
    EXPECT_FALSE(refused.status.ok());
    EXPECT_NE(refused.error.find("password"), std::string::npos) << refused.error;
}

}  // namespace
}  // namespace holdfast::postgres::testing
