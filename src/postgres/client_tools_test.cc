#include "postgres/client_tools.h"

#include <filesystem>

#include <gtest/gtest.h>

namespace holdfast::postgres {
namespace {

namespace fs = std::filesystem;

/// Directories with programs that only know their version.
class ClientToolsTest : public ::testing::Test {
protected:
    fs::path make(const std::string& name, const std::string& version) {
        const fs::path directory = directory_.path() / name;
        fs::create_directories(directory);
        for (const char* program : {"pg_dump", "pg_restore", "pg_dumpall", "psql"}) {
            const std::string script =
                "#!/bin/sh\necho '" + std::string{program} + " " + version + "'\n";
            write_file_durably(directory / program, as_bytes(script), 0700, Overwrite::kYes);
        }
        return directory;
    }
    TemporaryDirectory directory_{"client-tools"};
};

TEST_F(ClientToolsTest, ChoosesTheOldestThatIsNewEnough) {
    const fs::path newest = make("c", "(PostgreSQL) 18beta1");
    const fs::path old = make("a", "(PostgreSQL) 13.22 (Debian 13.22-1)");
    const fs::path middle = make("b", "(PostgreSQL) 16.4");
    const fs::path broken = make("d", "says nothing of use");
    fs::remove(make("e", "(PostgreSQL) 14.1") / "pg_restore");
    const ClientTools tools{{newest, old, middle, broken, directory_.path() / "e", "/nonexistent"}};
    ASSERT_EQ(tools.found().size(), 3U);
    EXPECT_EQ(tools.at_least(12).version, "13.22");
    EXPECT_EQ(tools.at_least(13).directory, old);
    EXPECT_EQ(tools.at_least(14).directory, middle);
    EXPECT_EQ(tools.at_least(17).version, "18beta1");
    try {
        [[maybe_unused]] const ToolSet& missing = tools.at_least(19);
        FAIL() << "found";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kClientToolMissing);
        EXPECT_NE(error.text().message.find("18beta1"), std::string::npos);
    }
}

Error failure(std::string standard_error) {
    ConnectionParameters parameters;
    parameters.host = "db.example";
    parameters.user = "app";
    parameters.password = Secret{std::string_view{"hunter2"}};
    return tool_error(
        {"pg_dump", std::move(standard_error), {.code = 1, .signal = 0}},
        ErrorKind::kDumpFailed,
        parameters
    );
}

TEST_F(ClientToolsTest, UnderstandsWhatAToolSays) {
    Error error = failure(
        "pg_dump: error: connection to server failed: FATAL:  password authentication failed for "
        "user \"app\" "
        "(passfile='/proc/self/fd/3' password='hunter2')"
    );
    EXPECT_EQ(error.kind(), ErrorKind::kServerAuthFailed);
    EXPECT_EQ(error.text().properties.at("sqlstate"), "28P01");
    EXPECT_EQ(error.log_line().find("hunter2"), std::string::npos);

    error = failure(
        "pg_restore: error: could not execute query: ERROR:  relation \"t\" already "
        "exists\nCommand was: CREATE TABLE "
        "t (\n    secret_column int\n);\npg_restore: warning: errors ignored on restore: 1"
    );
    EXPECT_EQ(error.kind(), ErrorKind::kDumpFailed);
    EXPECT_NE(error.text().message.find("relation \"t\" already exists"), std::string::npos);
    for (const ErrorDetail& detail : error.text().details) {
        EXPECT_EQ(detail.message.find("secret_column"), std::string::npos) << "SQL is for the log";
    }
    EXPECT_NE(error.text().internal.find("secret_column"), std::string::npos);

    EXPECT_EQ(failure("").kind(), ErrorKind::kDumpFailed);
    EXPECT_EQ(
        failure(
            "pg_dump: detail: Error message from server: server closed the connection unexpectedly"
        )
            .kind(),
        ErrorKind::kServerConnectionClosed
    );
}

}  // namespace
}  // namespace holdfast::postgres
