#!/usr/bin/env python3
"""The guide's commands as they are typed into bash, `holdfast` in the place of `az`: file after file, to a restored database. Corrected
are only the guide's own slips: the template is kept in a file, the stray word is left out, and the instance's name is looked up."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import PASSWORD, Holdfast, Postgres, write_private  # noqa: E402

GUIDE = r"""
set -euo pipefail
az() { "$HOLDFAST" "$@"; }

az dataprotection backup-vault create -g testBkpVaultRG --vault-name TestBkpVault -l westus --type SystemAssigned --storage-settings datastore-type="VaultStore" type="LocallyRedundant" > vault.json

az dataprotection backup-policy get-default-policy-template --datasource-type AzureDatabaseForPostgreSQLFlexibleServer > OSSPolicy.json
az dataprotection backup-policy trigger create-schedule --interval-type Weekly --interval-count 1 --schedule-days 2021-08-15T22:00:00 2021-08-18T22:00:00 2021-08-20T22:00:00 > schedule.json
az dataprotection backup-policy trigger set --policy .\OSSPolicy.json  --schedule R/2021-08-15T22:00:00+00:00/P1W R/2021-08-18T22:00:00+00:00/P1W R/2021-08-20T22:00:00+00:00/P1W > EditedOSSPolicy.json
az dataprotection backup-policy retention-rule create-lifecycle --retention-duration-count 6 --retention-duration-type Months --source-datastore VaultStore > VaultLifeCycle.JSON
az dataprotection backup-policy retention-rule set --lifecycles .\VaultLifeCycle.JSON --name Monthly --policy .\EditedOSSPolicy.json > AddedRetentionRulePolicy.JSON
az dataprotection backup-policy tag create-absolute-criteria --absolute-criteria FirstOfMonth > tagCriteria.JSON
az dataprotection backup-policy tag set --criteria .\tagCriteria.JSON --name Monthly --policy .\AddedRetentionRulePolicy.JSON > AddedRetentionRuleAndTag.JSON
az dataprotection backup-policy create --backup-policy-name FirstOfMonth --policy AddedRetentionRuleAndTag.JSON --resource-group testBkpVaultRG --vault-name TestBkpVault > first.json
az dataprotection backup-policy tag create-generic-criteria --days-of-week Sunday Friday > tagCriteria.JSON
az dataprotection backup-policy tag set --criteria .\tagCriteria.JSON --name Monthly --policy .\AddedRetentionRulePolicy.JSON > AddedRetentionRuleAndTag.JSON
az dataprotection backup-policy create --backup-policy-name FinalOSSPolicy --policy AddedRetentionRuleAndTag.JSON --resource-group testBkpVaultRG --vault-name TestBkpVault > policy.json

policy_arm_id=$(az dataprotection backup-policy show -g testBkpVaultRG --vault-name TestBkpVault --name FinalOSSPolicy --query id -o tsv)
az dataprotection backup-instance initialize --datasource-id $ossId --datasource-type AzureDatabaseForPostgreSQLFlexibleServer -l westus --policy-id $policy_arm_id  --secret-store-type AzureKeyVault --secret-store-uri $keyURI > OSSBkpInstance.JSON
az dataprotection backup-instance create --resource-group testBkpVaultRG --vault-name TestBkpVault --backup-instance .\OSSBkpInstance.JSON > instance.json

name=$(az dataprotection backup-instance list -g testBkpVaultRG --vault-name TestBkpVault --query '[0].name' -o tsv)
az dataprotection backup-policy show  -g testBkpVaultRG --vault-name TestBkpVault --subscription $subscription --name FinalOSSPolicy > shown.json
az dataprotection backup-instance adhoc-backup --name "$name" --rule-name "Monthly" --resource-group testBkpVaultRG --vault-name TestBkpVault > adhoc.json
until [ "$(az dataprotection job show --ids "$(sed -n 's/.*"jobId": "\(.*\)",*/\1/p' adhoc.json)" --query properties.status -o tsv)" != InProgress ]; do sleep 0.2; done
az dataprotection job list -g testBkpVaultRG --vault-name TestBkpVault > jobs.json
az dataprotection job list-from-resourcegraph --datasource-type AzureDatabaseForPostgreSQLFlexibleServer --status Completed > graph.json

