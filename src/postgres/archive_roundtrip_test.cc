// The archives of the installed pg_dump, taken apart and put together again.

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "postgres/archive_composer.h"
#include "postgres/archive_splitter.h"
#include "postgres/streams.h"
#include "postgres/testing/postgres_server.h"
#include "postgres/toc.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

using ::testing::HasSubstr;
using testing::PostgresServer;

constexpr std::string_view kSchema = R"sql(
CREATE SCHEMA sales;
CREATE SCHEMA "odd.schema";
CREATE ROLE archive_reader;
CREATE TYPE sales.colour AS ENUM ('red', 'green');
CREATE TABLE sales.customer (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
    hue sales.colour);
CREATE TABLE sales.orders (
    id bigserial PRIMARY KEY, customer int REFERENCES sales.customer, amount numeric,
    twice numeric GENERATED ALWAYS AS (amount * 2) STORED, note text);
CREATE INDEX orders_customer ON sales.orders (customer);
CREATE TABLE public.part (at date, v int) PARTITION BY RANGE (at);
CREATE TABLE public.part_1 PARTITION OF public.part FOR VALUES FROM ('2020-01-01') TO
    ('2021-01-01');
CREATE TABLE public.part_2 PARTITION OF public.part FOR VALUES FROM ('2021-01-01') TO
    ('2022-01-01');
CREATE INDEX part_v ON public.part (v);
CREATE MATERIALIZED VIEW public.totals AS SELECT customer,
    sum(amount) AS s FROM sales.orders GROUP BY 1;
CREATE TABLE public.empty ();
CREATE TABLE "odd.schema"."q""'\ü/x" ("a=b" text);
CREATE TABLE public."a.b" (x int);
CREATE SCHEMA a;
CREATE TABLE a."b" (x int);
CREATE VIEW public.names AS SELECT name FROM sales.customer;
CREATE FUNCTION public.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
)sql";

constexpr std::string_view kData = R"sql(
INSERT INTO sales.customer (name, hue) SELECT 'c' || g, 'red' FROM generate_series(1, 1000) g;
INSERT INTO sales.orders (customer, amount, note)
    SELECT g % 1000 + 1, g, repeat(chr(65 + g % 26), g % 300) FROM generate_series(1, 20000) g;
INSERT INTO sales.orders (customer, amount, note) VALUES (1, 1, repeat('long', 1000000));
INSERT INTO public.part SELECT date '2020-06-01' + g, g FROM generate_series(1, 400) g;
REFRESH MATERIALIZED VIEW public.totals;
INSERT INTO "odd.schema"."q""'\ü/x" VALUES ('one'), (NULL), (E'tab\there\\');
SELECT lo_from_bytea(0, convert_to(repeat('large', 50000), 'UTF8'));
SELECT lo_from_bytea(0, 'tiny');
SELECT lo_from_bytea(0, '');
SELECT lo_from_bytea(4000000000, 'high number');
GRANT SELECT ON LARGE OBJECT 4000000000 TO archive_reader;
COMMENT ON LARGE OBJECT 4000000000 IS 'high';
REVOKE ALL ON sales.orders FROM postgres;
GRANT SELECT ON sales.orders TO archive_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT SELECT ON TABLES TO archive_reader;
)sql";

