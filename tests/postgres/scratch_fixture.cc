#include "postgres/scratch_fixture.h"

#include <fmt/format.h>

namespace holdfast::postgres {

namespace fs = std::filesystem;
using testing::PostgresServer;
using testing::PostgresServerOptions;

void ScratchTest::SetUp() {
    ServerTest::SetUp();
    if (IsSkipped()) {
        return;
    }
    try {
        const ScratchDirectory directory{root_.path()};
        const Sandbox sandbox{directory.cluster(), {}};
    } catch (const Error& error) {
        GTEST_SKIP() << error.what();
    }
}

PostgresServerOptions ScratchTest::source_options(std::map<std::string, std::string> settings) {
    PostgresServerOptions options;
    options.settings = std::move(settings);
    options.hba = "local all all trust\nlocal replication all trust\n";
    return options;
}

std::unique_ptr<ScratchDirectory> ScratchTest::restore(const PostgresServer& source) {
    auto directory = std::make_unique<ScratchDirectory>(root_.path());
    std::vector<std::string> arguments{
        "--pgdata=" + directory->data().string(),
        "--checkpoint=fast",
        "--wal-method=stream",
        "--no-sync"
    };
    ConnectionParameters parameters = superuser(source);
    parameters.options = "-c session_preload_libraries=";  // Some sources set one that is not there.
    Connection session = Connection::open(parameters);
    const QueryResult rows = session.query(
        "SELECT oid, pg_catalog.pg_tablespace_location(oid) AS location FROM "
        "pg_catalog.pg_tablespace WHERE pg_catalog.pg_tablespace_location(oid) LIKE '/%'"
    );
    for (std::size_t i = 0; i < rows.row_count(); ++i) {
        arguments.push_back(fmt::format(
            "--tablespace-mapping={}={}",
            rows.text(i, "location"),
            (directory->tablespaces() / rows.text(i, "oid")).string()
        ));
    }
    const RunResult result = source.run("pg_basebackup", arguments);
    EXPECT_TRUE(result.status.ok()) << result.error;
    return directory;
}

std::unique_ptr<ScratchServer> ScratchTest::start(
    ScratchDirectory& directory, const ScratchServerOptions& options
) {
    return ScratchServer::start(directory, programs_, clock_, options);
}

std::string ScratchTest::ask(
    const ScratchServer& server, const std::string& sql, std::string_view database
) {
    Connection session = Connection::open(server.connection(database));
    const QueryResult rows = session.query("SELECT (" + sql + ")::text AS value");
    return rows.text(0, "value");
}

}  // namespace holdfast::postgres
