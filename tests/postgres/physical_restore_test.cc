#include "base/sha256.h"
#include "base/text.h"
#include "postgres/cluster_archive.h"
#include "postgres/physical_fixture.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/resource.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::PostgresServer;
using testing::PostgresServerOptions;

/// Streams as a vault has them: in pieces that can be compared without being read.
class PieceSource final : public StreamSource {
public:
    explicit PieceSource(const MemoryStreams& streams) : streams_{streams} {}

    std::string damaged;  ///< A stream one byte of which is not what it was.
    mutable std::atomic<std::uint64_t> bytes_read = 0;

    void list(std::string_view prefix, const std::function<void(const StreamInfo&)>& visit)
        const override {
        streams_.list(prefix, visit);
    }
    [[nodiscard]] std::unique_ptr<StreamReader> open(std::string_view name) const override {
        return std::make_unique<Reader>(
            *this, streams_.streams().at(std::string{name}).bytes, name == damaged
        );
    }

private:
    class Reader final : public StreamReader {
    public:
        Reader(const PieceSource& source, Bytes bytes, bool damaged)
            : source_{source}, bytes_{std::move(bytes)} {
            if (damaged) {
                bytes_.at(bytes_.size() / 2) ^= std::byte{1};
            }
        }
        [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
        std::size_t read(MutableByteSpan out) override {
            const std::size_t count = std::min(out.size(), bytes_.size() - at_);
            std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), count, out.begin());
            at_ += count;
            source_.bytes_read += count;
            return count;
        }
        [[nodiscard]] std::size_t next_piece_bytes() override {
            return std::min<std::size_t>(64 * kKiB, bytes_.size() - at_);
        }
        [[nodiscard]] bool skip_if_equal(ByteSpan have) override {
            EXPECT_EQ(have.size(), next_piece_bytes());
            if (!std::equal(
                    have.begin(), have.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at_)
                )) {
                return false;
            }
            at_ += have.size();
            return true;
        }

    private:
        const PieceSource& source_;
        Bytes bytes_;
        std::size_t at_ = 0;
    };

    const MemoryStreams& streams_;
};

/// One recovery point of a small server, made once for all tests here.
struct Point {
    MemoryStreams streams;
    std::string table;  ///< Path of a relation's file.
    std::string digest;
};

class ClusterRestoreTest : public PhysicalTest {
protected:
    static const Point& point() {
        static const Point made = [] {
            Point out;
            PostgresServer server{options()};
            fill(server);
            out.table = trim(server.sql("postgres", "SELECT pg_relation_filepath('rows')"));
            SystemClock clock;
            (void)run_physical_backup(superuser(server), clock, out.streams, {});
            out.digest = digest(server);
            return out;
        }();
        return made;
    }
    /// As the first restore made it.
    static std::map<std::string, std::string> restore_to(const fs::path& path) {
        (void)restore(point().streams, {.target = path});
        return contents_of(path);
    }
};

TEST_F(ClusterRestoreTest, ADeltaRewritesOnlyWhatDiffers) {
    const OpenDirectory home;
    const fs::path data = home / "data";
    const auto whole = restore_to(data);
    EXPECT_FALSE(whole.contains("holdfast.restore"));
    // One of everything that can be wrong.
    {
        std::fstream file{data / point().table, std::ios::in | std::ios::out | std::ios::binary};
        file.seekp(300000);
        file.put('!');
    }
    fs::resize_file(data / "global/pg_filenode.map", 10);
    fs::resize_file(data / "PG_VERSION", 1000);
    fs::remove(data / "base/1/PG_VERSION");
    fs::remove_all(data / "base/4");
    fs::remove(data / "global/1262");
    fs::create_directory(data / "global/1262");
    std::ofstream{data / "global/1262/inside"} << "x";
    std::ofstream{data / "pg_wal/000000010000000000000099"} << "later";
    fs::create_directories(data / "base/77/deeper");
    std::ofstream{data / "base/77/deeper/file"} << "x";
    fs::permissions(data / "base/1/1259", fs::perms::all);
    fs::create_symlink("/etc/passwd", data / "standby.signal");

    const PieceSource source{point().streams};
    const RestoredCluster restored =
        restore(source, {.target = data, .existing = ExistingFiles::kDelta});
    EXPECT_EQ(contents_of(data), whole);
    EXPECT_EQ(restored.files_removed, 5U) << "the segment, base/77 with what is in it, the link";
    EXPECT_LT(restored.bytes_written, restored.bytes / 3);
    EXPECT_LT(source.bytes_read, restored.bytes / 3);
    const PostgresServer server{data, options()};
    EXPECT_EQ(digest(server), point().digest);
}

