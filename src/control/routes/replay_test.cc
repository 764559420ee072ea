#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

class Replay : public ApiFixture {
protected:
    void SetUp() override { protect(); }
    Answer back_up(const std::string& request_id, const std::string& who = "owner") {
        Headers headers;
        if (!request_id.empty()) {
            headers.set("x-ms-client-request-id", request_id);
        }
        return call(
            "POST",
            vault() + "/backupInstances/BI/backup",
            {{"backupRuleOptions", {{"ruleName", "BackupWeekly"}}}},
            headers,
            who
        );
    }
    std::size_t jobs() { return get(vault() + "/backupJobs").body["value"].size(); }
};

TEST_F(Replay, ARepeatGetsTheFirstAnswer) {
    const Answer first = back_up("c1");
    ASSERT_EQ(first.status, 202) << first.body.dump();
    const Answer again = back_up("c1");
    EXPECT_EQ(again.status, 202) << again.body.dump();
    EXPECT_EQ(again.header("Azure-AsyncOperation"), first.header("Azure-AsyncOperation"));
    EXPECT_EQ(again.header("Location"), first.header("Location"));
    EXPECT_EQ(jobs(), 1U);
    run_jobs();
    // Also once the job is over, for a quarter of an hour.
    EXPECT_EQ(back_up("c1").header("Location"), first.header("Location"));
    EXPECT_EQ(jobs(), 1U);
    clock().advance(std::chrono::minutes{16});
    EXPECT_EQ(back_up("c1").status, 202);
    EXPECT_EQ(jobs(), 2U);
}

TEST_F(Replay, AnotherRequestIsNoRepeat) {
    grant("second", "Owner", "/");
    ASSERT_EQ(back_up("c1").status, 202);
    EXPECT_EQ(back_up("c2").status, 409);  // A second backup beside the first.
    EXPECT_EQ(back_up("c1", "second").status, 409);
    EXPECT_EQ(back_up("").status, 409);  // Without the header nothing is a repeat.
    EXPECT_EQ(back_up("").status, 409);
    Headers headers;
    headers.set("x-ms-client-request-id", "c1");
    const Answer other_body = call(
        "POST",
        vault() + "/backupInstances/BI/backup",
        {{"backupRuleOptions", {{"ruleName", "Default"}}}},
        headers
    );
    EXPECT_EQ(other_body.status, 409);
    EXPECT_EQ(jobs(), 1U);
}

TEST_F(Replay, ValidationsAndStateChangesToo) {
    Headers headers;
    headers.set("x-ms-client-request-id", "v1");
    Json body{{"backupInstance", instance_body("app")["properties"]}};
    const Answer first = call("POST", vault() + "/validateForBackup", body, headers);
    const Answer again = call("POST", vault() + "/validateForBackup", body, headers);
    ASSERT_EQ(first.status, 202) << first.body.dump();
    EXPECT_EQ(first.header("Location"), again.header("Location"));
    const std::string stop = vault() + "/backupInstances/BI/stopProtection";
    const Answer stopped = call("POST", stop, nullptr, headers);
    ASSERT_EQ(stopped.status, 202);
    EXPECT_EQ(
        call("POST", stop, nullptr, headers).header("Azure-AsyncOperation"),
        stopped.header("Azure-AsyncOperation")
    );
}

}  // namespace
}  // namespace holdfast::control
