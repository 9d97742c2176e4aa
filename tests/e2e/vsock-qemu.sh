#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Our vsock device as a vhost-user back end of Debian's QEMU (docs/vhost-user.md): vsock-cases.c runs in a Debian guest and here. Native,
# without KVM and without privilege.
#
#   vsock-qemu.sh [--guest aarch64] [--kernel KERNEL] [PROGRAM]
#
# The guest's architecture and kernel (default: on x86_64 one guest after the other with bookworm's 6.1, which has not all the cases, and trixie's 6.12;
# on AArch64 trixie's); the program to test, default build/release/vmm.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HERE=$ROOT/tests/e2e
arch=x86_64 KERNEL=''
[[ ${1-} != --guest ]] || { arch=$2 && shift 2; }
[[ ${1-} != --kernel ]] || { KERNEL=$2 && shift 2; }
vmm=$(readlink -f "${1:-$ROOT/build/release/vmm}")
[[ -x $vmm ]] || die "$vmm is not built"
case $arch in
x86_64)
    kernels=({bookworm,trixie}-cloud) gcc=x86_64-linux-gnu-gcc tty=ttyS0
    qemu=(qemu-system-x86_64 -M "q35,memory-backend=m" -cpu "max,-cx16") # host.sh: -cx16
    ;;
aarch64)
    kernels=(trixie-cloud-arm64) gcc=aarch64-linux-gnu-gcc tty=ttyAMA0
    qemu=(qemu-system-aarch64 -M "virt,memory-backend=m" -cpu max)
    ;;
*) die "--guest $arch: x86_64 or aarch64" ;;
esac
if [[ -z $KERNEL ]]; then
    for kernel in "${kernels[@]}"; do
        "$0" --guest "$arch" --kernel "$kernel" "$vmm"
    done
    exit
fi
work=$(mktemp -d)
started=()
cleanup() {
    [[ ${#started[@]} = 0 ]] || kill "${started[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

"$HERE/fetch.sh" "$KERNEL"
"$HERE/initramfs.sh" guest "$KERNEL" "$BED/guest-$KERNEL.cpio"
mkdir "$work/add"
vsock_cases "$gcc" "$work/add/vsock-cases"
vsock_cases gcc "$work/vsock-cases"
echo "/vsock-cases guest" >"$work/add/run.sh"
cat "$BED/guest-$KERNEL.cpio" >"$work/initramfs"
cpio_of "$work/add" >>"$work/initramfs"

"$vmm" device "virtio-vsock,cid=3,socket=$work/stream,seqpacket=$work/messages" --socket "$work/device" 2>"$work/vmm" &
device=$!
started+=("$device")
"$work/vsock-cases" host "$work/stream" "$work/messages" >"$work/host" 2>&1 &
host=$!
started+=("$host")
await() {
    for _ in $(seq 100); do
        ! "$@" 2>/dev/null || return 0
        sleep 0.1
    done
    cat "$work"/{vmm,host}
    die "not within 10 s: $*"
}
await test -S "$work/device"
await grep -q @ready "$work/host"
# vectors=0, maxcpus=2: net-qemu.sh.
timeout 500 "${qemu[@]}" -accel tcg -m 256 -nodefaults -no-user-config -smp 1,maxcpus=2 \
    -display none -no-reboot -object memory-backend-memfd,id=m,size=256M,share=on -serial stdio \
    -chardev socket,id=vsock,path="$work/device" -device vhost-user-vsock-pci,chardev=vsock,vectors=0 \
    -kernel "$BED/kernels/$KERNEL/vmlinuz" -initrd "$work/initramfs" -append "console=$tty quiet panic=-1" \
    </dev/null >"$work/guest" 2>&1 || true
cat "$work/guest"
for side in host guest; do
    grep -q '^@cases [1-9]' "$work/$side" || { cat "$work"/{host,vmm} && die "the $side did not come to its end"; }
done
grep -q '^@exit 0' "$work/guest" || die "the guest's status is another"
wait "$host" || die "the host's side left with $?"
kill "$device"
wait "$device" || die "the back end ended with $?"
[[ $KERNEL != trixie-* ]] || ! grep '^@skipped' "$work/host" || die "6.12 has all that the cases need"
! grep -v "^warning: .*broke the rules\|CONNECT\|a message of .* bytes, the guest takes" "$work/vmm" || die "by the device"
started=()
[[ ! -e $work/stream && ! -e $work/device ]] || die "a socket is left"
echo "vsock, hybrid: $(sed -n 's/^@cases //p' "$work/host") cases on $arch, $KERNEL; skipped: $(grep -c '^@skipped' "$work/host" || true)"
