#!/usr/bin/env bash
# tools/packages.sh build|test|demo|bench: prints the Debian 12 packages that the purpose needs, one a line.
# The only list: demo.sh, test.sh, CI and the README use it.
set -euo pipefail
build=(
    g++ cmake ninja-build pkg-config protobuf-compiler
    libboost1.81-dev libcjose-dev libcurl4-openssl-dev libfmt-dev libhowardhinnant-date-dev libjansson-dev libpq-dev libprotobuf-dev
    libsodium-dev libspdlog-dev libsqlite3-dev libsqlitecpp-dev libssl-dev libsystemd-dev libtomlplusplus-dev
    libzstd-dev nlohmann-json3-dev
    tzdata
)
run=(postgresql-client-15 ca-certificates bubblewrap)
server=(postgresql-15)
test=(libgtest-dev libgmock-dev librapidcheck-dev python3 ccache azure-cli python3-azure)
# npm brings the other majors' servers (tools/postgres-versions.sh). Where it came with a Node.js from elsewhere, Debian's
# package of it cannot be installed beside.
command -v npm >/dev/null || test+=(npm)
demo=(perl)
bench=(libbenchmark-dev python3 perl hyperfine pgbackrest barman rsync)
case "${1:-}" in
    build) printf '%s\n' "${build[@]}" ;;
    run) printf '%s\n' "${run[@]}" ;;
    test) printf '%s\n' "${build[@]}" "${run[@]}" "${server[@]}" "${test[@]}" ;;
    demo) printf '%s\n' "${build[@]}" "${run[@]}" "${server[@]}" "${demo[@]}" ;;
    bench) printf '%s\n' "${build[@]}" "${run[@]}" "${server[@]}" "${bench[@]}" ;;
    *) echo "usage: $0 build|run|test|demo|bench" >&2; exit 2 ;;
esac