class ArchiveRoundTrip : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        if (!PostgresServer::available()) {
            return;
        }
        server_ = std::make_unique<PostgresServer>();
        database_ = server_->create_database("source");
        server_->sql(database_, kSchema);
        server_->sql(database_, kData);
    }
    static void TearDownTestSuite() { server_.reset(); }
    void SetUp() override {
        if (!server_) {
            GTEST_SKIP() << "PostgreSQL 15 is not installed";
        }
    }

    static Bytes dump(std::vector<std::string> more = {}) {
        std::vector<std::string> arguments{
            "-Fc", "-Z0", "--dbname=" + server_->conninfo(database_)
        };
        arguments.insert(arguments.end(), more.begin(), more.end());
        const RunResult result = server_->run("pg_dump", arguments);
        EXPECT_TRUE(result.status.ok()) << result.error;
        return to_bytes(result.output);
    }

    static MemoryStreams split(ByteSpan archive, std::size_t step, SplitResult* out = nullptr) {
        MemoryStreams streams;
        ArchiveSplitter splitter{streams, "databases/d/"};
        for (std::size_t i = 0; i < archive.size(); i += step) {
            splitter.write(archive.subspan(i, std::min(step, archive.size() - i)));
        }
        const SplitResult result = splitter.finish();
        EXPECT_TRUE(result.understood) << result.opaque_reason;
        if (out != nullptr) {
            *out = result;
        }
        return streams;
    }

    static Bytes compose(const StreamSource& source, const ComposePlan& plan = {}) {
        const ArchiveComposer composer{source, "databases/d/"};
        MemoryBytes out;
        composer.compose(plan, out);
        EXPECT_EQ(composer.composed_size(plan), out.bytes().size());
        return out.bytes();
    }

    /// pg_restore with the archive as a file (seekable).
    static std::string restore(ByteSpan archive, std::vector<std::string> arguments) {
        const TemporaryDirectory directory{"holdfast-archive"};
        const std::string path = (directory.path() / "a.dump").string();
        std::ofstream{path, std::ios::binary} << as_text(archive);
        arguments.push_back(path);
        const RunResult result = server_->run("pg_restore", arguments);
        EXPECT_TRUE(result.status.ok()) << result.error;
        EXPECT_EQ(result.error, "");
        return result.output;
    }

    /// pg_restore with the archive through a pipe.
    static void restore_from_pipe(ByteSpan archive, std::vector<std::string> arguments) {
        ProcessSpec spec;
        spec.program = server_->programs() / "pg_restore";
        spec.arguments = std::move(arguments);
        spec.environment = server_->environment();
        spec.input = ChildStream::kPipe;
        Process process = Process::start(spec);
        EXPECT_EQ(process.write_input(archive, {}), Process::WriteOutcome::kWritten);
        process.close_input();
        const ExitStatus status = process.wait({});
        EXPECT_TRUE(status.ok()) << process.standard_error();
        EXPECT_EQ(process.standard_error(), "");
    }

    /// `pg_restore --list` without the dump ids, which the canonical form numbers anew, and the
    /// time.
    static std::vector<std::string> list(ByteSpan archive) {
        std::vector<std::string> lines;
        for (const std::string& line : holdfast::split(restore(archive, {"--list"}), '\n')) {
            if (line.starts_with("; Archive created")) {
                continue;
            }
            const std::size_t separator =
                line.starts_with(';') ? std::string::npos : line.find(';');
            lines.push_back(separator == std::string::npos ? line : line.substr(separator));
        }
        return lines;
    }

    /// Everything a dump says about a database, as SQL text.
    static std::string content(const std::string& database) {
        const RunResult result =
            server_->run("pg_dump", {"--dbname=" + server_->conninfo(database)});
        EXPECT_TRUE(result.status.ok()) << result.error;
        return without_restrict(result.output);
    }

    /// pg_restore and pg_dump guard plain output with a random word.
    static std::string without_restrict(std::string_view text) {
        std::string out;
        for (const std::string& line : holdfast::split(text, '\n')) {
            if (!line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict ")) {
                out += line + "\n";
            }
        }
        return out;
    }

    static std::unique_ptr<PostgresServer> server_;
    static std::string database_;
};

std::unique_ptr<PostgresServer> ArchiveRoundTrip::server_;
std::string ArchiveRoundTrip::database_;

