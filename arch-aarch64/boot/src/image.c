/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a file is: an Image (Documentation/arch/arm64/booting.rst, "Call the kernel image"), packed or not, or an EFI zboot
 * program (drivers/firmware/efi/libstub/zboot-header.S). Numbers of the PE header: Microsoft's PE Format, "COFF File Header",
 * "Section Table".
 */
#include "load.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>

enum {
    TEXT_OFFSET = 8,
    IMAGE_SIZE = 16,
    FLAGS = 24,
    MAGIC = 56,
    PE_OFFSET = 60, /* also of zboot */
    HEADER_BYTES = 64,
    FLAG_BIG_ENDIAN = 1 << 0,
    FLAG_PAGES = 1, /* two bits from here: 1 is 4 KiB, 2 is 16 KiB, 3 is 64 KiB */
    OLD_TEXT_OFFSET = 0x80000, /* before Linux 3.17, which left image_size 0 */

    ZBOOT_OFFSET = 8,
    ZBOOT_SIZE = 12,
    ZBOOT_TYPE = 24,
    ZBOOT_TYPE_END = 56,

    PE_MACHINE = 4,
    PE_SECTIONS = 6,
    PE_OPTIONAL_BYTES = 20,
    PE_HEADER_BYTES = 24,
    PE_SECTION_BYTES = 40,
    PE_RAW_SIZE = 16,
    PE_RAW_OFFSET = 20,
    PE_AARCH64 = 0xaa64,

    BZIMAGE_MAGIC = 0x202, /* Documentation/arch/x86/boot.rst */
};

/* ---- the header of an Image ---- */

static bool has(const uint8_t *head, size_t len, size_t at, const char *magic, size_t magic_len)
{
    return len >= at + magic_len && !memcmp(head + at, magic, magic_len);
}

/* No Image. People mix up files, and rarely give a random one. */
static int what_else(const char *name, const uint8_t *head, size_t len)
{
    unsigned machine;

    if (has(head, len, 0, ELFMAG, SELFMAG) && len >= HEADER_BYTES) {
        machine = (unsigned)vm_load_le(head + offsetof(Elf64_Ehdr, e_machine), 2);
        if (machine == EM_AARCH64)
            return vm_fail(
                -ENOEXEC, "%s is an ELF file (vmlinux): give the Image (vmlinuz) made of it", name);
        return vm_fail(-ENOEXEC,
                       "%s is an ELF file for another machine (%u): an AArch64 kernel is wanted",
                       name, machine);
    }
    if (has(head, len, BZIMAGE_MAGIC, "HdrS", 4))
        return vm_fail(-ENOEXEC, "%s is a kernel for x86 (bzImage): an AArch64 kernel is wanted",
                       name);
    if (has(head, len, MAGIC, "RSC\x05", 4))
        return vm_fail(-ENOEXEC, "%s is a kernel for RISC-V: an AArch64 kernel is wanted", name);
    return vm_fail(-ENOEXEC,
                   "%s is no AArch64 kernel: neither an Image (vmlinuz), plain or compressed with "
                   "gzip or zstd, nor EFI zboot",
                   name);
}

/* An Image does not say how long its file is, but an EFI stub's section table does. 0: there is none. */
static uint64_t promised_bytes(const uint8_t *head, size_t len)
{
    uint64_t pe = vm_load_le(head + PE_OFFSET, 4), at, end = 0;
    unsigned sections;

    if (!vm_range_in(pe, PE_HEADER_BYTES, len) || !has(head, len, pe, "PE\0", 4))
        return 0;
    sections = (unsigned)vm_load_le(head + pe + PE_SECTIONS, 2);
    at = pe + PE_HEADER_BYTES + vm_load_le(head + pe + PE_OPTIONAL_BYTES, 2);
    for (unsigned i = 0; i < sections && vm_range_in(at, PE_SECTION_BYTES, len); i++) {
        uint64_t raw =
            vm_load_le(head + at + PE_RAW_SIZE, 4) + vm_load_le(head + at + PE_RAW_OFFSET, 4);

        if (raw > end)
            end = raw;
        at += PE_SECTION_BYTES;
    }
    return end;
}

int vboot_arm_image_parse(const char *name, const uint8_t *head, size_t len,
                          struct vboot_arm_image *ret_image)
{
    struct vboot_arm_image image;
    uint64_t flags;
    unsigned pages;

