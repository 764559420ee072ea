// Values near PostgreSQL's limits: what COPY can still carry must come back, what it can't must be
// named.

#include "base/text.h"
#include "postgres/logical_restore.h"
#include "postgres/server_fixture.h"

namespace holdfast::postgres {
namespace {

using testing::PostgresServer;

using BigValuesTest = ServerTest;

TEST_F(BigValuesTest, LargestValuesComeBack) {
    PostgresServer server;
    server.sql(
        "postgres",
        "CREATE TABLE big_bytes (id int, value bytea);"
        "INSERT INTO big_bytes SELECT 1, decode(repeat('00ff5c0a', 131072000), 'hex');"  // 500 MiB
        "CREATE TABLE big_text (id int, value text);"
        "INSERT INTO big_text SELECT 1, repeat('0123456789', 94371840)"  // 900 MiB
    );
    MemoryStreams streams;
    static_cast<void>(back_up(server, "postgres", streams));
    RestoreOptions how;
    how.source_database = "postgres";
    how.target_database = "copy";
    static_cast<void>(run_logical_restore(superuser(server), streams, tools_, how));
    const std::string digest =
        "SELECT octet_length(value), md5(value) FROM big_bytes; SELECT octet_length(value), "
        "md5(value) FROM big_text";
    EXPECT_EQ(server.sql("copy", digest), server.sql("postgres", digest));
}

/// Forgets everything.
class NullSink final : public StreamSink {
public:
    void begin(const StreamSpec&) override {}
    void write(ByteSpan) override {}
    void end() override {}
};

TEST_F(BigValuesTest, ARowBeyondCopysLimitNamesItsTable) {
    PostgresServer server;
    server.sql(
        "postgres",
        "CREATE SCHEMA s; CREATE TABLE s.\"Too big\" (id int, value bytea);"
        "INSERT INTO s.\"Too big\" SELECT 1, part || part || part"
        " FROM (SELECT decode(repeat('00ff', 100000000), 'hex') AS part) x"  // 600 MB
    );
    NullSink sink;
    const Error error = error_of([&] {
        static_cast<void>(dump_database(superuser(server), "postgres", tools_, clock_, sink, {}));
    });
    EXPECT_EQ(error.kind(), ErrorKind::kRowTooLarge) << error.log_line();
    EXPECT_EQ(error.text().target, "s.\"Too big\"") << error.log_line();
    EXPECT_GE(error.text().recommended_actions.size(), 2U);
}

}  // namespace
}  // namespace holdfast::postgres
