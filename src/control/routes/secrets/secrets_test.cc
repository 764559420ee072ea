#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

using testing::HasSubstr;

class Secrets : public ApiFixture {};

TEST_F(Secrets, LiveAndDie) {
    const Answer set =
        put("/secrets/db?api-version=7.4", {{"value", "pw"}, {"contentType", "text"}});
    ASSERT_EQ(set.status, 200) << set.body.dump();
    const std::string id = set.body["id"];
    EXPECT_THAT(id, testing::StartsWith("https://localhost:8443/secrets/db/"));
    EXPECT_EQ(get("/secrets/db").body["value"], "pw");
    EXPECT_EQ(get("/secrets/db").body["attributes"]["enabled"], true);
    EXPECT_EQ(get(id.substr(std::string{"https://localhost:8443"}.size())).body["value"], "pw");
    // The newest wins also when the clock went back in between.
    clock().advance(std::chrono::seconds{-5});
    ASSERT_EQ(put("/secrets/db", {{"value", "newer"}}).status, 200);
    EXPECT_EQ(get("/secrets/db").body["value"], "newer");
    EXPECT_EQ(get("/secrets/db/versions").body["value"].size(), 2U);
    const Answer list = get("/secrets?maxresults=25");
    ASSERT_EQ(list.body["value"].size(), 1U);
    EXPECT_EQ(list.body["value"][0]["id"], "https://localhost:8443/secrets/db");
    EXPECT_THAT(list.body.dump(), testing::Not(HasSubstr("newer")));
    EXPECT_EQ(del("/secrets/db").status, 200);
    EXPECT_EQ(get("/secrets/db").code(), "SecretNotFound");
    EXPECT_EQ(del("/secrets/db").status, 404);
}

TEST_F(Secrets, ReadingAValueLeavesATrace) {
    ASSERT_EQ(put("/secrets/db", {{"value", "pw"}}).status, 200);
    EXPECT_EQ(get("/secrets/db").status, 200);
    EXPECT_EQ(call("GET", "/secrets/db", nullptr, {}, "stranger").status, 403);
    std::vector<std::string> actions;
    catalog().read([&](const catalog::View& view) {
        for (const catalog::AuditRecord& record : view.audit(std::nullopt, 10)) {
            actions.push_back(fmt::format("{} {}", record.action, record.status));
        }
    });
    const std::string action = "Microsoft.KeyVault/vaults/secrets/";
    EXPECT_THAT(
        actions,
        testing::ElementsAre(
            action + "getSecret/action 403",
            action + "getSecret/action 200",
            action + "setSecret/action 200"
        )
    );
}

TEST_F(Secrets, AVaultIsTheFirstLabelOfTheHost) {
    Headers other;
    other.set("Host", "kv1.localhost:8443");
    ASSERT_EQ(call("PUT", "/secrets/db", {{"value", "one"}}, other).status, 200);
    ASSERT_EQ(put("/secrets/db", {{"value", "default"}}).status, 200);
    EXPECT_EQ(call("GET", "/secrets/db", nullptr, other).body["value"], "one");
    EXPECT_EQ(get("/secrets/db").body["value"], "default");
}

TEST_F(Secrets, NoHostHeaderReachesThePasswordsOfRegistrations) {
    make_server();
    Headers inside;
    inside.set("Host", "registered-servers.localhost");
    EXPECT_EQ(call("GET", "/secrets", nullptr, inside).status, 404);
    EXPECT_EQ(call("PUT", "/secrets/db", {{"value", "x"}}, inside).status, 404);
}

TEST_F(Secrets, ADisabledSecretIsNotRead) {
    ASSERT_EQ(
        put("/secrets/db", {{"value", "pw"}, {"attributes", {{"enabled", false}}}}).status, 200
    );
    EXPECT_EQ(get("/secrets/db").status, 403);
}

TEST_F(Secrets, RefusesWhatIsWrong) {
    EXPECT_EQ(put("/secrets/db", Json::object()).body["error"]["target"], "value");
    const Answer number = put("/secrets/db", {{"value", 123456789}});
    EXPECT_EQ(number.status, 400);
    EXPECT_THAT(number.body.dump(), testing::Not(HasSubstr("123456789")));
    EXPECT_EQ(put("/secrets/a_b", {{"value", "x"}}).status, 400);
    EXPECT_EQ(put("/secrets/db", {{"value", std::string(30 * 1024, 'x')}}).status, 400);
    EXPECT_EQ(get("/secrets").body["value"], Json::array());
}

}  // namespace
}  // namespace holdfast::control
