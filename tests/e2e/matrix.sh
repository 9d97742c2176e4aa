#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# matrix.sh [--full]: the guests to boot, one ROW of boot.sh a line.
# Without --full a choice in which each value of each axis occurs at least once; with it the whole product.
# 8 processors take the emulated host half a minute: once per kernel even in the product.
set -euo pipefail

KERNELS=(bookworm-cloud trixie-cloud)
IMAGES=(vmlinux vmlinuz)
CPUS=(1 2)
MEMORY=(128 256 4096) # 4096 reaches across the PCI hole below 4 GiB
CONSOLES=(serial hvc0)
ROOTS=(ram disk)
ENDS=(poweroff reboot button)

choice() {
    cat <<'ROWS'
bookworm-cloud:vmlinux:1:256:serial:disk:poweroff
bookworm-cloud:vmlinuz:2:4096:hvc0:disk:reboot
trixie-cloud:vmlinux:2:256:hvc0:ram:button
trixie-cloud:vmlinuz:1:128:serial:disk:poweroff
trixie-cloud:vmlinux:8:4096:serial:disk:reboot
bookworm-cloud:vmlinuz:8:256:serial:ram:button
ROWS
}

product() {
    local kernel image cpus memory console root end
    for kernel in "${KERNELS[@]}"; do
        for image in "${IMAGES[@]}"; do
            for cpus in "${CPUS[@]}"; do
                for memory in "${MEMORY[@]}"; do
                    for console in "${CONSOLES[@]}"; do
                        for root in "${ROOTS[@]}"; do
                            for end in "${ENDS[@]}"; do
                                echo "$kernel:$image:$cpus:$memory:$console:$root:$end"
                            done
                        done
                    done
                done
            done
        done
    done
    choice | grep ':8:'
}

case ${1-} in
'') choice ;;
--full) product ;;
*) echo "usage: matrix.sh [--full]" >&2 && exit 2 ;;
esac
