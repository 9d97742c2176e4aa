/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The address map of an x86_64 machine. It is a function of its inputs alone and frozen per machine version
 * (docs/architecture.md has the picture): guests, snapshots and golden files depend on it.
 *
 * Version 1, all sizes in bytes, everything within 36 address bits:
 *
 *   0x0000_0000  RAM, up to 3 GiB; 0xa0000 to 0xfffff is not offered to the guest, ACPI tables from 0xe0000
 *   0xc000_0000  PCI window of segment 0, 32-bit
 *   0xe000_0000  ECAM of segment 0, 256 buses
 *   0xf000_0000  ECAM of segments 1 to 15, 8 buses each
 *   0xfeb0_0000  virtio-mmio devices, 4 KiB apart (so that each can be its own page)
 *   0xfec0_0000  I/O APIC;  0xfee0_0000 local APICs;  0xfeff_c000 KVM's identity map and TSS pages
 *   0x1_0000_0000  the rest of RAM, then rounded up to 1 GiB: 4 GiB free, then one 64-bit PCI window per
 *                segment, the remaining space split evenly, rounded down to 1 GiB, at most 64 GiB each
 *
 * Ports: 0x60 i8042 (without ACPI), 0x70 CMOS, 0x80 and 0x402 debug, 0x3f8 serial, 0x600 ACPI sleep and reset
 * registers (4), 0xcf8 PCI (where asked), 0x1000 PCI I/O window.
 */
#ifndef VMM_X86_64_BOOT_MAP_H
#define VMM_X86_64_BOOT_MAP_H

#include <stdint.h>

#include <vmm/vm-memory/memory.h>

enum { VBOOT_X86_MACHINE_MAX = 1, VBOOT_X86_SEGMENTS = 16, VBOOT_X86_MMIO_SLOTS = 256 };

#define VBOOT_X86_LEGACY_HOLE  0xa0000ULL
#define VBOOT_X86_LEGACY_BYTES 0x60000ULL
#define VBOOT_X86_ACPI_BASE    0xe0000ULL
/* Where the processor would start, and where Linux jumps to reboot a machine without EFI (BOOT_BIOS): the last bytes below 1 MiB. */
#define VBOOT_X86_RESET_VECTOR 0xffff0ULL
#define VBOOT_X86_ACPI_BYTES   0x20000ULL
#define VBOOT_X86_LOW_END      0xc0000000ULL /* RAM below 4 GiB ends here at the latest */
#define VBOOT_X86_MMIO_BASE    0xfeb00000ULL
#define VBOOT_X86_MMIO_STRIDE  0x1000ULL
#define VBOOT_X86_IOAPIC_BASE  0xfec00000ULL
#define VBOOT_X86_LAPIC_BASE   0xfee00000ULL
#define VBOOT_X86_IDENTITY_MAP 0xfeffc000ULL /* one page; the three TSS pages follow it */
#define VBOOT_X86_HIGH_BASE    0x100000000ULL

enum {
    VBOOT_X86_PORT_RTC = 0x70,
    VBOOT_X86_PORT_SERIAL = 0x3f8,
    VBOOT_X86_PORT_PM = 0x600, /* sleep control, sleep status, reset */
    VBOOT_X86_PORT_PCI = 0x1000,
    VBOOT_X86_PORT_PCI_BYTES = 0xf000,
};
/* Global system interrupts: ISA ones as ever, the rest above. */
enum {
    VBOOT_X86_GSI_SERIAL = 4,
    VBOOT_X86_GSI_RTC = 8,
    VBOOT_X86_GSI_GED = 9,
    VBOOT_X86_GSI_PCI = 16, /* four pins */
    VBOOT_X86_GSI_MMIO = 5, /* virtio-mmio devices: 5, 6, 7, 10 to 15, 20 to 23, then shared */
    VBOOT_X86_GSIS = 24,
};

struct vboot_x86_range {
    uint64_t base, size; /* size 0: not there */
};

struct vboot_x86_map {
    unsigned version, segments;
    struct vboot_x86_range ram_low, ram_high;
    struct vboot_x86_range mem32; /* segment 0 */
    struct vboot_x86_range ecam[VBOOT_X86_SEGMENTS];
    struct vboot_x86_range mem64[VBOOT_X86_SEGMENTS];
};

/* Makes the map. version: 1. ram_bytes: a multiple of 4096. phys_bits: of the guest's CPUs. segments: 1 to 16. -EINVAL with
 * text: what is too small, too large or odd. */
int vboot_x86_map_make(unsigned version, uint64_t ram_bytes, unsigned phys_bits, unsigned segments,
                       struct vboot_x86_map *ret_map);

/* The interrupt of the n-th virtio-mmio device. */
uint32_t vboot_x86_mmio_gsi(unsigned n);

#endif
