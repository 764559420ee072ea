"""What `az dataprotection` 1.5.4 sends, sent by az's own machinery.

The extension is generated for azure.cli.core.aaz: a command makes one request after the other with aaz's client, and follows long
operations with aaz's poller. Debian has az without the extension; the functions here make the same requests (docs/azure.md says what is
known of them) with the same client, the same poller, the same login. A process is one user: what az reads from its environment is read
once."""
import json
import os
import time

API = "2024-04-01"


class Refused(Exception):
    """The server said no; as az prints it."""

    def __init__(self, error):
        super().__init__(str(error))
        self.code, self.status = getattr(error.error, "code", None), error.status_code


def camel(value):
    """The extension's convert_dict_keys_snake_to_camel."""
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key.split("_")[0] + "".join(part.title() for part in key.split("_")[1:]): camel(one) for key, one in value.items()}


class Extension:
    def __init__(self, environment):
        """`environment`: of an Az that is logged in."""
        os.environ.update(environment)
        from azure.cli.core import get_default_cli
        from azure.cli.core._profile import Profile
        from azure.cli.core.aaz._client import AAZMgmtClient
        from azure.cli.core.commands.client_factory import _prepare_client_kwargs_track2

        cli = get_default_cli()
        credential, self.subscription, _ = Profile(cli_ctx=cli).get_login_credentials()
        cli.data.update({"command": "dataprotection", "headers": {}, "safe_params": []})
        self.client = AAZMgmtClient(cli, credential, **_prepare_client_kwargs_track2(cli))
        self.pauses = []

    def send(self, verb, path, body=None, accept=(200,), final=None, command=""):
        """One operation of a command, to its end. `final`: where aaz looks for the result of a long one."""
        from azure.core.exceptions import HttpResponseError
        from azure.mgmt.core.exceptions import ARMErrorFormat

        separator = "&" if "?" in path else "?"
        url = self.client.format_url(f"{path}{separator}api-version={API}")
        request = self.client._request(verb, url, None, {
            "Accept": "application/json", "CommandName": f"dataprotection {command}", "ParameterSetName": "-g --vault-name",
            **({"Content-Type": "application/json"} if body is not None else {})}, body, None, None)

        def fail(response):
            raise HttpResponseError(response=response, error_format=ARMErrorFormat)

        try:
            session = self.client.send_request(request)
            response = session.http_response
            if response.status_code not in accept:
                fail(response)
            if final is None or (response.status_code == 204):
                return json.loads(response.text()) if response.text() else None
            poller = self.client.build_lro_polling(
                False, session, lambda end: json.loads(end.http_response.text() or "null"), fail,
                lro_options={"final-state-via": final}, path_format_arguments={})
            poller._sleep = self._pause
            poller.run()
            return poller.resource()
        except HttpResponseError as error:
            raise Refused(error) from error


    def _pause(self, seconds):
        """Notes what az would have slept, and does not."""
        self.pauses.append(seconds)
        time.sleep(0.05)


