/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* bzImage (Documentation/arch/x86/boot.rst: "The Real-mode Kernel Header", "64-bit Boot Protocol"). Offsets are those of that
 * document, from the start of the file. */
#include "load.h"

#include <errno.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>
#include <vmm/base/le.h>

enum {
    HEADER = 0x1f1,
    SETUP_SECTS = 0x1f1,
    BOOT_FLAG = 0x1fe,
    JUMP_LEN = 0x201, /* the header ends at 0x202 + this byte */
    MAGIC = 0x202,
    VERSION = 0x206,
    LOADFLAGS = 0x211,
    INITRD_ADDR_MAX = 0x22c,
    KERNEL_ALIGNMENT = 0x230,
    RELOCATABLE = 0x234,
    XLOADFLAGS = 0x236,
    CMDLINE_SIZE = 0x238,
    PREF_ADDRESS = 0x258,
    INIT_SIZE = 0x260,
    HEADER_END = 0x264, /* what protocol 2.10 has at least: init_size is its last field */
    HEADER_MAX = 0x290, /* behind it struct boot_params goes on with other things */

    ARM_MAGIC = 56, /* Documentation/arch/arm64/booting.rst */
    LOADED_HIGH = 1 << 0,
    XLF_KERNEL_64 = 1 << 0,
    ENTRY_64 = 0x200, /* from the load address */
    SECTOR = 512,
};

struct header {
    uint8_t b[HEADER + 0x100]; /* indexed by the document's offsets */
};

static uint32_t field(const struct header *h, unsigned offset, unsigned len)
{
    return (uint32_t)vm_load_le(h->b + offset, len);
}

static uint32_t header_end(const struct header *h)
{
    return MAGIC + (uint32_t)h->b[JUMP_LEN];
}

static int read_header(const struct vm_file *file, struct header *h)
{
    size_t len = file->size < sizeof(h->b) ? (size_t)file->size : sizeof(h->b);
    int rc;

    memset(h, 0, sizeof(*h));
    rc = file->read(file, h->b, len, 0);
    if (rc)
        return rc;
    if (!memcmp(h->b + ARM_MAGIC, "ARM\x64", 4))
        return vm_fail(-ENOEXEC, "%s is a kernel for AArch64 (Image): an x86_64 kernel is wanted",
                       file->name);
    if (field(h, BOOT_FLAG, 2) != 0xaa55 || memcmp(h->b + MAGIC, "HdrS", 4))
        return vm_fail(
            -ENOEXEC,
            "%s is no x86_64 kernel: neither a bzImage (vmlinuz) nor an ELF file (vmlinux)",
            file->name);
    if (len < HEADER_END)
        return vm_fail(-EINVAL, "%s is cut off (copy it again) inside the setup header",
                       file->name);
    if (field(h, VERSION, 2) < 0x20a)
        return vm_fail(-EINVAL,
                       "%s: boot protocol %u.%02u is too old: 2.10 (Linux 2.6.31) is the oldest",
                       file->name, field(h, VERSION, 2) >> 8, field(h, VERSION, 2) & 0xff);
    if (!(field(h, LOADFLAGS, 1) & LOADED_HIGH))
        return vm_fail(-EINVAL, "%s is a zImage, which loads below 1 MiB: give a bzImage",
                       file->name);
    if (header_end(h) < HEADER_END)
        return vm_fail(-EINVAL, "%s: the setup header ends at byte 0x%x: protocol 2.10 has 0x%x",
                       file->name, header_end(h), HEADER_END);
    return 0;
}

/* A relocatable kernel goes where it prefers. Another one is loaded at 1 MiB, where it must, and moves itself to the address
 * it prefers ("init_size"). */
static int place(const struct vboot_x86_map *map, const struct vm_file *file,
                 const struct header *h, uint64_t payload, struct vboot_x86_kernel *k)
{
    uint64_t align = field(h, KERNEL_ALIGNMENT, 4), need = field(h, INIT_SIZE, 4);
    uint64_t preferred = vm_load_le(h->b + PREF_ADDRESS, 8), end;
    bool relocatable = field(h, RELOCATABLE, 1);

    k->start = relocatable ? preferred : VBOOT_X86_KERNEL_MIN;
    if (relocatable && (!vm_is_pow2(align) || k->start % align))
        return vm_fail(-EINVAL,
                       "%s: load address 0x%llx does not fit the alignment 0x%llx in the header",
                       file->name, (unsigned long long)k->start, (unsigned long long)align);
    if (!vm_add(preferred, need, &end) || !vm_add(k->start, payload, &k->end))
        end = UINT64_MAX;
    if (k->end < end)
        k->end = end;
    if (k->end > VBOOT_X86_MAPPED)
        return vm_fail(
            -EINVAL,
            "%s: load address 0x%llx and size reach beyond the first GiB, which the boot page "
            "tables map",
            file->name, (unsigned long long)k->start);
    return vboot_x86_check_room(map, file, "the kernel with its work space", k->start, k->end);
}

int vboot_x86_bzimage_load(const struct vboot_x86_map *map, struct gm_view *memory,
                           const struct vm_file *file, struct vboot_x86_kernel *ret_kernel)
{
    struct vboot_x86_kernel k = { .protocol = VBOOT_X86_ENTRY_32 };
    uint64_t setup;
    struct header h;
    int rc = read_header(file, &h);

    if (rc)
        return rc;
    setup = (field(&h, SETUP_SECTS, 1) ? field(&h, SETUP_SECTS, 1) : 4) + 1; /* 0 means 4 */
    setup *= SECTOR;
    if (setup >= file->size)
        return vm_fail(
            -EINVAL, "%s is cut off (copy it again): the kernel should begin at byte %llu of %llu",
            file->name, (unsigned long long)setup, (unsigned long long)file->size);
    /* syssize (0x1f4, 16-byte units) says how much of the file is kernel. */
    if (((uint64_t)field(&h, 0x1f4, 4) << 4) > file->size - setup + 15)
        return vm_fail(-EINVAL,
                       "%s is cut off (copy it again): the header promises %llu bytes of kernel, "
                       "%llu are there",
                       file->name, (unsigned long long)field(&h, 0x1f4, 4) << 4,
                       (unsigned long long)(file->size - setup));
    rc = place(map, file, &h, file->size - setup, &k);
    if (!rc)
        rc = vboot_x86_load_piece(map, memory, file, "the kernel", setup, file->size - setup,
                                  k.start);
    if (rc)
        return rc;

    k.entry = k.start;
    if (field(&h, VERSION, 2) >= 0x20c && field(&h, XLOADFLAGS, 2) & XLF_KERNEL_64) {
        k.protocol = VBOOT_X86_ENTRY_64;
        k.entry += ENTRY_64;
    }
    k.initrd_max = field(&h, INITRD_ADDR_MAX, 4);
    k.cmdline_max = field(&h, CMDLINE_SIZE, 4);
    k.header_bytes = (header_end(&h) < HEADER_MAX ? header_end(&h) : HEADER_MAX) - HEADER;
    memcpy(k.header, h.b + HEADER, k.header_bytes);
    *ret_kernel = k;
    return 0;
}
