// What holds for every request, whatever it asks for.
#include "control/routes/testing/api_fixture.h"

#include <algorithm>
#include <array>
#include <thread>

namespace holdfast::control {
namespace {

using testing::HasSubstr;

class Conventions : public ApiFixture {};

TEST_F(Conventions, AVersionIsAskedForAndJudged) {
    EXPECT_EQ(raw("GET", vault(), "").code(), "MissingApiVersionParameter");
    for (const char* version : {"banana", "2024-13-01", "2024-4-1", "2020-12-31", ""}) {
        const Answer answer = raw("GET", vault() + "?api-version=" + version, "");
        EXPECT_EQ(answer.status, 400) << version;
        EXPECT_THAT(answer.code(), HasSubstr("ApiVersionParameter")) << version;
    }
    for (const char* version : {"2021-01-01", "2024-04-01", "2026-04-01-preview"}) {
        EXPECT_EQ(raw("GET", vault() + "?api-version=" + version, "").status, 404) << version;
    }
}

TEST_F(Conventions, UnknownPathsAndVerbsAreErrorsOfTheirOwn) {
    const Answer nowhere = get("/subscriptions/x/nothing/here");
    EXPECT_EQ(nowhere.status, 404);
    EXPECT_EQ(nowhere.code(), "ResourceNotFound");
    const Answer verb = call("PATCH", vault() + "/backupPolicies/P", Json::object());
    EXPECT_EQ(verb.status, 405);
    EXPECT_EQ(verb.code(), "MethodNotAllowed");
    EXPECT_THAT(verb.header("Allow"), HasSubstr("PUT"));
    EXPECT_EQ(call("BREW", vault()).status, 405);
}

TEST_F(Conventions, ABodyThatIsNoJsonChangesNothing) {
    const std::string target = vault() + "?api-version=2024-04-01";
    for (const char* body :
         {"", "{", "[]", "\"x\"", R"({"location":"westus","properties":{"stor)"}) {
        const Answer answer = raw("PUT", target, body);
        EXPECT_EQ(answer.status, 400) << body;
        EXPECT_EQ(answer.code(), "InvalidRequestContent") << body;
    }
    EXPECT_EQ(get(vault()).status, 404);
    EXPECT_EQ(get(group()).code(), "ResourceGroupNotFound");
}

TEST_F(Conventions, AWrongTypeIsNamedByItsPath) {
    Json body = vault_body();
    body["properties"]["storageSettings"][0]["type"] = 5;
    const Answer answer = put(vault(), body);
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.code(), "InvalidRequestContent");
    EXPECT_EQ(answer.body["error"]["target"], "properties.storageSettings[0].type");
    EXPECT_THAT(answer.body["error"]["message"].get<std::string>(), HasSubstr("number 5"));
    EXPECT_FALSE(answer.body["error"].contains("details"));
    EXPECT_FALSE(answer.body["error"]["additionalInfo"][0]["info"]["recommendedAction"].empty());
}

TEST_F(Conventions, UnknownPropertiesAreIgnoredAndSaidSo) {
    Json body = vault_body();
    body["colour"] = "blue";
    body["properties"]["moodSettings"] = Json{{"state", "On"}};
    const Answer answer = put(vault(), body);
    ASSERT_EQ(answer.status, 201) << answer.body.dump();
    EXPECT_EQ(answer.header("x-holdfast-ignored"), "colour, properties.moodSettings");
}

TEST_F(Conventions, IdsCompareWithoutCaseAndStayAsFirstWritten) {
    make_vault();
    std::string other = vault();
    std::transform(other.begin(), other.end(), other.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    });
    const Answer shown = get(other);
    EXPECT_EQ(shown.status, 200);
    EXPECT_EQ(shown.body["id"], vault());
    EXPECT_EQ(shown.body["name"], "TestBkpVault");
    EXPECT_EQ(put(other, vault_body()).body["id"], vault());
    EXPECT_EQ(get("//subscriptions//" + vault().substr(15)).status, 200);
}

