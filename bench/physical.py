#!/usr/bin/env python3
"""bench/physical.py --holdfast PATH [--scale N] [--reps N] [--parts LIST] --build DIRECTORY [--days N] [--keep DIRECTORY]

Physical backups and restores of one PostgreSQL 15 cluster with data checksums: Holdfast, pgbackrest and barman in one run, as ratios
(the machine may be shared: only ratios count). Parts: first, second, restore (pgbackrest in the same repetition), barman, days (a
backup a day, then deletion and collection). Prints tables and appends one JSON line to bench/results/physical.jsonl. Run it as root
(PostgreSQL, pgbackrest and barman run as the user postgres). Everything is encrypted but barman, which cannot.
"""
import argparse
import collections
import datetime
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
from harness import AS_POSTGRES, BIN, PASSWORD, TICKS, CommandFailed, Postgres, Site, free_port, output, run, timed  # noqa: E402

PAGE = 8192
CORES = os.cpu_count()
SETTINGS = ("shared_buffers=512MB", "max_wal_size=8GB", "autovacuum=off", "synchronize_seqscans=off", "checkpoint_timeout=60min",
            "wal_level=replica", "max_wal_senders=10", "archive_mode=on", "log_min_messages=warning")


def note(text):
    print(text, file=sys.stderr, flush=True)


def tree_bytes(path):
    return sum(os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(path) for name in names)


def cpu_of_tree(pid):
    """CPU seconds so far of a process and everything below it, ended children included."""
    parents, spent = collections.defaultdict(list), {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(fields[1])].append(int(entry))
            spent[int(entry)] = sum(map(int, fields[11:15]))
    total, left = 0, [pid]
    while left:
        one = left.pop()
        total += spent.get(one, 0)
        left += parents[one]
    return total / TICKS


def relation_files(data):
    """Path below the data directory of every file in base/ and global/."""
    found = {}
    for top in ("base", "global"):
        for root, _, names in os.walk(os.path.join(data, top)):
            for name in names:
                path = os.path.join(root, name)
                found[os.path.relpath(path, data)] = path
    return found


def is_relation(name):
    last = os.path.basename(name).split(".")[0]
    return last.isdigit()


def changed_pages(old, new):
    """Pages of relations that differ between two stopped or checkpointed data directories, new ones included."""
    before, changed = relation_files(old), 0
    for name, path in relation_files(new).items():
        if not is_relation(name):
            continue
        with open(path, "rb") as now:
            then = open(before[name], "rb") if name in before else None
            while piece := now.read(512 * PAGE):
                other = then.read(512 * PAGE) if then else b""
                if piece != other:
                    changed += sum(piece[at:at + PAGE] != other[at:at + PAGE] for at in range(0, len(piece), PAGE))
            if then:
                then.close()
    return changed


