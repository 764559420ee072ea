#!/usr/bin/env bash
# bench/physical.sh [--scale N] [--reps N] [--parts first,second,restore,days,size] [...]: physical backups against pgbackrest and
# barman, on one cluster, in one run. Installs what it needs (Debian's pgbackrest and barman), builds the release, and leaves the rest
# to physical.py; about 20 GiB of scratch space at scale 100.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/..")
"$root/tools/install-packages.sh" bench
cd "$root"
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
cmake --preset bench "${launcher[@]}" >/dev/null
cmake --build --preset bench --parallel "$(nproc)" >/dev/null
exec python3 "$here/physical.py" --holdfast "$root/build/bench/src/holdfast" --build "$root/build/bench" "$@"
