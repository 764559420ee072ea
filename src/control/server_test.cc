#include "control/server.h"

#include "base/log.h"
#include "control/testing/https_client.h"

#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace holdfast::control {
namespace {

using testing::ClientReply;
using testing::HttpsClient;

const std::string kSubscriptions = "/subscriptions?api-version=2022-12-01";

class ServerTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { set_log_level(LogLevel::kError); }

    ServerTest() {
        config = load_config({
            .flags =
                {{"state.directory", (directory.path() / "state").string()},
                 {"server.listen", "127.0.0.1:0"},
                 {"log.level", "error"}},
            .environment = {},
            .file = empty_file(),
        });
    }
    std::filesystem::path empty_file() {
        std::ofstream{directory.path() / "empty.toml"};
        return directory.path() / "empty.toml";
    }
    ClientReply get(
        const Server& server, const std::string& target, const std::string& token = ""
    ) {
        HttpsClient client{server.port(), *read_file(server.ca_file(), 100000)};
        EXPECT_TRUE(client.connected());
        return client.request("GET", target, {.token = token});
    }
    ErrorKind refusal() {
        try {
            const Server server{config, clock};
        } catch (const Error& error) {
            EXPECT_FALSE(error.text().recommended_actions.empty()) << error.what();
            return error.kind();
        }
        ADD_FAILURE() << "started";
        return ErrorKind::kInternal;
    }

    SystemClock clock;
    TemporaryDirectory directory{"holdfast-server"};
    Config config;
};

TEST_F(ServerTest, first_start_makes_what_later_ones_find) {
    std::string token;
    std::string subscription;
    {
        Server server{config, clock};
        token = server.take_owner_token()->expose_text();
        EXPECT_FALSE(server.take_owner_token());
        const Json file = Json::parse(*read_file(config.state.directory / "server.json", 10000));
        EXPECT_EQ(file["port"], server.port());
        EXPECT_EQ(file["url"], server.url());
        EXPECT_EQ(file["caFile"], server.ca_file().string());
        const ClientReply reply = get(server, kSubscriptions, token);
        ASSERT_EQ(reply.status, 200) << reply.body;
        subscription = reply.json()["value"][0]["subscriptionId"];
        const ClientReply groups =
            get(server,
                "/subscriptions/" + subscription + "/resourcegroups?api-version=2021-04-01",
                token);
        EXPECT_EQ(groups.json()["value"][0]["name"], "default");
    }
    EXPECT_FALSE(std::filesystem::exists(config.state.directory / "server.json"));
    Server again{config, clock};
    EXPECT_FALSE(again.take_owner_token());
    EXPECT_EQ(get(again, kSubscriptions, token).json()["value"][0]["subscriptionId"], subscription);
    EXPECT_EQ(get(again, kSubscriptions).status, 401);
}

TEST_F(ServerTest, keeps_the_token_nowhere) {
    std::string token;
    {
        Server server{config, clock};
        token = server.take_owner_token()->expose_text();
        EXPECT_EQ(get(server, kSubscriptions, token).status, 200);
    }
    const std::string secret = token.substr(token.rfind('_') + 1);
    for (const auto& entry : std::filesystem::recursive_directory_iterator{directory.path()}) {
        if (entry.is_regular_file()) {
            EXPECT_EQ(read_file(entry.path(), 1U << 30U)->find(secret), std::string::npos)
                << entry.path();
        }
    }
}

TEST_F(ServerTest, one_server_per_state_directory) {
    {
        Server server{config, clock};
        EXPECT_EQ(refusal(), ErrorKind::kStateDirectoryLocked);
        EXPECT_EQ(get(server, "/healthz").status, 200);
    }
    const Server next{config, clock};
}

TEST_F(ServerTest, never_replaces_a_key) {
    {
        const Server server{config, clock};
    }
    const auto key = config.keys.kek_file;
    const std::string content = *read_file(key, 1000);

    std::filesystem::permissions(key, std::filesystem::perms{0644});
    EXPECT_EQ(refusal(), ErrorKind::kKeyPermissions);
    std::filesystem::remove(key);
    EXPECT_EQ(refusal(), ErrorKind::kKeyMissing);
    EXPECT_FALSE(std::filesystem::exists(key));
    write_file_durably(key, as_bytes("holdfast-key-1:garbage\n"), 0600, Overwrite::kYes);
    EXPECT_EQ(refusal(), ErrorKind::kKeyWrong);
    {
        // Another key of the right form.
        Config other = config;
        other.state.directory = directory.path() / "other";
        other.keys.kek_file = directory.path() / "other/kek.key";
        {
            const Server server{other, clock};
        }
        std::filesystem::copy_file(
            other.keys.kek_file, key, std::filesystem::copy_options::overwrite_existing
        );
    }
    EXPECT_EQ(refusal(), ErrorKind::kKeyWrong);
    write_file_durably(key, as_bytes(content), 0600, Overwrite::kYes);
    const Server server{config, clock};
}

TEST_F(ServerTest, health_needs_no_token_and_says_little) {
    Server server{config, clock};
    EXPECT_EQ(get(server, "/healthz").json(), (Json{{"status", "ok"}}));
    EXPECT_EQ(get(server, "/readyz").json(), (Json{{"status", "ready"}}));
    EXPECT_FALSE(server.not_ready());
    server.tick();
    server.reload();
    EXPECT_EQ(get(server, "/healthz").status, 200);
}

TEST_F(ServerTest, the_owner_can_get_another_token_on_the_machine) {
    EXPECT_THROW((void)make_owner_token(config, clock), Error);
    Server server{config, clock};
    const Secret token = make_owner_token(config, clock);
    EXPECT_EQ(get(server, kSubscriptions, std::string{token.expose_text()}).status, 200);
}

TEST_F(ServerTest, serve_ends_when_asked_and_hands_the_token_over_in_a_file) {
    config.identity.bootstrap_token_file = directory.path() / "token";
    std::stop_source stop;
    int code = -1;
    std::jthread thread{[&] { code = serve(config, clock, stop.get_token()); }};
    for (int i = 0; i < 2000 && !std::filesystem::exists(config.identity.bootstrap_token_file);
         ++i) {
        clock.wait_for(std::chrono::milliseconds{10}, {});
    }
    struct stat status{};
    ASSERT_EQ(::stat(config.identity.bootstrap_token_file.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    stop.request_stop();
    thread.join();
    EXPECT_EQ(code, 0);
}

TEST_F(ServerTest, check_config_names_everything_that_is_wrong) {
    check_config(config);
    EXPECT_FALSE(std::filesystem::exists(config.state.directory));
    config.server.names.push_back("not a name");
    config.restore.containers.push_back({"files", "/nonexistent/files"});
    config.restore.file_root = "/nonexistent/root";
    config.server.tls_certificate = "/nonexistent.pem";
    config.server.tls_key = "/nonexistent.key";
    try {
        check_config(config);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kConfigInvalid);
        std::vector<std::string> targets;
        for (const ErrorDetail& detail : error.text().details) {
            targets.push_back(detail.target);
        }
        EXPECT_EQ(
            targets,
            (std::vector<std::string>{
                "server.names", "server.tls_certificate", "restore.containers", "restore.file_root"
            })
        );
    }
}

}  // namespace
}  // namespace holdfast::control
