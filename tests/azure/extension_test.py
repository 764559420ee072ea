#!/usr/bin/env python3
"""The guide and every other command of `az dataprotection`, as the extension sends them, by az's own client (extension.py);
and what Debian's az can do of it by itself: az rest, az resource."""
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import azure_tools  # noqa: E402

azure_tools.use_debian_python()
import harness  # noqa: E402
from extension import DataProtection, Extension, Refused  # noqa: E402

GROUP, VAULT, SERVER, DATABASE = "testBkpVaultRG", "TestBkpVault", "testposgresql", "empdb11"
TYPE = "AzureDatabaseForPostgreSQLFlexibleServer"


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="holdfast-extension-")
        os.chmod(cls.directory, 0o755)
        os.makedirs(os.path.join(cls.directory, "pg"))
        cls.postgres = harness.Postgres(os.path.join(cls.directory, "pg"))
        cls.holdfast = harness.Holdfast(os.environ["HOLDFAST"], cls.directory, {"service": {"key_vaults": ["kv1"]}})
        password = harness.write_private(os.path.join(cls.directory, "password"), harness.PASSWORD)
        cls.server_id = cls.holdfast.cli(
            "postgres", "flexible-server", "register", "-g", "ossrg", "--name", SERVER, "--host", "127.0.0.1", "--port",
            str(cls.postgres.port), "--login", "postgres", "--password-file", password, "-l", "westus")["id"]
        cls.az = azure_tools.Az(cls.directory, os.path.join(cls.holdfast.state, "tls", "ca.pem"))
        me = cls.holdfast.cli("ad", "signed-in-user", "show")
        secret = harness.write_private(os.path.join(cls.directory, "secret"), cls.holdfast.token)
        cls.az("cloud", "register", "-n", "holdfast", "--endpoint-resource-manager", cls.holdfast.url)
        cls.az("cloud", "set", "-n", "holdfast")
        cls.az("login", "--service-principal", "-u", me["appId"], "-p", "@" + secret, "--tenant", cls.holdfast.cli("account", "show")["tenantId"])
        cls.extension = Extension(cls.az.environment)

    @classmethod
    def tearDownClass(cls):
        cls.holdfast.stop()
        cls.postgres.stop("immediate")
        shutil.rmtree(cls.directory, ignore_errors=True)

    def database(self, name):
        self.postgres.sql("postgres", f"CREATE DATABASE {name}")
        self.postgres.sql(name, "CREATE TABLE t AS SELECT i, md5(i::text) AS v FROM generate_series(1, 1000) i")

    def file(self, vault, database, policy="FinalOSSPolicy", server="flexibleServers"):
        """backup-instance initialize: the client-side verbs are ours, their output is the extension's."""
        source = f"{self.server_id}/databases/{database}".replace("flexibleServers", server)
        kind = TYPE if server == "flexibleServers" else "AzureDatabaseForPostgreSQL"
        return self.holdfast.dp("backup-instance", "initialize", "--datasource-id", source, "--datasource-type", kind, "-l", "westus",
                                "--policy-id", f"{vault.at}/backupPolicies/{policy}")

    def guide_policy(self):
        dp = self.holdfast.dp
        template = dp("backup-policy", "get-default-policy-template", "--datasource-type", TYPE)
        days = dp("backup-policy", "trigger", "create-schedule", "--interval-type", "Weekly", "--interval-count", "1", "--schedule-days",
                  "2021-08-15T22:00:00", "2021-08-18T22:00:00", "2021-08-20T22:00:00")
        policy = dp("backup-policy", "trigger", "set", "--policy", json.dumps(template), "--schedule", *days)
        lifecycle = dp("backup-policy", "retention-rule", "create-lifecycle", "--retention-duration-count", "6",
                       "--retention-duration-type", "Months", "--source-datastore", "VaultStore")
        policy = dp("backup-policy", "retention-rule", "set", "--lifecycles", json.dumps(lifecycle), "--name", "Monthly", "--policy",
                    json.dumps(policy))
        criteria = dp("backup-policy", "tag", "create-generic-criteria", "--days-of-week", "Sunday", "Friday")
        return dp("backup-policy", "tag", "set", "--criteria", json.dumps(criteria), "--name", "Monthly", "--policy", json.dumps(policy))

    def prepared(self, name, database=None):
        vault = DataProtection(self.extension, GROUP, name)
        vault.vault_create()
        vault.policy_create("FinalOSSPolicy", self.guide_policy())
        if database:
            self.database(database)
            file = self.file(vault, database)
            vault.instance_create(file)
            return vault, file["backup_instance_name"]
        return vault

    def finished(self, vault, answer):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            job = vault.job_show(answer["jobId"].replace("resourceGroups", "resourcegroups").replace("backupVaults", "BackupVaults"))
            if job["properties"]["status"] != "InProgress":
                return job
            time.sleep(0.1)
        raise AssertionError(f"{answer} does not end")

    def completed(self, vault, answer):
        job = self.finished(vault, answer)
        self.assertEqual((job["properties"]["status"], job["properties"]["errorDetails"]), ("Completed", None))
        return job

    # ---- The guide

    def test_the_guide(self):
        self.database(DATABASE)
        vault = DataProtection(self.extension, GROUP, VAULT)
        made = vault.vault_create()
        self.assertEqual((made["name"], made["location"], made["properties"]["provisioningState"]), (VAULT, "westus", "Succeeded"))
        policy = vault.policy_create("FinalOSSPolicy", self.guide_policy())
        self.assertEqual(policy["properties"]["policyRules"][0]["trigger"]["taggingCriteria"][1]["criteria"],
                         [{"objectType": "ScheduleBasedBackupCriteria", "daysOfTheWeek": ["Sunday", "Friday"]}])
        file = self.file(vault, DATABASE)
        self.assertEqual(vault.instance_validate(file), {"objectType": "OperationJobExtendedInfo"})
        instance = vault.instance_create(file)
        self.assertRegex(instance["name"], rf"^{DATABASE}-{DATABASE}-")
        self.assertEqual(instance["properties"]["protectionStatus"], {"status": "ProtectionConfigured"})
        answer = vault.adhoc_backup(instance["name"], "Monthly")
        self.assertEqual(answer["objectType"], "OperationJobExtendedInfo")
        job = self.completed(vault, answer)
        self.assertEqual(job["properties"]["extendedInfo"]["additionalDetails"]["RetentionTag"], "Monthly")
        self.assertEqual([one["name"] for one in vault.job_list()], [job["name"]])
        point = vault.points(instance["name"])[0]
        self.assertEqual(vault.point_show(instance["name"], point["name"])["properties"]["recoveryPointId"], point["name"])
        target = f"{self.server_id}/databases/{DATABASE}_restored"
        database = self.holdfast.dp(
            "backup-instance", "restore", "initialize-for-data-recovery", "--datasource-type", TYPE, "--restore-location", "westus",
            "--source-datastore", "VaultStore", "--recovery-point-id", point["name"], "--target-resource-id", target)
        self.assertEqual(vault.restore_validate(instance["name"], database), {"objectType": "OperationJobExtendedInfo"})
        restored = self.completed(vault, vault.restore_trigger(instance["name"], database))
        self.assertEqual(restored["properties"]["extendedInfo"]["recoveryDestination"], target)
        digest = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM t"
        self.assertEqual(self.postgres.sql(f"{DATABASE}_restored", digest), self.postgres.sql(DATABASE, digest))
        files = self.holdfast.dp(
            "backup-instance", "restore", "initialize-for-data-recovery-as-files", "--datasource-type", TYPE, "--restore-location", "westus",
            "--source-datastore", "VaultStore", "--recovery-point-id", point["name"], "--target-blob-container-url",
            f"{self.holdfast.url}/restore/files", "--target-file-name", "guide")
        self.completed(vault, vault.restore_trigger(instance["name"], files))
        self.assertIn(f"guide_database_{DATABASE}.sql", os.listdir(self.holdfast.restore))

    def test_az_waits_a_second_between_two_looks(self):
        vault, _ = self.prepared("PauseVault", "pauses")
        self.database("slow")
        file = self.file(vault, "slow")
        self.extension.pauses.clear()
        # Nobody looks up a name in that database now, so the validation waits and is seen running.
        holder = subprocess.Popen(self.postgres.client("psql", "-X", "-q", "-A", "-t", database="slow"), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.stdout.close)
        holder.stdin.write("BEGIN; LOCK TABLE pg_catalog.pg_namespace IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n")
        holder.stdin.flush()
        self.assertEqual(holder.stdout.readline().strip(), "held")
        answer = []
        worker = threading.Thread(target=lambda: answer.append(vault.instance_validate(file)))
        worker.start()
        deadline = time.monotonic() + 30
        while len(self.extension.pauses) < 3 and worker.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        holder.communicate("ROLLBACK;\n")
        worker.join()
        self.assertEqual(answer, [{"objectType": "OperationJobExtendedInfo"}])
        self.assertGreaterEqual(len(self.extension.pauses), 3)
        self.assertEqual(set(self.extension.pauses), {1})

    # ---- What the guide leaves out

    def test_vault_update_is_read_modify_write(self):
        vault = self.prepared("UpdateVault")
        before = vault.vault_show()

        def harden(body):
            body["tags"] = {"k": "v"}
            body["properties"]["securitySettings"]["immutabilitySettings"] = {"state": "Unlocked"}
            body["properties"]["monitoringSettings"] = {"azureMonitorAlertSettings": {"alertsForAllJobFailures": "Enabled"}}

        after = vault.vault_update(harden)
        self.assertEqual(after["identity"], before["identity"])
        self.assertEqual((after["tags"], after["properties"]["secureScore"]), ({"k": "v"}, "Minimum"))
        self.assertNotIn("identity", vault.vault_update(lambda body: body["identity"].update(type="None")))
        self.assertIn("UpdateVault", [one["name"] for one in vault.vault_list(everywhere=True)])
        vault.vault_update(lambda body: body["properties"]["securitySettings"]["softDeleteSettings"].update(state="AlwaysOn"))
        with self.assertRaises(Refused) as refused:
            vault.vault_update(lambda body: body["properties"]["securitySettings"]["softDeleteSettings"].update(state="On"))
        self.assertEqual((refused.exception.code, refused.exception.status), ("UserErrorDisableSoftDeleteNotAllowed", 400))

    def test_policy_update_show_list_delete(self):
        vault = self.prepared("PolicyVault")
        changed = vault.policy_update("FinalOSSPolicy", lambda policy: policy["properties"]["policyRules"][1]["lifecycles"][0]["deleteAfter"].update(
            duration="P1Y"))
        self.assertEqual(changed, vault.policy_show("FinalOSSPolicy"))
        self.assertEqual(changed["properties"]["policyRules"][1]["lifecycles"][0]["deleteAfter"]["duration"], "P1Y")
        self.assertEqual(changed["properties"]["policyRules"][0]["trigger"]["taggingCriteria"][1]["tagInfo"], {"id": "Monthly_", "tagName": "Monthly"})
        self.assertEqual(vault.policy_list(), [changed])
        vault.policy_delete("FinalOSSPolicy")
        self.assertIsNone(vault.policy_delete("FinalOSSPolicy"))  # 204: nothing to delete, az exits 0.
        with self.assertRaises(Refused) as missing:
            vault.policy_show("FinalOSSPolicy")
        self.assertEqual((missing.exception.code, missing.exception.status), ("ResourceNotFound", 404))

    def test_an_instance_goes_through_all_its_states(self):
        vault, name = self.prepared("StateVault", "states")

        def state():
            properties = vault.instance_show(name)["properties"]
            self.assertEqual(properties["protectionStatus"]["status"], properties["currentProtectionState"])
            return properties["currentProtectionState"]

        self.completed(vault, vault.adhoc_backup(name, "BackupWeekly", "Monthly"))
        vault.policy_create("Other", self.guide_policy())
        self.assertEqual(vault.instance_update_policy(name, f"{vault.at}/backupPolicies/Other")["properties"]["policyInfo"]["policyId"],
                         f"{vault.at}/backupPolicies/Other")
        self.assertEqual(state(), "ProtectionConfigured")
        for action, after in (("stopProtection", "ProtectionStopped"), ("resumeProtection", "ProtectionConfigured"),
                              ("suspendBackups", "BackupsSuspended"), ("resumeProtection", "ProtectionConfigured"),
                              ("resumeProtection", "ProtectionConfigured")):
            vault.instance_action(name, action)
            self.assertEqual(state(), after)
        vault.instance_delete(name)
        self.assertEqual(vault.instance_list(), [])
        self.assertIsNone(vault.instance_delete(name))
        deleted = vault.deleted_show(name)
        self.assertEqual(vault.deleted_list(), [deleted])
        self.assertEqual((deleted["properties"]["objectType"], deleted["properties"]["currentProtectionState"]), ("DeletedBackupInstance", "SoftDeleted"))
        vault.undelete(name)
        self.assertEqual(state(), "ProtectionStopped")
        with self.assertRaises(Refused) as unknown:
            vault.undelete("nothing")
        self.assertEqual((unknown.exception.code, unknown.exception.status), ("UserErrorGenericResourceNotFound", 404))
        self.assertEqual(len(vault.points(name)), 1)
        self.assertEqual(vault.points(name, "startDate eq '2099-01-01T00:00:00.0000000Z' and endDate eq '2021-01-01T00:00:00.0000000Z'"), [])
        self.assertEqual(vault.time_ranges(name)["properties"]["restorableTimeRanges"], [])

    def test_a_failed_operation_is_printed_with_its_reason(self):
        vault = self.prepared("FailVault")
        with self.assertRaises(Refused) as failed:
            vault.instance_create(self.file(vault, "no_such_database"))
        self.assertEqual(failed.exception.code, "UserErrorDBNotFound")
        self.assertIn("no_such_database", str(failed.exception))
        self.assertIn("recommendedAction", str(failed.exception))

    def test_a_database_of_a_single_server(self):
        vault = self.prepared("SingleVault")
        template = self.holdfast.dp("backup-policy", "get-default-policy-template", "--datasource-type", "AzureDatabaseForPostgreSQL")
        vault.policy_create("Single", template)
        self.database("single")
        file = self.file(vault, "single", "Single", "servers")
        file["properties"]["datasource_auth_credentials"] = None
        made = vault.instance_create(file)
        self.assertEqual(made["properties"]["dataSourceInfo"]["datasourceType"], "Microsoft.DBforPostgreSQL/servers/databases")
        self.assertEqual(made["properties"]["dataSourceSetInfo"]["resourceName"], SERVER)
        self.completed(vault, vault.adhoc_backup(made["name"], template["policyRules"][0]["name"]))

    def test_guards_need_a_second_person(self):
        vault, name = self.prepared("GuardVault", "guarded")
        guard = vault.guard_create("Guard")
        self.assertTrue(guard["properties"]["allowAutoApprovals"])
        self.assertEqual(len(guard["properties"]["resourceGuardOperations"]), 9)
        excluded = ["Microsoft.DataProtection/backupVaults/backupInstances/restore/action"]
        self.assertEqual(vault.guard_update("Guard", excluded)["properties"]["vaultCriticalOperationExclusionList"], excluded)
        self.assertEqual([one["name"] for one in vault.guard_list(everywhere=True)], ["Guard"])
        vault.mapping("PUT", "Guard")
        self.assertTrue(vault.vault_show()["properties"]["isVaultProtectedByResourceGuard"])
        with self.assertRaises(Refused) as refused:
            vault.instance_action(name, "stopProtection")
        self.assertEqual((refused.exception.code, refused.exception.status), ("UserErrorResourceGuardApprovalRequired", 403))
        for request in ("dppDisableStopProtectionRequests", "deleteResourceGuardProxyRequests"):
            self.approve(f"{vault.scope}/resourceGuards/Guard/{request}/default")
        vault.instance_action(name, "stopProtection", {"resourceGuardOperationRequests": [
            f"{vault.scope}/resourceGuards/Guard/dppDisableStopProtectionRequests/default"]})
        self.assertEqual(vault.instance_show(name)["properties"]["currentProtectionState"], "ProtectionStopped")
        with self.assertRaises(Refused):
            vault.mapping("DELETE")
        self.assertRegex(vault.unlock("deleteResourceGuardProxyRequests")["unlockDeleteExpiryTime"], r"\.\d{7}Z$")
        vault.mapping("DELETE")
        vault.guard_delete("Guard")

    def approve(self, request):
        """The owner asks, somebody else agrees."""
        self.extension.send("PUT", request, {"properties": {}})
        other = self.holdfast.cli("ad", "sp", "create-for-rbac", "-n", "second", "--role", "Owner", "--scopes",
                                  f"/subscriptions/{self.extension.subscription}")
        approval = urllib.request.Request(f"{self.holdfast.url}{request}/approve?api-version=2024-04-01", b"{}", method="POST", headers={
            "Authorization": f"Bearer {other['password']}", "Content-Type": "application/json"})
        context = ssl.create_default_context(cafile=os.path.join(self.holdfast.state, "tls", "ca.pem"))
        with urllib.request.urlopen(approval, context=context) as answer:
            self.assertEqual(json.load(answer)["properties"]["status"], "Approved")

    # ---- Debian's az, without any extension

    def test_az_rest_and_az_resource(self):
        vault, name = self.prepared("RestVault", "rested")
        shown = self.az("resource", "show", "--ids", vault.at)
        self.assertEqual((shown["name"], shown["properties"]["provisioningState"]), ("RestVault", "Succeeded"))
        listed = self.az("rest", "--url", f"{vault.at}/backupInstances?api-version=2024-04-01")
        self.assertEqual([one["name"] for one in listed["value"]], [name])
        self.az("resource", "invoke-action", "--action", "backup", "--ids", f"{vault.at}/backupInstances/{name}", "--request-body",
                json.dumps({"backupRuleOptions": {"ruleName": "BackupWeekly", "triggerOption": {}}}))
        self.assertEqual([one["properties"]["operation"] for one in vault.job_list()], ["Backup"])
        self.assertEqual(self.az("provider", "show", "-n", "microsoft.dataprotection")["registrationState"], "Registered")
        self.assertIn("West US", [one["displayName"] for one in self.az("account", "list-locations")])

    def test_az_shows_registered_servers(self):
        self.database("listed")
        server = self.az("postgres", "flexible-server", "show", "-g", "ossrg", "-n", SERVER)
        self.assertEqual((server["id"], server["state"], server["fullyQualifiedDomainName"]), (self.server_id, "Ready", "127.0.0.1"))
        self.assertEqual([one["name"] for one in self.az("postgres", "flexible-server", "list")], [SERVER])
        names = [one["name"] for one in self.az("postgres", "flexible-server", "db", "list", "-g", "ossrg", "-s", SERVER)]
        self.assertIn("listed", names)

    def test_lookups_of_other_providers(self):
        """What `update-msi-permissions` asks for a single server, and `az keyvault show`, `az storage account show`."""
        base = f"/subscriptions/{self.extension.subscription}/resourceGroups/default/providers"
        keys = self.az("rest", "--url", f"{base}/Microsoft.KeyVault/vaults/KV1?api-version=2023-02-01")["properties"]
        self.assertEqual(keys["vaultUri"], self.holdfast.url.replace("://", "://kv1.") + "/")
        self.assertEqual((keys["enableRbacAuthorization"], keys["publicNetworkAccess"], keys["networkAcls"]["bypass"]),
                         (True, "Enabled", "AzureServices"))
        account = self.az("rest", "--url", f"{base}/Microsoft.Storage/storageAccounts/holdfast?api-version=2022-09-01")
        self.assertEqual(account["properties"]["primaryEndpoints"]["blob"], self.holdfast.url + "/restore/")
        server = self.server_id.replace("flexibleServers", "servers")
        rules = self.az("rest", "--url", f"{server}/firewallRules?api-version=2017-12-01")["value"]
        self.assertEqual(rules[0]["properties"], {"startIpAddress": "0.0.0.0", "endIpAddress": "0.0.0.0"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
