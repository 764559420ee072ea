#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

using testing::HasSubstr;

class FlexibleServers : public ApiFixture {};

TEST_F(FlexibleServers, ARegistrationNeverShowsItsPassword) {
    const Answer answer = put(server(), server_body());
    ASSERT_EQ(answer.status, 201) << answer.body.dump();
    const Json& properties = answer.body["properties"];
    EXPECT_EQ(properties["fullyQualifiedDomainName"], "db.example");
    EXPECT_EQ(properties["administratorLogin"], "backup");
    EXPECT_EQ(properties["version"], "15");
    EXPECT_EQ(properties["holdfast"]["port"], 5433);
    EXPECT_EQ(properties["holdfast"]["sslMode"], "require");
    EXPECT_EQ(properties["holdfast"]["connection"]["status"], "Succeeded");
    EXPECT_EQ(last_connection(), "db.example:5433 backup hunter2");
    for (const std::string& text :
         {answer.body.dump(),
          get(server()).body.dump(),
          get("/secrets").body.dump(),
          catalog().export_resources().dump()}) {
        EXPECT_THAT(text, testing::Not(HasSubstr("hunter2")));
    }
    EXPECT_EQ(get("/secrets").body["value"], Json::array());
}

TEST_F(FlexibleServers, AnUpdateKeepsThePasswordUntilANewOneIsGiven) {
    make_server();
    EXPECT_EQ(
        call("PATCH", server(), {{"properties", {{"holdfast", {{"port", 6000}}}}}}).status, 200
    );
    EXPECT_EQ(last_connection(), "db.example:6000 backup hunter2");
    const Json changed{{"properties", {{"administratorLoginPassword", "swordfish"}}}};
    EXPECT_EQ(call("PATCH", server(), changed).status, 200);
    EXPECT_EQ(last_connection(), "db.example:6000 backup swordfish");
    ASSERT_EQ(put("/secrets/mine", {{"value", "third"}}).status, 200);
    EXPECT_EQ(
        call(
            "PATCH", server(), {{"properties", {{"holdfast", {{"secretUri", "/secrets/mine"}}}}}}
        ).status,
        200
    );
    EXPECT_EQ(last_connection(), "db.example:6000 backup third");
    EXPECT_EQ(get(server()).body["properties"]["holdfast"]["secretUri"], "/secrets/mine");
}

TEST_F(FlexibleServers, AServerThatDoesNotAnswerIsRegisteredAndSaidSo) {
    fail_connections(Error{ErrorKind::kServerUnreachable, "connection refused"});
    const Answer answer = put(server(), server_body());
    EXPECT_EQ(answer.status, 201);
    const Json& connection = answer.body["properties"]["holdfast"]["connection"];
    EXPECT_EQ(connection["status"], "Failed");
    EXPECT_EQ(connection["error"]["code"], "UserErrorServerConnectionFailed");
    EXPECT_FALSE(answer.body["properties"].contains("version"));
    EXPECT_EQ(get(server() + "/databases").code(), "UserErrorServerConnectionFailed");
}

TEST_F(FlexibleServers, DatabasesAreListedLive) {
    make_server();
    const Json databases = get(server() + "/databases").body["value"];
    ASSERT_EQ(databases.size(), 3U);
    EXPECT_EQ(databases[2]["name"], "empdb11");
    EXPECT_EQ(databases[2]["id"], server() + "/databases/empdb11");
    EXPECT_EQ(get(server() + "/databases/empdb11").body["properties"]["charset"], "UTF8");
    EXPECT_EQ(get(server() + "/databases/ghost").code(), "ResourceNotFound");
}

TEST_F(FlexibleServers, CheckConnectionNamesWhatABackupWouldMiss) {
    make_server();
    Json report = post(server() + "/checkConnection").body;
    EXPECT_EQ(report["status"], "Succeeded");
    EXPECT_EQ(report["databases"].size(), 3U);
    add_finding("MissingConnect", "No CONNECT on app.", "GRANT CONNECT ON DATABASE app TO backup;");
    report = post(server() + "/checkConnection", {{"database", "app"}}).body;
    EXPECT_EQ(report["status"], "Failed");
    EXPECT_EQ(report["findings"][0]["remedies"][0], "GRANT CONNECT ON DATABASE app TO backup;");
}

TEST_F(FlexibleServers, RefusesWhatIsWrongAndSaysWhere) {
    struct Case {
        std::string pointer;
        Json value;
        std::string target;
    };
    const std::vector<Case> cases{
        {"/properties/fullyQualifiedDomainName", "", "properties.fullyQualifiedDomainName"},
        {"/properties/fullyQualifiedDomainName", "a,b", "properties.fullyQualifiedDomainName"},
        {"/properties/fullyQualifiedDomainName", nullptr, "properties.fullyQualifiedDomainName"},
        {"/properties/holdfast/port", 70000, "properties.holdfast.port"},
        {"/properties/holdfast/port", "5432", "properties.holdfast.port"},
        {"/properties/holdfast/sslMode", "maybe", "properties.holdfast.sslMode"},
        {"/properties/holdfast/excludedDatabases", "a", "properties.holdfast.excludedDatabases"},
        {"/properties/holdfast/secretUri", "/secrets/x", "properties.administratorLoginPassword"},
        {"/properties/administratorLoginPassword", "", "properties.administratorLoginPassword"},
    };
    for (const Case& one : cases) {
        Json body = server_body();
        body[Json::json_pointer{one.pointer}] = one.value;
        const Answer answer = put(server(), body);
        EXPECT_EQ(answer.status, 400) << one.pointer;
        EXPECT_EQ(answer.body["error"]["target"], one.target) << answer.body.dump();
        EXPECT_THAT(answer.body.dump(), testing::Not(HasSubstr("hunter2")));
    }
    EXPECT_EQ(get(server()).status, 404);
    EXPECT_EQ(put(server("a$b"), server_body()).code(), "InvalidResourceName");
}

TEST_F(FlexibleServers, AProtectedServerIsNotDeleted) {
    EXPECT_EQ(del(server()).status, 204);
    protect();
    const Answer refused = del(server());
    EXPECT_EQ(refused.status, 409);
    EXPECT_EQ(refused.code(), "UserErrorServerIsProtected");
    EXPECT_THAT(refused.body["error"]["message"].get<std::string>(), HasSubstr("BI"));
    EXPECT_EQ(post(vault() + "/backupInstances/BI/stopProtection").status, 202);
    EXPECT_EQ(del(server()).status, 200);
    EXPECT_EQ(get(server()).status, 404);
}

TEST_F(FlexibleServers, AreListed) {
    make_server("One");
    make_server("Two");
    const std::string below = "/providers/Microsoft.DBforPostgreSQL/flexibleServers";
    EXPECT_EQ(get(group("ossrg") + below).body["value"].size(), 2U);
    EXPECT_EQ(
        get(fmt::format("/subscriptions/{}{}", kSubscription, below)).body["value"].size(), 2U
    );
}

}  // namespace
}  // namespace holdfast::control
