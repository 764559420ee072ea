// Archives of every version, made byte by byte from the format's facts (archive_format.h), sound
// and broken.

#include "postgres/archive_format.h"

#include "base/error.h"
#include "postgres/archive_composer.h"
#include "postgres/archive_splitter.h"
#include "postgres/streams.h"
#include "postgres/toc.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Writes as pg_dump does; knows nothing of the code under test.
class ArchiveMaker {
public:
    explicit ArchiveMaker(int minor) : minor_{minor} {}

    void byte(int value) { out_ += static_cast<char>(value); }
    void integer(int value) {
        byte(value < 0 ? 1 : 0);
        unsigned magnitude =
            value < 0 ? 0U - static_cast<unsigned>(value) : static_cast<unsigned>(value);
        for (int i = 0; i < 4; ++i) {
            byte(static_cast<int>(magnitude & 0xffU));
            magnitude >>= 8;
        }
    }
    void null() { integer(-1); }
    void text(const std::string& value) {
        integer(static_cast<int>(value.size()));
        out_ += value;
    }
    void header() {
        out_ += "PGDMP";
        byte(1);
        byte(minor_);
        byte(0);
        byte(4);
        byte(8);
        byte(1);
        if (minor_ >= 15) {
            byte(0);
        } else {
            integer(0);
        }
        for (const int part : {56, 34, 12, 29, 1, 124, 0}) {
            integer(part);
        }
        text("shop");
        text("server 1");
        text("dump 2");
    }
    struct Entry {
        int id = 0;
        bool data = false;
        std::string tag;
        std::string desc;
        int section = 2;
        std::string schema = {};
        std::vector<int> dependencies = {};
        std::string definition = {};
    };
    void entry(const Entry& entry) {
        integer(entry.id);
        integer(entry.data ? 1 : 0);
        text("1259");
        text("16384");
        text(entry.tag);
        text(entry.desc);
        integer(entry.section);
        text(entry.definition);
        text("DROP;\n");
        entry.data ? text("COPY t FROM stdin;\n") : null();
        entry.schema.empty() ? null() : text(entry.schema);
        text("");
        if (minor_ >= 14) {
            entry.desc == "TABLE" ? text("heap") : null();
        }
        if (minor_ >= 16) {
            integer(entry.desc == "TABLE" ? 'r' : 0);
        }
        text("owner");
        text("false");
        for (const int id : entry.dependencies) {
            text(std::to_string(id));
        }
        null();
        byte(entry.data ? 1 : 3);
        out_ += std::string(8, '\0');
    }
    void table_block(int id, const std::vector<std::string>& pieces) {
        byte(1);
        integer(id);
        for (const std::string& piece : pieces) {
            text(piece);
        }
        integer(0);
    }
    void objects_block(
        int id, const std::vector<std::pair<unsigned, std::vector<std::string>>>& objects
    ) {
        byte(3);
        integer(id);
        for (const auto& [oid, pieces] : objects) {
            integer(static_cast<int>(oid));
            for (const std::string& piece : pieces) {
                text(piece);
            }
            integer(0);
        }
        integer(0);
    }
    [[nodiscard]] const std::string& bytes() const { return out_; }
    std::string& raw() { return out_; }

private:
    int minor_;
    std::string out_;
};

ArchiveMaker small_archive(int minor) {
    ArchiveMaker maker{minor};
    maker.header();
    maker.integer(5);
    maker.entry(
        {.id = 900,
         .tag = "ENCODING",
         .desc = "ENCODING",
         .definition = "SET client_encoding = 'UTF8';\n"}
    );
    maker.entry({.id = 7, .tag = "t", .desc = "TABLE", .schema = "public"});
    maker.entry(
        {.id = 8, .tag = "u", .desc = "TABLE", .schema = "public", .dependencies = {7, 3, 7}}
    );
    maker.entry(
        {.id = 70,
         .data = true,
         .tag = "t",
         .desc = "TABLE DATA",
         .section = 3,
         .schema = "public",
         .dependencies = {7}}
    );
    maker.entry(
        {.id = 80,
         .data = true,
         .tag = "u",
         .desc = "TABLE DATA",
         .section = 3,
         .schema = "public",
         .dependencies = {8}}
    );
    maker.table_block(70, {"1\n", "2\n", "\\.\n"});
    maker.table_block(80, {});
    return maker;
}

