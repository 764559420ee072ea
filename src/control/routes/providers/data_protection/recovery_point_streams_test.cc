// Physical instances through the API: their method, their points' contents, test restores.
#include "control/routes/testing/api_fixture.h"
#include "jobs/point_transfer.h"

namespace holdfast::control {
namespace {

using jobs::FrameKind;
using testing::HasSubstr;

constexpr const char* kDataReader = "6c1f1f0e-5d3c-4b0e-9a55-5e2f4a1b7d83";

class PhysicalPoints : public ApiFixture {
protected:
    void SetUp() override { protect(); }
    [[nodiscard]] std::string instance() const { return vault() + "/backupInstances/SRVI"; }
    [[nodiscard]] Json server_instance(const Json& parameters = nullptr) const {
        Json body = instance_body();
        body["properties"]["dataSourceInfo"]["resourceID"] = server();
        body["properties"]["dataSourceInfo"]["resourceUri"] = server();
        body["properties"]["dataSourceInfo"]["resourceName"] = "SRV";
        body["properties"]["friendlyName"] = "SRV";
        if (!parameters.is_null()) {
            body["properties"]["policyInfo"]["policyParameters"] =
                Json{{"backupDatasourceParametersList", Json::array({parameters})}};
        }
        return body;
    }
    [[nodiscard]] static Json solution(std::string_view type) {
        return Json{
            {"objectType", "PostgreSqlFlexibleServerBackupDatasourceParameters"},
            {"backupSolutionType", type}
        };
    }
    void protect_server() {
        const Answer answer = put(instance(), server_instance());
        ASSERT_EQ(answer.status, 201) << answer.body.dump(1);
        ASSERT_EQ(wait(answer)["status"], "Succeeded");
    }
    std::string back_up() {
        protect_server();
        const Answer outcome = result(post(
            instance() + "/backup",
            Json{{"backupRuleOptions", {{"ruleName", "Monthly"}, {"triggerOption", Json::object()}}}
            }
        ));
        EXPECT_EQ(outcome.status, 200) << outcome.body.dump();
        run_jobs();
        return get(instance() + "/recoveryPoints").body["value"][0]["name"];
    }
    /// Stream name -> contents.
    static std::map<std::string, std::string> contents(const std::string& text) {
        ByteSpan rest = as_bytes(text);
        jobs::FrameReader reader{[&](MutableByteSpan out) {
            const std::size_t got = std::min(out.size(), rest.size());
            std::copy_n(rest.begin(), got, out.begin());
            rest = rest.subspan(got);
            return got;
        }};
        std::map<std::string, std::string> out;
        std::string name;
        for (auto frame = reader.next(); frame.kind != FrameKind::kEnd; frame = reader.next()) {
            if (frame.kind == FrameKind::kStream) {
                name = jobs::parse_stream_frame(frame).spec.name;
                out[name];
            } else if (frame.kind == FrameKind::kData) {
                out[name] += as_text(frame.payload);
            }
        }
        return out;
    }
};

TEST_F(PhysicalPoints, AServerSaysHowItIsBackedUpAndWhy) {
    protect_server();
    const Json shown = get(instance()).body["properties"];
    EXPECT_EQ(shown["holdfast"]["backupSolutionType"], "PhysicalBackup");
    EXPECT_THAT(shown["holdfast"]["backupSolutionReason"].dump(), HasSubstr("may replicate"));
    const Json database = get(vault() + "/backupInstances/BI").body["properties"];
    EXPECT_EQ(database["holdfast"]["backupSolutionType"], "LogicalBackup");
}

TEST_F(PhysicalPoints, TheMethodIsReadStrictlyAndMayChange) {
    const Answer unknown = put(instance(), server_instance(solution("SnapshotBackup")));
    EXPECT_EQ(unknown.status, 400);
    EXPECT_EQ(
        unknown.body["error"]["target"],
        "properties.policyInfo.policyParameters.backupDatasourceParametersList[0]."
        "backupSolutionType"
    );
    Json more = solution("PhysicalBackup");
    more["speed"] = 3;
    EXPECT_EQ(put(instance(), server_instance(more)).status, 400);
    Json database = instance_body("app");
    database["properties"]["policyInfo"]["policyParameters"] =
        Json{{"backupDatasourceParametersList", Json::array({solution("PhysicalBackup")})}};
    EXPECT_EQ(
        put(vault() + "/backupInstances/APP", database).code(), "UserErrorOperationNotSupported"
    );
    protect_server();
    EXPECT_EQ(
        wait(put(instance(), server_instance(solution("logicalbackup"))))["status"], "Succeeded"
    );
    const Json shown = get(instance()).body["properties"];
    EXPECT_EQ(shown["holdfast"]["backupSolutionType"], "LogicalBackup");
    EXPECT_EQ(
        shown["policyInfo"]["policyParameters"]["backupDatasourceParametersList"][0],
        solution("LogicalBackup")
    );
}

TEST_F(PhysicalPoints, WhatABackupAsksOfTheServerIsReadStrictly) {
    const std::string where =
        "properties.policyInfo.policyParameters.backupDatasourceParametersList[0].holdfast";
    Json parameters = solution("PhysicalBackup");
    const auto refused_at = [&](const Json& own) {
        parameters["holdfast"] = own;
        const Answer answer = put(instance(), server_instance(parameters));
        EXPECT_EQ(answer.status, 400) << own;
        return answer.body["error"].value("target", "");
    };
    EXPECT_EQ(refused_at({{"checkpoint", "Slow"}}), where + ".checkpoint");
    EXPECT_EQ(refused_at({{"compression", true}}), where + ".compression");
    EXPECT_EQ(refused_at({{"transferRateMaxKiB", 31}}), where + ".transferRateMaxKiB");
    EXPECT_EQ(refused_at({{"transferRateMaxKiB", 1048577}}), where + ".transferRateMaxKiB");
    EXPECT_EQ(refused_at({{"transferRateMaxKiB", "fast"}}), where + ".transferRateMaxKiB");
    EXPECT_EQ(refused_at({{"speed", 3}}), where + ".speed");
    parameters["holdfast"] = {
        {"checkpoint", "spread"}, {"compression", "zstd"}, {"transferRateMaxKiB", 32}
    };
    EXPECT_EQ(wait(put(instance(), server_instance(parameters)))["status"], "Succeeded");
    parameters["holdfast"] = {
        {"checkpoint", "Spread"}, {"compression", "Zstd"}, {"transferRateMaxKiB", 32}
    };
    EXPECT_EQ(
        get(instance())
            .body["properties"]["policyInfo"]["policyParameters"]["backupDatasourceParametersList"]
                 [0],
        parameters
    );
}

TEST_F(PhysicalPoints, ContentsGoToWhoHasTheRoleForThem) {
    const std::string point = instance() + "/recoveryPoints/" + back_up();
    const Answer listed = post(point + "/listStreams", Json{{"prefix", "data/"}});
    ASSERT_EQ(listed.status, 200) << listed.body.dump();
    const auto names = contents(listed.text);
    EXPECT_TRUE(names.contains("data/PG_VERSION"));
    EXPECT_FALSE(names.contains("cluster.json"));
    const Json wanted{{"streams", {"data/base/1/1259", "data/PG_VERSION"}}};
    const auto read = contents(post(point + "/readStreams", wanted).text);
    EXPECT_EQ(read.at("data/PG_VERSION"), "15\n");
    EXPECT_EQ(read.at("data/base/1/1259"), std::string(700'000, 'p'));

    grant("manager", "Contributor", "/");
    const Answer refused = call("POST", point + "/readStreams", wanted, {}, "manager");
    EXPECT_EQ(refused.status, 403);
    EXPECT_THAT(refused.body.dump(), HasSubstr("recoveryPoints/streams/read"));
    grant("reader", kDataReader, vault());
    EXPECT_EQ(call("POST", point + "/readStreams", wanted, {}, "reader").status, 200);
    EXPECT_EQ(call("GET", point, nullptr, {}, "reader").status, 200);
}

TEST_F(PhysicalPoints, BadRequestsForContentsAreRefused) {
    const std::string point = instance() + "/recoveryPoints/" + back_up();
    EXPECT_EQ(post(point + "/readStreams", Json{{"streams", Json::array()}}).status, 400);
    EXPECT_EQ(post(point + "/readStreams", Json{{"names", Json::array()}}).status, 400);
    EXPECT_EQ(
        post(point + "/readStreams", Json{{"streams", std::vector<std::string>(4097, "x")}}).status,
        400
    );
    EXPECT_EQ(
        post(
            instance() + "/recoveryPoints/00000000000000000000000000000000/listStreams",
            Json::object()
        )
            .code(),
        "UserErrorRecoveryPointNotFound"
    );
    // A name that the point does not have is found out while it is sent.
    const Answer late = post(point + "/readStreams", Json{{"streams", {"data/nonesuch"}}});
    EXPECT_EQ(late.status, 200);
    EXPECT_THROW(contents(late.text), Error);
}

TEST_F(PhysicalPoints, ATestRestoreIsAJobAndStaysOnThePoint) {
    const std::string name = back_up();
    const Answer outcome = result(post(instance() + "/verify", Json::object()));
    ASSERT_EQ(outcome.status, 200) << outcome.body.dump();
    run_jobs();
    const Json job = get(outcome.body["jobId"].get<std::string>()).body["properties"];
    EXPECT_EQ(job["status"], "Completed") << job.dump(1);
    EXPECT_EQ(job["operationCategory"], "Verify");
    EXPECT_EQ(job["extendedInfo"]["sourceRecoverPoint"]["recoveryPointID"], name);
    const Json point = get(instance() + "/recoveryPoints/" + name).body["properties"];
    EXPECT_EQ(point["holdfast"]["testRestore"]["result"], "Passed");
    EXPECT_EQ(point["holdfast"]["backupSolutionType"], "PhysicalBackup");
    EXPECT_EQ(
        post(instance() + "/verify", Json{{"recoveryPoint", name}}).code(), "InvalidRequestContent"
    );
    EXPECT_EQ(
        post(vault() + "/backupInstances/BI/verify").code(), "UserErrorRecoveryPointNotFound"
    );
}

TEST_F(PhysicalPoints, AWholeServerIsNotRestoredOverARunningOne) {
    const std::string name = back_up();
    const Json request{
        {"objectType", "AzureBackupRecoveryPointBasedRestoreRequest"},
        {"recoveryPointId", name},
        {"sourceDataStoreType", "VaultStore"},
        {"restoreTargetInfo",
         {{"objectType", "RestoreTargetInfo"},
          {"recoveryOption", "FailIfExists"},
          {"restoreLocation", "westus"},
          {"datasourceInfo", {{"resourceID", server()}, {"objectType", "Datasource"}}}}}
    };
    const Json status =
        wait(post(instance() + "/validateRestore", Json{{"restoreRequestObject", request}}));
    EXPECT_EQ(status["error"]["code"], "UserErrorOperationNotSupported") << status.dump(1);
    EXPECT_THAT(status.dump(), HasSubstr("holdfast restore"));
}

}  // namespace
}  // namespace holdfast::control