TEST_F(ClusterRestoreTest, ADeltaFollowsNoLinks) {
    const OpenDirectory home;
    const fs::path data = home / "data";
    const auto whole = restore_to(data);
    fs::create_directory(home / "outside");
    std::ofstream{home / "outside" / "1"} << "not ours";
    fs::remove_all(data / "base");
    fs::create_directory_symlink(home / "outside", data / "base");
    fs::remove(data / "global/1262");
    fs::create_symlink(home / "outside" / "1", data / "global/1262");
    (void)restore(point().streams, {.target = data, .existing = ExistingFiles::kDelta});
    EXPECT_EQ(contents_of(data), whole);
    EXPECT_EQ(read_file(home / "outside" / "1", 100), "not ours");
    EXPECT_EQ(contents_of(home / "outside").size(), 1U);
}

TEST_F(ClusterRestoreTest, TargetsThatAreTakenAreLeftAlone) {
    const OpenDirectory home;
    fs::create_directory(home / "taken");
    std::ofstream{home / "taken" / "file"} << "mine";
    const auto before = contents_of(home.path());
    const auto kind_of = [&](const RestoreClusterOptions& options) {
        const Error error = error_of([&] { (void)restore(point().streams, options); });
        EXPECT_FALSE(error.text().message.empty());
        return error.kind();
    };
    EXPECT_EQ(kind_of({.target = home / "taken"}), ErrorKind::kRestoreTargetExists);
    EXPECT_EQ(
        kind_of({.target = home / "taken", .existing = ExistingFiles::kDelta}),
        ErrorKind::kRestoreTargetExists
    );
    EXPECT_EQ(kind_of({.target = home / "taken" / "file"}), ErrorKind::kRestoreTargetExists);
    EXPECT_EQ(kind_of({.target = "relative"}), ErrorKind::kInvalidParameter);
    EXPECT_EQ(
        kind_of({.target = home / "new", .tablespaces = {{.from = "1", .to = home / "space"}}}),
        ErrorKind::kInvalidParameter
    );
    EXPECT_EQ(contents_of(home.path()), before);
}

TEST_F(ClusterRestoreTest, ARunningServerIsNotRestoredOnto) {
    const PostgresServer server{options()};
    const Error error = error_of([&] {
        (void)restore(
            point().streams, {.target = server.data_directory(), .existing = ExistingFiles::kDelta}
        );
    });
    EXPECT_EQ(error.kind(), ErrorKind::kConflict) << error.log_line();
    EXPECT_EQ(server.sql("postgres", "SELECT 1"), "1\n");
}

TEST_F(ClusterRestoreTest, AFullTargetIsSaidAndGoesOnAsADelta) {
    const OpenDirectory home;
    const fs::path data = home / "data";
    const StreamSource& streams = point().streams;  // Made before the limit holds.
    // A file may not grow beyond this: what a full disk answers, without one.
    ASSERT_NE(std::signal(SIGXFSZ, SIG_IGN), SIG_ERR);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const rlimit little{.rlim_cur = 2 * kMiB, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
    const Error error = error_of([&] { (void)restore(streams, {.target = data}); });
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_EQ(error.kind(), ErrorKind::kRestoreTargetFull) << error.log_line();
    EXPECT_THAT(error.text().recommended_actions.at(0), HasSubstr("delta"));
    EXPECT_FALSE(fs::exists(data / "global/pg_control")) << "a half of a server must not start";

    (void)restore(streams, {.target = data, .existing = ExistingFiles::kDelta});
    EXPECT_EQ(contents_of(data), restore_to(home / "other"));
}

TEST_F(ClusterRestoreTest, ADiskThatFillsUpMeanwhileIsSaid) {
    const OpenDirectory home;
    const fs::path disk = home / "disk";
    const StreamSource& streams = point().streams;
    fs::create_directory(disk);
    if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=96m,mode=755") != 0) {
        GTEST_SKIP() << "no filesystem may be mounted here: " << std::strerror(errno);
    }
    struct Unmount {
        const fs::path& disk;
        ~Unmount() { ::umount2(disk.c_str(), MNT_DETACH); }
    } const unmount{disk};

    // Somebody else's file takes what was free when the restore began.
    bool filled = false;
    const Error error = error_of([&] {
        (void)restore(
            streams,
            {.target = disk / "data", .progress = [&](const ClusterRestoreProgress&) {
                 std::ofstream other{disk / "other", std::ios::binary};
                 const std::string block(kMiB, 'x');
                 while (other.write(block.data(), static_cast<std::streamsize>(block.size()))) {
                 }
                 filled = true;
             }}
        );
    });
    ASSERT_TRUE(filled);
    EXPECT_EQ(error.kind(), ErrorKind::kRestoreTargetFull) << error.log_line();
    EXPECT_THAT(error.text().recommended_actions.at(0), HasSubstr("delta"));
    EXPECT_FALSE(fs::exists(disk / "data" / "global/pg_control"));

    // A smaller disk is refused before anything is written to it.
    const Error refused = error_of([&] { (void)restore(streams, {.target = disk / "second"}); });
    EXPECT_EQ(refused.kind(), ErrorKind::kRestoreTargetFull) << refused.log_line();
    EXPECT_FALSE(fs::exists(disk / "second"));

    fs::remove(disk / "other");
    (void)restore(streams, {.target = disk / "data", .existing = ExistingFiles::kDelta});
    const PostgresServer again{disk / "data", options()};
    EXPECT_EQ(digest(again), point().digest);
}

