#!/usr/bin/env python3
"""Physical backups with the real program and a real PostgreSQL: protect a server, back it up, restore it in every way, and what
must hold when it is cut, killed or cancelled in the middle."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import AS_POSTGRES, BIN, CommandFailed, Site, output, run, write_private  # noqa: E402

PROGRAM = os.environ["HOLDFAST"]
SUM = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM t"


def await_that(condition, what):
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.05)


class Proxy:
    """A TCP proxy to a local port that can hold or cut what comes back after so many bytes of one connection."""

    def __init__(self, port):
        self.target, self.limit, self.cut = port, None, False
        self.reached, self.released = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def after(self, limit, cut):
        self.limit, self.cut = limit, cut
        self.reached.clear()
        self.released.clear()

    def release(self):
        self.limit = None
        self.released.set()

    def serve(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            threading.Thread(target=self.carry, args=(near, far), daemon=True).start()

    def carry(self, near, far):
        with near, far:
            forth = threading.Thread(target=self.pump, args=(near, far, False), daemon=True)
            forth.start()
            self.pump(far, near, True)
            forth.join()

    def pump(self, source, sink, answers):
        passed = 0
        try:
            while block := source.recv(65536):
                passed += len(block)
                if answers and self.limit is not None and passed > self.limit:
                    self.reached.set()
                    if self.cut:
                        break
                    self.released.wait()
                sink.sendall(block)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.release()
        self.listener.close()


class ProxiedSite(Site):
    def register(self):
        self.proxy, real = Proxy(self.postgres.port), self.postgres.port
        self.postgres.port = self.proxy.port
        try:
            super().register()
        finally:
            self.postgres.port = real

    def stop(self):
        self.proxy.close()
        super().stop()


class Restored:
    """PostgreSQL on a restored data directory."""

    def __init__(self, data):
        self.data, self.sockets = data, data + "-sockets"
        os.makedirs(self.sockets, exist_ok=True)
        if AS_POSTGRES:
            shutil.chown(self.sockets, "postgres")
        options = f"-p 5432 -k {self.sockets} -c listen_addresses= -c fsync=off"
        run(AS_POSTGRES + [f"{BIN}/pg_ctl", "-D", data, "-w", "-s", "-l", data + ".log", "-o", options, "start"])

    def sql(self, database, text):
        return output([f"{BIN}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-p", "5432", "-U", "postgres",
                       "-d", database], input=text).strip()

    def stop(self):
        run(AS_POSTGRES + [f"{BIN}/pg_ctl", "-D", self.data, "-w", "-s", "-m", "fast", "stop"])


class PhysicalTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="holdfast-phys-", dir="/tmp")
        os.chmod(cls.directory, 0o755)
        cls.site = ProxiedSite(PROGRAM, cls.directory)
        cls.postgres, cls.holdfast = cls.site.postgres, cls.site.holdfast
        cls.postgres.sql("postgres", "CREATE DATABASE shop")
        cls.postgres.sql("shop", "CREATE TABLE t AS SELECT i, md5(i::text) AS v FROM generate_series(1, 100000) i; ALTER TABLE t ADD PRIMARY KEY (i)")
        cls.instance = cls.site.protect()
        cls.site.backup(cls.instance)
        cls.first = cls.postgres.sql("shop", SUM)
        cls.postgres.sql("shop", "UPDATE t SET v = 'changed' WHERE i % 1000 = 0; CHECKPOINT")
        cls.site.backup(cls.instance)
        cls.second = cls.postgres.sql("shop", SUM)
        cls.points = [point["name"] for point in cls.site.points(cls.instance)]  # Newest first.

    @classmethod
    def tearDownClass(cls):
        cls.site.stop()
        shutil.rmtree(cls.directory, ignore_errors=True)

    def target(self, name):
        path = os.path.join(self.directory, "restored", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if AS_POSTGRES:
            shutil.chown(os.path.dirname(path), "postgres")
        return path

    def restore(self, point, target, *more, environment=None):
        return self.holdfast.call("restore", "-g", Site.GROUP, "-v", Site.VAULT, f"--name={self.instance}", "--recovery-point-id", point,
                                  "--target-directory", target, *more, environment=environment)

    def assert_starts_with(self, target, expected):
        restored = Restored(target)
        try:
            self.assertEqual(restored.sql("shop", SUM), expected)
        finally:
            restored.stop()

    def start_backup(self):
        return self.site.backup(self.instance, "--query", "jobId", "-o", "tsv").strip()

    def job(self, identifier):
        return self.site.job(identifier)["properties"]

    # ---- method

    def test_a_server_is_backed_up_physically_and_says_why(self):
        shown = self.holdfast.dp("backup-instance", "show", *self.site.vault_scope, f"--name={self.instance}")["properties"]["holdfast"]
        self.assertEqual(shown["backupSolutionType"], "PhysicalBackup")
        self.assertIn("may replicate", shown["backupSolutionReason"])

    def test_a_login_without_the_right_is_told_what_to_grant(self):
        self.postgres.sql("postgres", "CREATE ROLE plain LOGIN PASSWORD 'p'; GRANT pg_read_all_data TO plain")
        secret = write_private(os.path.join(self.directory, "plain"), "p")
        self.holdfast.cli("postgres", "flexible-server", "register", "-g", "rg", "--name", "plain", "--host", "127.0.0.1", "--port",
                          str(self.postgres.port), "--login", "plain", "--password-file", secret, "-l", "local")
        request = self.holdfast.dp("backup-instance", "initialize", "--datasource-id", self.site.server_id.replace("server1", "plain"),
                                   "--datasource-type", "AzureDatabaseForPostgreSQLFlexibleServer", "-l", "local", "--policy-id",
                                   self.site.policy["id"], "--backup-solution-type", "PhysicalBackup")
        with self.assertRaises(CommandFailed) as failure:
            self.holdfast.dp("backup-instance", "validate-for-backup", *self.site.vault_scope, "--backup-instance", json.dumps(request))
        self.assertIn("UserErrorMissingReplicationRight", failure.exception.stderr)
        self.assertIn("REPLICATION", failure.exception.stderr)

    # ---- restores

    def test_restores_both_points_into_directories(self):
        for point, expected in zip(self.points, (self.second, self.first)):
            target = self.target(point)
            result = self.restore(point, target)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("Next:", result.stderr)
            self.assert_starts_with(target, expected)

    def test_a_target_that_is_not_empty_is_left_alone(self):
        target = self.target("taken")
        os.makedirs(target)
        write_private(os.path.join(target, "mine"), "mine")
        result = self.restore(self.points[0], target)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("is not an empty directory", result.stderr)
        self.assertEqual(os.listdir(target), ["mine"])

    def test_a_delta_rewrites_what_differs_only(self):
        target = self.target("delta")
        self.assertEqual(self.restore(self.points[1], target).returncode, 0)
        vaults = os.path.join(self.holdfast.state, "vaults")
        repository = os.path.join(vaults, next(name for name in os.listdir(vaults) if name.startswith(Site.VAULT.lower()) or name.startswith(Site.VAULT)))
        key = os.path.join(self.holdfast.state, "keys", "kek.key")
        result = self.holdfast.call("vault", "restore", "--path", repository, "--key-file", key, "--point", self.points[0], "-D", target,
                                    "--delta")
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertLess(report["bytesWritten"], report["bytes"] / 2)
        self.assert_starts_with(target, self.second)

    def test_a_restore_that_is_cut_never_starts(self):
        proxy = Proxy(int(self.holdfast.url.rsplit(":", 1)[1]))
        self.addCleanup(proxy.close)
        profile = os.path.join(self.directory, "proxied")
        shutil.copytree(os.path.join(self.directory, "client"), profile)
        with open(os.path.join(profile, "profile.json"), encoding="utf-8") as file:
            saved = json.load(file)
        saved["server"] = f"https://127.0.0.1:{proxy.port}"
        write_private(os.path.join(profile, "profile.json"), json.dumps(saved))
        proxy.after(2_000_000, cut=True)
        target = self.target("cut")
        result = self.restore(self.points[0], target, environment=dict(self.holdfast.environment, HOLDFAST_CONFIG_DIR=profile))
        self.assertNotEqual(result.returncode, 0)
        self.assertTrue(proxy.reached.is_set())
        self.assertIn("could not read the whole answer", result.stderr)
        self.assertFalse(os.path.exists(os.path.join(target, "global", "pg_control")))
        again = self.restore(self.points[0], target, "--delta")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assert_starts_with(target, self.second)

    def test_a_wrong_token_restores_nothing(self):
        profile = os.path.join(self.directory, "wrong-client")
        shutil.copytree(os.path.join(self.directory, "client"), profile)
        with open(os.path.join(profile, "profile.json"), encoding="utf-8") as file:
            saved = json.load(file)
        saved["token"] = "hf_" + "0" * 60
        write_private(os.path.join(profile, "profile.json"), json.dumps(saved))
        target = self.target("unauthorized")
        result = self.restore(self.points[0], target, environment=dict(self.holdfast.environment, HOLDFAST_CONFIG_DIR=profile))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("AuthenticationFailed", result.stderr)
        self.assertFalse(os.path.exists(os.path.join(target, "PG_VERSION")))

    def test_files_satisfy_pg_verifybackup(self):
        self.site.restore_as_files(self.instance, "whole")
        data = self.target("from-files")
        os.makedirs(data, mode=0o700)
        for archive, below in (("base.tar", "."), ("pg_wal.tar", "pg_wal")):
            run(["tar", "-C", os.path.join(data, below), "-xf", os.path.join(self.holdfast.restore, f"whole_{archive}")])
        shutil.copy(os.path.join(self.holdfast.restore, "whole_backup_manifest"), os.path.join(data, "backup_manifest"))
        run([f"{BIN}/pg_verifybackup", data], stdout=subprocess.DEVNULL)
        with open(os.path.join(self.holdfast.restore, "whole_manifest.json"), encoding="utf-8") as file:
            self.assertEqual(len(json.load(file)["files"]), 3)

    def test_a_whole_server_is_not_restored_over_a_running_one(self):
        request = self.holdfast.dp("backup-instance", "restore", "initialize-for-data-recovery", "--datasource-type",
                                   "AzureDatabaseForPostgreSQLFlexibleServer", "--restore-location", "local", "--source-datastore",
                                   "VaultStore", "--recovery-point-id", self.points[0], "--target-resource-id", self.site.server_id)
        with self.assertRaises(CommandFailed) as failure:
            self.holdfast.dp("backup-instance", "validate-for-restore", *self.site.vault_scope, f"--name={self.instance}",
                             "--restore-request-object", json.dumps(request))
        self.assertIn("holdfast restore", failure.exception.stderr)

    @unittest.skipUnless(shutil.which("bwrap"), "bubblewrap is not installed")
    def test_verifies_and_extracts_a_table(self):
        self.holdfast.dp("backup-instance", "verify", *self.site.vault_scope, f"--name={self.instance}", "--wait")
        shown = self.holdfast.dp("recovery-point", "show", *self.site.vault_scope, f"--backup-instance-name={self.instance}",
                                 "--recovery-point-id", self.points[0])["properties"]["holdfast"]["testRestore"]
        self.assertEqual(shown["result"], "Passed")
        self.assertGreater(shown["restoreSeconds"], 0)
        self.postgres.sql("postgres", "CREATE DATABASE items")
        request = self.holdfast.dp("backup-instance", "restore", "initialize-for-item-recovery", "--datasource-type",
                                   "AzureDatabaseForPostgreSQLFlexibleServer", "--restore-location", "local", "--source-datastore",
                                   "VaultStore", "--recovery-point-id", self.points[1], "--target-resource-id",
                                   f"{self.site.server_id}/databases/items", "--items", "shop/public/t")
        self.site.restore(self.instance, request)
        self.assertEqual(self.postgres.sql("items", SUM), self.first)

    # ---- in the middle of a backup; each leaves earlier points as they were

    def test_z1_a_cancelled_backup_ends_the_servers_side(self):
        self.site.proxy.after(3_000_000, cut=False)
        self.addCleanup(self.site.proxy.release)
        job = self.start_backup()
        self.assertTrue(self.site.proxy.reached.wait(60))
        self.holdfast.dp("job", "cancel", "--ids", job)
        await_that(lambda: self.job(job)["status"] == "Cancelled", "the job is cancelled")
        self.site.proxy.release()
        await_that(lambda: self.postgres.sql("postgres", "SELECT count(*) FROM pg_stat_replication") == "0", "no walsender is left")
        self.assertEqual(len(self.site.points(self.instance)), len(self.points))

    def test_z2_a_cut_connection_fails_the_backup(self):
        self.site.proxy.after(3_000_000, cut=True)
        self.addCleanup(self.site.proxy.release)
        with self.assertRaises(CommandFailed) as failure:
            self.site.backup(self.instance)
        self.site.proxy.release()
        self.assertIn("UserErrorServerConnectionClosed", failure.exception.stderr + failure.exception.stdout)
        self.assertEqual(len(self.site.points(self.instance)), len(self.points))

    def test_z3_a_server_that_stops_fails_the_backup(self):
        self.site.proxy.after(3_000_000, cut=False)
        self.addCleanup(self.site.proxy.release)
        job = self.start_backup()
        self.assertTrue(self.site.proxy.reached.wait(60))
        self.postgres.stop("immediate")
        self.site.proxy.release()
        await_that(lambda: self.job(job)["status"] == "Failed", "the job has failed")
        self.postgres.start()
        self.site.backup(self.instance)
        type(self).points.insert(0, self.site.points(self.instance)[0]["name"])

    def test_z4_killed_in_a_backup(self):
        self.site.proxy.after(3_000_000, cut=False)
        self.addCleanup(self.site.proxy.release)
        job = self.start_backup()
        self.assertTrue(self.site.proxy.reached.wait(60))
        self.holdfast.kill()
        self.site.proxy.release()
        self.holdfast.start()
        await_that(lambda: self.job(job)["status"] == "Failed", "the job is reported as failed")
        self.assertEqual(self.job(job)["errorDetails"][0]["code"], "UserErrorJobInterruptedByRestart")
        self.assertEqual(len(self.site.points(self.instance)), len(self.points))
        target = self.target("after-kill")
        self.assertEqual(self.restore(self.points[-1], target).returncode, 0)
        self.assert_starts_with(target, self.first)
        self.site.backup(self.instance)


if __name__ == "__main__":
    unittest.main()
