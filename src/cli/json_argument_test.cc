#include "base/error.h"
#include "cli/testing/fake_server.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

/// Runs in a directory of its own, because `./x` is about where one stands.
class JsonArgument : public ::testing::Test {
protected:
    JsonArgument() : before_{std::filesystem::current_path()} {
        std::filesystem::current_path(line.directory.path());
        std::ofstream{"Policy.JSON"} << "\xef\xbb\xbf{\"a\":1}";
        line.server.always({.body = {{"name", "p"}}});
    }
    ~JsonArgument() override { std::filesystem::current_path(before_); }

    /// What `--policy` was read as, or the error.
    std::string read(const std::string& argument) {
        const std::size_t sent = line.server.requests.size();
        last = line.run(
            {"backup-policy", "create", "-g", "rg", "-v", "v", "-n", "p", "--policy", argument}
        );
        return line.server.requests.size() > sent ? line.server.requests.back().body : last.err;
    }

    CommandLine line;
    Outcome last;

private:
    std::filesystem::path before_;
};

TEST_F(JsonArgument, TakesPathsAtPathsAndText) {
    const std::string wanted = R"({"properties":{"a":1}})";
    EXPECT_EQ(read("Policy.JSON"), wanted);
    EXPECT_EQ(read("./Policy.JSON"), wanted);
    EXPECT_EQ(read("@Policy.JSON"), wanted);
    EXPECT_EQ(read(R"({"a":1})"), wanted);
    EXPECT_EQ(read(R"(  {"properties":{"a":1}})"), wanted);
    EXPECT_EQ(last.err, "");
}

TEST_F(JsonArgument, AWindowsPathIsReadWithANote) {
    const std::string wanted = R"({"properties":{"a":1}})";
    EXPECT_EQ(read(".\\Policy.JSON"), wanted);
    EXPECT_EQ(last.err, "WARNING: '.\\Policy.JSON' is read from './Policy.JSON'.\n");
    EXPECT_EQ(read(".Policy.JSON"), wanted);
    EXPECT_EQ(last.err, "WARNING: '.Policy.JSON' is read from './Policy.JSON'.\n");
    EXPECT_EQ(read("@.Policy.JSON"), wanted);
}

TEST_F(JsonArgument, RefusesInAzsWords) {
    EXPECT_EQ(read("x.json").find("ERROR: JSON file does not exist: 'x.json'\n"), 0U);
    EXPECT_EQ(read(".x.JSON").find("ERROR: Failed to parse string as JSON: .x.JSON\n"), 0U);
    EXPECT_EQ(last.exit_code, 1);
    EXPECT_EQ(read("{broken").find("ERROR: The JSON argument is not valid JSON"), 0U);
    EXPECT_EQ(read("@/nowhere").find("ERROR: JSON file does not exist: '/nowhere'"), 0U);
    EXPECT_EQ(read(".").find("ERROR: '.' is a directory."), 0U);
    EXPECT_EQ(read("").find("ERROR: "), 0U);
    std::ofstream{"bad.json"} << "{\"a\":";
    EXPECT_NE(read("bad.json").find("'bad.json' is not valid JSON"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::cli
