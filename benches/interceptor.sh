#!/usr/bin/env bash
# Measures the interceptor beside nginx, a small Python proxy and no proxy at all, in front of the same fake server, and
# writes the tables into BENCHMARKS.md.
#
#   benches/interceptor.sh                              # about ten minutes
#   PORTCLAIM_BENCH_ROUNDS=2 benches/interceptor.sh     # rounds that count, by default 5
#   PORTCLAIM_BENCH_SECONDS=1 benches/interceptor.sh    # how long wrk runs each time, by default 3
#   PORTCLAIM_BENCH_REQUESTS=0 benches/interceptor.sh   # between two looks at memory, by default 100000
#
# The proxies have one core, and the client and the fake server the other, where there are two and taskset. In each
# round they take turns; medians of the rounds count. All traffic is on 127.0.0.1. nginx and wrk are installed with
# apt-get where that is possible, Python's packages into target/interceptor; what cannot be had is SKIPPED,
# aloud. benches/interceptor/ holds the server, the client of streams (main.rs) and the Python proxy.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD/benches/interceptor

rounds=${PORTCLAIM_BENCH_ROUNDS:-5}
seconds=${PORTCLAIM_BENCH_SECONDS:-3}
requests=${PORTCLAIM_BENCH_REQUESTS:-100000}
# Requests at once, where it is about how many there can be.
AT_ONCE=32
# Streams that are open at once.
STREAMS=1000
# The longest that a proxy may take for the requests between two looks at its memory, seconds.
REQUESTS_LIMIT=120

# Where Debian puts nginx.
PATH=$PATH:/usr/sbin
kept=${CARGO_TARGET_DIR:-target}/interceptor
mkdir -p "$kept"
kept=$(cd "$kept" && pwd)
log=$kept/install.log
: >"$log"
# shellcheck source=benches/common/processes.sh
. benches/common/processes.sh
# shellcheck source=benches/common/tables.sh
. benches/common/tables.sh
results=$work/results
names=()
declare -A ports pids

provide() { # COMMAND PACKAGE
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get update && apt-get install -y --no-install-recommends "$2"; } >>"$log" 2>&1 || true
    fi
    command -v "$1" >/dev/null
}

provide wrk wrk || {
    echo 'SKIPPED: there is no wrk' >&2
    exit 0
}

# Programs of this project. What Cargo says of the benchmark is the only way to its name.
bench=$(cargo bench --locked --quiet --features interceptor --bench interceptor --no-run --message-format=json |
    sed -n 's/^.*"executable":"\([^"]*\/interceptor-[^"]*\)".*$/\1/p' | tail -n 1)
release=$(dirname "$(dirname "$bench")")

# Which core, for proxies and for all else.
on_proxy=()
on_rest=()
pinning='The cores were shared by all.'
if command -v taskset >/dev/null && [ "$(getconf _NPROCESSORS_ONLN)" -ge 2 ]; then
    on_proxy=(taskset -c 0)
    on_rest=(taskset -c 1)
    pinning='The proxy on one core, client and server on the other.'
fi
# A stream takes two descriptors of a proxy.
ulimit -n 8192 2>/dev/null || ulimit -n "$(ulimit -Hn)"

mkdir "$work/project" "$work/ports"

