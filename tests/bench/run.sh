#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# run.sh [--arch x86_64|aarch64] [--vmm PROGRAM] [--ours] [--raw FILE] [SECTION ...]
#
# What our VMM costs (as it is, with devices on its threads, without filters too; a disk of `vmm device`'s), beside QEMU's microvm (trixie's; for the network its q35, for AArch64 its virt machine) and each of lkvm, cloud-hypervisor,
# firecracker, crosvm that is in PATH (not for AArch64), and beside floor.c, which does nothing but start the guest. Counted, not timed: one instruction is one
# nanosecond in the emulated host (docs/benchmarks.md), so the numbers repeat and load on this machine changes nothing.
# Prints a table.
#   SECTION  null pio uart boot exits memory idle blk net vhost vsock start; default: all
#   --ours   our VMM and the floor only
#   --raw F  keep the lines the numbers come from
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

HERE=$ROOT/tests/bench
ARCH=$NATIVE VMM='' OURS='' RAW='' SECTIONS=()
while (($#)); do
    case $1 in
    --arch) ARCH=$2 && shift ;;
    --vmm) VMM=$2 && shift ;;
    --ours) OURS=1 ;;
    --raw) RAW=$2 && shift ;;
    -*) die "unknown option $1" ;;
    *) SECTIONS+=("$1") ;;
    esac
    shift
done
((${#SECTIONS[@]})) || SECTIONS=(null pio uart boot exits memory idle blk net vhost vsock start)
# GCC makes static programs of the host's architecture. UNCLAIMED is nobody's and SCRATCH a register of the UART where a write
# does nothing: ports, or addresses.
case $ARCH in
x86_64)
    DEBIAN=amd64 SUFFIX='' IMAGE=vmlinux BENCH=$BED/bench GCC=(gcc) PROGRAMS=(tiny floor measure guest_init net_peer)
    UNCLAIMED=0x5e0 SCRATCH=0x3ff UART=0x3f8 ACCESS="port write" LEAST="without PCI, I/O APIC of KVM, no RTC"
    ;;
aarch64)
    DEBIAN=arm64 SUFFIX=-arm64 IMAGE=vmlinuz BENCH=$BED/bench-arm64 PROGRAMS=(floor measure guest_init net_peer)
    GCC=(aarch64-linux-gnu-gcc)
    [[ $NATIVE = aarch64 ]] || GCC+=("--sysroot=$BED/sysroot-arm64")
    UNCLAIMED=0x09800000 SCRATCH=0x09000024 UART=0x09000000 ACCESS="memory write" LEAST="without PCI, no RTC"
    ;;
*) die "--arch $ARCH: x86_64 or aarch64" ;;
esac
[[ -n $VMM ]] || VMM=$(vmm_program "$DEBIAN")
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# HOST and PEER are of QEMU's run alone.
FILES=() PEER=() HOST=() VMMS=(floor vmm vmm_thread vmm_off vmm_socket)

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

# sources_of PROGRAM: its own for the architecture, if there is one.
sources_of() {
    local own=$HERE/$1_$ARCH.c
    if [[ -e $own ]]; then echo "$own"; else echo "$HERE/$1.c"; fi
    [[ $1 != guest_init ]] || echo "$HERE/guest_net.c"
}

programs() {
    local program sources
    mkdir -p "$BENCH"
    for program in "${PROGRAMS[@]}"; do
        mapfile -t sources < <(sources_of "$program")
        newer "$BENCH/$program" "${sources[@]}" ||
            "${GCC[@]}" -D_GNU_SOURCE -std=gnu11 -O2 -static -s -Wall -Wextra -Werror -o "$BENCH/$program" "${sources[@]}" -lfdt
    done
}

# tiny_ARCH KIND AT COUNT FILE: the smallest kernel that does that; tiny.c and tiny_aarch64.S say what.
tiny_x86_64() {
    local kind=$1 at=$2 count=$3 file=$4
    case $kind in
    off) "$BENCH/tiny" off "$file" ;;
    polled | fifo) "$BENCH/tiny" "$kind" "$count" "$file" ;;
    *) "$BENCH/tiny" out "$at" "$count" "$file" ;;
    esac
}

