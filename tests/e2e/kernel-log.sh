#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# kernel-log.sh FILE                   the lines of level warning or worse in a guest's `dmesg -r`, numbers as N, sorted
# kernel-log.sh FILE KERNEL MACHINE... those of them that no kernel of this suite says under any of these MACHINEs of QEMU
# kernel-log.sh --collect [KERNEL...]  writes kernel-log.allow anew (for these kernels): what they say under QEMU in the same
#                                      emulated host. What our machine makes them say beyond it is a defect of ours.
# A line of kernel-log.allow is MACHINE KERNEL TEXT. MACHINE: q35, microvm, microvm-pcie (ECAM only, as ours); for ...-arm64
# virt, which runs on this machine without a host around it.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

ALLOW=$ROOT/tests/e2e/kernel-log.allow
# What a kernel says when its processor was away for a while: on any machine, if the emulated host is busy.
busy() {
    local tsc
    cat <<'END'
hrtimer: interrupt took N ns
clocksource: Long readout interval, skipping watchdog check: cs_nsec: N wd_nsec: N
clocksource:                       'kvm-clock' wd_nsec: N wd_now: N wd_last: N mask: N
Unstable clock detected, switching default tracing clock to "global"
If you want to keep using the local clock, then add:
  "trace_clock=local"
on the kernel command line
END
    for tsc in tsc tsc-early; do
        cat <<END
clocksource: timekeeping watchdog on CPUN: Marking clocksource '$tsc' as unstable because the skew is too large:
clocksource:                       '$tsc' cs_nsec: N cs_now: N cs_last: N mask: N
clocksource:                       Clocksource '$tsc' skewed -N ns (-N ms) over watchdog 'kvm-clock' interval of N ns (N ms)
clocksource:                       Clocksource '$tsc' skewed N ns (N ms) over watchdog 'kvm-clock' interval of N ns (N ms)
clocksource:                       'kvm-clock' (not '$tsc') is current clocksource.
END
    done
}

# <N>[ time] text: N is facility * 8 + level; the kernel's own facility is 0, levels 0-4 are warning and worse.
warnings() {
    sed -n 's/^<[0-4]>\[ *[0-9.]*\] //p' "$1" |
        sed -E 's/0x[0-9a-f]+/N/g; s/\b[0-9a-f]{8,16}\b/N/g; s/[0-9]+/N/g; s/ +$//' | LC_ALL=C sort -u
}

# beyond FILE KERNEL MACHINE...
beyond() {
    local file=$1 kernel=$2 machine arm=''
    [[ $kernel != *-arm64 ]] || arm=1
    shift 2
    {
        busy
        for machine in "$@"; do
            sed -n "s/^$machine ${kernel%%-*}-[a-z]*${arm:+-arm64} //p" "$ALLOW"
        done
    } | grep -vxFf - <(warnings "$file") || (($? == 1))
}

collect_one() {
    local kernel=$1 machine=$2 work=$3
    # A kernel without a serial port says what it says with one, and that it has no console at first.
    "$ROOT/tests/e2e/boot.sh" --vmm "qemu-$machine" --report "$work/report" "$kernel:vmlinux:1:256:hvc0:disk:poweroff" >&2
    warnings "$work/report/dmesg" | { grep -vxFf <(busy) || true; } | sed "s/^/$machine $kernel /" >>"$work/all"
}

# What a kernel for AArch64 says under QEMU's virt machine: the same initramfs, and power off when it is up.
collect_arm() {
    local kernel=$1 work=$2
    "$ROOT/tests/e2e/fetch.sh" "$kernel"
    "$ROOT/tests/e2e/initramfs.sh" guest "$kernel" "$BED/guest-$kernel.cpio"
    mkdir -p "$work/root"
    echo 'echo @log-begin; dmesg -r; echo @log-end' >"$work/root/run.sh"
    { cat "$BED/guest-$kernel.cpio" && cpio_of "$work/root"; } >"$work/initramfs"
    truncate -s 4M "$work/disk"
    timeout 300 qemu-system-aarch64 -M virt,gic-version=3,its=on -cpu neoverse-n1 -smp 2 -m 512 -display none -nodefaults \
        -chardev stdio,id=tty,signal=off -device virtio-serial-pci -device virtconsole,chardev=tty -no-reboot -kernel "$KERNELS/$kernel/vmlinuz" -initrd "$work/initramfs" \
        -drive "if=none,id=d,format=raw,file=$work/disk" -device virtio-blk-pci,drive=d -device virtio-rng-pci \
        -append "console=hvc0 quiet panic=-1" </dev/null | tr -d '\r' | sed -n '/^@log-begin/,/^@log-end/p' >"$work/dmesg"
    warnings "$work/dmesg" | { grep -vxFf <(busy) || true; } | sed "s/^/virt $kernel /" >>"$work/all"
}

collect() {
    local machine kernel work
    (($#)) || set -- {bookworm,trixie}-cloud {bookworm,trixie}-cloud-arm64
    work=$(mktemp -d)
    cp "$ALLOW" "$work/all"
    for kernel in "$@"; do
        sed -i "/^[^ ]* $kernel /d" "$work/all"
        if [[ $kernel = *-arm64 ]]; then
            collect_arm "$kernel" "$work"
            continue
        fi
        for machine in q35 microvm microvm-pcie; do
            collect_one "$kernel" "$machine" "$work"
        done
    done
    LC_ALL=C sort -u "$work/all" >"$ALLOW"
    rm -rf "$work"
}

case $1 in
--collect) shift && collect "$@" ;;
*) if (($# > 1)); then beyond "$@"; else warnings "$1"; fi ;;
esac