listens() { (: >"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Waits until a proxy listens, and takes it among those that are measured.
join_in() { # NAME PORT PID
    local left
    for ((left = 300; left > 0; left--)); do
        if listens "$2"; then
            names+=("$1")
            ports[$1]=$2
            pids[$1]=$3
            return
        fi
        kill -0 "$3" 2>/dev/null || break
        sleep 0.1
    done
    skip "$1" "it does not listen: $(tail -n 1 "$work/$1.err")"
}

"${clean[@]}" "${on_rest[@]}" "$bench" serve >"$work/server.out" 2>"$work/server.err" &
server=$(said server $! '^[0-9]+$')
names+=('no proxy')
ports['no proxy']=$server

mapfile -t free < <("${clean[@]}" "$release/portclaim" allocate --count 3 "$work/ports")

start_nginx() { # NAME PORT SERVER-LINES UPSTREAM-LINES
    mkdir "$work/$1"
    cat >"$work/$1/nginx.conf" <<CONF
worker_processes 1;
worker_rlimit_nofile 8192;
daemon off;
pid nginx.pid;
error_log error.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    # As the other proxies: a connection is kept as long as it is used.
    keepalive_requests 100000000;
    upstream server {
        server 127.0.0.1:$server;
        $4
    }
    server {
        listen 127.0.0.1:$2;
        location / {
            proxy_pass http://server;
            proxy_buffering off;
            proxy_set_header x-memory-user-id project;
            proxy_set_header x-pycharm-instance project;
            proxy_set_header x-source pycharm-ai-chat;
            $3
        }
    }
}
CONF
    "${on_proxy[@]}" nginx -p "$work/$1/" -c nginx.conf 2>"$work/$1.err" &
    join_in "$1" "$2" $!
}

if provide nginx nginx-light; then
    versions+=("$(nginx -v 2>&1 | sed 's/^.*: //')")
    start_nginx nginx "${free[0]}" '' ''
    start_nginx 'nginx, keepalive' "${free[1]}" 'proxy_http_version 1.1; proxy_set_header Connection "";' \
        'keepalive 1024; keepalive_requests 100000000;'
else
    skip nginx 'there is none'
fi

(cd "$work/project" && exec "${clean[@]}" "${on_proxy[@]}" "$release/portclaim-interceptor" --json \
    --target "http://127.0.0.1:$server") >"$work/portclaim-interceptor.out" 2>"$work/portclaim-interceptor.err" &
url=$(said portclaim-interceptor $! 'http://127[^"]*:[0-9]+')
join_in portclaim-interceptor "${url##*:}" $!

python=$kept/python/bin/python
if [ -x "$kept/python/bin/uvicorn" ] ||
    { python3 -m venv "$kept/python" && "$python" -m pip install --quiet fastapi httpx 'uvicorn[standard]'; } >>"$log" 2>&1; then
    versions+=("$("$python" --version)")
    for package in fastapi httpx uvicorn; do
        versions+=("$package $("$python" -m pip show "$package" 2>/dev/null | sed -n 's/^Version: //p')")
    done
    "${clean[@]}" "${on_proxy[@]}" "$python" "$here/proxy.py" "${free[2]}" \
        "http://127.0.0.1:$server" >"$work/python.out" 2>"$work/python.err" &
    join_in python "${free[2]}" $!
else
    skip python "$(grep -i error "$log" | tail -n 1 | cut -c 1-120)"
fi

# A process and its children.
family() {
    echo "$1"
    cat "/proc/$1/task/$1/children" 2>/dev/null
}

# MiB that a proxy holds.
memory() { # NAME
    local pid
    for pid in $(family "${pids[$1]}"); do sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\).*$/\1/p' "/proc/$pid/status"; done |
        awk '{ sum += $1 } END { printf "%.1f\n", sum / 1024 }'
}

# Microseconds of processor time that a proxy has taken.
spent() { # NAME
    local pid
    [ -n "${pids[$1]-}" ] || { echo 0 && return; }
    for pid in $(family "${pids[$1]}"); do sed 's/^.*) //' "/proc/$pid/stat"; done |
        awk -v ticks="$(getconf CLK_TCK)" '{ sum += $12 + $13 } END { printf "%d\n", sum * 1000000 / ticks }'
}

keep() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$results"; } # NAME WHAT NUMBER

# Requests for some seconds. Prints how many, microseconds, and their latencies; a single one that fails ends all.
load() { # NAME CONNECTIONS SECONDS
    local said
    said=$("${on_rest[@]}" wrk -t 1 -c "$2" -d "$3" --timeout 30s -s "$here/chat.lua" "http://127.0.0.1:${ports[$1]}/v1/chat/completions")
    sed -n 's/^run \(.*\) 0$/\1/p' <<<"$said" | grep . || {
        echo "requests through $1 failed: $said" >&2
        return 1
    }
}

measure() { # NAME
    local count took half most before after first first_most chunk chunk_most
    read -r count took half most < <(load "$1" 1 "$seconds")
    keep "$1" alone-50 "$half"
    keep "$1" alone-99 "$most"
    before=$(spent "$1")
    read -r count took half most < <(load "$1" "$AT_ONCE" "$seconds")
    after=$(spent "$1")
    keep "$1" rate "$(awk "BEGIN { print $count * 1000000 / $took }")"
    keep "$1" cpu "$(awk "BEGIN { print ($after - $before) / $count }")"
    keep "$1" crowd-50 "$half"
    keep "$1" crowd-99 "$most"
    read -r first first_most chunk chunk_most < <("${on_rest[@]}" "$bench" delay "${ports[$1]}")
    keep "$1" first-50 "$first"
    keep "$1" first-99 "$first_most"
    keep "$1" chunk-50 "$chunk"
    keep "$1" chunk-99 "$chunk_most"
}

