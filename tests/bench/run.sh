#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# run.sh [--vmm PROGRAM] [--ours] [--raw FILE] [SECTION ...]
#
# What our VMM costs, beside QEMU's microvm (trixie's) and each of lkvm, cloud-hypervisor, firecracker, crosvm that is
# in PATH, and beside floor.c, which does nothing but start the guest. Counted, not timed: one instruction is one
# nanosecond in the emulated host (docs/benchmarks.md), so the numbers repeat and load on this machine changes nothing.
# Prints a table.
#   SECTION  null pio uart boot exits memory blk; default: all
#   --ours   our VMM and the floor only
#   --raw F  keep the lines the numbers come from
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

HERE=$ROOT/tests/bench
VMM='' OURS='' RAW='' SECTIONS=()
while (($#)); do
    case $1 in
    --vmm) VMM=$2 && shift ;;
    --ours) OURS=1 ;;
    --raw) RAW=$2 && shift ;;
    -*) die "unknown option $1" ;;
    *) SECTIONS+=("$1") ;;
    esac
    shift
done
((${#SECTIONS[@]})) || SECTIONS=(null pio uart boot exits memory blk)
[[ -n $VMM ]] || VMM=$(vmm_program amd64)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

FILES=() QEMU=() VMMS=(floor vmm)

# A program in PATH goes into the host with the libraries it needs.
add_peer() {
    local path lib
    path=$(command -v "$1") || return 0
    VMMS+=("${1//-/_}")
    FILES+=("$path:peers/$1")
    while read -r lib; do
        FILES+=("$lib:${lib#/}")
    done < <(ldd "$path" 2>/dev/null | grep -o '/[^ ]*' || true)
}

prepare() {
    local program kernel n
    "$ROOT/tests/e2e/fetch.sh" bookworm-cloud trixie-cloud --qemu
    mkdir -p "$BED/bench"
    for program in tiny floor measure guest_init; do
        newer "$BED/bench/$program" "$HERE/$program.c" ||
            gcc -D_GNU_SOURCE -std=gnu11 -O2 -static -s -Wall -Wextra -Werror -o "$BED/bench/$program" \
                "$HERE/$program.c"
    done
    for kernel in bookworm trixie; do
        "$ROOT/tests/e2e/initramfs.sh" bare "$kernel-cloud" "$BED/bench/$kernel.cpio" "$BED/bench/guest_init"
        "$ROOT/tests/e2e/initramfs.sh" bare "$kernel-cloud" "$BED/bench/$kernel-blk.cpio" "$BED/bench/guest_init" \
            virtio_pci virtio_mmio virtio_blk
        FILES+=("$KERNELS/$kernel-cloud/vmlinux:$kernel/vmlinux" "$BED/bench/$kernel.cpio:$kernel/init.cpio"
            "$BED/bench/$kernel-blk.cpio:$kernel/blk.cpio")
    done
    mkdir "$WORK/tiny"
    "$BED/bench/tiny" off "$WORK/tiny/off"
    for n in 1000 21000; do
        "$BED/bench/tiny" out 0x5e0 $n "$WORK/tiny/unclaimed-$n"
        "$BED/bench/tiny" out 0x3ff $n "$WORK/tiny/scratch-$n"
    done
    for n in 1600 17600; do
        "$BED/bench/tiny" polled $n "$WORK/tiny/polled-$n"
        "$BED/bench/tiny" fifo $n "$WORK/tiny/fifo-$n"
    done
    for n in "$WORK"/tiny/*; do FILES+=("$n:tiny/${n##*/}"); done
    yes 0123456789abcde | head -c 16M >"$WORK/disk.img" || true
    FILES+=("$BED/bench/floor:floor" "$BED/bench/measure:measure" "$WORK/disk.img:disk.img")
}

peers() {
    local peer
    vmm_in_host qemu-microvm "$WORK"
    FILES+=("$WORK/setup.sh:setup.sh")
    QEMU=("${VMM_QEMU[@]}")
    VMMS+=(microvm)
    for peer in lkvm cloud-hypervisor firecracker crosvm; do
        add_peer "$peer"
    done
}

# The table, from lines of measure.c and in-host.sh. A cost per item is the difference of two runs, divided.
table() {
    awk -v vmms="${VMMS[*]}" '
        { sub(/\r$/, "") }
        # Of several runs the one that was disturbed least.
        /^@(cost|calls|memory|exits) / { if (!($2 in value) || $3 < value[$2]) value[$2] = $3; if (/status=/) failed[$2] = $4 }
        function cell(name, scale) {
            if (!(name in value)) return "-"
            if (name in failed && name !~ /floor/) return "failed"
            return sprintf(scale == 1 ? "%d" : scale == 1000 ? "%.1f" : "%.3f", value[name] / scale)
        }
        function per(from, to, count) {
            if (!(from in value) || !(to in value)) return "-"
            if (from in failed || to in failed) return "failed"
            return sprintf("%.0f", (value[to] - value[from]) / count)
        }
        function row(title, kind, what, a, b,   i, text, any, c) {
            text = sprintf("| %-58s |", title)
            for (i = 1; i <= n; i++) {
                c = cell(what "/" v[i] "/" a, b)
                if (kind == "per") c = per(what "/" v[i] "/" a, what "/" v[i] "/" b, divisor)
                any = any || c != "-"
                text = text sprintf(" %16s |", c)
            }
            if (any) print text
        }
        END {
            n = split(vmms, v, " ")
            text = sprintf("| %-58s |", ""); rule = "|" sprintf("%60s", "") "|"; gsub(/ /, "-", rule)
            for (i = 1; i <= n; i++) {
                text = text sprintf(" %16s |", v[i])
                rule = rule "-----------------:|"
            }
            print text; print rule
            row("null guest, exec to exit, M instructions", "", "null", "off", 1000000)
            row("null guest, system calls", "", "null", "calls", 1)
            divisor = 20000
            row("port write, unclaimed, instructions", "per", "pio", "unclaimed-1000", "unclaimed-21000")
            row("port write, UART register, instructions", "per", "pio", "uart-1000", "uart-21000")
            divisor = 16000
            row("UART, bursts of 16, instructions per byte", "per", "uart", "fifo-1600", "fifo-17600")
            row("UART, polled, instructions per byte", "per", "uart", "polled-1600", "polled-17600")
            row("UART, Linux tty (interrupts), instructions per byte", "per", "uart", "tty-1600", "tty-17600")
            row("Linux 6.1 boot to init to off, M instructions", "", "boot", "full", 1000000)
            row("  without PCI", "", "boot", "nopci", 1000000)
            row("  without PCI and UART", "", "boot", "nopci-nouart", 1000000)
            row("  without PCI, I/O APIC of KVM, no RTC", "", "boot", "least", 1000000)
            row("exits to user space until init", "", "exits", "full", 1)
            row("  without PCI", "", "exits", "nopci", 1)
            row("  without PCI and UART", "", "exits", "nopci-nouart", 1)
            row("  without PCI, I/O APIC of KVM, no RTC", "", "exits", "least", 1)
            row("  without PCI and UART, I/O APIC of KVM, no RTC", "", "exits", "least-nouart", 1)
            row("memory beside 128 MiB of guest RAM, KiB", "", "memory", "idle", 1)
            divisor = 1000
            row("virtio-blk read of 4 KiB, Linux 6.1, instructions", "per", "blk", "bookworm-100", "bookworm-1100")
            row("virtio-blk read of 4 KiB, Linux 6.12, instructions", "per", "blk", "trixie-100", "trixie-1100")
        }' "$1"
}

prepare
[[ -n $OURS ]] || peers
printf '%s\n' "${VMMS[@]}" >"$WORK/vmms"
printf '%s\n' "${SECTIONS[@]}" >"$WORK/sections"
"$ROOT/tests/e2e/host.sh" --count --timeout 1500 "$HERE/in-host.sh" "$VMM:vmm" "$WORK/vmms:vmms" \
    "$WORK/sections:sections" "${FILES[@]}" -- ${QEMU[@]+"${QEMU[@]}"} >"$WORK/log" ||
    die "the host ended with $?: $(tail -5 "$WORK/log")"
[[ -z $RAW ]] || grep -a '^@' "$WORK/log" >"$RAW"
grep -aq '^@finished' "$WORK/log" || die "not finished: $(tail -5 "$WORK/log")"
table "$WORK/log"
