#!/usr/bin/env bash
# Tries portclaim on real NFS mounts, version 3 and 4.2: a kernel's own server and two clients of it, in
# a small virtual machine that this script makes from Debian's packages and boots.
#
#     tests/nfs-guest.sh
#
# Prints a line for each check (tests/nfs-guest/init makes them, inside the machine), and what there
# is to know besides. Exit code 0 where all hold, or where it was SKIPPED, which says why; 1 where one fails.
#
# Needs Linux on x86-64 and Debian's package tools; neither root nor an installation: packages are
# unpacked below target/. The machine has no network but its own. PORTCLAIM names a static program to try,
# else a release build is made. NFS_GUEST_ACCEL=tcg does without /dev/kvm.
set -euo pipefail
cd "$(dirname "$0")/.."

# The longest that the machine may run, seconds. Emulated, it takes ten minutes or so.
LIMIT=3600

# The longest until it tells something, where KVM runs it.
START_LIMIT=30

# What the guest consists of, with the libraries that these need.
GUEST_PACKAGES='nfs-kernel-server nfs-common rpcbind strace util-linux'
GUEST_FILES='usr/sbin/rpc.nfsd usr/sbin/rpc.mountd usr/sbin/exportfs sbin/rpcbind usr/bin/strace usr/bin/flock'
MODULES='virtio_pci virtio_blk veth nfsd nfs nfsv3 nfsv4 lockd'

work=${CARGO_TARGET_DIR:-target}/nfs-guest
mkdir -p "$work"
work=$(cd "$work" && pwd)
machine=

skip() {
    printf 'SKIPPED: %s\n' "$1"
    exit 0
}

