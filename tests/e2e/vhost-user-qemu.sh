#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Debian's QEMU as front end of our vhost-user back ends (docs/vhost-user.md): a Debian kernel boots from our block device and reads
# our entropy device, twice, with the same back ends: QEMU goes away and comes back. Native, without KVM.
#
#   vhost-user-qemu.sh [--guest aarch64] [PROGRAM]     the program to test; default build/release/vmm. The guest is one for x86_64, or
#                                                      for AArch64: of this machine are the back ends alone
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HERE=$ROOT/tests/e2e
guest=x86_64 suffix=''
[[ ${1-} != --guest ]] || { guest=$2 && shift 2; }
vmm=${1:-$ROOT/build/release/vmm}
[[ -x $vmm ]] || { echo "$vmm is not built" && exit 1; }
work=$(mktemp -d)
backends=
cleanup() {
    [[ -z $backends ]] || kill "$backends" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

cat >"$work/run.sh" <<'END'
cd /
echo "@root $(awk '$2 == "/" { t = $3 } END { print t }' /proc/mounts)"
sha256sum -c data.sha256 >/dev/null 2>&1 && echo "@read ok"
[ ! -e written ] || { sha256sum -c written.sha256 >/dev/null 2>&1 && echo "@kept ok"; }
head -c 2097152 /dev/urandom >written
sha256sum written >written.sha256
sync
echo 3 >/proc/sys/vm/drop_caches
sha256sum -c written.sha256 >/dev/null 2>&1 && echo "@written ok"
echo "@rng $(cat /sys/class/misc/hw_random/rng_current) $(head -c 64 /dev/hwrng | wc -c)"
END
case $guest in
x86_64)
    qemu=(qemu-system-x86_64 -M "q35,memory-backend=m" -cpu max)
    tty=ttyS0
    ;;
aarch64)
    qemu=(qemu-system-aarch64 -M "virt,memory-backend=m" -cpu cortex-a57)
    suffix=-arm64 tty=ttyAMA0
    ;;
*) die "--guest $guest: x86_64 or aarch64" ;;
esac
kernel=bookworm-cloud$suffix
"$HERE/fetch.sh" "$kernel"
"$HERE/initramfs.sh" guest "$kernel" "$BED/guest-$kernel.cpio"
"$HERE/initramfs.sh" "disk$suffix" "$BED/root$suffix.img"
cp --sparse=always "$BED/root$suffix.img" "$work/disk.img"
debugfs -w -R "rm run.sh" "$work/disk.img" >/dev/null 2>&1 || true
debugfs -w -R "write $work/run.sh run.sh" "$work/disk.img" >/dev/null 2>&1

"$vmm" device virtio-blk path="$work/disk.img" --socket "$work/blk" -- virtio-rng --socket "$work/rng" &
backends=$!
for _ in $(seq 100); do
    [[ ! -S $work/blk || ! -S $work/rng ]] || break
    sleep 0.1
done

boot() {
    timeout 300 "${qemu[@]}" -accel tcg -smp 1,maxcpus=2 -m 256 -nodefaults -no-user-config -display none \
        -no-reboot -object memory-backend-memfd,id=m,size=256M,share=on -serial stdio \
        -chardev socket,id=blk,path="$work/blk" -device vhost-user-blk-pci,chardev=blk \
        -chardev socket,id=rng,path="$work/rng" -device vhost-user-rng-pci,chardev=rng \
        -kernel "$BED/kernels/$kernel/vmlinuz" -initrd "$BED/guest-$kernel.cpio" \
        -append "console=$tty quiet panic=-1 root=/dev/vda" </dev/null >"$work/log" 2>&1 || true
    cat "$work/log"
    for line in "$@"; do
        grep -q "^@$line" "$work/log" || { echo "missing: @$line" && exit 1; }
    done
}

boot "root ext4" "read ok" "written ok" "rng virtio_rng.0 64" "exit 0"
boot "root ext4" "read ok" "kept ok" "written ok" "rng virtio_rng.0 64" "exit 0"

kill "$backends"
wait "$backends" || { echo "the back ends ended with $?" && exit 1; }
backends=
[[ ! -e $work/blk && ! -e $work/rng ]] || { echo "a socket is left" && exit 1; }
e2fsck -fn "$work/disk.img" >/dev/null || { echo "the file system is damaged" && exit 1; }
echo "vhost-user: QEMU booted twice"
