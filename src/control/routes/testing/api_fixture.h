#pragma once

// The whole control plane in one process, without a network and without PostgreSQL: requests go
// through the dispatcher, data into a repository in a temporary directory, and a fake stands where
// PostgreSQL would be. For tests only.

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "control/http/message.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::control {

struct Services;

struct Answer {
    int status = 0;
    Headers headers;
    Json body;         ///< Null when there was none, or when it is no JSON.
    std::string text;  ///< The bytes of a body that is no JSON.

    /// The error's code, or an empty text.
    [[nodiscard]] std::string code() const;
    [[nodiscard]] std::string header(std::string_view name) const {
        return headers.get_or(name, "");
    }
};

class ApiFixture : public testing::Test {
protected:
    static constexpr std::string_view kSubscription = "00000000-0000-4000-8000-00000000abcd";
    static constexpr std::string_view kTenant = "00000000-0000-4000-8000-00000000eeee";

    ApiFixture();
    ~ApiFixture() override;

    /// `path` without api-version gets 2024-04-01. `token`: who asks; `owner` has every right.
    Answer call(
        std::string_view method,
        const std::string& path,
        const Json& body = nullptr,
        const Headers& headers = {},
        const std::string& token = "owner"
    );
    Answer get(const std::string& path) { return call("GET", path); }
    Answer put(const std::string& path, const Json& body) { return call("PUT", path, body); }
    Answer post(const std::string& path, const Json& body = nullptr) {
        return call("POST", path, body);
    }
    Answer del(const std::string& path) { return call("DELETE", path); }
    /// A request as the wire has it: nothing is added to it.
    Answer raw(std::string_view method, const std::string& target, std::string body);

    /// Follows Azure-AsyncOperation to the end: the last status body.
    Json wait(const Answer& answer);
    /// Follows it, then fetches Location: what az prints of a POST.
    Answer result(const Answer& answer);

    /// Gives `token` the role, so that it can be used in call().
    void grant(const std::string& token, std::string role, std::string scope);

    // The objects of the guide.
    [[nodiscard]] std::string group(std::string_view name = "rg") const;
    [[nodiscard]] std::string vault(std::string_view name = "TestBkpVault") const;
    [[nodiscard]] std::string server(std::string_view name = "SRV") const;
    [[nodiscard]] Json vault_body() const;
    [[nodiscard]] Json server_body() const;
    [[nodiscard]] Json policy_body() const;
    [[nodiscard]] Json instance_body(
        std::string_view database = "empdb11", std::string_view policy = "P"
    ) const;
    void make_vault(std::string_view name = "TestBkpVault");
    void make_server(std::string_view name = "SRV");
    void make_policy(std::string_view name = "P");
    /// Vault, server, policy, instance `BI`; ends when it is ProtectionConfigured.
    void protect();
    /// Runs what is queued until nothing is.
    void run_jobs();

    // PostgreSQL's part: a server that has the databases `postgres`, `app` and `empdb11`.

    /// What every connection fails with, while set.
    void fail_connections(std::optional<Error> error);
    /// `host:port user password` of the last connection.
    [[nodiscard]] std::string last_connection() const;
    /// An error that every preflight finds from now on.
    void add_finding(std::string code, std::string message, std::string remedy);

    [[nodiscard]] catalog::Catalog& catalog();
    [[nodiscard]] FakeClock& clock();
    [[nodiscard]] Services& services();

private:
    struct Stack;
    std::unique_ptr<Stack> stack_;
};

}  // namespace holdfast::control
