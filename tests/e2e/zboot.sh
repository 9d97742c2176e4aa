#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# zboot.sh KERNEL zboot.gz|zboot.zst: of the Image of KERNEL, a name below $BED/kernels, an EFI zboot file beside it, as Linux's
# build makes one with CONFIG_EFI_ZBOOT (drivers/firmware/efi/libstub: zboot-header.S, Makefile.zboot), which no kernel of
# Debian's has. The program that unpacks itself under firmware is left out, a page of zeros in its place: a loader has
# no use for it. The payload is the Image with its BSS (to the size at byte 16 of its header), packed by the same
# commands; behind zstd's stands the unpacked size, which the header does not count. Made again only when the Image is newer.
set -euo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

case $2 in
zboot.gz) TYPE=gzip ;;
zboot.zst) TYPE=zstd22 ;;
*) die "$2: zboot.gz or zboot.zst" ;;
esac
IMAGE=$KERNELS/$1/vmlinuz OUTPUT=$KERNELS/$1/$2
! newer "$OUTPUT" "$IMAGE" "$0" || exit 0
bed_lock
say "$1: $2"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

le32() {
    local hex
    hex=$(printf %08x "$1")
    printf '%b' "\x${hex:6:2}\x${hex:4:2}\x${hex:2:2}\x${hex:0:2}"
}

cp "$IMAGE" "$WORK/image"
size=$(od -A n -t u8 -j 16 -N 8 "$IMAGE" | tr -d ' ')
truncate -s "$size" "$WORK/image"
case $TYPE in
gzip) gzip -n -9 <"$WORK/image" >"$WORK/payload" ;;
# Through a pipe: without a size known beforehand the window is as large as the level allows, 128 MiB.
zstd22) head -c "$size" "$WORK/image" | zstd -q -22 --ultra >"$WORK/payload" ;;
esac
{
    printf 'MZ\0\0zimg'
    le32 4096
    le32 "$(stat -c %s "$WORK/payload")"
    le32 0
    le32 0
    printf '%s' "$TYPE"
    head -c $((0x38 - 24 - ${#TYPE})) /dev/zero
    le32 $((0x818223cd)) # LINUX_PE_MAGIC
    le32 64
    printf 'PE\0\0\x64\xaa' # IMAGE_FILE_MACHINE_ARM64
    head -c $((4096 - 70)) /dev/zero
    cat "$WORK/payload"
    [[ $TYPE = gzip ]] || le32 "$size"
} >"$OUTPUT.part"
mv "$OUTPUT.part" "$OUTPUT"
