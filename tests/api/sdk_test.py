#!/usr/bin/env python3
"""Azure's own Python clients, as Debian ships them, drive the real server through whole lives of vaults and backup instances,
with a real backup and restore of a real PostgreSQL."""
import os
import shutil
import sys
import tempfile
import time
import unittest

os.environ.setdefault("AZURE_CORE_TRACING_DISABLED", "1")
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from azure.core.credentials import AccessToken  # noqa: E402
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError  # noqa: E402
from azure.mgmt.dataprotection import DataProtectionClient  # noqa: E402
from azure.mgmt.dataprotection import models as dp  # noqa: E402
from azure.mgmt.rdbms.postgresql_flexibleservers import PostgreSQLManagementClient  # noqa: E402
from azure.mgmt.resourcegraph import ResourceGraphClient  # noqa: E402
from azure.mgmt.resourcegraph.models import QueryRequest, QueryRequestOptions  # noqa: E402
from harness import Site  # noqa: E402

PROGRAM = os.environ["HOLDFAST"]
DATASOURCE_TYPE = "Microsoft.DBforPostgreSQL/flexibleServers"
GROUP = "sdk-rg"


class OwnerToken:
    """What azure-identity would do with a login: a bearer token that is good for an hour."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *_scopes, **_options):
        return AccessToken(self.token, int(time.time()) + 3600)


class SdkTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="holdfast-sdk-")
        os.chmod(cls.directory, 0o755)
        cls.site = Site(PROGRAM, cls.directory)
        cls.postgres, cls.holdfast = cls.site.postgres, cls.site.holdfast
        for name in ("shop", "crm"):
            cls.postgres.sql("postgres", f"CREATE DATABASE {name}")
            cls.postgres.sql(name, "CREATE TABLE t AS SELECT i, md5(i::text) AS v FROM generate_series(1, 5000) i")
        cls.subscription = cls.site.vault["id"].split("/")[2]
        cls.options = {
            "credential": OwnerToken(cls.holdfast.token), "subscription_id": cls.subscription, "base_url": cls.holdfast.url,
            "credential_scopes": [cls.holdfast.url + "//.default"], "polling_interval": 1,
            "connection_verify": os.path.join(cls.holdfast.state, "tls", "ca.pem")}
        cls.client = DataProtectionClient(**cls.options)
        cls.server_id = cls.site.server_id

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.site.stop()
        shutil.rmtree(cls.directory, ignore_errors=True)

    # ---- What every test needs

    def make_vault(self, name, state="On", days=14.0):
        body = dp.BackupVaultResource(
            location="westus", identity=dp.DppIdentityDetails(type="SystemAssigned"),
            properties=dp.BackupVault(
                storage_settings=[dp.StorageSetting(datastore_type="VaultStore", type="LocallyRedundant")],
                security_settings=dp.SecuritySettings(
                    soft_delete_settings=dp.SoftDeleteSettings(state=state, retention_duration_in_days=days))))
        return self.client.backup_vaults.begin_create_or_update(GROUP, name, body).result()

    def make_policy(self, vault, name, months="P3M"):
        rules = [
            dp.AzureBackupRule(
                name="BackupWeekly", backup_parameters=dp.AzureBackupParams(backup_type="Full"),
                data_store=dp.DataStoreInfoBase(data_store_type="VaultStore", object_type="DataStoreInfoBase"),
                trigger=dp.ScheduleBasedTriggerContext(
                    schedule=dp.BackupSchedule(repeating_time_intervals=["R/2021-08-15T06:30:00+00:00/P1W"], time_zone="UTC"),
                    tagging_criteria=[dp.TaggingCriteria(is_default=True, tagging_priority=99,
                                                         tag_info=dp.RetentionTag(tag_name="Default"))])),
            dp.AzureRetentionRule(
                name="Default", is_default=True,
                lifecycles=[dp.SourceLifeCycle(
                    delete_after=dp.AbsoluteDeleteOption(duration=months),
                    source_data_store=dp.DataStoreInfoBase(data_store_type="VaultStore", object_type="DataStoreInfoBase"),
                    target_data_store_copy_settings=[])])]
        body = dp.BaseBackupPolicyResource(properties=dp.BackupPolicy(datasource_types=[DATASOURCE_TYPE], policy_rules=rules))
        return self.client.backup_policies.create_or_update(GROUP, vault, name, body)

    def instance_properties(self, database, policy):
        identifier = f"{self.server_id}/databases/{database}"
        return dp.BackupInstance(
            friendly_name=database, object_type="BackupInstance", policy_info=dp.PolicyInfo(policy_id=policy.id),
            data_source_info=dp.Datasource(
                resource_id=identifier, resource_uri=identifier, datasource_type=DATASOURCE_TYPE, object_type="Datasource",
                resource_name=database, resource_type=DATASOURCE_TYPE, resource_location="westus"))

    def protect(self, vault, name, database, policy):
        properties = self.instance_properties(database, policy)
        self.client.backup_instances.begin_validate_for_backup(
            GROUP, vault, dp.ValidateForBackupRequest(backup_instance=properties)).result()
        return self.client.backup_instances.begin_create_or_update(
            GROUP, vault, name, dp.BackupInstanceResource(properties=properties)).result()

    def wait_for_job(self, vault, identifier):
        name = identifier.split("/")[-1]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            job = self.client.jobs.get(GROUP, vault, name)
            if job.properties.status not in ("InProgress", "Cancelling"):
                return job
            time.sleep(0.2)
        raise AssertionError(f"the job {name} does not end")

    def back_up(self, vault, instance):
        result = self.client.backup_instances.begin_adhoc_backup(
            GROUP, vault, instance, dp.TriggerBackupRequest(backup_rule_options=dp.AdHocBackupRuleOptions(
                rule_name="BackupWeekly", trigger_option=dp.AdhocBackupTriggerOption()))).result()
        job = self.wait_for_job(vault, result.job_id)
        self.assertEqual(job.properties.status, "Completed", job.properties.error_details)
        return job

    def restore(self, vault, instance, request):
        self.client.backup_instances.begin_validate_for_restore(
            GROUP, vault, instance, dp.ValidateRestoreRequestObject(restore_request_object=request)).result()
        result = self.client.backup_instances.begin_trigger_restore(GROUP, vault, instance, request).result()
        job = self.wait_for_job(vault, result.job_id)
        self.assertEqual(job.properties.status, "Completed", job.properties.error_details)
        return job

    def digest(self, database):
        return self.postgres.sql(database, "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM t")

    # ---- Lives

    def test_a_database_is_backed_up_and_restored_both_ways(self):
        vault = self.make_vault("LifeVault")
        self.assertEqual(vault.properties.provisioning_state, "Succeeded")
        self.assertEqual(vault.properties.security_settings.soft_delete_settings.retention_duration_in_days, 14.0)
        self.assertTrue(vault.identity.principal_id)
        policy = self.make_policy("LifeVault", "weekly")
        instance = self.protect("LifeVault", "shop-shop-1", "shop", policy)
        self.assertEqual(instance.properties.current_protection_state, "ProtectionConfigured")
        self.assertEqual(instance.properties.protection_status.status, "ProtectionConfigured")

        job = self.back_up("LifeVault", "shop-shop-1")
        self.assertEqual(job.properties.operation_category, "Backup")
        self.assertTrue(job.properties.is_user_triggered)
        self.assertGreater(job.properties.extended_info.data_transferred_in_bytes, 0)
        self.assertEqual(job.properties.extended_info.sub_tasks[0].task_name, "Trigger Backup")
        self.assertIn(job.name, [one.name for one in self.client.jobs.list(GROUP, "LifeVault")])

        points = list(self.client.recovery_points.list(GROUP, "LifeVault", "shop-shop-1", filter=""))
        self.assertEqual(len(points), 1)
        point = self.client.recovery_points.get(GROUP, "LifeVault", "shop-shop-1", points[0].name)
        self.assertEqual(point.properties.object_type, "AzureBackupDiscreteRecoveryPoint")
        self.assertEqual(point.properties.recovery_point_data_stores_details[0].type, "VaultStore")
        none = self.client.recovery_points.list(GROUP, "LifeVault", "shop-shop-1", filter="endDate eq '2021-01-01T00:00:00.0000000Z'")
        self.assertEqual(list(none), [])

        target = f"{self.server_id}/databases/shop_copy"
        job = self.restore("LifeVault", "shop-shop-1", dp.AzureBackupRecoveryPointBasedRestoreRequest(
            recovery_point_id=point.name, source_data_store_type="VaultStore",
            restore_target_info=dp.RestoreTargetInfo(
                recovery_option="FailIfExists", restore_location="westus",
                datasource_info=dp.Datasource(resource_id=target, datasource_type=DATASOURCE_TYPE, object_type="Datasource",
                                              resource_name="shop_copy", resource_uri=target))))
        self.assertEqual(job.properties.extended_info.recovery_destination, target)
        self.addCleanup(self.postgres.sql, "postgres", "DROP DATABASE shop_copy")
        self.assertEqual(self.digest("shop_copy"), self.digest("shop"))

        job = self.restore("LifeVault", "shop-shop-1", dp.AzureBackupRecoveryPointBasedRestoreRequest(
            recovery_point_id=point.name, source_data_store_type="VaultStore",
            restore_target_info=dp.RestoreFilesTargetInfo(
                recovery_option="FailIfExists", restore_location="westus",
                target_details=dp.TargetDetails(file_prefix="sdk", restore_target_location_type="AzureBlobs",
                                                url=f"{self.holdfast.url}/restore/files"))))
        self.assertIn("sdk_database_shop.sql", os.listdir(self.holdfast.restore))
        self.assertEqual(job.properties.extended_info.additional_details["Restore File Prefix"], "sdk")

    def test_an_instance_goes_through_all_its_states(self):
        self.make_vault("StateVault")
        first, second = self.make_policy("StateVault", "first"), self.make_policy("StateVault", "second", "P1Y")
        self.protect("StateVault", "crm-crm-1", "crm", first)
        instances = self.client.backup_instances

        def state():
            return instances.get(GROUP, "StateVault", "crm-crm-1").properties.current_protection_state

        self.back_up("StateVault", "crm-crm-1")
        shown = instances.get(GROUP, "StateVault", "crm-crm-1")
        shown.properties.policy_info.policy_id = second.id
        changed = instances.begin_create_or_update(GROUP, "StateVault", "crm-crm-1", shown).result()
        self.assertEqual(changed.properties.policy_info.policy_id, second.id)
        self.assertEqual(state(), "ProtectionConfigured")
        instances.begin_suspend_backups(GROUP, "StateVault", "crm-crm-1").result()
        self.assertEqual(state(), "BackupsSuspended")
        instances.begin_resume_backups(GROUP, "StateVault", "crm-crm-1").result()
        instances.begin_stop_protection(GROUP, "StateVault", "crm-crm-1").result()
        self.assertEqual(state(), "ProtectionStopped")
        with self.assertRaises(HttpResponseError) as refused:
            instances.begin_adhoc_backup(GROUP, "StateVault", "crm-crm-1", dp.TriggerBackupRequest(
                backup_rule_options=dp.AdHocBackupRuleOptions(rule_name="BackupWeekly", trigger_option=dp.AdhocBackupTriggerOption())))
        self.assertEqual(refused.exception.error.code, "UserErrorInvalidProtectionState")
        instances.begin_resume_protection(GROUP, "StateVault", "crm-crm-1").result()
        self.assertEqual(state(), "ProtectionConfigured")
        instances.begin_sync_backup_instance(GROUP, "StateVault", "crm-crm-1", dp.SyncBackupInstanceRequest(sync_type="Default")).result()

        instances.begin_delete(GROUP, "StateVault", "crm-crm-1").result()
        with self.assertRaises(ResourceNotFoundError):
            instances.get(GROUP, "StateVault", "crm-crm-1")
        deleted = self.client.deleted_backup_instances
        self.assertEqual([one.name for one in deleted.list(GROUP, "StateVault")], ["crm-crm-1"])
        info = deleted.get(GROUP, "StateVault", "crm-crm-1").properties.deletion_info
        self.assertTrue(info.scheduled_purge_time)
        with self.assertRaises(HttpResponseError) as full:
            self.client.backup_vaults.delete(GROUP, "StateVault")
        self.assertEqual(full.exception.error.code, "UserErrorDppVaultNotEmpty")
        deleted.begin_undelete(GROUP, "StateVault", "crm-crm-1").result()
        self.assertEqual(state(), "ProtectionStopped")
        self.assertEqual(len(list(self.client.recovery_points.list(GROUP, "StateVault", "crm-crm-1"))), 1)

    def test_vaults_policies_and_guards(self):
        vaults = self.client.backup_vaults
        self.make_vault("Settings", "Off", 0.0)
        check = vaults.check_name_availability(GROUP, "westus", dp.CheckNameAvailabilityRequest(
            name="settings", type="Microsoft.DataProtection/BackupVaults"))
        self.assertFalse(check.name_available)
        patched = vaults.begin_update(GROUP, "Settings", dp.PatchResourceRequestInput(tags={"k": "v"})).result()
        self.assertEqual(patched.tags, {"k": "v"})
        self.assertIn("Settings", [one.name for one in vaults.get_in_resource_group(GROUP)])
        self.assertIn("Settings", [one.name for one in vaults.get_in_subscription()])
        policy = self.make_policy("Settings", "p")
        self.assertEqual(policy.properties.policy_rules[1].lifecycles[0].delete_after.duration, "P3M")
        self.assertEqual([one.name for one in self.client.backup_policies.list(GROUP, "Settings")], ["p"])
        self.client.backup_policies.delete(GROUP, "Settings", "p")

        guards = self.client.resource_guards
        guard = guards.put(GROUP, "Guard", dp.ResourceGuardResource(location="westus"))
        self.assertEqual(len(guard.properties.resource_guard_operations), 9)
        self.assertEqual([one.name for one in guards.get_resources_in_resource_group(GROUP)], ["Guard"])
        self.assertEqual([one.name for one in guards.get_resources_in_subscription()], ["Guard"])
        patched = guards.patch(GROUP, "Guard", dp.PatchResourceRequestInput(tags={"a": "b"}))
        self.assertEqual(patched.tags, {"a": "b"})
        requests = guards.get_delete_protected_item_requests_objects(GROUP, "Guard")
        self.assertEqual([one.name for one in requests], ["default"])
        default = guards.get_default_disable_soft_delete_requests_object(GROUP, "Guard", "default")
        self.assertEqual(default.name, "default")
        guards.delete(GROUP, "Guard")
        vaults.delete(GROUP, "Settings")
        with self.assertRaises(ResourceNotFoundError):
            vaults.get(GROUP, "Settings")
        support = self.client.data_protection.check_feature_support(
            "westus", dp.FeatureValidationRequest(feature_name=DATASOURCE_TYPE, feature_type="DataSourceType"))
        self.assertEqual(support.features[0].support_status, "GenerallyAvailable")
        self.assertGreater(len(list(self.client.data_protection_operations.list())), 20)

    def test_errors_reach_the_caller_as_the_clients_parse_them(self):
        self.make_vault("ErrorVault")
        with self.assertRaises(ResourceNotFoundError) as missing:
            self.client.backup_vaults.get(GROUP, "nothing")
        self.assertEqual(missing.exception.error.code, "ResourceNotFound")
        policy = self.make_policy("ErrorVault", "p")
        with self.assertRaises(HttpResponseError) as unknown:
            self.protect("ErrorVault", "x", "no_such_database", policy)
        self.assertIn("no_such_database", unknown.exception.message)

    def test_the_resource_graph_answers(self):
        self.make_vault("GraphVault")
        graph = ResourceGraphClient(**{key: value for key, value in self.options.items() if key != "subscription_id"})
        self.addCleanup(graph.close)

        def ask(query, **options):
            return graph.resources(QueryRequest(subscriptions=[self.subscription], query=query,
                                                options=QueryRequestOptions(result_format="objectArray", **options)))

        found = ask("resources | where type =~ 'microsoft.dataprotection/backupvaults' | where name in~ ('graphvault')")
        self.assertEqual((found.count, found.total_records, found.data[0]["name"]), (1, 1, "GraphVault"))
        self.assertEqual(found.result_truncated, "false")
        first = ask("resources | where type =~ 'microsoft.dataprotection/backupvaults'", top=1)
        second = ask("resources | where type =~ 'microsoft.dataprotection/backupvaults'", top=1, skip_token=first.skip_token)
        self.assertNotEqual(first.data[0]["id"], second.data[0]["id"])
        with self.assertRaises(HttpResponseError) as fault:
            ask("resources | mvexpand x")
        self.assertIn("character 13", fault.exception.message)

    def test_registered_servers_are_shown_as_flexible_servers(self):
        client = PostgreSQLManagementClient(**self.options)
        self.addCleanup(client.close)
        server = client.servers.get(Site.GROUP, Site.SERVER)
        self.assertEqual(server.name, Site.SERVER)
        self.assertEqual(server.administrator_login, "postgres")
        self.assertIn(Site.SERVER, [one.name for one in client.servers.list()])
        self.assertIn(Site.SERVER, [one.name for one in client.servers.list_by_resource_group(Site.GROUP)])
        self.assertIn("shop", [one.name for one in client.databases.list_by_server(Site.GROUP, Site.SERVER)])
        self.assertEqual(client.databases.get(Site.GROUP, Site.SERVER, "crm").name, "crm")

    def test_a_repeat_of_a_request_starts_nothing_twice(self):
        self.make_vault("ReplayVault")
        policy = self.make_policy("ReplayVault", "p")
        self.postgres.sql("postgres", "CREATE DATABASE replay")
        self.protect("ReplayVault", "r", "replay", policy)
        body = dp.TriggerBackupRequest(backup_rule_options=dp.AdHocBackupRuleOptions(
            rule_name="BackupWeekly", trigger_option=dp.AdhocBackupTriggerOption()))
        identifiers = {
            self.client.backup_instances.begin_adhoc_backup(GROUP, "ReplayVault", "r", body, request_id="the-same").result().job_id
            for _ in range(3)}
        self.assertEqual(len(identifiers), 1, identifiers)
        self.wait_for_job("ReplayVault", identifiers.pop())
        self.assertEqual(len(list(self.client.jobs.list(GROUP, "ReplayVault"))), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