struct Split {
    MemoryStreams streams;
    SplitResult result;
};

Split split(std::string_view bytes, std::size_t step = 1) {
    Split out;
    ArchiveSplitter splitter{out.streams, "p/"};
    for (std::size_t i = 0; i < bytes.size(); i += step) {
        splitter.write(as_bytes(bytes.substr(i, step)));
    }
    out.result = splitter.finish();
    return out;
}

std::string_view stream(const Split& split, const std::string& name) {
    return as_text(split.streams.streams().at("p/" + name).bytes);
}

/// The message of the error that the bytes cause.
std::string failure(std::string_view bytes, std::size_t step = 1000) {
    try {
        const Split done = split(bytes, step);
        return done.result.understood ? "understood" : "opaque: " + done.result.opaque_reason;
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kDumpFailed);
        EXPECT_FALSE(error.text().recommended_actions.empty());
        return error.what();
    }
}

class EveryVersion : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Archive, EveryVersion, ::testing::Values(13, 14, 15, 16));

TEST_P(EveryVersion, IsTakenApartAndPutTogether) {
    const std::string archive = small_archive(GetParam()).bytes();
    const Split parts = split(archive);
    EXPECT_TRUE(parts.result.understood);
    EXPECT_EQ(stream(parts, "data/public/t"), "1\n2\n\\.\n");
    EXPECT_EQ(stream(parts, "data/public/u"), "");

    const Toc toc = Toc::parse(parts.streams.streams().at("p/toc").bytes);
    EXPECT_EQ(toc.header().version, (ArchiveVersion{1, GetParam(), 0}));
    EXPECT_EQ(toc.header().database, "shop");
    EXPECT_EQ(toc.header().server_version, "server 1");
    EXPECT_EQ(toc.header().dump_version, "dump 2");
    EXPECT_EQ(toc.header().created, ArchiveTime{});
    ASSERT_EQ(toc.entries().size(), 5U);
    const TocEntry& table = toc.entries()[1];
    EXPECT_EQ(table.dump_id, 2);
    EXPECT_EQ(table.tag, "t");
    EXPECT_EQ(table.schema, "public");
    EXPECT_EQ(table.owner, "owner");
    EXPECT_EQ(table.with_oids, "false");
    EXPECT_EQ(table.catalog_oid, 16384U);
    EXPECT_EQ(table.drop_statement, "DROP;\n");
    EXPECT_EQ(table.copy_statement.data(), nullptr);
    EXPECT_NE(table.tablespace.data(), nullptr);
    EXPECT_EQ(table.table_access_method, GetParam() >= 14 ? "heap" : "");
    EXPECT_EQ(table.relation_kind, GetParam() >= 16 ? 'r' : '\0');
    EXPECT_THAT(toc.entries()[2].dependencies, ElementsAre(2))
        << "numbered anew, strangers and repetitions gone";
    EXPECT_EQ(toc.entries()[3].copy_statement, "COPY t FROM stdin;\n");
    EXPECT_TRUE(toc.entries()[3].had_data);
    EXPECT_EQ(toc.effective_section(3), TocSection::kData);

    const ArchiveComposer composer{parts.streams, "p/"};
    MemoryBytes composed;
    composer.compose({.shape = ComposeShape::kPipe}, composed);
    const Split again = split(as_text(composed.bytes()));
    EXPECT_EQ(again.result.header.created, parts.result.header.created);
    for (const auto& [name, one] : parts.streams.streams()) {
        EXPECT_TRUE(again.streams.streams().at(name).bytes == one.bytes) << name;
    }
}

TEST_P(EveryVersion, CutAnywhereIsAnErrorAndNothingWorse) {
    const std::string archive = small_archive(GetParam()).bytes();
    for (std::size_t size = 0; size < archive.size(); ++size) {
        EXPECT_THAT(failure(std::string_view{archive}.substr(0, size)), HasSubstr("at byte"))
            << size;
        const Bytes cut = to_bytes(std::string_view{archive}.substr(0, size));
        try {
            static_cast<void>(Toc::parse(cut));
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kVaultCorrupt);
        }
    }
}

