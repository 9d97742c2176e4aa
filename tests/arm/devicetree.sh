#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# devicetree.sh --schemas   the bindings of Debian's kernel (package linux-doc-6.1), as dt-schema compiles them, into
#                           $BED/dt-schema.json; not made again
# devicetree.sh VMM...      with VMM, a command that starts the program for AArch64: dt-validate must know each node of
#                           the trees of some machines and find nothing wrong with it. 77: there are no schemas
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=tests/e2e/apt.sh
. "$(dirname "$0")/../e2e/apt.sh"

SCHEMAS=$BED/dt-schema.json
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

schemas() {
    local bindings=$WORK/usr/share/doc/linux-doc-6.1/Documentation/devicetree/bindings
    [[ ! -e $SCHEMAS ]] || return 0
    bed_lock
    apt_private bookworm
    unpack "$WORK" linux-doc-6.1
    find "$bindings" -name '*.gz' -exec gunzip {} +
    dt-mk-schema -j "$bindings" >"$SCHEMAS.part"
    sed -i "s,$bindings/,,g" "$SCHEMAS.part"
    mv "$SCHEMAS.part" "$SCHEMAS"
}

# The binding of pl061 does not know #address-cells, which dtc wants of every interrupt controller: without it the length
# of a row of an interrupt-map that leads there is not known (Devicetree Specification 0.4, 2.4.3). 0 is what the
# specification takes for one that is missing.
KNOWN="gpio@9200000: '#address-cells' does not match any of the regexes: 'pinctrl-[0-9]+'"

# check NAME OPTION...: the tree of the machine that the options make.
check() {
    local tree=$WORK/$1.dtb
    shift
    "${VMM[@]}" plan --dump-dtb "$tree" "$@" kernel >/dev/null
    # -m: a node whose compatible no schema knows is not left out silently.
    dt-validate -m -s "$SCHEMAS" "$tree" 2>&1 | sed "s,^$tree: ,," |
        awk -v known="$KNOWN" '/^\tFrom schema:/ && skip { next } { skip = $0 == known } !skip && NF' >"$WORK/said"
    [[ ! -s $WORK/said ]] || { cat "$WORK/said"; die "dt-validate complains of the machine of: $*"; }
}

# That it would have found something: a serial port without registers, and a clock of nobody's.
check_itself() {
    local expected
    dtc -q -I dtb -O dts "$WORK/all.dtb" |
        sed -e 's/reg = <0x00 0x9000000 /gone = <0x00 0x9000000 /' -e 's/arm,pl031/vendor,unknown/' |
        dtc -q -I dts -O dtb -o "$WORK/broken.dtb"
    dt-validate -m -s "$SCHEMAS" "$WORK/broken.dtb" >"$WORK/said" 2>&1 || true
    for expected in "serial@9000000: 'reg' is a required property" vendor,unknown; do
        grep -qF "$expected" "$WORK/said" || { cat "$WORK/said"; die "dt-validate overlooks '$expected'"; }
    done
}

if [[ ${1:-} = --schemas ]]; then
    schemas
    exit
fi
VMM=("$@")
if [[ ! -e $SCHEMAS ]] || ! command -v dt-validate >/dev/null; then
    say "NOT TESTED: no schemas: install dt-schema, then tests/arm/devicetree.sh --schemas"
    exit 77
fi
check all -c 2 --irqchip gicv3 --serial tty --console null --disk path=d,readonly=on --disk path=d,bus=mmio,readonly=on
check gicv2 -c 8 --irqchip gicv2 --disk path=d
check segments -c 16 --irqchip gicv3 --platform num_pci_segments=16 --rtc off --serial off
check nopci -m 65536 --irqchip gicv3 --pci off -i kernel --disk path=d
check_itself
