/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Loading kernel and initrd: which format it is, and the steps all formats share. */
#include "load.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>

enum { READ_BYTES = 4 << 20, INITRD_ALIGN = GM_PAGE_BYTES };

int vboot_x86_check_room(const struct vboot_x86_map *map, const struct vm_file *file,
                         const char *what, uint64_t start, uint64_t end)
{
    if (start < VBOOT_X86_KERNEL_MIN)
        return vm_fail(-ENOSPC,
                       "%s: %s at 0x%llx lies below 1 MiB, where boot data and the legacy hole "
                       "are: give another kernel",
                       file->name, what, (unsigned long long)start);
    if (end > VBOOT_X86_LOW_END)
        return vm_fail(-ENOSPC,
                       "%s: %s needs 0x%llx to 0x%llx, which hits the hole for devices at 0x%llx: "
                       "no machine has memory there; link it lower",
                       file->name, what, (unsigned long long)start, (unsigned long long)end,
                       VBOOT_X86_LOW_END);
    if (end < start || end > map->ram_low.size)
        return vm_fail(
            -ENOSPC,
            "%s: %s needs 0x%llx to 0x%llx, but memory ends at 0x%llx: give the guest more memory",
            file->name, what, (unsigned long long)start, (unsigned long long)end,
            (unsigned long long)map->ram_low.size);
    return 0;
}

int vboot_x86_load_piece(const struct vboot_x86_map *map, struct gm_view *memory,
                         const struct vm_file *file, const char *what, uint64_t offset,
                         uint64_t len, gpa_t gpa)
{
    uint64_t end;
    void *host;
    int rc;

    if (!vm_range_in(offset, len, file->size))
        return vm_fail(
            -EINVAL,
            "%s: %s ends behind the file's end (%llu bytes): the file is cut off (copy it again)",
            file->name, what, (unsigned long long)file->size);
    if (!vm_add(gpa, len, &end))
        return vm_fail(-ENOSPC,
                       "%s: %s at 0x%llx wraps around the address space: the file is damaged (copy "
                       "or build it again)",
                       file->name, what, (unsigned long long)gpa);
    rc = vboot_x86_check_room(map, file, what, gpa, end);
    for (uint64_t done = 0; !rc && done < len;) {
        uint64_t n = len - done < READ_BYTES ? len - done : READ_BYTES;

        rc = gm_host(memory, gpa + done, n, GM_WRITE, &host);
        if (rc)
            return vm_fail(rc, "%s: %s: no memory at 0x%llx", file->name, what,
                           (unsigned long long)(gpa + done));
        rc = file->read(file, host, n, offset + done);
        gm_written(memory, gpa + done, n);
        done += n;
    }
    return rc;
}

int vboot_x86_kernel_load(const struct vboot_x86_map *map, struct gm_view *memory,
                          const struct vm_file *file, struct vboot_x86_kernel *ret_kernel)
{
    uint8_t magic[4] = { 0 };
    int rc;

    if (file->size < sizeof(magic))
        return vm_fail(
            -EINVAL, "%s: %llu bytes are no kernel: give a bzImage (vmlinuz) or ELF file (vmlinux)",
            file->name, (unsigned long long)file->size);
    rc = file->read(file, magic, sizeof(magic), 0);
    if (rc)
        return rc;
    if (!memcmp(magic, ELFMAG, SELFMAG))
        return vboot_x86_elf_load(map, memory, file, ret_kernel);
    return vboot_x86_bzimage_load(map, memory, file, ret_kernel);
}

/* Who is in the way decides what helps. */
static int initrd_too_large(const struct vboot_x86_map *map, const struct vm_file *file,
                            const struct vboot_x86_kernel *kernel)
{
    unsigned long long size = file->size, start = kernel->end, limit = kernel->initrd_max,
                       end = map->ram_low.size;

    if (limit < end && limit < UINT64_MAX)
        return vm_fail(-ENOSPC,
                       "%s: %llu bytes of initrd do not fit between the kernel's end 0x%llx and "
                       "0x%llx, the last address this kernel takes: give a smaller initrd",
                       file->name, size, start, limit);
    return vm_fail(-ENOSPC,
                   "%s: %llu bytes of initrd do not fit between the kernel's end 0x%llx and the "
                   "end of memory 0x%llx: give the guest more memory or a smaller initrd",
                   file->name, size, start, end);
}

int vboot_x86_initrd_load(const struct vboot_x86_map *map, struct gm_view *memory,
                          const struct vm_file *file, struct vboot_x86_kernel *kernel)
{
    uint64_t top = map->ram_low.size, at;
    int rc;

    if (kernel->initrd_max < top)
        top = kernel->initrd_max + 1;
    at = file->size <= top ? (top - file->size) & ~(uint64_t)(INITRD_ALIGN - 1) : 0;
    if (at < kernel->end)
        return initrd_too_large(map, file, kernel);
    rc = vboot_x86_load_piece(map, memory, file, "initrd", 0, file->size, at);
    if (!rc)
        kernel->initrd = (struct vboot_x86_range){ at, file->size };
    return rc;
}
