#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# boot.sh [--vmm PROGRAM | --vmm qemu-q35 | --vmm qemu-microvm] [--report DIR] [--least N] ROW
#
# One guest from boot to end in the emulated host. ROW names it as matrix.sh prints it:
#   KERNEL:IMAGE:CPUS:MEMORY:CONSOLE:ROOT:END[:WORD,...]   e.g. bookworm-cloud:vmlinux:2:256:serial:disk:poweroff:split
# KERNEL a name below $BED/kernels (...-arm64: in the emulated Arm host); IMAGE vmlinuz, vmlinux (arm64: vmlinuz, vmlinuz.gz,
# vmlinuz.zst, and zboot.gz, zboot.zst: EFI zboot files of zboot.sh); MEMORY in MiB; CONSOLE serial, hvc0; ROOT ram, disk;
# END poweroff, reboot, button. What is not as by default says a WORD:
#   segment1, mmio, nopci  the disks are on PCI segment 1; on virtio-mmio beside PCI; there is no PCI at all
#   vhost                  the disk is served by `vmm device`, over vhost-user, which is killed and started again all the time; the network (net) by
#                          another one
#   thread                 devices are served by threads of the VMM (--sandbox thread)
#   killed                 the processes of the devices are killed all the time, once the guest runs
#   upgraded               the processes of the disks are replaced all the time (vmm upgrade)
#   moved                  the devices move between threads and processes all the time (vmm move)
#                          With these three there is one more disk, and fio writes to both, trims and flushes, reads back past the guest's cache and
#                          compares (guest-check.sh), until that was done to disks --least times (default: 10, upgraded 3); then the VMM has as
#                          many fds and as much memory of its own as when fio began
#   split                  split virtio rings, not packed ones
#   net                    guest and host ping, and exchange 4 MiB each way by TCP over a tap interface that the VMM makes
#   vsock                  programs of guest and host exchange 1 MiB each way, by connections from either side; then, with one or two processors and
#                          256 MiB, vsock-cases.c runs between them, and the device's metrics are compared with what it did
#   inkernel               the host's kernel serves network and vsock (vhost-net, vhost-vsock): with net, vsock; then, where both have
#                          the same kernel (x86_64: trixie's, arm64: bookworm's), Linux's own vsock_test runs between them, the guest as server and as client
#   kernelirq              --irqchip kernel
#   gicv2                  arm64: in a host with a GICv2, which gives guests one
#   max                    arm64: in a host whose processor has SVE and pointer authentication: guests have them too
#   nvhe                   arm64: in a host whose KVM runs at EL2 without the kernel (nVHE), as on processors before ARMv8.1
#   balloon                the guest puts memory into its balloon and takes it out again: the VMM shrinks, and what the guest writes then is
#                          what it reads
#   reporting              what is free in the guest goes back to the host by itself
#   serials                four serial ports: the guest writes to the last one, too
#   ports                  one more console with a named port: guest and host exchange lines over it, the host by a Unix socket, and what the
#                          guest writes to the console stands in two files
#   full                   one more disk, whose image grows in a file system that has no room
# More than 16 CPUS: the host has one processor and counts its time in instructions (host.sh --count), and the guest's kernel
# brings up the first one alone, guest-check.sh the others.
# Checked: a shell answers on that console; processors, memory, root, rings and places are as asked for; data on the
# disk is read and written (compared by hash, the second from outside) and its file system is sound (e2fsck); a disk
# without room gives an I/O error and nothing else; the VMM's exit status; lspci reads every function; and the kernel
# log has no line of level warning or worse that QEMU does not cause too (kernel-log.allow). --report keeps what the
# guest reported.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HERE=$ROOT/tests/e2e
REPORT='' ROW='' VMM='' LEAST=''
while (($#)); do
    case $1 in
    --vmm) VMM=$2 && shift ;;
    --report) REPORT=$2 && shift ;;
    --least) LEAST=$2 && shift ;;
    -*) die "unknown option $1" ;;
    *) ROW=$1 ;;
    esac
    shift
done
IFS=: read -r KERNEL IMAGE CPUS MEMORY CONSOLE DISK END WORDS <<<"$ROW"
[[ -n $END ]] || die "row '$ROW': see the head of this script"

