#!/usr/bin/env bash
# Measures portclaim beside other tools that give out ports, and writes the tables into BENCHMARKS.md.
# The tools are installed by name from their registries, into target/peers; nothing else is
# touched. What cannot be had is SKIPPED, aloud. benches/peers.rs says what is measured, and how.
#
#   benches/peers.sh                                # about five minutes, and some to install
#   PORTCLAIM_BENCH_RUNS=100 benches/peers.sh       # runs that count
#   PORTCLAIM_BENCH_CLAIMS=10000 benches/peers.sh   # so many claims as well; takes minutes more
#   PORTCLAIM_BENCH_DIR=/dev/shm benches/peers.sh   # homes in this file system
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/peers"
peers=$(cd "$target/peers" && pwd)
log=$peers/install.log
: >"$log"
# shellcheck source=benches/common/tables.sh
. benches/common/tables.sh

have() { # NAME COMMAND...: whether the commands are here that NAME needs
    local name=$1 command
    shift
    for command in "$@"; do
        if ! command -v "$command" >/dev/null; then
            skip "$name" "there is no $command"
            return 1
        fi
    done
}

# An error's own line, without what Cargo, pip and npm print in front of it.
reason() { grep -aiE 'error' "$log" | tail -n 1 | sed -E 's/^ *(npm )?(error|ERROR):? *//' | cut -c 1-120; }

crate() { # CRATE PROGRAM [OLDER]: an older release serves where the newest needs a later Rust
    if [ ! -x "$peers/bin/$2" ]; then
        cargo install --quiet --locked --root "$peers" "$1" >>"$log" 2>&1 ||
            { [ -n "${3-}" ] && cargo install --quiet --locked --root "$peers" "$1@$3" >>"$log" 2>&1; } ||
            { skip "$1" "$(reason)" && return; }
    fi
    versions+=("$("$peers/bin/$2" --version | head -n 1)")
}

python() { # PACKAGE COMMAND
    if [ ! -e "$peers/python/bin/$2" ]; then
        { python3 -m venv "$peers/python" && "$peers/python/bin/pip" install --quiet "$1"; } >>"$log" 2>&1 ||
            { skip "$1" "$(reason)" && return; }
    fi
    versions+=("$1 $("$peers/python/bin/pip" show "$1" 2>/dev/null | sed -n 's/^Version: //p')")
}

node() { # PACKAGE COMMAND
    if [ ! -x "$peers/npm/node_modules/.bin/$2" ]; then
        npm install --silent --prefix "$peers/npm" "$1" >>"$log" 2>&1 || { skip "$1" "$(reason)" && return; }
    fi
    versions+=("$1 $(sed -n 's/^.*"version": "\(.*\)".*$/\1/p' "$peers/npm/node_modules/$1/package.json")")
}

echo "installing into $peers" >&2
have trop-cli cargo && crate trop-cli trop
have portool cargo git && crate portool portool
have bindport cargo && crate bindport bindport 0.7.0
have port-for python3 && python port-for port-for
have portpicker python3 && python portpicker portserver.py
have get-port-cli npm node && node get-port-cli get-port

filesystem=$(df --output=fstype "${PORTCLAIM_BENCH_DIR:-$target}" 2>/dev/null | tail -n 1)
load_before=$(loaded)

tables=$peers/tables.md
{
    echo "Measured on $(date -u +%F) by \`benches/peers.sh\`, ${PORTCLAIM_BENCH_RUNS:-40} runs: $(machine)," \
        "${filesystem:-an unknown file system}, load $load_before at the start."
    beside
    PORTCLAIM_BENCH_PEERS=$peers cargo bench --bench peers
} >"$tables"
put peers "$tables"
