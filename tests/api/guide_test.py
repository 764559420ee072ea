#!/usr/bin/env python3
"""The guide, step by step, through Azure's own Python clients: login, vault, policy, protection, backup, jobs, restore both ways,
and what is left when the server starts again. Prints what it does as a transcript; HOLDFAST_TRANSCRIPT=FILE writes it there too."""
import os
import shutil
import sys
import tempfile
import time
import unittest

os.environ.setdefault("AZURE_CORE_TRACING_DISABLED", "1")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from azure.identity import ClientSecretCredential  # noqa: E402
from azure.mgmt.dataprotection import DataProtectionClient  # noqa: E402
from azure.mgmt.dataprotection import models as dp  # noqa: E402
from azure.mgmt.rdbms.postgresql_flexibleservers import PostgreSQLManagementClient  # noqa: E402
from azure.mgmt.resource.resources import ResourceManagementClient  # noqa: E402
from azure.mgmt.resource.subscriptions import SubscriptionClient  # noqa: E402
from azure.mgmt.resourcegraph import ResourceGraphClient  # noqa: E402
from azure.mgmt.resourcegraph.models import QueryRequest, QueryRequestOptions  # noqa: E402
from harness import PASSWORD, Holdfast, Postgres, write_private  # noqa: E402

TYPE = "Microsoft.DBforPostgreSQL/flexibleServers"
GROUP, VAULT, POLICY, SERVER, DATABASE = "testBkpVaultRG", "TestBkpVault", "FinalOSSPolicy", "testposgresql", "empdb11"
# What `az dataprotection job list-from-resourcegraph --datasource-type … --status Completed` sends.
JOB_QUERY = (
    "RecoveryServicesResources | where type =~ 'microsoft.dataprotection/backupvaults/backupjobs'"
    "| extend vaultName = properties.vaultName| extend status = properties.status"
    "| extend operation = case( tolower(properties.operationCategory) startswith 'backup' and properties.isUserTriggered == 'true', "
    "strcat('OnDemand',properties.operationCategory), tolower(properties.operationCategory) startswith 'backup' and "
    "properties.isUserTriggered == 'false', strcat('Scheduled', properties.operationCategory), "
    "type =~ 'microsoft.dataprotection/backupVaults/backupJobs', properties.operationCategory, 'Invalid')"
    f"| extend datasourceId = properties.dataSourceId | where properties.dataSourceType in~ ('{TYPE}') | where status in~ ('Completed')")


class Transcript:
    def __init__(self):
        self.lines = []

    def step(self, title):
        self.lines += ["", f"## {title}"]

    def call(self, text, *results):
        self.lines += [f">>> {text}", *(f"    {result}" for result in results)]

    def close(self, names):
        text = "\n".join(self.lines).strip() + "\n"
        for value, name in names:  # What differs from run to run, by its name.
            text = text.replace(value, name)
        print(text)
        if os.environ.get("HOLDFAST_TRANSCRIPT"):
            with open(os.environ["HOLDFAST_TRANSCRIPT"], "w", encoding="utf-8") as file:
                file.write(text)


def store():
    return dp.DataStoreInfoBase(data_store_type="VaultStore", object_type="DataStoreInfoBase")


def retention(name, duration, is_default):
    return dp.AzureRetentionRule(name=name, is_default=is_default, lifecycles=[dp.SourceLifeCycle(
        delete_after=dp.AbsoluteDeleteOption(duration=duration), source_data_store=store(), target_data_store_copy_settings=[])])


def guide_policy():
    """Sunday, Wednesday and Friday at 22:00; kept for three months, the first of a month for six."""
    days = [f"R/2021-08-{day}T22:00:00+00:00/P1W" for day in (15, 18, 20)]
    tags = [
        dp.TaggingCriteria(is_default=True, tagging_priority=99, tag_info=dp.RetentionTag(tag_name="Default")),
        dp.TaggingCriteria(is_default=False, tagging_priority=15, tag_info=dp.RetentionTag(tag_name="Monthly"),
                           criteria=[dp.ScheduleBasedBackupCriteria(absolute_criteria=["FirstOfMonth"])])]
    rule = dp.AzureBackupRule(
        name="BackupWeekly", backup_parameters=dp.AzureBackupParams(backup_type="Full"), data_store=store(),
        trigger=dp.ScheduleBasedTriggerContext(
            schedule=dp.BackupSchedule(repeating_time_intervals=days, time_zone="UTC"), tagging_criteria=tags))
    return dp.BaseBackupPolicyResource(properties=dp.BackupPolicy(
        datasource_types=[TYPE], policy_rules=[rule, retention("Default", "P3M", True), retention("Monthly", "P6M", False)]))


