#include "control/routes/providers/data_protection/deleted_vaults.h"

#include "control/routes/testing/api_fixture.h"

namespace holdfast::control {
namespace {

class DeletedVaults : public ApiFixture {
protected:
    static constexpr std::string_view kNew = "?api-version=2025-09-01";

    void SetUp() override { protect(); }
    Answer delete_as_of(std::string_view version) { return del(vault() + std::string{version}); }
    Json deleted() {
        return get(fmt::format(
                       "/subscriptions/{}/providers/Microsoft.DataProtection/locations/westus/"
                       "deletedVaults{}",
                       kSubscription,
                       kNew
                   ))
            .body["value"];
    }
    Answer put_naming(const std::string& name) {
        Headers headers;
        headers.set("x-ms-deleted-vault-id", name);
        return call("PUT", vault() + std::string{kNew}, vault_body(), headers);
    }
};

TEST_F(DeletedVaults, ADeletionIsSoftFromItsApiVersionOn) {
    EXPECT_EQ(delete_as_of(kNew).code(), "UserErrorDppVaultNotEmpty");
    ASSERT_EQ(del(vault() + "/backupInstances/BI").status, 202);
    // Older versions want it wholly empty, and then remove it for good.
    EXPECT_EQ(delete_as_of("?api-version=2024-04-01").code(), "UserErrorDppVaultNotEmpty");
    const Answer answer = delete_as_of(kNew);
    ASSERT_EQ(answer.status, 202) << answer.body.dump();
    EXPECT_EQ(wait(answer)["status"], "Succeeded");
    EXPECT_EQ(get(vault()).status, 404);
    EXPECT_EQ(delete_as_of(kNew).status, 204);
    EXPECT_EQ(get(vault() + "/backupPolicies").status, 404);
    EXPECT_EQ(
        get(group() + "/providers/Microsoft.DataProtection/backupVaults").body["value"].size(), 0U
    );
    const Json list = deleted();
    ASSERT_EQ(list.size(), 1U);
    EXPECT_EQ(list[0]["properties"]["originalBackupVaultId"], vault());
    EXPECT_EQ(
        list[0]["properties"]["resourceDeletionInfo"]["scheduledPurgeTime"],
        "2026-01-16T03:04:05.0000000Z"
    );
    EXPECT_EQ(get(list[0]["id"].get<std::string>() + std::string{kNew}).body, list[0]);
}

TEST_F(DeletedVaults, ItComesBackWhole) {
    const std::string etag = get(vault()).header("ETag");
    ASSERT_EQ(del(vault() + "/backupInstances/BI").status, 202);
    ASSERT_EQ(delete_as_of(kNew).status, 202);
    const std::string name = deleted()[0]["name"];
    EXPECT_EQ(put(vault(), vault_body()).status, 409);
    EXPECT_EQ(put_naming("00000000-0000-4000-8000-000000000000").status, 409);
    Json bad = vault_body();
    bad["properties"]["storageSettings"] = "none";
    Headers headers;
    headers.set("x-ms-deleted-vault-id", name);
    EXPECT_EQ(call("PUT", vault(), bad, headers).status, 400);
    EXPECT_EQ(deleted().size(), 1U);
    const Answer back = put_naming(deleted()[0]["id"]);
    ASSERT_EQ(back.status, 200) << back.body.dump();
    EXPECT_EQ(get(vault()).status, 200);
    EXPECT_TRUE(deleted().empty());
    EXPECT_EQ(get(vault() + "/backupPolicies").body["value"].size(), 1U);
    EXPECT_EQ(post(vault() + "/deletedBackupInstances/BI/undelete").status, 202);
    EXPECT_EQ(put_naming(name).status, 404);
}

TEST_F(DeletedVaults, ItIsPurgedAtItsTimeAndNotBefore) {
    ASSERT_EQ(del(vault() + "/backupInstances/BI").status, 202);
    ASSERT_EQ(delete_as_of(kNew).status, 202);
    EXPECT_EQ(purge_deleted_vaults(services()), 0U);
    clock().advance(std::chrono::days{15});
    // Its instance's points go first, by the expiry job.
    EXPECT_EQ(purge_deleted_vaults(services()), 0U);
    EXPECT_EQ(deleted().size(), 1U);
    catalog().write([&](catalog::Transaction& transaction) {
        transaction.remove<catalog::InstanceRecord>(vault() + "/backupInstances/BI");
    });
    EXPECT_EQ(purge_deleted_vaults(services()), 1U);
    EXPECT_TRUE(deleted().empty());
    EXPECT_EQ(put(vault(), vault_body()).status, 201);
}

}  // namespace
}  // namespace holdfast::control
