#include "cli/testing/fake_server.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace holdfast::cli {
namespace {

constexpr std::string_view kSubscription = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";

FakeServer::Answer subscriptions() {
    return {
        .body =
            {{"value",
              {{{"subscriptionId", kSubscription}, {"displayName", "Holdfast"}, {"state", "Enabled"}
              }}}}
    };
}

class Login : public ::testing::Test {
protected:
    Login() {
        line.variables.erase("HOLDFAST_SERVER");
        line.variables.erase("HOLDFAST_SUBSCRIPTION");
        line.server.always(subscriptions());
    }

    [[nodiscard]] std::filesystem::path profile() const {
        return line.directory.path() / "config" / "profile.json";
    }
    [[nodiscard]] static mode_t mode_of(const std::filesystem::path& path) {
        struct stat status{};
        return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 0777U : 0U;
    }

    CommandLine line;
};

TEST_F(Login, KeepsTheTokenForTheUserAlone) {
    line.input = "t0ken\n";
    const Outcome outcome = line.run({"login", "--server", "https://h:8443/"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.out.find("t0ken"), std::string::npos);
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(Json::parse(outcome.out)[0]["id"], kSubscription);
    EXPECT_EQ(mode_of(profile()), 0600U);
    EXPECT_EQ(mode_of(profile().parent_path()), 0700U);
    (void)line.run({"backup-vault", "show", "-g", "rg", "-v", "v"});
    EXPECT_EQ(line.server.requests.back().headers.at("Authorization"), "Bearer t0ken");
    EXPECT_EQ(line.server.requests.back().url.find("https://h:8443/subscriptions/"), 0U);
}

TEST_F(Login, RefusesAProfileThatOthersCanRead) {
    line.input = "t0ken\n";
    (void)line.run({"login", "--server", "https://h:8443"});
    ASSERT_EQ(::chmod(profile().c_str(), 0644), 0);
    const Outcome outcome = line.run({"account", "show"});
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_NE(outcome.err.find("profile.json"), std::string::npos) << outcome.err;
}

TEST_F(Login, ReadsTheTokenFromAFileOrTheEnvironment) {
    const auto file = line.directory.path() / "token";
    write_file_durably(file, as_bytes(" one \n"), 0600, Overwrite::kYes);
    (void)line.run({"login", "--server", "h:8443", "--token-file", file.string()});
    EXPECT_EQ(line.server.requests.back().headers.at("Authorization"), "Bearer one");
    EXPECT_EQ(line.server.requests.back().url.find("https://h:8443/"), 0U);
    write_file_durably(file, as_bytes("two"), 0600, Overwrite::kYes);
    line.variables["HOLDFAST_TOKEN_FILE"] = file.string();
    (void)line.run({"login", "--server", "https://h:8443"});
    EXPECT_EQ(line.server.requests.back().headers.at("Authorization"), "Bearer two");
    line.input = "three\n";
    (void)line.run({"login", "--server", "https://h:8443", "--token-file", "-"});
    EXPECT_EQ(Json::parse(std::ifstream{profile()})["token"], "three");
    EXPECT_EQ(
        line.run({"login", "--server", "https://h:8443", "--token-file", "/missing"}).exit_code, 1
    );
}

TEST_F(Login, AnotherServerInTheEnvironmentGetsNeitherTokenNorCa) {
    line.input = "t0ken\n";
    (void)line.run({"login", "--server", "https://h:8443"});
    line.variables["HOLDFAST_SERVER"] = "https://other:1";
    (void)line.run({"account", "list"});
    EXPECT_EQ(line.server.requests.back().url.find("https://other:1/"), 0U);
    EXPECT_FALSE(line.server.requests.back().headers.contains("Authorization"));
}

TEST_F(Login, ARefusedTokenIsNotKept) {
    line.server.always(
        {.status = 401, .body = {{"error", {{"code", "AuthenticationFailed"}, {"message", "No."}}}}}
    );
    line.input = "wrong\n";
    const Outcome outcome = line.run({"login", "--server", "https://h:8443"});
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_FALSE(std::filesystem::exists(profile()));
}

TEST_F(Login, KeepsACopyOfTheCa) {
    const auto ca = line.directory.path() / "given.pem";
    std::ofstream{ca} << "-----BEGIN CERTIFICATE-----\n";
    line.input = "t\n";
    EXPECT_EQ(line.run({"login", "--server", "https://h", "--ca", ca.string()}).exit_code, 0);
    EXPECT_EQ(
        Json::parse(std::ifstream{profile()})["caFile"],
        (profile().parent_path() / "ca.pem").string()
    );
    std::ofstream{ca} << "nothing";
    EXPECT_EQ(line.run({"login", "--server", "https://h", "--ca", ca.string()}).exit_code, 1);
}

TEST_F(Login, LogoutForgets) {
    line.input = "t\n";
    (void)line.run({"login", "--server", "https://h:8443"});
    EXPECT_EQ(line.run({"logout"}).exit_code, 0);
    EXPECT_FALSE(std::filesystem::exists(profile()));
    EXPECT_EQ(line.run({"logout"}).err, "WARNING: There was no login to forget.\n");
}

TEST_F(Login, TakesNoTokenOnTheCommandLineAndNoPlainHttp) {
    EXPECT_EQ(line.run({"login", "--server", "https://h", "--token", "x"}).exit_code, 2);
    EXPECT_EQ(line.run({"login", "--server", "http://h:80"}).exit_code, 2);
    EXPECT_EQ(line.run({"login"}).exit_code, 2);
    line.input = "\n";
    EXPECT_EQ(line.run({"login", "--server", "https://h"}).exit_code, 2);
}

}  // namespace
}  // namespace holdfast::cli