clean_up() {
    if [ -n "$machine" ] && kill "$machine" 2>/dev/null; then
        wait "$machine" || true
    fi
    # What was downloaded and unpacked stays, for the next time.
    rm -rf "$work/root" "$work/initrd" "$work/disk" "$work/download"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Downloads packages into a folder of this name and unpacks them there; nothing is done for those that
# are there already.
unpack() { # NAME PACKAGE...
    local name=$1 package
    shift
    mkdir -p "$work/$name/packages"
    for package in "$@"; do
        [ -e "$work/$name/packages/$package" ] && continue
        rm -rf "$work/download"
        mkdir "$work/download"
        (cd "$work/download" && apt-get -qq -o APT::Sandbox::User= download "$package") >"$work/apt.log" 2>&1 ||
            skip "the package $package cannot be downloaded: $(tail -n 1 "$work/apt.log")"
        dpkg-deb -x "$work/download/"*.deb "$work/$name"
        touch "$work/$name/packages/$package"
    done
}

# Prints the packages that these need and that are libraries or their data.
libraries() {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "$@" | grep -E '^(lib|netbase)' | grep -vE '^lib.*(perl|python)' | sort -u
}

# Prints the packages that an installation would add.
missing() {
    apt-get install --simulate --no-install-recommends "$@" 2>/dev/null | awk '/^Inst /{ print $2 }'
}

find_program() {
    program=${PORTCLAIM:-}
    if [ -z "$program" ]; then
        cargo build --quiet --release --locked
        program=${CARGO_TARGET_DIR:-target}/$(rustc -vV | sed -n 's/^host: //p')/release/portclaim
    fi
}

find_emulator() {
    emulator=(qemu-system-x86_64)
    command -v qemu-system-x86_64 >/dev/null && return
    local packages
    packages=$(missing qemu-system-x86)
    [ -n "$packages" ] || skip 'no qemu-system-x86_64 here, and no package of it'
    # shellcheck disable=SC2086
    unpack qemu $packages
    local usr=$work/qemu/usr
    emulator=(env "LD_LIBRARY_PATH=$usr/lib/x86_64-linux-gnu:$work/qemu/lib/x86_64-linux-gnu" "$usr/bin/qemu-system-x86_64"
        -L "$usr/share/qemu" -L "$usr/share/seabios")
}

find_packages() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "Debian's package tools are not here"
    if ! apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1; then
        [ "$(id -u)" = 0 ] && apt-get -qq update >/dev/null 2>&1 || skip 'no package lists here (apt-get update)'
    fi
    local kernel
    kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/{ print $2; exit }')
    [ -n "$kernel" ] || skip 'no package linux-image-cloud-amd64'
    unpack kernel "$kernel"
    version=${kernel#linux-image-}
    # shellcheck disable=SC2046,SC2086
    unpack guest busybox-static $GUEST_PACKAGES $(libraries $GUEST_PACKAGES)
    busybox=$work/guest/bin/busybox
}

# Copies a program of the guest packages, and what the loader says that it needs, to the guest's root.
install_program() {
    local from=$work/guest to=$work/root loader path
    loader=$from/lib64/ld-linux-x86-64.so.2
    # The package's link may lead to the host's own.
    [ -L "$loader" ] && loader=$from/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
    install -D "$from/$1" "$to/$1"
    for path in $("$loader" --library-path "$from/lib/x86_64-linux-gnu:$from/usr/lib/x86_64-linux-gnu" \
        --list "$from/$1" | awk '$2 == "=>" { print $3 }'); do
        cp -Ln "$path" "$to/lib/x86_64-linux-gnu/"
    done
    cp -Ln "$loader" "$to/lib64/ld-linux-x86-64.so.2"
}

make_root() {
    local root=$work/root name file
    rm -rf "$root"
    mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,etc,proc,sys,dev,run,tmp,export,mnt,lib64,lib/x86_64-linux-gnu} \
        "$root/var/lib/nfs/rpc_pipefs" "$root/var/lib/nfs/sm"
    for name in $("$busybox" --list); do
        ln -s busybox "$root/bin/$name"
    done
    rm -f "$root/bin/busybox"
    cp "$busybox" "$root/bin/"
    for file in $GUEST_FILES; do
        rm -f "$root/$file" "$root/bin/${file##*/}"
        install_program "$file"
    done
    cp "$work/guest/etc/"{netconfig,services,protocols,rpc} "$root/etc/" 2>/dev/null || true
    for name in $MODULES; do
        awk -v name="/$name.ko" 'index($1, name) { sub(":", "", $1); print $1; for (i = 2; i <= NF; i++) print $i }' \
            "$work/modules.dep"
    done | sort -u | while read -r file; do
        install -D "$work/kernel/lib/modules/$version/$file" "$root/lib/modules/$version/$file"
    done
    "$busybox" depmod -b "$root" "$version"
    install "$program" "$root/bin/portclaim"
    install tests/nfs-guest/init "$root/init"
    install tests/nfs-guest/burst "$root/bin/burst"
    (cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initrd"
}

make_disk() {
    rm -f "$work/disk"
    truncate --size 256M "$work/disk"
    PATH="$PATH:/usr/sbin:/sbin" mke2fs -q -t ext4 "$work/disk" || skip 'mke2fs (e2fsprogs) is not to be had'
}

accelerator() {
    if [ "${NFS_GUEST_ACCEL:-}" ]; then
        echo "$NFS_GUEST_ACCEL"
    elif [ -w /dev/kvm ]; then
        echo kvm
    else
        echo tcg
    fi
}

# Waits for the first words of the machine.
has_started() {
    local second
    for ((second = 0; second < START_LIMIT; second++)); do
        [ ! -s "$work/told" ] || return 0
        kill -0 "$machine" 2>/dev/null || return 1
        ! grep -q 'KVM internal error' "$work/emulator-kvm" || return 1
        sleep 1
    done
    return 1
}

boot() { # ACCELERATOR
    local options
    options=(-nodefaults -no-user-config -display none -nic none -no-reboot -smp 2 -m 1024)
    case $1 in
    # Where a hypervisor lies below this one, that instruction may be more than it can do.
    kvm) options+=(-accel kvm -cpu 'host,-cx16') ;;
    *) options+=(-accel tcg -cpu max) ;;
    esac
    options+=(-kernel "$work/kernel/boot/vmlinuz-$version" -initrd "$work/initrd")
    options+=(-append "console=ttyS0 panic=-1 quiet")
    # The first line is the kernel's, the second one carries what init tells.
    options+=(-serial "file:$work/console-$1" -serial "file:$work/told")
    options+=(-drive "file=$work/disk,format=raw,if=virtio")
    : >"$work/told"
    timeout --foreground "$LIMIT" "${emulator[@]}" "${options[@]}" 2>"$work/emulator-$1" &
    machine=$!
    if [ "$1" = kvm ] && ! has_started; then
        # A machine that KVM cannot go on with stays, and does nothing.
        kill "$machine" 2>/dev/null || true
    else
        tail --pid="$machine" -n +1 -s 0.2 -f "$work/told" | sed -u 's,\r$,,'
    fi
    wait "$machine" || true
    machine=
}

[ "$(uname -s) $(uname -m)" = 'Linux x86_64' ] || skip 'the machine is made for Linux on x86-64'
find_packages
find_emulator
find_program
"$busybox" depmod -n -b "$work/kernel" "$version" 2>/dev/null | grep '\.ko.*:' >"$work/modules.dep"
make_root
make_disk
accelerator=$(accelerator)
boot "$accelerator"
if [ "$accelerator" = kvm ] && [ ! -s "$work/told" ]; then
    echo 'it does not start with KVM, and is emulated'
    make_disk
    boot tcg
fi
if ! grep -q '^verdict: ' "$work/told"; then
    echo 'FAILED: the machine did not come to an end'
    cat "$work"/emulator-*
    tail -n 30 "$work"/console-*
    exit 1
fi
grep -q '^verdict: .* 0 failed' "$work/told"
