#include "jobs/protection_service.h"

#include "jobs/engine_testing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::jobs {
namespace {

using testing::at;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kGroup;
using testing::kPolicy;
using testing::kServer;
using testing::kVault;
using ::testing::SizeIs;
using testing::World;

const std::string kInstance = kVault + "/backupInstances/app";
constexpr auto kAsVault = ProtectionService::SoftDeleteRule::kAsVault;
constexpr auto kAlways = ProtectionService::SoftDeleteRule::kAlways;

Error error_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error;
    }
    ADD_FAILURE() << "nothing was thrown";
    return Error{ErrorKind::kInternal, ""};
}

catalog::InstanceRecord wanted(const std::string& name, const std::string& datasource) {
    catalog::InstanceRecord instance;
    instance.id = kVault + "/backupInstances/" + name;
    instance.vault_id = kVault;
    instance.name = name;
    instance.friendly_name = name;
    instance.datasource_id = datasource;
    instance.datasource_type = "Microsoft.DBforPostgreSQL/flexibleServers";
    instance.policy_id = kPolicy;
    return instance;
}

void set_vault(World& world, const std::function<void(Json&)>& change) {
    catalog::VaultRecord vault = world.vault();
    change(vault.properties);
    world.service->update_vault(vault);
}

/// The last state record of the vault.
vault::StateRecord last_state(World& world) {
    const auto log = world.repositories->open(world.vault())->read_states(0, {});
    EXPECT_TRUE(log.complete);
    return log.records.empty() ? vault::StateRecord{} : log.records.back().record;
}

TEST(ProtectionTest, ProtectsAndRepeatsThePutAsAnUpdate) {
    World world;
    const auto begun = world.service->begin_protection(wanted("app", kServer + "/databases/app"));
    EXPECT_EQ(begun.state, "ConfiguringProtection");
    EXPECT_EQ(begun.provisioning_state, "Provisioning");
    EXPECT_EQ(begun.policy_name, "policy");
    EXPECT_EQ(begun.tag_bound_at, "639032112000000000");
    const auto done =
        world.service->finish_protection(kInstance, ProtectionService::Validation::kDeep, {});
    EXPECT_EQ(done.state, "ProtectionConfigured");
    EXPECT_EQ(done.provisioning_state, "Succeeded");
    world.clock.advance(std::chrono::hours{1});
    const auto again = world.service->begin_protection(wanted("APP", kServer + "/databases/app"));
    EXPECT_EQ(again.name, "app");
    EXPECT_EQ(again.created_at, begun.created_at);
    EXPECT_EQ(again.tag_bound_at, begun.tag_bound_at);
    EXPECT_EQ(
        world.service->finish_protection(kInstance, ProtectionService::Validation::kDeep, {}).state,
        "ProtectionConfigured"
    );
}

TEST(ProtectionTest, OneInstancePerDatasourceNamingVaultAndInstance) {
    World world;
    world.protect("app");
    for (const std::string name : {"other", ""}) {  // PUT of another name, and validateForBackup.
        auto instance = wanted(name, kServer + "/DATABASES/app");
        if (name.empty()) {
            instance.id.clear();
        }
        const Error error = error_of([&] { world.service->check_instance(instance); });
        EXPECT_EQ(error.kind(), ErrorKind::kDatasourceAlreadyProtected);
        EXPECT_THAT(
            error.text().message, HasSubstr("backup instance app in the Backup vault " + kVault)
        );
        EXPECT_THAT(error.text().message, HasSubstr("ProtectionConfigured"));
    }
}

TEST(ProtectionTest, BadInputIsRefusedAndChangesNothing) {
    World world;
    const auto kind = [&](const catalog::InstanceRecord& instance) {
        return error_of([&] { world.service->begin_protection(instance); }).kind();
    };
    EXPECT_EQ(kind(wanted("x", "not-an-id")), ErrorKind::kInvalidResourceId);
    EXPECT_EQ(
        kind(wanted("x", kGroup + "/providers/Microsoft.DBforPostgreSQL/flexibleServers/nonesuch")),
        ErrorKind::kServerNotRegistered
    );
    auto instance = wanted("x", kServer);
    instance.policy_id = kPolicy + "x";
    EXPECT_EQ(kind(instance), ErrorKind::kResourceNotFound);
    instance = wanted("x", kServer);
    instance.datasource_type = "Microsoft.Compute/disks";
    EXPECT_EQ(kind(instance), ErrorKind::kDatasourceUnsupported);
    instance = wanted("x", kServer);
    instance.secret_uri = "https://vault/secrets/nonesuch";
    EXPECT_EQ(kind(instance), ErrorKind::kSecretNotFound);
    EXPECT_THAT(world.catalog->list<catalog::InstanceRecord>(), IsEmpty());
    world.protect("app");
    EXPECT_EQ(kind(wanted("app", kServer + "/databases/another")), ErrorKind::kInvalidInput);
}