TEST_F(ClusterRestoreTest, AWrongByteFromTheSourceIsNamed) {
    const OpenDirectory home;
    PieceSource source{point().streams};
    source.damaged = "data/" + point().table;
    const Error error = error_of([&] { (void)restore(source, {.target = home / "data"}); });
    EXPECT_EQ(error.kind(), ErrorKind::kVaultCorrupt);
    EXPECT_THAT(error.what(), HasSubstr(point().table));
    EXPECT_FALSE(fs::exists(home / "data" / "global/pg_control"));
}

TEST_F(ClusterRestoreTest, AStopEndsIt) {
    const OpenDirectory home;
    std::stop_source stop;
    const Error error = error_of([&] {
        (void)restore(
            point().streams,
            {.target = home / "data",
             .stop = stop.get_token(),
             .progress = [&](const ClusterRestoreProgress&) { stop.request_stop(); }}
        );
    });
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled) << error.log_line();
    EXPECT_FALSE(fs::exists(home / "data" / "global/pg_control"));
}

class FileSink final : public ByteSink {
public:
    explicit FileSink(const fs::path& path) : file_{path, std::ios::binary} {}
    void write(ByteSpan bytes) override {
        file_.write(
            reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())
        );
    }

private:
    std::ofstream file_;
};

TEST_F(PhysicalTest, PostgresAcceptsTheArchives) {
    const OpenDirectory home;
    make_for_server(home / "space");
    PostgresServer server{options()};
    fill(server);
    server.sql(
        "postgres", fmt::format("CREATE TABLESPACE away LOCATION '{}'", (home / "space").string())
    );
    server.sql("postgres", "CREATE TABLE elsewhere TABLESPACE away AS SELECT 1 AS a");
    MemoryStreams streams;
    const PhysicalBackup backup = back_up(server, streams);

    const fs::path data = home / "data";
    fs::create_directories(data);
    const auto extract = [&](const fs::path& archive, const fs::path& to) {
        fs::create_directories(to);
        const RunResult result = run_process(
            ProcessSpec{.program = "/bin/tar", .arguments = {"-xf", archive, "-C", to}}, kMiB, {}
        );
        EXPECT_TRUE(result.status.ok()) << result.error;
    };
    std::vector<std::string> names;
    for (const ClusterArchive& archive : list_cluster_archives(streams)) {
        FileSink sink{home / archive.name};
        write_cluster_archive(streams, archive.name, sink);
        names.push_back(archive.name);
    }
    for (const ClusterArchive& archive : list_cluster_archives(streams)) {
        EXPECT_EQ(fs::file_size(home / archive.name), archive.size) << archive.name;
    }
    ASSERT_EQ(names.size(), 4U);
    extract(home / "base.tar", data);
    extract(home / "pg_wal.tar", data / "pg_wal");
    for (const ClusterTablespace& one : backup.cluster.tablespaces) {
        const fs::path place = data / "pg_tblspc" / fmt::format("{}", one.oid);
        fs::create_directories(home / "moved");
        fs::create_directory_symlink(home / "moved", place);
        extract(home / fmt::format("{}.tar", one.oid), place);
    }
    fs::rename(home / "backup_manifest", data / "backup_manifest");
    const RunResult verified = server.run("pg_verifybackup", {data.string()});
    EXPECT_TRUE(verified.status.ok()) << verified.error;
    MemoryBytes nowhere;
    EXPECT_EQ(
        error_of([&] { write_cluster_archive(streams, "1.tar", nowhere); }).kind(),
        ErrorKind::kRestoreItemNotFound
    );

    // The same point as a directory: the tablespace's old place is taken.
    const Error taken = error_of([&] { (void)restore(streams, {.target = home / "again"}); });
    EXPECT_EQ(taken.kind(), ErrorKind::kRestoreTargetExists);
    EXPECT_EQ(taken.text().target, home / "space");
    EXPECT_FALSE(fs::exists(home / "again"));
    (void)restore(
        streams,
        {.target = home / "again",
         .tablespaces = {{.from = (home / "space").string(), .to = home / "elsewhere"}}}
    );
    const PostgresServer again{home / "again", options()};
    EXPECT_EQ(again.sql("postgres", "SELECT a FROM elsewhere"), "1\n");
}