class Guide(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="holdfast-guide-")
        os.chmod(cls.directory, 0o755)
        os.makedirs(os.path.join(cls.directory, "pg"))
        cls.postgres = Postgres(os.path.join(cls.directory, "pg"))
        cls.postgres.sql("postgres", f"CREATE DATABASE {DATABASE}")
        cls.postgres.sql(DATABASE, "CREATE TABLE emp AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 5000) i")
        cls.holdfast = Holdfast(os.environ["HOLDFAST"], cls.directory)
        # What an administrator does once: the server that Azure would know by itself, and a service principal to work as.
        password = write_private(os.path.join(cls.directory, "password"), PASSWORD)
        cls.server_id = cls.holdfast.cli(
            "postgres", "flexible-server", "register", "-g", "ossrg", "--name", SERVER, "--host", "127.0.0.1", "--port",
            str(cls.postgres.port), "--login", "postgres", "--password-file", password, "-l", "westus")["id"]
        subscription = cls.server_id.split("/")[2]
        cls.account = cls.holdfast.cli("ad", "sp", "create-for-rbac", "-n", "guide", "--role", "Owner", "--scopes", f"/subscriptions/{subscription}")
        os.environ["REQUESTS_CA_BUNDLE"] = os.path.join(cls.holdfast.state, "tls", "ca.pem")
        cls.transcript = Transcript()

    @classmethod
    def tearDownClass(cls):
        cls.holdfast.stop()
        cls.postgres.stop("immediate")
        shutil.rmtree(cls.directory, ignore_errors=True)

    def log_in(self):
        """The clients, as anybody points them at a cloud of his own."""
        url = self.holdfast.url
        credential = ClientSecretCredential("adfs", self.account["appId"], self.account["password"], authority=url)
        options = {"base_url": url, "credential_scopes": [url + "//.default"]}
        with SubscriptionClient(credential, **options) as subscriptions:
            self.subscription = next(subscriptions.subscriptions.list())
        identifier = self.subscription.subscription_id
        self.client = DataProtectionClient(credential, identifier, polling_interval=1, **options)
        self.resources = ResourceManagementClient(credential, identifier, **options)
        self.servers = PostgreSQLManagementClient(credential, identifier, **options)
        self.graph = ResourceGraphClient(credential, **options)
        for client in (self.client, self.resources, self.servers, self.graph, credential):
            self.addCleanup(client.close)

    def finished(self, identifier):
        name, deadline = identifier.split("/")[-1], time.monotonic() + 120
        while time.monotonic() < deadline:
            job = self.client.jobs.get(GROUP, VAULT, name)
            if job.properties.status != "InProgress":
                return job
            time.sleep(0.2)
        raise AssertionError(f"the job {name} does not end")

    def digest(self, database):
        return self.postgres.sql(database, "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM emp t")

    # ---- The guide's sections

    def create_vault(self):
        self.transcript.step("Create a Backup vault")
        vault = self.client.backup_vaults.begin_create_or_update(GROUP, VAULT, dp.BackupVaultResource(
            location="westus", identity=dp.DppIdentityDetails(type="SystemAssigned"),
            properties=dp.BackupVault(storage_settings=[dp.StorageSetting(datastore_type="VaultStore", type="LocallyRedundant")]))).result()
        self.assertEqual((vault.name, vault.location, vault.properties.provisioning_state), (VAULT, "westus", "Succeeded"))
        self.assertEqual(vault.properties.storage_settings[0].type, "LocallyRedundant")
        self.assertEqual(self.client.backup_vaults.get(GROUP, VAULT).identity.principal_id, vault.identity.principal_id)
        self.assertIn(VAULT, [one.name for one in self.client.backup_vaults.get_in_subscription()])
        self.transcript.call(f"client.backup_vaults.begin_create_or_update({GROUP!r}, {VAULT!r}, …).result()", vault.id,
                             f"location={vault.location} identity={vault.identity.type} provisioningState={vault.properties.provisioning_state}")

    def create_policy(self):
        self.transcript.step("Create a Backup policy")
        made = self.client.backup_policies.create_or_update(GROUP, VAULT, POLICY, guide_policy())
        shown = self.client.backup_policies.get(GROUP, VAULT, POLICY)
        self.assertEqual(made.serialize(), shown.serialize())
        self.assertEqual(guide_policy().properties.serialize(keep_readonly=True)["policyRules"][0]["trigger"]["schedule"],
                         shown.properties.serialize(keep_readonly=True)["policyRules"][0]["trigger"]["schedule"])
        rules = shown.properties.policy_rules
        self.assertEqual([rule.name for rule in rules], ["BackupWeekly", "Default", "Monthly"])
        self.assertEqual(rules[0].trigger.tagging_criteria[1].tag_info.id, "Monthly_")
        self.transcript.call(f"client.backup_policies.create_or_update({GROUP!r}, {VAULT!r}, {POLICY!r}, …)", shown.id,
                             f"schedule={rules[0].trigger.schedule.repeating_time_intervals}",
                             *(f"{rule.name}: keep {rule.lifecycles[0].delete_after.duration}" for rule in rules[1:]))

    def configure_backup(self):
        self.transcript.step("Configure backup")
        server = self.servers.servers.get("ossrg", SERVER)
        self.assertEqual(server.id, self.server_id)
        self.assertIn(DATABASE, [one.name for one in self.servers.databases.list_by_server("ossrg", SERVER)])
        self.transcript.call(f"servers.servers.get('ossrg', {SERVER!r})", server.id, f"version={server.version} state={server.state}")
        source = f"{self.server_id}/databases/{DATABASE}"
        properties = dp.BackupInstance(
            friendly_name=DATABASE, object_type="BackupInstance",
            policy_info=dp.PolicyInfo(policy_id=self.client.backup_policies.get(GROUP, VAULT, POLICY).id),
            data_source_info=dp.Datasource(resource_id=source, resource_uri=source, datasource_type=TYPE, object_type="Datasource",
                                           resource_name=DATABASE, resource_type=TYPE, resource_location="westus"))
        self.client.backup_instances.begin_validate_for_backup(
            GROUP, VAULT, dp.ValidateForBackupRequest(backup_instance=properties)).result()
        self.transcript.call(f"client.backup_instances.begin_validate_for_backup({GROUP!r}, {VAULT!r}, …).result()", "fine")
        self.instance = f"{DATABASE}-{DATABASE}-1"
        made = self.client.backup_instances.begin_create_or_update(
            GROUP, VAULT, self.instance, dp.BackupInstanceResource(properties=properties)).result()
        self.assertEqual(made.properties.current_protection_state, "ProtectionConfigured")
        self.assertEqual(made.properties.data_source_info.serialize(), properties.data_source_info.serialize())
        self.transcript.call(f"client.backup_instances.begin_create_or_update({GROUP!r}, {VAULT!r}, {self.instance!r}, …).result()", made.id,
                             f"currentProtectionState={made.properties.current_protection_state}")

    def back_up(self):
        self.transcript.step("Run an on-demand backup")
        # The guide names the retention rule.
        operation = self.client.backup_instances.begin_adhoc_backup(GROUP, VAULT, self.instance, dp.TriggerBackupRequest(
            backup_rule_options=dp.AdHocBackupRuleOptions(rule_name="Monthly", trigger_option=dp.AdhocBackupTriggerOption())))
        self.operation = operation._polling_method._initial_response.http_response.headers["Azure-AsyncOperation"]
        job = self.finished(operation.result().job_id)
        details = job.properties.extended_info
        self.assertEqual((job.properties.status, job.properties.error_details), ("Completed", None))
        self.assertEqual(details.additional_details["RetentionTag"], "Monthly")
        self.transcript.call(f"client.backup_instances.begin_adhoc_backup({GROUP!r}, {VAULT!r}, {self.instance!r}, ruleName='Monthly').result()", job.id)
        self.transcript.call(f"client.jobs.get({GROUP!r}, {VAULT!r}, JOB)", f"{job.properties.operation}: {job.properties.status}",
                             f"RetentionTag={details.additional_details['RetentionTag']}",
                             *(f"{task.task_id}. {task.task_name}: {task.task_status}" for task in details.sub_tasks))
        self.point = self.client.recovery_points.get(GROUP, VAULT, self.instance, details.target_recover_point.recovery_point_id)
        self.assertEqual(self.point.properties.retention_tag_name, "Monthly")
        self.transcript.call(f"client.recovery_points.list({GROUP!r}, {VAULT!r}, {self.instance!r})",
                             *(f"{one.name} {one.properties.recovery_point_type} tag={one.properties.retention_tag_name}"
                               for one in self.client.recovery_points.list(GROUP, VAULT, self.instance)))

    def track_jobs(self):
        self.transcript.step("Track jobs")
        jobs = list(self.client.jobs.list(GROUP, VAULT))
        self.assertEqual([(job.properties.operation, job.properties.status) for job in jobs], [("Backup", "Completed")])
        self.transcript.call(f"client.jobs.list({GROUP!r}, {VAULT!r})", *(f"{job.name} {job.properties.operation} {job.properties.status}" for job in jobs))
        rows = self.graph.resources(QueryRequest(
            subscriptions=[self.subscription.subscription_id], query=JOB_QUERY,
            options=QueryRequestOptions(top=1000, skip=0, result_format="objectArray"))).data
        self.assertEqual([(row["operation"], row["status"], row["vaultName"]) for row in rows], [("OnDemandBackup", "Completed", VAULT)])
        self.transcript.call("graph.resources(QueryRequest(query=<the text of az … job list-from-resourcegraph>))",
                             *(f"{row['name']} {row['operation']} {row['status']} {row['datasourceId']}" for row in rows))

    def restore(self, what, target):
        request = dp.AzureBackupRecoveryPointBasedRestoreRequest(
            recovery_point_id=self.point.name, source_data_store_type="VaultStore", restore_target_info=target)
        self.client.backup_instances.begin_validate_for_restore(
            GROUP, VAULT, self.instance, dp.ValidateRestoreRequestObject(restore_request_object=request)).result()
        job = self.finished(self.client.backup_instances.begin_trigger_restore(GROUP, VAULT, self.instance, request).result().job_id)
        self.assertEqual((job.properties.status, job.properties.error_details), ("Completed", None))
        self.transcript.call(f"client.backup_instances.begin_trigger_restore({GROUP!r}, {VAULT!r}, {self.instance!r}, {what}).result()",
                             f"{job.properties.operation}: {job.properties.status} -> {job.properties.extended_info.recovery_destination}")

    def restore_both_ways(self):
        self.transcript.step("Restore")
        target = f"{self.server_id}/databases/{DATABASE}_restored"
        self.restore("RestoreTargetInfo", dp.RestoreTargetInfo(
            recovery_option="FailIfExists", restore_location="westus",
            datasource_info=dp.Datasource(resource_id=target, resource_uri=target, datasource_type=TYPE, object_type="Datasource",
                                          resource_name=f"{DATABASE}_restored")))
        self.assertEqual(self.digest(f"{DATABASE}_restored"), self.digest(DATABASE))
        self.transcript.call("every row compared, by digest", self.digest(DATABASE))
        self.restore("RestoreFilesTargetInfo", dp.RestoreFilesTargetInfo(
            recovery_option="FailIfExists", restore_location="westus", target_details=dp.TargetDetails(
                file_prefix="guide", restore_target_location_type="AzureBlobs", url=f"{self.holdfast.url}/restore/files")))
        files = sorted(name for name in os.listdir(self.holdfast.restore) if name.startswith("guide"))
        self.assertIn(f"guide_database_{DATABASE}.sql", files)
        self.transcript.call("the container", *files)

    def restart(self):
        """An operation's status is there after a restart, and so is the point."""
        self.transcript.step("Restart the server")
        path = self.operation.split("/", 3)[3].split("?")[0]
        self.holdfast.stop()
        self.holdfast.start()
        self.log_in()
        status = self.resources.resources.get_by_id("/" + path, "2024-04-01")
        self.assertEqual(status.additional_properties["status"], "Succeeded")
        self.assertIn("/backupJobs/", status.properties["jobId"])
        points = [one.name for one in self.client.recovery_points.list(GROUP, VAULT, self.instance)]
        self.assertEqual(points, [self.point.name])
        self.transcript.call("GET <the backup's Azure-AsyncOperation>", f"status={status.additional_properties['status']}")
        self.transcript.call(f"client.recovery_points.list({GROUP!r}, {VAULT!r}, {self.instance!r})", *points)

    def test_the_guide(self):
        self.transcript.step("Log in")
        self.log_in()
        self.transcript.call("ClientSecretCredential('adfs', CLIENT_ID, SECRET, authority='https://HOST:PORT')")
        self.transcript.call("SubscriptionClient(credential, …).subscriptions.list()", f"{self.subscription.id} {self.subscription.display_name}")
        names = [(self.holdfast.url, "https://HOST:PORT"), (self.subscription.subscription_id, "SUB")]
        for section in (self.create_vault, self.create_policy, self.configure_backup, self.back_up, self.track_jobs, self.restore_both_ways,
                        self.restart):
            section()
        self.transcript.close([*names, (self.holdfast.url, "https://HOST:PORT")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