point=$(az dataprotection recovery-point list --backup-instance-name "$name" -g testBkpVaultRG --vault-name TestBkpVault --query '[0].name' -o tsv)
az dataprotection backup-instance restore initialize-for-data-recovery --datasource-type AzureDatabaseForPostgreSQLFlexibleServer --restore-location westus --source-datastore VaultStore --recovery-point-id $point --target-resource-id ${ossId}_restored --secret-store-type AzureKeyVault --secret-store-uri $keyURI > restore.json
az dataprotection backup-instance validate-for-restore -g testBkpVaultRG --vault-name TestBkpVault --backup-instance-name "$name" --restore-request-object restore.json > validated.json
az dataprotection backup-instance restore trigger -g testBkpVaultRG --vault-name TestBkpVault --backup-instance-name "$name" --restore-request-object restore.json --wait > restored.json
"""


class Guide(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="holdfast-guide-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        for name in ("pg", "typed"):
            os.makedirs(os.path.join(self.directory, name))
        self.postgres = Postgres(os.path.join(self.directory, "pg"))
        self.addCleanup(self.postgres.stop, "immediate")
        self.postgres.sql("postgres", "CREATE DATABASE empdb11")
        self.postgres.sql("empdb11", "CREATE TABLE emp AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 2000) i")
        self.holdfast = Holdfast(os.environ["HOLDFAST"], self.directory)
        self.addCleanup(self.holdfast.stop)
        # The server is registered without a password: the one in the key vault is used.
        password = write_private(os.path.join(self.directory, "password"), PASSWORD)
        self.key = self.holdfast.cli("keyvault", "secret", "set", "--vault-name", "default", "--name", "empdb11", "--file", password)["id"]
        self.server = self.holdfast.cli("postgres", "flexible-server", "register", "-g", "ossrg", "--name", "testposgresql", "--host", "127.0.0.1",
                                        "--port", str(self.postgres.port), "--login", "postgres", "-l", "westus")["id"]

    def output(self, name):
        with open(os.path.join(self.directory, "typed", name), encoding="utf-8") as file:
            return json.load(file)

    def test_every_command_as_typed(self):
        environment = dict(self.holdfast.environment, HOLDFAST=os.environ["HOLDFAST"], keyURI=self.key, subscription=self.server.split("/")[2],
                           ossId=self.server.replace("resourceGroups", "resourcegroups") + "/databases/empdb11")
        typed = subprocess.run(["bash", "-c", GUIDE], cwd=os.path.join(self.directory, "typed"), env=environment, check=False,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(typed.returncode, 0, typed.stderr)
        vault = self.output("vault.json")
        self.assertEqual((vault["name"], vault["resourceGroup"], vault["properties"]["provisioningState"]),
                         ("TestBkpVault", "testBkpVaultRG", "Succeeded"))
        self.assertEqual(self.output("schedule.json")[1], "R/2021-08-18T22:00:00+00:00/P1W")
        self.assertEqual(self.output("OSSPolicy.json")["name"], "OssFlexiblePolicy1")
        tags = self.output("policy.json")["properties"]["policyRules"][0]["trigger"]["taggingCriteria"]
        self.assertEqual(tags[1]["criteria"][0]["daysOfTheWeek"], ["Sunday", "Friday"])
        self.assertEqual(self.output("shown.json"), self.output("policy.json"))
        self.assertEqual(self.output("instance.json")["properties"]["currentProtectionState"], "ProtectionConfigured")
        self.assertEqual([(job["properties"]["operation"], job["properties"]["status"]) for job in self.output("jobs.json")],
                         [("Backup", "Completed")])
        self.assertEqual([(row["operation"], row["status"]) for row in self.output("graph.json")], [("OnDemandBackup", "Completed")])
        digest = "SELECT count(*), sum(hashtextextended(e::text, 0)) FROM emp e"
        self.assertEqual(self.postgres.sql("empdb11_restored", digest), self.postgres.sql("empdb11", digest))


if __name__ == "__main__":
    unittest.main(verbosity=2)
