#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

using testing::HasSubstr;

class BackupInstances : public ApiFixture {
protected:
    void SetUp() override {
        make_vault();
        make_server();
        make_policy();
    }
    [[nodiscard]] std::string instance(std::string_view name = "BI") const {
        return fmt::format("{}/backupInstances/{}", vault(), name);
    }
    [[nodiscard]] Json validation(std::string_view database = "empdb11") const {
        return Json{{"backupInstance", instance_body(database)["properties"]}};
    }
    void configure(std::string_view name = "BI", std::string_view database = "empdb11") {
        const Answer answer = put(instance(name), instance_body(database));
        ASSERT_EQ(answer.status, 201) << answer.body.dump();
        ASSERT_EQ(wait(answer)["status"], "Succeeded");
    }
};

TEST_F(BackupInstances, CreateAsTheClientDoes) {
    const Answer validated = post(vault() + "/validateForBackup", validation());
    ASSERT_EQ(validated.status, 202) << validated.body.dump();
    EXPECT_TRUE(validated.body.is_null());
    const Answer outcome = result(validated);
    EXPECT_EQ(outcome.status, 200);
    EXPECT_EQ(outcome.body["objectType"], "OperationJobExtendedInfo");

    const Answer created = put(instance(), instance_body());
    ASSERT_EQ(created.status, 201) << created.body.dump();
    EXPECT_EQ(created.body["properties"]["currentProtectionState"], "ConfiguringProtection");
    EXPECT_EQ(created.body["properties"]["provisioningState"], "Provisioning");
    EXPECT_EQ(wait(created)["status"], "Succeeded");
    const Json shown = get(instance()).body;
    EXPECT_EQ(shown["properties"]["currentProtectionState"], "ProtectionConfigured");
    EXPECT_EQ(shown["properties"]["protectionStatus"]["status"], "ProtectionConfigured");
    EXPECT_EQ(shown["properties"]["provisioningState"], "Succeeded");
    EXPECT_EQ(
        shown["properties"]["dataSourceInfo"], instance_body()["properties"]["dataSourceInfo"]
    );
    EXPECT_EQ(get(vault() + "/backupInstances").body["value"], Json::array({shown}));
    EXPECT_EQ(last_connection(), "db.example:5433 backup hunter2");
}

TEST_F(BackupInstances, OneInstanceForEachDatasource) {
    configure();
    for (const Answer& answer :
         {post(vault() + "/validateForBackup", validation()),
          put(instance("Other"), instance_body())}) {
        EXPECT_EQ(answer.status, 400);
        EXPECT_EQ(answer.code(), "UserErrorDppDatasourceAlreadyHasBackupInstance");
        const std::string message = answer.body["error"]["message"];
        EXPECT_THAT(message, HasSubstr("BI"));
        EXPECT_THAT(message, HasSubstr("TestBkpVault"));
    }
    EXPECT_EQ(get(instance("Other")).code(), "UserErrorGenericResourceNotFound");
    // The same PUT again is an update.
    const Answer again = put(instance(), instance_body());
    EXPECT_EQ(again.status, 201) << again.body.dump();
    EXPECT_EQ(wait(again)["status"], "Succeeded");
}

TEST_F(BackupInstances, UpdatePolicyAsTheClientDoes) {
    configure();
    make_policy("Second");
    Json whole = get(instance()).body;
    for (const char* name : {"currentProtectionState", "protectionStatus", "provisioningState"}) {
        whole["properties"].erase(name);
    }
    for (const char* name : {"id", "name", "type"}) {
        whole.erase(name);
    }
    whole["properties"]["policyInfo"]["policyId"] = vault() + "/backupPolicies/Second";
    const Answer answer = put(instance(), whole);
    ASSERT_EQ(answer.status, 201) << answer.body.dump();
    EXPECT_EQ(answer.body["properties"]["currentProtectionState"], "UpdatingProtection");
    EXPECT_EQ(wait(answer)["status"], "Succeeded");
    const Json shown = get(instance()).body;
    EXPECT_EQ(shown["properties"]["currentProtectionState"], "ProtectionConfigured");
    EXPECT_EQ(shown["properties"]["policyInfo"]["policyId"], vault() + "/backupPolicies/Second");
}

TEST_F(BackupInstances, WhatIsNotThereIsNamed) {
    Json body = instance_body("empdb11", "Missing");
    Answer answer = put(instance(), body);
    EXPECT_THAT(answer.status, testing::AnyOf(400, 404));
    EXPECT_THAT(answer.body["error"]["message"].get<std::string>(), HasSubstr("Missing"));

    body = instance_body();
    body["properties"]["dataSourceInfo"]["resourceID"] =
        group("ossrg") + "/providers/Microsoft.DBforPostgreSQL/flexibleServers/GHOST/databases/x";
    answer = put(instance(), body);
    EXPECT_EQ(answer.code(), "UserErrorServerNotRegistered");
    EXPECT_THAT(answer.body["error"]["message"].get<std::string>(), HasSubstr("GHOST"));
    EXPECT_FALSE(answer.body["error"]["additionalInfo"][0]["info"]["recommendedAction"].empty());

    body["properties"]["dataSourceInfo"]["resourceID"] = "not-an-arm-id";
    answer = put(instance(), body);
    EXPECT_EQ(answer.code(), "InvalidResourceId");
    EXPECT_EQ(answer.body["error"]["target"], "properties.dataSourceInfo.resourceID");
    EXPECT_EQ(get(vault() + "/backupInstances").body["value"], Json::array());
}

