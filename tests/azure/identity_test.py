"""Logins, roles, secrets and the audit trail, driven by Debian's az and the Azure SDKs for Python, unmodified."""
import json
import os
import shutil
import socket
import sys
import tempfile
import unittest
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import azure_tools  # noqa: E402

azure_tools.use_debian_python()
import harness  # noqa: E402

PROGRAM = os.environ["HOLDFAST"]
BACKUP_READER = "a795c7a0-d4a2-40c1-ae25-d81f01202912"


class Identity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="holdfast-azure-")
        cls.issuer = azure_tools.Issuer(cls.directory)
        cls.holdfast = harness.Holdfast(PROGRAM, cls.directory, {"service": {"key_vaults": ["kv1"]}}, tables=[cls.issuer.configuration])
        cls.ca = os.path.join(cls.holdfast.state, "tls", "ca.pem")
        os.environ["REQUESTS_CA_BUNDLE"] = cls.ca
        cls.az = azure_tools.Az(cls.directory, cls.ca)
        cls.me = cls.holdfast.cli("ad", "signed-in-user", "show")
        account = cls.holdfast.cli("account", "show")
        cls.subscription, cls.tenant = account["id"], account["tenantId"]
        # The path that the documentation describes, by the product's own hand.
        environment = dict(cls.holdfast.environment, **cls.az.environment)
        environment["HOLDFAST_CONFIG_DIR"] = cls.holdfast.environment["HOLDFAST_CONFIG_DIR"]
        printed = cls.holdfast.call("az-setup", environment=environment)
        assert printed.returncode == 0, printed.stderr
        cls.printed = printed.stdout
        ran = cls.holdfast.call("az-setup", "--run", environment=environment)
        assert ran.returncode == 0, ran.stderr

    @classmethod
    def tearDownClass(cls):
        cls.holdfast.stop()
        cls.issuer.stop()
        shutil.rmtree(cls.directory, ignore_errors=True)

    def login_owner(self):
        secret = harness.write_private(os.path.join(self.directory, "owner-secret"), self.holdfast.token)
        self.az("login", "--service-principal", "-u", self.me["appId"], "-p", "@" + secret, "--tenant", self.tenant)
        os.unlink(secret)

    # ---- az

    def test_setup_prints_what_it_runs(self):
        self.assertIn(f"az login --service-principal -u {self.me['appId']} --tenant {self.tenant}", self.printed)
        self.assertIn("az cloud register -n holdfast --cloud-config", self.printed)
        self.assertIn("export REQUESTS_CA_BUNDLE=", self.printed)
        self.assertNotIn(self.holdfast.token, self.printed)

    def test_register_without_configuration(self):
        """The three commands that a user types who knows Azure only: discovery fills the rest."""
        az = azure_tools.Az(os.path.join(self.directory, "plain"), self.ca)
        az("cloud", "register", "-n", "plain", "--endpoint-resource-manager", self.holdfast.url + "/")
        az("cloud", "set", "-n", "plain")
        secret = harness.write_private(os.path.join(self.directory, "plain-secret"), self.holdfast.token)
        rows = az("login", "--service-principal", "-u", self.me["appId"], "-p", "@" + secret, "--tenant", "anything.example")
        self.assertEqual(rows[0]["id"], self.subscription)
        self.assertEqual(rows[0]["tenantId"], self.tenant)

    def test_account_and_rest(self):
        self.login_owner()
        self.assertEqual(self.az("account", "show")["id"], self.subscription)
        self.assertEqual([row["id"] for row in self.az("account", "list", "--refresh")], [self.subscription])
        listed = self.az("rest", "--url", f"/subscriptions/{self.subscription}/resourceGroups?api-version=2021-04-01")
        self.assertIn("default", [group["name"] for group in listed["value"]])
        self.assertEqual(self.az("rest", "--url", self.holdfast.url + "/v1.0/me", "--resource", self.holdfast.url + "/")["id"], self.me["id"])

    def test_groups(self):
        self.login_owner()
        self.assertEqual(self.az("group", "create", "-n", "azrg", "-l", "westus")["location"], "westus")
        self.assertIn("azrg", [group["name"] for group in self.az("group", "list")])
        self.assertEqual(self.az("group", "show", "-n", "AZRG")["name"], "azrg")
        self.assertTrue(self.az("group", "exists", "-n", "azrg"))
        self.az("group", "delete", "-n", "azrg", "--yes")
        self.assertFalse(self.az("group", "exists", "-n", "azrg"))

    def test_wrong_secret_is_said_as_azure_says_it(self):
        az = azure_tools.Az(os.path.join(self.directory, "wrong"), self.ca)
        az("cloud", "register", "-n", "wrong", "--endpoint-resource-manager", self.holdfast.url)
        az("cloud", "set", "-n", "wrong")
        result = az.call("login", "--service-principal", "-u", self.me["appId"], "-p", "nonsense", "--tenant", self.tenant)
        self.assertEqual(result.returncode, 1)
        self.assertIn("AADSTS7000215: Invalid client secret", result.stderr)

    def test_user_with_password(self):
        password = harness.write_private(os.path.join(self.directory, "password"), "correct horse battery staple")
        user = self.holdfast.cli("ad", "user", "create", "--user-principal-name", "alice@example.org", "--password-file", password)
        self.holdfast.cli("role", "assignment", "create", "--assignee", "alice@example.org", "--role", "Reader", "--scope", "/")
        az = azure_tools.Az(os.path.join(self.directory, "alice"), self.ca)
        az("cloud", "register", "-n", "alice", "--endpoint-resource-manager", self.holdfast.url)
        az("cloud", "set", "-n", "alice")
        rows = az("login", "-u", "alice@example.org", "-p", "@" + password, "--tenant", self.tenant)
        self.assertEqual(rows[0]["user"], {"name": "alice@example.org", "type": "user"})
        self.assertTrue(az("group", "list"))
        refused = az.call("group", "create", "-n", "nope", "-l", "westus")
        self.assertIn("AuthorizationFailed", refused.stderr)
        self.holdfast.cli("ad", "user", "delete", "--id", user["id"])
        self.assertIn("disabled or was deleted", az.call("group", "list").stderr)

    def test_roles_by_az(self):
        self.login_owner()
        made = self.holdfast.cli("ad", "sp", "create-for-rbac", "-n", "by-az")
        scope = f"/subscriptions/{self.subscription}/resourceGroups/default"
        role = self.az("role", "definition", "list", "--name", "Backup Reader", shim=True)[0]
        self.assertEqual((role["name"], role["roleType"]), (BACKUP_READER, "BuiltInRole"))
        assignment = self.az("role", "assignment", "create", "--assignee", made["appId"], "--role", "Backup Reader", "--scope", scope, shim=True)
        self.assertEqual(assignment["scope"], scope)
        again = self.az("role", "assignment", "create", "--assignee", made["appId"], "--role", "Backup Reader", "--scope", scope, shim=True)
        self.assertEqual(again["name"], assignment["name"])
        listed = self.az("role", "assignment", "list", "--scope", scope, "--assignee", made["appId"], shim=True)
        self.assertEqual([(row["principalName"], row["roleDefinitionName"]) for row in listed], [(made["appId"], "Backup Reader")])
        self.az("role", "assignment", "delete", "--assignee", made["appId"], "--role", "Backup Reader", "--scope", scope, shim=True)
        self.assertEqual(self.az("role", "assignment", "list", "--scope", scope, "--assignee", made["appId"], shim=True), [])

    def test_service_principal_by_az(self):
        self.login_owner()
        scope = f"/subscriptions/{self.subscription}"
        made = self.az("ad", "sp", "create-for-rbac", "-n", "az-made", "--role", "Reader", "--scopes", scope, shim=True)
        credential = azure_tools.credential(self.holdfast.url, made["appId"], made["password"])
        token = credential.get_token(self.holdfast.url + "/.default")
        self.assertEqual(token.token.count("."), 2)
        self.assertEqual(self.az("ad", "sp", "show", "--id", made["appId"])["displayName"], "az-made")
        self.az("ad", "sp", "delete", "--id", made["appId"])
        self.assertNotIn("az-made", [sp["displayName"] for sp in self.holdfast.cli("ad", "sp", "list")])

    # ---- the SDKs

    def client(self, client_id=None, secret=None):
        from azure.mgmt.authorization import AuthorizationManagementClient

        return AuthorizationManagementClient(
            azure_tools.credential(self.holdfast.url, client_id or self.me["appId"], secret or self.holdfast.token), self.subscription,
            base_url=self.holdfast.url, credential_scopes=[self.holdfast.url + "//.default"])

    def test_roles_by_sdk(self):
        from azure.core.exceptions import HttpResponseError

        client = self.client()
        scope = f"/subscriptions/{self.subscription}/resourceGroups/default"
        made = self.holdfast.cli("ad", "sp", "create-for-rbac", "-n", "by-sdk")
        principal = self.holdfast.cli("ad", "sp", "show", "--id", made["appId"])["id"]
        roles = list(client.role_definitions.list(scope, filter="roleName eq 'Backup Reader'"))
        self.assertEqual([(role.name, role.role_type) for role in roles], [(BACKUP_READER, "BuiltInRole")])
        name = str(uuid.uuid4())
        assignment = client.role_assignments.create(scope, name, {"role_definition_id": roles[0].id, "principal_id": principal,
                                                                  "principal_type": "ServicePrincipal"})
        self.assertEqual((assignment.name, assignment.scope, assignment.principal_id), (name, scope, principal))
        listed = list(client.role_assignments.list_for_scope(scope, filter="atScope()"))
        self.assertIn(name, [row.name for row in listed])
        self.assertEqual(client.role_assignments.get(scope, name).role_definition_id, roles[0].id)
        # With that role the new principal reads, and gives itself nothing.
        theirs = self.client(made["appId"], made["password"])
        self.assertIn(name, [row.name for row in theirs.role_assignments.list_for_scope(scope)])
        with self.assertRaises(HttpResponseError) as refused:
            theirs.role_assignments.create(scope, str(uuid.uuid4()), {"role_definition_id": roles[0].id, "principal_id": principal})
        self.assertEqual(refused.exception.error.code, "AuthorizationFailed")
        self.assertEqual(client.role_assignments.delete(scope, name).name, name)
        custom = client.role_definitions.create_or_update(scope, str(uuid.uuid4()), {
            "role_name": "Restorer", "role_type": "CustomRole", "assignable_scopes": [scope],
            "permissions": [{"actions": ["Microsoft.DataProtection/*/read"], "not_actions": []}]})
        self.assertEqual(custom.role_name, "Restorer")
        self.assertEqual(client.role_definitions.delete(scope, custom.name).role_name, "Restorer")

    def secrets(self, url, **options):
        from azure.keyvault.secrets import SecretClient

        return SecretClient(url, azure_tools.credential(self.holdfast.url, self.me["appId"], self.holdfast.token), **options)

    def check_secrets(self, client):
        made = client.set_secret("db-password", "Geheim-1", content_type="text/plain", tags={"for": "test"})
        self.assertEqual(made.value, "Geheim-1")
        client.set_secret("db-password", "Geheim-2")
        self.assertEqual(client.get_secret("db-password").value, "Geheim-2")
        self.assertEqual(client.get_secret("db-password", made.properties.version).value, "Geheim-1")
        self.assertIn("db-password", [secret.name for secret in client.list_properties_of_secrets()])
        self.assertEqual(len(list(client.list_properties_of_secret_versions("db-password"))), 2)
        deletion = client.begin_delete_secret("db-password")
        deletion.wait(30)  # Not for a deleted secret to show up: it is gone.
        self.assertEqual((deletion.done(), deletion.result().name), (True, "db-password"))
        self.assertNotIn("db-password", [secret.name for secret in client.list_properties_of_secrets()])

    def test_secrets_by_sdk_of_the_default_vault(self):
        """Without a vault's name in the host the SDK has to be told not to compare it with the challenge's resource."""
        self.check_secrets(self.secrets(self.holdfast.url, verify_challenge_resource=False))

    def test_secrets_by_sdk_of_a_vault_with_a_name(self):
        """With a name for the vault (here as a hosts entry would give it) the SDK runs as it is; the certificate has the name."""
        lookup = socket.getaddrinfo
        socket.getaddrinfo = lambda host, *rest, **named: lookup("localhost" if host == "kv1.localhost" else host, *rest, **named)
        try:
            self.check_secrets(self.secrets(self.holdfast.url.replace("localhost", "kv1.localhost")))
        finally:
            socket.getaddrinfo = lookup

    def test_secrets_by_az(self):
        """With `az rest`: Debian's `az keyvault secret` ends before it asks anybody (No module named 'azure.keyvault.v7_0')."""
        self.login_owner()
        url, resource = f"{self.holdfast.url}/secrets/by-az", ("--resource", self.holdfast.url + "/")
        body = os.path.join(self.directory, "secret.json")
        harness.write_private(body, json.dumps({"value": "Geheim-3"}))
        made = self.az("rest", "--method", "put", "--url", url + "?api-version=7.3", "--body", "@" + body, *resource)
        self.assertTrue(made["id"].startswith(url + "/"))
        self.assertEqual(self.az("rest", "--url", url + "?api-version=7.3", *resource)["value"], "Geheim-3")
        self.az("rest", "--method", "delete", "--url", url + "?api-version=7.3", *resource)
        self.assertIn("SecretNotFound", self.az.call("rest", "--url", url + "?api-version=7.3", *resource).stderr)

    # ---- another issuer

    def test_tokens_of_another_issuer(self):
        import requests

        def ask(path, token):
            return requests.get(self.holdfast.url + path, headers={"Authorization": "Bearer " + token}, verify=self.ca, timeout=30)

        groups = f"/subscriptions/{self.subscription}/resourceGroups/default?api-version=2021-04-01"
        token = self.issuer.token(sub="bob", preferred_username="bob", roles=["lookers"])
        self.assertEqual(ask(groups, token).status_code, 200)
        self.assertEqual(ask("/v1.0/me", token).json()["displayName"], "bob")
        self.assertEqual(ask(groups, self.issuer.token(sub="eve", roles=[])).status_code, 403)
        for wrong in ({"aud": "other"}, {"iss": "https://elsewhere.example"}, {"exp": 1}):
            self.assertEqual(ask(groups, self.issuer.token(sub="bob", roles=["lookers"], **wrong)).status_code, 401, wrong)
        # Who is known from there can be given a role here by his object id, and be shut out.
        eve = next(user for user in self.holdfast.cli("ad", "user", "list") if user["displayName"] == "eve")
        self.holdfast.cli("role", "assignment", "create", "--assignee", eve["id"], "--role", "Reader", "--scope", "/")
        self.assertEqual(ask(groups, self.issuer.token(sub="eve", roles=[])).status_code, 200)
        self.holdfast.cli("ad", "user", "update", "--id", eve["id"], "--account-enabled", "false")
        self.assertEqual(ask(groups, self.issuer.token(sub="eve", roles=[])).status_code, 401)

    # ---- audit

    def test_audit_trail(self):
        trail = os.path.join(self.directory, f"trail-{uuid.uuid4()}.ndjson")
        exported = self.holdfast.cli("audit", "export", "--file", trail)
        self.assertGreater(exported["records"], 0)
        self.assertTrue(self.holdfast.cli("audit", "verify")["sound"])
        checked = self.holdfast.cli("audit", "verify", "--file", trail, "--expect-hash", exported["lastHash"])
        self.assertEqual((checked["sound"], checked["records"]), (True, exported["records"]))
        with open(trail, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertNotIn(self.holdfast.token, "".join(lines))
        changed = json.loads(lines[1])
        changed["status"] = 204
        for forged in (lines[:1] + [json.dumps(changed)] + lines[2:], lines[:1] + lines[2:], lines[1:2] + lines[:1] + lines[2:]):
            with open(trail, "w", encoding="utf-8") as file:
                file.write("\n".join(forged) + "\n")
            result = self.holdfast.call("audit", "verify", "--file", trail)
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertFalse(json.loads(result.stdout)["sound"])
        with open(trail, "w", encoding="utf-8") as file:
            file.write("\n".join(lines[:-1]) + "\n")
        cut = self.holdfast.call("audit", "verify", "--file", trail, "--expect-hash", exported["lastHash"])
        self.assertEqual(cut.returncode, 1)

    def test_activity_log(self):
        self.login_owner()
        self.az("group", "create", "-n", "logged", "-l", "westus")
        events = self.az("monitor", "activity-log", "list", "--resource-group", "logged", "--offset", "1h")
        self.assertEqual(events[0]["operationName"]["value"], "Microsoft.Resources/subscriptions/resourceGroups/write")
        self.assertEqual((events[0]["caller"], events[0]["status"]["value"]), ("owner", "Succeeded"))

    # ---- what must not happen

    def test_guessing_is_slowed_down(self):
        # Not by the SDK: it would wait for as long as it is told to.
        import requests

        made = self.holdfast.cli("ad", "sp", "create-for-rbac", "-n", "guessed")

        def login(secret):
            form = {"grant_type": "client_credentials", "client_id": made["appId"], "client_secret": secret}
            return requests.post(self.holdfast.url + "/adfs/oauth2/token", data=form, verify=self.ca, timeout=30)

        self.assertEqual({login("wrong").status_code for _ in range(10)}, {401})
        refused = login(made["password"])
        self.assertEqual(refused.status_code, 429)
        self.assertGreater(int(refused.headers["Retry-After"]), 200)
        self.assertIn("AADSTS50196", refused.json()["error_description"])

    def test_no_secret_is_on_disk_or_in_the_log(self):
        made = self.holdfast.cli("ad", "sp", "create-for-rbac", "-n", "looked-for")
        azure_tools.credential(self.holdfast.url, made["appId"], made["password"]).get_token(self.holdfast.url + "/.default")
        needles = [made["password"].encode(), self.holdfast.token.encode()]
        for root, _, files in os.walk(self.holdfast.state):
            for name in files:
                with open(os.path.join(root, name), "rb") as file:
                    content = file.read()
                for needle in needles:
                    self.assertNotIn(needle, content, os.path.join(root, name))
        for needle in needles:
            self.assertNotIn(needle.decode(), self.holdfast.log())

    def test_zz_tokens_outlive_a_restart(self):
        made = self.holdfast.cli("ad", "sp", "create-for-rbac", "-n", "before", "--role", "Reader", "--scopes", "/")
        token = azure_tools.credential(self.holdfast.url, made["appId"], made["password"]).get_token(self.holdfast.url + "/.default").token
        self.holdfast.stop()
        self.holdfast.start()
        import requests

        answer = requests.get(self.holdfast.url + "/v1.0/me", headers={"Authorization": "Bearer " + token}, verify=self.ca, timeout=30)
        self.assertEqual(answer.json()["displayName"], "before")


if __name__ == "__main__":
    unittest.main(verbosity=2)
