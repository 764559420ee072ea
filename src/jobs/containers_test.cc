#include "jobs/containers.h"

#include "base/error.h"
#include "base/file.h"

#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holdfast::jobs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ErrorKind kind_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.kind();
    }
    ADD_FAILURE() << "nothing was thrown";
    return ErrorKind::kInternal;
}

class ContainersTest : public ::testing::Test {
protected:
    ContainersTest() : root_{"holdfast-containers"} {
        std::filesystem::create_directories(root_.path() / "files/sub");
        std::filesystem::create_directories(root_.path() / "roots/a/b");
        std::filesystem::create_directories(root_.path() / "roots2");
        std::filesystem::create_directories(root_.path() / "outside");
        std::filesystem::create_directory_symlink("../outside", root_.path() / "files/link");
        std::filesystem::create_directory_symlink(
            root_.path() / "outside", root_.path() / "roots/link"
        );
    }

    RestoreContainers containers() {
        return RestoreContainers{ContainerSettings{
            .containers = {NamedContainer{
                .name = "files",
                .directory = root_.path() / "files",
                .url_aliases = {"https://account.blob.example/backups"},
            }},
            .file_roots = {root_.path() / "roots"},
            .origins = {"https://backup.example:8443"},
        }};
    }

    TemporaryDirectory root_;
};

TEST_F(ContainersTest, OpensWhatTheConfigurationNames) {
    const RestoreContainers all = containers();
    for (const std::string url :
         {"https://backup.example:8443/restore/files",
          "https://BACKUP.example:8443/restore/Files/",
          "/restore/files",
          "/restore/files/sub",
          "https://account.blob.example/backups/"}) {
        EXPECT_NO_THROW((void)all.open(url)) << url;
    }
    EXPECT_NO_THROW((void)all.open("file://" + (root_.path() / "roots").string()));
    EXPECT_NO_THROW((void)all.open("file://" + (root_.path() / "roots/a/b").string() + "/"));
}

TEST_F(ContainersTest, RefusesEverythingElse) {
    const RestoreContainers all = containers();
    const std::string base = root_.path().string();
    for (const std::string& url : std::vector<std::string>{
             "",
             "files",
             "https://backup.example:8443",
             "https://backup.example:84431/restore/files",
             "https://backup.example:8443/restore/",
             "https://backup.example:8443/restore/other",
             "https://evil.example/restore/files",
             "https://account.blob.example/backups/x",
             "/restore/files/missing",
             "/restore/files/..",
             "/restore/files/%2e%2e/outside",
             "/restore/files/sub/../../outside",
             "/restore/files/link",
             "/restore/files/%0a",
             "/restore/files/%zz",
             "file://relative",
             "file:///",
             "file:///etc",
             "file://" + base + "/roots2",
             "file://" + base + "/roots/../outside",
             "file://" + base + "/roots/link",
             "file://" + base + "/roots/missing",
         }) {
        EXPECT_EQ(kind_of([&] { (void)all.open(url); }), ErrorKind::kContainerNotAccessible) << url;
    }
    EXPECT_EQ(kind_of([&] { (void)all.open_container("other"); }), ErrorKind::kResourceNotFound);
}

TEST_F(ContainersTest, FilesAppearOnlyWhenPublishedAndWithModeOwnerOnly) {
    const ContainerDirectory directory = containers().open_container("files");
    ContainerOutput output = directory.create("dump_roles.sql");
    output.write(as_bytes("create role"));
    EXPECT_THAT(directory.list(), IsEmpty());
    output.finish();
    EXPECT_TRUE(output.publish());
    ASSERT_EQ(directory.list().size(), 1U);
    EXPECT_EQ(directory.list()[0].name, "dump_roles.sql");
    EXPECT_EQ(directory.list()[0].size_bytes, 11U);
    struct stat status{};
    ASSERT_EQ(::stat((root_.path() / "files/dump_roles.sql").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U);

    ContainerOutput second = directory.create("dump_roles.sql");
    second.finish();
    EXPECT_FALSE(second.publish());
    EXPECT_EQ(directory.list()[0].size_bytes, 11U);

    output.retract();
    EXPECT_THAT(directory.list(), IsEmpty());
}

TEST_F(ContainersTest, AnAbandonedFileLeavesNothing) {
    const ContainerDirectory directory = containers().open_container("files");
    {
        ContainerOutput output = directory.create("x");
        output.write(as_bytes("half"));
    }
    std::size_t entries = 0;
    for (const auto& entry : std::filesystem::directory_iterator{root_.path() / "files"}) {
        entries += entry.is_regular_file() ? 1U : 0U;
    }
    EXPECT_EQ(entries, 0U);
}

TEST_F(ContainersTest, ALinkOfTheNameIsNeverFollowed) {
    const std::filesystem::path victim = root_.path() / "outside/victim";
    std::ofstream{victim} << "precious";
    std::filesystem::create_symlink("../outside/victim", root_.path() / "files/dump_x.sql");
    const ContainerDirectory directory = containers().open_container("files");
    EXPECT_TRUE(directory.exists("dump_x.sql"));
    EXPECT_FALSE(directory.open_file("dump_x.sql").has_value());
    ContainerOutput output = directory.create("dump_x.sql");
    output.write(as_bytes("overwritten"));
    output.finish();
    EXPECT_FALSE(output.publish());
    EXPECT_EQ(read_file(victim, 100), "precious");
}

TEST_F(ContainersTest, DownloadsOnlyPlainRegularFiles) {
    const ContainerDirectory directory = containers().open_container("files");
    std::ofstream{root_.path() / "files/a"} << "content";
    std::ofstream{root_.path() / "outside/b"} << "secret";
    ASSERT_EQ(::mkfifo((root_.path() / "files/fifo").c_str(), 0600), 0);
    const auto download = directory.open_file("a");
    ASSERT_TRUE(download.has_value());
    EXPECT_EQ(download->size_bytes, 7U);
    for (const std::string name :
         {"", ".", "..", "../outside/b", "link/b", "sub", "missing", "fifo"}) {
        EXPECT_FALSE(directory.open_file(name).has_value()) << name;
    }
}

TEST(FilePrefixTest, Accepts) {
    for (const std::string prefix : {"dump1", "a", "nightly 2026-01-01", "ü", "x.y_z"}) {
        EXPECT_NO_THROW(check_file_prefix(prefix)) << prefix;
    }
}

TEST(FilePrefixTest, Refuses) {
    for (const std::string& prefix : std::vector<std::string>{
             "",
             "../x",
             "a/b",
             "a\\b",
             "..",
             "a..b",
             ".hidden",
             "-rf",
             "a\nb",
             std::string(101, 'a'),
             std::string("a\0b", 3)
         }) {
        EXPECT_EQ(kind_of([&] { check_file_prefix(prefix); }), ErrorKind::kPluginInvalidInput)
            << prefix;
    }
}

}  // namespace
}  // namespace holdfast::jobs
