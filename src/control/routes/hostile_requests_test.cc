// Every route of the table, asked in every wrong way: whatever comes is an answer that is no fault
// of the server, and what is refused has changed nothing.
#include "control/routes/routes.h"
#include "control/routes/testing/api_fixture.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

namespace holdfast::control {
namespace {

constexpr std::string_view kVersion = "2024-04-01";

class HostileRequests : public ApiFixture {
protected:
    HostileRequests() {
        protect();
        set_baseline();
    }

    [[nodiscard]] Json state() { return catalog().export_resources(); }
    void set_baseline() { baseline_ = state(); }

    /// `target` with its query, as the wire has it.
    Answer attack(const Route& route, const std::string& target, const std::string& body) {
        Answer answer = raw(to_string(route.verb), target, body);
        const std::string what = fmt::format(
            "{} {} {}: {}",
            to_string(route.verb),
            target.substr(0, 300),
            body.substr(0, 300),
            answer.body.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 300)
        );
        EXPECT_TRUE(answer.status < 500 || answer.status == 503) << answer.status << " " << what;
        EXPECT_NE(answer.code(), "CloudInternalError") << what;
        if (answer.status >= 400) {
            EXPECT_TRUE(answer.status == 404 || answer.status == 405 || !answer.code().empty())
                << answer.status << " " << what;
            touched_ = true;
            return answer;
        }
        // Taken: then it may change what is there, and that counts from now on. (What was refused
        // just before cannot be told from it.)
        touched_ = false;
        if (!answer.header("Azure-AsyncOperation").empty()) {
            (void)wait(answer);
        }
        set_baseline();
        return answer;
    }

    /// Nothing of what was refused since the last time has left a trace.
    void expect_unchanged(const std::string& where) {
        if (!std::exchange(touched_, false)) {
            return;
        }
        Json now = state();
        if (now != baseline_) {
            ADD_FAILURE() << "something refused has changed the state, before " << where << "\n"
                          << Json::diff(baseline_, now).dump().substr(0, 1000);
            baseline_ = std::move(now);
        }
    }

    /// The route's path, its parameters filled in with what there is, or with `otherwise`.
    [[nodiscard]] std::string path_of(const Route& route, const std::string& otherwise = "") const {
        static const std::map<std::string, std::string, std::less<>> known{
            {"subscriptionId", std::string{kSubscription}},
            {"resourceGroupId", "rg"},
            {"resourceGroupName", "rg"},
            {"vaultName", "TestBkpVault"},
            {"backupPolicyName", "P"},
            {"backupInstanceName", "BI"},
            {"serverName", "SRV"},
            {"location", "westus"},
        };
        std::string path;
        for (const std::string& part : split(route.pattern, '/')) {
            if (part.empty()) {
                continue;
            }
            if (part.front() != '{') {
                path += "/" + part;
                continue;
            }
            const auto found = known.find(part.substr(1, part.size() - 2));
            path += "/" + (!otherwise.empty()        ? otherwise
                           : part.starts_with("{*")  ? "subscriptions/" + std::string{kSubscription}
                           : found == known.end()    ? "00000000-0000-4000-8000-000000000001"
                                                     : found->second);
        }
        return path.empty() ? "/" : path;
    }