tiny_aarch64() {
    local kind=1 at=$2 count=$3 file=$4
    case $1 in
    off) kind=0 ;;
    polled) kind=2 ;;
    fifo) kind=3 ;;
    esac
    "${GCC[@]}" -nostdlib -static -Wl,--build-id=none,-Ttext=0 -Wa,--defsym,KIND=$kind,--defsym,AT="$at",--defsym,COUNT="$count" \
        -o "$file.elf" "$HERE/tiny_aarch64.S"
    aarch64-linux-gnu-objcopy -O binary -j .text "$file.elf" "$file"
    rm "$file.elf"
}

tiny_kernels() {
    local n
    mkdir "$WORK/tiny"
    "tiny_$ARCH" off 0 0 "$WORK/tiny/off"
    for n in 1000 21000; do
        "tiny_$ARCH" unclaimed $UNCLAIMED $n "$WORK/tiny/unclaimed-$n"
        "tiny_$ARCH" scratch $SCRATCH $n "$WORK/tiny/scratch-$n"
    done
    for n in 1600 17600; do
        "tiny_$ARCH" polled $UART $n "$WORK/tiny/polled-$n"
        "tiny_$ARCH" fifo $UART $n "$WORK/tiny/fifo-$n"
    done
    for n in "$WORK"/tiny/*; do FILES+=("$n:tiny/${n##*/}"); done
}

prepare() {
    local kernel name
    "$ROOT/tests/e2e/fetch.sh" {bookworm,trixie}-cloud$SUFFIX
    [[ $ARCH = "$NATIVE" ]] || "$ROOT/tests/arm/sysroot.sh" >/dev/null
    programs
    tiny_kernels
    for kernel in bookworm trixie; do
        name=$kernel-cloud$SUFFIX
        "$ROOT/tests/e2e/initramfs.sh" bare "$name" "$BENCH/$kernel.cpio" "$BENCH/guest_init"
        "$ROOT/tests/e2e/initramfs.sh" bare "$name" "$BENCH/$kernel-blk.cpio" "$BENCH/guest_init" \
            virtio_pci virtio_mmio virtio_blk
        FILES+=("$KERNELS/$name/$IMAGE:$kernel/kernel" "$BENCH/$kernel.cpio:$kernel/init.cpio"
            "$BENCH/$kernel-blk.cpio:$kernel/blk.cpio")
    done
    "$ROOT/tests/e2e/initramfs.sh" bare "bookworm-cloud$SUFFIX" "$BENCH/net.cpio" "$BENCH/guest_init" virtio_pci virtio_mmio virtio_net vmw_vsock_virtio_transport
    FILES+=("$BENCH/net.cpio:bookworm/net.cpio" "$BENCH/net_peer:net_peer")
    yes 0123456789abcde | head -c 16M >"$WORK/disk.img" || true
    FILES+=("$BENCH/floor:floor" "$BENCH/measure:measure" "$WORK/disk.img:disk.img")
}

# In memory, not on a disk: what a disk takes is no number of instructions.
peers_aarch64() {
    "$ROOT/tests/e2e/fetch.sh" --qemu-arm64
    "$ROOT/tests/e2e/initramfs.sh" host bookworm-cloud-arm64 "$BED/host-aarch64.cpio"
    "$ROOT/tests/e2e/initramfs.sh" qemu-arm64 "$BED/qemu-arm64.cpio"
    cat "$BED/host-aarch64.cpio" "$BED/qemu-arm64.cpio" >"$WORK/host.cpio"
    HOST+=(--initramfs "$WORK/host.cpio")
    VMMS+=(virt)
}

peers_x86_64() {
    local peer
    "$ROOT/tests/e2e/fetch.sh" --qemu
    vmm_in_host qemu-microvm "$WORK"
    PEER=("$WORK/setup.sh:setup.sh" -- "${VMM_QEMU[@]}")
    cat "$BED/qemu.img" >/dev/null # time jumps while the host waits for its disk
    VMMS+=(microvm q35)
    for peer in lkvm cloud-hypervisor firecracker crosvm; do
        add_peer "$peer"
    done
}