measure_memory() { # NAME
    local count=0 more end pid
    keep "$1" memory-before "$(memory "$1")"
    end=$((SECONDS + REQUESTS_LIMIT))
    while [ "$count" -lt "$requests" ] && [ "$SECONDS" -lt "$end" ]; do
        read -r more _ < <(load "$1" "$AT_ONCE" 2)
        count=$((count + more))
    done
    keep "$1" memory-count "$count"
    keep "$1" memory-after "$(memory "$1")"
    # They stay open as long as there is something to read.
    mkfifo "$work/hold.in"
    "${on_rest[@]}" "$bench" hold "${ports[$1]}" "$STREAMS" <"$work/hold.in" >"$work/hold.out" 2>"$work/hold.err" &
    pid=$!
    exec 9>"$work/hold.in"
    if said hold "$pid" open >/dev/null; then
        keep "$1" memory-open "$(memory "$1")"
    fi
    exec 9>&-
    wait "$pid" || true
    sleep 1
    keep "$1" memory-closed "$(memory "$1")"
    rm "$work/hold.in"
}

load_before=$(loaded)
for name in "${names[@]}"; do load "$name" "$AT_ONCE" 1 >/dev/null; done
for ((round = 1; round <= rounds; round++)); do
    echo "round $round of $rounds" >&2
    for name in "${names[@]}"; do measure "$name"; done
done
for name in "${names[@]}"; do
    if [ -n "${pids[$name]-}" ]; then
        echo "memory of $name" >&2
        measure_memory "$name"
    fi
done

middle() { # NAME WHAT: the median
    awk -F '\t' -v name="$1" -v what="$2" '$1 == name && $2 == what { print $3 }' "$results" | sort -n |
        awk '{ all[NR] = $1 } END { if (NR) print (all[int((NR + 1) / 2)] + all[int((NR + 2) / 2)]) / 2 }'
}
whole() { middle "$1" "$2" | awk '{ printf "%.0f", $1 }'; }
millis() { middle "$1" "$2" | awk '{ printf "%.2f", $1 / 1000 }'; }
both() { echo "$(millis "$1" "$2-50") / $(millis "$1" "$2-99")"; }
# What comes on top of no proxy.
added() { # NAME WHAT
    [ "$1" != 'no proxy' ] || { echo - && return; }
    awk "BEGIN { printf \"%.3f / %.3f\", ($(middle "$1" "$2-50") - $(middle 'no proxy' "$2-50")) / 1000,
        ($(middle "$1" "$2-99") - $(middle 'no proxy' "$2-99")) / 1000 }"
}
ratio() { # NAME OTHER
    [ -n "${ports[$2]-}" ] || { echo - && return; }
    awk "BEGIN { printf \"%.2f ×\", $(middle "$1" rate) / $(middle "$2" rate) }"
}

tables=$kept/tables.md
{
    echo "Measured on $(date -u +%F) by \`benches/interceptor.sh\`, $rounds rounds of $seconds s:" \
        "$(machine), load $load_before at the start and $(loaded) at the end. $pinning"
    beside
    echo "Small JSON. Latencies are milliseconds, the median and what 99 of 100 stay below:"
    echo
    echo "| | a second, $AT_ONCE at once | beside nginx, keepalive | beside python | processor, µs each | $AT_ONCE at once, ms | one at a time, ms | added to no proxy, ms |"
    echo '|---|---|---|---|---|---|---|---|'
    for name in "${names[@]}"; do
        echo "| $name | $(whole "$name" rate) | $(ratio "$name" 'nginx, keepalive') | $(ratio "$name" python) | $(whole "$name" cpu) | $(both "$name" crowd) | $(both "$name" alone) | $(added "$name" alone) |"
    done
    echo
    echo "Streams, one after the other. From the request to the first chunk, and each other one from being sent to being read:"
    echo
    echo '| | first chunk, ms | added | other chunks, ms | added |'
    echo '|---|---|---|---|---|'
    for name in "${names[@]}"; do
        echo "| $name | $(both "$name" first) | $(added "$name" first) | $(both "$name" chunk) | $(added "$name" chunk) |"
    done
    echo
    echo "Memory (VmRSS of all its processes), MiB:"
    echo
    echo "| | after the rounds | and so many requests more | with $STREAMS streams open | when they are closed |"
    echo '|---|---|---|---|---|'
    for name in "${names[@]}"; do
        [ -n "${pids[$name]-}" ] || continue
        open=$(middle "$name" memory-open)
        echo "| $name | $(middle "$name" memory-before) | $(middle "$name" memory-after) ($(whole "$name" memory-count)) | ${open:-failed} | $(middle "$name" memory-closed) |"
    done
} >"$tables"
cat "$tables"
put interceptor "$tables"