class Cluster:
    """The cluster that is backed up: a golden copy, and a live one that each repetition resets to it."""

    def __init__(self, directory, scale):
        self.directory, self.golden = directory, os.path.join(directory, "golden")
        self.archive_script = os.path.join(directory, "pgbackrest_or_cp.sh")  # pgbackrest looks for its name in it.
        self.archive("exit 0")
        home = os.path.join(directory, "pg")
        os.makedirs(home, exist_ok=True)
        settings = SETTINGS + (f"archive_command='{self.archive_script} %p %f'",)
        self.postgres = Postgres(home, settings, initdb=("--data-checksums",))
        if os.path.exists(self.golden):
            return
        note(f"Making data of scale {scale} ...")
        self.postgres.sql("postgres", "CREATE DATABASE bench")
        run([os.path.join(HERE, "make-data.sh"), self.postgres.sockets, str(self.postgres.port), "bench", str(scale)],
            stdout=subprocess.DEVNULL)
        self.postgres.sql("bench", "SELECT pg_switch_wal(); CHECKPOINT")
        self.postgres.stop()
        self.copy(self.postgres.data, self.golden)
        self.postgres.start()

    def archive(self, command):
        with open(self.archive_script, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{command}\n")
        os.chmod(self.archive_script, 0o755)

    @staticmethod
    def copy(source, target):
        run(["rsync", "-a", "--delete", f"{source}/", f"{target}/"])

    def reset(self):
        """The live cluster as the golden one is, in the page cache, nothing left to be written."""
        self.archive("exit 0")
        self.postgres.stop()
        self.copy(self.golden, self.postgres.data)
        self.postgres.start()
        for path in relation_files(self.postgres.data).values():
            with open(path, "rb") as file:
                while file.read(1 << 20):
                    pass
        os.sync()

    def transactions(self, count):
        command = self.postgres.client("pgbench", "-n", "-c", "1", "-j", "1", "-t", str(count), "--random-seed=42", database="bench")
        environment = {**os.environ, "PGOPTIONS": "-c synchronous_commit=off"}
        run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        self.settle()

    def settle(self):
        """What was written is checkpointed and archived."""
        self.postgres.sql("bench", "CHECKPOINT")
        segment = self.postgres.sql("bench", "SELECT pg_walfile_name(pg_switch_wal())")
        run([*self.postgres.client("psql", "-X", "-q", database="bench"), "-c", f"""DO $$ BEGIN
            FOR i IN 1 .. 1200 LOOP
                PERFORM pg_stat_clear_snapshot();
                EXIT WHEN (SELECT coalesce(last_archived_wal, '') >= '{segment}' FROM pg_stat_archiver);
                PERFORM pg_sleep(0.1);
            END LOOP; END $$"""])
        os.sync()

    def cpu(self):
        with open(os.path.join(self.postgres.data, "postmaster.pid"), encoding="utf-8") as file:
            return cpu_of_tree(int(file.readline()))

    def fingerprint(self, sockets=None, port=None):
        command = [f"{BIN}/psql", "-h", sockets or self.postgres.sockets, "-p", str(port or self.postgres.port), "-U", "postgres", "-X", "-A",
                   "-t", "-d", "bench", "-c",
                   "SELECT (SELECT count(*) || ':' || sum(hashtextextended(a::text, 0)) FROM pgbench_accounts a), "
                   "(SELECT count(*) || ':' || sum(hashtextextended(e::text, 0)) FROM events e), "
                   "(SELECT count(*) FROM pgbench_history), (SELECT count(*) || ':' || sum(hashtextextended(md5(data), 0)) FROM blobs)"]
        return output(command).strip()

    def check_restored(self, data, label, expected=None):
        """Starts PostgreSQL on a restored directory and compares what it holds."""
        if AS_POSTGRES:
            run(["chown", "-R", "postgres:postgres", data])
        os.chmod(data, 0o700)
        port, log = free_port(), os.path.join(self.postgres.directory, "restored.log")
        options = f"-p {port} -k {self.postgres.sockets} -c listen_addresses= -c archive_mode=off -c fsync=off"
        run(AS_POSTGRES + [f"{BIN}/pg_ctl", "-D", data, "-w", "-s", "-t", "600", "-l", log, "-o", options, "start"])
        try:
            run([f"{BIN}/psql", "-h", self.postgres.sockets, "-p", str(port), "-U", "postgres", "-X", "-q", "-d", "postgres", "-c",
                 "DO $$ BEGIN WHILE pg_is_in_recovery() LOOP PERFORM pg_sleep(0.1); END LOOP; END $$"])
            found = self.fingerprint(port=port)
        finally:
            run(AS_POSTGRES + [f"{BIN}/pg_ctl", "-D", data, "-w", "-s", "-m", "immediate", "stop"])
        expected = expected or self.fingerprint()
        if found != expected:
            raise AssertionError(f"{label}: restored {found}, wanted {expected}")
        note(f"  {label}: the restored cluster starts and holds what it should")


class Measured(collections.namedtuple("Measured", "wall cpu server_cpu bytes rss")):
    """One step: wall and CPU seconds of the tool and of PostgreSQL beside it, bytes added to the repository, peak resident MiB."""

    @property
    def total_cpu(self):
        return self.cpu + self.server_cpu


class PgBackRest:
    def __init__(self, cluster, directory):
        self.cluster, self.repository, self.stanza = cluster, os.path.join(directory, "pgbackrest"), "bench"
        shutil.rmtree(self.repository, ignore_errors=True)
        for name in ("repo", "lock", "spool"):
            os.makedirs(os.path.join(self.repository, name))
        self.configuration = os.path.join(self.repository, "pgbackrest.conf")
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(f"""[global]
repo1-path={self.repository}/repo
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=benchbenchbenchbenchbenchbenchbenchbench
repo1-bundle=y
repo1-retention-full=9
compress-type=zst
compress-level=1
process-max=2
start-fast=y
log-level-console=warn
log-level-file=off
lock-path={self.repository}/lock
spool-path={self.repository}/spool
[bench]
pg1-path={cluster.postgres.data}
pg1-port={cluster.postgres.port}
pg1-socket-path={cluster.postgres.sockets}
pg1-user=postgres
""")
        if AS_POSTGRES:
            run(["chown", "-R", "postgres:postgres", self.repository])
        self.command = AS_POSTGRES + ["pgbackrest", f"--config={self.configuration}", "--stanza=bench"]
        run([*self.command, "stanza-create"])
        cluster.archive(f"exec pgbackrest --config={self.configuration} --stanza=bench archive-push $1")

    @staticmethod
    def version():
        return output(["pgbackrest", "version"]).strip()

    def size(self):
        return tree_bytes(os.path.join(self.repository, "repo", "backup"))

    def backup(self, kind):
        os.sync()
        before, server = self.size(), self.cluster.cpu()
        wall, cpu = timed([*self.command, f"--type={kind}", "backup"])
        return Measured(wall, cpu, self.cluster.cpu() - server, self.size() - before, 0)

    def restore(self, target, *arguments):
        os.sync()
        wall, cpu = timed([*self.command, f"--pg1-path={target}", *arguments, "restore"])
        return Measured(wall, cpu, 0, tree_bytes(target), 0)


class Barman:
    """The streaming method: BASE_BACKUP, uncompressed and not encrypted, which this version cannot."""

    def __init__(self, cluster, directory):
        self.cluster, self.home = cluster, os.path.join(directory, "barman")
        shutil.rmtree(self.home, ignore_errors=True)
        os.makedirs(os.path.join(self.home, "bench", "incoming"))
        self.configuration = os.path.join(self.home, "barman.conf")
        connection = f"host={cluster.postgres.sockets} port={cluster.postgres.port} user=postgres dbname=bench"
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(f"""[barman]
barman_user={"postgres" if AS_POSTGRES else os.environ.get("USER", "")}
barman_home={self.home}
configuration_files_directory={self.home}/none
log_level=WARNING
log_file={self.home}/barman.log
[bench]
description=bench
active=on
backup_method=postgres
archiver=on
streaming_archiver=off
conninfo={connection}
streaming_conninfo={connection}
immediate_checkpoint=true
parallel_jobs=2
path_prefix={BIN}
""")
        if AS_POSTGRES:
            run(["chown", "-R", "postgres:postgres", self.home])
        incoming = os.path.join(self.home, "bench", "incoming")
        cluster.archive(f"cp $1 {incoming}/.$2.tmp && mv {incoming}/.$2.tmp {incoming}/$2")
        self.command = AS_POSTGRES + ["barman", "-q", "-c", self.configuration]
        run([*self.command, "cron"])
        subprocess.run([*self.command, "switch-wal", "--archive", "--force", "bench"], check=False, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def backup(self):
        os.sync()
        server, before = self.cluster.cpu(), tree_bytes(os.path.join(self.home, "bench", "base"))
        wall, cpu = timed([*self.command, "backup", "bench"])
        return Measured(wall, cpu, self.cluster.cpu() - server, tree_bytes(os.path.join(self.home, "bench", "base")) - before, 0)

    def restore(self, target):
        os.sync()
        wall, cpu = timed([*self.command, "recover", "bench", "latest", target])
        return Measured(wall, cpu, 0, tree_bytes(target), 0)


class Ours:
    """A throwaway Holdfast that protects the cluster's server physically."""

    def __init__(self, options, cluster, directory, verify_writes=True):
        self.cluster, self.directory, self.program = cluster, directory, options.holdfast
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        self.site = Site(options.holdfast, directory, {"vaults": {"verify_writes": verify_writes}}, cluster.postgres)
        self.instance = self.site.protect(solution="PhysicalBackup")
        self.state = self.site.holdfast.state
        vaults = os.path.join(self.state, "vaults")
        self.repository = os.path.join(vaults, os.listdir(vaults)[0])
        self.key = os.path.join(self.state, "keys", "kek.key")

    def size(self):
        return tree_bytes(self.repository)

    def backup(self):
        """The job's own times: what a client's polling adds is not the backup's."""
        os.sync()
        before, server = self.size(), self.cluster.cpu()
        cpu, _ = self.site.holdfast.figures()
        job = self.site.backup(self.instance)["properties"]
        if job["status"] != "Completed":
            raise AssertionError(json.dumps(job, indent=1))
        after, peak = self.site.holdfast.figures()
        start, end = (datetime.datetime.fromisoformat(job[key][:26]) for key in ("startTime", "endTime"))
        return Measured((end - start).total_seconds(), after - cpu, self.cluster.cpu() - server, self.size() - before, peak / 1024)

    def points(self):
        """Names of the recovery points, oldest first."""
        return [point["name"] for point in reversed(self.site.points(self.instance))]

    def restore(self, target, point, *arguments):
        os.sync()
        command = [self.program, "vault", "restore", "--path", self.repository, "--key-file", self.key, "--point", point,
                   "--target-directory", target, *arguments]
        wall, cpu = timed(command, stdout=subprocess.DEVNULL, env=self.site.holdfast.environment)
        return Measured(wall, cpu, 0, tree_bytes(target), 0)

    def stop(self):
        self.site.holdfast.stop()


def new_target(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path, mode=0o700)
    if AS_POSTGRES:
        shutil.chown(path, "postgres", "postgres")
    os.sync()
    return path


def damage(data):
    """One page of the largest file, and fifty small files emptied."""
    files = sorted((os.path.getsize(path), path) for name, path in relation_files(data).items() if is_relation(name))
    with open(files[-1][1], "r+b") as file:
        file.seek(77 * PAGE)
        file.write(random.Random(7).randbytes(PAGE))
    for size, path in [one for one in files if 0 < one[0] <= 4 * PAGE][-50:]:
        os.truncate(path, 0)


class Bench:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.cluster = Cluster(directory, options.scale)
        self.rows = collections.OrderedDict()
        self.values = collections.defaultdict(list)

    def keep(self, label, measured):
        self.rows.setdefault(label, []).append(measured)
        print(f"{label}: {measured.wall:.1f} s wall, CPU {measured.cpu:.1f} s + PostgreSQL {measured.server_cpu:.1f} s, "
              f"{measured.bytes / 1e6:.1f} MB", flush=True)
        return measured

    def value(self, name, number):
        self.values[name].append(number)

    def base_backup_to_nothing(self):
        os.sync()
        server = self.cluster.cpu()
        with open(os.devnull, "wb") as null:
            command = self.cluster.postgres.client("pg_basebackup", "-D", "-", "-Ft", "-X", "none", "-c", "fast")
            command[command.index("-h") + 1] = "127.0.0.1"  # As Holdfast connects.
            wall, cpu = timed(command, stdout=null, stderr=subprocess.DEVNULL, env={**os.environ, "PGPASSWORD": PASSWORD})
        return self.keep("BASE_BACKUP to /dev/null", Measured(wall, cpu, self.cluster.cpu() - server, 0, 0))

    def repetition(self, number):
        cluster = self.cluster
        note(f"Repetition {number + 1}")
        cluster.reset()
        nothing = self.base_backup_to_nothing()
        rival = PgBackRest(cluster, self.directory)
        cluster.settle()
        full = self.keep("pgbackrest: first", rival.backup("full"))
        unverified = Ours(self.options, cluster, os.path.join(self.directory, "unverified"), verify_writes=False)
        fast = self.keep("Holdfast: first, no write verification", unverified.backup())
        unverified.stop()
        shutil.rmtree(unverified.directory)
        ours = Ours(self.options, cluster, os.path.join(self.directory, "ours"))
        try:
            first = self.keep("Holdfast: first", ours.backup())
            self.value("first_over_pgbackrest", first.wall / full.wall)
            self.value("first_unverified_over_pgbackrest", fast.wall / full.wall)
            self.value("first_over_limit", first.wall / max(nothing.wall, first.total_cpu / CORES))
            self.value("first_stored_over_pgbackrest", first.bytes / full.bytes)
            self.value("rss_mib", first.rss)
            if "second" in self.options.parts:
                self.second(rival, ours)
            if "restore" in self.options.parts:
                self.restores(rival, ours, check=number == 0)
        finally:
            ours.stop()
        shutil.rmtree(ours.directory)

    def second(self, rival, ours):
        self.cluster.transactions(20_000)
        pages = changed_pages(self.cluster.golden, self.cluster.postgres.data)
        theirs = self.keep("pgbackrest: second (incremental)", rival.backup("incr"))
        added = self.keep("Holdfast: second", ours.backup())
        self.value("second_over_pgbackrest", added.wall / theirs.wall)
        self.value("second_stored_over_pgbackrest", added.bytes / theirs.bytes)
        self.value("second_bytes_per_changed_page", added.bytes / pages)
        self.value("changed_pages", pages)

    def restores(self, rival, ours, check):
        point = ours.points()[-1]
        # Neither is removed before both are measured: making files among those just removed is slow in ext4.
        rivals_target, target = (os.path.join(self.directory, name) for name in ("restored-pgbackrest", "restored-ours"))
        theirs = self.keep("pgbackrest: restore", rival.restore(new_target(rivals_target)))
        damage(rivals_target)
        theirs_delta = self.keep("pgbackrest: delta restore", rival.restore(rivals_target, "--delta"))
        our = self.keep("Holdfast: restore", ours.restore(new_target(target), point))
        damage(target)
        our_delta = self.keep("Holdfast: delta restore", ours.restore(target, point, "--delta"))
        if check:
            self.cluster.check_restored(target, "Holdfast, restored, damaged and restored again")
        for path in (rivals_target, target):
            shutil.rmtree(path)
        self.value("restore_over_pgbackrest", our.wall / theirs.wall)
        self.value("delta_over_pgbackrest", our_delta.wall / theirs_delta.wall)

    def barman(self):
        self.cluster.reset()
        rival = Barman(self.cluster, self.directory)
        self.keep("barman (no encryption, no compression): first", rival.backup())
        self.cluster.transactions(20_000)
        self.keep("barman: second", rival.backup())
        target = os.path.join(self.directory, "restored-barman")
        self.keep("barman: restore", rival.restore(new_target(target)))
        shutil.rmtree(target)
        shutil.rmtree(rival.home)

    def one_day(self, day, percent):
        """`percent` of all heap pages updated at random, 0.2 % inserts, one vacuum."""
        self.cluster.postgres.sql("bench", f"""
            SELECT setseed({day} / 1000.0);
            CREATE FUNCTION pg_temp.some(relation regclass) RETURNS tid[] LANGUAGE sql AS $$
                SELECT array_agg(format('(%s,1)', floor(random() * pages))::tid)
                FROM (SELECT pg_relation_size(relation) / {PAGE} AS pages) AS size, generate_series(1, (pages * {percent} / 100)::int) $$;
            UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE ctid = ANY ((SELECT pg_temp.some('pgbench_accounts'))::tid[]);
            UPDATE events SET kind = 'day {day}' WHERE ctid = ANY ((SELECT pg_temp.some('events'))::tid[]);
            UPDATE blobs SET name = name || '.' WHERE ctid = ANY ((SELECT pg_temp.some('blobs'))::tid[]);
            INSERT INTO pgbench_accounts SELECT {day} * 1000000000::bigint / 100 + n, 1, 0, 'new' FROM generate_series(1, {self.options.scale} * 200) n;
            INSERT INTO events SELECT {day} * 1000000000::bigint + id, at, kind, payload, body FROM events WHERE id <= {self.options.scale} * 18;
            VACUUM""")
        self.cluster.settle()

    def days(self, percent, days):
        """A backup a day; the first and the last restored; all but one deleted and collected."""
        self.cluster.reset()
        ours = Ours(self.options, self.cluster, os.path.join(self.directory, "days"))
        label = f"{percent} % a day"
        try:
            first = ours.backup()
            for day in range(1, days):
                self.one_day(day, percent)
                last = ours.backup()
                note(f"  day {day + 1}: {last.wall:.1f} s, {last.bytes / 1e6:.1f} MB")
            total = ours.size()
            self.value(f"days_total_over_first ({label})", total / first.bytes)
            self.value(f"days_rss_mib ({label})", last.rss)  # The peak since the server started.
            print(f"{days} daily backups, {label}: first {first.bytes / 1e6:.0f} MB, last {last.bytes / 1e6:.1f} MB, "
                  f"in all {total / 1e6:.0f} MB", flush=True)
            if percent == 1:
                self.after_days(ours)
        finally:
            ours.stop()
        shutil.rmtree(ours.directory)

    def after_days(self, ours):
        points = ours.points()
        expected = self.cluster.fingerprint()
        walls, targets = collections.defaultdict(list), []
        for number in range(self.options.reps):
            for name, point in (("first", points[0]), ("last", points[-1])):
                target = os.path.join(self.directory, f"restored-days-{name}-{number}")
                targets.append(target)
                walls[name].append(self.keep(f"Holdfast: restore of the {name}", ours.restore(new_target(target), point)).wall)
        self.cluster.check_restored(target, "the last of the daily backups", expected)
        for target in targets:  # Not before: making files among those just removed is slow in ext4.
            shutil.rmtree(target)
        self.value("restore_last_over_first", statistics.median(walls["last"]) / statistics.median(walls["first"]))
        ours.stop()
        survivor = random.Random(4711).choice(points[1:-1])
        before, after = (os.path.join(self.directory, name) for name in ("survivor-before", "survivor-after"))
        ours.restore(new_target(before), survivor)
        left = json.loads(output([os.path.join(self.options.build, "bench", "vault_survivor"), ours.repository, ours.key, survivor]))
        ours.restore(new_target(after), survivor)
        run(["diff", "-r", before, after])
        self.value("collected_over_reachable", left["stored_bytes"] / left["reached_bytes"])
        print(f"all points but one removed and collected in {left['seconds']:.1f} s", flush=True)
        for path in (before, after):
            shutil.rmtree(path)
        ours.site.holdfast.start()

    def run(self):
        parts = self.options.parts
        print(f"pgbackrest {PgBackRest.version()}: zst level 1, bundling, AES-256-CBC, process-max=2; this version has file-level "
              "incrementals only, no write verification, no authentication of what is stored", flush=True)
        if "first" in parts:
            for number in range(self.options.reps):
                self.repetition(number)
        if "barman" in parts:
            self.barman()
        if "days" in parts:
            self.days(1, self.options.days)
            for percent in self.options.more_percent:
                self.days(percent, self.options.days)


TARGETS = {"first_over_pgbackrest": 0.95, "first_unverified_over_pgbackrest": 0.75, "first_over_limit": 1.25, "first_stored_over_pgbackrest": 1.0,
           "second_over_pgbackrest": 1.0, "second_stored_over_pgbackrest": 0.1, "second_bytes_per_changed_page": 150,
           "days_total_over_first (1 % a day)": 1.5, "days_rss_mib (1 % a day)": 256, "restore_last_over_first": 1.2, "collected_over_reachable": 1.1,
           "restore_over_pgbackrest": 0.8, "delta_over_pgbackrest": 1.0, "rss_mib": 256}


def report(bench):
    print("\n| step | runs | wall s | CPU s | CPU PostgreSQL s | MB | RSS MiB |\n|---|---|---|---|---|---|---|")
    for label, runs in bench.rows.items():
        def median(field, runs=runs):
            return statistics.median(getattr(one, field) for one in runs)
        print(f"| {label} | {len(runs)} | {median('wall'):.1f} | {median('cpu'):.1f} | {median('server_cpu'):.1f} | {median('bytes') / 1e6:.1f} "
              f"| {median('rss'):.0f} |")
    print("\n| figure | median | target |\n|---|---|---|")
    figures = {name: statistics.median(numbers) for name, numbers in bench.values.items()}
    for name, number in figures.items():
        print(f"| {name} | {number:.3g} | {'<= ' + str(TARGETS[name]) if name in TARGETS else ''} |")
    os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
    with open(os.path.join(HERE, "results", "physical.jsonl"), "a", encoding="utf-8") as file:
        steps = {label: {"wall": [round(one.wall, 2) for one in runs], "mb": round(runs[-1].bytes / 1e6, 1)} for label, runs in bench.rows.items()}
        file.write(json.dumps({"scale": bench.options.scale, "pgbackrest": PgBackRest.version(), "steps": steps,
                               **{name: round(number, 4) for name, number in figures.items()}}) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=100)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--parts", default="first,second,restore,barman,days", type=lambda text: text.split(","))
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--more-percent", default="5,20", type=lambda text: [int(word) for word in text.split(",") if word],
                        help="daily shares of changed pages that are reported beside 1 percent")
    parser.add_argument("--keep", help="a scratch directory to use and keep; its cluster is used again")
    parser.add_argument("--holdfast", required=True)
    parser.add_argument("--build", required=True, help="the build folder of the preset bench, for vault_survivor")
    options = parser.parse_args()
    options.holdfast = os.path.abspath(options.holdfast)
    directory = os.path.abspath(options.keep) if options.keep else tempfile.mkdtemp(prefix="holdfast-bench-")
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o755)
    bench = Bench(options, directory)
    try:
        bench.run()
    finally:
        bench.cluster.postgres.stop("immediate")
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
    report(bench)


if __name__ == "__main__":
    main()
