#include "postgres/base_backup.h"

#include "base/file.h"
#include "base/text.h"
#include "postgres/backup_manifest.h"
#include "postgres/server_fixture.h"
#include "postgres/wal_stream.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using testing::PostgresServer;
using testing::PostgresServerOptions;

constexpr std::string_view kHba =
    "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// Writes the data directory as it comes; tablespaces become directories in it.
class DirectoryWriter final : public TarHandler {
public:
    explicit DirectoryWriter(fs::path root) : root_{std::move(root)} {}
    void begin(const TarEntry& entry) override {
        const fs::path path = root_ / entry.name;
        if (entry.type == TarEntryType::kFile) {
            fs::create_directories(path.parent_path());
            file_.open(path, std::ios::binary | std::ios::trunc);
        } else {
            fs::create_directories(path);
        }
        ++entries;
    }
    void write(ByteSpan bytes) override {
        file_.write(
            reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())
        );
    }
    void end() override { file_.close(); }
    int entries = 0;

private:
    fs::path root_;
    std::ofstream file_;
};

struct Nowhere final : TarHandler {
    void begin(const TarEntry&) override {}
    void write(ByteSpan) override {}
    void end() override {}
};

class BaseBackupTest : public ServerTest {
protected:
    static PostgresServerOptions options() {
        PostgresServerOptions out;
        out.hba = kHba;
        return out;
    }
    static void fill(PostgresServer& server) {
        server.sql(
            "postgres",
            "CREATE TABLE rows AS SELECT g AS id, repeat(md5(g::text), 8) AS text FROM "
            "generate_series(1, 40000) g; CREATE INDEX ON rows (id); CREATE UNLOGGED TABLE loose "
            "AS SELECT 1 AS a; VACUUM rows; CHECKPOINT;"
        );
    }
};

TEST_F(BaseBackupTest, TheFilesAreWhatTheServerMeantToSend) {
    PostgresServer server{options()};
    fill(server);
    server.sql(
        "postgres", "SET allow_in_place_tablespaces = on; CREATE TABLESPACE fast LOCATION ''"
    );
    server.sql(
        "postgres",
        "CREATE TABLE elsewhere TABLESPACE fast AS SELECT g FROM generate_series(1, 9000) g"
    );
    const TemporaryDirectory target{"holdfast-base"};
    DirectoryWriter writer{target.path()};
    std::uint64_t reported = 0;
    Bytes manifest_bytes;
    const BaseBackup backup = take_base_backup(
        superuser(server),
        writer,
        {.wal = BackupWal::kIncluded,
         .on_manifest =
             [&](ByteSpan bytes) {
                 manifest_bytes.insert(manifest_bytes.end(), bytes.begin(), bytes.end());
             },
         .progress =
             [&](const BaseBackupProgress& progress) {
                 reported = progress.bytes_done;
                 EXPECT_GT(progress.bytes_estimate, 0U);
             }}
    );
    EXPECT_EQ(
        backup.system_identifier,
        std::string{trim(server.sql("postgres", "SELECT system_identifier FROM pg_control_system()")
        )}
    );
    EXPECT_GT(backup.end, backup.start);
    EXPECT_EQ(backup.timeline, 1U);
    EXPECT_EQ(backup.page_checks, BaseBackup::PageChecks::kDone);
    EXPECT_GT(backup.pages_checked, 1000U);
    EXPECT_EQ(backup.page_failure_count, 0U);
    EXPECT_GT(reported, 0U);
    EXPECT_TRUE(fs::exists(target.path() / "backup_label"));

    const BackupManifest manifest = parse_backup_manifest(manifest_bytes);
    ASSERT_EQ(manifest.wal_ranges.size(), 1U);
    EXPECT_EQ(manifest.wal_ranges[0].start, backup.start);
    // PostgreSQL's own tool agrees, the log included.
    std::ofstream{target.path() / "backup_manifest", std::ios::binary} << as_text(manifest_bytes);
    const RunResult verified = server.run("pg_verifybackup", {target.path().string()});
    EXPECT_TRUE(verified.status.ok()) << verified.error;
}

