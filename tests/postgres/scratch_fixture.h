#pragma once

#include "postgres/scratch_server.h"
#include "postgres/server_fixture.h"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace holdfast::postgres {

/// Tests that start restored clusters in a sandbox. Skipped, with a word, where there is none.
class ScratchTest : public ServerTest {
protected:
    void SetUp() override;

    [[nodiscard]] static testing::PostgresServerOptions source_options(
        std::map<std::string, std::string> settings = {}
    );
    /// A base backup of the server, as a restore would have laid it out.
    [[nodiscard]] std::unique_ptr<ScratchDirectory> restore(const testing::PostgresServer& source);
    [[nodiscard]] std::unique_ptr<ScratchServer> start(
        ScratchDirectory& directory, const ScratchServerOptions& options = {}
    );

    /// One value of a query in the scratch server.
    [[nodiscard]] static std::string ask(
        const ScratchServer& server, const std::string& sql, std::string_view database = ""
    );

    TemporaryDirectory root_{"hf-scratch"};
    ServerPrograms programs_;
};

}  // namespace holdfast::postgres