for word in ${WORDS//,/ }; do
    [[ $word =~ ^(segment1|mmio|nopci|vhost|thread|killed|upgraded|moved|split|vsock|kernelirq|gicv2|max|nvhe|net|inkernel|balloon|reporting|serials|ports|full)$ ]] || die "row '$ROW': no word '$word'"
done
has() { [[ ,$WORDS, = *,$1,* ]]; }

if [[ -z $LEAST ]]; then
    LEAST=10
    ! has upgraded || LEAST=3 # each is three seconds on trial
fi

ARCH=$(arch_of "$KERNEL") SUFFIX=''
[[ $ARCH = amd64 ]] || SUFFIX=-$ARCH
[[ -n $VMM ]] || VMM=$(vmm_program "$ARCH")
VSOCK_TEST='' # of both kernels' version
! has inkernel || ! has vsock || ! has net || case $KERNEL in trixie-cloud | bookworm-*-arm64) VSOCK_TEST=$BED/vsock-test/${KERNEL%%-*}-$ARCH ;; esac
# Connections end with the device's process; hundreds of them need memory, and more processors the emulated host's time.
VSOCK_CASES=''
! has vsock || has inkernel || has killed || has upgraded || has moved || [[ $VMM = qemu-* ]] || ((CPUS > 2 || MEMORY < 256)) || VSOCK_CASES=1
# VMM_EXIT_RESET of vmm/control/control.h; QEMU does not tell it from power-off.
RESET_STATUS=${RESET_STATUS:-10}
[[ $VMM != qemu-* ]] || RESET_STATUS=0

WORK=$(mktemp -d)
cleanup() {
    if [[ -n $REPORT && -d $WORK/report ]]; then
        rm -rf "$REPORT" && mkdir -p "$(dirname "$REPORT")" && cp -r "$WORK/report" "$REPORT"
    fi
    rm -rf "$WORK"
}
trap cleanup EXIT

prepare() {
    local compiler
    if [[ $ARCH = arm64 ]]; then
        "$HERE/fetch.sh" "$KERNEL" bookworm-cloud-arm64
        [[ $IMAGE != zboot.* ]] || "$HERE/zboot.sh" "$KERNEL" "$IMAGE"
    else
        "$HERE/fetch.sh" "$KERNEL" trixie-cloud --qemu
    fi
    GUEST=$BED/guest-$KERNEL.cpio MODULES=()
    if has balloon || has reporting; then
        GUEST=$BED/guest-balloon-$KERNEL.cpio MODULES=(virtio_balloon)
    fi
    "$HERE/initramfs.sh" guest "$KERNEL" "$GUEST" ${MODULES[@]+"${MODULES[@]}"}
    "$HERE/initramfs.sh" "disk$SUFFIX" "$BED/root$SUFFIX.img"
    cp --sparse=always "$BED/root$SUFFIX.img" "$WORK/disk.img"
    # The check goes where the guest's root will be.
    mkdir "$WORK/guest"
    cp "$HERE/guest-check.sh" "$WORK/guest/check.sh"
    if has killed || has upgraded || has moved; then
        "$HERE/fetch.sh" "--fio$SUFFIX"
        cp -r "$BED/fio$SUFFIX" "$WORK/guest/fio"
    fi
    if [[ -n $VSOCK_TEST ]]; then
        "$HERE/fetch.sh" "--vsock-test$SUFFIX"
        cp "$VSOCK_TEST" "$WORK/guest/vsock_test"
    fi
    if [[ -n $VSOCK_CASES ]]; then
        compiler=gcc
        [[ $ARCH = amd64 ]] || compiler=aarch64-linux-gnu-gcc
        vsock_cases "$compiler" "$WORK/guest/vsock-cases"
    fi
    if [[ $DISK = disk ]]; then
        (cd "$WORK/guest" && find . -mindepth 1 -type d -printf 'mkdir %P\n' -o -printf 'write %P %P\n') >"$WORK/add"
        (cd "$WORK/guest" && debugfs -w -f "$WORK/add" "$WORK/disk.img" >/dev/null 2>&1)
        cp "$GUEST" "$WORK/guest.cpio"
    else
        { cat "$GUEST" && cpio_of "$WORK/guest"; } >"$WORK/guest.cpio"
    fi
    cat >"$WORK/row" <<ROW
CPUS=$CPUS MEMORY=$MEMORY CONSOLE=$CONSOLE ROOT=$DISK END=$END WORDS=$WORDS
RESET_STATUS=$RESET_STATUS PATIENCE=$((240 + 30 * CPUS + 10 * LEAST)) LEAST=$LEAST
ROW
}