/// Segments as files of pg_wal.
class SegmentWriter final : public WalTarget {
public:
    explicit SegmentWriter(fs::path directory) : directory_{std::move(directory)} {}
    void write(std::uint32_t timeline, Lsn position, ByteSpan bytes) override {
        while (!bytes.empty()) {
            const std::uint64_t at = position % kSegmentBytes;
            const std::size_t taken =
                std::min<std::size_t>(bytes.size(), static_cast<std::size_t>(kSegmentBytes - at));
            const Lsn number = position / kSegmentBytes;
            constexpr Lsn kPerLog = 0x100000000 / kSegmentBytes;
            const fs::path path =
                directory_ /
                fmt::format("{:08X}{:08X}{:08X}", timeline, number / kPerLog, number % kPerLog);
            if (!fs::exists(path)) {
                std::ofstream{path, std::ios::binary};
                fs::resize_file(path, kSegmentBytes);
            }
            std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
            file.seekp(static_cast<std::streamoff>(at));
            file.write(
                reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(taken)
            );
            position += taken;
            bytes = bytes.subspan(taken);
        }
        written = position;
    }
    void sync() override { synced = written; }
    Lsn written = 0;
    Lsn synced = 0;

private:
    static constexpr std::uint64_t kSegmentBytes = 16 * kMiB;
    fs::path directory_;
};

TEST_F(BaseBackupTest, TheLogComesBesideIt) {
    PostgresServer server{options()};
    fill(server);
    const TemporaryDirectory target{"holdfast-base"};
    fs::create_directories(target.path() / "pg_wal");
    DirectoryWriter writer{target.path()};
    SegmentWriter wal{target.path() / "pg_wal"};
    std::ofstream manifest{target.path() / "backup_manifest", std::ios::binary};
    const BaseBackup backup = take_base_backup_with_wal(
        superuser(server),
        writer,
        wal,
        {.on_start =
             [&](Lsn, std::uint32_t) {
                 server.sql(
                     "postgres",
                     "INSERT INTO rows SELECT g, md5(g::text) FROM generate_series(1, 90000) g"
                 );
             },
         .on_manifest = [&](ByteSpan bytes) { manifest << as_text(bytes); }}
    );
    manifest.close();
    EXPECT_GE(wal.synced, backup.end);
    const RunResult verified = server.run("pg_verifybackup", {target.path().string()});
    EXPECT_TRUE(verified.status.ok()) << verified.error;
    // The slot went with its session.
    EXPECT_EQ(trim(server.sql("postgres", "SELECT count(*) FROM pg_replication_slots")), "0");
}

TEST_F(BaseBackupTest, ALogThatCannotBeKeptEndsTheBackup) {
    struct Full final : WalTarget {
        void write(std::uint32_t, Lsn, ByteSpan) override {
            throw Error{ErrorKind::kStoreFull, "The disk is full."};
        }
        void sync() override {}
    };
    PostgresServer server{options()};
    fill(server);
    Full full;
    Nowhere nowhere;
    const Error error = error_of([&] {
        (void)take_base_backup_with_wal(superuser(server), nowhere, full, {.rate_max_kib = 1024});
    });
    EXPECT_EQ(error.kind(), ErrorKind::kStoreFull) << error.log_line();

    struct Broken final : TarHandler {
        void begin(const TarEntry&) override {
            throw Error{ErrorKind::kStoreDenied, "No right to write."};
        }
        void write(ByteSpan) override {}
        void end() override {}
    };
    const TemporaryDirectory target{"holdfast-base"};
    SegmentWriter wal{target.path()};
    Broken broken;
    const Error other =
        error_of([&] { (void)take_base_backup_with_wal(superuser(server), broken, wal, {}); });
    EXPECT_EQ(other.kind(), ErrorKind::kStoreDenied) << other.log_line();
}

TEST_F(BaseBackupTest, ADamagedPageIsNamed) {
    PostgresServer server{options()};
    fill(server);
    const std::string path{trim(server.sql("postgres", "SELECT pg_relation_filepath('rows')"))};
    server.stop();
    {
        std::fstream file{
            server.data_directory() / path, std::ios::in | std::ios::out | std::ios::binary
        };
        file.seekp(5 * static_cast<std::streamoff>(kPageBytes) + 4000);
        file.put('!');
    }
    server.start();
    Nowhere nowhere;
    const BaseBackup backup = take_base_backup(superuser(server), nowhere, {});
    EXPECT_EQ(backup.page_failure_count, 1U);
    ASSERT_EQ(backup.page_failures.size(), 1U);
    EXPECT_EQ(backup.page_failures[0].path, path);
    EXPECT_EQ(backup.page_failures[0].block, 5U);
}

