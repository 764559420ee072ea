#include "postgres/page.h"

#include "base/error.h"
#include "base/sha256.h"
#include "postgres/backup_manifest.h"
#include "postgres/file_table.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

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

/// As storage/checksum_impl.h of PostgreSQL has it, word by word.
std::uint16_t slow_checksum(ByteSpan page, std::uint32_t block) {
    constexpr std::array<std::uint32_t, 32> kStart{
        0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2,
        0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C,
        0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979,
        0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E,
        0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
    };
    auto sums = kStart;
    const auto mix = [](std::uint32_t& sum, std::uint32_t word) {
        const std::uint32_t mixed = sum ^ word;
        sum = mixed * 16777619U ^ mixed >> 17;
    };
    for (std::size_t word = 0; word < kPageBytes / 4; ++word) {
        std::uint32_t value = get_little_endian<std::uint32_t>(page.data() + 4 * word);
        mix(sums[word % sums.size()], word == 2 ? value & 0xffff0000U : value);
    }
    std::uint32_t result = 0;
    for (std::uint32_t& sum : sums) {
        mix(sum, 0);
        mix(sum, 0);
        result ^= sum;
    }
    return static_cast<std::uint16_t>((result ^ block) % 65535 + 1);
}

TEST(PageChecksum, IsThatOfPostgres) {
    for (std::uint32_t block : {0U, 1U, 131071U, 4294967294U}) {
        Bytes page(kPageBytes);
        EXPECT_EQ(page_checksum(page, block), slow_checksum(page, block));
        fill_random(page);
        EXPECT_EQ(page_checksum(page, block), slow_checksum(page, block));
        const std::uint16_t before = page_checksum(page, block);
        page[8] ^= std::byte{0xff};  // The checksum itself does not count…
        EXPECT_EQ(page_checksum(page, block), before);
        page[10] ^= std::byte{0x01};  // …what follows it does.
        EXPECT_NE(page_checksum(page, block), before);
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

TEST(BackupManifest, ComesInAnyPieces) {
    const std::string text = sealed(
        "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 7,\n\"Files\": [\n"
        "{ \"Path\": \"a,]}\\\"b\", \"Size\": 3, \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": "
        "\"01020304\" },\n{ \"Path\": \"c\", \"Size\": 0 }],\n\"WAL-Ranges\": [],\n"
    );
    struct Names final : ManifestHandler {
        std::string names;
        void file(const std::string& path, const ManifestFile&) override { names += path + '|'; }
    };
    for (std::size_t piece = 1; piece < text.size(); ++piece) {
        Names names;
        BackupManifestReader reader{names};
        for (std::size_t at = 0; at < text.size(); at += piece) {
            reader.write(as_bytes(std::string_view{text}.substr(at, piece)));
        }
        reader.finish();
        EXPECT_EQ(names.names, "a,]}\"b|c|") << piece;
        EXPECT_EQ(reader.version(), 2);
    }
}

TEST(BackupManifest, RefusesWhatIsNotOneObject) {
    for (const char* body :
         {"[1,\n",
          "{}{\n",
          "{\"a\": [1}],\n",
          "{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [{\"Path\": \"a\"} {}],\n",
          "{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"WAL-Ranges\": [],\n",
          "{ [],\n"}) {
        EXPECT_NE(problem_of(sealed(body)), "none") << body;
    }
    EXPECT_NE(problem_of("{ \"" + std::string(70000, 'x')).find("too long"), std::string::npos);
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

TEST(FileTable, TellsWhatCameFromWhatDidNot) {
    FileTable table;
    for (int i = 0; i < 1000; ++i) {
        table.add("base/5/" + std::to_string(i), static_cast<std::uint64_t>(i) << 20, 7);
    }
    ASSERT_TRUE(table.seal());
    EXPECT_FALSE(table.find("base/5/1000"));
    const auto entry = table.take("base/5/12");
    ASSERT_TRUE(entry);
    EXPECT_TRUE(entry->matches(12U << 20, 7));
    EXPECT_FALSE(entry->matches(12U << 20, 8));
    EXPECT_FALSE(entry->matches((12U << 20) + 1, 7));
    EXPECT_FALSE(table.take("base/5/12"));
    EXPECT_EQ(table.left(), 999U);
    FileTable twice;
    twice.add("a", 1, 1);
    twice.add("a", 2, 2);
    EXPECT_FALSE(twice.seal());
}

}  // namespace
}  // namespace holdfast::postgres
