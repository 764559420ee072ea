#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/text.h"
#include "base/threads.h"

#include <thread>

#include <gtest/gtest.h>
#include <sched.h>

namespace holdfast {
namespace {

TEST(Bytes, RoundTripsHexAndBase64) {
    for (const std::string text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"}) {
        EXPECT_EQ(from_hex(to_hex(as_bytes(text))), to_bytes(text));
        EXPECT_EQ(from_base64(to_base64(as_bytes(text))), to_bytes(text));
        EXPECT_EQ(from_base64url(to_base64url(as_bytes(text))), to_bytes(text));
    }
    EXPECT_EQ(to_base64(as_bytes("foob")), "Zm9vYg==");
    EXPECT_FALSE(from_hex("abc"));
    EXPECT_FALSE(from_hex("zz"));
    EXPECT_FALSE(from_base64("Zm9vYg="));
}

TEST(Clock, FormatsAndParsesInstants) {
    const auto instant = parse_instant("2024-06-26T08:08:02.9188663Z");
    ASSERT_TRUE(instant);
    EXPECT_EQ(format_instant(*instant), "2024-06-26T08:08:02.9188660Z");
    EXPECT_EQ(parse_instant("2024-06-26T10:08:02+02:00"), parse_instant("2024-06-26T08:08:02"));
    EXPECT_FALSE(parse_instant("2024-02-30T00:00:00Z"));
    EXPECT_FALSE(parse_instant("2024-02-03T25:00:00Z"));
    EXPECT_FALSE(parse_instant("banana"));
    EXPECT_FALSE(parse_instant("2024-02-03T10:00:00Zx"));
}

TEST(Clock, FormatsDurations) {
    EXPECT_EQ(format_duration(std::chrono::microseconds{940'886'203}), "PT15M40.886203S");
    EXPECT_EQ(format_duration(std::chrono::microseconds{0}), "PT0S");
    EXPECT_EQ(format_duration(std::chrono::hours{2}), "PT2H");
}

TEST(Text, PercentCodingRoundTrips) {
    EXPECT_EQ(percent_encode("a b/%"), "a%20b%2F%25");
    EXPECT_EQ(percent_decode("a%20b%2F%25"), "a b/%");
    EXPECT_THROW((void)percent_decode("a%2"), Error);
    EXPECT_THROW((void)percent_decode("%zz"), Error);
}

TEST(Ids, GuidsAreGuids) {
    EXPECT_TRUE(is_guid(new_guid()));
    EXPECT_NE(new_guid(), new_guid());
    EXPECT_FALSE(is_guid("not-a-guid"));
}

TEST(File, WritesDurablyWithoutOverwriting) {
    const TemporaryDirectory directory{"holdfast-file-test"};
    const auto path = directory.path() / "a" / "b";
    make_directory_durably(path.parent_path(), 0700);
    EXPECT_TRUE(write_file_durably(path, as_bytes("one"), 0600, Overwrite::kNo));
    EXPECT_FALSE(write_file_durably(path, as_bytes("two"), 0600, Overwrite::kNo));
    EXPECT_EQ(read_file(path, 100), "one");
    EXPECT_TRUE(write_file_durably(path, as_bytes("two"), 0600, Overwrite::kYes));
    EXPECT_EQ(read_file(path, 100), "two");
    EXPECT_THROW((void)read_file(path, 2), Error);
    EXPECT_FALSE(read_file(directory.path() / "none", 100));
}

TEST(File, RefusesASecretThatOthersCanRead) {
    const TemporaryDirectory directory{"holdfast-file-test"};
    const auto path = directory.path() / "secret";
    write_file_durably(path, as_bytes("s"), 0640, Overwrite::kNo);
    try {
        (void)read_secret_file(path, 100);
        FAIL() << "a group-readable secret was read";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kKeyPermissions);
    }
}

TEST(ErrorTable, EveryCodeIsUsable) {
    for (const ErrorKind kind : all_error_kinds()) {
        const ErrorTraits row = traits(kind);
        EXPECT_FALSE(row.arm_code.empty());
        EXPECT_GE(row.http_status, 400);
        EXPECT_GE(row.exit_code, 1);
    }
}

TEST(Threads, ComputeInBatchesWhereTheyAskTo) {
    const int before = ::sched_getscheduler(0);
    int during = -1;
    std::thread{[&during] {
        compute_in_batches();
        during = ::sched_getscheduler(0);
    }}.join();
    EXPECT_EQ(during, SCHED_BATCH);
    EXPECT_EQ(::sched_getscheduler(0), before);
}

TEST(ThreadPool, RunsEverythingBeforeItEnds) {
    std::atomic<int> ran = 0;
    {
        ThreadPool pool{"test", 2, 100};
        for (int i = 0; i < 50; ++i) {
            ASSERT_TRUE(pool.try_submit([&ran] { ++ran; }));
        }
    }
    EXPECT_EQ(ran, 50);
}

}  // namespace
}  // namespace holdfast
