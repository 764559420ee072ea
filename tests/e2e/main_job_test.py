#!/usr/bin/env python3
"""The main job with the real program and a real PostgreSQL: protect, back up, restore, and what must hold when it goes wrong."""
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import unittest
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, PASSWORD, CommandFailed, Holdfast, Postgres, Site, run  # noqa: E402

PROGRAM = os.environ["HOLDFAST"]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FINGERPRINT = os.path.join(ROOT, "demo", "fingerprint.sql")


def scratch():
    directory = tempfile.mkdtemp(prefix="holdfast-e2e-")
    os.chmod(directory, 0o755)
    return directory


class MainJobTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = scratch()
        cls.site = Site(PROGRAM, cls.directory)
        cls.postgres, cls.holdfast = cls.site.postgres, cls.site.holdfast
        cls.postgres.sql("postgres", "CREATE DATABASE shop")
        cls.postgres.sql("shop", """
            CREATE ROLE owner1; CREATE SCHEMA s AUTHORIZATION owner1;
            CREATE TABLE s.a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, n int GENERATED ALWAYS AS (length(v)) STORED);
            INSERT INTO s.a (v) SELECT md5(i::text) FROM generate_series(1, 20000) i;
            CREATE TABLE s.b (id int PRIMARY KEY, a_id bigint REFERENCES s.a, at timestamptz) ;
            INSERT INTO s.b SELECT i, i, now() FROM generate_series(1, 1000) i;
            CREATE INDEX b_at ON s.b (at); COMMENT ON TABLE s.b IS 'second';
            ALTER TABLE s.b OWNER TO owner1; GRANT SELECT ON s.b TO PUBLIC;
            SELECT lo_from_bytea(4711, 'hello');
            ALTER DATABASE shop SET work_mem = '7MB';""")
        cls.instance = cls.site.protect("shop")
        cls.site.backup(cls.instance)

    @classmethod
    def tearDownClass(cls):
        cls.site.stop()
        shutil.rmtree(cls.directory, ignore_errors=True)

    def fingerprint(self, database):
        return self.postgres.script(database, os.path.abspath(FINGERPRINT))

    def schema(self, database):
        text = subprocess.run(self.postgres.client("pg_dump", "-s", database=database), check=True, stdout=subprocess.PIPE, text=True).stdout
        # pg_dump draws a new \\restrict key for each run.
        return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]

    def test_restores_into_a_new_database(self):
        self.site.restore_to_database(self.instance, "shop_copy")
        self.addCleanup(self.postgres.sql, "postgres", "DROP DATABASE shop_copy")
        self.assertEqual(self.fingerprint("shop_copy"), self.fingerprint("shop"))
        self.assertEqual(self.schema("shop_copy"), self.schema("shop"))

    def test_refuses_a_database_that_exists(self):
        with self.assertRaises(CommandFailed) as failure:
            self.site.restore_to_database(self.instance, "shop")
        self.assertIn("UserErrorDatabaseNameAlreadyInUse", failure.exception.stderr)
        self.assertEqual(self.postgres.sql("shop", "SELECT count(*) FROM s.a"), "20000")

    def test_restores_as_files_that_pg_restore_reads(self):
        self.site.restore_as_files(self.instance, "dump1")
        names = sorted(n for n in os.listdir(self.holdfast.restore) if n.startswith("dump1"))
        self.assertIn("dump1_database_shop.sql", names)
        self.assertIn("dump1_manifest.json", names)
        self.assertIn("dump1_restore.sh", names)
        for name in names:
            self.assertEqual(os.stat(os.path.join(self.holdfast.restore, name)).st_mode & 0o077, 0, name)
        archive = os.path.join(self.holdfast.restore, "dump1_database_shop.sql")
        self.postgres.sql("postgres", "CREATE DATABASE from_files")
        self.addCleanup(self.postgres.sql, "postgres", "DROP DATABASE from_files")
        run(self.postgres.client("pg_restore", "-j", "2", "--exit-on-error", archive, database="from_files"))
        self.assertEqual(self.postgres.sql("from_files", "SELECT sum(hashtextextended(t::text, 0)) FROM s.a t"),
                         self.postgres.sql("shop", "SELECT sum(hashtextextended(t::text, 0)) FROM s.a t"))
        with self.assertRaises(CommandFailed) as failure:
            self.site.restore_as_files(self.instance, "dump1")
        self.assertIn("UserErrorRestoreTargetExists", failure.exception.stderr)

    def test_downloads_restored_files_over_https(self):
        self.site.restore_as_files(self.instance, "dump2")
        context = ssl.create_default_context(cafile=os.path.join(self.holdfast.state, "tls", "ca.pem"))
        request = urllib.request.Request(self.holdfast.url + "/restore/files/dump2_manifest.json")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, context=context)
        self.assertEqual(refused.exception.code, 401)
        refused.exception.close()
        request.add_header("Authorization", f"Bearer {self.holdfast.token}")
        with urllib.request.urlopen(request, context=context) as answer:
            self.assertIn("dump2_database_shop.sql", answer.read().decode())

    def test_refuses_a_prefix_that_leaves_the_container(self):
        with self.assertRaises(CommandFailed) as failure:
            self.site.restore_as_files(self.instance, "../evil")
        self.assertNotEqual(failure.exception.code, 0)
        self.assertFalse(os.path.exists(os.path.join(self.directory, "evil_manifest.json")))

    def test_restores_one_table(self):
        self.postgres.sql("postgres", "CREATE DATABASE items")
        self.addCleanup(self.postgres.sql, "postgres", "DROP DATABASE items")
        request = {
            "objectType": "AzureBackupRecoveryPointBasedRestoreRequest", "sourceDataStoreType": "VaultStore",
            "recoveryPointId": self.site.points(self.instance)[0]["name"],
            "restoreTargetInfo": {
                "objectType": "ItemLevelRestoreTargetInfo", "recoveryOption": "FailIfExists", "restoreLocation": "local",
                "restoreCriteria": [{"objectType": "ItemPathBasedRestoreCriteria", "itemPath": "shop/s/b", "isPathRelativeToBackupItem": True}],
                "datasourceInfo": {"objectType": "Datasource", "datasourceType": "Microsoft.DBforPostgreSQL/flexibleServers",
                                   "resourceID": f"{self.site.server_id}/databases/items", "resourceName": "items"}}}
        self.site.restore(self.instance, request)
        self.assertEqual(self.postgres.sql("items", "SELECT count(*) FROM s.b"), "1000")
        self.assertEqual(self.postgres.sql("items", "SELECT to_regclass('s.a') IS NULL"), "t")

    def test_an_unchanged_database_adds_next_to_nothing(self):
        def stored():
            return sum(os.path.getsize(os.path.join(r, n)) for r, _, names in os.walk(os.path.join(self.holdfast.state, "vaults")) for n in names)

        before = stored()
        self.site.backup(self.instance)
        self.assertLess(stored() - before, 0.05 * before)

    def test_a_wrong_password_says_so(self):
        self.postgres.sql("postgres", "CREATE DATABASE locked")
        secret = os.path.join(self.directory, "wrong")
        with open(secret, "w", encoding="utf-8") as file:
            file.write("not-it")
        self.holdfast.cli("postgres", "flexible-server", "register", "-g", "rg", "--name", "wrong", "--host", "127.0.0.1", "--port",
                          str(self.postgres.port), "--login", "postgres", "--password-file", secret, "-l", "local")
        request = self.holdfast.dp("backup-instance", "initialize", "--datasource-id",
                                   self.site.server_id.replace("server1", "wrong") + "/databases/locked", "--datasource-type",
                                   "AzureDatabaseForPostgreSQLFlexibleServer", "-l", "local", "--policy-id", self.site.policy["id"])
        with self.assertRaises(CommandFailed) as failure:
            self.holdfast.dp("backup-instance", "create", *self.site.vault_scope, "--backup-instance", json.dumps(request))
        self.assertIn("UserErrorDBUserAuthFailed", failure.exception.stderr)

    def test_a_second_protection_is_refused(self):
        with self.assertRaises(CommandFailed) as failure:
            self.site.protect("shop")
        self.assertIn("UserErrorDppDatasourceAlreadyHasBackupInstance", failure.exception.stderr)
        self.assertIn(self.instance, failure.exception.stderr)

    def test_odd_database_names(self):
        for name in ("a=b", "-x", "my db", "q\"'\\", "postgresql://h", "ü"):
            with self.subTest(name=name):
                quoted = '"' + name.replace('"', '""') + '"'
                self.postgres.sql("postgres", f"CREATE DATABASE {quoted}")
                conninfo = "dbname='" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"
                self.postgres.sql(conninfo, "CREATE TABLE t AS SELECT 42 AS x")
                from urllib.parse import quote
                instance = self.site.protect(quote(name, safe=""))
                self.site.backup(instance)
                self.site.restore_to_database(instance, quote(name + " copy", safe=""))
                copy = "dbname='" + (name + " copy").replace("\\", "\\\\").replace("'", "\\'") + "'"
                self.assertEqual(self.postgres.sql(copy, "SELECT x FROM t"), "42")

    def test_no_secret_is_left_behind(self):
        needle = PASSWORD.encode()
        self.assertNotIn(PASSWORD, self.holdfast.log())
        self.assertNotIn(self.holdfast.token, self.holdfast.log())
        for root, _, names in os.walk(self.holdfast.state):
            for name in names:
                with open(os.path.join(root, name), "rb") as file:
                    content = file.read()
                self.assertNotIn(needle, content, name)
                self.assertNotIn(self.holdfast.token.encode(), content, name)

    def test_wrong_token_and_unknown_verb(self):
        other = dict(self.holdfast.environment, HOLDFAST_CONFIG_DIR=os.path.join(self.directory, "other-client"))
        wrong = os.path.join(self.directory, "wrong-token")
        with open(wrong, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write("hf_" + "0" * 60)
        self.holdfast.call("login", "--server", self.holdfast.url, "--ca", os.path.join(self.holdfast.state, "tls", "ca.pem"), "--token-file", wrong,
                           environment=other)
        self.assertNotEqual(self.holdfast.call("group", "list", environment=other).returncode, 0)
        result = self.holdfast.call("dataprotection", "vault", "create")
        self.assertEqual(result.returncode, 2)
        self.assertIn("misspelled or not recognized", result.stderr)


class DisasterTest(unittest.TestCase):
    def setUp(self):
        self.directory = scratch()
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.site = Site(PROGRAM, self.directory)
        self.addCleanup(self.site.stop)
        self.site.postgres.sql("postgres", "CREATE DATABASE shop")
        self.site.postgres.sql("shop", "CREATE TABLE t AS SELECT i, md5(i::text) AS v FROM generate_series(1, 300000) i")
        self.instance = self.site.protect("shop")

    def total(self, database):
        return self.site.postgres.sql(database, "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM t")

    def test_kill_in_the_middle_of_a_backup(self):
        site = self.site
        site.backup(self.instance)
        # A lock that pg_dump waits for holds the backup in the middle, for certain.
        blocker = subprocess.Popen(site.postgres.client("psql", "-X", "-q", database="shop"), stdin=subprocess.PIPE, text=True)
        blocker.stdin.write("BEGIN; LOCK TABLE t;\n")
        blocker.stdin.flush()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        job = site.backup(self.instance, "--output", "json")
        while site.postgres.sql("postgres", waiting) == "0":
            self.assertIsNone(site.holdfast.process.poll())
        site.holdfast.kill()
        blocker.stdin.close()
        blocker.wait(timeout=30)
        site.holdfast.start()
        ended = site.job(job["jobId"])["properties"]
        self.assertEqual(ended["status"], "Failed")
        self.assertEqual(ended["errorDetails"][0]["code"], "UserErrorJobInterruptedByRestart")
        self.assertEqual(len(site.points(self.instance)), 1)
        site.backup(self.instance)
        site.restore_to_database(self.instance, "copy")
        self.assertEqual(self.total("copy"), self.total("shop"))

    def test_a_second_server_on_the_same_state_is_refused(self):
        result = subprocess.run(self.site.holdfast.serve_command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                                timeout=60, env=self.site.holdfast.environment)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("Another server uses the state directory", result.stderr)

    def test_key_missing_wrong_or_readable_by_others(self):
        holdfast = self.site.holdfast
        self.site.backup(self.instance)
        holdfast.stop()
        key = os.path.join(holdfast.state, "keys", "kek.key")

        def refused(words):
            result = subprocess.run(holdfast.serve_command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                                    timeout=60, env=holdfast.environment)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(words, result.stderr)

        os.chmod(key, 0o644)
        refused("only its owner can read")
        os.chmod(key, 0o600)
        os.rename(key, key + ".away")
        refused("is missing")
        with open(key + ".away", encoding="utf-8") as file:
            text = file.read().rstrip("\n")
        with open(key, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            middle = len(text) // 2
            file.write(text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1:] + "\n")
        refused("is not the one that this server was used with")
        os.replace(key + ".away", key)
        holdfast.start()
        self.site.restore_to_database(self.instance, "copy")
        self.assertEqual(self.total("copy"), self.total("shop"))

    def test_a_lost_catalog_is_rebuilt_from_the_vault(self):
        holdfast = self.site.holdfast
        self.site.backup(self.instance)
        points = [point["name"] for point in self.site.points(self.instance)]
        holdfast.stop()
        for name in os.listdir(holdfast.state):
            if name.startswith("catalog"):
                os.unlink(os.path.join(holdfast.state, name))
        result = holdfast.call("vault", "scan", "--path", self.repository(), "--key-file", self.key(), "--write-catalog",
                               os.path.join(holdfast.state, "catalog.db"))
        self.assertEqual(result.returncode, 0, result.stderr)
        holdfast.start()
        self.assertEqual([point["name"] for point in self.site.points(self.instance)], points)
        self.site.restore_to_database(self.instance, "copy")
        self.assertEqual(self.total("copy"), self.total("shop"))

    def test_an_empty_machine_the_kit_and_the_repository(self):
        holdfast = self.site.holdfast
        self.site.backup(self.instance)
        kit = os.path.join(self.directory, "kit.txt")
        result = holdfast.call("vault", "recovery-kit", "--path", self.repository(), "--key-file", self.key(), "--output-file", kit)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(os.stat(kit).st_mode & 0o077, 0)
        elsewhere = os.path.join(self.directory, "elsewhere")
        os.makedirs(elsewhere)
        shutil.copytree(self.repository(), os.path.join(elsewhere, "repository"))
        result = subprocess.run([PROGRAM, "vault", "extract", "--path", os.path.join(elsewhere, "repository"), "--key-file", kit,
                                 "--point", self.site.points(self.instance)[0]["name"], "--to", os.path.join(elsewhere, "out")],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                                env={"PATH": os.environ["PATH"], "HOME": elsewhere})
        self.assertEqual(result.returncode, 0, result.stderr)
        archive = next(os.path.join(elsewhere, "out", n) for n in os.listdir(os.path.join(elsewhere, "out")) if n.endswith("_database_shop.sql"))
        self.site.postgres.sql("postgres", "CREATE DATABASE copy")
        run(self.site.postgres.client("pg_restore", "--exit-on-error", archive, database="copy"))
        self.assertEqual(self.total("copy"), self.total("shop"))

    def repository(self):
        for path, folders, _ in os.walk(os.path.join(self.site.holdfast.state, "vaults")):
            if "config" in folders and "keys" in folders:
                return path
        raise AssertionError("there is no repository")

    def key(self):
        return os.path.join(self.site.holdfast.state, "keys", "kek.key")

    def check(self):
        return self.site.holdfast.call("vault", "check", "--path", self.repository(), "--key-file", self.key(), "--read-data")

    def test_vault_check_names_damage(self):
        self.site.backup(self.instance)
        self.assertEqual(self.check().returncode, 0)
        packs = os.path.join(self.repository(), "packs")
        path = max((os.path.join(r, n) for r, _, names in os.walk(packs) for n in names), key=os.path.getsize)
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 1]))
        result = self.check()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(os.path.basename(path), result.stdout + result.stderr)
        with self.assertRaises(CommandFailed) as failure:
            self.site.restore_to_database(self.instance, "copy")
        self.assertIn("VaultDataDamaged", failure.exception.stderr)
        self.assertEqual(self.site.postgres.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'copy'"), "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
