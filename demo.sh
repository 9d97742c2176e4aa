#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# demo.sh                    an unmodified Debian kernel in a virtual machine of ours, with a shell to look around
# demo.sh --batch COMMAND    runs COMMAND in the guest instead, prints what it prints, leaves with its exit status
#
# Needs Debian 12 and, the first time, root and the network. Installs packages, builds, fetches Debian's kernel,
# makes a small initramfs and a disk, and boots them with `vmm run`: directly where the processor can virtualise, else
# inside an emulated host, where KVM runs, too, only slowly. `exit` in the guest's shell powers it off. Options:
#   --emulated      the emulated host although this machine could do without
#   --cpus N, --memory MIB, --kernel NAME (bookworm-cloud, trixie-cloud, bookworm-standard ...)
#   --arch ARCH     only x86_64 so far
#   --vmm PROGRAM   this one; nothing is built
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/tests/e2e/lib.sh"

BATCH='' EMULATED='' CPUS=1 MEMORY=256 KERNEL=bookworm-cloud ARCH=x86_64 VMM=''
while (($#)); do
    case $1 in
    --batch) BATCH=$2 && shift ;;
    --emulated) EMULATED=1 ;;
    --cpus) CPUS=$2 && shift ;;
    --memory) MEMORY=$2 && shift ;;
    --kernel) KERNEL=$2 && shift ;;
    --arch) ARCH=$2 && shift ;;
    --vmm) VMM=$2 && shift ;;
    *) die "unknown argument $1: the head of this script says what there is" ;;
    esac
    shift
done
[[ $ARCH = x86_64 ]] || die "--arch $ARCH: only x86_64 so far"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

build() {
    local log=$ROOT/build/demo.log
    mkdir -p "$ROOT/build"
    say "building (output in build/demo.log)"
    if ! { cmake -S "$ROOT" --preset release && cmake --build "$ROOT/build/release" --target vmm; } >"$log" 2>&1; then
        tail -30 "$log" >&2
        die "the build failed"
    fi
    VMM=$(vmm_program amd64)
}

# Stock kernels need a processor that virtualises: KVM on top of software alone boots none. Our doctor finds out by
# running a guest; for a stand-in the processor's flags have to do.
kvm_is_real() {
    [[ -r /dev/kvm && -w /dev/kvm ]] || return 1
    if [[ $VMM = qemu-* ]]; then
        grep -qwE 'vmx|svm' /proc/cpuinfo
    else
        { "$VMM" doctor --json || true; } | tr -d ' \n' | grep -F '"check":"hardware","state":"ok"' >/dev/null
    fi
}

prepare() {
    "$ROOT/tests/e2e/fetch.sh" "$KERNEL"
    "$ROOT/tests/e2e/initramfs.sh" guest "$KERNEL" "$BED/guest-$KERNEL.cpio"
    "$ROOT/tests/e2e/initramfs.sh" disk "$BED/root.img"
    [[ -e $BED/demo.img ]] || { cp "$BED/root.img" "$WORK/demo.img" && mv "$WORK/demo.img" "$BED/demo.img"; }
    mkdir "$WORK/guest"
    # shellcheck disable=SC2016
    [[ -z $BATCH ]] || printf 'echo "@begin"\n%s\n' "$BATCH" >"$WORK/guest/run.sh"
    { cat "$BED/guest-$KERNEL.cpio" && cpio_of "$WORK/guest"; } >"$WORK/guest.cpio"
}

# The command line, with the places where things are: here, or in the emulated host.
vmm_command() {
    COMMAND=("$1" run -m "$MEMORY" -c "$CPUS" --serial tty --console off --disk "path=$2"
        -p "console=ttyS0 quiet panic=-1 bed.term=${TERM:-linux}" -i "$3" "$4")
}

run_direct() {
    say "this machine virtualises: booting directly"
    vmm_command "$VMM" "$BED/demo.img" "$WORK/guest.cpio" "$KERNELS/$KERNEL/vmlinux"
    say "${COMMAND[*]}"
    "${COMMAND[@]}"
}

run_emulated() {
    local interactive=(--interactive) smp=1
    say "no hardware virtualisation here: booting inside an emulated host (slower; the guest's disk is a copy)"
    "$ROOT/tests/e2e/fetch.sh" trixie-cloud --qemu
    vmm_in_host "$VMM" "$WORK"
    vmm_command /vmm /demo.img /guest.cpio /vmlinux
    say "${COMMAND[*]}"
    {
        echo 'echo 1 >/proc/sys/kernel/printk' # only the guest shall be heard
        echo '[ ! -e /setup.sh ] || . /setup.sh'
        printf '%q ' "${COMMAND[@]}"
    } >"$WORK/run.sh"
    [[ -z $BATCH ]] || interactive=(--timeout 300)
    ((CPUS == 1)) || smp=2
    "$ROOT/tests/e2e/host.sh" "${interactive[@]}" --smp "$smp" --memory $((1000 + MEMORY)) "$WORK/run.sh" \
        "${VMM_FILES[@]}" "$BED/demo.img:demo.img" "$WORK/guest.cpio:guest.cpio" "$KERNELS/$KERNEL/vmlinux:vmlinux" \
        -- "${VMM_QEMU[@]}"
}

run() {
    if [[ -z $EMULATED ]] && kvm_is_real; then
        run_direct
    else
        run_emulated
    fi
}

# Between @begin and @exit is what the command printed.
run_batch() {
    local status
    run </dev/null | tr -d '\r' | tee "$WORK/log" | sed -u -n '/^@begin$/,/^@exit /{//!p}' || true
    status=$(sed -n 's/^@exit \([0-9]*\)$/\1/p' "$WORK/log" | tail -1)
    [[ -n $status ]] || { cat "$WORK/log"; die "the guest did not come to an end"; }
    exit "$status"
}

packages_ensure "${BUILD_PACKAGES[@]}" "${BED_PACKAGES[@]}"
[[ -n $VMM ]] || build
prepare
if [[ -n $BATCH ]]; then
    run_batch
else
    run
fi
