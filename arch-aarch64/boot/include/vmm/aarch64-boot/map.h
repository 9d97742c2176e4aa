/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The address map of an AArch64 machine. It is a function of its inputs alone and frozen per machine version
 * (docs/architecture.md has the picture): guests, snapshots and golden files depend on it.
 *
 * Version 1, everything within 36 address bits:
 *
 *   0x0000_0000  two flash banks of 64 MiB: nothing is there without firmware
 *   0x0800_0000  GICD, 64 KiB
 *   0x0801_0000  GICv2: GICC, 64 KiB
 *   0x0802_0000  GICv2: frame of GICv2m, 4 KiB
 *   0x0808_0000  GICv3: ITSs, 128 KiB each, one per PCI segment (KVM's knows 16 bits of device id, which is one segment)
 *   0x0900_0000  PL011 UARTs, 64 KiB apart (so that each can be its own page, whatever the guest's page size)
 *   0x0910_0000  PL031 clock
 *   0x0920_0000  PL061 GPIO, pin 3 is the power key
 *   0x0a00_0000  virtio-mmio devices, 4 KiB apart
 *   0x0b00_0000  64 KiB of memory in which the host tells how much time it stole from each CPU (not RAM to the guest)
 *   0x0c00_0000  GICv3: redistributors, 128 KiB each, room for 512
 *   0x1000_0000  PCI window of segment 0, 32-bit, up to
 *   0x3fff_0000  PCI I/O window of segment 0, 64 KiB
 *   0x4000_0000  RAM, in one piece; its first 2 MiB are the device tree's (also under firmware, which looks there);
 *                then, rounded up to 1 GiB: ECAM of segments 0 to 15, 256 MiB each (always reserved: 4 GiB), then one
 *                64-bit PCI window per segment, the remaining space split evenly, rounded down to 1 GiB, at most 64 GiB
 *                each
 */
#ifndef VMM_AARCH64_BOOT_MAP_H
#define VMM_AARCH64_BOOT_MAP_H

#include <stdint.h>

#include <vmm/vm-memory/memory.h>

enum {
    VBOOT_ARM_MACHINE_MAX = 1,
    VBOOT_ARM_SEGMENTS = 16,
    VBOOT_ARM_UARTS = 4,
    VBOOT_ARM_MMIO_SLOTS = 256,
    VBOOT_ARM_CPUS_MAX = 512, /* GICv3 */
    VBOOT_ARM_CPUS_MAX_V2 = 8, /* GICv2: architecture specification, 1.2 */
};

#define VBOOT_ARM_FLASH_BASE      0x00000000ULL
#define VBOOT_ARM_FLASH_BYTES     0x04000000ULL /* each of two */
#define VBOOT_ARM_GICD_BASE       0x08000000ULL
#define VBOOT_ARM_GICD_BYTES      0x10000ULL
#define VBOOT_ARM_GICC_BASE       0x08010000ULL
#define VBOOT_ARM_GICC_BYTES      0x10000ULL
#define VBOOT_ARM_V2M_BASE        0x08020000ULL
#define VBOOT_ARM_V2M_BYTES       0x1000ULL
#define VBOOT_ARM_ITS_BASE        0x08080000ULL /* of segment 0; the next ones follow */
#define VBOOT_ARM_ITS_BYTES       0x20000ULL
#define VBOOT_ARM_UART_BASE       0x09000000ULL
#define VBOOT_ARM_UART_STRIDE     0x10000ULL
#define VBOOT_ARM_RTC_BASE        0x09100000ULL
#define VBOOT_ARM_GPIO_BASE       0x09200000ULL
#define VBOOT_ARM_PRIMECELL_BYTES 0x1000ULL /* the registers of a PL011, PL031 or PL061 */
#define VBOOT_ARM_MMIO_BASE       0x0a000000ULL
#define VBOOT_ARM_MMIO_STRIDE     0x1000ULL
#define VBOOT_ARM_PVTIME_BASE     0x0b000000ULL /* 64 bytes for each CPU */
#define VBOOT_ARM_PVTIME_BYTES    0x10000ULL
#define VBOOT_ARM_GICR_BASE       0x0c000000ULL
#define VBOOT_ARM_GICR_BYTES      0x20000ULL /* each */
#define VBOOT_ARM_MEM32_BASE      0x10000000ULL
#define VBOOT_ARM_PCI_IO_BASE     0x3fff0000ULL
#define VBOOT_ARM_PCI_IO_BYTES    0x10000ULL
#define VBOOT_ARM_RAM_BASE        0x40000000ULL
#define VBOOT_ARM_DTB_BASE        VBOOT_ARM_RAM_BASE
#define VBOOT_ARM_DTB_BYTES       0x200000ULL
#define VBOOT_ARM_KERNEL_MIN \
    (VBOOT_ARM_DTB_BASE + VBOOT_ARM_DTB_BYTES) /* kernels are loaded above */

/* Wired interrupts are SPIs, counted from 0: SPI n is INTID 32 + n. */
enum {
    VBOOT_ARM_SPI_UART = 0, /* four */
    VBOOT_ARM_SPI_RTC = 4,
    VBOOT_ARM_SPI_GPIO = 5,
    VBOOT_ARM_SPI_PCI = 8, /* four pins of segment 0 */
    VBOOT_ARM_SPI_MMIO = 16, /* one for each virtio-mmio slot */
    VBOOT_ARM_SPIS = 288, /* so that 32 + this is a multiple of 32, as the GIC wants it */
    VBOOT_ARM_SPI_V2M = 288, /* GICv2: what messages raise, behind the wired ones */
    VBOOT_ARM_V2M_SPIS = 512,
    VBOOT_ARM_INTIDS = 32 + VBOOT_ARM_SPIS, /* KVM_DEV_ARM_VGIC_GRP_NR_IRQS with GICv3 */
    VBOOT_ARM_INTIDS_V2 = 32 + VBOOT_ARM_SPI_V2M + VBOOT_ARM_V2M_SPIS, /* and with GICv2 */
};
/* Private interrupts, counted from 0: PPI n is INTID 16 + n. The timers' are those of KVM and of Arm's Base System
 * Architecture (DEN0094, 3.8.1), as is the PMU's. */
enum {
    VBOOT_ARM_PPI_PMU = 7,
    VBOOT_ARM_PPI_TIMER_HYP = 10,
    VBOOT_ARM_PPI_TIMER_VIRT = 11,
    VBOOT_ARM_PPI_TIMER_SECURE = 13,
    VBOOT_ARM_PPI_TIMER_PHYS = 14,
};
/* Offset of the doorbell in an ITS (GITS_TRANSLATER) and in the frame of GICv2m (MSI_SETSPI_NS): where messages go. */
enum { VBOOT_ARM_ITS_DOORBELL = 0x10040, VBOOT_ARM_V2M_DOORBELL = 0x40 };

struct vboot_arm_range {
    uint64_t base, size; /* size 0: not there */
};

struct vboot_arm_map {
    unsigned version, segments;
    struct vboot_arm_range ram;
    struct vboot_arm_range mem32, pci_io; /* segment 0 */
    struct vboot_arm_range ecam[VBOOT_ARM_SEGMENTS];
    struct vboot_arm_range mem64[VBOOT_ARM_SEGMENTS];
};

/* Makes the map. version: 1. ram_bytes: a multiple of 4096, at least 4 MiB (the device tree and a small kernel). ipa_bits: of
 * the VM, 36 to 52. segments: 1 to 16. -EINVAL with text: what is too small, too large or odd. */
int vboot_arm_map_make(unsigned version, uint64_t ram_bytes, unsigned ipa_bits, unsigned segments,
                       struct vboot_arm_map *ret_map);

/* The affinity fields of MPIDR_EL1 that KVM gives to the n-th vCPU when it is reset: 16 CPUs in a group of level 0, 256 of
 * these in one of level 1. For a device tree without KVM (vmm plan). */
uint64_t vboot_arm_mpidr(unsigned n);

#endif
