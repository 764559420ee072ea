#include "postgres/tar_reader.h"

#include "base/error.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

struct Seen final : TarHandler {
    struct Item {
        TarEntry entry;
        std::string contents;
        bool ended = false;
    };
    void begin(const TarEntry& entry) override { items.push_back({entry, {}, false}); }
    void write(ByteSpan bytes) override { items.back().contents += as_text(bytes); }
    void end() override { items.back().ended = true; }
    std::vector<Item> items;
};

struct Made {
    std::string name;
    char type = '0';
    std::string contents = {};
    std::string link = {};
    std::string prefix = {};
    bool base_256 = false;
};

void put(std::string& block, std::size_t at, std::string_view text) {
    block.replace(at, text.size(), text);
}

std::string entry(const Made& made) {
    std::string block(512, '\0');
    put(block, 0, made.name);
    put(block, 100, "0000640");
    put(block, 124, fmt::format("{:011o} ", made.contents.size()));
    if (made.base_256) {
        put(block, 124, std::string("\x80\0\0\0\0\0\0\0\0\0\0", 11));
        block[135] = static_cast<char>(made.contents.size());
    }
    put(block, 136, "14000000000 ");
    block[156] = made.type;
    put(block, 157, made.link);
    put(block, 257, "ustar");
    put(block, 263, "00");
    put(block, 345, made.prefix);
    put(block, 148, "        ");
    unsigned sum = 0;
    for (const char c : block) {
        sum += static_cast<unsigned char>(c);
    }
    put(block, 148, fmt::format("{:06o}", sum));
    block[154] = '\0';
    std::string out = block + made.contents;
    out.resize((out.size() + 511) / 512 * 512, '\0');
    return out;
}

Seen read(const std::string& archive, std::size_t piece) {
    Seen seen;
    TarReader reader{seen};
    for (std::size_t at = 0; at < archive.size(); at += piece) {
        reader.write(as_bytes(std::string_view{archive}.substr(at, piece)));
    }
    reader.finish();
    return seen;
}

std::string problem_of(const std::string& archive) {
    try {
        (void)read(archive, 4096);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kBaseBackupFailed);
        return error.what();
    }
    return "none";
}

TEST(TarReader, ReadsWhateverTheSizeOfThePieces) {
    const std::string archive =
        entry({.name = "backup_label", .contents = "START WAL LOCATION"}) +
        entry({.name = "./base/", .type = '5'}) + entry({.name = "empty"}) +
        entry({.name = "base/1/1259", .contents = std::string(8192, 'x')}) +
        entry({.name = "pg_tblspc/16400", .type = '2', .link = "/srv/fast disk"}) +
        entry({.name = "name", .contents = "7 bytes", .prefix = "a/long/prefix", .base_256 = true});
    for (const std::size_t piece : {1U, 7U, 512U, 513U, 100'000U}) {
        for (const bool terminated : {true, false}) {
            const Seen seen = read(archive + std::string(terminated ? 1024 : 0, '\0'), piece);
            ASSERT_EQ(seen.items.size(), 6U);
            EXPECT_EQ(seen.items[0].contents, "START WAL LOCATION");
            EXPECT_EQ(seen.items[0].entry.mode, 0640U);
            EXPECT_EQ(seen.items[0].entry.modified, 014000000000);
            EXPECT_EQ(seen.items[1].entry.name, "base");
            EXPECT_EQ(seen.items[1].entry.type, TarEntryType::kDirectory);
            EXPECT_EQ(seen.items[3].contents.size(), 8192U);
            EXPECT_EQ(seen.items[4].entry.type, TarEntryType::kSymbolicLink);
            EXPECT_EQ(seen.items[4].entry.link_target, "/srv/fast disk");
            EXPECT_EQ(seen.items[5].entry.name, "a/long/prefix/name");
            EXPECT_EQ(seen.items[5].contents, "7 bytes");
            for (const Seen::Item& item : seen.items) {
                EXPECT_TRUE(item.ended) << item.entry.name;
            }
        }
    }
}

TEST(TarReader, RefusesWhatLeadsOutOfTheDirectory) {
    for (const char* name : {"/etc/passwd", "../x", "a/../../x", "a//b", "././a", "."}) {
        EXPECT_NE(problem_of(entry({.name = name})).find("leads out"), std::string::npos) << name;
    }
}

TEST(TarReader, RefusesDamage) {
    const std::string whole = entry({.name = "a", .contents = std::string(600, 'y')});
    EXPECT_NE(problem_of(whole.substr(0, 700)).find("in the middle"), std::string::npos);
    EXPECT_NE(problem_of(whole.substr(0, 100)).find("in the middle"), std::string::npos);
    std::string changed = whole;
    changed[1] = 'b';
    EXPECT_NE(problem_of(changed).find("the sum"), std::string::npos);
    EXPECT_NE(problem_of(std::string(512, 'z')).find("not that of a tar"), std::string::npos);
    EXPECT_NE(
        problem_of(entry({.name = "dev", .type = '4'})).find("unknown type"), std::string::npos
    );
}

}  // namespace
}  // namespace holdfast::postgres