TEST_F(Conventions, EtagsGuardWrites) {
    make_vault();
    const std::string etag = get(vault()).header("ETag");
    ASSERT_FALSE(etag.empty());
    Headers headers;
    headers.set("If-Match", "\"another\"");
    EXPECT_EQ(call("PUT", vault(), vault_body(), headers).status, 412);
    EXPECT_EQ(call("DELETE", vault(), nullptr, headers).status, 412);
    headers.set("If-Match", etag);
    EXPECT_EQ(call("PUT", vault(), vault_body(), headers).status, 200);
    EXPECT_EQ(call("PUT", vault(), vault_body(), headers).status, 412);
    Headers create_only;
    create_only.set("If-None-Match", "*");
    EXPECT_EQ(call("PUT", vault(), vault_body(), create_only).status, 412);
}

TEST_F(Conventions, OfTwoWritersOfOneVersionOneWins) {
    make_vault();
    make_policy();
    const std::string policy = vault() + "/backupPolicies/P";
    for (const std::string& path : {vault(), policy}) {
        for (int round = 0; round < 5; ++round) {
            Headers headers;
            headers.set("If-Match", get(path).header("ETag"));
            std::array<int, 4> statuses{};
            {
                std::vector<std::jthread> writers;
                for (std::size_t i = 0; i < statuses.size(); ++i) {
                    writers.emplace_back([&, i] {
                        Json body = path == policy ? policy_body() : vault_body();
                        body["tags"] = {{"writer", std::to_string(i)}};
                        if (path == policy) {
                            body["properties"]["policyRules"][1]["lifecycles"][0]["deleteAfter"]
                                ["duration"] =
                                    fmt::format("P{}D", 10 + 10 * round + static_cast<int>(i));
                        }
                        statuses[i] = call("PUT", path, body, headers).status;
                    });
                }
            }
            EXPECT_EQ(std::count(statuses.begin(), statuses.end(), 200), 1) << path;
            for (const int status : statuses) {
                // Refused by the condition, or because another writer is at work right now.
                EXPECT_TRUE(status == 200 || status == 412 || status == 409) << status;
            }
        }
    }
}

TEST_F(Conventions, AMegabyteOfTagsIsRefused) {
    Json body = vault_body();
    body["tags"] = {{"k", std::string(1 << 20, 'x')}};
    const Answer huge = put(vault(), body);
    EXPECT_EQ(huge.status, 400);
    EXPECT_EQ(huge.body["error"]["target"], "tags.k");
    EXPECT_LT(huge.body.dump().size(), 4096U);
    body["tags"] = Json::object();
    for (int i = 0; i < 5000; ++i) {
        body["tags"]["key" + std::to_string(i)] = std::string(200, 'x');
    }
    EXPECT_EQ(put(vault(), body).status, 400);
    EXPECT_EQ(get(vault()).status, 404);
}

TEST_F(Conventions, WithoutARoleNothingIsSeen) {
    make_vault();
    EXPECT_EQ(call("GET", vault(), nullptr, {}, "stranger").code(), "AuthorizationFailed");
    EXPECT_EQ(call("PUT", vault("Other"), vault_body(), {}, "stranger").status, 403);
    EXPECT_EQ(get(vault("Other")).status, 404);
    const std::string all = fmt::format(
        "/subscriptions/{}/providers/Microsoft.DataProtection/backupVaults", kSubscription
    );
    EXPECT_EQ(call("GET", all, nullptr, {}, "stranger").body["value"], Json::array());
    grant("reader", "Reader", vault());
    EXPECT_EQ(call("GET", all, nullptr, {}, "reader").body["value"].size(), 1U);
    EXPECT_EQ(call("DELETE", vault(), nullptr, {}, "reader").status, 403);
}

}  // namespace
}  // namespace holdfast::control
