#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# kernel-log.sh FILE       the lines of level warning or worse in a guest's `dmesg -r`, numbers as N, sorted
# kernel-log.sh --collect  writes kernel-log.allow anew: what these kernels say under QEMU's q35 and microvm in the
#                          same emulated host. What our machine makes them say beyond it is a defect of ours.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

ALLOW=$ROOT/tests/e2e/kernel-log.allow

# <N>[ time] text: N is facility * 8 + level; the kernel's own facility is 0, levels 0-4 are warning and worse.
warnings() {
    sed -n 's/^<[0-4]>\[ *[0-9.]*\] //p' "$1" |
        sed -E 's/0x[0-9a-f]+/N/g; s/\b[0-9a-f]{8,16}\b/N/g; s/[0-9]+/N/g; s/ +$//' | LC_ALL=C sort -u
}

collect() {
    local machine kernel cpus console work
    work=$(mktemp -d)
    for kernel in bookworm-cloud trixie-cloud; do
        for machine in q35 microvm; do
            for cpus in 1 2; do
                console=serial
                [[ $cpus = 1 ]] || console=hvc0
                "$ROOT/tests/e2e/boot.sh" --vmm "qemu-$machine" --report "$work/report" \
                    "$kernel:vmlinux:$cpus:256:$console:disk:poweroff" >&2
                warnings "$work/report/dmesg" >>"$work/all"
            done
        done
    done
    LC_ALL=C sort -u "$work/all" >"$ALLOW"
    rm -rf "$work"
}

case $1 in
--collect) collect ;;
*) warnings "$1" ;;
esac
