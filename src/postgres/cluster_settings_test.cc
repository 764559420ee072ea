#include "postgres/cluster_settings.h"

#include "base/error.h"
#include "postgres/cluster_streams.h"
#include "postgres/streams.h"
#include "postgres/tar_writer.h"

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

TEST(AdaptConfiguration, SwitchesOffWhatNamesTheOldPlace) {
    const std::string adapted = adapt_configuration(
        "# data_directory = 'x'\n"
        "data_directory = '/var/lib/postgresql/15/main'\n"
        "HBA_FILE='/etc/postgresql/15/main/pg_hba.conf'\n"
        "external_pid_file = '/var/run/15.pid'\n"
        "data_directory_mode = 0700\n"
        "include_dir 'conf.d'\n"
        "include_dir = 'gone.d'\n"
        "include '/etc/other.conf'  # a comment\n"
        "include_if_exists local.conf\n"
        "includes = 1\n"
        "port = 5433",
        [](const std::string& path) { return path == "conf.d" || path == "local.conf"; }
    );
    const std::string off = "# Of the old place, switched off by the restore: ";
    EXPECT_EQ(
        adapted,
        "# data_directory = 'x'\n" + off + "data_directory = '/var/lib/postgresql/15/main'\n" +
            off + "HBA_FILE='/etc/postgresql/15/main/pg_hba.conf'\n" + off +
            "external_pid_file = '/var/run/15.pid'\n"
            "data_directory_mode = 0700\n"
            "include_dir 'conf.d'\n" +
            off + "include_dir = 'gone.d'\n" + off +
            "include '/etc/other.conf'  # a comment\n"
            "include_if_exists local.conf\n"
            "includes = 1\n"
            "port = 5433"
    );
    EXPECT_EQ(quote_setting("a'b\\c"), "'a''b\\\\c'");
}

TEST(StreamNames, HoldPathsThatStayBelow) {
    for (const char* path : {"PG_VERSION", "base/5/1259.1", "odd name/%2F/\xff"}) {
        const std::string name = stream_name_of_path(kDataPrefix, path);
        EXPECT_EQ(path_of_stream_name(kDataPrefix, name), path) << name;
    }
    for (const char* name :
         {"data/",
          "data//a",
          "data/..",
          "data/%2E%2E/a",
          "data/a%2Fb",
          "data/a%00",
          "wal/a",
          "x"}) {
        EXPECT_THROW((void)path_of_stream_name(kDataPrefix, name), Error) << name;
    }
}

TEST(ClusterDescription, ComesBackAsItWas) {
    ClusterDescription cluster;
    cluster.server_version = 150004;
    cluster.system_identifier = "7";
    cluster.start = 0x16B374D848U;
    cluster.end = 0x16B374D948U;
    cluster.wal_segment_bytes = 16 * kMiB;
    cluster.tablespaces = {{.oid = 16400, .location = "/srv/a b", .bytes = 12}};
    cluster.page_failures = {{.path = "base/5/1", .block = 4294967294U}};
    cluster.configuration = {{.name = "conf.d/x.conf", .path = "/etc/x.conf"}};
    cluster.settings = {{"wal_level", "replica"}};
    EXPECT_EQ(to_json(cluster_from_json(to_json(cluster))), to_json(cluster));
    Json newer = to_json(cluster);
    newer["format"] = 2;
    try {
        (void)cluster_from_json(newer);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kVaultFormatUnsupported);
    }
    newer["format"] = 1;
    newer["bytes"] = -1;
    EXPECT_THROW((void)cluster_from_json(newer), Error);
}

TEST(TarWriter, WritesWhatTheReaderReads) {
    struct Collector final : TarHandler {
        std::string all;
        void begin(const TarEntry& entry) override {
            all += entry.name + ':' + entry.link_target + ':' + std::to_string(entry.mode) + ':';
        }
        void write(ByteSpan bytes) override { all += as_text(bytes); }
        void end() override { all += ';'; }
    } collector;
    const std::string deep = std::string(120, 'd') + '/' + std::string(90, 'f');
    MemoryBytes bytes;
    TarWriter writer{bytes};
    std::uint64_t size = TarWriter::kEndBytes;
    for (const auto& [name, type, contents] :
         std::vector<std::tuple<std::string, TarEntryType, std::string>>{
             {"base", TarEntryType::kDirectory, ""},
             {"base/1", TarEntryType::kFile, std::string(513, 'x')},
             {deep, TarEntryType::kFile, "y"},
             {"link", TarEntryType::kSymbolicLink, ""}}) {
        TarEntry entry;
        entry.name = name;
        entry.type = type;
        entry.mode = 0640;
        entry.size = contents.size();
        entry.link_target = type == TarEntryType::kSymbolicLink ? "/away" : "";
        size += TarWriter::bytes_of(entry);
        writer.begin(entry);
        writer.write(as_bytes(contents));
        writer.end();
    }
    writer.finish();
    EXPECT_EQ(bytes.bytes().size(), size);
    TarReader reader{collector};
    reader.write(bytes.bytes());
    reader.finish();
    EXPECT_EQ(
        collector.all,
        "base::416:;base/1::416:" + std::string(513, 'x') + ";" + deep + "::416:y;link:/away:416:;"
    );
    TarEntry big;
    big.name = std::string(200, 'x');
    EXPECT_THROW(writer.begin(big), Error);
}

}  // namespace
}  // namespace holdfast::postgres
