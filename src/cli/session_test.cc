#include "cli/session.h"

#include "cli/testing/fake_server.h"

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

const std::vector<std::string> kStop{
    "backup-instance", "stop-protection", "-g", "rg", "-v", "v", "-n", "b"
};
const std::vector<std::string> kShow{"backup-vault", "show", "-g", "rg", "-v", "v"};

TEST(Operations, TheSleepIsWhatTheServerSays) {
    CommandLine line;
    line.server.answer({.status = 202, .headers = {{"azure-asyncoperation", "/s"}}})
        .answer({.body = {{"status", "Inprogress"}}, .headers = {{"retry-after", "7"}}})
        .answer({.body = {{"status", "whatever"}}, .headers = {{"retry-after-ms", "200"}}})
        .answer({.body = {{"status", "Inprogress"}}, .headers = {{"retry-after", "99999"}}})
        .answer({.body = {{"status", "SUCCEEDED"}}});
    EXPECT_EQ(line.run(kStop).exit_code, 0);
    using std::chrono::milliseconds;
    EXPECT_EQ(
        line.clock.waits,
        (std::vector<std::chrono::microseconds>{
            milliseconds{7000}, milliseconds{200}, milliseconds{30000}
        })
    );
}

TEST(Operations, AFailureIsTheErrorOfTheStatus) {
    CommandLine line;
    line.server
        .answer({.status = 202, .headers = {{"azure-asyncoperation", "/s"}, {"location", "/l"}}})
        .answer(
            {.body = Json::parse(
                 R"({"status":"Failed","error":{"code":"UserErrorX","message":"Why.","target":"t"}})"
             )}
        );
    const Outcome outcome = line.run(kStop);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(
        outcome.err, "ERROR: (UserErrorX) Why.\nCode: UserErrorX\nMessage: Why.\nTarget: t\n"
    );

    line.server.answer({.status = 202, .headers = {{"azure-asyncoperation", "/s"}}}
    ).answer({.body = {{"status", "Canceled"}}});
    EXPECT_EQ(line.run(kStop).exit_code, 1);
    line.server.answer({.status = 202, .headers = {{"azure-asyncoperation", "/s"}}}
    ).answer({.body = {{"no", "status"}}});
    EXPECT_EQ(line.run(kStop).exit_code, 1);
}

TEST(Operations, ALocationAloneIsPolledUntilItIsNot202) {
    CommandLine line;
    line.server.answer({.status = 202, .headers = {{"location", "https://x:1/l"}}})
        .answer({.status = 202})
        .answer({.status = 200, .body = {{"properties", {{"name", "r"}}}}});
    const Outcome outcome = line.run(
        {"restorable-time-range",
         "find",
         "-g",
         "rg",
         "-v",
         "v",
         "-n",
         "b",
         "--source-data-store-type",
         "vaultstore"}
    );
    EXPECT_EQ(Json::parse(outcome.out), Json::parse(R"({"properties":{"name":"r"}})"));
}

TEST(Operations, APutWithoutAnOperationIsJudgedByItsState) {
    CommandLine line;
    const auto state = [](const char* word) {
        return FakeServer::Answer{.body = {{"properties", {{"provisioningState", word}}}}};
    };
    line.server.answer(state("Updating")).answer(state("Succeeded"));
    const std::vector<std::string> create{
        "backup-vault", "create", "-g", "rg", "-v", "v", "-l", "x", "--storage-settings", "type=T"
    };
    EXPECT_EQ(line.run(create).exit_code, 0);
    EXPECT_EQ(line.server.requests.at(1).method, "GET");
    line.server.answer(state("Failed"));
    EXPECT_EQ(line.run(create).exit_code, 1);
}

TEST(Session, ABusyServerIsAskedAgain) {
    CommandLine line;
    line.server.answer({.status = 503})
        .answer({.status = 429, .headers = {{"retry-after", "3"}}})
        .answer({.body = {{"name", "v"}}});
    EXPECT_EQ(line.run(kShow).exit_code, 0);
    EXPECT_EQ(line.clock.waits.at(1), std::chrono::seconds{3});
    line.server.always({.status = 503});
    const Outcome outcome = line.run(kShow);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_EQ(line.server.requests.size(), 7U);  // Four attempts, not for ever.
}

TEST(Session, WhatChangesSomethingIsNotRepeatedAfterAnInternalError) {
    CommandLine line;
    line.server.always({.status = 500});
    EXPECT_EQ(line.run(kStop).exit_code, 1);
    EXPECT_EQ(line.server.requests.size(), 1U);
}

TEST(Session, NotFoundIsExitCodeThree) {
    CommandLine line;
    line.server.answer(
        {.status = 404, .body = {{"error", {{"code", "ResourceNotFound"}, {"message", "m"}}}}}
    );
    EXPECT_EQ(line.run(kShow).exit_code, 3);
}

TEST(Session, WithoutALoginItSaysHow) {
    CommandLine line;
    line.variables.erase("HOLDFAST_SERVER");
    const Outcome outcome = line.run(kShow);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_NE(outcome.err.find("holdfast login"), std::string::npos);
}

TEST(Session, FindsTheSubscriptionByName) {
    CommandLine line;
    const Json rows{
        {"value",
         {{{"subscriptionId", "S1"}, {"displayName", "One"}},
          {{"subscriptionId", "S2"}, {"displayName", "Two"}}}}
    };
    std::vector<std::string> words = kShow;
    words.insert(words.end(), {"--subscription", "two"});
    line.server.answer({.body = rows}).answer({.body = {{"name", "v"}}});
    EXPECT_EQ(line.run(words).exit_code, 0);
    EXPECT_NE(line.server.requests.at(1).url.find("/subscriptions/S2/"), std::string::npos);
    words.back() = "three";
    line.server.answer({.body = rows});
    const Outcome missing = line.run(words);
    EXPECT_EQ(missing.exit_code, 3);
    EXPECT_EQ(
        missing.err.find("ERROR: Subscription 'three' not found. Check the spelling and casing."),
        0U
    );
}

TEST(Session, AddsTheResourceGroupAtAnyDepth) {
    const Json in = Json::parse(
        R"([{"id":"/subscriptions/S/resourcegroups/G1/x/y","p":{"id":"/subscriptions/S/resourceGroups/G2"}},
            {"id":"/subscriptions/S","resourceGroup":"kept"},{"id":"Default_"},{"id":null},{"id":5},7])"
    );
    EXPECT_EQ(
        with_resource_group(in),
        Json::parse(
            R"([{"id":"/subscriptions/S/resourcegroups/G1/x/y","resourceGroup":"G1",
                 "p":{"id":"/subscriptions/S/resourceGroups/G2","resourceGroup":"G2"}},
                {"id":"/subscriptions/S","resourceGroup":"kept"},{"id":"Default_"},{"id":null},{"id":5},7])"
        )
    );
}

TEST(Session, TheTokenIsSentAndNeverShown) {
    CommandLine line;
    const auto file = line.directory.path() / "token";
    write_file_durably(file, as_bytes("t0ken\n"), 0600, Overwrite::kYes);
    line.variables["HOLDFAST_TOKEN_FILE"] = file.string();
    line.server.answer({.status = 500});
    std::vector<std::string> words = kShow;
    words.insert(words.end(), {"--debug"});
    const Outcome outcome = line.run(words);
    EXPECT_EQ(line.server.requests.at(0).headers.at("Authorization"), "Bearer t0ken");
    EXPECT_NE(outcome.err.find("GET https://localhost:8443/"), std::string::npos);
    EXPECT_EQ(outcome.err.find("t0ken"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::cli
