"""What the end-to-end tests and the benchmarks stand on: a throwaway PostgreSQL and a throwaway Holdfast, each in its own
directory, on loopback and a free port, stopped by the process that started it. As root, PostgreSQL runs as the user postgres.
"""
import json
import os
import resource
import shutil
import socket
import subprocess
import time

BIN = os.environ.get("PGBIN", "/usr/lib/postgresql/15/bin")
TICKS = os.sysconf("SC_CLK_TCK")
AS_POSTGRES = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
PASSWORD = "pw-Geheim-4711"  # Looked for in every log, argument list and file: it must not be found.


def run(command, **options):
    return subprocess.run(command, check=True, **options)


def output(command, **options):
    return run(command, stdout=subprocess.PIPE, text=True, **options).stdout


def timed(command, **options):
    """Wall seconds and CPU seconds of the command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    run(command, **options)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def write_private(path, text):
    with open(path, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.write(text)
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """PostgreSQL 15 with password authentication over TCP and trust on its socket."""

    def __init__(self, directory, settings=(), initdb=()):
        self.directory, self.port, self.settings = directory, free_port(), list(settings)
        self.sockets = os.path.join(directory, "s")
        os.makedirs(self.sockets, exist_ok=True)
        if AS_POSTGRES:
            shutil.chown(directory, "postgres")
            shutil.chown(self.sockets, "postgres")
        self.data = os.path.join(directory, "data")
        self.fresh = not os.path.exists(self.data)
        if self.fresh:
            run(AS_POSTGRES + [f"{BIN}/initdb", "-D", self.data, "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256",
                               "-E", "UTF8", "--locale=C.UTF-8", *initdb], stdout=subprocess.DEVNULL)
        self.start()
        if self.fresh:
            self.sql("postgres", f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")

    def start(self):
        options = f"-p {self.port} -k {self.sockets} -c listen_addresses=127.0.0.1 -c fsync=off"
        options += "".join(f" -c {setting}" for setting in self.settings)
        run(AS_POSTGRES + [f"{BIN}/pg_ctl", "-D", self.data, "-w", "-s", "-l", os.path.join(self.directory, "log"), "-o", options,
                           "start"])

    def stop(self, mode="fast"):
        subprocess.run(AS_POSTGRES + [f"{BIN}/pg_ctl", "-D", self.data, "-w", "-s", "-m", mode, "stop"], check=False)

    def client(self, program, *arguments, database=None):
        command = [f"{BIN}/{program}", "-h", self.sockets, "-p", str(self.port), "-U", "postgres", *arguments]
        return command + (["-d", database] if database else [])

    def sql(self, database, text):
        return output(self.client("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", database=database), input=text).strip()

    def script(self, database, path):
        return output(self.client("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", path, database=database))


class CommandFailed(Exception):
    def __init__(self, result):
        super().__init__(f"exit {result.returncode}: {result.args}\n{result.stdout}\n{result.stderr}")
        self.code, self.stdout, self.stderr = result.returncode, result.stdout, result.stderr


class Holdfast:
    """A throwaway server and a command line that talks to it."""

    def __init__(self, program, directory, settings=None, tables=()):
        self.program, self.directory = program, directory
        self.state = os.path.join(directory, "state")
        self.restore = os.path.join(directory, "restore")
        os.makedirs(self.restore, exist_ok=True)
        self.environment = {"PATH": os.environ["PATH"], "HOME": directory, "LC_ALL": "C.UTF-8",
                            "HOLDFAST_CONFIG_DIR": os.path.join(directory, "client")}
        self.configuration = os.path.join(directory, "holdfast.toml")
        sections = {"server": {"listen": "127.0.0.1:0"}, "state": {"directory": self.state}, "restore": {"file_root": self.restore}}
        for section, values in (settings or {}).items():
            sections.setdefault(section, {}).update(values)
        with open(self.configuration, "w", encoding="utf-8") as file:
            for section, values in sections.items():
                file.write(f"[{section}]\n")
                file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
            file.writelines(tables)
            file.write(f'[[restore.containers]]\nname = "files"\ndirectory = "{self.restore}"\n')
        self.log_path = os.path.join(directory, "server.log")
        self.process, self.token = None, None
        self.start()
        token_file = write_private(os.path.join(directory, "token"), self.token)
        self.cli("login", "--server", self.url, "--ca", os.path.join(self.state, "tls", "ca.pem"), "--token-file", token_file)
        os.unlink(token_file)

    def serve_command(self):
        return [self.program, "serve", "--config", self.configuration]

    def start(self):
        """Starts the server and reads its first lines until it says that it listens on."""
        with open(self.log_path, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.serve_command(), stdout=subprocess.PIPE, stderr=log, text=True, env=self.environment)
        # The first start shows the owner's token after the address; later starts show the address alone.
        first, listening = self.token is None, False
        for line in self.process.stdout:
            listening = listening or "listens on" in line
            for word in line.split():
                if word.startswith("hf_"):
                    self.token = word
            if listening and self.token:
                break
        else:
            raise AssertionError(f"the server did not start (first start: {first})\n{self.log()}")
        with open(os.path.join(self.state, "server.json"), encoding="utf-8") as file:
            self.url = json.load(file)["url"]
        if os.path.exists(os.path.join(self.directory, "client")):
            profile = os.path.join(self.directory, "client", "profile.json")
            with open(profile, encoding="utf-8") as file:
                saved = json.load(file)
            saved["server"] = self.url  # Port 0 gives another port at every start.
            write_private(profile, json.dumps(saved))

    def log(self):
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def call(self, *arguments, input=None, environment=None):
        return subprocess.run([self.program, *arguments], env=environment or self.environment, input=input, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)

    def cli(self, *arguments, input=None):
        """The parsed result; raises CommandFailed when the exit code is not 0."""
        result = self.call(*arguments, input=input)
        if result.returncode != 0:
            raise CommandFailed(result)
        try:
            return json.loads(result.stdout) if result.stdout.strip() else None
        except json.JSONDecodeError:
            return result.stdout

    def dp(self, *arguments, input=None):
        return self.cli("dataprotection", *arguments, input=input)

    def figures(self):
        """CPU seconds of the server and its children so far, peak resident KiB of the server."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        return sum(map(int, fields[11:15])) / TICKS, peak

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)
        self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=60)
        self.process.stdout.close()