TEST_F(BaseBackupTest, RefusalsSayWhatToDo) {
    PostgresServer server{options()};
    server.sql("postgres", "CREATE ROLE plain LOGIN");
    ConnectionParameters plain = superuser(server);
    plain.user = "plain";
    Nowhere nowhere;
    const Error right = error_of([&] { (void)take_base_backup(plain, nowhere, {}); });
    EXPECT_EQ(right.kind(), ErrorKind::kMissingReplicationRight) << right.log_line();
    EXPECT_EQ(right.text().recommended_actions.at(0), "ALTER ROLE \"plain\" REPLICATION;");

    server.set_hba("local all all trust\n");
    const Error hba = error_of([&] { (void)take_base_backup(superuser(server), nowhere, {}); });
    EXPECT_EQ(hba.kind(), ErrorKind::kServerAuthFailed) << hba.log_line();

    PostgresServerOptions few = options();
    few.settings = {{"max_wal_senders", "0"}};
    const PostgresServer full{few};
    const Error senders = error_of([&] { (void)take_base_backup(superuser(full), nowhere, {}); });
    EXPECT_EQ(senders.kind(), ErrorKind::kNoFreeWalSender) << senders.log_line();
}

TEST_F(BaseBackupTest, AStopEndsTheServersSide) {
    PostgresServer server{options()};
    fill(server);
    std::stop_source stop;
    Nowhere nowhere;
    const Error error = error_of([&] {
        (void)take_base_backup(
            superuser(server),
            nowhere,
            {.rate_max_kib = 32,
             .stop = stop.get_token(),
             .progress = [&](const BaseBackupProgress&) { stop.request_stop(); }}
        );
    });
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled) << error.log_line();
    const SteadyInstant deadline = clock_.steady_now() + std::chrono::seconds{20};
    while (server.sql("postgres", "SELECT count(*) FROM pg_stat_replication") != "0\n" &&
           clock_.steady_now() < deadline) {
    }
    EXPECT_EQ(trim(server.sql("postgres", "SELECT count(*) FROM pg_stat_replication")), "0");
}

TEST_F(BaseBackupTest, AServerKilledInTheMiddleEndsIt) {
    PostgresServer server{options()};
    fill(server);
    Nowhere nowhere;
    bool killed = false;
    const Error error = error_of([&] {
        (void)take_base_backup(
            superuser(server),
            nowhere,
            {.rate_max_kib = 32,
             .progress =
                 [&](const BaseBackupProgress&) {
                     if (!std::exchange(killed, true)) {
                         server.kill();
                     }
                 }}
        );
    });
    EXPECT_EQ(error.kind(), ErrorKind::kServerConnectionClosed) << error.log_line();
}

TEST(BaseBackupCommand, SpeaksTheLanguageOfEachVersion) {
    const BaseBackupOptions options{
        .label = "it's; a label", .checkpoint = CheckpointMode::kSpread, .rate_max_kib = 2048
    };
    for (const int major : {13, 14}) {
        EXPECT_EQ(
            base_backup_command(major, options),
            "BASE_BACKUP LABEL 'it_s_ a label' PROGRESS NOWAIT MAX_RATE 2048 TABLESPACE_MAP "
            "NOVERIFY_CHECKSUMS MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'"
        );
    }
    for (const int major : {15, 16, 17, 18}) {
        EXPECT_EQ(
            base_backup_command(major, options),
            "BASE_BACKUP (LABEL 'it_s_ a label', PROGRESS true, CHECKPOINT 'spread', WAL false, "
            "WAIT false, MAX_RATE 2048, TABLESPACE_MAP true, VERIFY_CHECKSUMS false, MANIFEST "
            "'yes', MANIFEST_CHECKSUMS 'CRC32C', TARGET 'client')"
        );
        EXPECT_THAT(
            base_backup_command(major, {.compression = ServerCompression::kZstd}),
            ::testing::HasSubstr(", COMPRESSION 'zstd', COMPRESSION_DETAIL 'level=1', TARGET")
        );
    }
    EXPECT_THAT(
        base_backup_command(14, {.compression = ServerCompression::kZstd}),
        ::testing::Not(::testing::HasSubstr("COMPRESSION"))
    );
}

}  // namespace
}  // namespace holdfast::postgres
