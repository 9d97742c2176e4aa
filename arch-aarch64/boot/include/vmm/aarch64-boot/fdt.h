/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The device tree of an AArch64 machine (Devicetree Specification 0.4, and the bindings of the Linux sources): what no device
 * owns (CPUs, memory, PSCI, timer, GIC, PMU, PCI host bridges, what was chosen), and one node for each device from what it
 * says about itself (struct vdev_firmware).
 *
 * What hangs on which device is a matter of the map: the device at VBOOT_ARM_UART_BASE is standard output, the one at
 * VBOOT_ARM_GPIO_BASE has the power key. Its labels (for overlays, in /__symbols__): gic, apb_clk, its0 ... or v2m, pcie0 ...,
 * uart0 ..., rtc, gpio0.
 */
#ifndef VMM_AARCH64_BOOT_FDT_H
#define VMM_AARCH64_BOOT_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/aarch64-boot/map.h>
#include <vmm/base/report.h>
#include <vmm/base/state.h>
#include <vmm/devices-core/device.h>

enum vboot_arm_gic { VBOOT_ARM_GIC_V3, VBOOT_ARM_GIC_V2 };

struct vboot_arm_cpu {
    uint64_t mpidr; /* affinity fields; other bits are ignored */
    uint32_t node; /* NUMA; counts where there are several */
};

/* How CPUs are grouped: clusters per socket, cores per cluster, threads per core; CPU 0 is thread 0 of core 0 ..., CPU 1 the
 * next thread. 0 means 1. All 0 or 1: nothing is said. Otherwise their product must not be less than the number of CPUs. */
struct vboot_arm_topology {
    unsigned sockets, clusters, cores, threads;
};

struct vboot_arm_memory {
    struct vboot_arm_range range;
    uint32_t node;
};

enum {
    VBOOT_ARM_CMDLINE_MAX =
        2047, /* without the zero: COMMAND_LINE_SIZE of arch/arm64/include/uapi/asm/setup.h */
    VBOOT_ARM_SEED_BYTES = 64 + 8, /* rng-seed and kaslr-seed */
    VBOOT_ARM_POWER_PIN = 3,
    VBOOT_ARM_APB_HZ = 24000000,
    VBOOT_ARM_OVERLAY_BYTES = 64 << 10, /* of an overlay, at most */
};

/* Everything is borrowed for the call. */
struct vboot_arm_fdt {
    const struct vboot_arm_map *map;
    const struct vboot_arm_cpu *cpus;
    size_t cpu_count; /* all the guest may start: 1 to VBOOT_ARM_CPUS_MAX, GICv2: 8 */
    struct vboot_arm_topology topology;
    const struct vboot_arm_memory
        *memory; /* RAM by NUMA nodes, in ascending order; none: all of map->ram, no NUMA */
    size_t memory_count;
    enum vboot_arm_gic gic;
    bool msi; /* GICv3: an ITS per segment; GICv2: the frame of GICv2m */
    bool pmu;
    bool pci; /* host bridges of map->segments segments, one bus each */
    bool pci_io; /* segment 0 has an I/O window */
    bool pci_intx; /* pins of segment 0 are wired to VBOOT_ARM_SPI_PCI and the next three */
    const struct vdev_firmware *const *devices; /* what each platform and virtio-mmio device says */
    size_t device_count;
    const char *cmdline; /* NULL: none */
    struct vboot_arm_range initrd;
    const uint8_t *seed; /* VBOOT_ARM_SEED_BYTES of randomness, new for each boot; NULL: none */
};

/* Makes the tree. The blob is the caller's, who frees it with vm_buffer_free(). -EINVAL (too many CPUs for this GIC, two with
 * one MPIDR, command line too long (says the limit), a device without address ...), -E2BIG (over 2 MiB), -ENOMEM, with text. */
int vboot_arm_fdt_make(const struct vboot_arm_fdt *config, struct vm_buffer *ret_blob);

/* Applies an overlay (made by dtc from a /plugin/ source) to a finished tree. name is for messages. -EINVAL (no device tree, cut
 * off, no fragments, what it refers to is not there ...), -E2BIG (over 64 KiB, or the result over 2 MiB), -ENOMEM, with text;
 * then the tree is as before. */
int vboot_arm_fdt_overlay(struct vm_buffer *blob, const char *name, const void *untrusted,
                          size_t len);

/* A tree in words, "  /node property: value" for each property, in the tree's order: strings in quotes, numbers of 32 bits, or bytes.
 * -EINVAL with text: it is none. */
int vboot_arm_fdt_tell(const void *untrusted, size_t len, struct vm_report *report);

#endif
