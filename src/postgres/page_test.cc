#include "postgres/page.h"

#include "base/error.h"
#include "base/sha256.h"
#include "postgres/backup_manifest.h"

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

TEST(Lsn, ReadsAndWrites) {
    EXPECT_EQ(parse_lsn("16/B374D848"), 0x16B374D848U);
    EXPECT_EQ(format_lsn(0x16B374D848U), "16/B374D848");
    for (const char* text : {"", "16", "16/", "/1", "g/1", "1/100000000", "1/2/3", "-1/1"}) {
        EXPECT_FALSE(parse_lsn(text)) << text;
    }
}

TEST(RelationFile, TellsPagesFromTheRest) {
    for (const auto& [path, segment] : std::vector<std::pair<std::string, unsigned>>{
             {"base/5/1259", 0},
             {"base/5/1259.3", 3},
             {"base/5/1259_vm", 0},
             {"base/5/1259_fsm.12", 12},
             {"global/1262", 0},
             {"pg_tblspc/16400/PG_15_202209061/5/16401_init", 0}
         }) {
        const auto file = parse_relation_file(path);
        ASSERT_TRUE(file) << path;
        EXPECT_EQ(file->segment, segment) << path;
    }
    for (const char* path :
         {"global/pg_control",
          "PG_VERSION",
          "base/5/PG_VERSION",
          "base/5/pg_filenode.map",
          "base/x/1",
          "pg_xact/0000",
          "base/5/t3_1259",
          "base/5/1259_x",
          "base/5/1259.",
          "base/5"}) {
        EXPECT_FALSE(parse_relation_file(path)) << path;
    }
}

std::string sealed(const std::string& body) {
    return body + "\"Manifest-Checksum\": \"" + to_hex(sha256(as_bytes(body))) + "\"}\n";
}

std::string problem_of(const std::string& text) {
    try {
        (void)parse_backup_manifest(as_bytes(text));
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kBaseBackupFailed);
        return error.what();
    }
    return "none";
}

TEST(BackupManifest, ReadsBothKindsOfPaths) {
    const auto manifest = parse_backup_manifest(as_bytes(sealed(
        "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{ \"Path\": \"backup_label\", "
        "\"Size\": 3, \"Last-Modified\": \"x\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": "
        "\"01020304\" },\n{ \"Encoded-Path\": \"61ff\", \"Size\": 0 }],\n\"WAL-Ranges\": [ { "
        "\"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" } ],\n"
    )));
    EXPECT_EQ(manifest.files.at("backup_label").crc32c, 0x04030201U);
    EXPECT_EQ(manifest.files.at("a\xff").size, 0U);
    EXPECT_EQ(manifest.wal_ranges.at(0).end, 0x2000100U);
}

TEST(BackupManifest, RefusesWhatIsNotWhole) {
    const std::string whole =
        sealed("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [],\n\"WAL-Ranges\": [],\n"
        );
    EXPECT_EQ(problem_of(whole), "none");
    std::string changed = whole;
    changed[3] = '_';
    EXPECT_NE(problem_of(changed).find("does not match"), std::string::npos);
    EXPECT_NE(problem_of(whole.substr(0, whole.size() - 40)).find("cut off"), std::string::npos);
    EXPECT_NE(problem_of("{}").find("no checksum"), std::string::npos);
    EXPECT_NE(
        problem_of(sealed("{ \"PostgreSQL-Backup-Manifest-Version\": 7,\n\"Files\": [],\n"))
            .find("version 7"),
        std::string::npos
    );
    EXPECT_NE(
        problem_of(
            sealed("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [{\"Path\": \"a\", "
                   "\"Size\": -1}],\n")
        )
            .find("negative"),
        std::string::npos
    );
}

}  // namespace
}  // namespace holdfast::postgres
