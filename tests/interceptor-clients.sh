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

# shellcheck source=benches/common/processes.sh
. benches/common/processes.sh
clean+=(NO_PROXY='*')

skip_all() {
    printf 'SKIPPED: %s\n' "$1"
    exit 0
}

command -v python3 >/dev/null || skip_all 'there is no python3'
venv=${INTERCEPTOR_CLIENTS_VENV:-$work/venv}
python=$venv/bin/python
[ -x "$python" ] || python3 -m venv "$venv" >"$work/install.log" 2>&1 ||
    skip_all "python3 makes no virtual environment: $(tail -n 1 "$work/install.log")"
# shellcheck disable=SC2086
"$python" -m pip install --quiet --disable-pip-version-check $package >"$work/install.log" 2>&1 ||
    skip_all "$package cannot be installed: $(tail -n 1 "$work/install.log")"

interceptor=${PORTCLAIM_INTERCEPTOR:-}
if [ -z "$interceptor" ]; then
    cargo build --quiet --release --locked --features interceptor
    host=$(rustc -vV | sed -n 's/^host: //p')
    interceptor=${CARGO_TARGET_DIR:-target}/$host/release/portclaim-interceptor
fi
interceptor=$(realpath "$interceptor")

mkdir "$work/a project"

"${clean[@]}" "$python" "$here/upstream.py" >"$work/upstream.out" 2>"$work/upstream.err" &
port=$(said upstream $! '^[0-9]+$')
upstream=http://127.0.0.1:$port
target=$upstream

if [ "${arguments[*]-}" = --litellm ]; then
    "${clean[@]}" "FAKE_UPSTREAM=$upstream/v1" "CONFIG_FILE_PATH=$here/litellm.yaml" \
        "$python" "$here/litellm_proxy.py" >"$work/litellm.out" 2>"$work/litellm.err" &
    port=$(said litellm $! '^[0-9]+$')
    target=http://127.0.0.1:$port
fi

(cd "$work/a project" && exec "${clean[@]}" "$interceptor" --json --target "$target") \
    >"$work/interceptor.out" 2>"$work/interceptor.err" &
url=$(said interceptor $! 'http://127[^"]*')

code=0
"${clean[@]}" "$python" "$here/client.py" "${arguments[@]}" "$url" "$upstream" || code=$?
if [ "$code" != 0 ]; then
    echo 'the interceptor said:'
    sed 's/^/    /' "$work/interceptor.err"
fi
exit "$code"
