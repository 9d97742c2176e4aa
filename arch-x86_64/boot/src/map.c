/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The address map of an x86_64 machine, version 1: see map.h for the picture. */
#include <vmm/x86_64-boot/map.h>

#include <errno.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>

#define GIB         (1ULL << 30)
#define ECAM0_BASE  0xe0000000ULL
#define ECAM0_BYTES (256ULL << 20) /* 256 buses of 1 MiB */
#define ECAM1_BASE  (ECAM0_BASE + ECAM0_BYTES)
#define ECAM1_BYTES (8ULL << 20) /* of each other segment */
#define HIGH_FREE   (4 * GIB)
#define WINDOW_MAX  (64 * GIB)
#define RAM_MIN     (1ULL << 20)

static int check(unsigned version, uint64_t ram_bytes, unsigned phys_bits, unsigned segments)
{
    if (version < 1 || version > VBOOT_X86_MACHINE_MAX)
        return vm_fail(-EINVAL, "machine version %u: this build knows 1 to %u", version,
                       VBOOT_X86_MACHINE_MAX);
    if (ram_bytes % GM_PAGE_BYTES)
        return vm_fail(-EINVAL, "memory size %llu is not a multiple of the page size 4096",
                       (unsigned long long)ram_bytes);
    if (ram_bytes <= RAM_MIN)
        return vm_fail(-EINVAL,
                       "memory size %llu is too small: an x86_64 machine needs more than 1 MiB",
                       (unsigned long long)ram_bytes);
    if (phys_bits < 36 || phys_bits > 52)
        return vm_fail(-EINVAL, "%u physical address bits: x86_64 CPUs have 36 to 52", phys_bits);
    if (segments < 1 || segments > VBOOT_X86_SEGMENTS)
        return vm_fail(-EINVAL, "%u PCI segments: there can be 1 to %u", segments,
                       VBOOT_X86_SEGMENTS);
    return 0;
}

static void place_ram(uint64_t bytes, struct vboot_x86_map *map)
{
    uint64_t low = bytes < VBOOT_X86_LOW_END ? bytes : VBOOT_X86_LOW_END;

    map->ram_low = (struct vboot_x86_range){ 0, low };
    if (bytes > low)
        map->ram_high = (struct vboot_x86_range){ VBOOT_X86_HIGH_BASE, bytes - low };
}

/* Linux ignores what MCFG says of memory above 4 GiB, but where SMBIOS tells a date: all configuration spaces are below. Above
 * RAM a window for each segment. */
static int place_pci(unsigned phys_bits, struct vboot_x86_map *map)
{
    uint64_t end = 1ULL << phys_bits, at = VBOOT_X86_HIGH_BASE + map->ram_high.size, each;

    map->mem32 = (struct vboot_x86_range){ VBOOT_X86_LOW_END, ECAM0_BASE - VBOOT_X86_LOW_END };
    map->ecam[0] = (struct vboot_x86_range){ ECAM0_BASE, ECAM0_BYTES };
    for (unsigned i = 1; i < map->segments; i++)
        map->ecam[i] = (struct vboot_x86_range){ ECAM1_BASE + (i - 1) * ECAM1_BYTES, ECAM1_BYTES };
    at = ((at + GIB - 1) & ~(GIB - 1)) + HIGH_FREE;

    each = at < end ? (end - at) / map->segments & ~(GIB - 1) : 0;
    if (!each)
        return vm_fail(
            -EINVAL, "%llu MiB of memory leave no room for PCI within %u physical address bits",
            (unsigned long long)((map->ram_low.size + map->ram_high.size) >> 20), phys_bits);
    if (each > WINDOW_MAX)
        each = WINDOW_MAX;
    for (unsigned i = 0; i < map->segments; i++)
        map->mem64[i] = (struct vboot_x86_range){ at + i * each, each };
    return 0;
}

int vboot_x86_map_make(unsigned version, uint64_t ram_bytes, unsigned phys_bits, unsigned segments,
                       struct vboot_x86_map *ret_map)
{
    struct vboot_x86_map map = { .version = version, .segments = segments };
    int rc = check(version, ram_bytes, phys_bits, segments);

    if (rc)
        return rc;
    if (ram_bytes > (1ULL << phys_bits))
        return vm_fail(-EINVAL,
                       "%llu MiB of memory do not fit into %u physical address bits: give less",
                       (unsigned long long)(ram_bytes >> 20), phys_bits);
    place_ram(ram_bytes, &map);
    rc = place_pci(phys_bits, &map);
    if (rc)
        return rc;
    *ret_map = map;
    return 0;
}

uint32_t vboot_x86_mmio_gsi(unsigned n)
{
    /* What serial, clock, event device and PCI pins leave. IRQ 0 to 3 stay away from PC habits. */
    static const uint8_t lines[] = { 5, 6, 7, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23 };

    return lines[n % VM_ARRAY_SIZE(lines)];
}
