#!/bin/sh
# deps: make sure that everything is installed. Arguments: `build` (what building
# and the demo need), `test` (what the tests need besides). Calls neither apt nor
# sudo when nothing is missing; without root it prints the one line to run.
set -eu
cd "$(dirname "$0")/.."

build="gcc libc6-dev make git ca-certificates curl libmicrohttpd-dev libjansson-dev libsqlite3-dev uuid-dev
  libpcre2-dev libdnnl-dev libcurl4-openssl-dev libsodium-dev"
# Packages that only stand for a command: whoever has the command has what is needed.
build_commands="node:nodejs npm:npm"
# PyTorch multiplies matrices with whatever BLAS is there; OpenBLAS makes it a fair peer.
test="g++ libcmocka-dev python3-torch python3-numpy libopenblas0-pthread procps"
test_commands="chromium:chromium clang-format:clang-format clang:clang valgrind:valgrind"

packages= commands=
for set in "$@"; do
    eval "packages=\"\$packages \$$set\" commands=\"\$commands \$${set}_commands\""
done

missing=
for p in $packages; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
for c in $commands; do
    command -v "${c%%:*}" >/dev/null 2>&1 || missing="$missing ${c##*:}"
done

if [ -n "$missing" ]; then
    line="apt-get install -y --no-install-recommends$missing"
    if [ "$(id -u)" != 0 ]; then
        echo "missing packages; run:  sudo $line" >&2
        exit 1
    fi
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    $line >/dev/null
fi
# Rank tables and charts come from npm; the lock file pins them.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --no-fund --no-audit --loglevel=error
    touch node_modules/.package-lock.json
fi
