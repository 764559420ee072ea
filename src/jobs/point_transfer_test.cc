#include "jobs/point_transfer.h"

#include "jobs/point_transfer_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using testing::source_of;
using ::testing::HasSubstr;

std::shared_ptr<postgres::MemoryStreams> sample() {
    auto streams = std::make_shared<postgres::MemoryStreams>();
    for (const auto& [name, size] :
         std::map<std::string, std::size_t>{{"data/a", 0}, {"data/b", 3'000'000}, {"wal/c", 7}}) {
        streams->begin(
            {.name = name,
             .kind = postgres::StreamKind::kTableData,
             .attributes = {{"mode", "600"}}}
        );
        streams->write(as_bytes(std::string(size, 'x')));
        streams->end();
    }
    return streams;
}

std::string all_of(FrameSource& source) {
    std::string out;
    for (std::string block = source.next(); !block.empty(); block = source.next()) {
        out += block;
    }
    return out;
}

FrameReader reader_of(const std::string& bytes) {
    auto left = std::make_shared<ByteSpan>(as_bytes(bytes));
    return FrameReader{[left](MutableByteSpan out) {
        const std::size_t got = std::min<std::size_t>({out.size(), left->size(), 1000});
        std::copy_n(left->begin(), got, out.begin());
        *left = left->subspan(got);
        return got;
    }};
}

ErrorKind fault_of(FrameReader reader) {
    try {
        while (reader.next().kind != FrameKind::kEnd) {
        }
    } catch (const Error& error) {
        return error.kind();
    }
    return ErrorKind::kInternal;
}

TEST(PointTransfer, ListsWhatIsBelowAPrefix) {
    const std::string bytes = all_of(*send_listing(source_of(sample()), "data/"));
    FrameReader reader = reader_of(bytes);
    const postgres::StreamInfo first = parse_stream_frame(reader.next());
    EXPECT_EQ(first.spec.name, "data/a");
    EXPECT_EQ(first.spec.kind, postgres::StreamKind::kTableData);
    EXPECT_EQ(first.spec.attributes.at("mode"), "600");
    EXPECT_EQ(parse_stream_frame(reader.next()).size, 3'000'000U);
    EXPECT_EQ(reader.next().kind, FrameKind::kEnd);
}

TEST(PointTransfer, SendsContentsInTheOrderAskedFor) {
    const std::string bytes = all_of(*send_streams(source_of(sample()), {"data/b", "data/a"}));
    FrameReader reader = reader_of(bytes);
    EXPECT_EQ(parse_stream_frame(reader.next()).spec.name, "data/b");
    std::size_t got = 0;
    Frame frame = reader.next();
    for (; frame.kind == FrameKind::kData; frame = reader.next()) {
        got += frame.payload.size();
    }
    EXPECT_EQ(got, 3'000'000U);
    EXPECT_EQ(frame.kind, FrameKind::kStreamEnd);
    EXPECT_EQ(parse_stream_frame(reader.next()).spec.name, "data/a");
    EXPECT_EQ(reader.next().kind, FrameKind::kStreamEnd);
    EXPECT_EQ(reader.next().kind, FrameKind::kEnd);
}

TEST(PointTransfer, AFaultOfTheSenderReachesTheReceiverInItsWords) {
    const std::string bytes = all_of(*send_streams(source_of(sample()), {"data/a", "nonesuch"}));
    EXPECT_EQ(fault_of(reader_of(bytes)), ErrorKind::kObjectNotFound);
}

TEST(PointTransfer, WhatIsCutOrForeignIsNeverTakenForWhole) {
    const std::string bytes = all_of(*send_streams(source_of(sample()), {"wal/c"}));
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        EXPECT_EQ(
            fault_of(reader_of(bytes.substr(0, length))), ErrorKind::kServerNotReachable
        ) << length;
    }
    EXPECT_EQ(fault_of(reader_of("HTTP/1.1 200 OK")), ErrorKind::kVaultCorrupt);
    std::string long_frame = bytes;
    long_frame[4] = '\x7f';
    EXPECT_EQ(fault_of(reader_of(long_frame)), ErrorKind::kVaultCorrupt);
}

TEST(PointTransfer, AReceiverThatLeavesEndsTheListing) {
    auto many = std::make_shared<postgres::MemoryStreams>();
    for (int i = 0; i < 40'000; ++i) {
        many->begin({.name = "data/" + std::string(100, 'n') + std::to_string(i)});
        many->end();
    }
    auto listing = send_listing(source_of(many), "");
    EXPECT_GT(listing->next().size(), 0U);
    listing.reset();  // Joins: the thread does not wait for a reader for ever.
}

}  // namespace
}  // namespace holdfast::jobs