    if (!has(head, len, MAGIC, "ARM\x64", 4) || len < HEADER_BYTES)
        return what_else(name, head, len);
    flags = vm_load_le(head + FLAGS, 8);
    if (flags & FLAG_BIG_ENDIAN)
        return vm_fail(-EINVAL, "%s is a big-endian kernel: give a little-endian one", name);
    pages = flags >> FLAG_PAGES & 3;
    image = (struct vboot_arm_image){ .text_offset = vm_load_le(head + TEXT_OFFSET, 8),
                                      .image_size = vm_load_le(head + IMAGE_SIZE, 8),
                                      .file_bytes = promised_bytes(head, len),
                                      .page_bytes = pages ? 1024U << 2 * pages : 0 };
    if (!image.image_size)
        image.text_offset = OLD_TEXT_OFFSET;
    *ret_image = image;
    return 0;
}

/* ---- which packing ---- */

static int other_packing(const char *name, const char *packing)
{
    return vm_fail(-ENOTSUP, "%s is compressed with %s: gzip and zstd are understood", name,
                   packing);
}

static int find_packing(const char *name, const uint8_t *head, size_t len,
                        enum vboot_arm_packing *ret_packing)
{
    static const struct {
        const char *magic;
        size_t len;
        const char *name;
    } others[] = {
        { "\xfd\x37zXZ\0", 6, "xz" },
        { "\x02\x21\x4c\x18", 4, "lz4" }, /* legacy format, which Linux's build uses */
        { "\x04\x22\x4d\x18", 4, "lz4" },
        { "BZh", 3, "bzip2" },
        { "\x5d\0\0", 3, "lzma" },
        { "\x89LZO", 4, "lzo" },
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(others); i++)
        if (has(head, len, 0, others[i].magic, others[i].len))
            return other_packing(name, others[i].name);
    *ret_packing = VBOOT_ARM_PLAIN;
    if (has(head, len, 0, "\x1f\x8b", 2))
        *ret_packing = VBOOT_ARM_GZIP;
    if (has(head, len, 0, "\x28\xb5\x2f\xfd", 4))
        *ret_packing = VBOOT_ARM_ZSTD;
    return 0;
}

/* ---- EFI zboot ---- */

/* Other architectures have zboot too, and say so in the PE header only. */
static int check_machine(const struct vm_file *file, const uint8_t *head)
{
    uint64_t pe = vm_load_le(head + PE_OFFSET, 4);
    uint8_t coff[PE_MACHINE + 2];
    unsigned machine;
    int rc;

    if (!vm_range_in(pe, sizeof(coff), file->size))
        return vm_fail(-EINVAL, "%s is cut off (copy it again) inside its PE header", file->name);
    rc = file->read(file, coff, sizeof(coff), pe);
    if (rc)
        return rc;
    machine = (unsigned)vm_load_le(coff + PE_MACHINE, 2);
    if (machine != PE_AARCH64)
        return vm_fail(-ENOEXEC,
                       "%s is an EFI kernel for another machine (0x%x): an AArch64 kernel is "
                       "wanted",
                       file->name, machine);
    return 0;
}

static int find_zboot(const struct vm_file *file, const uint8_t *head,
                      struct vboot_arm_place *ret_place)
{
    char type[ZBOOT_TYPE_END - ZBOOT_TYPE + 1] = { 0 };
    int rc = check_machine(file, head);

    if (rc)
        return rc;
    ret_place->offset = vm_load_le(head + ZBOOT_OFFSET, 4);
    ret_place->len = vm_load_le(head + ZBOOT_SIZE, 4);
    if (!vm_range_in(ret_place->offset, ret_place->len, file->size))
        return vm_fail(
            -EINVAL,
            "%s is cut off (copy it again): the compressed kernel should end at byte %llu of %llu",
            file->name, (unsigned long long)(ret_place->offset + ret_place->len),
            (unsigned long long)file->size);
    memcpy(type, head + ZBOOT_TYPE, sizeof(type) - 1);
    for (char *c = type; *c; c++) /* it goes into a message */
        if (*c < ' ' || *c > '~')
            *c = '?';
    if (!strcmp(type, "gzip"))
        ret_place->packing = VBOOT_ARM_GZIP;
    else if (!strcmp(type, "zstd") || !strcmp(type, "zstd22")) /* the latter: Linux's build */
        ret_place->packing = VBOOT_ARM_ZSTD;
    else
        return other_packing(file->name, type);
    return 0;
}

int vboot_arm_image_find(const struct vm_file *file, struct vboot_arm_place *ret_place)
{
    struct vboot_arm_place place = { .len = file->size };
    size_t len = file->size < HEADER_BYTES ? (size_t)file->size : HEADER_BYTES;
    uint8_t head[HEADER_BYTES];
    int rc = len ? file->read(file, head, len, 0) : 0;

    if (rc)
        return rc;
    if (len == HEADER_BYTES && has(head, len, 0, "MZ", 2) && has(head, len, 4, "zimg", 4))
        rc = find_zboot(file, head, &place);
    else
        rc = find_packing(file->name, head, len, &place.packing);
    if (!rc)
        *ret_place = place;
    return rc;
}