TEST(ProtectionTest, AFailedValidationShowsOnTheInstance) {
    World world;
    world.data_plane.preflight_error =
        Error{ErrorKind::kServerAuthFailed, "password authentication failed"};
    world.service->begin_protection(wanted("app", kServer + "/databases/app"));
    EXPECT_EQ(
        error_of([&] {
            world.service->finish_protection(kInstance, ProtectionService::Validation::kDeep, {});
        }).kind(),
        ErrorKind::kServerAuthFailed
    );
    EXPECT_EQ(world.instance("app").state, "ConfiguringProtectionFailed");
    EXPECT_EQ(world.instance("app").provisioning_state, "Failed");
    EXPECT_EQ(world.instance("app").protection_error.at("code"), "UserErrorDBUserAuthFailed");
    // Cured, the same PUT makes it well.
    world.data_plane.preflight_error.reset();
    EXPECT_EQ(world.protect("app").state, "ProtectionConfigured");
    EXPECT_TRUE(world.instance("app").protection_error.is_null());
}

TEST(ProtectionTest, StopSuspendResumeAreInTheRepositoryToo) {
    World world;
    world.protect("app");
    EXPECT_EQ(world.service->suspend_backups(kInstance, {"me", "id"}).state, "BackupsSuspended");
    EXPECT_EQ(last_state(world).kind, vault::StateKind::kProtectionStopped);
    EXPECT_THAT(last_state(world).document_json, HasSubstr("BackupsSuspended"));
    EXPECT_EQ(world.service->resume_protection(kInstance, {}).state, "ProtectionConfigured");
    EXPECT_EQ(last_state(world).kind, vault::StateKind::kProtectionResumed);
    EXPECT_EQ(world.service->stop_protection(kInstance, {}).state, "ProtectionStopped");
    EXPECT_EQ(last_state(world).kind, vault::StateKind::kProtectionStopped);
    world.service->resume_protection(kInstance, {});
    const auto before = world.repositories->open(world.vault())->read_states(0, {}).records.size();
    world.service->resume_protection(kInstance, {});  // Nothing to do: 200 with an empty body.
    EXPECT_EQ(world.repositories->open(world.vault())->read_states(0, {}).records.size(), before);
}

TEST(ProtectionTest, DeletedSoftlyAndBack) {
    World world;
    world.start();
    world.protect("app");
    (void)world.backup("app");
    world.wait_idle();
    const auto deleted = world.service->delete_instance(kInstance, kAsVault, {"me", "activity"});
    ASSERT_TRUE(deleted.has_value());
    EXPECT_TRUE(deleted->soft_deleted);
    EXPECT_EQ(deleted->delete_activity_id, "activity");
    EXPECT_EQ(last_state(world).kind, vault::StateKind::kSoftDeleted);
    EXPECT_EQ(last_state(world).until, deleted->purge_at);
    EXPECT_EQ(
        error_of([&] { world.service->stop_protection(kInstance, {}); }).kind(),
        ErrorKind::kGenericResourceNotFound
    );
    EXPECT_EQ(
        error_of([&] { world.service->begin_protection(wanted("app", kServer + "/databases/app")); }
        ).kind(),
        ErrorKind::kInvalidProtectionState
    );
    // Its datasource is free meanwhile; then the instance comes back, but cannot resume.
    world.service->begin_protection(wanted("second", kServer + "/databases/app"));
    EXPECT_EQ(world.service->undelete_instance(kInstance, {}).state, "ProtectionStopped");
    EXPECT_EQ(
        error_of([&] { world.service->resume_protection(kInstance, {}); }).kind(),
        ErrorKind::kDatasourceAlreadyProtected
    );
    EXPECT_THAT(world.points("app"), SizeIs(1));
}

TEST(ProtectionTest, WithSoftDeleteOffAllIsGoneAtOnceUnlessTheApiVersionForbids) {
    World world;
    world.start();
    world.protect("app");
    set_vault(world, [](Json& properties) {
        properties["securitySettings"]["softDeleteSettings"]["state"] = "Off";
    });
    (void)world.backup("app");
    world.wait_idle();
    ASSERT_TRUE(world.service->delete_instance(kInstance, kAlways, {}).has_value());
    world.service->undelete_instance(kInstance, {});
    EXPECT_FALSE(world.service->delete_instance(kInstance, kAsVault, {}).has_value());
    EXPECT_THAT(world.points("app"), IsEmpty());
    EXPECT_THAT(world.repositories->open(world.vault())->list_points({}).points, IsEmpty());
    EXPECT_FALSE(world.catalog->get<catalog::InstanceRecord>(kInstance).has_value());
}

