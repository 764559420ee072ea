#!/usr/bin/env bash
# tools/postgres-versions.sh: fetches the PostgreSQL servers of the majors that Debian 12 does not have (npm, versions and
# hashes in tests/postgres-versions/package-lock.json) into .cache/postgres-versions, and prints which majors the tests will
# run against. What cannot be had is named and left out; with CI set in the environment that is a failure.
set -uo pipefail
here=$(dirname "$(realpath "$0")")/..
source=$here/tests/postgres-versions
target=$here/.cache/postgres-versions
missing=()

fetch() {
    if [ "$(uname -m)" != x86_64 ]; then
        missing+=("they exist for x86_64 only")
        return
    fi
    if ! command -v npm >/dev/null; then
        missing+=("npm is not installed")
        return
    fi
    # Beside the old one, so that a broken download never looks like a whole one.
    rm -rf "$target.new"
    mkdir -p "$target.new"
    cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$target.new/"
    if ! (cd "$target.new" && npm ci >npm.log 2>&1); then
        missing+=("npm ci failed: $(grep -m1 -E 'npm (ERR!|error)' "$target.new/npm.log")")
        return
    fi
    # What the packages' own script would do: npm carries no links.
    python3 - "$target.new/node_modules" <<'PYTHON' || { missing+=("the packages are not as expected"); return; }
import json, os, sys
for name in sorted(os.listdir(sys.argv[1])):
    root = os.path.join(sys.argv[1], name)
    links = os.path.join(root, "native", "pg-symlinks.json")
    if not os.path.exists(links):
        continue
    for link in json.load(open(links)):
        path = os.path.join(root, link["target"])
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(os.path.relpath(os.path.join(root, link["source"]), os.path.dirname(path)), path)
    for tool in os.listdir(os.path.join(root, "native", "bin")):
        os.chmod(os.path.join(root, "native", "bin", tool), 0o755)
PYTHON
    rm -rf "$target"
    mv "$target.new" "$target"
}

if ! cmp -s "$source/package-lock.json" "$target/package-lock.json"; then
    fetch
fi

found=()
for major in 13 14 15 16 17 18; do
    server=$target/node_modules/postgres-$major/native/bin/postgres
    [ "$major" = 15 ] && server=/usr/lib/postgresql/15/bin/postgres
    if version=$("$server" --version 2>/dev/null); then
        version=${version#postgres (PostgreSQL) }
        found+=("${version%% *}")
    else
        missing+=("PostgreSQL $major is not there")
    fi
done
echo "PostgreSQL servers that the tests run against: ${found[*]:-none}"
if [ ${#missing[@]} -gt 0 ]; then
    printf 'Not tested: %s\n' "${missing[@]}" >&2
    [ -z "${CI:-}" ] || exit 1
fi
