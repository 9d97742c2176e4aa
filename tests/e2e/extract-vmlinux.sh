#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# extract-vmlinux.sh BZIMAGE OUTPUT: the ELF kernel inside an x86 bzImage.
# Linux Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, "HdrS" at 0x202, payload_offset at 0x248
# (from the start of the protected-mode code) and payload_length at 0x24c. The build appends the unpacked
# size, 4 bytes, to the formats that do not hold it (all but gzip, where it is part of the format).
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

IN=$1 OUT=$2

# bytes OFFSET LENGTH
bytes() { dd if="$IN" iflag=skip_bytes,count_bytes skip="$1" count="$2" bs=64k status=none; }

# field FORMAT SIZE OFFSET
field() { od -A n -t "$1$2" -N "$2" -j "$3" "$IN" | tr -d ' '; }

[[ $(bytes $((0x202)) 4 | tr -d '\0') = HdrS ]] || die "$IN is not a bzImage"
sectors=$(field u 1 0x1f1)
start=$(((sectors ? sectors : 4) * 512 + 512 + $(field u 4 0x248)))
length=$(field u 4 0x24c)
case $(field x 4 $start) in
*8b1f) unpack=(gzip -dc) ;;
587a37fd) unpack=(xz -dc) length=$((length - 4)) ;;
fd2fb528) unpack=(zstd -dcq) length=$((length - 4)) ;;
184c2102) unpack=(lz4 -dcq) length=$((length - 4)) ;;
*) die "$IN: payload of unknown compression" ;;
esac
trap 'rm -f "$OUT.part"' EXIT
bytes "$start" "$length" | "${unpack[@]}" >"$OUT.part"
[[ $(od -A n -c -N 4 "$OUT.part") = *E*L*F* ]] || die "$IN: the payload is not an ELF file"
mv "$OUT.part" "$OUT"
