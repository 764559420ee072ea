#include "control/http/message.h"

#include "base/error.h"

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

TEST(ParseTarget, splits_before_decoding_and_collapses_slashes) {
    const Target target =
        parse_target("//subscriptions/a%2Fb//x%20y?api-version=2024-04-01&$filter=a+eq%20'b'");
    EXPECT_EQ(target.path, (std::vector<std::string>{"subscriptions", "a/b", "x y"}));
    EXPECT_EQ(target.query.get_or("API-Version", ""), "2024-04-01");
    EXPECT_EQ(target.query.get_or("$filter", ""), "a eq 'b'");
}

TEST(ParseTarget, takes_the_absolute_form) {
    EXPECT_EQ(parse_target("https://host:1/a/b").path, (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(parse_target("https://host:1").path.empty());
}

TEST(ParseTarget, refuses_tricks) {
    for (const std::string_view raw :
         {"a/b",
          "",
          "*",
          "/a/../b",
          "/a/%2e%2e/b",
          "/a/./b",
          "/a%",
          "/a%2",
          "/a%zz",
          "/a%00b",
          "/a%0d%0ab",
          "/%ff",
          "/%c0%af",
          "/%ed%a0%80",
          "/a#b",
          "/a?x=%ff",
          "/a?%01=1"}) {
        EXPECT_THROW((void)parse_target(raw), Error) << raw;
        try {
            (void)parse_target(raw);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::kBadRequest) << raw;
        }
    }
}

TEST(Headers, compare_names_without_case) {
    Headers headers;
    headers.add("Content-Type", "a");
    headers.set("content-type", "b");
    EXPECT_EQ(headers.get_or("CONTENT-TYPE", ""), "b");
    EXPECT_EQ(headers.fields().size(), 1U);
}

struct RangeCase {
    std::string range;
    int status;
    std::uint64_t offset;
    std::uint64_t size;
};

TEST(FileReply, answers_ranges) {
    const std::vector<RangeCase> cases{
        {"", 200, 0, 100},
        {"bytes=0-9", 206, 0, 10},
        {"bytes=90-", 206, 90, 10},
        {"bytes=-5", 206, 95, 5},
        {"bytes=-500", 206, 0, 100},
        {"bytes=50-5000", 206, 50, 50},
        {"bytes=100-", 416, 0, 0},
        {"bytes=-0", 416, 0, 0},
        {"bytes=9-2", 200, 0, 100},
        {"bytes=0-1,4-5", 200, 0, 100},
        {"lines=0-1", 200, 0, 100},
        {"bytes=x-", 200, 0, 100},
    };
    for (const RangeCase& row : cases) {
        Request request;
        if (!row.range.empty()) {
            request.headers.set("Range", row.range);
        }
        const Reply reply = file_reply(request, FileDescriptor{}, 100, "\"e\"");
        EXPECT_EQ(reply.status, row.status) << row.range;
        if (row.status == 416) {
            EXPECT_EQ(reply.headers.get_or("Content-Range", ""), "bytes */100");
            continue;
        }
        const auto& body = std::get<FileBody>(reply.body);
        EXPECT_EQ(body.offset, row.offset) << row.range;
        EXPECT_EQ(body.size, row.size) << row.range;
    }
    Request stale;
    stale.headers.set("Range", "bytes=0-9");
    stale.headers.set("If-Range", "\"other\"");
    EXPECT_EQ(file_reply(stale, FileDescriptor{}, 100, "\"e\"").status, 200);
}

}  // namespace
}  // namespace holdfast::control
