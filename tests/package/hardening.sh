#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# hardening.sh PROGRAM BUILD: the program is what the release flags ask for. The marks for CET, and on Arm for BTI and
# PAC, (.note.gnu.property) are looked for in our archives: the linker drops the mark of a program as soon as one object
# lacks it, and Debian's libc.a does.
set -euo pipefail
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
program=$1 build=$2

readelf -hW "$program" >"$WORK/header"
readelf -lW "$program" >"$WORK/segments"
readelf -dW "$program" >"$WORK/dynamic"
nm "$program" >"$WORK/symbols"

grep -q 'Type: *DYN' "$WORK/header" || wrong "not position independent"
grep -q 'FLAGS_1.*PIE' "$WORK/dynamic" || wrong "not marked as PIE"
grep -q INTERP "$WORK/segments" && wrong "needs a dynamic linker"
grep -qE 'NEEDED|RPATH|RUNPATH' "$WORK/dynamic" && wrong "needs shared objects"
grep -q TEXTREL "$WORK/dynamic" && wrong "relocations in the code"
grep -q GNU_RELRO "$WORK/segments" || wrong "no RELRO"
grep -qE '\(FLAGS\).*BIND_NOW|FLAGS_1.*NOW' "$WORK/dynamic" || wrong "no BIND_NOW"
grep -q 'GNU_STACK .* RW ' "$WORK/segments" || wrong "the stack may be executed"
grep -qE '^ *[A-Z_]+ .* RWE ' "$WORK/segments" && wrong "a segment that is writable and executable"
grep -q ' __stack_chk_fail' "$WORK/symbols" || wrong "no stack protector"
grep -qE ' __(memcpy|snprintf)_chk' "$WORK/symbols" || wrong "no fortified calls"

# Each object of ours says that it can do CET, or on Arm BTI and PAC.
while IFS='|' read -r name _ archive _; do
    objects=$(ar t "$archive" | wc -l)
    readelf -hW "$archive" >"$WORK/headers"
    if grep -q 'Machine:.*X86-64' "$WORK/headers"; then
        marked=$(readelf -nW "$archive" | grep -c 'IBT, SHSTK' || true)
        ((marked == objects)) || wrong "$name: $marked of $objects objects are marked for IBT and SHSTK"
    else
        marked=$(readelf -nW "$archive" | grep -c 'BTI, PAC' || true)
        ((marked == objects)) || wrong "$name: $marked of $objects objects are marked for BTI and PAC"
    fi
done <"$build/libraries.txt"
readelf -sW "$build"/libvmm-*.a >"$WORK/undefined"
grep -q 'UND __stack_chk_fail' "$WORK/undefined" || wrong "archives without stack protector"
exit $FAILED
