# shellcheck shell=bash
# What the scripts have in common that write tables into BENCHMARKS.md: sourced by benches/interceptor.sh and
# benches/peers.sh.

# What is measured beside portclaim, and what cannot be.
versions=()
skipped=()

skip() { # NAME REASON
    echo "SKIPPED: $1: $2" >&2
    skipped+=("$1 ($2)")
}

join() {
    local text
    printf -v text ', %s' "$@"
    echo "${text:2}"
}

loaded() { cut -d ' ' -f 1 /proc/loadavg 2>/dev/null || uptime | sed 's/.*load average[s]*: *//'; }

machine() {
    local model
    model=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
    echo "$(getconf _NPROCESSORS_ONLN) cores (${model:-$(uname -m)}), $(uname -sr)"
}

# Says what was measured beside portclaim.
beside() {
    echo "Beside portclaim: $(join "${versions[@]-nothing}")."
    [ ${#skipped[@]} = 0 ] || echo "Not to be had: $(join "${skipped[@]}")."
    echo
}

# Replaces the text between the two comments of this name in BENCHMARKS.md by that of a file.
put() { # NAME FILE
    local mark
    for mark in begin end; do
        if ! grep -qx "<!-- $1: $mark -->" BENCHMARKS.md; then
            echo "BENCHMARKS.md has no line <!-- $1: $mark -->; the tables are in $2" >&2
            return 1
        fi
    done
    awk -v name="$1" -v tables="$2" '
        $0 == "<!-- " name ": end -->" { inside = 0 }
        !inside { print }
        $0 == "<!-- " name ": begin -->" {
            inside = 1
            while ((getline line < tables) > 0) print line
        }
    ' BENCHMARKS.md >"$2.whole"
    cat "$2.whole" >BENCHMARKS.md
}
