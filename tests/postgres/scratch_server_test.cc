#include "postgres/scratch_server.h"

#include "base/text.h"
#include "postgres/scratch_fixture.h"

#include <cstdint>
#include <filesystem>
#include <fstream>

#include <unistd.h>

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

/// Of the log's first segment in the restored directory.
fs::path first_segment(const ScratchDirectory& directory) {
    fs::path first;
    for (const fs::directory_entry& entry : fs::directory_iterator{directory.data() / "pg_wal"}) {
        const std::string name = entry.path().filename().string();
        if (name.size() == 24 && (first.empty() || entry.path() < first)) {
            first = entry.path();
        }
    }
    return first;
}

class BrokenClusterTest : public ScratchTest {
protected:
    Error failure(ScratchDirectory& directory) {
        return error_of([&] { static_cast<void>(start(directory)); });
    }
};

TEST_F(BrokenClusterTest, ALogThatEndsTooEarlyIsNoConsistentCluster) {
    PostgresServer source{source_options()};
    const auto directory = restore(source);
    const fs::path segment = first_segment(*directory);
    std::uintmax_t consistent_at = 0;
    {
        // A twin tells where the backup's end is.
        ScratchDirectory twin{root_.path()};
        fs::copy(
            directory->data(),
            twin.data(),
            fs::copy_options::recursive | fs::copy_options::copy_symlinks
        );
        const auto server = start(twin);
        const std::string at = server->recovery().consistent_at;
        consistent_at = std::stoull(at.substr(at.find('/') + 1), nullptr, 16);
    }
    const std::uintmax_t segment_bytes = fs::file_size(segment);
    // The record before it, 34 bytes of 40, says so.
    fs::resize_file(segment, consistent_at % segment_bytes - 24);
    fs::resize_file(segment, segment_bytes);
    const Error error = failure(*directory);
    EXPECT_EQ(error.kind(), ErrorKind::kScratchServerFailed);
    std::string log;
    for (const ErrorDetail& detail : error.text().details) {
        log += detail.message + "\n";
    }
    EXPECT_NE(log.find("WAL ends before"), std::string::npos) << log;
}

TEST_F(BrokenClusterTest, AMissingLogIsSaidInWords) {
    PostgresServer source{source_options()};
    const auto directory = restore(source);
    fs::remove(first_segment(*directory));
    const Error error = failure(*directory);
    EXPECT_EQ(error.kind(), ErrorKind::kScratchServerFailed);
    EXPECT_NE(error.text().recommended_actions.at(0).find("lacks write-ahead log"), std::string::npos);
}

TEST_F(BrokenClusterTest, OtherVersionsAndOtherDirectoriesAreRefused) {
    ScratchDirectory directory{root_.path()};
    EXPECT_EQ(failure(directory).kind(), ErrorKind::kScratchServerFailed);
    std::ofstream{directory.data() / "PG_VERSION"} << "14\n";
    const Error missing = failure(directory);
    EXPECT_EQ(missing.kind(), ErrorKind::kServerProgramsMissing);
    EXPECT_NE(missing.text().recommended_actions.at(0).find("postgresql-14"), std::string::npos);
    EXPECT_EQ(missing.text().properties.at("requiredMajor"), "14");
}

TEST_F(ScratchServerTest, AStopIsHeardWhileItStarts) {
    PostgresServer source{source_options()};
    const auto directory = restore(source);
    std::stop_source stop;
    stop.request_stop();
    const Error error = error_of([&] {
        static_cast<void>(start(*directory, {.stop = stop.get_token()}));
    });
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
}

TEST_F(ScratchServerTest, WhatACrashLeftBehindIsRemovedAndWhatRunsIsNot) {
    const ScratchDirectory running{root_.path()};
    fs::create_directories(root_.path() / "scratch-dead" / "cluster" / "data");
    std::ofstream{root_.path() / "scratch-dead" / "cluster" / "file"} << "x";
    fs::create_directory(root_.path() / "other");
    EXPECT_EQ(ScratchDirectory::remove_leftovers(root_.path()), 1U);
    EXPECT_TRUE(fs::exists(running.data()));
    EXPECT_FALSE(fs::exists(root_.path() / "scratch-dead"));
    EXPECT_TRUE(fs::exists(root_.path() / "other"));
}

TEST_F(ScratchServerTest, RootIsNoUidForIt) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "Only root chooses a uid.";
    }
    const ScratchDirectory directory{root_.path()};
    const Error error = error_of([&] { const Sandbox sandbox{directory.cluster(), {.uid = 0}}; });
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidParameter);
}

}  // namespace
}  // namespace holdfast::postgres
