/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <stdio.h>

#include "arm_test.h"

#include <vmm/aarch64-boot/map.h>
#include <vmm/base/check.h>

static int make(uint64_t ram_bytes, unsigned ipa_bits, unsigned segments, struct vboot_arm_map *map)
{
    return vboot_arm_map_make(1, ram_bytes, ipa_bits, segments, map);
}

static int add_range(char *text, size_t room, int at, const char *name, unsigned n,
                     struct vboot_arm_range r)
{
    if (!r.size)
        return at;
    return at + snprintf(text + at, room - (size_t)at, "%s%u %llx+%llx\n", name, n,
                         (unsigned long long)r.base, (unsigned long long)r.size);
}

/* The map as a person reads it: golden texts of version 1 compare with it. */
static const char *draw(const struct vboot_arm_map *m)
{
    static char text[4096];
    int at = 0;

    at = add_range(text, sizeof(text), at, "mem32.", 0, m->mem32);
    at = add_range(text, sizeof(text), at, "io.", 0, m->pci_io);
    at = add_range(text, sizeof(text), at, "ram", 0, m->ram);
    for (unsigned i = 0; i < VBOOT_ARM_SEGMENTS; i++)
        at = add_range(text, sizeof(text), at, "ecam", i, m->ecam[i]);
    for (unsigned i = 0; i < VBOOT_ARM_SEGMENTS; i++)
        at = add_range(text, sizeof(text), at, "mem64.", i, m->mem64[i]);
    return text;
}

/* Guests, snapshots and golden files depend on these: a change needs a new machine version. */
#define GOLDEN(ram_bytes, bits, count, text)                         \
    do {                                                             \
        struct vboot_arm_map made;                                   \
        WORKS(vboot_arm_map_make(1, ram_bytes, bits, count, &made)); \
        cr_assert_str_eq(draw(&made), text);                         \
        cr_assert_eq(made.version, 1);                               \
        cr_assert_eq(made.segments, count);                          \
    } while (0)

#define BELOW_RAM                 \
    "mem32.0 10000000+2fff0000\n" \
    "io.0 3fff0000+10000\n"

Test(arm_map, version_1_with_4_mib)
{
    GOLDEN(4 * MIB, 36, 1,
           BELOW_RAM "ram0 40000000+400000\n"
                     "ecam0 80000000+10000000\n"
                     "mem64.0 180000000+e80000000\n");
}

Test(arm_map, version_1_with_512_mib)
{
    GOLDEN(512 * MIB, 48, 1,
           BELOW_RAM "ram0 40000000+20000000\n"
                     "ecam0 80000000+10000000\n"
                     "mem64.0 180000000+1000000000\n");
}

Test(arm_map, version_1_with_4_gib_and_a_page)
{
    GOLDEN(4 * GIB + 4096, 40, 1,
           BELOW_RAM "ram0 40000000+100001000\n"
                     "ecam0 180000000+10000000\n"
                     "mem64.0 280000000+1000000000\n");
}

Test(arm_map, version_1_with_2_segments)
{
    GOLDEN(4 * GIB, 40, 2,
           BELOW_RAM "ram0 40000000+100000000\n"
                     "ecam0 140000000+10000000\n"
                     "ecam1 150000000+10000000\n"
                     "mem64.0 240000000+1000000000\n"
                     "mem64.1 1240000000+1000000000\n");
}

Test(arm_map, version_1_with_16_segments_within_36_bits)
{
    GOLDEN(4 * GIB, 36, 16,
           BELOW_RAM "ram0 40000000+100000000\n"
                     "ecam0 140000000+10000000\n"
                     "ecam1 150000000+10000000\n"
                     "ecam2 160000000+10000000\n"
                     "ecam3 170000000+10000000\n"
                     "ecam4 180000000+10000000\n"
                     "ecam5 190000000+10000000\n"
                     "ecam6 1a0000000+10000000\n"
                     "ecam7 1b0000000+10000000\n"
                     "ecam8 1c0000000+10000000\n"
                     "ecam9 1d0000000+10000000\n"
                     "ecam10 1e0000000+10000000\n"
                     "ecam11 1f0000000+10000000\n"
                     "ecam12 200000000+10000000\n"
                     "ecam13 210000000+10000000\n"
                     "ecam14 220000000+10000000\n"
                     "ecam15 230000000+10000000\n"
                     "mem64.0 240000000+c0000000\n"
                     "mem64.1 300000000+c0000000\n"
                     "mem64.2 3c0000000+c0000000\n"
                     "mem64.3 480000000+c0000000\n"
                     "mem64.4 540000000+c0000000\n"
                     "mem64.5 600000000+c0000000\n"
                     "mem64.6 6c0000000+c0000000\n"
                     "mem64.7 780000000+c0000000\n"
                     "mem64.8 840000000+c0000000\n"
                     "mem64.9 900000000+c0000000\n"
                     "mem64.10 9c0000000+c0000000\n"
                     "mem64.11 a80000000+c0000000\n"
                     "mem64.12 b40000000+c0000000\n"
                     "mem64.13 c00000000+c0000000\n"
                     "mem64.14 cc0000000+c0000000\n"
                     "mem64.15 d80000000+c0000000\n");
}

