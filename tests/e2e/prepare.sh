#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# prepare.sh: everything that the tests in the emulated host need and that can be made beforehand. The only
# one of them that may need the network, and only the first time.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# On AArch64 there are Arm hosts alone.
packages_ensure "${BED_PACKAGES[@]}" "${ARM_PACKAGES[@]}" "${BED_ARM_PACKAGES[@]}"
if [[ $NATIVE = x86_64 ]]; then
    "$ROOT/tests/e2e/fetch.sh" bookworm-cloud trixie-cloud --qemu --peers --fio --iperf --vsock-test
    "$ROOT/tests/e2e/initramfs.sh" host trixie-cloud "$BED/host.cpio"
    for kernel in bookworm-cloud trixie-cloud; do
        "$ROOT/tests/e2e/initramfs.sh" guest "$kernel" "$BED/guest-$kernel.cpio"
    done
    "$ROOT/tests/e2e/initramfs.sh" disk "$BED/root.img"
    "$ROOT/tests/e2e/initramfs.sh" qemu "$BED/qemu.img"
fi
"$ROOT/tests/e2e/fetch.sh" {bookworm,trixie}-{cloud,standard}-arm64 --peers-arm64 --fio-arm64 --iperf-arm64 --vsock-test-arm64
"$ROOT/tests/e2e/initramfs.sh" host bookworm-cloud-arm64 "$BED/host-aarch64.cpio"
"$ROOT/tests/e2e/initramfs.sh" host trixie-cloud-arm64 "$BED/host-aarch64-new.cpio"
for kernel in {bookworm,trixie}-{cloud,standard}-arm64; do
    "$ROOT/tests/e2e/initramfs.sh" guest "$kernel" "$BED/guest-$kernel.cpio"
done
"$ROOT/tests/e2e/zboot.sh" trixie-cloud-arm64 zboot.zst
"$ROOT/tests/e2e/zboot.sh" trixie-standard-arm64 zboot.gz
"$ROOT/tests/e2e/initramfs.sh" disk-arm64 "$BED/root-arm64.img"
