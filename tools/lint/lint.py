#!/usr/bin/env python3
"""tools/lint/lint.py [ROOT]: the house rules that a compiler does not check. Exits 1 and names file:line for each breach.

 layers   a folder of src/ includes only itself and the folders below it (docs/architecture.md)
 bans     calls that have a replacement: time, sleeping, randomness, environment, foreign exceptions
 marks    unfinished work has no place in src/
 headers  every header has #pragma once; includes go by path from src/
 width    at most 100 columns in C++ sources, long string literals and URLs excepted
"""
import os
import re
import sys

# From the bottom up: a folder may include those before it. protection does no I/O and sees base alone.
LAYERS = ["base", "postgres", "vault", "catalog", "protection", "alerts", "jobs", "control", "cli", "web"]
ALLOWED = {folder: set(LAYERS[: index + 1]) for index, folder in enumerate(LAYERS)}
ALLOWED["protection"] = {"base", "protection"}
ALLOWED["alerts"] = {"base", "catalog", "alerts"}
ALLOWED["vault"] = {"base", "vault"}
ALLOWED["postgres"] = {"base", "postgres"}

# Pattern, what to use instead, files that may.
BANS = [
    (r"\bsystem_clock::now\b|\bsteady_clock::now\b", "Clock (base/clock.h)", r"^src/base/clock\.cc$|/testing/"),
    (r"\bsleep_for\b|\bsleep_until\b|\busleep\b|\bnanosleep\b", "Clock::wait_for with a stop token", r"^src/base/"),
    (r"\b(?:std::)?s?rand\(|\brandom_device\b|\bmt19937\b", "base/bytes.h fill_random", r"^src/base/|_test\.cc$|/testing/"),
    (r"\bgetenv\b", "Environment (base/environment.h)", r"^src/base/|^src/main\.cc$|_test\.cc$|/testing/"),
    (r"\bthrow std::", "holdfast::Error", r"^$"),
    (r"\bcatch \(\.\.\.\)", "run_boundary", r"^src/base/error\.cc$"),
    (r"\busing namespace std\b", "qualified names", r"^$"),
]
MARKS = re.compile(r"\b(TODO|FIXME|XXX|not implemented|unimplemented)\b", re.IGNORECASE)
INCLUDE = re.compile(r'^\s*#include "([^"]+)"')


def source_files(root):
    for folder in ("src", "tests", "bench", "fuzz"):
        for path, folders, names in os.walk(os.path.join(root, folder)):
            folders[:] = [f for f in folders if f not in ("node_modules",)]
            for name in names:
                if name.endswith((".h", ".cc", ".def")):
                    yield os.path.relpath(os.path.join(path, name), root)


def layer_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def is_test(path):
    return path.endswith(("_test.cc", "_testing.cc", "_testing.h")) or "/testing/" in path


def check_line(path, line, report):
    if path.startswith("src/") and MARKS.search(line):
        report("marks", "unfinished work")
    for pattern, instead, allowed in BANS:
        if path.startswith("src/") and re.search(pattern, line) and not re.search(allowed, path):
            if "lint-allow:" not in line:
                report("bans", f"{re.search(pattern, line).group(0)}: use {instead}")
    if len(line) > 100 and '"' not in line and "http" not in line and not path.endswith(".def"):
        report("width", f"{len(line)} columns")
    include = INCLUDE.match(line)
    layer = layer_of(path)
    if include and layer and not is_test(path):
        target = include.group(1).split("/")[0]
        if target.endswith((".h", ".def")):
            report("headers", f'"{include.group(1)}" is not a path from src/')
        elif target in LAYERS and target not in ALLOWED[layer]:
            report("layers", f"{layer} must not include {include.group(1)}")


def lint(root):
    breaches = []
    for path in sorted(source_files(root)):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        for number, line in enumerate(text.split("\n"), 1):
            check_line(path, line, lambda rule, what, n=number: breaches.append(f"{path}:{n}: {rule}: {what}"))
        if path.endswith(".h") and "#pragma once" not in text:
            breaches.append(f"{path}:1: headers: no #pragma once")
    return breaches


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "..")
    breaches = lint(os.path.abspath(root))
    print("\n".join(breaches) if breaches else "lint: clean")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
