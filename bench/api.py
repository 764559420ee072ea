#!/usr/bin/env python3
"""How fast the API answers: HOLDFAST=path/to/holdfast API_LOAD=path/to/api_load bench/api.py [--seconds N] [--parts logins,get,memory]

Three questions to a throwaway server with its defaults (TLS, tokens checked, requests logged): GET of a vault at 2,000 requests/s over 500
TLS connections; logins with a client secret, 50/s over 20; and the resident memory over many requests (1,000,000 unless told, `--memory-seconds` at most), closed loop.
api_load shares the processors with the server, so what it says is worst on a small machine."""
import argparse
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e"))
from harness import Holdfast, write_private  # noqa: E402


class Load:
    def __init__(self, holdfast, directory):
        self.holdfast, self.directory = holdfast, directory
        self.common = [os.environ["API_LOAD"], "--port", str(urllib.parse.urlsplit(holdfast.url).port), "--pid", str(holdfast.process.pid),
                       "--ca", os.path.join(holdfast.state, "tls", "ca.pem")]

    def run(self, title, path, head, body=None, **options):
        print(title, flush=True)
        command = self.common + ["--path", path, "--head", write_private(os.path.join(self.directory, "head"), head)]
        if body is not None:
            command += ["--method", "POST", "--body", write_private(os.path.join(self.directory, "body"), body)]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        subprocess.run(command, check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=20, help="of logins and of GETs at a fixed rate")
    parser.add_argument("--memory-requests", type=int, default=1_000_000)
    parser.add_argument("--memory-seconds", type=int, default=900, help="the memory run ends then, with fewer requests")
    parser.add_argument("--parts", default="logins,get,memory")
    options = parser.parse_args()
    seconds, parts = options.seconds, options.parts.split(",")
    directory = tempfile.mkdtemp(prefix="holdfast-api-")
    holdfast = Holdfast(os.environ["HOLDFAST"], directory)
    try:
        vault = holdfast.dp("backup-vault", "create", "-g", "rg", "--vault-name", "Vault1", "-l", "local", "--type", "SystemAssigned",
                            "--storage-settings", "datastore-type=VaultStore", "type=LocallyRedundant")
        me = holdfast.cli("ad", "signed-in-user", "show")
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": me["appId"], "client_secret": holdfast.token,
                                       "resource": holdfast.url})
        form_head = "Content-Type: application/x-www-form-urlencoded\n"
        load = Load(holdfast, directory)
        context = ssl.create_default_context(cafile=os.path.join(holdfast.state, "tls", "ca.pem"))
        with urllib.request.urlopen(holdfast.url + "/adfs/oauth2/token", form.encode(), context=context) as answer:
            head = f"Authorization: Bearer {json.load(answer)['access_token']}\n"
        if "logins" in parts:
            load.run("logins with a client secret", "/adfs/oauth2/token", form_head, form, connections=20, rate=50, requests=50 * seconds)
        path = vault["id"] + "?api-version=2024-04-01"
        if "get" in parts:
            load.run("GET of a vault", path, head, connections=500, rate=2000, requests=2000 * seconds)
        if "memory" in parts:
            load.run("memory", path, head, connections=50, rate=0, requests=options.memory_requests, seconds=options.memory_seconds)
    finally:
        holdfast.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
