#!/bin/sh
# deps: make sure that everything is installed. Arguments: `build` (what building
# and the demo need), `test` (what the tests need besides). Calls neither apt nor
# sudo when nothing is missing; without root it prints the one line to run.
set -eu
cd "$(dirname "$0")/.."

build="gcc libc6-dev make git ca-certificates curl libmicrohttpd-dev libjansson-dev libsqlite3-dev uuid-dev
  libpcre2-dev libdnnl-dev libcurl4-openssl-dev libsodium-dev libutf8proc-dev"
# Packages that only stand for a command: whoever has the command has what is needed.
build_commands="node:nodejs npm:npm"
# PyTorch multiplies matrices with whatever BLAS is there; OpenBLAS makes it a fair peer. clang
# finds libFuzzer only with its runtime.
test="g++ libcmocka-dev python3-torch python3-numpy libopenblas0-pthread procps libclang-rt-dev"
test_commands="chromium:chromium clang-format:clang-format clang:clang valgrind:valgrind"

packages= commands=
for set in "$@"; do
    eval "packages=\"\$packages \$$set\" commands=\"\$commands \$${set}_commands\""
done

missing() {
    for p in $packages; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || printf ' %s' "$p"
    done
    for c in $commands; do
        command -v "${c%%:*}" >/dev/null 2>&1 || printf ' %s' "${c##*:}"
    done
}

# What apt is doing, in one line on a terminal and in a line each quarter elsewhere. apt says
# it as kind:package:percent:words, first of the downloads, then of dpkg.
progress() {
    shown=
    while IFS=: read -r kind _ percent words; do
        case $kind in
        dlstatus) kind=downloading ;;
        pmstatus) kind=installing ;;
        *) continue ;;
        esac
        percent=${percent%%.*}
        if [ -t 1 ]; then
            printf '\r\033[K%s, %s %%: %.50s' "$kind" "$percent" "$words"
        elif [ "$kind $((percent / 25))" != "$shown" ]; then
            echo "$kind, $percent %"
        fi
        shown="$kind $((percent / 25))"
    done
    [ ! -t 1 ] || printf '\r\033[K'
}

lacking=$(missing)
if [ -n "$lacking" ]; then
    install="apt-get install -y --no-install-recommends$lacking"
    if [ "$(id -u)" != 0 ]; then
        echo "missing packages; run:  sudo sh -c 'apt-get update && $install'" >&2
        exit 1
    fi
    echo "installing:$lacking"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # A pipe keeps the status of its last command alone: what is missing then tells a failure.
    # shellcheck disable=SC2086
    $install -o APT::Status-Fd=3 3>&1 >/dev/null | progress
    lacking=$(missing)
    [ -z "$lacking" ] || { echo "could not be installed:$lacking" >&2; exit 1; }
fi
# Rank tables and charts come from npm; the lock file pins them.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    echo "npm ci: rank tables and charts"
    npm ci --no-fund --no-audit --loglevel=error
    touch node_modules/.package-lock.json
fi
