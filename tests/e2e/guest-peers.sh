# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=sh
#
# Runs in peers.sh's guest, typed into its shell by in-host-peers.sh. Every line for that one begins with @.
#   guest-peers.sh disk NAME     writes to /dev/NAME and compares, until /tmp/rest.NAME is there
#   guest-peers.sh through NAME  has /dev/NAME write through: what was written is there, whatever becomes of its server
#   guest-peers.sh sound NAME    compares all that was written there
#   guest-peers.sh files         writes files to the shared directory and compares, until one cannot be
#   guest-peers.sh kept          mounts that directory anew and compares all files that were whole
#   guest-peers.sh log           what the kernel says of errors
BLOCKS=64 # of 64 KiB

disk() {
    n=0
    while [ ! -e "/tmp/rest.$1" ]; do
        at=$((n % BLOCKS))
        head -c 65536 /dev/urandom >"/tmp/block.$1"
        dd if="/tmp/block.$1" of="/dev/$1" bs=64k seek=$at oflag=direct conv=notrunc 2>/dev/null || echo "@failed $1: write"
        dd if="/dev/$1" bs=64k skip=$at count=1 iflag=direct 2>/dev/null | cmp -s - "/tmp/block.$1" || echo "@failed $1: compare"
        sha256sum <"/tmp/block.$1" >"/tmp/sum.$1.$at"
        n=$((n + 1))
        echo "@$1 $n"
    done
    rm "/tmp/rest.$1"
    echo "@$1 rests"
}

through() {
    echo "write through" >"/sys/block/$1/cache_type" && grep -qx "write through" "/sys/block/$1/cache_type" ||
        echo "@failed $1 does not write through"
    echo "@$1 through"
}

sound() {
    for sum in "/tmp/sum.$1".*; do
        dd if="/dev/$1" bs=64k skip="${sum##*.}" count=1 iflag=direct 2>/dev/null | sha256sum | cmp -s - "$sum" ||
            echo "@failed $1: block ${sum##*.} is not what was written"
    done
    echo "@$1 sound"
}

files() {
    mkdir -p /fs
    mount -t virtiofs share /fs || echo "@failed mount"
    n=0
    while head -c 65536 /dev/urandom >/tmp/file && cp /tmp/file "/fs/$n" 2>/dev/null && cmp -s /tmp/file "/fs/$n"; do
        (cd /tmp && sha256sum <file >"/tmp/sum.fs.$n")
        n=$((n + 1))
        echo "@files $n"
    done
    echo "@files lost"
}

kept() {
    umount /fs && mount -t virtiofs share /fs || echo "@failed to mount again"
    for sum in /tmp/sum.fs.*; do
        sha256sum <"/fs/${sum##*.}" | cmp -s - "$sum" || echo "@failed file ${sum##*.}"
    done
    echo "@files sound"
}

log() {
    ! dmesg | grep -iE 'i/o error|blk_update_request|critical [a-z]+ error|hung|blocked for' || echo "@failed: the kernel has complained"
    echo "@log read"
}

"$@"
