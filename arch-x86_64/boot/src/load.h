/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Between the files of the kernel loader. */
#ifndef VBOOT_X86_LOAD_H
#define VBOOT_X86_LOAD_H

#include <vmm/x86_64-boot/kernel.h>

/* What the boot code itself keeps below 1 MiB (boot_params.c). Kernels are loaded above. */
enum {
    VBOOT_X86_AT_GDT = 0x500,
    VBOOT_X86_AT_PVH = 0x6000, /* start info, module list, memory map */
    VBOOT_X86_AT_ZERO_PAGE = 0x7000, /* struct boot_params */
    VBOOT_X86_AT_PAGE_TABLES = 0x9000, /* PML4, PDPT, one PD: 1 GiB mapped */
    VBOOT_X86_AT_CMDLINE = 0x20000,
    VBOOT_X86_CMDLINE_ROOM = 0x10000,
    VBOOT_X86_KERNEL_MIN = 0x100000,
};
#define VBOOT_X86_MAPPED (1ULL << 30)

/* Reads [offset, offset + len) of the file to gpa. [gpa, gpa + len) must be RAM above 1 MiB: -ENOSPC. what names the piece. */
int vboot_x86_load_piece(const struct vboot_x86_map *map, struct gm_view *memory,
                         const struct vm_file *file, const char *what, uint64_t offset,
                         uint64_t len, gpa_t gpa);
/* [start, end) is RAM that a kernel may use. -ENOSPC with text. */
int vboot_x86_check_room(const struct vboot_x86_map *map, const struct vm_file *file,
                         const char *what, uint64_t start, uint64_t end);

int vboot_x86_bzimage_load(const struct vboot_x86_map *map, struct gm_view *memory,
                           const struct vm_file *file, struct vboot_x86_kernel *ret_kernel);
int vboot_x86_elf_load(const struct vboot_x86_map *map, struct gm_view *memory,
                       const struct vm_file *file, struct vboot_x86_kernel *ret_kernel);

#endif