/* What lies below RAM, lowest first. */
static const struct vboot_arm_range fixed[] = {
    { 0x00000000, 0x08000000 }, /* flash */
    { 0x08000000, 0x10000 }, /* GICD */
    { 0x08010000, 0x10000 }, /* GICC */
    { 0x08020000, 0x1000 }, /* GICv2m */
    { 0x08080000, 0x200000 }, /* ITSs */
    { 0x09000000, 0x40000 }, /* UARTs */
    { 0x09100000, 0x1000 }, /* RTC */
    { 0x09200000, 0x1000 }, /* GPIO */
    { 0x0a000000, 0x100000 }, /* virtio-mmio */
    { 0x0c000000, 0x4000000 }, /* redistributors */
    { 0x10000000, 0x30000000 }, /* PCI */
};

Test(arm_map, fixed_places_of_version_1)
{
    const struct vboot_arm_range made[] = {
        { VBOOT_ARM_FLASH_BASE, 2 * VBOOT_ARM_FLASH_BYTES },
        { VBOOT_ARM_GICD_BASE, VBOOT_ARM_GICD_BYTES },
        { VBOOT_ARM_GICC_BASE, VBOOT_ARM_GICC_BYTES },
        { VBOOT_ARM_V2M_BASE, VBOOT_ARM_V2M_BYTES },
        { VBOOT_ARM_ITS_BASE, VBOOT_ARM_SEGMENTS * VBOOT_ARM_ITS_BYTES },
        { VBOOT_ARM_UART_BASE, VBOOT_ARM_UARTS * VBOOT_ARM_UART_STRIDE },
        { VBOOT_ARM_RTC_BASE, VBOOT_ARM_PRIMECELL_BYTES },
        { VBOOT_ARM_GPIO_BASE, VBOOT_ARM_PRIMECELL_BYTES },
        { VBOOT_ARM_MMIO_BASE, VBOOT_ARM_MMIO_SLOTS * VBOOT_ARM_MMIO_STRIDE },
        { VBOOT_ARM_GICR_BASE, VBOOT_ARM_CPUS_MAX * VBOOT_ARM_GICR_BYTES },
        { VBOOT_ARM_MEM32_BASE, VBOOT_ARM_RAM_BASE - VBOOT_ARM_MEM32_BASE },
    };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(fixed); i++) {
        cr_assert_eq(made[i].base, fixed[i].base, "%u", i);
        cr_assert_eq(made[i].size, fixed[i].size, "%u", i);
        if (i)
            cr_assert_geq(made[i].base, made[i - 1].base + made[i - 1].size, "%u", i);
    }
    cr_assert_eq(VBOOT_ARM_RAM_BASE, 0x40000000);
    cr_assert_eq(VBOOT_ARM_KERNEL_MIN, 0x40200000);
}

Test(arm_map, interrupts_of_version_1)
{
    cr_assert_eq(VBOOT_ARM_SPI_UART, 0);
    cr_assert_eq(VBOOT_ARM_SPI_RTC, 4);
    cr_assert_eq(VBOOT_ARM_SPI_GPIO, 5);
    cr_assert_eq(VBOOT_ARM_SPI_PCI, 8);
    cr_assert_eq(VBOOT_ARM_SPI_MMIO, 16);
    cr_assert_geq(VBOOT_ARM_SPIS, VBOOT_ARM_SPI_MMIO + VBOOT_ARM_MMIO_SLOTS);
    cr_assert_eq(VBOOT_ARM_INTIDS, 320);
    cr_assert_eq(VBOOT_ARM_INTIDS_V2, 832);
    cr_assert_eq(VBOOT_ARM_INTIDS % 32 + VBOOT_ARM_INTIDS_V2 % 32, 0);
    cr_assert_eq(16 + VBOOT_ARM_PPI_TIMER_VIRT, 27);
    cr_assert_eq(16 + VBOOT_ARM_PPI_TIMER_PHYS, 30);
    cr_assert_eq(16 + VBOOT_ARM_PPI_PMU, 23);
}

Test(arm_map, cpus_stand_in_groups_of_16)
{
    cr_assert_eq(vboot_arm_mpidr(0), 0);
    cr_assert_eq(vboot_arm_mpidr(15), 0xf);
    cr_assert_eq(vboot_arm_mpidr(16), 0x100);
    cr_assert_eq(vboot_arm_mpidr(511), 0x1f0f);
    cr_assert_eq(vboot_arm_mpidr(4096), 0x10000);
}

