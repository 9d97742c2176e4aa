#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# devices.sh SOURCE: devices can be compiled out, and the program says which ones it has. A wrong name is refused.
set -euo pipefail
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
source=$1

# Without optimisation: what is asked is whether it links.
quietly cmake -S "$source" -B "$WORK/build" -G Ninja -DCMAKE_BUILD_TYPE=None -DVMM_TESTS=OFF \
    "-DVMM_DEVICES=serial;ioapic;acpi_ged"
quietly cmake --build "$WORK/build" -j2
rows=$(grep -c '^    &' "$WORK/build/device_table.c")
((rows == 3)) || wrong "$rows classes in the table, not 3"
"$WORK/build/vmm" run --device help >"$WORK/help" 2>&1 || true
grep -q virtio-blk "$WORK/help" && wrong "the program offers virtio-blk: $(<"$WORK/help")"
quietly "$WORK/build/vmm" plan --pci off

if cmake -S "$source" -B "$WORK/wrong" -DVMM_TESTS=OFF -DVMM_DEVICES=sereal >"$WORK/log" 2>&1; then
    wrong "VMM_DEVICES=sereal is accepted"
elif [[ $(tr -s ' \n' ' ' <"$WORK/log") != *"there is no device 'sereal'; there are:"* ]]; then
    wrong "VMM_DEVICES=sereal: $(<"$WORK/log")"
fi
exit $FAILED
