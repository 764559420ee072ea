#!/usr/bin/env python3
"""Plays the transcripts beside this file against the real server with a real PostgreSQL behind it.

A transcript is one family of operations: what a client sends and, exactly, what it gets.

    ## Title of the exchange          anything else that begins no line as below is prose
    > VERB path                       the request; {names} are put in
    > Header: value                   more lines of it: headers, then the JSON body
    < 200                             the answer's status
    < Header: value                   a header that must be there, with this value
    < !Header                         a header that must not be there
    < {json}                          the body, whole: a member that is not listed must not be there, a listed one must
    < -                               no body at all
    = name path.to.member             keeps a member of the answer's body (`header:Name`: a header) as {name}

`> POLL path` repeats a GET until the operation or job that it shows has ended. In an expected text <guid>, <time>, <hex>, <number>,
<any> and the like stand for values that differ from run to run; a member "..." allows more members in its object.
HOLDFAST_RECORD=1 writes what the server answers into the transcripts: a change of the wire is read as a diff.
"""
import json
import os
import re
import shutil
import ssl
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from harness import PASSWORD, Holdfast, Postgres  # noqa: E402

PATTERNS = {
    "guid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z",
    "hash": r"[0-9a-f]{64}",
    "hex": r"[0-9a-f]{32}",
    "ticks": r"\d{18}",
    "digits": r"\d+",
    "timespan": r"PT[0-9HMS.]+|\d\d:\d\d:\d\d\.\d{7}",
    "opaque": r"[A-Za-z0-9_-]+",
    "jwt": r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
    "utc": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "text": r".*",
}
# Numbers that a machine decides.
MEASURED = {"dataTransferredInBytes", "bytesDone", "bytesTotal", "rateBytesPerSecond", "logicalBytes", "storedBytes", "port", "secondsLeft"}
# Seconds since 1970, and what is drawn by chance.
MEASURED |= {"created", "updated", "deletedDate", "scheduledPurgeDate", "sizeInBytes"}
OPAQUE = {"kid", "n", "e", "keyId", "secretText", "hint"}
MEASURED_TEXTS = {"OriginalDatasourceSizeInBytes", "DataTransferredInBytes", "StoredBytes", "version", "minorVersion"}


def as_regex(pattern):
    parts = re.split(r"<(\w+)>", pattern)
    out = re.escape(parts[0])
    for name, rest in zip(parts[1::2], parts[2::2]):
        out += f"(?:{PATTERNS[name]})" if name in PATTERNS else re.escape(f"<{name}>")
        out += re.escape(rest)
    return out


def differences(expected, actual, path="$"):
    """What an answer has that was not expected, and the other way round; one line each."""
    if expected == "<any>":
        return []
    if expected == "<number>":
        good = isinstance(actual, (int, float)) and not isinstance(actual, bool)
        return [] if good else [f"{path}: a number was expected, not {actual!r}"]
    if isinstance(expected, dict) and isinstance(actual, dict):
        out = [f"{path}.{key}: is missing" for key in expected if key not in actual and key != "..."]
        if "..." not in expected:
            out += [f"{path}.{key}: is there, {actual[key]!r}" for key in actual if key not in expected]
        for key in expected:
            if key in actual:
                out += differences(expected[key], actual[key], f"{path}.{key}")
        return out
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return [f"{path}: has {len(actual)} elements, not {len(expected)}"]
        return [one for i, (a, b) in enumerate(zip(expected, actual)) for one in differences(a, b, f"{path}[{i}]")]
    if isinstance(expected, str) and isinstance(actual, str):
        return [] if re.fullmatch(as_regex(expected), actual, re.S) else [f"{path}: is {actual!r}, not {expected!r}"]
    # 14 and 14.0 are different texts on the wire, and a client may care.
    return [] if type(expected) is type(actual) and expected == actual else [f"{path}: is {actual!r}, not {expected!r}"]


class Exchange:
    def __init__(self, title):
        self.title, self.prose, self.request, self.answer, self.keeps = title, [], [], [], []


def parse(text):
    """The heading's lines, then the exchanges."""
    head, exchanges = [], []
    for line in text.splitlines():
        if line.startswith("## "):
            exchanges.append(Exchange(line))
        elif not exchanges:
            head.append(line)
        elif line[:2] in ("> ", "< ", "= "):
            current = exchanges[-1]
            {"> ": current.request, "< ": current.answer, "= ": current.keeps}[line[:2]].append(line[2:])
        elif line.strip():
            exchanges[-1].prose.append(line)
    return head, exchanges


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.text = status, headers, body
        self.json = json.loads(body) if body and headers.get("Content-Type", "").startswith("application/json") else None