TEST_F(BackupInstances, AValidationThatFailsSaysWhyInTheOperation) {
    fail_connections(Error{
        ErrorKind::kServerAuthFailed,
        ErrorText{
            .message = "password authentication failed for user \"backup\"",
            .recommended_actions = {"Correct the password."},
        }
    });
    const Answer validated = post(vault() + "/validateForBackup", validation());
    ASSERT_EQ(validated.status, 202);
    const Json status = wait(validated);
    EXPECT_EQ(status["status"], "Failed");
    EXPECT_EQ(status["error"]["code"], "UserErrorDBUserAuthFailed");
    EXPECT_EQ(result(validated).status, 400);

    const Answer created = put(instance(), instance_body());
    ASSERT_EQ(created.status, 201);
    EXPECT_EQ(wait(created)["status"], "Failed");
    const Json shown = get(instance()).body;
    EXPECT_EQ(shown["properties"]["currentProtectionState"], "ConfiguringProtectionFailed");
    EXPECT_EQ(shown["properties"]["protectionErrorDetails"]["code"], "UserErrorDBUserAuthFailed");
    fail_connections(std::nullopt);
    configure();
    EXPECT_FALSE(get(instance()).body["properties"].contains("protectionErrorDetails"));
}

TEST_F(BackupInstances, AMissingDatabaseAndMissingRightsAreFindings) {
    EXPECT_EQ(
        wait(post(vault() + "/validateForBackup", validation("ghost")))["error"]["code"],
        "UserErrorDBNotFound"
    );
    add_finding(
        "MissingSelect", "No SELECT on public.emp.", "GRANT SELECT ON public.emp TO backup;"
    );
    const Json status = wait(post(vault() + "/validateForBackup", validation()));
    EXPECT_EQ(status["error"]["code"], "UserErrorMissingDBPermissions");
    EXPECT_THAT(status.dump(), HasSubstr("GRANT SELECT ON public.emp TO backup;"));
}

TEST_F(BackupInstances, TheStatesOfProtection) {
    configure();
    const auto state = [&] {
        return get(instance()).body["properties"]["currentProtectionState"].get<std::string>();
    };
    // Nothing to do: success without a body.
    EXPECT_EQ(post(instance() + "/resumeProtection").status, 200);
    EXPECT_EQ(wait(post(instance() + "/stopProtection"))["status"], "Succeeded");
    EXPECT_EQ(state(), "ProtectionStopped");
    EXPECT_EQ(post(instance() + "/resumeProtection").status, 202);
    EXPECT_EQ(state(), "ProtectionConfigured");
    EXPECT_EQ(
        post(
            instance() + "/suspendBackups", {{"resourceGuardOperationRequests", Json::array()}}
        ).status,
        202
    );
    EXPECT_EQ(state(), "BackupsSuspended");
    EXPECT_EQ(post(instance() + "/resumeBackups").status, 202);
    EXPECT_EQ(state(), "ProtectionConfigured");
    EXPECT_EQ(
        post(instance("Ghost") + "/stopProtection").code(), "UserErrorGenericResourceNotFound"
    );
}

TEST_F(BackupInstances, SoftDeleteAndBack) {
    configure();
    EXPECT_EQ(del(instance("Ghost")).status, 204);
    const Answer deleted = del(instance());
    ASSERT_EQ(deleted.status, 202) << deleted.body.dump();
    EXPECT_EQ(wait(deleted)["status"], "Succeeded");
    EXPECT_EQ(get(instance()).code(), "UserErrorGenericResourceNotFound");
    EXPECT_EQ(del(instance()).status, 204);
    EXPECT_EQ(get(vault() + "/backupInstances").body["value"], Json::array());
    const std::string place = vault() + "/deletedBackupInstances/BI";
    const Json shown = get(place).body;
    EXPECT_EQ(shown["id"], place);
    EXPECT_EQ(shown["properties"]["objectType"], "DeletedBackupInstance");
    EXPECT_EQ(shown["properties"]["currentProtectionState"], "SoftDeleted");
    EXPECT_EQ(
        shown["properties"]["deletionInfo"]["scheduledPurgeTime"], "2026-01-16T03:04:05.0000000Z"
    );
    EXPECT_EQ(get(vault() + "/deletedBackupInstances").body["value"].size(), 1U);
    EXPECT_EQ(del(vault()).status, 400);
    EXPECT_EQ(post(place + "/undelete").status, 202);
    EXPECT_EQ(get(instance()).body["properties"]["currentProtectionState"], "ProtectionStopped");
    EXPECT_EQ(post(place + "/undelete").code(), "UserErrorGenericResourceNotFound");
}

TEST_F(BackupInstances, WithSoftDeleteOffADeletionIsFinal) {
    Json body = vault_body();
    body["properties"]["securitySettings"]["softDeleteSettings"]["state"] = "Off";
    ASSERT_EQ(put(vault(), body).status, 200);
    configure();
    EXPECT_EQ(del(instance()).status, 202);
    EXPECT_EQ(get(vault() + "/deletedBackupInstances").body["value"], Json::array());
    // Newer versions of the API always delete softly.
    configure();
    EXPECT_EQ(del(instance() + "?api-version=2025-09-01").status, 202);
    EXPECT_EQ(get(vault() + "/deletedBackupInstances").body["value"].size(), 1U);
}

}  // namespace
}  // namespace holdfast::control