TEST_P(EveryVersion, AnyByteChangedIsNotACrash) {
    const std::string archive = small_archive(GetParam()).bytes();
    for (std::size_t at = 0; at < archive.size(); ++at) {
        for (const int change : {0x01, 0x80, 0xff}) {
            std::string broken = archive;
            broken[at] = static_cast<char>(broken[at] ^ change);
            static_cast<void>(failure(broken));
            try {
                static_cast<void>(Toc::parse(to_bytes(broken)));
            } catch (const Error&) {
                continue;  // Refused: fine.
            }
        }
    }
}

TEST(ArchiveSplitter, LargeObjectsOfVersion16AreGroups) {
    ArchiveMaker maker{16};
    maker.header();
    maker.integer(7);
    maker.entry(
        {.id = 1,
         .tag = "16400..16401",
         .desc = "BLOB METADATA",
         .section = 3,
         .definition = "16400\n16401\n"}
    );
    maker.entry(
        {.id = 2,
         .tag = "LARGE OBJECTS 16400..16401",
         .desc = "ACL",
         .section = 1,
         .dependencies = {1}}
    );
    maker.entry(
        {.id = 3, .tag = "LARGE OBJECT 16401", .desc = "COMMENT", .section = 1, .dependencies = {1}}
    );
    maker.entry(
        {.id = 4,
         .tag = "4000000000",
         .desc = "BLOB METADATA",
         .section = 3,
         .definition = "4000000000\n"}
    );
    maker.entry(
        {.id = 5, .data = true, .tag = "t", .desc = "TABLE DATA", .section = 3, .schema = "s"}
    );
    maker.entry(
        {.id = 6,
         .data = true,
         .tag = "16400..16401",
         .desc = "BLOBS",
         .section = 3,
         .dependencies = {1}}
    );
    maker.entry(
        {.id = 8,
         .data = true,
         .tag = "4000000000",
         .desc = "BLOBS",
         .section = 3,
         .dependencies = {4}}
    );
    maker.table_block(5, {"x\n"});
    maker.objects_block(6, {{16400, {"abc", "def"}}, {16401, {}}});
    maker.objects_block(8, {{4000000000U, {"z"}}});
    const Split parts = split(maker.bytes());
    EXPECT_EQ(parts.result.large_objects, 3U);
    EXPECT_EQ(parts.result.large_object_bytes, 7U);
    ASSERT_TRUE(parts.streams.streams().contains("p/blobs/16400..16401"));
    ASSERT_TRUE(parts.streams.streams().contains("p/blobs/4000000000"));

    const ArchiveComposer composer{parts.streams, "p/"};
    MemoryBytes composed;
    composer.compose({.shape = ComposeShape::kFile}, composed);
    // The pieces were joined; the rest is as it was.
    ArchiveMaker expected{16};
    expected.table_block(5, {"x\n"});
    expected.objects_block(6, {{16400, {"abcdef"}}, {16401, {}}});
    expected.objects_block(7, {{4000000000U, {"z"}}});
    EXPECT_TRUE(as_text(composed.bytes()).ends_with(expected.bytes()));

    const auto shares = composer.plan_shares(4);
    ASSERT_EQ(shares.size(), 2U);
    EXPECT_THAT(shares[0].entries, ElementsAre(0, 1, 2, 3, 5, 6))
        << "what makes large objects goes with what fills them";
    EXPECT_THAT(shares[1].entries, ElementsAre(4));
    MemoryBytes pre;
    composer.compose({.shape = ComposeShape::kPreData}, pre);
    EXPECT_TRUE(Toc::parse(pre.bytes()).entries().empty());
}

