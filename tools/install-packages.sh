#!/usr/bin/env bash
# tools/install-packages.sh PURPOSE: installs what tools/packages.sh lists and is missing. Needs root or sudo only when
# something is missing.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
mapfile -t wanted < <("$here/packages.sh" "$1")
missing=()
for package in "${wanted[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ]; then as_root=(env); elif command -v sudo >/dev/null; then as_root=(sudo); else
    echo "These packages are missing: ${missing[*]}" >&2
    echo "Install them as root (apt-get install ${missing[*]}) or run this script as root or with sudo." >&2
    exit 1
fi
echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
# A database server that nobody asked for must not start: the tests and the demo run their own.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    "${as_root[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
