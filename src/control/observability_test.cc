// Metrics, access log and alerts of a whole server, over HTTPS.
#include "base/log.h"
#include "control/server.h"
#include "control/testing/https_client.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

using testing::ClientReply;
using testing::HttpsClient;
using ::testing::HasSubstr;
using ::testing::Not;

class ObservabilityTest : public ::testing::Test {
protected:
    ObservabilityTest() {
        std::ofstream{directory.path() / "empty.toml"};
        config = load_config({
            .flags =
                {{"state.directory", (directory.path() / "state").string()},
                 {"server.listen", "127.0.0.1:0"},
                 {"log.access_file", log_file.string()},
                 {"log.level", "error"}},
            .environment = {},
            .file = directory.path() / "empty.toml",
        });
        set_log_level(LogLevel::kError);
        server = std::make_unique<Server>(config, clock);
        token = server->take_owner_credential()->token.text.expose_text();
    }
    ClientReply send(
        const std::string& method, const std::string& target, const std::string& bearer = ""
    ) {
        HttpsClient client{server->port(), *read_file(server->ca_file(), 100000)};
        EXPECT_TRUE(client.connected());
        return client.request(method, target, {.token = bearer});
    }
    std::vector<Json> lines(const std::filesystem::path& file) {
        std::vector<Json> out;
        std::ifstream in{file};
        for (std::string line; std::getline(in, line);) {
            out.push_back(Json::parse(line));
        }
        return out;
    }

    SystemClock clock;
    TemporaryDirectory directory{"holdfast-observe"};
    const std::filesystem::path log_file = directory.path() / "access.log";
    Config config;
    std::unique_ptr<Server> server;
    std::string token;
};

TEST_F(ObservabilityTest, MetricsAreForWhoMayReadThem) {
    EXPECT_EQ(send("GET", "/metrics").status, 401);
    EXPECT_EQ(send("GET", "/metrics", "wrong").status, 401);
    const ClientReply reply = send("GET", "/metrics", token);
    EXPECT_EQ(reply.status, 200);
    EXPECT_THAT(reply.headers.get_or("Content-Type", ""), HasSubstr("version=0.0.4"));
    EXPECT_THAT(reply.body, HasSubstr("holdfast_build_info{version="));
    EXPECT_THAT(
        reply.body,
        HasSubstr("holdfast_http_requests_total{method=\"GET\",route=\"/metrics\",status=\"401\"} 2")
    );
    // What nobody has registered makes no series of its own.
    (void)send("GET", "/nowhere/17", token);
    EXPECT_THAT(send("GET", "/metrics", token).body, Not(HasSubstr("/nowhere/17")));
}

TEST_F(ObservabilityTest, EachRequestIsOneLineWithoutSecrets) {
    const ClientReply reply = send(
        "GET", "/subscriptions?api-version=2022-12-01&sig=QUERYSECRET", token
    );
    ASSERT_EQ(reply.status, 200);
    (void)send("GET", "/subscriptions?api-version=2022-12-01", "STRANGERSTOKEN");
    const auto written = lines(log_file);
    ASSERT_EQ(written.size(), 2U);
    const Json& line = written[0];
    EXPECT_EQ(line["method"], "GET");
    EXPECT_EQ(line["path"], "/subscriptions");
    EXPECT_EQ(line["route"], "/subscriptions");
    EXPECT_EQ(line["status"], 200);
    EXPECT_EQ(line["bytes"], reply.body.size());
    EXPECT_FALSE(line["principal"].get<std::string>().empty());
    EXPECT_THAT(line["address"].get<std::string>(), HasSubstr("127.0.0.1:"));
    EXPECT_EQ(line["requestId"], reply.headers.get_or("x-ms-request-id", ""));
    EXPECT_GE(line["durationUs"].get<std::int64_t>(), 0);
    EXPECT_TRUE(parse_instant(line["time"].get<std::string>()));
    EXPECT_EQ(written[1]["status"], 401);
    EXPECT_EQ(written[1]["code"], "AuthenticationFailed");
    const std::string text = *read_file(log_file, 100000);
    EXPECT_THAT(text, Not(HasSubstr("SECRET")));
    EXPECT_THAT(text, Not(HasSubstr("STRANGERSTOKEN")));
    EXPECT_THAT(text, Not(HasSubstr(token)));
}

TEST_F(ObservabilityTest, ARotatedLogIsOpenedAnewAtReload) {
    (void)send("GET", "/subscriptions?api-version=2022-12-01", token);
    const auto rotated = directory.path() / "access.log.1";
    std::filesystem::rename(log_file, rotated);
    (void)send("GET", "/subscriptions?api-version=2022-12-01", token);
    EXPECT_EQ(lines(rotated).size(), 2U);
    server->reload();
    (void)send("GET", "/subscriptions?api-version=2022-12-01", token);
    EXPECT_EQ(lines(rotated).size(), 2U);
    EXPECT_EQ(lines(log_file).size(), 1U);
}

}  // namespace
}  // namespace holdfast::control
