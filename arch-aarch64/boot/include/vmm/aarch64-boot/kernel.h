/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Loading a Linux kernel: Image (Documentation/arch/arm64/booting.rst), plain, compressed with gzip or zstd, or as an EFI
 * zboot program (drivers/firmware/efi/libstub/zboot-header.S of the Linux sources), which we unpack ourselves.
 *
 * The image comes from a file that may be broken or hostile: every number is checked before use. It is read, or unpacked,
 * straight into guest memory in pieces; what it unpacks to is never more than RAM has room for, and unpacking takes at most
 * 130 MiB of the host's memory (zstd, window of 128 MiB; gzip: 1 MiB).
 *
 * Order: vboot_arm_kernel_load(), then vboot_arm_initrd_load() if there is one, then vboot_arm_fdt_make() (fdt.h), which tells
 * the guest of it, then vboot_arm_dtb_load(), which says where the first CPU starts. The other CPUs are started by PSCI.
 */
#ifndef VMM_AARCH64_BOOT_KERNEL_H
#define VMM_AARCH64_BOOT_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include <vmm/aarch64-boot/map.h>
#include <vmm/base/file.h>
#include <vmm/vm-memory/view.h>

struct vboot_arm_kernel {
    uint64_t entry;
    uint64_t start, end; /* what the kernel needs: nothing else may be put there */
    uint32_t page_bytes; /* granule it was built for: 4096, 16384, 65536; 0: it does not say */
    struct vboot_arm_range initrd;
};

/* Loads an image into RAM, which must be fresh: what the file leaves out (bss) is not written. -ENOEXEC (no Image in any of
 * these forms; a kernel for another architecture), -EINVAL (broken, cut off, big-endian), -ENOTSUP (compressed in another
 * way), -ENOSPC (does not fit into RAM), -ENOMEM, -errno of read; with text. */
int vboot_arm_kernel_load(const struct vboot_arm_map *map, struct gm_view *memory,
                          const struct vm_file *file, struct vboot_arm_kernel *ret_kernel);

/* As high as RAM goes, but within 32 GiB from its start (booting.rst: one window of that size has kernel and initrd).
 * -ENOSPC with text (sizes and limit). */
int vboot_arm_initrd_load(const struct vboot_arm_map *map, struct gm_view *memory,
                          const struct vm_file *file, struct vboot_arm_kernel *kernel);

/* The first CPU's state at entry; registers that are not named are 0. pstate: EL1h with all interrupts masked. MMU and caches
 * are off, as after a reset. */
struct vboot_arm_start {
    uint64_t pc, x0, pstate;
};

/* Writes the device tree to the start of RAM. kernel: NULL under firmware, which starts at VBOOT_ARM_FLASH_BASE. -E2BIG (over
 * VBOOT_ARM_DTB_BYTES), -EFAULT (RAM of the map is not there), with text. */
int vboot_arm_dtb_load(const struct vboot_arm_map *map, struct gm_view *memory, const void *dtb,
                       size_t len, const struct vboot_arm_kernel *kernel,
                       struct vboot_arm_start *ret_start);

#endif
