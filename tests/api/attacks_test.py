#!/usr/bin/env python3
"""Attacks on the whole server, over its own sockets. What one request can do wrong has its tests beside the code; here are those that need
a process of its own: ten thousand connections, and floods of bytes that are no requests. Meanwhile and afterwards an honest client is served.
"""
import http.client
import os
import random
import resource
import shutil
import socket
import ssl
import sys
import tempfile
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402

CONNECTIONS = 10_000
GROUPS = "/subscriptions?api-version=2022-12-01"


class Attacks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="holdfast-attacks-")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        # As many as descriptors allow, some left for everything else on both sides.
        cls.many = CONNECTIONS if most == resource.RLIM_INFINITY else min(CONNECTIONS, most - 500)
        if cls.many < CONNECTIONS:
            print(f"only {most} descriptors are allowed here: {cls.many} connections instead of {CONNECTIONS}", file=sys.stderr)
        # Silence longer than the test lasts: nobody goes because of a deadline.
        patience = {name: "1h" for name in ("handshake_timeout", "header_timeout", "idle_timeout")}
        cls.holdfast = harness.Holdfast(os.environ["HOLDFAST"], cls.directory, {"server": {"listen": "127.0.0.1:0",
                                                                                          "connections_max": cls.many, **patience}})
        cls.context = ssl.create_default_context(cafile=os.path.join(cls.holdfast.state, "tls", "ca.pem"))
        cls.port = urllib.parse.urlsplit(cls.holdfast.url).port

    @classmethod
    def tearDownClass(cls):
        cls.holdfast.stop()
        shutil.rmtree(cls.directory, ignore_errors=True)

    def ask(self):
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.context, timeout=60)
        connection.request("GET", GROUPS, headers={"Authorization": f"Bearer {self.holdfast.token}"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return plain, self.context.wrap_socket(plain, server_hostname="localhost")

    def test_ten_thousand_idle_connections(self):
        """A tenth of them have made a request and keep the connection; the others say nothing, not even a handshake."""
        held, spoken = [], []
        try:
            for number in range(self.many):
                if number % 10 == 0:
                    _, tls = self.connect()
                    tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    self.assertIn(b" 200 ", tls.recv(4096))
                    spoken.append(tls)
                else:
                    held.append(socket.create_connection(("127.0.0.1", self.port), timeout=60))
            # The server has as many as it may have: each of these takes the place of the longest silent one.
            for _ in range(50):
                self.assertEqual(self.ask(), 200)
            for tls in spoken[-100:]:
                tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertIn(b" 200 ", tls.recv(4096))
            _, peak = self.holdfast.figures()
            self.assertLess(peak, 512 * 1024, "KiB resident")
        finally:
            for one in held + spoken:
                one.close()
        self.assertEqual(self.ask(), 200)

    def test_noise_is_answered_or_dropped(self):
        """Requests with some bytes changed, by a fixed seed: answered with a status that is no fault of the server, or cut."""
        generator = random.Random(4711)
        good = (f"PUT /subscriptions/s/resourceGroups/g?api-version=2021-04-01 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                f"{self.holdfast.token}\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n"
                '{"location": "westus"}').encode()
        for _ in range(300):
            noise = bytearray(good)
            for _ in range(generator.randint(1, 6)):
                at = generator.randrange(len(noise))
                noise[at:at + generator.randint(0, 3)] = bytes(generator.randrange(256) for _ in range(generator.randint(0, 3)))
            _, tls = self.connect()
            with tls:
                tls.sendall(noise)
                # More than a header may have, and more than the body announced: whatever waits for the rest gets it.
                tls.sendall(b"\r\n\r\n" + b"x" * 40_000)
                try:
                    head = tls.recv(4096)
                except (ConnectionError, ssl.SSLError):
                    head = b""
                if head:
                    self.assertRegex(head, rb"^HTTP/1\.1 [234]\d\d ")
        self.assertEqual(self.ask(), 200)
        self.assertNotIn("CloudInternalError", self.holdfast.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