class Server:
    """The server under test and what the transcripts call its parts."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="holdfast-api-")
        os.chmod(self.directory, 0o755)
        pg_directory = os.path.join(self.directory, "pg")
        os.makedirs(pg_directory)
        self.postgres = Postgres(pg_directory)
        self.holdfast = Holdfast(os.environ["HOLDFAST"], self.directory)
        self.context = ssl.create_default_context(cafile=os.path.join(self.holdfast.state, "tls", "ca.pem"))
        subscriptions = self.call("GET", "/subscriptions?api-version=2022-12-01", {}, None).json["value"]
        self.names = {
            "base": self.holdfast.url, "sub": subscriptions[0]["subscriptionId"], "tenant": subscriptions[0]["tenantId"],
            "pgport": str(self.postgres.port), "password": PASSWORD, "hostport": self.holdfast.url.split("//")[1],
            "secret": self.holdfast.token}

    def call(self, verb, path, headers, body):
        url = path if path.startswith("https://") else self.holdfast.url + path
        request = urllib.request.Request(url, method=verb, data=None if body is None else body.encode())
        request.add_header("Authorization", f"Bearer {self.holdfast.token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.remove_header(name) if value == "-" else request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, context=self.context) as answer:
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as answer:
            with answer:
                return Answer(answer.code, answer.headers, answer.read().decode())

    def stop(self):
        self.holdfast.stop()
        self.postgres.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)


SERVER = None


def setUpModule():
    global SERVER
    SERVER = Server()


def tearDownModule():
    SERVER.stop()


class Player:
    def __init__(self, path):
        self.path = path
        with open(path, encoding="utf-8") as file:
            self.head, self.exchanges = parse(file.read())
        stem = os.path.basename(path).split(".")[0]
        # Every transcript has resources of its own.
        group = f"/subscriptions/{SERVER.names['sub']}/resourceGroups/{stem}"
        self.names = dict(SERVER.names, rg=stem, rgid=group, dp=f"{group}/providers/Microsoft.DataProtection",
                          vault=f"{group}/providers/Microsoft.DataProtection/backupVaults/Vault1",
                          server=f"{group}/providers/Microsoft.DBforPostgreSQL/flexibleServers/{stem}", db=stem.replace("-", "_"))

    def fill(self, text):
        return re.sub(r"\{([a-z]\w*)\}", lambda match: self.names.get(match.group(1), match.group(0)), text)

    def send(self, exchange):
        first, *rest = self.fill("\n".join(exchange.request)).split("\n")
        verb, path = first.split(" ", 1)
        path = path.replace(" ", "%20")
        headers, body = {}, None
        for i, line in enumerate(rest):
            match = re.fullmatch(r"([A-Za-z][\w-]*): (.*)", line)
            if not match:
                body = "\n".join(rest[i:])
                break
            headers[match.group(1)] = match.group(2)
        if verb != "POLL":
            return SERVER.call(verb, path, headers, body)
        deadline = time.monotonic() + 120
        while True:
            answer = SERVER.call("GET", path, headers, None)
            body = answer.json or {}
            status = body.get("status") or body.get("properties", {}).get("status")
            if status not in ("Inprogress", "InProgress", "Cancelling") or time.monotonic() > deadline:
                return answer
            assert answer.headers.get("Retry-After") == "1" or "status" not in body, "no Retry-After while it runs"
            time.sleep(0.05)

    def keep(self, exchange, answer):
        for line in exchange.keeps:
            name, path = line.split(" ", 1)
            if path.startswith("header:"):
                value = answer.headers[path[7:]]
            else:
                value = answer.json
                for part in re.findall(r"[^.\[\]]+", path):
                    value = value[int(part)] if isinstance(value, list) else value[part]
            self.names[name] = value

    def compare(self, exchange, answer):
        status, *rest = exchange.answer
        out = [] if answer.status == int(status) else [f"status {answer.status}, not {status}: {answer.text}"]
        body = []
        for line in rest:
            header = re.fullmatch(r"(!?)([A-Za-z][\w-]*)(?:: (.*))?", line) if not body and line != "-" else None
            if not header:
                body.append(line)
            elif header.group(1):
                out += [f"the header {header.group(2)} is there"] if answer.headers.get(header.group(2)) else []
            else:
                value = answer.headers.get(header.group(2)) or ""
                wanted = self.fill(header.group(3))
                if not re.fullmatch(as_regex(wanted), value):
                    out.append(f"header {header.group(2)} is {value!r}, not {wanted!r}")
        if body == ["-"]:
            out += [f"there is a body: {answer.text}"] if answer.text else []
        elif body:
            out += differences(json.loads(self.fill("\n".join(body))), answer.json)
        # Whatever is asked: these are in every answer, and a list of details is never null.
        for name in ("x-ms-request-id", "x-ms-correlation-request-id"):
            if not re.fullmatch(PATTERNS["guid"], answer.headers.get(name) or ""):
                out.append(f"the header {name} is missing")
        if '"details":null' in answer.text.replace(" ", ""):
            out.append("details are null")
        return out

    # ---- Recording

    def generalise(self, value, key=""):
        if isinstance(value, dict):
            return {self.generalise(name): self.generalise(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self.generalise(one) for one in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return "<number>" if key in MEASURED else value
        if not isinstance(value, str):
            return value
        if key == "metaData":
            return "<text>"  # A document of its own, of which the clients know no more than that it is text.
        if key in OPAQUE:
            return "<text>"
        if (key in MEASURED_TEXTS or "Bytes" in key) and value.isdigit():
            return "<digits>"
        for name in ("vault", "server", "dp", "rgid", "base", "hostport", "sub", "tenant"):
            value = value.replace(self.names[name], "{" + name + "}")
        value = re.sub(rf"(?<=port )({self.names['pgport']})\b|(?<=:){self.names['pgport']}\b", "{pgport}", value)
        value = re.sub(r"(?<=skipToken=)[\w-]+", "<opaque>", value)
        value = re.sub(r"(?<=OID )\d+", "<digits>", value)
        if re.fullmatch(r"eyJ" + PATTERNS["jwt"], value):
            return "<jwt>"
        for name in ("hash", "guid", "time", "utc", "hex"):
            value = re.sub(rf"(?<![0-9a-f]){PATTERNS[name]}(?![0-9a-f])", f"<{name}>", value)
        if re.fullmatch(PATTERNS["timespan"], value):
            return "<timespan>"
        return "<ticks>" if re.fullmatch(PATTERNS["ticks"], value) else value

    def record(self, exchange, answer):
        lines = [str(answer.status)]
        for name in ("Azure-AsyncOperation", "Location", "Retry-After", "x-ms-error-code", "x-holdfast-ignored", "Allow", "WWW-Authenticate"):
            if answer.headers.get(name):
                lines.append(f"{name}: {self.generalise(answer.headers[name])}")
        if answer.headers.get("ETag"):
            lines.append('ETag: "<guid>"')
        lines += json.dumps(self.generalise(answer.json), indent=1).splitlines() if answer.json is not None else ["-"]
        exchange.answer = lines

    def write(self):
        out = list(self.head)
        for exchange in self.exchanges:
            out += [exchange.title, *exchange.prose, ""]
            out += ["> " + line for line in exchange.request] + [""]
            out += ["< " + line for line in exchange.answer] + [""]
            if exchange.keeps:
                out += ["= " + line for line in exchange.keeps] + [""]
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("\n".join(out).rstrip() + "\n")


class Transcripts(unittest.TestCase):
    maxDiff = None


def test_of(path):
    def test(self):
        player = Player(path)
        SERVER.postgres.sql("postgres", f"CREATE DATABASE {player.names['db']}")
        SERVER.postgres.sql(player.names["db"], "CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i")
        for exchange in player.exchanges:
            answer = player.send(exchange)
            if os.environ.get("HOLDFAST_RECORD") == "1":
                player.record(exchange, answer)
            problems = player.compare(exchange, answer)
            self.assertEqual(problems, [], f"{os.path.basename(path)}, {exchange.title}\n" + "\n".join(problems))
            player.keep(exchange, answer)
        if os.environ.get("HOLDFAST_RECORD") == "1":
            player.write()
    return test


for name in sorted(os.listdir(HERE)):
    if name.endswith(".transcript.md"):
        setattr(Transcripts, "test_" + name.split(".")[0].replace("-", "_"), test_of(os.path.join(HERE, name)))

if __name__ == "__main__":
    unittest.main(verbosity=2)
