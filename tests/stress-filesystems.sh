#!/usr/bin/env bash
# Runs `portclaim stress` on every file system that can be had here: ext4, xfs and btrfs in
# images of their own, tmpfs, and an overlay.
#
#     tests/stress-filesystems.sh [SECONDS]      60 on each by default
#
# Needs root, to mount; nothing stays mounted. Prints a line for each file system: what was done, a
# violation, or SKIPPED and why. PORTCLAIM names the program, else a release build is made. Missing
# mkfs tools are installed with apt-get where there is one. Exit code 1 where a violation was found.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
work=
failed=0

skipped() { printf '%-6s SKIPPED: %s\n' "$1" "$2"; }

if [ "$(id -u)" != 0 ]; then
    skipped all 'only root can mount'
    exit 0
fi

portclaim=${PORTCLAIM:-}
if [ -z "$portclaim" ]; then
    cargo build --quiet --release --locked
    host=$(rustc -vV | sed -n 's/^host: //p')
    portclaim=${CARGO_TARGET_DIR:-target}/$host/release/portclaim
fi

clean_up() {
    [ -n "$work" ] || return 0
    # The last one that was mounted first.
    for name in overlay base tmpfs btrfs xfs ext4; do
        while mountpoint -q "$work/$name" && umount "$work/$name"; do :; done
    done
    # What could not be unmounted is not to be emptied.
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
work=$(mktemp -d)

# Says what `stress` says in the directory, and keeps its words where they are of a violation.
try() {
    local name=$1 directory=$2 said code=0
    said=$("$portclaim" stress --seconds "$seconds" --dir "$directory" 2>&1) || code=$?
    if [ "$code" = 0 ]; then
        printf '%-6s %s\n' "$name" "$(sed -n '/^clean: /p' <<<"$said")"
    else
        printf '%-6s FAILED with the exit code %s\n%s\n' "$name" "$code" "$said"
        failed=1
    fi
}

# Makes sure that there is a program, if that is possible.
have() {
    command -v "$1" >/dev/null && return
    command -v apt-get >/dev/null || return 1
    { apt-get update && apt-get install -y --no-install-recommends "$2"; } >/dev/null 2>&1 || return 1
    command -v "$1" >/dev/null
}

image() {
    local name=$1 package=$2 why
    if ! have "mkfs.$name" "$package"; then
        skipped "$name" "mkfs.$name ($package) is not to be had"
        return
    fi
    mkdir "$work/$name"
    truncate --size 1G "$work/$name.img"
    if ! why=$("mkfs.$name" -q "$work/$name.img" 2>&1); then
        skipped "$name" "mkfs.$name: $why"
    elif ! why=$(mount -t "$name" -o loop "$work/$name.img" "$work/$name" 2>&1); then
        skipped "$name" "mount: $why"
    else
        try "$name" "$work/$name"
        umount "$work/$name"
    fi
    rm -f "$work/$name.img"
}

in_memory() {
    local why
    mkdir "$work/tmpfs" "$work/base" "$work/overlay"
    if ! why=$(mount -t tmpfs portclaim "$work/tmpfs" 2>&1); then
        skipped tmpfs "mount: $why"
    else
        try tmpfs "$work/tmpfs"
        umount "$work/tmpfs"
    fi
    # An overlay's upper directory cannot lie on an overlay, as the disk of a container may be.
    if ! why=$(mount -t tmpfs portclaim "$work/base" 2>&1); then
        skipped overlay "mount of its base: $why"
        return
    fi
    mkdir "$work/base/lower" "$work/base/upper" "$work/base/work"
    local options="lowerdir=$work/base/lower,upperdir=$work/base/upper,workdir=$work/base/work"
    if ! why=$(mount -t overlay -o "$options" portclaim "$work/overlay" 2>&1); then
        skipped overlay "mount: $why"
    else
        try overlay "$work/overlay"
    fi
}

image ext4 e2fsprogs
image xfs xfsprogs
image btrfs btrfs-progs
in_memory
exit "$failed"