# The table, from lines of measure.c and in-host.sh. A cost per item is the difference of two runs, divided.
table() {
    awk -v vmms="${VMMS[*]}" -v access="$ACCESS" -v least="$LEAST" '
        { sub(/\r$/, "") }
        # Of several runs the one that was disturbed least.
        /^@(cost|calls|memory|wakes|exits) / { if (!($2 in value) || $3 < value[$2]) value[$2] = $3; if (/status=/) failed[$2] = $4 }
        # Of the processes of jailed devices, the mean.
        /^@start / { sum[$2] += $3; times[$2]++; value[$2] = 1000 * sum[$2] / times[$2] }
        # In the order of their numbers, so that the VMM comes first.
        /^@process / && $2 !~ /\/vmm-spawner$/ && seen[$2]++ {
            where = $2; sub(/\/[^\/]*$/, "", where)
            own[where] += $3; tables[where] += $4; times[where]++
            value[where "-own"] = own[where] / times[where]; value[where "-tables"] = tables[where] / times[where]
        }
        function cell(name, scale) {
            if (!(name in value)) return "-"
            if (name in failed && name !~ /floor/) return "failed"
            return sprintf(scale == 1 ? "%d" : scale == 1000 ? "%.1f" : "%.3f", value[name] / scale)
        }
        function per(from, to, count, format) {
            if (!(from in value) || !(to in value)) return "-"
            if (from in failed || to in failed) return "failed"
            return sprintf(format ? format : "%.0f", (value[to] - value[from]) / count)
        }
        function row(title, kind, what, a, b, format,   i, text, any, c) {
            text = sprintf("| %-58s |", title)
            for (i = 1; i <= n; i++) {
                c = cell(what "/" v[i] "/" a, b)
                if (kind == "per") c = per(what "/" v[i] "/" a, what "/" v[i] "/" b, divisor, format)
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
            row(access ", unclaimed, instructions", "per", "pio", "unclaimed-1000", "unclaimed-21000")
            row(access ", UART register, instructions", "per", "pio", "uart-1000", "uart-21000")
            divisor = 16000
            row("UART, bursts of 16, instructions per byte", "per", "uart", "fifo-1600", "fifo-17600")
            row("UART, polled, instructions per byte", "per", "uart", "polled-1600", "polled-17600")
            row("UART, Linux tty (interrupts), instructions per byte", "per", "uart", "tty-1600", "tty-17600")
            row("Linux 6.1 boot to init to off, M instructions", "", "boot", "full", 1000000)
            row("  without PCI", "", "boot", "nopci", 1000000)
            row("  without PCI and UART", "", "boot", "nopci-nouart", 1000000)
            row("  " least, "", "boot", "least", 1000000)
            row("exits to user space until init", "", "exits", "full", 1)
            row("  without PCI", "", "exits", "nopci", 1)
            row("  without PCI and UART", "", "exits", "nopci-nouart", 1)
            row("  " least, "", "exits", "least", 1)
            row("  " least ", no UART", "", "exits", "least-nouart", 1)
            row("memory beside 128 MiB of guest RAM, KiB", "", "memory", "idle", 1)
            row("  a jailed device: private, KiB", "", "memory", "idle-own", 1)
            row("  and page tables, KiB", "", "memory", "idle-tables", 1)
            row("a jailed device, clone to exec, M instructions", "", "start", "exec", 1000000)
            row("  clone to its loop, M instructions", "", "start", "loop", 1000000)
            divisor = 4000000
            row("  from start to end, with what the VMM does, M instructions", "per", "start", "disks-1", "disks-5", "%.3f")
            row("idle guest, disk and network, wake-ups in 10 s", "", "idle", "10s", 1)
            divisor = 1000
            row("virtio-blk read of 4 KiB, Linux 6.1, instructions", "per", "blk", "bookworm-100", "bookworm-1100")
            row("virtio-blk read of 4 KiB, Linux 6.12, instructions", "per", "blk", "trixie-100", "trixie-1100")
            divisor = 10000
            row("virtio-net, shortest frames sent, instructions each", "per", "net", "udp-1000", "udp-11000")
            divisor = 2000
            row("virtio-net, request and response, instructions", "per", "net", "rr-100", "rr-2100")
            divisor = 16384 * 1024
            row("virtio-net, TCP sent, instructions per byte", "per", "net", "out-1024", "out-17408", "%.2f")
            row("virtio-net, TCP received, instructions per byte", "per", "net", "in-1024", "in-17408", "%.2f")
            divisor = 10000
            row("vhost-net, shortest frames sent, instructions each", "per", "vhost", "udp-1000", "udp-11000")
            divisor = 2000
            row("vhost-net, request and response, instructions", "per", "vhost", "rr-100", "rr-2100")
            row("virtio-vsock, Unix sockets, request and response", "per", "vsock", "socket-vrr-100", "socket-vrr-2100")
            row("vhost-vsock, request and response, instructions", "per", "vsock", "vhost-vrr-100", "vhost-vrr-2100")
            divisor = 16384 * 1024
            row("vhost-net, TCP sent, instructions per byte", "per", "vhost", "out-1024", "out-17408", "%.2f")
            row("vhost-net, TCP received, instructions per byte", "per", "vhost", "in-1024", "in-17408", "%.2f")
            row("virtio-vsock, Unix sockets, sent, per byte", "per", "vsock", "socket-vout-1024", "socket-vout-17408", "%.2f")
            row("virtio-vsock, Unix sockets, received, per byte", "per", "vsock", "socket-vin-1024", "socket-vin-17408", "%.2f")
            row("vhost-vsock, sent, instructions per byte", "per", "vsock", "vhost-vout-1024", "vhost-vout-17408", "%.2f")
            row("vhost-vsock, received, instructions per byte", "per", "vsock", "vhost-vin-1024", "vhost-vin-17408", "%.2f")
        }' "$1"
}

# in_host VMM OPTION SECTION...: a host each: one that dies takes no other's numbers with it.
in_host() {
    local vmm=$1 count=$2 host=() peer=()
    shift 2
    echo "$vmm" >"$WORK/vmms"
    printf '%s\n' "$@" >"$WORK/sections"
    [[ $vmm != microvm && $vmm != q35 && $vmm != virt ]] || { host=(${HOST[@]+"${HOST[@]}"}) && peer=(${PEER[@]+"${PEER[@]}"}); }
    "$ROOT/tests/e2e/host.sh" --arch "$ARCH" ${host[@]+"${host[@]}"} ${count:+"$count"} --timeout 600 "$HERE/in-host.sh" "$VMM:vmm" \
        "$WORK/vmms:vmms" "$WORK/sections:sections" "${FILES[@]}" ${peer[@]+"${peer[@]}"} >"$WORK/log.$vmm" ||
        die "$vmm: the host ended with $?: $(tail -5 "$WORK/log.$vmm")"
    grep -aq '^@finished' "$WORK/log.$vmm" || die "$vmm: not finished: $(tail -5 "$WORK/log.$vmm")"
    cat "$WORK/log.$vmm" >>"$WORK/log"
    [[ -z $RAW ]] || grep -a '^@' "$WORK/log" >"$RAW"
}

prepare
[[ -n $OURS ]] || "peers_$ARCH"
for vmm in "${VMMS[@]}"; do
    [[ $vmm != vmm_socket || " ${SECTIONS[*]} " = *" blk "* ]] || continue # measured nowhere else
    # Wake-ups are counted where time passes by itself: guests that sleep stand still in a host that counts.
    mapfile -t sections < <(printf '%s\n' "${SECTIONS[@]}" | grep -vx idle || true)
    [[ $vmm != q35 ]] || mapfile -t sections < <(printf '%s\n' "${SECTIONS[@]}" | grep -xE 'net|vhost|vsock' || true)
    ((${#sections[@]} == 0)) || in_host "$vmm" --count "${sections[@]}"
    [[ " ${SECTIONS[*]} " != *" idle "* || $vmm = floor || $vmm = vmm_socket ]] || in_host "$vmm" '' idle
done
table "$WORK/log"