TEST(ArchiveSplitter, LargeObjectsDoNotDependOnTheDumpsPieces) {
    const std::string content(200'000, 'q');
    std::vector<std::string> streams;
    for (const std::size_t piece : {std::size_t{1000}, std::size_t{16384}, std::size_t{200'000}}) {
        ArchiveMaker maker{14};
        maker.header();
        maker.integer(1);
        maker.entry({.id = 6, .data = true, .tag = "BLOBS", .desc = "BLOBS", .section = 3});
        std::vector<std::string> pieces;
        for (std::size_t i = 0; i < content.size(); i += piece) {
            pieces.push_back(content.substr(i, piece));
        }
        maker.objects_block(6, {{5, pieces}, {6, {"x"}}});
        streams.emplace_back(stream(split(maker.bytes(), 777), "blobs"));
    }
    EXPECT_EQ(streams[0], streams[1]);
    EXPECT_EQ(streams[1], streams[2]);
}

TEST(ArchiveSplitter, WhatIsNotUnderstoodIsStoredWhole) {
    const auto with = [](std::size_t at, int value) {
        std::string bytes = small_archive(14).bytes();
        bytes[at] = static_cast<char>(value);
        return bytes;
    };
    const std::vector<std::pair<std::string, std::string>> cases{
        {with(6, 17), "archive version 1.17-0"},
        {with(6, 12), "archive version 1.12-0"},
        {with(5, 2), "archive version 2.14-0"},
        {with(8, 8), "integers of 8"},
        {with(9, 4), "offsets of 4"},
        {with(10, 3), "format 3"},
        {with(12, 6), "compressed"},
        {with(16, 9), "at byte"},
    };
    for (const auto& [bytes, reason] : cases) {
        const Split parts = split(bytes, 3);
        EXPECT_FALSE(parts.result.understood) << reason;
        EXPECT_THAT(parts.result.opaque_reason, HasSubstr(reason));
        ASSERT_EQ(parts.streams.streams().size(), 1U);
        EXPECT_EQ(stream(parts, "archive"), bytes);
        EXPECT_EQ(
            parts.streams.streams().at("p/archive").spec.attributes.at("reason"),
            parts.result.opaque_reason
        );
    }
    ArchiveMaker twice{14};
    twice.header();
    twice.integer(2);
    twice.entry({.id = 1, .tag = "a", .desc = "TABLE"});
    twice.entry({.id = 1, .tag = "b", .desc = "TABLE"});
    EXPECT_THAT(failure(twice.bytes()), HasSubstr("opaque: dump id 1 occurs twice"));
}

TEST(ArchiveSplitter, BrokenDataIsAnErrorThatNamesThePlace) {
    const auto archive = [](const auto& add) {
        ArchiveMaker maker = small_archive(14);
        maker.raw().resize(maker.raw().size() - 11);  // The block of u.
        add(maker);
        return maker.bytes();
    };
    EXPECT_THAT(
        failure(archive([](auto&) {})), HasSubstr("the data of TABLE DATA public.u is missing")
    );
    EXPECT_THAT(
        failure(archive([](auto& m) { m.byte(2); })), HasSubstr("2 is no type of a data block")
    );
    EXPECT_THAT(
        failure(archive([](auto& m) { m.table_block(70, {}); })), HasSubstr("public.t comes twice")
    );
    EXPECT_THAT(
        failure(archive([](auto& m) { m.table_block(7, {}); })),
        HasSubstr("entry 7, which has no data")
    );
    EXPECT_THAT(failure(archive([](auto& m) { m.objects_block(80, {}); })), HasSubstr("of type 3"));
    const std::string negative = archive([](auto& m) {
        m.byte(1);
        m.integer(80);
        m.integer(-5);
    });
    EXPECT_THAT(
        failure(negative), HasSubstr("in the data of TABLE DATA public.u, -5 is no length")
    );
    const std::string sign = archive([](auto& m) {
        m.byte(1);
        m.integer(80);
        m.byte(9);
        m.raw() += "1234";
    });
    for (const std::size_t step : {1U, 1000U}) {
        EXPECT_THAT(failure(sign, step), HasSubstr("no valid sign"));
    }
    EXPECT_THAT(failure("", 1), HasSubstr("there is nothing"));
    EXPECT_THAT(failure("PGD"), HasSubstr("cut off"));
    EXPECT_THAT(failure("-- PostgreSQL database dump\n"), HasSubstr("no pg_dump archive"));
}

TEST(ArchiveSplitter, AHugeLengthCostsNoMemory) {
    ArchiveMaker maker{14};
    maker.header();
    maker.integer(1);
    maker.integer(1);
    maker.integer(0);
    maker.text("1");
    maker.text("1");
    maker.integer(2'000'000'000);  // The tag.
    MemoryStreams streams;
    ArchiveSplitter splitter{streams, "p/"};
    splitter.write(as_bytes(maker.bytes()));
    const Bytes filler(kMiB);
    for (int i = 0; i < 70; ++i) {
        splitter.write(filler);
    }
    const SplitResult result = splitter.finish();
    EXPECT_FALSE(result.understood);
    EXPECT_THAT(result.opaque_reason, HasSubstr("larger than 64 MiB"));
    EXPECT_EQ(streams.streams().at("p/archive").bytes.size(), maker.bytes().size() + 70 * kMiB);

    try {
        static_cast<void>(Toc::parse(to_bytes(maker.bytes())));
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kVaultCorrupt);
        EXPECT_THAT(error.what(), HasSubstr("entry 1"));
    }
}

TEST(ArchiveComposer, AStreamThatIsMissingOrShortIsNamed) {
    const Split parts = split(small_archive(14).bytes());
    MemoryStreams incomplete;
    incomplete.begin(parts.streams.streams().at("p/toc").spec);
    incomplete.write(parts.streams.streams().at("p/toc").bytes);
    incomplete.end();
    try {
        const ArchiveComposer composer{incomplete, "p/"};
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kVaultCorrupt);
        EXPECT_THAT(error.what(), HasSubstr("p/data/public/t"));
    }
    EXPECT_THROW(ArchiveComposer(MemoryStreams{}, "p/"), Error);
}

TEST(ArchiveComposer, OffsetsPointAtBlocksOfAnySize) {
    // Sizes around the piece size: 0, 1, one piece exactly, one more, several.
    const std::vector<std::size_t> sizes{
        0, 1, kPieceBytes - 1, kPieceBytes, kPieceBytes + 1, 3 * kPieceBytes
    };
    ArchiveMaker maker{15};
    maker.header();
    maker.integer(static_cast<int>(sizes.size()));
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        maker.entry(
            {.id = static_cast<int>(100 + i),
             .data = true,
             .tag = std::to_string(i),
             .desc = "TABLE DATA",
             .section = 3,
             .schema = "s"}
        );
    }
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        std::vector<std::string> pieces;
        if (sizes[i] > 0) {
            pieces.emplace_back(sizes[i], static_cast<char>('a' + i));
        }
        maker.table_block(static_cast<int>(100 + i), pieces);
    }
    const Split parts = split(maker.bytes(), 10'000);
    const ArchiveComposer composer{parts.streams, "p/"};
    MemoryBytes out;
    composer.compose({}, out);
    EXPECT_EQ(composer.composed_size({}), out.bytes().size());
    const Toc toc = Toc::parse(out.bytes());
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        EXPECT_EQ(composer.data_size(i), sizes[i]);
        const std::uint64_t offset = toc.entries()[i].data_offset;
        ASSERT_LT(offset + kBlockHeaderBytes, out.bytes().size());
        EXPECT_EQ(out.bytes()[offset], std::byte{1});
        EXPECT_EQ(decode_archive_int(out.bytes().data() + offset + 1), toc.entries()[i].dump_id);
    }
}

