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
#   --arch aarch64  the same on AArch64; on an x86_64 machine a cross build, inside an emulated Arm host
#   --vmm PROGRAM   this one; nothing is built
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/tests/e2e/lib.sh"

BATCH='' EMULATED='' CPUS=1 MEMORY=256 KERNEL=bookworm-cloud ARCH=$NATIVE VMM=''
while (($#)); do
    [[ $1 = --emulated || $# -ge 2 ]] || die "$1: unknown, or its value is missing: the head of this script says what there is"
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
case $ARCH in
x86_64)
    [[ $KERNEL != *-arm64 ]] || die "--kernel $KERNEL: this one wants --arch aarch64"
    [[ $NATIVE = x86_64 ]] || die "--arch x86_64: there is no cross build for it; this machine is $NATIVE"
    HOST_KERNEL=trixie-cloud IMAGE=vmlinux CONSOLE=ttyS0 SUFFIX=''
    ;;
aarch64)
    [[ $VMM != qemu-* ]] || die "--vmm $VMM: this one is for x86_64 only"
    HOST_KERNEL=bookworm-cloud-arm64 IMAGE=vmlinuz CONSOLE=ttyAMA0 SUFFIX=-arm64
    ;;
*) die "--arch $ARCH: x86_64 or aarch64" ;;
esac
KERNEL=${KERNEL%"$SUFFIX"}$SUFFIX
# Another architecture than this machine's.
CROSS=''
[[ $ARCH = "$NATIVE" ]] || CROSS=$ARCH

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

build() {
    local log=$ROOT/build/demo.log preset=${CROSS:-release}
    mkdir -p "$ROOT/build"
    say "building (output in build/demo.log)"
    if ! {
        { [[ -z $CROSS ]] || "$ROOT/tests/arm/sysroot.sh"; } &&
            cmake -S "$ROOT" --preset "$preset" ${CROSS:+"-DVMM_SYSROOT=$BED/sysroot-arm64"} &&
            cmake --build "$ROOT/build/$preset" --target vmm
    } >"$log" 2>&1; then
        tail -30 "$log" >&2
        die "the build failed"
    fi
    VMM=$(vmm_program ${CROSS:+arm64})
}

# Stock kernels need a processor that virtualises: KVM on top of software alone boots none. Our doctor finds out by
# running a guest; for a stand-in the processor's flags have to do.
kvm_is_real() {
    [[ -z $CROSS && -r /dev/kvm && -w /dev/kvm ]] || return 1
    if [[ $VMM = qemu-* ]]; then
        grep -qwE 'vmx|svm' /proc/cpuinfo
    else
        { "$VMM" doctor --json || true; } | tr -d ' \n' | grep -F '"check":"hardware","state":"ok"' >/dev/null
    fi
}

prepare() {
    "$ROOT/tests/e2e/fetch.sh" "$KERNEL"
    "$ROOT/tests/e2e/initramfs.sh" guest "$KERNEL" "$BED/guest-$KERNEL.cpio"
    "$ROOT/tests/e2e/initramfs.sh" "disk$SUFFIX" "$BED/root$SUFFIX.img"
    DISK=$BED/demo$SUFFIX.img
    [[ -e $DISK ]] || { cp "$BED/root$SUFFIX.img" "$WORK/demo.img" && mv "$WORK/demo.img" "$DISK"; }
    mkdir "$WORK/guest"
    # shellcheck disable=SC2016
    [[ -z $BATCH ]] || printf 'echo "@begin"\n%s\n' "$BATCH" >"$WORK/guest/run.sh"
    { cat "$BED/guest-$KERNEL.cpio" && cpio_of "$WORK/guest"; } >"$WORK/guest.cpio"
}

# The command line, with the places where things are: here, or in the emulated host.
vmm_command() {
    COMMAND=("$1" run -m "$MEMORY" -c "$CPUS" --serial tty --console off --disk "path=$2"
        -p "console=$CONSOLE quiet panic=-1 bed.term=${TERM:-linux}" -i "$3" "$4")
}

run_direct() {
    say "this machine virtualises: booting directly"
    vmm_command "$VMM" "$DISK" "$WORK/guest.cpio" "$KERNELS/$KERNEL/$IMAGE"
    say "${COMMAND[*]}"
    "${COMMAND[@]}"
}

run_emulated() {
    local interactive=(--interactive) smp=1 qemu=(--qemu)
    say "no hardware virtualisation ${CROSS:+for $CROSS }here: booting inside an emulated host" \
        "(slower; the guest's disk is a copy)"
    [[ $ARCH = x86_64 ]] || { qemu=() && interactive+=(--append bed.end=exit); }
    "$ROOT/tests/e2e/fetch.sh" "$HOST_KERNEL" ${qemu[@]+"${qemu[@]}"}
    vmm_in_host "$VMM" "$WORK"
    vmm_command /vmm /demo.img /guest.cpio /kernel
    say "${COMMAND[*]}"
    {
        echo 'echo 1 >/proc/sys/kernel/printk' # only the guest shall be heard
        echo '[ ! -e /setup.sh ] || . /setup.sh'
        printf '%q ' "${COMMAND[@]}"
    } >"$WORK/run.sh"
    [[ -z $BATCH ]] || interactive=(--timeout 300)
    ((CPUS == 1)) || smp=2
    "$ROOT/tests/e2e/host.sh" --arch "$ARCH" "${interactive[@]}" --smp "$smp" \
        --memory $((1000 + MEMORY)) "$WORK/run.sh" "${VMM_FILES[@]}" \
        "$DISK:demo.img" "$WORK/guest.cpio:guest.cpio" "$KERNELS/$KERNEL/$IMAGE:kernel" \
        -- "${VMM_QEMU[@]}"
}

run() {
    if [[ -z $EMULATED ]] && kvm_is_real; then
        run_direct
    else
        run_emulated
    fi
}

# Between @begin and @exit is what the command printed; an emulated Arm host says an @exit of its own later.
run_batch() {
    local status
    run </dev/null | tr -d '\r' | tee "$WORK/log" | sed -u -n '/^@begin$/,/^@exit /{//!p}' || true
    status=$(sed -n '/^@begin$/,$s/^@exit \([0-9]*\)$/\1/p' "$WORK/log" | sed -n 1p)
    [[ -n $status ]] || { cat "$WORK/log"; die "the guest did not come to an end"; }
    exit "$status"
}

PACKAGES=("${BUILD_PACKAGES[@]}" "${BED_PACKAGES[@]}")
[[ $ARCH = x86_64 ]] || PACKAGES+=("${BED_ARM_PACKAGES[@]}")
[[ -z $CROSS ]] || PACKAGES+=("${ARM_PACKAGES[@]}")
packages_ensure "${PACKAGES[@]}"
[[ -n $VMM ]] || build
prepare
if [[ -n $BATCH ]]; then
    run_batch
else
    run
fi
