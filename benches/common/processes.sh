# shellcheck shell=bash
# What scripts have in common that start programs: sourced by benches/interceptor.sh and tests/interceptor-clients.sh.
# The processes, and the directory `work`, are gone when the script ends.

# The longest until a program says what is waited for, seconds. LiteLLM takes its time.
START_LIMIT=120

work=

clean_up() {
    local pids
    # Those that run still: the number of one that has ended may be another's by now.
    mapfile -t pids < <(jobs -pr)
    if [ ${#pids[@]} != 0 ]; then
        kill "${pids[@]}" 2>/dev/null || true
        wait "${pids[@]}" 2>/dev/null || true
    fi
    [ -z "$work" ] || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
work=$(mktemp -d)

# Nothing of the user's environment reaches what is started.
mkdir "$work/home"
# shellcheck disable=SC2034
clean=(env -i "PATH=$PATH" "HOME=$work/home" PYTHONDONTWRITEBYTECODE=1)

# Waits until a program says something in `$work/NAME.out`, and prints that; fails where it has ended.
said() { # NAME PID PATTERN
    local left
    for ((left = START_LIMIT * 10; left > 0; left--)); do
        grep -sohEm 1 "$3" "$work/$1.out" && return
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    echo "$1 did not say $3:" >&2
    tail -n 20 "$work/$1.err" >&2
    return 1
}