# e2fsck with its libraries, apart from those of the host's other programs.
fsck_files() {
    local program file
    FSCK=()
    if [[ $ARCH = arm64 ]]; then
        for file in "$BED"/programs-arm64/fsck/*; do
            FSCK+=("$file:fsck/${file##*/}")
        done
        return
    fi
    program=$(PATH=$PATH:/usr/sbin:/sbin command -v e2fsck)
    FSCK=("$program:fsck/e2fsck")
    while read -r file; do
        case $file in
        */ld-linux*) FSCK+=("$file:fsck/ld.so") ;;
        *) FSCK+=("$file:fsck/${file##*/}") ;;
        esac
    done < <(ldd "$program" | grep -o '/[^ ]*')
}

run() {
    local smp=1 host=(--arch x86_64)
    ((CPUS == 1)) || smp=2
    [[ $ARCH = amd64 ]] || host=(--arch aarch64)
    # What many do at once takes the emulated host longer than the time it takes in the guest: there its own time goes as slowly.
    ((CPUS <= 16)) || { smp=1 && host+=(--count); }
    ! has gicv2 || host+=(--gic 2)
    # Its own pointer authentication is computed by a cipher, at a quarter of the speed.
    ! has max || host+=(--cpu "max,pauth-impdef=on")
    ! has nvhe || host+=(--append kvm-arm.mode=nvhe)
    vmm_in_host "$VMM" "$WORK"
    fsck_files
    [[ -z $VSOCK_TEST ]] || FSCK+=("$VSOCK_TEST:vsock_test")
    [[ -z $VSOCK_CASES ]] || FSCK+=("$WORK/guest/vsock-cases:vsock-cases")
    "$HERE/host.sh" ${host[@]+"${host[@]}"} --smp "$smp" --timeout $((320 + 40 * CPUS + 10 * LEAST)) "$HERE/in-host.sh" "${VMM_FILES[@]}" "$WORK/row:row" \
        "${FSCK[@]}" "$KERNELS/$KERNEL/$IMAGE:kernel" "$WORK/guest.cpio:guest.cpio" "$WORK/disk.img:disk.img" \
        -- "${VMM_QEMU[@]}" | tee "$WORK/log" |
        sed -u '/^@report-begin/,/^@report-end/{/^@failed/!d}'
}

unpack_report() {
    # The last one: a host that died on the way was started again. All of the log is read: who writes into a pipe that nobody
    # reads any more fails.
    awk '/^@report-begin/ { n = 0; on = 1 } on { line[n++] = $0 } /^@report-end/ { on = 0 }
        END { for (i = 0; i < n; i++) print line[i] }' "$WORK/log" | grep -v ^@ >"$WORK/report.base64"
    mkdir "$WORK/report"
    base64 -d "$WORK/report.base64" 2>/dev/null | tar -xz -C "$WORK/report" 2>/dev/null || {
        grep -vE '^[A-Za-z0-9+/]{76}$' "$WORK/report.base64" | head -20
        die "the guest's report came mixed with other output: the lines above"
    }
}

# told WORD: what the guest said behind @WORD.
told() { sed -n "s/^@$1 //p" "$WORK/log" | tail -1; }

check_size() {
    local want=$CPUS fs=rootfs
    [[ $(told cpus) = "$want" ]] || die "the guest has $(told cpus) processors instead of $CPUS"
    # The kernel keeps some for itself: its image, page structures (1/64), reserved areas.
    (($(told memory) <= MEMORY && $(told memory) >= MEMORY * 95 / 100 - 48)) ||
        die "the guest has $(told memory) MiB instead of $MEMORY"
    [[ $DISK = ram ]] || fs=ext4
    [[ $(told root) = "$fs" ]] || die "the guest's root is $(told root) instead of $fs"
}

