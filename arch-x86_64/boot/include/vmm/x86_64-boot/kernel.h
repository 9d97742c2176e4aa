/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Loading a Linux kernel: bzImage (Documentation/arch/x86/boot.rst, protocol 2.10 and later, 32-bit and 64-bit entry) and
 * ELF vmlinux (64-bit protocol; PVH where the note is there: Xen's docs/misc/pvh.pandoc).
 *
 * The image comes from a file that may be broken or hostile: every number is checked before use, and segments are read
 * straight into guest memory.
 *
 * Order: vboot_x86_kernel_load(), then vboot_x86_initrd_load() if there is one, then vboot_x86_boot_params(), which writes command
 * line, boot parameters, page tables and descriptor tables and says where the first CPU starts.
 */
#ifndef VMM_X86_64_BOOT_KERNEL_H
#define VMM_X86_64_BOOT_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/file.h>
#include <vmm/vm-memory/view.h>
#include <vmm/x86_64-boot/map.h>

enum vboot_x86_protocol {
    VBOOT_X86_ENTRY_32, /* bzImage, 32-bit boot protocol */
    VBOOT_X86_ENTRY_64, /* bzImage or vmlinux, 64-bit boot protocol */
    VBOOT_X86_ENTRY_PVH, /* 32-bit, start info in EBX */
};

struct vboot_x86_kernel {
    enum vboot_x86_protocol protocol;
    uint64_t entry;
    uint64_t start, end; /* what the kernel needs: nothing else may be put there */
    uint64_t initrd_max; /* last byte an initrd may have */
    uint32_t cmdline_max; /* bytes, without the terminating zero */
    uint32_t header_bytes; /* of header; 0: none (vmlinux) */
    uint8_t header[0x100]; /* the setup header, from 0x1f1 */
    struct vboot_x86_range initrd;
};

/* Loads an image into RAM, which must be fresh: what an ELF file leaves out (bss) is not written. -ENOEXEC (neither bzImage nor ELF), -EINVAL (broken, truncated, for another architecture), -ENOSPC (does
 * not fit into RAM or would hit a hole), -errno of read; with text. */
int vboot_x86_kernel_load(const struct vboot_x86_map *map, struct gm_view *memory,
                          const struct vm_file *file, struct vboot_x86_kernel *ret_kernel);

/* As high as the kernel allows. -ENOSPC with text (sizes and limit). */
int vboot_x86_initrd_load(const struct vboot_x86_map *map, struct gm_view *memory,
                          const struct vm_file *file, struct vboot_x86_kernel *kernel);

/* A segment descriptor as both the GDT and KVM want it. */
struct vboot_x86_segment {
    uint16_t selector;
    uint8_t type; /* with S, DPL 0, present */
    bool long_mode, system;
    uint32_t limit; /* bytes - 1 */
};

/* The first CPU's state at entry; registers that are not named are 0, RFLAGS is 2. */
struct vboot_x86_start {
    uint64_t rip, rsi, rbx, rsp;
    uint64_t cr0, cr3, cr4, efer;
    uint64_t gdt_base;
    uint16_t gdt_limit;
    struct vboot_x86_segment cs, ds, tss; /* ds also for es, ss, fs, gs */
};

/* rsdp: address of the ACPI root pointer, 0: none. -EINVAL: command line too long (says the limit), with text. */
int vboot_x86_boot_params(const struct vboot_x86_map *map, struct gm_view *memory,
                          const struct vboot_x86_kernel *kernel, const char *cmdline, uint64_t rsdp,
                          struct vboot_x86_start *ret_start);

/* The E820 map the guest gets: at most max rows; returns the number. type: 1 RAM, 2 reserved. */
struct vboot_x86_e820 {
    uint64_t base, size;
    uint32_t type;
};
enum { VBOOT_X86_E820_MAX = 24 };
unsigned vboot_x86_e820_make(const struct vboot_x86_map *map,
                             struct vboot_x86_e820 ret_rows[VBOOT_X86_E820_MAX]);

#endif
