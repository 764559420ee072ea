#!/usr/bin/env python3
"""bench/logical.py [--scale N] [--reps N] [--holdfast PATH]

Logical backup and restore against PostgreSQL's own tools, in one run, as ratios (the machine may be shared: only ratios
count). Makes a throwaway PostgreSQL 15 and a throwaway Holdfast below a scratch directory; run it as root (PostgreSQL is started
as the user postgres) or as any user. Prints a table and appends one JSON line to bench/results/logical.jsonl.
"""
import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
from harness import BIN, PASSWORD, Postgres, Site, run, timed  # noqa: E402


class Bench:
    """A server of baselines' data, protected: the same harness that the end-to-end tests stand on."""

    SETTINGS = ("shared_buffers=512MB", "max_wal_size=8GB", "autovacuum=off", "synchronize_seqscans=off", "checkpoint_timeout=60min")

    def __init__(self, options, directory):
        self.options, self.figures, self.directory = options, {}, directory
        postgres_directory = os.path.join(directory, "pg")
        os.makedirs(postgres_directory)
        self.postgres = Postgres(postgres_directory, self.SETTINGS)
        self.postgres.sql("postgres", "CREATE DATABASE bench")
        print(f"Making data of scale {options.scale} ...", file=sys.stderr)
        run([os.path.join(HERE, "make-data.sh"), self.postgres.sockets, str(self.postgres.port), "bench", str(options.scale)],
            stdout=subprocess.DEVNULL)
        self.site = Site(options.holdfast, directory, {"jobs": {"max_jobs": 2, "max_jobs_per_server": 2}}, self.postgres)
        self.holdfast, self.server_id = self.site.holdfast, self.site.server_id
        self.instance = self.site.protect("bench")

    def job(self, *arguments, scope=None):
        """Runs a command that starts a job and waits for it: wall seconds of the job, CPU seconds of server and children."""
        cpu, _ = self.holdfast.figures()
        ended = self.holdfast.cli("dataprotection", *arguments, *(scope or self.site.vault_scope), "--wait")["properties"]
        after, peak = self.holdfast.figures()
        self.figures["rss_mib"] = round(peak / 1024)
        start, end = (datetime.datetime.fromisoformat(ended[key][:26]) for key in ("startTime", "endTime"))
        return (end - start).total_seconds(), after - cpu

    def stored(self):
        total = 0
        for root, _, names in os.walk(os.path.join(self.holdfast.state, "vaults")):
            total += sum(os.path.getsize(os.path.join(root, name)) for name in names)
        return total

    def first_backup(self, number):
        """pg_dump and a first backup of one copy of the database, one after the other, into a vault of its own: the machine's
        mood changes, so they are compared in pairs."""
        name, vault = f"copy{number}", f"FirstVault{number}"
        self.postgres.sql("postgres", f"CREATE DATABASE {name} TEMPLATE bench")
        with open(os.devnull, "wb") as null:
            dump = self.postgres.client("pg_dump", "-Fc", "-Z0", database=name)
            socket_wall = timed(dump, stdout=null)[0]
            # Over TCP as Holdfast connects.
            tcp = [word if word != self.postgres.sockets else "127.0.0.1" for word in dump]
            plain, _ = timed(tcp, stdout=null, env={**os.environ, "PGPASSWORD": PASSWORD})
        dp, scope = self.holdfast.dp, ("-g", self.site.GROUP, "--vault-name", vault)
        dp("backup-vault", "create", *scope, "-l", "local", "--type", "SystemAssigned", "--storage-settings", "datastore-type=VaultStore",
           "type=LocallyRedundant")
        template = dp("backup-policy", "get-default-policy-template", "--datasource-type", "AzureDatabaseForPostgreSQLFlexibleServer")
        policy = dp("backup-policy", "create", *scope, "--backup-policy-name", "weekly", "--policy", json.dumps(template))
        request = dp("backup-instance", "initialize", "--datasource-id", f"{self.server_id}/databases/{name}", "--datasource-type",
                     "AzureDatabaseForPostgreSQLFlexibleServer", "-l", "local", "--policy-id", policy["id"])
        dp("backup-instance", "create", *scope, "--backup-instance", json.dumps(request))
        wall, cpu, size = self.backup(f"first backup of {name}", request["backup_instance_name"], scope)
        print(f"  pg_dump -Fc -Z0 > /dev/null over TCP {plain:.1f} s, over the socket {socket_wall:.1f} s", flush=True)
        self.postgres.sql("postgres", f"DROP DATABASE {name}")
        return {"wall": wall, "cpu": cpu, "size": size, "plain": plain, "socket": socket_wall}

    def backup(self, label, instance=None, scope=None):
        before = self.stored()
        wall, cpu = self.job("backup-instance", "adhoc-backup", "--name", instance or self.instance, "--rule-name", "BackupWeekly",
                             scope=scope)
        added = self.stored() - before
        print(f"{label}: {wall:.1f} s wall, {cpu:.1f} s CPU (server and pg_dump), {added / 1e6:.1f} MB added", flush=True)
        return wall, cpu, added

    def run(self):
        figures, postgres = self.figures, self.postgres
        firsts = [self.first_backup(number) for number in range(self.options.reps)]
        with open(os.devnull, "wb") as null:
            gzip = timed(postgres.client("pg_dump", "-Fc", database="bench"), stdout=null)[0]
        print(f"pg_dump -Fc > /dev/null: {gzip:.1f} s", flush=True)
        _, _, size = self.backup("first backup")

        def median(value):
            return statistics.median(value(one) for one in firsts)

        figures.update(pg_dump_z0_s=median(lambda one: one["plain"]), pg_dump_z0_socket_s=median(lambda one: one["socket"]), pg_dump_s=gzip,
                       first_s=median(lambda one: one["wall"]), first_cpu_s=median(lambda one: one["cpu"]), first_mb=size / 1e6)
        figures["first_over_z0"] = median(lambda one: one["wall"] / one["plain"])
        figures["first_over_z0_socket"] = median(lambda one: one["wall"] / one["socket"])
        figures["first_over_gzip"] = figures["first_s"] / gzip
        wall, _, added = self.backup("second backup, nothing changed")
        figures.update(unchanged_s=wall, unchanged_percent=100 * added / size)
        rows = self.options.scale * 90
        postgres.sql("bench", f"INSERT INTO events SELECT id + 100000000, at, kind, payload, body FROM events ORDER BY md5(id::text) LIMIT {rows}; "
                              f"INSERT INTO pgbench_accounts SELECT aid + 100000000, bid, abalance, filler FROM pgbench_accounts WHERE aid <= {self.options.scale * 1000}")
        _, _, added = self.backup("after 1 % appended rows")
        figures["appended_percent"] = 100 * added / size
        postgres.sql("bench", "UPDATE events SET body = body || ' changed' WHERE id % 100 = 7; "
                              "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 100 = 7")
        _, _, added = self.backup("after 1 % random updates")
        figures["updated_percent"] = 100 * added / size
        self.restore()
        self.commands()
        return figures

    def restore(self):
        figures, postgres = self.figures, self.postgres
        archive = os.path.join(self.directory, "bench.dump")
        with open(archive, "wb") as file:
            run(postgres.client("pg_dump", "-Fc", "-Z0", database="bench"), stdout=file)
        theirs, ours = [], []
        points = self.site.points(self.instance)
        for number in range(self.options.reps):
            postgres.sql("postgres", "CREATE DATABASE theirs")
            theirs.append(timed(postgres.client("pg_restore", "-j", "2", archive, database="theirs"))[0])
            postgres.sql("postgres", "DROP DATABASE theirs")
            postgres.sql("postgres", "CHECKPOINT")
            request = self.holdfast.cli(
                "dataprotection", "backup-instance", "restore", "initialize-for-data-recovery", "--datasource-type",
                "AzureDatabaseForPostgreSQLFlexibleServer", "--restore-location", "local", "--source-datastore", "VaultStore",
                "--recovery-point-id", points[0]["name"], "--target-resource-id", f"{self.server_id}/databases/ours{number}")
            wall, _ = self.job("backup-instance", "restore", "trigger", "--name", self.instance, "--restore-request-object", json.dumps(request))
            ours.append(wall)
            postgres.sql("postgres", f"DROP DATABASE ours{number}")
            postgres.sql("postgres", "CHECKPOINT")
        figures.update(pg_restore_s=statistics.median(theirs), restore_s=statistics.median(ours))
        figures["restore_over_pg_restore"] = figures["restore_s"] / figures["pg_restore_s"]
        print(f"restore: {figures['restore_s']:.1f} s; pg_restore -j 2: {figures['pg_restore_s']:.1f} s", flush=True)

    def commands(self):
        def median_ms(command):
            times = []
            for _ in range(30):
                started = time.monotonic()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                times.append(1000 * (time.monotonic() - started))
            return statistics.median(times)

        program = self.options.holdfast
        figures = self.figures
        figures["psql_version_ms"] = median_ms([f"{BIN}/psql", "--version"])
        figures["holdfast_version_ms"] = median_ms([program, "--version"])
        figures["template_ms"] = median_ms([program, "dataprotection", "backup-policy", "get-default-policy-template", "--datasource-type",
                                            "AzureDatabaseForPostgreSQLFlexibleServer"])


TARGETS = {"first_over_z0": 1.3, "first_over_gzip": 0.25, "unchanged_percent": 0.5, "appended_percent": 3.0, "restore_over_pg_restore": 1.1,
           "rss_mib": 256, "holdfast_version_ms": 20, "template_ms": 20}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=100)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--holdfast", default=os.path.join(HERE, "..", "build", "release", "src", "holdfast"))
    options = parser.parse_args()
    options.holdfast = os.path.abspath(options.holdfast)
    directory = tempfile.mkdtemp(prefix="holdfast-bench-")
    os.chmod(directory, 0o755)
    bench = Bench(options, directory)
    try:
        figures = bench.run()
    finally:
        bench.site.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print("\n| figure | value | target |\n|---|---|---|")
    for name, value in figures.items():
        target = f"<= {TARGETS[name]}" if name in TARGETS else ""
        print(f"| {name} | {value:.3g} | {target} |")
    os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
    with open(os.path.join(HERE, "results", "logical.jsonl"), "a", encoding="utf-8") as file:
        file.write(json.dumps({"scale": options.scale, **{k: round(v, 4) for k, v in figures.items()}}) + "\n")


if __name__ == "__main__":
    main()