# Rings, the way to the disk, and the interrupt controller, as the guest's kernel found them.
check_devices() {
    local ring=1 segment=0000 disk mmio='*/LNRO0005:*' rings split=0
    rings=$(told rings)
    [[ $ARCH = amd64 ]] || mmio='/sys/devices/platform/*.virtio_mmio/*'
    ! has split || ring=0
    ! has segment1 || segment=0001
    disk="/sys/devices/*pci$segment:00/$segment:00:*"
    ! has mmio || disk=$mmio
    ! has nopci || disk=$mmio
    if has inkernel && ((ring)); then # the kernel has split rings only
        for word in net vsock; do
            ! has $word || split=$((split + 1))
        done
        [[ ${rings//1/} = $(printf "%${split}s" '' | tr ' ' 0) ]] || die "packed rings: '$rings', a digit a device, instead of $split split ones"
    elif [[ ! $rings =~ ^$ring+$ ]]; then
        die "packed rings: '$rings', a digit a device, instead of $ring for each"
    fi
    # shellcheck disable=SC2053 # a pattern
    [[ $(told disk) = $disk ]] || die "the disk is at $(told disk), not $disk"
    if has nopci; then
        [[ $(told pci) = 0 ]] || die "there are $(told pci) PCI functions"
    else
        [[ $(told pci) != 0 ]] || die "there is no PCI function"
    fi
    if [[ $ARCH = arm64 ]]; then
        check_gic
        check_cpu
    # KVM's I/O APIC says version 0x11, ours 0x20.
    elif has kernelirq; then
        grep -q 'IOAPIC\[0\]: .* version 17,' "$WORK/report/dmesg" || die "KVM is not the interrupt controller"
    else
        ! grep -q 'IOAPIC\[0\]: .* version 17,' "$WORK/report/dmesg" || die "KVM is the interrupt controller"
    fi
}

# The guest's processor is what the host's is.
check_cpu() {
    local word
    for word in sve paca pacg; do
        if has max; then
            grep -qE "^Features.* $word( |$)" "$WORK/report/cpuinfo" || die "the guest's processor has no $word"
        else
            ! grep -qE "^Features.* $word( |$)" "$WORK/report/cpuinfo" || die "the guest's processor has $word"
        fi
    done
}

# Messages reach the guest through an ITS; with a GICv2 through the frame of GICv2m.
check_gic() {
    local found=$WORK/report/interrupts
    if has gicv2; then
        grep -qE 'GICv2 |GIC-0 ' "$found" || die "the guest has no GICv2"
        has nopci || grep -qE 'MSI.* virtio' "$found" || die "there are no messages with the GICv2"
    else
        grep -q 'GICv3 ' "$found" || die "the guest has no GICv3"
        has nopci || grep -qE 'ITS-(PCI-)?MSI.*virtio' "$found" || die "messages do not come through the ITS"
    fi
}

# lspci reads the guest's configuration spaces here: chains that loop, unknown headers and the like show as !!! or <...>.
check_pci() {
    local f
    for f in "$WORK"/report/pci/*; do
        [[ -e $f ]] || continue
        echo "${f##*/} device"
        od -A x -t x1 -v -w16 "$f" | sed -n 's/^0*\([0-9a-f]\{2,\}\) /\1: /p'
        echo
    done >"$WORK/report/lspci.dump"
    [[ -s $WORK/report/lspci.dump ]] || return 0
    # That this machine has no module list is no concern of the guest's; and reading from a file lspci takes the upper
    # half of a 64-bit BAR above 4 GiB for a BAR of its own.
    lspci -F "$WORK/report/lspci.dump" -vvnn 2>&1 | grep -v libkmod |
        awk '!(wide && /Region [1-5]: (Memory at <unassigned> \((32-bit|low-1M)|I\/O ports at <unassigned>)/); { wide = /Region .*64-bit/ }' >"$WORK/report/lspci"
    ! grep -nE '!!!|<unassigned>|<broken|<invalid|<access denied>|Unknown header|rev ff|lspci:' "$WORK/report/lspci" ||
        die "lspci -vv is not clean"
}

# A kernel without PCI, or with ECAM alone, is compared with microvm, which is the like. The comparison proves that it would
# have found a line of nobody's.
check_log() {
    local machines=(q35 microvm-pcie) expected='^(blk_update_request: )?I/O error, dev vdb, sector N op N:\(WRITE\) '
    ! has nopci || machines=(microvm)
    [[ $ARCH = amd64 ]] || machines=(virt)
    { cat "$WORK/report/dmesg" && echo '<4>[    1.000000] Planted 7.'; } >"$WORK/planted"
    "$HERE/kernel-log.sh" "$WORK/planted" "$KERNEL" "${machines[@]}" | grep -qxF 'Planted N.' ||
        die "kernel-log.sh overlooks lines"
    "$HERE/kernel-log.sh" "$WORK/report/dmesg" "$KERNEL" "${machines[@]}" >"$WORK/report/warnings"
    if has full; then
        grep -qE "$expected" "$WORK/report/warnings" || die "the kernel did not complain about the disk without room"
        sed -i -E "\\@$expected@d" "$WORK/report/warnings"
    fi
    ! grep . "$WORK/report/warnings" || die "$KERNEL has warnings that it has not under QEMU's ${machines[*]}"
}

prepare
status=0
run || status=$?
((status == 0)) || exit "$status"
unpack_report
check_size
[[ $VMM = qemu-* ]] || { check_pci && check_devices && check_log; }
say "$ROW passed"