    static std::string versioned(const std::string& path, std::string_view version = kVersion) {
        return fmt::format("{}?api-version={}", path, version);
    }

private:
    Json baseline_;
    bool touched_ = false;
};

const std::vector<Route>& table() {
    static const std::vector<Route> routes = all_routes();
    return routes;
}

TEST_F(HostileRequests, NoRouteTakesAVersionThatIsNone) {
    for (const Route& route : table()) {
        if (route.api_version == ApiVersion::kExempt) {
            continue;
        }
        const std::string path = path_of(route);
        for (const std::string& query : {
                 std::string{},
                 std::string{"?api-version="},
                 std::string{"?api-version=2024-02-30"},
                 std::string{"?api-version=99999999999-01-01"},
                 std::string{"?api-version=2024-04-01%00"},
                 "?api-version=" + std::string(5000, '2'),
             }) {
            const Answer answer = attack(route, path + query, "{}");
            EXPECT_EQ(answer.status, 400) << path << query.substr(0, 100);
        }
    }
    expect_unchanged("the end");
}

TEST_F(HostileRequests, NoNameIsTooStrange) {
    const std::vector<std::string> names{
        "..",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "a%00b",
        "%c0%af",
        "%0d%0aX-Injected:%20y",
        std::string(3000, 'x'),
    };
    for (const Route& route : table()) {
        if (route.pattern.find('{') == std::string::npos) {
            continue;  // It has no name.
        }
        const std::string body = route.body == BodyRule::kNone ? "" : "{}";
        for (const std::string& name : names) {
            const Answer answer = attack(route, versioned(path_of(route, name)), body);
            for (const auto& [field, value] : answer.headers.fields()) {
                EXPECT_EQ(value.find_first_of("\r\n"), std::string::npos) << route.pattern << field;
                EXPECT_NE(field, "X-Injected");
            }
        }
        expect_unchanged(route.pattern);
    }
}

TEST_F(HostileRequests, NoBodyIsTooWrong) {
    std::string deep;
    for (int i = 0; i < 500; ++i) {
        deep += R"({"properties":)";
    }
    Json many_tags = vault_body();
    many_tags["tags"] = Json::object();
    for (int i = 0; i < 400; ++i) {
        many_tags["tags"]["key" + std::to_string(i)] = std::string(250, 'x');
    }
    // No JSON object, whatever the route: always refused.
    const std::vector<std::string> garbage{
        "null",
        "[]",
        "{",
        "{\"a\":1,}",
        "{'a':1}",
        "\xff\xfe{}",
        "{\"a\":\"\xc3\x28\"}",
        "{\"a\":\"\\ud800\"}",
        R"({"properties":{"a":1,"a":2}})",
        R"({"properties":1e999})",
        R"({"properties":NaN})",
        deep,
        std::string("{\"a\":\0}", 7),
    };
    const std::vector<std::string> wrong{
        "{}",
        R"({"properties":null})",
        R"({"properties":5})",
        R"({"properties":{}})",
        R"({"properties":{"objectType":5,"policyRules":{},"dataSourceInfo":[],"requests":5}})",
        R"({"location":5})",
        R"({"location":{"a":[]}})",
        R"({"tags":[]})",
        R"({"identity":{"type":5}})",
        R"({"objectType":{},"recoveryPointId":[],"restoreTargetInfo":5})",
        R"({"query":5,"subscriptions":5,"options":[]})",
        R"({"name":{},"type":[],"value":{},"attributes":5})",
        many_tags.dump(),
    };
    for (const Route& route : table()) {
        // Making a key takes a third of a second, whatever the body.
        if (route.body == BodyRule::kNone || route.pattern.ends_with("/rotateSigningKey")) {
            continue;
        }
        const std::string target = versioned(path_of(route));
        for (const std::string& body : garbage) {
            const Answer answer = attack(route, target, body);
            EXPECT_GE(answer.status, 400) << route.pattern << " " << body.substr(0, 100);
        }
        for (const std::string& body : wrong) {
            (void)attack(route, target, body);
        }
        expect_unchanged(route.pattern);
    }
}

/// Each value of a right body, at every level, is replaced by each of what it is not.
class HostileValues : public HostileRequests {
protected:
    void replace_each(const Route& route, const std::string& path, const Json& right) {
        static const std::vector<Json> kWrong{
            nullptr,
            -1,
            Json::parse("99999999999999999999"),
            Json::parse("1e300"),
            "",
            "P99999999999999999999D",
            "R/9999-12-31T23:59:59+00:00/P1W",
            std::string(2000, 'x'),
            Json::array({nullptr}),
            Json{{"a", Json::array()}},
        };
        const Json flat = right.flatten();
        std::set<std::string> places;
        for (const auto& [leaf, value] : flat.items()) {
            for (std::string place = leaf; !place.empty();
                 place.resize(place.find_last_of('/'))) {
                places.insert(place);
            }
        }
        for (const std::string& place : places) {
            for (const Json& wrong : kWrong) {
                Json body = right;
                body[Json::json_pointer{place}] = wrong;
                (void)attack(route, versioned(path), body.dump());
            }
            expect_unchanged(place);
        }
    }
    [[nodiscard]] static const Route& route(Verb verb, std::string_view pattern_end) {
        for (const Route& each : table()) {
            if (each.verb == verb && each.pattern.ends_with(pattern_end)) {
                return each;
            }
        }
        ADD_FAILURE() << "no route " << pattern_end;
        return table().front();
    }
};

TEST_F(HostileValues, InVaultsAndServers) {
    Json body = vault_body();
    body["properties"]["securitySettings"]["immutabilitySettings"] = {{"state", "Disabled"}};
    body["properties"]["monitoringSettings"] = {
        {"azureMonitorAlertSettings", {{"alertsForAllJobFailures", "Enabled"}}}
    };
    body["tags"] = {{"a", "b"}};
    replace_each(route(Verb::kPut, "/backupVaults/{vaultName}"), vault("Other"), body);
    replace_each(route(Verb::kPut, "/flexibleServers/{serverName}"), server("Other"), server_body());
}

TEST_F(HostileValues, InPolicies) {
    replace_each(
        route(Verb::kPut, "/backupPolicies/{backupPolicyName}"),
        vault() + "/backupPolicies/Other",
        policy_body()
    );
}

TEST_F(HostileValues, InInstances) {
    replace_each(
        route(Verb::kPost, "/validateForBackup"),
        vault() + "/validateForBackup",
        Json{{"backupInstance", instance_body()["properties"]}}
    );
}

TEST_F(HostileValues, InQueries) {
    replace_each(
        route(Verb::kPost, "/Microsoft.ResourceGraph/resources"),
        "/providers/Microsoft.ResourceGraph/resources",
        Json{
            {"query", "resources | where type =~ 'microsoft.dataprotection/backupvaults'"},
            {"subscriptions", {std::string{kSubscription}}},
            {"options", {{"$top", 5}, {"$skip", 0}, {"resultFormat", "table"}}}
        }
    );
}

}  // namespace
}  // namespace holdfast::control