class Site:
    """A Holdfast that knows one PostgreSQL server, with a vault and a policy: what most tests start from."""

    GROUP, VAULT, SERVER = "rg", "TestVault", "server1"

    def __init__(self, program, directory, settings=None, postgres=None):
        pg_directory = os.path.join(directory, "pg")
        os.makedirs(pg_directory, exist_ok=True)
        self.postgres = postgres or Postgres(pg_directory)
        self.holdfast = Holdfast(program, directory, settings)
        self.vault_scope = ("-g", self.GROUP, "--vault-name", self.VAULT)
        self.register()
        self.vault = self.holdfast.dp("backup-vault", "create", *self.vault_scope, "-l", "local", "--type", "SystemAssigned",
                                      "--storage-settings", "datastore-type=VaultStore", "type=LocallyRedundant")
        template = self.holdfast.dp("backup-policy", "get-default-policy-template", "--datasource-type",
                                    "AzureDatabaseForPostgreSQLFlexibleServer")
        self.policy = self.holdfast.dp("backup-policy", "create", *self.vault_scope, "--backup-policy-name", "weekly", "--policy",
                                       json.dumps(template))
        base = self.vault["id"].split("/providers/")[0]
        self.server_id = f"{base}/providers/Microsoft.DBforPostgreSQL/flexibleServers/{self.SERVER}"

    def register(self):
        password = write_private(os.path.join(self.holdfast.directory, "password"), PASSWORD)
        self.holdfast.cli("postgres", "flexible-server", "register", "-g", self.GROUP, "--name", self.SERVER, "--host", "127.0.0.1",
                          "--port", str(self.postgres.port), "--login", "postgres", "--password-file", password, "-l", "local")
        os.unlink(password)

    def protect(self, database=None, solution=None):
        """Protects a database, or the whole server by `solution`; the instance's name."""
        datasource = f"{self.server_id}/databases/{database}" if database else self.server_id
        request = self.holdfast.dp("backup-instance", "initialize", "--datasource-id", datasource, "--datasource-type",
                                   "AzureDatabaseForPostgreSQLFlexibleServer", "-l", "local", "--policy-id", self.policy["id"],
                                   *(("--backup-solution-type", solution) if solution else ()))
        self.holdfast.dp("backup-instance", "create", *self.vault_scope, "--backup-instance", json.dumps(request))
        return request["backup_instance_name"]

    def backup(self, instance, *arguments):
        return self.holdfast.dp("backup-instance", "adhoc-backup", *self.vault_scope, f"--name={instance}", "--rule-name", "BackupWeekly",
                                *(arguments or ("--wait",)))

    def points(self, instance):
        return self.holdfast.dp("recovery-point", "list", *self.vault_scope, f"--backup-instance-name={instance}")

    def restore_to_database(self, instance, target, *arguments):
        request = self.holdfast.dp("backup-instance", "restore", "initialize-for-data-recovery", "--datasource-type",
                                   "AzureDatabaseForPostgreSQLFlexibleServer", "--restore-location", "local", "--source-datastore",
                                   "VaultStore", "--recovery-point-id", self.points(instance)[0]["name"], "--target-resource-id",
                                   f"{self.server_id}/databases/{target}")
        return self.restore(instance, request, *arguments)

    def restore_as_files(self, instance, prefix, *arguments):
        request = self.holdfast.dp("backup-instance", "restore", "initialize-for-data-recovery-as-files", "--datasource-type",
                                   "AzureDatabaseForPostgreSQLFlexibleServer", "--restore-location", "local", "--source-datastore",
                                   "VaultStore", "--recovery-point-id", self.points(instance)[0]["name"], "--target-blob-container-url",
                                   f"{self.holdfast.url}/restore/files", "--target-file-name", prefix)
        return self.restore(instance, request, *arguments)

    def restore(self, instance, request, *arguments):
        return self.holdfast.dp("backup-instance", "restore", "trigger", *self.vault_scope, f"--name={instance}",
                                "--restore-request-object", json.dumps(request), *(arguments or ("--wait",)))

    def job(self, identifier):
        return self.holdfast.dp("job", "show", "--ids", identifier)

    def stop(self):
        self.holdfast.stop()
        self.postgres.stop("immediate")