static void check_pieces(const struct vboot_arm_map *m, unsigned ipa_bits)
{
    struct vboot_arm_range r[1 + 2 * VBOOT_ARM_SEGMENTS] = { m->ram };
    unsigned n = 1;

    for (unsigned i = 0; i < m->segments; i++) {
        r[n++] = m->ecam[i];
        r[n++] = m->mem64[i];
        cr_assert_eq(m->ecam[i].size, 256 * MIB);
        cr_assert_geq(m->mem64[i].size, GIB);
        cr_assert_eq(m->mem64[i].size % GIB, 0);
        cr_assert_eq(m->mem64[i].base % GIB, 0);
    }
    for (unsigned i = 0; i < n; i++) {
        cr_assert_geq(r[i].base, VBOOT_ARM_RAM_BASE);
        cr_assert_leq(r[i].base + r[i].size, 1ULL << ipa_bits);
        for (unsigned j = 0; j < i; j++)
            cr_assert_not(vm_ranges_overlap(r[i].base, r[i].size, r[j].base, r[j].size),
                          "%u and %u", i, j);
    }
}

Test(arm_map, nothing_overlaps_and_all_fits)
{
    static const uint64_t sizes[] = { 4 * MIB, 128 * MIB, 1 * GIB - 4096, 1 * GIB + 4096, 3 * GIB,
                                      4 * GIB, 7 * GIB,   40 * GIB,       64 * 1024 * GIB };

    for (unsigned s = 0; s < VM_ARRAY_SIZE(sizes); s++)
        for (unsigned bits = 36; bits <= 52; bits++)
            for (unsigned segments = 1; segments <= VBOOT_ARM_SEGMENTS; segments++) {
                struct vboot_arm_map map;

                if (make(sizes[s], bits, segments, &map))
                    cr_assert_geq(sizes[s], 40 * GIB, "%s", vm_error_text());
                else
                    check_pieces(&map, bits);
            }
}

/* ---- bad input ---- */

Test(arm_map, memory_size_must_be_pages)
{
    struct vboot_arm_map map;

    FAILS(make(128 * MIB + 1, 40, 1, &map), -EINVAL,
          "memory size 134217729 is not a multiple of the page size 4096");
}

Test(arm_map, memory_must_have_4_mib)
{
    struct vboot_arm_map map;

    FAILS(make(0, 40, 1, &map), -EINVAL,
          "memory size 0 is too small: an AArch64 machine needs at least 4 MiB");
    FAILS(make(4 * MIB - 4096, 40, 1, &map), -EINVAL,
          "memory size 4190208 is too small: an AArch64 machine needs at least 4 MiB");
}

Test(arm_map, memory_must_fit_the_address_bits)
{
    struct vboot_arm_map map;

    FAILS(make(63 * GIB + 4096, 36, 1, &map), -EINVAL,
          "64512 MiB of memory, which begins at 1 GiB, do not fit into 36 address bits: give less");
    FAILS(make(UINT64_MAX & ~4095ULL, 52, 1, &map), -EINVAL,
          "17592186044415 MiB of memory, which begins at 1 GiB, do not fit into 52 address bits: "
          "give less");
}

Test(arm_map, memory_must_leave_room_for_pci)
{
    struct vboot_arm_map map;

    WORKS(make(58 * GIB, 36, 1, &map));
    FAILS(make(59 * GIB, 36, 1, &map), -EINVAL,
          "60416 MiB of memory leave no room for PCI within 36 address bits");
    FAILS(make(63 * GIB, 36, 1, &map), -EINVAL,
          "64512 MiB of memory leave no room for PCI within 36 address bits");
    FAILS(make(50 * GIB, 36, 16, &map), -EINVAL,
          "51200 MiB of memory leave no room for PCI within 36 address bits");
}

Test(arm_map, address_bits_and_segments_have_bounds)
{
    struct vboot_arm_map map;

    FAILS(make(128 * MIB, 35, 1, &map), -EINVAL,
          "35 address bits for the guest: AArch64 machines have 36 to 52");
    FAILS(make(128 * MIB, 53, 1, &map), -EINVAL,
          "53 address bits for the guest: AArch64 machines have 36 to 52");
    FAILS(make(128 * MIB, 40, 0, &map), -EINVAL, "0 PCI segments: there can be 1 to 16");
    FAILS(make(128 * MIB, 40, 17, &map), -EINVAL, "17 PCI segments: there can be 1 to 16");
}

Test(arm_map, unknown_machine_version_is_refused)
{
    struct vboot_arm_map map;

    FAILS(vboot_arm_map_make(0, 128 * MIB, 40, 1, &map), -EINVAL,
          "machine version 0: this build knows 1 to 1");
    FAILS(vboot_arm_map_make(2, 128 * MIB, 40, 1, &map), -EINVAL,
          "machine version 2: this build knows 1 to 1");
}
