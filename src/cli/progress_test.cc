#include "cli/progress.h"

#include "base/bytes.h"
#include "cli/commands/jobs.h"

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

TEST(Progress, ShowsPercentBytesRateAndTimeLeft) {
    const JobProgress progress{
        .label = "Backup empdb11",
        .phase = "database empdb11 (1 of 2)",
        .status = "InProgress",
        .percent = 50,
        .bytes = 1 * kGiB,
        .bytes_all = 2 * kGiB,
        .bytes_per_second = 100 * kMiB,
        .remaining = std::chrono::seconds{75},
    };
    EXPECT_EQ(
        progress_line(progress, 200),
        "Backup empdb11 [##########..........]  50 %  1.0 GiB of 2.0 GiB, 100.0 MiB/s, 1:15 left  "
        "database empdb11 (1 of 2)"
    );
    EXPECT_EQ(progress_line(progress, 80).size(), 79U);
    EXPECT_EQ(progress_line({.label = "Restore x", .status = "Queued"}, 80), "Restore x Queued");
    EXPECT_EQ(
        progress_line({.label = "B", .percent = 250, .remaining = std::chrono::hours{2}}, 80),
        "B [####################] 100 %  2:00:00 left"
    );
}

TEST(Progress, ReadsOwnFiguresElseTheSubTasks) {
    const Json own = Json::parse(R"({"properties":{"status":"InProgress","operation":"Backup",
        "backupInstanceFriendlyName":"db","holdfast":{"progress":{"phase":"p","bytesDone":10,"bytesTotal":20,
        "percent":41,"rateBytesPerSecond":5,"secondsLeft":2}}}})");
    const JobProgress first = progress_of(own);
    EXPECT_EQ(first.label, "Backup db");
    EXPECT_EQ(first.percent, 41);
    EXPECT_EQ(first.bytes_all, 20U);
    EXPECT_EQ(first.remaining, std::chrono::seconds{2});
    const Json tasks = Json::parse(R"({"properties":{"status":"InProgress","extendedInfo":{
        "dataTransferredInBytes":7.0,"subTasks":[{"taskStatus":"Completed","taskProgress":100},
        {"taskStatus":"InProgress","taskProgress":"12.5"}]}}})");
    const JobProgress second = progress_of(tasks);
    EXPECT_EQ(second.percent, 12.5);
    EXPECT_EQ(second.bytes, 7U);
    EXPECT_EQ(progress_of(nullptr).status, "");
}

}  // namespace
}  // namespace holdfast::cli
