"""The unmodified Azure CLI and SDKs, pointed at a throwaway server: what the tests of this folder stand on."""
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time

DEBIAN_PYTHON = "/usr/bin/python3"  # Has python3-azure, whatever other interpreter is first on the PATH.


def use_debian_python():
    """Runs the calling script again with Debian's interpreter when this one has no Azure SDK."""
    try:
        import azure.mgmt.authorization  # noqa: F401
    except ImportError:
        if os.path.realpath(sys.executable) == os.path.realpath(DEBIAN_PYTHON):
            raise
        os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON, *sys.argv])


class AzFailed(Exception):
    def __init__(self, result):
        super().__init__(f"exit {result.returncode}: {result.args}\n{result.stdout}\n{result.stderr}")
        self.code, self.stdout, self.stderr = result.returncode, result.stdout, result.stderr


# Debian's az 2.45 and its own SDK do not fit together in one place: `az role` asks the SDK's operations for an attribute that is
# called _config there ("'RoleDefinitionsOperations' object has no attribute 'config'"). Everything else is az as it is.
ROLE_SHIM = """
import importlib, pkgutil, runpy, sys
import azure.mgmt.authorization as authorization
for module in pkgutil.iter_modules(authorization.__path__):
    if module.name.startswith('v20'):
        try:
            operations = importlib.import_module(f'azure.mgmt.authorization.{module.name}.operations')
        except ImportError:
            continue
        for name in ('RoleAssignmentsOperations', 'RoleDefinitionsOperations'):
            if hasattr(operations, name):
                setattr(getattr(operations, name), 'config', property(lambda self: self._config))
sys.argv[0] = 'az'
runpy.run_module('azure.cli', run_name='__main__')
"""


class Az:
    """Debian's az with a configuration of its own."""

    def __init__(self, directory, ca_file):
        home = os.path.join(directory, "az-home")
        os.makedirs(home, exist_ok=True)
        self.environment = {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8", "AZURE_CONFIG_DIR": os.path.join(home, ".azure"),
                            "REQUESTS_CA_BUNDLE": ca_file, "AZURE_CORE_COLLECT_TELEMETRY": "no", "AZURE_CORE_NO_COLOR": "yes",
                            "AZURE_CORE_SURVEY_MESSAGE": "no", "AZURE_CORE_ONLY_SHOW_ERRORS": "no"}

    def call(self, *arguments, shim=False):
        command = [DEBIAN_PYTHON, "-c", ROLE_SHIM] if shim else ["az"]
        return subprocess.run([*command, *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False, timeout=180)

    def __call__(self, *arguments, shim=False):
        """The parsed output; raises AzFailed when the exit code is not 0."""
        result = self.call(*arguments, shim=shim)
        if result.returncode != 0:
            raise AzFailed(result)
        return json.loads(result.stdout) if result.stdout.strip() else None


class Issuer:
    """An OpenID Connect issuer on loopback: a key set behind TLS with a certificate of its own, and tokens."""

    def __init__(self, directory):
        from cryptography.hazmat.primitives.asymmetric import rsa
        import jwt

        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        jwk.update(kid="issuer-1", use="sig", alg="RS256")
        keys = json.dumps({"keys": [jwk]}).encode()
        self.certificate, key_file = os.path.join(directory, "issuer.pem"), os.path.join(directory, "issuer.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key_file,
                        "-out", self.certificate, "-days", "2", "-subj", "/CN=issuer", "-addext", "subjectAltName=DNS:localhost"],
                       check=True, stderr=subprocess.DEVNULL)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path == "/keys" else 404)
                self.send_header("Content-Length", str(len(keys)))
                self.end_headers()
                self.wfile.write(keys)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key_file)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.name = f"https://localhost:{self.server.server_port}"
        self.configuration = (
            f'[[identity.issuers]]\nissuer = "{self.name}"\naudiences = ["holdfast"]\njwks_uri = "{self.name}/keys"\n'
            f'ca_file = "{self.certificate}"\nroles = ["lookers=Reader@/"]\n')

    def token(self, **claims):
        import jwt

        now = int(time.time())
        return jwt.encode({"iss": self.name, "aud": "holdfast", "iat": now, "exp": now + 300, **claims}, self.key, "RS256",
                          headers={"kid": "issuer-1"})

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def credential(server, client_id, secret):
    """azure.identity's client secret credential for an ADFS-style authority: nobody else is asked."""
    from azure.identity import ClientSecretCredential

    return ClientSecretCredential("adfs", client_id, secret, authority=server)
