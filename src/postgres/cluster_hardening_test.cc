#include "postgres/cluster_hardening.h"

#include "base/error.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <sys/stat.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kControlData =
    "pg_control version number:            1300\n"
    "Database system identifier:           7300000000000000001\n"
    "Database cluster state:               in production\n"
    "max_connections setting:              100\n"
    "max_prepared_xacts setting:           7\n"
    "max_locks_per_xact setting:           64\n"
    "Data page checksum version:           1\n";

void write_file(const fs::path& path, std::string_view text) {
    fs::create_directories(path.parent_path());
    std::ofstream{path, std::ios::binary} << text;
}
std::string read_text(const fs::path& path) {
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

class ClusterHardeningTest : public ::testing::Test {
protected:
    ClusterHardeningTest() { write_file(directory_.data() / "PG_VERSION", "15\n"); }
    [[nodiscard]] std::string refusal() {
        try {
            static_cast<void>(clear_cluster(directory_));
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kScratchServerFailed);
            return error.what();
        }
        return {};
    }
    TemporaryDirectory root_{"hf-harden"};
    ScratchDirectory directory_{root_.path()};
};

TEST_F(ClusterHardeningTest, WhatDecidesAboutAStartIsRemoved) {
    const fs::path data = directory_.data();
    for (const char* name :
         {"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "recovery.signal",
          "standby.signal", "postmaster.pid", "tablespace_map", "backup_label"}) {
        write_file(data / name, "x");
    }
    write_file(data / "pg_replslot" / "a" / "state", "x");
    const ClearedCluster cleared = clear_cluster(directory_);
    EXPECT_EQ(cleared.major, 15);
    EXPECT_TRUE(cleared.has_backup_label);
    EXPECT_FALSE(cleared.has_in_place_tablespaces);
    std::vector<std::string> left;
    for (const fs::directory_entry& entry : fs::directory_iterator{data}) {
        left.push_back(entry.path().filename().string());
    }
    EXPECT_THAT(
        left,
        ::testing::UnorderedElementsAre(
            "PG_VERSION", "backup_label", "pg_replslot", "pg_dynshmem", "pg_notify",
            "pg_snapshots", "pg_tblspc"
        )
    );
    EXPECT_TRUE(fs::is_empty(data / "pg_replslot"));
    EXPECT_EQ(fs::status(data).permissions(), fs::perms::owner_all);
}

TEST_F(ClusterHardeningTest, NoLinkIsFollowed) {
    const fs::path data = directory_.data();
    const fs::path outside = root_.path() / "outside";
    write_file(outside / "keep", "kept");
    fs::create_symlink(outside / "keep", data / "postgresql.conf");
    fs::create_directory_symlink(outside, data / "pg_replslot");
    fs::create_directory_symlink(outside, data / "pg_tblspc");
    const ClearedCluster cleared = clear_cluster(directory_);
    EXPECT_EQ(cleared.major, 15);
    EXPECT_EQ(read_text(outside / "keep"), "kept");
    EXPECT_FALSE(fs::is_symlink(data / "pg_replslot"));
    EXPECT_FALSE(fs::is_symlink(data / "pg_tblspc"));

    fs::remove(data / "PG_VERSION");
    fs::create_symlink(outside / "keep", data / "PG_VERSION");
    EXPECT_THAT(refusal(), HasSubstr("PG_VERSION"));
    fs::remove(data / "PG_VERSION");
    ASSERT_EQ(::mkfifo((data / "PG_VERSION").c_str(), 0600), 0);
    EXPECT_THAT(refusal(), HasSubstr("PG_VERSION"));
    fs::remove_all(data);
    fs::create_directory_symlink(outside, data);
    EXPECT_THAT(refusal(), HasSubstr("not a directory"));
}

TEST_F(ClusterHardeningTest, TablespacesLeadNowhereButIntoTheScratchDirectory) {
    const fs::path links = directory_.data() / "pg_tblspc";
    fs::create_directories(links / "16390");  // In place.
    fs::create_symlink("/srv/live/space", links / "16384");
    EXPECT_THAT(refusal(), HasSubstr("Tablespace 16384"));
    fs::create_symlink("/srv/live/space", links / "16384");
    fs::create_directory(directory_.tablespace(16384));
    fs::create_directory(directory_.tablespace(16385));  // Only tablespace_map knew of it.
    fs::create_directory(directory_.tablespaces() / "odd");
    const ClearedCluster cleared = clear_cluster(directory_);
    EXPECT_TRUE(cleared.has_in_place_tablespaces);
    EXPECT_EQ(fs::read_symlink(links / "16384"), "/cluster/tablespaces/16384");
    EXPECT_EQ(fs::read_symlink(links / "16385"), "/cluster/tablespaces/16385");
    EXPECT_FALSE(fs::exists(fs::symlink_status(links / "odd")));
}

TEST_F(ClusterHardeningTest, TheConfigurationFitsTheVersionAndTheCluster) {
    ScratchConfiguration facts;
    facts.major = 13;
    facts.control = parse_control_data(kControlData);
    facts.role = "holdfast_x";
    EXPECT_EQ(facts.control.prepared_transactions_max, 7U);
    EXPECT_TRUE(facts.control.data_checksums);
    EXPECT_EQ(facts.control.state, "in production");
    const std::string old = scratch_configuration(facts);
    EXPECT_THAT(old, HasSubstr("max_prepared_transactions = 7\n"));
    EXPECT_THAT(old, HasSubstr("listen_addresses = ''\n"));
    EXPECT_THAT(old, HasSubstr("archive_mode = off\n"));
    EXPECT_THAT(old, HasSubstr("session_preload_libraries = ''\n"));
    EXPECT_THAT(old, HasSubstr("max_logical_replication_workers = 0\n"));
    EXPECT_THAT(old, Not(HasSubstr("event_triggers")));
    EXPECT_THAT(old, Not(HasSubstr("archive_library")));
    EXPECT_THAT(old, Not(HasSubstr("allow_in_place_tablespaces")));
    facts.major = 18;
    facts.in_place_tablespaces = true;
    facts.control.locks_per_transaction_max = 4'000'000'000;
    const std::string recent = scratch_configuration(facts);
    EXPECT_THAT(recent, HasSubstr("event_triggers = off\n"));
    EXPECT_THAT(recent, HasSubstr("archive_library = ''\n"));
    EXPECT_THAT(recent, HasSubstr("io_method = sync\n"));
    EXPECT_THAT(recent, HasSubstr("allow_in_place_tablespaces = on\n"));
    EXPECT_THAT(recent, HasSubstr("max_locks_per_transaction = 65536\n"));
}

TEST_F(ClusterHardeningTest, ControlDataThatIsNoneIsRefused) {
    EXPECT_THROW(static_cast<void>(parse_control_data("")), Error);
    std::string odd{kControlData};
    odd.replace(odd.find("          7\n"), 12, "       many\n");
    EXPECT_THROW(static_cast<void>(parse_control_data(odd)), Error);
}

}  // namespace
}  // namespace holdfast::postgres
