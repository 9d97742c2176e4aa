#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# peers.sh [--long] [aarch64]
#
# Back ends of others under a real guest, in the emulated host: a disk of qemu-storage-daemon's that is started by hand, one of it with qcow2
# behind it and virtiofsd's files that the VMM starts (program=), and one of ours. The guest writes and compares all the time, while they are killed
# (and away for 1 s; --long: 70 s), stopped and continued. Checked: what it wrote is there, its kernel has no error in its log, the other
# devices go on meanwhile, `vmm info` answers, and the machine powers off without its back end.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HERE=$ROOT/tests/e2e
DOWN=1 SUFFIX='' KERNEL=trixie-cloud IMAGE=vmlinux ARCH=x86_64 PATIENCE=240
[[ $NATIVE = x86_64 ]] || ARCH=$NATIVE
while (($#)); do
    case $1 in
    --long) DOWN=70 PATIENCE=400 ;;
    aarch64) ARCH=aarch64 ;;
    *) die "unknown option $1: the head of this script says what there is" ;;
    esac
    shift
done
[[ $ARCH = x86_64 ]] || { SUFFIX=-arm64 KERNEL=trixie-cloud-arm64 IMAGE=vmlinuz; }

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
packages_ensure qemu-utils
"$HERE/fetch.sh" "$KERNEL" "--peers$SUFFIX"
[[ $ARCH != x86_64 ]] || "$HERE/fetch.sh" --qemu
"$HERE/initramfs.sh" guest "$KERNEL" "$BED/guest-$KERNEL.cpio"
mkdir "$WORK/guest"
cp "$HERE/guest-peers.sh" "$WORK/guest/peers.sh"
{ cat "$BED/guest-$KERNEL.cpio" && cpio_of "$WORK/guest"; } >"$WORK/guest.cpio"
truncate -s 4M "$WORK/a.img" "$WORK/c.img"
qemu-img create -q -f qcow2 "$WORK/b.qcow2" 4M
echo "DOWN=$DOWN PATIENCE=$PATIENCE" >"$WORK/row"
files=()
for file in "$BED/peers$SUFFIX"/*; do
    files+=("$file:peers/${file##*/}")
done
"$HERE/host.sh" --arch "$ARCH" --timeout $((PATIENCE + 60)) "$HERE/in-host-peers.sh" "$(vmm_program "${SUFFIX:+arm64}"):vmm" "${files[@]}" \
    "$WORK/row:row" "$KERNELS/$KERNEL/$IMAGE:kernel" "$WORK/guest.cpio:guest.cpio" \
    "$WORK/a.img:a.img" "$WORK/b.qcow2:b.qcow2" "$WORK/c.img:c.img"
say "passed ($ARCH, away for $DOWN s)"