TEST_F(PhysicalTest, ConfigurationFromOutsideComesAlong) {
    const OpenDirectory home;
    make_for_server(home / "etc");
    PostgresServerOptions outside = options();
    outside.settings["hba_file"] = fmt::format("'{}'", (home / "etc" / "hba.conf").string());
    std::ofstream{home / "etc" / "hba.conf"} << options().hba;
    MemoryStreams streams;
    {
        PostgresServer server{outside};
        fs::remove(server.data_directory() / "pg_hba.conf");
        const PhysicalBackup backup = back_up(server, streams);
        EXPECT_EQ(backup.notes, std::vector<std::string>{});
        ASSERT_EQ(backup.cluster.configuration.size(), 1U);
        EXPECT_EQ(backup.cluster.configuration[0].name, "pg_hba.conf");

        // Without the right to read it, it is a note, and the preflight says what to grant.
        server.sql("postgres", "CREATE ROLE backup LOGIN REPLICATION");
        ConnectionParameters plain = superuser(server);
        plain.user = "backup";
        const PhysicalPreflight preflight = preflight_physical_backup(plain);
        EXPECT_TRUE(preflight.ok());
        ASSERT_EQ(preflight.findings.size(), 1U);
        EXPECT_EQ(preflight.findings[0].code, "ConfigurationUnreadable");
        for (const std::string& remedy : preflight.findings[0].remedies) {
            server.sql("postgres", remedy);
        }
        EXPECT_TRUE(preflight_physical_backup(plain).findings.empty());
    }
    fs::remove(home / "etc" / "hba.conf");
    const RestoredCluster restored = restore(streams, {.target = home / "data"});
    EXPECT_THAT(restored.next_steps.at(0), HasSubstr("pg_hba.conf (was "));
    const PostgresServer again{home / "data", options()};
    EXPECT_EQ(
        trim(again.sql("postgres", "SHOW hba_file")), (home / "data" / "pg_hba.conf").string()
    );
}

TEST_F(PhysicalTest, RecoveryGoesOnWithOtherLog) {
    const OpenDirectory home;
    make_for_server(home / "archive");
    MemoryStreams streams;
    std::string later;
    {
        PostgresServer server{options()};
        fill(server, 2000);
        (void)back_up(server, streams);
        server.sql(
            "postgres",
            "SET synchronous_commit = on; "
            "INSERT INTO rows SELECT g, 'late' FROM generate_series(1, 500) g"
        );
        later = digest(server);
        server.sql("postgres", "SELECT pg_switch_wal()");
        for (const auto& entry : fs::directory_iterator{server.data_directory() / "pg_wal"}) {
            if (entry.is_regular_file()) {
                fs::copy(entry.path(), home / "archive" / entry.path().filename().string());
            }
        }
    }
    fs::permissions(home / "archive", fs::perms::all);
    const std::string command = fmt::format("cat '{}/%f' > '%p'", (home / "archive").string());
    for (const auto& entry : fs::directory_iterator{home / "archive"}) {
        fs::permissions(entry.path(), fs::perms::all);
    }
    const RestoredCluster restored =
        restore(streams, {.target = home / "data", .restore_command = command});
    EXPECT_THAT(restored.next_steps.at(0), HasSubstr("restore_command"));
    const PostgresServer again{home / "data", options()};
    EXPECT_EQ(digest(again), later) << again.log();
    // It is on a timeline of its own now; a backup of it knows where that comes from.
    MemoryStreams second;
    const PhysicalBackup backup = back_up(again, second);
    EXPECT_EQ(backup.cluster.start_timeline, 2U);
    EXPECT_TRUE(second.streams().contains("wal/00000002.history"));
    (void)restore(second, {.target = home / "third"});
    const PostgresServer third{home / "third", options()};
    EXPECT_EQ(digest(third), later);
}

}  // namespace
}  // namespace holdfast::postgres
