#!/usr/bin/env python3
"""How fast the lists and the resource graph answer over 100,000 jobs: HOLDFAST=path/to/holdfast bench/graph.py [jobs]

The jobs are copies of one row, put into the catalog while the server is down: over two vaults, both kinds of backup and all
states. Each question is asked 30 times over one TLS connection; the median, the slowest and the server's processor time for one
are printed in milliseconds."""
import http.client
import json
import os
import shutil
import sqlite3
import ssl
import statistics
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from harness import Holdfast  # noqa: E402

JOBS_QUERY = (
    "RecoveryServicesResources | where type =~ 'microsoft.dataprotection/backupvaults/backupjobs'"
    "| extend vaultName = properties.vaultName| extend status = properties.status"
    "| extend operation = case( tolower(properties.operationCategory) startswith 'backup' and properties.isUserTriggered == 'true', "
    "strcat('OnDemand',properties.operationCategory), tolower(properties.operationCategory) startswith 'backup' and "
    "properties.isUserTriggered == 'false', strcat('Scheduled', properties.operationCategory), type =~ "
    "'microsoft.dataprotection/backupVaults/backupJobs', properties.operationCategory, 'Invalid')"
    "| extend datasourceId = properties.dataSourceId")


def fill(path, vaults, count):
    database = sqlite3.connect(path)
    start = int(time.time() * 1e6) - count * 60_000_000
    states = ["Completed"] * 17 + ["CompletedWithWarnings", "Failed", "Cancelled"]
    server = vaults[0].split("/providers/")[0] + "/providers/Microsoft.DBforPostgreSQL/flexibleServers/s"
    for i in range(count):
        vault, user, at = vaults[i % 2], i % 5 == 0, start + i * 60_000_000
        identifier = f"00000000-0000-4000-8000-{i:012x}"
        operation = "Restore" if i % 50 == 0 else "Backup"
        activity = operation if operation == "Restore" else ("OnDemand" if user else "Scheduled") + operation
        datasource = f"{server}{i % 40}/databases/db"
        instance = f"{vault}/backupInstances/db-db-{i % 40}"
        document = {
            "id": identifier, "vault_id": vault, "instance_id": instance, "instance_name": f"db-db-{i % 40}", "friendly_name": "db",
            "datasource_id": datasource, "datasource_type": "Microsoft.DBforPostgreSQL/flexibleServers",
            "policy_id": vault + "/backupPolicies/weekly", "policy_name": "weekly", "location": "westus", "operation": operation,
            "status": states[i // 7 % 20], "user_triggered": user, "correlation_id": identifier, "created_at": at, "started_at": at + 10,
            "ended_at": at + 90_000_000, "bytes_transferred": 1_000_000 + i, "modified_at": at, "etag": identifier,
            "sub_tasks": [{"taskId": n, "taskName": "Transfer data to vault", "taskStatus": "Completed",
                           "additionalDetails": {"DataTransferredInBytes": "123456"}} for n in range(1, 4)],
            "details": {"targetRecoverPoint": {"recoveryPointID": "0" * 32, "recoveryPointTime": "2026-01-01T00:00:00.0000000Z"},
                        "additionalDetails": {"RetentionTag": "Default"}},
            "progress": {"bytesDone": 1, "bytesTotal": 1, "percent": 100, "phase": "done", "rateBytesPerSecond": 1}}
        database.execute(
            "INSERT INTO jobs (key, parent, subject, state, at, document, activity, datasource, datasource_type, started, ended)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (identifier, vault.lower(), instance.lower(), states[i // 7 % 20], at, json.dumps(document), activity, datasource.lower(),
             document["datasource_type"], at + 10, at + 90_000_000))
    database.commit()
    database.close()


class Client:
    def __init__(self, holdfast):
        context = ssl.create_default_context(cafile=os.path.join(holdfast.state, "tls", "ca.pem"))
        host = urllib.parse.urlsplit(holdfast.url)
        self.connection = http.client.HTTPSConnection(host.hostname, host.port, context=context)
        self.headers = {"Authorization": f"Bearer {holdfast.token}", "Content-Type": "application/json"}

    def ask(self, verb, path, body=None):
        started = time.perf_counter()
        self.connection.request(verb, path, None if body is None else json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        text = answer.read()
        took = (time.perf_counter() - started) * 1000
        assert answer.status in (200, 201), text[:500]
        return json.loads(text), took


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    directory = tempfile.mkdtemp(prefix="holdfast-graph-")
    holdfast = Holdfast(os.environ["HOLDFAST"], directory)
    try:
        client = Client(holdfast)
        subscription = client.ask("GET", "/subscriptions?api-version=2022-12-01")[0]["value"][0]["subscriptionId"]
        vaults = [f"/subscriptions/{subscription}/resourceGroups/rg/providers/Microsoft.DataProtection/backupVaults/V{n}" for n in (1, 2)]
        for vault in vaults:
            client.ask("PUT", vault + "?api-version=2024-04-01", {
                "location": "westus", "properties": {"storageSettings": [{"datastoreType": "VaultStore", "type": "LocallyRedundant"}]}})
        holdfast.stop()
        catalog = next(os.path.join(holdfast.state, name) for name in os.listdir(holdfast.state) if name.endswith((".sqlite", ".db")))
        fill(catalog, vaults, count)
        holdfast.start()
        client = Client(holdfast)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 7 * 86400))

        def graph(filters, top):
            return "POST", "/providers/Microsoft.ResourceGraph/resources?api-version=2021-03-01", {
                "subscriptions": [subscription], "query": JOBS_QUERY + filters, "options": {"$top": top}}

        questions = {
            "graph: all jobs, first 100": graph("", 100),
            "graph: all jobs, first 1000": graph("", 1000),
            "graph: failed on-demand backups of one vault": graph(
                " | where vaultName in~ ('V1') | where operation in~ ('OnDemandBackup') | where status in~ ('Failed')", 100),
            "graph: completed of the last week, first 1000": graph(
                f" | where status in~ ('Completed')| where properties.startTime > datetime({since})", 1000),
            "graph: one datasource": graph(
                f" | where datasourceId in~ ('{vaults[0].split('/providers/')[0]}/providers/Microsoft.DBforPostgreSQL/flexibleServers/s7"
                "/databases/db')", 100),
            "job list, first page": ("GET", vaults[0] + "/backupJobs?api-version=2024-04-01&$top=100"),
            "job list, failed": ("GET", vaults[0] + "/backupJobs?api-version=2024-04-01&$filter=status%20eq%20'Failed'&$top=100"),
        }
        for name, question in questions.items():
            before, _ = holdfast.figures()
            answers = [client.ask(*question) for _ in range(30)]
            processor = (holdfast.figures()[0] - before) * 1000 / len(answers)
            times = [took for _, took in answers]
            total = answers[0][0].get("totalRecords", "")
            print(f"{name:50} median {statistics.median(times):7.1f}  slowest {max(times):7.1f}  "
                  f"processor {processor:6.1f}  {total}")
    finally:
        holdfast.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
