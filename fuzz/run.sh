#!/usr/bin/env bash
# Fuzzes: fuzz/run.sh [SECONDS] [TARGET...]. Each target (or only these) for so many seconds (60).
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=60
if [[ "${1:-}" =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi
if [ $# = 0 ]; then
    set -- path record registry_file take_over registry_directory operations interceptor
fi

# libFuzzer needs a nightly compiler. What is missing is installed, or named.
PATH="$PWD/target/tools/bin:$PATH"
if ! cargo +nightly --version >/dev/null 2>&1; then
    if ! command -v rustup >/dev/null || ! rustup toolchain install nightly --profile minimal; then
        echo 'MISSING: a nightly toolchain (rustup toolchain install nightly --profile minimal)' >&2
        exit 2
    fi
fi
if ! command -v cargo-fuzz >/dev/null; then
    if ! cargo install --quiet --locked --root target/tools cargo-fuzz; then
        echo 'MISSING: cargo-fuzz (cargo install --locked cargo-fuzz)' >&2
        exit 2
    fi
fi

# Linked dynamically, other than .cargo/config.toml says. No sanitizer: there is no unsafe code here,
# and it costs half the executions. Arithmetic is checked.
target=$(rustc +nightly -vV | sed -n 's/^host: //p')
options=(--target "$target" --sanitizer none)

# In memory, if that is to be had: registries are made and removed by the hundred thousand.
scratch=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for name in "$@"; do
    cargo +nightly fuzz build "${options[@]}" "$name"
done
failed=0
for name in "$@"; do
    mkdir -p "$scratch/corpus/$name" "$scratch/tmp/$name" "fuzz/artifacts/$name"
    log="$scratch/$name.log"
    # What is found goes to the first directory; the seeds are only read.
    if TMPDIR="$scratch/tmp/$name" cargo +nightly fuzz run "${options[@]}" "$name" \
        "$scratch/corpus/$name" "fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -timeout=30 -print_final_stats=1 >"$log" 2>&1; then
        result=clean
    else
        result=FAILED
        failed=1
    fi
    figure() { sed -n "s/^stat::$1: *//p" "$log"; }
    printf '%-20s %10s executions %8s/s  %s\n' "$name" "$(figure number_of_executed_units)" \
        "$(figure average_exec_per_sec)" "$result"
    if [ "$result" = FAILED ]; then
        grep -m 1 -A 3 'panicked at' "$log" || true
        grep -E 'SUMMARY|Test unit written' "$log" || true
    fi
    rm -rf "$scratch/tmp/$name"
done
exit "$failed"