TEST(ProtectionTest, AnImmutableVaultKeepsUnexpiredPoints) {
    World world;
    world.start();
    world.protect("app");
    (void)world.backup("app");
    world.wait_idle();
    set_vault(world, [](Json& properties) {
        properties["securitySettings"]["immutabilitySettings"]["state"] = "Locked";
    });
    EXPECT_EQ(last_state(world).kind, vault::StateKind::kImmutabilityRaised);
    EXPECT_EQ(
        error_of([&] { world.service->delete_instance(kInstance, kAsVault, {}); }).kind(),
        ErrorKind::kImmutableData
    );
    EXPECT_EQ(
        error_of([&] {
            set_vault(world, [](Json& properties) {
                properties["securitySettings"]["immutabilitySettings"]["state"] = "Unlocked";
            });
        }).kind(),
        ErrorKind::kImmutabilityChangeRefused
    );
}

TEST(ProtectionTest, SoftDeleteAlwaysOnStays) {
    World world;
    set_vault(world, [](Json& properties) {
        properties["securitySettings"]["softDeleteSettings"]["state"] = "AlwaysOn";
    });
    EXPECT_EQ(
        error_of([&] {
            set_vault(world, [](Json& properties) {
                properties["securitySettings"]["softDeleteSettings"]["state"] = "Off";
            });
        }).kind(),
        ErrorKind::kSoftDeleteChangeRefused
    );
}

TEST(ProtectionTest, NothingIsDeletedUnderARunningJob) {
    World world;
    world.start();
    world.protect("app");
    world.data_plane.close_gate();
    const std::string job = world.backup("app");
    const testing::Deadline deadline;
    ASSERT_TRUE(world.data_plane.wait_for_waiting(1, deadline.token()));
    const Error error = error_of([&] { world.service->delete_instance(kInstance, kAsVault, {}); });
    EXPECT_EQ(error.kind(), ErrorKind::kObjectLocked);
    EXPECT_THAT(error.text().message, HasSubstr(job));
    world.data_plane.open_gate();
    world.wait_idle();
}

TEST(ProtectionTest, AVaultIsDeletedOnlyEmptyAndItsDirectoryWithIt) {
    World world;
    world.protect("app");
    EXPECT_EQ(
        error_of([&] { world.service->delete_vault(kVault); }).kind(), ErrorKind::kVaultNotEmpty
    );
    set_vault(world, [](Json& properties) {
        properties["securitySettings"]["softDeleteSettings"]["state"] = "Off";
    });
    world.service->delete_instance(kInstance, kAsVault, {});
    EXPECT_EQ(
        error_of([&] { world.service->delete_vault(kVault); }).kind(), ErrorKind::kVaultNotEmpty
    );
    world.catalog->write([&](catalog::Transaction& transaction) {
        transaction.remove<catalog::PolicyRecord>(kPolicy);
    });
    EXPECT_TRUE(world.service->delete_vault(kVault));
    EXPECT_FALSE(world.service->delete_vault(kVault));
}

TEST(ProtectionTest, AVaultOfTheNameIsAConflict) {
    World world;
    EXPECT_EQ(
        error_of([&] { world.service->create_vault(world.vault()); }).kind(), ErrorKind::kConflict
    );
}

TEST(SettleTest, AStateThatTheCatalogMissedIsRolledForward) {
    World world;
    world.protect("app");
    // As if the process had died between the state record and the catalog's commit.
    world.clock.advance(std::chrono::seconds{1});
    world.repositories->open(world.vault())
        ->append_state(
            {.kind = vault::StateKind::kSoftDeleted,
             .instance_id = kInstance,
             .until = at("2026-02-01T00:00:00Z"),
             .document_json = "{}"},
            {}
        );
    EXPECT_FALSE(world.instance("app").soft_deleted);
    world.restart();
    world.start();
    EXPECT_TRUE(world.instance("app").soft_deleted);
    EXPECT_EQ(world.instance("app").purge_at, at("2026-02-01T00:00:00Z"));
}

TEST(SettleTest, AStateThatTheCatalogHasIsNotAppliedAgain) {
    World world;
    world.protect("app");
    world.clock.advance(std::chrono::seconds{1});
    world.service->stop_protection(kInstance, {});
    world.service->resume_protection(kInstance, {});
    world.restart();
    world.start();
    EXPECT_EQ(world.instance("app").state, "ProtectionConfigured");
}

TEST(SettleTest, AnInterruptedConfigurationIsSaidToHaveFailed) {
    World world;
    world.service->begin_protection(wanted("app", kServer + "/databases/app"));
    world.restart();
    world.start();
    EXPECT_EQ(world.instance("app").state, "ConfiguringProtectionFailed");
    EXPECT_EQ(world.instance("app").provisioning_state, "Failed");
    EXPECT_EQ(
        world.instance("app").protection_error.at("code"), "UserErrorJobInterruptedByRestart"
    );
}

}  // namespace
}  // namespace holdfast::jobs
