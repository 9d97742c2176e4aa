#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# boot.sh [--vmm PROGRAM | --vmm qemu-q35 | --vmm qemu-microvm] [--report DIR] ROW
#
# One guest from boot to end in the emulated host. ROW names it as matrix.sh prints it:
#   KERNEL:IMAGE:CPUS:MEMORY:CONSOLE:ROOT:END   e.g. bookworm-cloud:vmlinux:2:256:serial:disk:poweroff
# KERNEL a name below $BED/kernels; IMAGE vmlinuz, vmlinux; MEMORY in MiB; CONSOLE serial, hvc0; ROOT ram, disk;
# END poweroff, reboot, button. Checked: a shell answers on that console; processors, memory and root are as asked
# for; data on the disk is read and written (compared by hash, the second from outside); the VMM's exit status;
# lspci reads every function; and the kernel log has no line of level warning or worse that QEMU does not cause too
# (kernel-log.allow). --report keeps what the guest reported.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HERE=$ROOT/tests/e2e
REPORT='' ROW='' VMM=''
while (($#)); do
    case $1 in
    --vmm) VMM=$2 && shift ;;
    --report) REPORT=$2 && shift ;;
    -*) die "unknown option $1" ;;
    *) ROW=$1 ;;
    esac
    shift
done
IFS=: read -r KERNEL IMAGE CPUS MEMORY CONSOLE DISK END <<<"$ROW"
[[ -n $END ]] || die "row '$ROW': see the head of this script"

[[ -n $VMM ]] || VMM=$(vmm_program)
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
    "$HERE/fetch.sh" "$KERNEL" trixie-cloud --qemu
    "$HERE/initramfs.sh" guest "$KERNEL" "$BED/guest-$KERNEL.cpio"
    "$HERE/initramfs.sh" disk "$BED/root.img"
    cp --sparse=always "$BED/root.img" "$WORK/disk.img"
    # The check goes where the guest's root will be.
    mkdir "$WORK/guest"
    cp "$HERE/guest-check.sh" "$WORK/guest/check.sh"
    { cat "$BED/guest-$KERNEL.cpio" && cpio_of "$WORK/guest"; } >"$WORK/guest.cpio"
    debugfs -w -R "write $HERE/guest-check.sh check.sh" "$WORK/disk.img" >/dev/null 2>&1
    cat >"$WORK/row" <<ROW
CPUS=$CPUS MEMORY=$MEMORY CONSOLE=$CONSOLE ROOT=$DISK END=$END
RESET_STATUS=$RESET_STATUS PATIENCE=$((240 + 30 * CPUS))
ROW
}

run() {
    local smp=1
    ((CPUS == 1)) || smp=2
    vmm_in_host "$VMM" "$WORK"
    "$HERE/host.sh" --smp "$smp" --timeout $((320 + 40 * CPUS)) "$HERE/in-host.sh" "${VMM_FILES[@]}" "$WORK/row:row" \
        "$KERNELS/$KERNEL/$IMAGE:kernel" "$WORK/guest.cpio:guest.cpio" "$WORK/disk.img:disk.img" \
        -- "${VMM_QEMU[@]}" | tee "$WORK/log" | sed -u '/^@report-begin/,/^@report-end/d'
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
        awk '!(wide && /Region [1-5]: Memory at <unassigned> \((32-bit|low-1M)/); { wide = /Region .*64-bit/ }' >"$WORK/report/lspci"
    ! grep -nE '!!!|<unassigned>|<broken|<invalid|<access denied>|Unknown header|rev ff|lspci:' "$WORK/report/lspci" ||
        die "lspci -vv is not clean"
}

check_log() {
    "$HERE/kernel-log.sh" "$WORK/report/dmesg" >"$WORK/report/warnings"
    ! grep -vxFf "$HERE/kernel-log.allow" "$WORK/report/warnings" ||
        die "the guest's kernel log has warnings that QEMU's q35 and microvm do not cause"
}

prepare
status=0
run || status=$?
((status == 0)) || exit "$status"
mkdir "$WORK/report"
sed -n '/^@report-begin/,/^@report-end/p' "$WORK/log" | grep -v ^@ | base64 -d | tar -xz -C "$WORK/report"
check_size
check_pci
[[ $VMM = qemu-* ]] || check_log
say "$ROW passed"
