/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The address map of an AArch64 machine, version 1: see map.h for the picture. */
#include <vmm/aarch64-boot/map.h>

#include <errno.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>

#define GIB        (1ULL << 30)
#define ECAM_BYTES (256ULL << 20) /* 256 buses of 1 MiB */
#define WINDOW_MAX (64 * GIB)
#define RAM_MIN    (4ULL << 20)

static int check(unsigned version, uint64_t ram_bytes, unsigned ipa_bits, unsigned segments)
{
    if (version < 1 || version > VBOOT_ARM_MACHINE_MAX)
        return vm_fail(-EINVAL, "machine version %u: this build knows 1 to %u", version,
                       VBOOT_ARM_MACHINE_MAX);
    if (ram_bytes % GM_PAGE_BYTES)
        return vm_fail(-EINVAL, "memory size %llu is not a multiple of the page size 4096",
                       (unsigned long long)ram_bytes);
    if (ram_bytes < RAM_MIN)
        return vm_fail(-EINVAL,
                       "memory size %llu is too small: an AArch64 machine needs at least 4 MiB",
                       (unsigned long long)ram_bytes);
    if (ipa_bits < 36 || ipa_bits > 52)
        return vm_fail(-EINVAL, "%u address bits for the guest: AArch64 machines have 36 to 52",
                       ipa_bits);
    if (segments < 1 || segments > VBOOT_ARM_SEGMENTS)
        return vm_fail(-EINVAL, "%u PCI segments: there can be 1 to %u", segments,
                       VBOOT_ARM_SEGMENTS);
    return 0;
}

/* Above RAM: the configuration spaces of all segments, then a window for each. */
static int place_pci(unsigned ipa_bits, struct vboot_arm_map *map)
{
    uint64_t end = 1ULL << ipa_bits, at = map->ram.base + map->ram.size, each;

    map->mem32 = (struct vboot_arm_range){ VBOOT_ARM_MEM32_BASE,
                                           VBOOT_ARM_PCI_IO_BASE - VBOOT_ARM_MEM32_BASE };
    map->pci_io = (struct vboot_arm_range){ VBOOT_ARM_PCI_IO_BASE, VBOOT_ARM_PCI_IO_BYTES };
    at = (at + GIB - 1) & ~(GIB - 1);
    for (unsigned i = 0; i < map->segments; i++)
        map->ecam[i] = (struct vboot_arm_range){ at + i * ECAM_BYTES, ECAM_BYTES };
    at += VBOOT_ARM_SEGMENTS * ECAM_BYTES;

    each = at < end ? (end - at) / map->segments & ~(GIB - 1) : 0;
    if (!each)
        return vm_fail(-EINVAL, "%llu MiB of memory leave no room for PCI within %u address bits",
                       (unsigned long long)(map->ram.size >> 20), ipa_bits);
    if (each > WINDOW_MAX)
        each = WINDOW_MAX;
    for (unsigned i = 0; i < map->segments; i++)
        map->mem64[i] = (struct vboot_arm_range){ at + i * each, each };
    return 0;
}

int vboot_arm_map_make(unsigned version, uint64_t ram_bytes, unsigned ipa_bits, unsigned segments,
                       struct vboot_arm_map *ret_map)
{
    struct vboot_arm_map map = { .version = version, .segments = segments };
    int rc = check(version, ram_bytes, ipa_bits, segments);

    if (rc)
        return rc;
    if (ram_bytes > (1ULL << ipa_bits) - VBOOT_ARM_RAM_BASE)
        return vm_fail(
            -EINVAL,
            "%llu MiB of memory, which begins at 1 GiB, do not fit into %u address bits: give less",
            (unsigned long long)(ram_bytes >> 20), ipa_bits);
    map.ram = (struct vboot_arm_range){ VBOOT_ARM_RAM_BASE, ram_bytes };
    rc = place_pci(ipa_bits, &map);
    if (rc)
        return rc;
    *ret_map = map;
    return 0;
}

/* arch/arm64/kvm/sys_regs.c, reset_mpidr(): Aff0 has 16 values, so that one SGI write reaches all of a group. */
uint64_t vboot_arm_mpidr(unsigned n)
{
    return (uint64_t)(n & 0xf) | (uint64_t)(n >> 4 & 0xff) << 8 | (uint64_t)(n >> 12 & 0xff) << 16;
}
