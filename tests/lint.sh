#!/bin/bash
# lint: what a machine can see of the house rules (CONTRIBUTING.md).
#   tests/lint.sh [BUILD]     BUILD: where `make programs` has put the object files
# Prints every violation and ends with `N passed, N failed` over its checks.
set -u
cd "$(dirname "$0")/.."
build=${1:-build}
passed=0 failed=0

check() { # name, then a command whose output is the list of violations
    local name=$1 found
    shift
    found=$("$@" 2>&1)
    if [ -n "$found" ]; then
        failed=$((failed + 1))
        printf 'lint: %s\n%s\n' "$name" "$found"
    else
        passed=$((passed + 1))
    fi
}

files() { git ls-files -co --exclude-standard "$@" | while read -r f; do [ -f "$f" ] && echo "$f"; done; }
sources() { files "$@" | grep -E '\.(c|h|cc|cu|cuh)$'; }

format() { sources | xargs clang-format --dry-run -Werror 2>&1 | grep -E 'error|warning' | head -20; }

rooms() {
    node tests/lib/rooms.mjs | head -20
    sources 'config/*' | grep -vE 'config/(input|spec|spec_kind|message|settings)\.' | xargs -r grep -n 'jansson.h'
    sources 'config/*' | grep -vE 'config/hash\.' | xargs -r grep -n 'sodium.h'
}
modules() { node tests/lib/modules.mjs "$build" | head -40; }

# Local errors that start as whatever the stack held.
errors() {
    sources config lab gpu db server tests | grep '\.c$' | xargs awk '
        FNR == 1 { inside = 0 }
        /^[^ \t}#\/]/ { inside = $0 == "{" }
        inside && /^[ \t]+struct err [a-z_]+(, [a-z_]+)*;/ { print FILENAME ":" FNR ":" $0 }' | head -20
}

# JSON in a string: a quoted name with its colon, then a value's first character. Jansson
# is for parsing.
json() {
    sources config lab gpu db server | grep '\.c$' |
        xargs grep -nE '\\":("|%|\{|\[|[a-z])|json_pack' | head -20
}

whitespace() { files | grep -vE '\.(png|bin|bpe)$' | xargs grep -nIE '[[:space:]]+$' | head -20; }
words() { files | grep -vE '^tests/lint.sh$|package-lock' | xargs grep -nIE '\b(TODO|FIXME|XXX|HACK)\b|not implemented' | head; }
hosts() { files | grep -v '^tests/lint.sh$' | xargs grep -nIE 'https?://[a-z.-]*registry[a-z.-]*' | head; }
typedefs() { sources | xargs grep -nE '^typedef (struct|union|enum)[^(]*$' | head; }
exits() { sources config lab gpu db server | grep -vE '(main|trainer)\.c$' | xargs grep -nE '\b_?exit\(' | grep -v '_exit(127)' | head; }

# The longest functions, and those above 60 lines without a comment that says why.
functions() {
    sources config lab gpu db server | xargs awk '
        FNR == 1 { depth = 0 }
        /^[a-zA-Z_].*\)$/ || /^[a-zA-Z_].*,$/ { head = FNR }
        /^\{$/ { start = FNR }
        /^\}$/ { if (start && FNR - start > 80) print FILENAME ":" start ": function of " FNR - start " lines"; start = 0 }'
}

# Rows of tables and lines of code blocks may be longer.
columns() {
    perl -CSD -ne '$code = !$code if /^```/; print "$ARGV:$.\n" if !$code && !/^\|/ && length > 121;
        close ARGV if eof' README.md CONTRIBUTING.md docs/*.md | head
}

# Debian 12 has Node 18; this is what later versions added.
node18() {
    files '*.mjs' 'web/*.js' | xargs grep -nE \
        -e '\.(toSorted|toReversed|toSpliced|isWellFormed|toWellFormed)\(' \
        -e '\b(Array\.fromAsync|(Object|Map)\.groupBy|Promise\.(withResolvers|try)|URL\.parse|RegExp\.escape)\(' \
        -e '\]\.with\(|\.(isSubsetOf|isSupersetOf|isDisjointFrom|symmetricDifference)\(|\bIterator\.from\(' \
        -e 'import\.meta\.(dirname|filename)|node:sqlite|\b(fs|fsp|path)\.(glob|globSync|matchesGlob)\(|process\.loadEnvFile|\bwith \{ *type:'
    files Makefile '*.mk' '*.sh' '*.mjs' .ci/run | grep -v '^tests/lint.sh$' |
        xargs grep -nE -e '--(test-concurrency|experimental-test-coverage|test-timeout|env-file|watch-path)\b'
}

check "clang-format (make fmt)" format
check "a room includes what it may not (CONTRIBUTING.md)" rooms
check "circles of calls, functions declared in another file's header" modules
check "local errors without ERR_INIT" errors
check "JSON written by hand" json
check "trailing white space" whitespace
check "marks of unfinished work" words
check "registry hosts" hosts
check "typedef of a struct" typedefs
check "exit below main" exits
check "functions above 80 lines" functions
check "documents: lines above 120 columns" columns
check "newer than Node 18" node18
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
