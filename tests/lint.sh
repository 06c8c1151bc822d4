#!/bin/bash
# lint: what a machine can see of the house rules (DESIGN sections 1 and 5).
# Prints every violation and ends with `N passed, N failed` over its checks.
set -u
cd "$(dirname "$0")/.."
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

# room, then a regular expression of what its #include lines may name
layer() {
    sources "$1/*" | xargs -r grep -nE '^#include' |
        grep -vE "#include (<($libc|$3)>|\"($2)/[a-z_/.0-9]+\")" | head -20
}
libc_only='assert|cpuid|ctype|dirent|dlfcn|errno|fcntl|ftw|fenv|float|getopt|immintrin|inttypes|limits|linux/oom|locale|math|netdb|netinet/in|netinet/tcp|arpa/inet|poll|pthread|sched|semaphore|signal|spawn|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|strings|sys/[a-z]+|syslog|termios|time|unistd|wchar'
libc="($libc_only)\.h"
layering() {
    layer config config 'jansson.h|sodium.h'
    layer lab 'config|lab' 'pcre2.h'
    layer gpu 'config|lab|gpu' '(oneapi/dnnl/)?dnnl[a-z_]*.h|omp.h|cuda[a-z_0-9]*.h|cublas[a-zA-Z_]*.h|nvml.h'
    layer db 'config|db' 'sqlite3.h'
    layer server 'config|lab|db|server' 'microhttpd.h|jansson.h|uuid/uuid.h|sodium.h|curl/curl.h'
    sources 'gpu/*' | grep -v '^gpu/cuda/' | xargs -r grep -nE '#include <(cuda|cublas|nvml)'
    sources 'config/*' | grep -vE 'config/(spec|spec_kind|message|settings)\.' | xargs -r grep -n 'jansson.h'
    sources 'config/*' | grep -vE 'config/hash\.' | xargs -r grep -n 'sodium.h'
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

check "clang-format (make fmt)" format
check "layering: a room includes what it may not" layering
check "trailing white space" whitespace
check "marks of unfinished work" words
check "registry hosts" hosts
check "typedef of a struct" typedefs
check "exit below main" exits
check "functions above 80 lines" functions
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
