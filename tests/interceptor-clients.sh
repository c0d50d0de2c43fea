#!/usr/bin/env bash
# Tries the interceptor with programs that people use: the `openai` Python package, against a fake server that
# holds no model, and LiteLLM's own proxy as the target, with that server behind it.
#
#     tests/interceptor-clients.sh              # chat, models, responses, errors, 50 streams at once
#     tests/interceptor-clients.sh --litellm    # through LiteLLM; installs some 100 packages first
#
# Prints a line for each check (tests/interceptor-clients/client.py makes them) and how many passed. Exit code 1 where
# one fails, 0 where all hold, or where it was SKIPPED, which says why: there is no Python, or a package
# cannot be installed. PORTCLAIM_INTERCEPTOR names the program, else a release build is made.
# INTERCEPTOR_CLIENTS_VENV names a virtual environment to install into, which is kept; else it is a temporary one.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD/tests/interceptor-clients

package='openai'
arguments=()
case "${1-}" in
'') ;;
--litellm)
    package='openai litellm[proxy]'
    arguments=(--litellm)
    ;;
*)
    echo 'usage: tests/interceptor-clients.sh [--litellm]' >&2
    exit 2
    ;;
esac

# The longest until something that was started says where it listens, seconds. LiteLLM takes its time.
START_LIMIT=120

work=
started=()

skip() {
    printf 'SKIPPED: %s\n' "$1"
    exit 0
}

clean_up() {
    local pid
    for pid in "${started[@]}"; do
        if kill "$pid" 2>/dev/null; then
            wait "$pid" 2>/dev/null || true
        fi
    done
    [ -z "$work" ] || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
work=$(mktemp -d)

command -v python3 >/dev/null || skip 'there is no python3'
venv=${INTERCEPTOR_CLIENTS_VENV:-$work/venv}
python=$venv/bin/python
[ -x "$python" ] || python3 -m venv "$venv" >"$work/install.log" 2>&1 ||
    skip "python3 makes no virtual environment: $(tail -n 1 "$work/install.log")"
# shellcheck disable=SC2086
"$python" -m pip install --quiet --disable-pip-version-check $package >"$work/install.log" 2>&1 ||
    skip "$package cannot be installed: $(tail -n 1 "$work/install.log")"

interceptor=${PORTCLAIM_INTERCEPTOR:-}
if [ -z "$interceptor" ]; then
    cargo build --quiet --release --locked --features interceptor
    host=$(rustc -vV | sed -n 's/^host: //p')
    interceptor=${CARGO_TARGET_DIR:-target}/$host/release/portclaim-interceptor
fi
interceptor=$(realpath "$interceptor")

# Waits until a program says where it listens, and prints that; fails where the program has ended.
said() { # NAME PID PATTERN
    local left
    for ((left = START_LIMIT * 10; left > 0; left--)); do
        grep -sohEm 1 "$3" "$work/$1.out" && return
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    echo "$1 did not say where it listens:" >&2
    tail -n 20 "$work/$1.err" >&2
    return 1
}

# Nothing of the user's environment reaches what is tried.
clean=(env -i "PATH=$PATH" "HOME=$work/home" PYTHONDONTWRITEBYTECODE=1 NO_PROXY='*')
mkdir "$work/home" "$work/a project"

"${clean[@]}" "$python" "$here/upstream.py" >"$work/upstream.out" 2>"$work/upstream.err" &
started+=($!)
port=$(said upstream $! '^[0-9]+$')
upstream=http://127.0.0.1:$port
target=$upstream

if [ "${arguments[*]-}" = --litellm ]; then
    "${clean[@]}" "FAKE_UPSTREAM=$upstream/v1" "CONFIG_FILE_PATH=$here/litellm.yaml" \
        "$python" "$here/litellm_proxy.py" >"$work/litellm.out" 2>"$work/litellm.err" &
    started+=($!)
    port=$(said litellm $! '^[0-9]+$')
    target=http://127.0.0.1:$port
fi

(cd "$work/a project" && exec "${clean[@]}" "$interceptor" --json --target "$target") \
    >"$work/interceptor.out" 2>"$work/interceptor.err" &
started+=($!)
url=$(said interceptor $! 'http://127[^"]*')

code=0
"${clean[@]}" "$python" "$here/client.py" "${arguments[@]}" "$url" "$upstream" || code=$?
if [ "$code" != 0 ]; then
    echo 'the interceptor said:'
    sed 's/^/    /' "$work/interceptor.err"
fi
exit "$code"
