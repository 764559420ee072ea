#!/usr/bin/env bash
# ./test.sh: installs what the tests need (Debian 12), builds, runs every test. ./test.sh fast: only the fast set.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")"
set_name=${1:-all}
tools/install-packages.sh test
[ "$set_name" = fast ] || tools/postgres-versions.sh
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
# The precompiled header keeps its date out of the hash; without this ccache would not help at all.
export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros}
started=$SECONDS
cmake --preset dev "${launcher[@]}" >/dev/null
cmake --build --preset dev --parallel "$(nproc)"
echo "Built in $((SECONDS - started)) s."
case "$set_name" in
    all | fast) exec ctest --preset "$set_name" ;;
    *) echo "usage: $0 [all|fast]" >&2; exit 2 ;;
esac