class DataProtection:
    """The verbs, by the names of c.1 in the contract."""

    def __init__(self, extension, group, vault):
        self.extension, self.group, self.vault = extension, group, vault
        self.below = f"/subscriptions/{extension.subscription}/providers/Microsoft.DataProtection"
        self.scope = f"/subscriptions/{extension.subscription}/resourceGroups/{group}/providers/Microsoft.DataProtection"
        self.at = f"{self.scope}/backupVaults/{vault}"

    def _get(self, path, command):
        return self.extension.send("GET", path, command=command)

    def _start(self, path, command, body=None, final="location"):
        return self.extension.send("POST", path, body, (200, 202), final, command)

    # ---- backup-vault

    def vault_create(self, identity="SystemAssigned", **properties):
        body = {"identity": {"type": identity}, "location": "westus", "properties": {
            "securitySettings": {"softDeleteSettings": {"retentionDurationInDays": 14.0, "state": "On"}},
            "storageSettings": [{"datastoreType": "VaultStore", "type": "LocallyRedundant"}], **properties}}
        return self.extension.send("PUT", self.at, body, (200, 201, 202), "azure-async-operation", "backup-vault create")

    def vault_update(self, change):
        """Read, change, write the whole; what the model marks read-only does not come back."""
        whole = self._get(self.at, "backup-vault update")
        body = {"location": whole["location"], "tags": whole.get("tags"), "properties": {
            name: value for name, value in whole["properties"].items()
            if name in ("featureSettings", "monitoringSettings", "securitySettings", "storageSettings", "replicatedRegions")}}
        if "identity" in whole:
            body["identity"] = {"type": whole["identity"]["type"]}
        change(body)
        return self.extension.send("PUT", self.at, body, (200, 201, 202), "azure-async-operation", "backup-vault update")

    def vault_show(self):
        return self._get(self.at, "backup-vault show")

    def vault_list(self, everywhere=False):
        return self._get((self.below if everywhere else self.scope) + "/backupVaults", "backup-vault list")["value"]

    def vault_delete(self):
        return self.extension.send("DELETE", self.at, None, (200, 202, 204), "azure-async-operation", "backup-vault delete")

    # ---- backup-policy

    def policy_create(self, name, policy):
        return self.extension.send("PUT", f"{self.at}/backupPolicies/{name}", {"properties": policy}, command="backup-policy create")

    def policy_update(self, name, change):
        policy = self._get(f"{self.at}/backupPolicies/{name}", "backup-policy update")
        for rule in policy["properties"]["policyRules"]:
            for tag in rule.get("trigger", {}).get("taggingCriteria", []):
                del tag["tagInfo"]["id"]
        change(policy)
        return self.policy_create(name, policy["properties"])

    def policy_show(self, name):
        return self._get(f"{self.at}/backupPolicies/{name}", "backup-policy show")

    def policy_list(self):
        return self._get(f"{self.at}/backupPolicies", "backup-policy list")["value"]

    def policy_delete(self, name):
        return self.extension.send("DELETE", f"{self.at}/backupPolicies/{name}", None, (200, 204), command="backup-policy delete")

    # ---- backup-instance

    def instance_validate(self, file):
        return self._start(f"{self.at}/validateForBackup", "backup-instance validate-for-backup",
                           {"backupInstance": camel(file["properties"])})

    def instance_create(self, file):
        properties = camel(file["properties"])
        info = properties["dataSourceInfo"]
        info["resourceID"] = info.pop("resourceId")
        properties = {name: value for name, value in properties.items() if value is not None}
        properties["policyInfo"] = {"policyId": properties["policyInfo"]["policyId"]}
        self._start(f"{self.at}/validateForBackup", "backup-instance create", {"backupInstance": properties})
        return self.extension.send("PUT", f"{self.at}/backupInstances/{file['backup_instance_name']}", {"properties": properties},
                                   (200, 201, 202), "azure-async-operation", "backup-instance create")

    def instance_update_policy(self, name, policy_id, **more):
        shown = self.instance_show(name)
        properties = {key: value for key, value in shown["properties"].items()
                      if key not in ("currentProtectionState", "protectionStatus", "provisioningState", "protectionErrorDetails")}
        properties["policyInfo"]["policyId"] = policy_id
        properties.update(more)
        return self.extension.send("PUT", f"{self.at}/backupInstances/{name}", {"properties": properties, "tags": shown.get("tags")},
                                   (200, 201, 202), "azure-async-operation", "backup-instance update-policy")

    def instance_show(self, name):
        return self._get(f"{self.at}/backupInstances/{name}", "backup-instance show")

    def instance_list(self):
        return self._get(f"{self.at}/backupInstances", "backup-instance list")["value"]

    def instance_delete(self, name):
        return self.extension.send("DELETE", f"{self.at}/backupInstances/{name}", None, (200, 202, 204), "azure-async-operation",
                                   "backup-instance delete")

    def instance_action(self, name, action, body=None):
        """stopProtection, suspendBackups, resumeProtection."""
        return self._start(f"{self.at}/backupInstances/{name}/{action}", f"backup-instance {action}", body, "azure-async-operation")

    def adhoc_backup(self, name, rule, override=None):
        option = {"retentionTagOverride": override} if override else {}
        return self._start(f"{self.at}/backupInstances/{name}/backup", "backup-instance adhoc-backup",
                           {"backupRuleOptions": {"ruleName": rule, "triggerOption": option}})

    def restore_validate(self, name, request):
        return self._start(f"{self.at}/backupInstances/{name}/validateRestore", "backup-instance validate-for-restore",
                           {"restoreRequestObject": camel(request)})

    def restore_trigger(self, name, request):
        return self._start(f"{self.at}/backupInstances/{name}/restore", "backup-instance restore trigger", camel(request))

    def deleted_list(self):
        return self._get(f"{self.at}/deletedBackupInstances", "backup-instance deleted-backup-instance list")["value"]

    def deleted_show(self, name):
        return self._get(f"{self.at}/deletedBackupInstances/{name}", "backup-instance deleted-backup-instance show")

    def undelete(self, name):
        return self._start(f"{self.at}/deletedBackupInstances/{name}/undelete", "backup-instance deleted-backup-instance undelete", None,
                           "azure-async-operation")

    # ---- recovery-point, restorable-time-range, job

    def points(self, name, filter=""):
        return self._get(f"{self.at}/backupInstances/{name}/recoveryPoints?$filter={filter}", "recovery-point list")["value"]

    def point_show(self, name, point):
        return self._get(f"{self.at}/backupInstances/{name}/recoveryPoints/{point}", "recovery-point show")

    def time_ranges(self, name):
        return self.extension.send("POST", f"{self.at}/backupInstances/{name}/findRestorableTimeRanges",
                                   {"sourceDataStoreType": "VaultStore", "startTime": "2021-01-01T00:00:00", "endTime": "2031-01-01T00:00:00"},
                                   command="restorable-time-range find")

    def job_list(self):
        return self._get(f"{self.at}/backupJobs", "job list")["value"]

    def job_show(self, identifier):
        """`--ids`, in whatever casing."""
        return self._get(identifier, "job show")

    # ---- resource-guard, resource-guard-mapping

    def guard_create(self, name):
        return self.extension.send("PUT", f"{self.scope}/resourceGuards/{name}", {"location": "westus"}, command="resource-guard create")

    def guard_update(self, name, exclusions):
        guard = self._get(f"{self.scope}/resourceGuards/{name}", "resource-guard update")
        guard["properties"]["vaultCriticalOperationExclusionList"] = exclusions
        body = {"location": guard["location"], "tags": guard.get("tags"), "properties": guard["properties"]}
        return self.extension.send("PUT", f"{self.scope}/resourceGuards/{name}", body, (200, 201), command="resource-guard update")

    def guard_list(self, everywhere=False):
        return self._get((self.below if everywhere else self.scope) + "/resourceGuards", "resource-guard list")["value"]

    def guard_delete(self, name):
        return self.extension.send("DELETE", f"{self.scope}/resourceGuards/{name}", None, (200, 204), command="resource-guard delete")

    def mapping(self, verb, guard=None):
        body = {"properties": {"resourceGuardResourceId": f"{self.scope}/resourceGuards/{guard}"}} if guard else None
        return self.extension.send(verb, f"{self.at}/backupResourceGuardProxies/DppResourceGuardProxy", body,
                                   (200, 204) if verb == "DELETE" else (200,), command="backup-vault resource-guard-mapping")

    def unlock(self, request):
        """`--operation-requests SHORTNAME`: the mapping says what that means."""
        details = self.mapping("GET")["properties"]["resourceGuardOperationDetails"]
        wanted = next(one["defaultResourceRequest"] for one in details if one["defaultResourceRequest"].endswith(f"/{request}/default"))
        return self.extension.send("POST", f"{self.at}/backupResourceGuardProxies/DppResourceGuardProxy/unlockDelete",
                                   {"resourceGuardOperationRequests": [wanted]}, command="resource-guard unlock")
