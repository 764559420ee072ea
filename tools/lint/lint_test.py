#!/usr/bin/env python3
"""The lint finds what it says it finds."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lint  # noqa: E402


class LintTest(unittest.TestCase):
    def breaches(self, path, text):
        with tempfile.TemporaryDirectory() as root:
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full))
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
            return lint.lint(root)

    def assert_finds(self, rule, path, text):
        found = self.breaches(path, text)
        self.assertTrue(any(f": {rule}: " in line for line in found), found)

    def test_upward_include(self):
        self.assert_finds("layers", "src/vault/a.cc", '#include "jobs/engine.h"\n')
        self.assert_finds("layers", "src/protection/a.cc", '#include "vault/vault.h"\n')
        self.assertEqual(self.breaches("src/jobs/a.cc", '#include "vault/vault.h"\n'), [])

    def test_banned_calls(self):
        self.assert_finds("bans", "src/jobs/a.cc", "auto t = std::chrono::system_clock::now();\n")
        self.assert_finds("bans", "src/jobs/a.cc", "std::this_thread::sleep_for(1s);\n")
        self.assert_finds("bans", "src/cli/a.cc", 'getenv("HOME");\n')
        self.assert_finds("bans", "src/cli/a.cc", 'throw std::runtime_error("x");\n')
        self.assertEqual(self.breaches("src/base/clock.cc", "std::chrono::system_clock::now();\n"), [])

    def test_unfinished_work(self):
        self.assert_finds("marks", "src/cli/a.cc", "// TODO later\n")

    def test_header_guard_and_paths(self):
        self.assert_finds("headers", "src/cli/a.h", "int f();\n")
        self.assert_finds("headers", "src/cli/a.cc", '#include "command.h"\n')

    def test_width(self):
        self.assert_finds("width", "src/cli/a.cc", "// " + "x" * 100 + "\n")


if __name__ == "__main__":
    unittest.main()
