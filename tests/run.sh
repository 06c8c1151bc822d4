#!/bin/bash
# run: runs suites of tests and closes with one line, `N passed, N failed`.
#   tests/run.sh BUILD SUITE...      suites: unit api browser crash san valgrind gpu
# Every test program's own summary stays visible; the counts are read from it, and
# a program that ends without one counts as one failure. What failed is named again
# above the count: the place where it failed is an hour of output further up.
set -u
cd "$(dirname "$0")/.."
build=$1
shift
passed=0 failed=0 skipped=0
log=$(mktemp)
failures=$(mktemp)
limit=1800 # seconds for one program: a hang is a failure, not a wait
trap 'rm -f "$log" "$failures"' EXIT

# count PATTERN: the last number captured by an extended regular expression in the log.
count() { sed -nE "s/\x1b\[[0-9;]*m//g; s/.*$1.*/\1/p" "$log" | tail -n 1; }

add() { # what ran, status passed failed skipped
    local what=$1
    shift
    if [ "$1" != 0 ] && [ "${3:-0}" = 0 ] || [ -z "$2$3" ]; then set -- "$1" "${2:-0}" 1 "${4:-0}"; fi
    passed=$((passed + ${2:-0})) failed=$((failed + ${3:-0})) skipped=$((skipped + ${4:-0}))
    [ "${3:-0}" = 0 ] || {
        echo "failed in $what (status $1):"
        grep -aE '^ *not ok |^ *error: |^\[  FAILED  \] [^0-9]|^\[  ERROR   \]|ERROR: .*Sanitizer|runtime error:|^(FAIL|failed) ' "$log" | head -n 20
    } >>"$failures"
}

cmocka() { # program, build folder, what runs it...
    local program=$1 dir=$2
    shift 2
    echo "== $program"
    TOKENFATE_BUILD=$dir TOKENFATE_SHARE=$build/share timeout $limit "$@" "$program" >"$log" 2>&1
    local status=$?
    grep -vE '^\[ (RUN|      OK) ' "$log"
    add "$program" "$status" "$(count '\[  PASSED  \] ([0-9]+) test')" \
        "$(count '\[  FAILED  \][^0-9]*([0-9]+) test')" "$(count '\[  SKIPPED \][^0-9]*([0-9]+) test')"
}

# Node's summary has one line per count ("# pass 12", "ℹ fail 0").
node_count() { sed -nE "s/\x1b\[[0-9;]*m//g; s/^[^a-zA-Z]*$1 ([0-9]+)\$/\1/p" "$log" | tail -n 1; }
node_tests() { # build folder, files...
    local dir=$1 status
    shift
    [ $# -gt 0 ] || return 0
    echo "== node --test $*"
    TOKENFATE_BUILD=$dir timeout $limit node --test --test-concurrency=1 "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    add "node --test" "$status" "$(node_count pass)" "$(node_count fail)" "$(node_count skipped)"
}

suite_unit() { for t in tests/unit/*.c tests/unit/*.cu; do t=${t##*/}; cmocka "$build/tests/${t%.*}" "$build"; done; }
suite_api() { node_tests "$build" tests/api/*.test.mjs; }
suite_browser() { node_tests "$build" tests/browser/*.test.mjs; }
suite_crash() { node_tests "$build" tests/crash/*.test.mjs; }
suite_san() {
    local san=build-address-undefined
    echo "== AddressSanitizer and UndefinedBehaviorSanitizer: unit and API tests"
    make --no-print-directory -s -j"$(nproc)" SAN=address,undefined tests >"$log" 2>&1 || {
        cat "$log"
        add "the build with sanitizers" 1 0 1
        return
    }
    # Third-party code keeps caches until the process ends: oneDNN and OpenMP.
    local lsan=suppressions=tests/lib/lsan.supp:print_suppressions=0
    # When a unit program ends, what its stack still points to is left over: a leak seen
    # in every run, not in those where nothing happened to be left.
    export LSAN_OPTIONS=$lsan:use_stacks=0:use_registers=0
    for t in tests/unit/*.c tests/unit/*.cu; do t=${t##*/}; cmocka "$san/tests/${t%.*}" "$san"; done
    export LSAN_OPTIONS=$lsan
    node_tests "$san" tests/api/*.test.mjs
}
# The plain C path, whose loops are what the faster ones are checked against: memory that
# was never written is seen too.
suite_valgrind() {
    for t in gpu_model gpu_adaptive; do
        TOKENFATE_ISA=plain cmocka "$build/tests/$t" "$build" valgrind -q --error-exitcode=9
    done
}
suite_gpu() {
    echo "== gpu"
    timeout $limit python3 "$build/gpu-kit/check.py" --out "$build/gpu-check" 2>&1 | tee "$log"
    local status=${PIPESTATUS[0]}
    add check.py "$status" "$(count '^([0-9]+) passed')" "$(count ', ([0-9]+) failed')" "$(count ', ([0-9]+) skipped')"
}

for suite in "$@"; do "suite_$suite"; done
echo
cat "$failures"
echo "$passed passed, $failed failed$([ "$skipped" = 0 ] || echo ", $skipped skipped")"
[ "$failed" = 0 ]