TEST(StreamNames, AreSafeAndUnique) {
    EXPECT_EQ(stream_name_part("a b/ü"), "a%20b%2F%C3%BC");
    EXPECT_EQ(stream_name_part("."), "%2E");
    EXPECT_EQ(stream_name_part(".."), "%2E%2E");
    EXPECT_EQ(stream_name_part(""), "%00");
    EXPECT_EQ(database_prefix("a/b"), "databases/a%2Fb/");
    StreamNamer namer;
    TocEntry entry;
    entry.desc = "TABLE DATA";
    entry.schema = "s";
    entry.tag = "t";
    EXPECT_EQ(namer.name(entry), "data/s/t");
    EXPECT_EQ(namer.name(entry), "data/s/t+2");
    entry.desc = "FUTURE DATA";
    EXPECT_EQ(namer.name(entry), "other/FUTURE%20DATA/s/t");
}

TEST(ArchiveTimes, AreWrittenAndRead) {
    const auto time = ArchiveTime::parse("2024-02-29T12:34:56");
    ASSERT_TRUE(time.has_value());
    EXPECT_EQ(time->to_string(), "2024-02-29T12:34:56");
    EXPECT_EQ(ArchiveTime::parse("2024-07-01T00:00:00+dst")->is_dst, 1);
    for (const char* text :
         {"", "2024-13-01T00:00:00", "2024-02-29 12:34:56", "2024-02-29T12:34:56Z", "x"}) {
        EXPECT_FALSE(ArchiveTime::parse(text).has_value()) << text;
    }
}

}  // namespace
}  // namespace holdfast::postgres