TEST_F(ArchiveRoundTrip, SplitsIntoNamedStreams) {
    SplitResult result;
    const MemoryStreams streams = split(dump(), 64 * kKiB, &result);
    std::vector<std::string> names;
    for (const auto& [name, stream] : streams.streams()) {
        names.push_back(name);
    }
    EXPECT_THAT(
        names,
        ::testing::ElementsAre(
            "databases/d/blobs",
            "databases/d/data/a/b",
            "databases/d/data/odd.schema/q%22%27%5C%C3%BC%2Fx",
            "databases/d/data/public/a.b",
            "databases/d/data/public/empty",
            "databases/d/data/public/part_1",
            "databases/d/data/public/part_2",
            "databases/d/data/sales/customer",
            "databases/d/data/sales/orders",
            "databases/d/toc"
        )
    );
    EXPECT_EQ(result.header.version, (ArchiveVersion{1, 14, 0}));
    EXPECT_EQ(result.tables, 8U);
    EXPECT_EQ(result.large_objects, 4U);
    EXPECT_EQ(result.large_object_bytes, 250'000U + 4 + 0 + 11);
    EXPECT_EQ(result.header.database, database_);
    const auto& odd = streams.streams().at("databases/d/data/odd.schema/q%22%27%5C%C3%BC%2Fx");
    EXPECT_EQ(as_text(odd.bytes), "one\n\\N\ntab\\there\\\\\n\\.\n\n\n");
}

TEST_F(ArchiveRoundTrip, TheStreamsDoNotDependOnHowTheBytesArrive) {
    const Bytes archive = dump();
    const MemoryStreams reference = split(archive, archive.size());
    for (const std::size_t step : {std::size_t{7}, std::size_t{4093}, 64 * kKiB}) {
        const MemoryStreams streams = split(archive, step);
        ASSERT_EQ(streams.streams().size(), reference.streams().size());
        for (const auto& [name, stream] : reference.streams()) {
            EXPECT_TRUE(streams.streams().at(name).bytes == stream.bytes)
                << name << " step " << step;
        }
    }
}

TEST_F(ArchiveRoundTrip, ComposesAnArchiveThatSaysAndRestoresTheSame) {
    const Bytes archive = dump();
    const Bytes composed = compose(split(archive, 64 * kKiB));
    EXPECT_EQ(list(composed), list(archive));
    EXPECT_EQ(
        without_restrict(restore(composed, {"--file=-", "--create"})),
        without_restrict(restore(archive, {"--file=-", "--create"}))
    );
}

TEST_F(ArchiveRoundTrip, TheCreationTimeIsKept) {
    const Bytes archive = dump();
    const Bytes composed = compose(split(archive, 64 * kKiB));
    EXPECT_EQ(Toc::parse(composed).header().created, Toc::parse(archive).header().created);
    EXPECT_FALSE(Toc::parse(composed).header().created == ArchiveTime{});
    ComposePlan plan;
    plan.created = ArchiveTime::parse("2024-02-29T12:34:56");
    ASSERT_TRUE(plan.created.has_value());
    EXPECT_THAT(
        restore(compose(split(archive, 64 * kKiB), plan), {"--list"}),
        HasSubstr("Archive created at 2024-02-29 12:34:56 UTC")
    );
}

TEST_F(ArchiveRoundTrip, SplittingAComposedArchiveGivesTheSameStreams) {
    const MemoryStreams first = split(dump(), 64 * kKiB);
    const MemoryStreams second = split(compose(first), 1000);
    for (const auto& [name, stream] : first.streams()) {
        EXPECT_TRUE(second.streams().at(name).bytes == stream.bytes) << name;
    }
}

TEST_F(ArchiveRoundTrip, TheComposedFileRestoresInParallelAndByTable) {
    const Bytes composed = compose(split(dump(), 64 * kKiB));
    const Toc toc = Toc::parse(composed);
    for (const TocEntry& entry : toc.entries()) {
        if (entry.had_data) {
            ASSERT_EQ(entry.data_state, DataState::kOffsetSet);
            const std::byte* at = composed.data() + entry.data_offset;
            EXPECT_EQ(std::to_integer<int>(at[0]), entry.desc == "BLOBS" ? 3 : 1);
            EXPECT_EQ(
                get_little_endian<std::uint32_t>(at + 2), static_cast<std::uint32_t>(entry.dump_id)
            );
        }
    }
    const std::string target = server_->create_database("parallel");
    restore(composed, {"--jobs=2", "--exit-on-error", "--dbname=" + server_->conninfo(target)});
    EXPECT_EQ(content(target), content(database_));

    const std::string one = server_->create_database("one");
    server_->sql(one, "CREATE SCHEMA \"odd.schema\"");
    restore(
        composed, {"--table=q\"'\\ü/x", "--exit-on-error", "--dbname=" + server_->conninfo(one)}
    );
    EXPECT_EQ(server_->sql(one, R"(SELECT count(*) FROM "odd.schema"."q""'\ü/x")"), "3\n");
}

TEST_F(ArchiveRoundTrip, RestoresBySharesThroughPipes) {
    const MemoryStreams streams = split(dump(), 64 * kKiB);
    const ArchiveComposer composer{streams, "databases/d/"};
    const std::string target = server_->create_database("shares");
    const std::string dbname = "--dbname=" + server_->conninfo(target);

    ComposePlan plan;
    plan.shape = ComposeShape::kPreData;
    restore_from_pipe(compose(streams, plan), {"--section=pre-data", "--exit-on-error", dbname});

    const auto shares = composer.plan_shares(3);
    ASSERT_EQ(shares.size(), 3U);
    std::vector<std::size_t> all;
    std::vector<std::thread> threads;
    for (const RestoreShare& share : shares) {
        all.insert(all.end(), share.entries.begin(), share.entries.end());
        plan.shape = ComposeShape::kPipe;
        plan.entries = share.entries;
        threads.emplace_back([archive = compose(streams, plan), dbname] {
            restore_from_pipe(archive, {"--section=data", "--exit-on-error", dbname});
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    std::sort(all.begin(), all.end());
    EXPECT_TRUE(std::adjacent_find(all.begin(), all.end()) == all.end())
        << "an entry is in two shares";

    plan.shape = ComposeShape::kPostData;
    plan.entries.reset();
    restore(compose(streams, plan), {"--section=post-data", "--jobs=2", "--exit-on-error", dbname});
    EXPECT_EQ(content(target), content(database_));
}

TEST_F(ArchiveRoundTrip, SharesHoldEveryDataEntryOnceWhateverTheirNumber) {
    const MemoryStreams streams = split(dump(), 64 * kKiB);
    const ArchiveComposer composer{streams, "databases/d/"};
    std::vector<std::size_t> expected;
    for (std::size_t i = 0; i < composer.toc().entries().size(); ++i) {
        if (composer.toc().entries()[i].section == TocSection::kData) {
            expected.push_back(i);
        }
    }
    for (const std::size_t count : {1U, 2U, 5U, 100U}) {
        std::vector<std::size_t> all;
        for (const RestoreShare& share : composer.plan_shares(count)) {
            EXPECT_FALSE(share.entries.empty());
            all.insert(all.end(), share.entries.begin(), share.entries.end());
        }
        std::sort(all.begin(), all.end());
        EXPECT_EQ(all, expected) << count;
    }
}

TEST_F(ArchiveRoundTrip, ASecondDumpOfAnUnchangedDatabaseIsIdentical) {
    const Bytes archive = dump();
    const MemoryStreams first = split(archive, 64 * kKiB);
    // Objects of other sessions shift pg_dump's numbers; they must not shift ours.
    ProcessSpec session;
    session.program = server_->programs() / "psql";
    session.arguments = {"--no-psqlrc", "--dbname=" + server_->conninfo(database_)};
    session.environment = server_->environment();
    session.input = ChildStream::kPipe;
    session.output = ChildStream::kPipe;
    Process other = Process::start(session);
    other.write_input(as_bytes("CREATE TEMP TABLE t(a int); SELECT 1;\n"), {});
    std::array<std::byte, 100> answer{};
    ASSERT_GT(other.read_output(answer, {}), 0U);
    server_->sql(database_, "ANALYZE; VACUUM FULL pg_class; VACUUM FULL pg_depend;");

    const Bytes again = dump();
    other.close_input();
    EXPECT_NE(
        Toc::parse(archive).entries().back().dump_id, Toc::parse(again).entries().back().dump_id
    ) << "this test proves nothing";
    const MemoryStreams second = split(again, 64 * kKiB);
    for (const auto& [name, stream] : first.streams()) {
        EXPECT_TRUE(second.streams().at(name).bytes == stream.bytes) << name;
    }
}

TEST_F(ArchiveRoundTrip, ATruncatedArchiveIsAnErrorThatNamesTheTable) {
    const Bytes archive = dump({"--table=sales.orders"});
    for (const std::size_t cut :
         {archive.size() - 1, archive.size() - 5, archive.size() / 2, std::size_t{9}}) {
        MemoryStreams streams;
        ArchiveSplitter splitter{streams, "databases/d/"};
        splitter.write(ByteSpan{archive}.first(cut));
        try {
            static_cast<void>(splitter.finish());
            FAIL() << "cut at " << cut;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kDumpFailed);
            EXPECT_THAT(error.what(), HasSubstr(std::to_string(cut)));
            if (cut > archive.size() / 3) {
                EXPECT_THAT(error.what(), HasSubstr("TABLE DATA sales.orders"));
            }
        }
    }
}

TEST_F(ArchiveRoundTrip, ACompressedArchiveIsStoredAsItIs) {
    const RunResult result =
        server_->run("pg_dump", {"-Fc", "-Z1", "--dbname=" + server_->conninfo(database_)});
    const Bytes archive = to_bytes(result.output);
    MemoryStreams streams;
    ArchiveSplitter splitter{streams, "databases/d/"};
    for (std::size_t i = 0; i < archive.size(); i += 1000) {
        splitter.write(ByteSpan{archive}.subspan(i, std::min<std::size_t>(1000, archive.size() - i))
        );
    }
    const SplitResult split_result = splitter.finish();
    EXPECT_FALSE(split_result.understood);
    EXPECT_THAT(split_result.opaque_reason, HasSubstr("compressed"));
    ASSERT_EQ(streams.streams().size(), 1U);
    EXPECT_TRUE(streams.streams().at("databases/d/archive").bytes == archive);
}

}  // namespace
}  // namespace holdfast::postgres
