/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <stdio.h>

#include "boot_test.h"

#include <vmm/base/check.h>

static int make(uint64_t ram_bytes, unsigned phys_bits, unsigned segments,
                struct vboot_x86_map *map)
{
    return vboot_x86_map_make(1, ram_bytes, phys_bits, segments, map);
}

static int add_range(char *text, size_t room, int at, const char *name, unsigned n,
                     struct vboot_x86_range r)
{
    if (!r.size)
        return at;
    return at + snprintf(text + at, room - (size_t)at, "%s%u %llx+%llx\n", name, n,
                         (unsigned long long)r.base, (unsigned long long)r.size);
}

/* The map as a person reads it: golden texts of version 1 compare with it. */
static const char *draw(const struct vboot_x86_map *m)
{
    static char text[4096];
    int at = 0;

    at = add_range(text, sizeof(text), at, "ram", 0, m->ram_low);
    at = add_range(text, sizeof(text), at, "ram", 1, m->ram_high);
    at = add_range(text, sizeof(text), at, "mem32.", 0, m->mem32);
    for (unsigned i = 0; i < VBOOT_X86_SEGMENTS; i++)
        at = add_range(text, sizeof(text), at, "ecam", i, m->ecam[i]);
    for (unsigned i = 0; i < VBOOT_X86_SEGMENTS; i++)
        at = add_range(text, sizeof(text), at, "mem64.", i, m->mem64[i]);
    return text;
}

/* Guests, snapshots and golden files depend on these: a change needs a new machine version. */
#define GOLDEN(ram_bytes, bits, count, text)                         \
    do {                                                             \
        struct vboot_x86_map made;                                   \
        WORKS(vboot_x86_map_make(1, ram_bytes, bits, count, &made)); \
        cr_assert_str_eq(draw(&made), text);                         \
        cr_assert_eq(made.version, 1);                               \
        cr_assert_eq(made.segments, count);                          \
    } while (0)

Test(x86_map, version_1_with_128_mib)
{
    GOLDEN(128 * MIB, 46, 1,
           "ram0 0+8000000\n"
           "mem32.0 c0000000+20000000\n"
           "ecam0 e0000000+10000000\n"
           "mem64.0 200000000+1000000000\n");
}

Test(x86_map, version_1_with_3_gib_fills_all_below_the_hole)
{
    GOLDEN(3 * GIB, 46, 1,
           "ram0 0+c0000000\n"
           "mem32.0 c0000000+20000000\n"
           "ecam0 e0000000+10000000\n"
           "mem64.0 200000000+1000000000\n");
}

Test(x86_map, version_1_with_a_page_more_than_3_gib)
{
    GOLDEN(3 * GIB + 4096, 46, 1,
           "ram0 0+c0000000\n"
           "ram1 100000000+1000\n"
           "mem32.0 c0000000+20000000\n"
           "ecam0 e0000000+10000000\n"
           "mem64.0 240000000+1000000000\n");
}

Test(x86_map, version_1_with_4_gib)
{
    GOLDEN(4 * GIB, 46, 1,
           "ram0 0+c0000000\n"
           "ram1 100000000+40000000\n"
           "mem32.0 c0000000+20000000\n"
           "ecam0 e0000000+10000000\n"
           "mem64.0 240000000+1000000000\n");
}

Test(x86_map, version_1_with_2_segments)
{
    GOLDEN(4 * GIB, 39, 2,
           "ram0 0+c0000000\n"
           "ram1 100000000+40000000\n"
           "mem32.0 c0000000+20000000\n"
           "ecam0 e0000000+10000000\n"
           "ecam1 f0000000+800000\n"
           "mem64.0 240000000+1000000000\n"
           "mem64.1 1240000000+1000000000\n");
}

Test(x86_map, version_1_with_16_segments_within_36_bits)
{
    GOLDEN(4 * GIB, 36, 16,
           "ram0 0+c0000000\n"
           "ram1 100000000+40000000\n"
           "mem32.0 c0000000+20000000\n"
           "ecam0 e0000000+10000000\n"
           "ecam1 f0000000+800000\n"
           "ecam2 f0800000+800000\n"
           "ecam3 f1000000+800000\n"
           "ecam4 f1800000+800000\n"
           "ecam5 f2000000+800000\n"
           "ecam6 f2800000+800000\n"
           "ecam7 f3000000+800000\n"
           "ecam8 f3800000+800000\n"
           "ecam9 f4000000+800000\n"
           "ecam10 f4800000+800000\n"
           "ecam11 f5000000+800000\n"
           "ecam12 f5800000+800000\n"
           "ecam13 f6000000+800000\n"
           "ecam14 f6800000+800000\n"
           "ecam15 f7000000+800000\n"
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

Test(x86_map, fixed_places_of_version_1)
{
    cr_assert_eq(VBOOT_X86_MMIO_BASE, 0xfeb00000);
    cr_assert_eq(VBOOT_X86_MMIO_SLOTS * VBOOT_X86_MMIO_STRIDE, 0x100000);
    cr_assert_eq(VBOOT_X86_IOAPIC_BASE, 0xfec00000);
    cr_assert_eq(VBOOT_X86_LAPIC_BASE, 0xfee00000);
    cr_assert_eq(VBOOT_X86_IDENTITY_MAP, 0xfeffc000);
    cr_assert_eq(VBOOT_X86_PORT_RTC, 0x70);
    cr_assert_eq(VBOOT_X86_PORT_SERIAL, 0x3f8);
    cr_assert_eq(VBOOT_X86_PORT_PM, 0x600);
    cr_assert_eq(VBOOT_X86_PORT_PCI, 0x1000);
}

Test(x86_map, interrupts_of_virtio_mmio_keep_away_from_the_others)
{
    static const uint32_t want[] = { 5, 6, 7, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 5, 6 };

    for (unsigned n = 0; n < sizeof(want) / sizeof(want[0]); n++)
        cr_assert_eq(vboot_x86_mmio_gsi(n), want[n]);
}

struct pieces {
    struct vboot_x86_range r[3 + 2 * VBOOT_X86_SEGMENTS + 1];
    unsigned n;
};

static struct pieces pieces_of(const struct vboot_x86_map *m)
{
    struct pieces p = { .r = { m->ram_low, m->ram_high, m->mem32 }, .n = 3 };

    for (unsigned i = 0; i < m->segments; i++) {
        p.r[p.n++] = m->ecam[i];
        p.r[p.n++] = m->mem64[i];
    }
    p.r[p.n++] =
        (struct vboot_x86_range){ VBOOT_X86_MMIO_BASE, VBOOT_X86_HIGH_BASE - VBOOT_X86_MMIO_BASE };
    return p;
}

static void check_pieces(const struct vboot_x86_map *m, unsigned phys_bits)
{
    struct pieces p = pieces_of(m);

    for (unsigned i = 0; i < p.n; i++) {
        cr_assert_leq(p.r[i].base + p.r[i].size, 1ULL << phys_bits);
        for (unsigned j = 0; j < i; j++)
            cr_assert_not(vm_ranges_overlap(p.r[i].base, p.r[i].size, p.r[j].base, p.r[j].size),
                          "%u and %u", i, j);
    }
    for (unsigned i = 0; i < m->segments; i++) {
        cr_assert_eq(m->ecam[i].size, i ? 8 * MIB : 256 * MIB);
        cr_assert_leq(m->ecam[i].base + m->ecam[i].size, VBOOT_X86_MMIO_BASE, "Linux wants it low");
        cr_assert_geq(m->mem64[i].size, GIB);
        cr_assert_eq(m->mem64[i].size % GIB, 0);
        cr_assert_eq(m->mem64[i].base % GIB, 0);
    }
}

Test(x86_map, nothing_overlaps_and_all_fits)
{
    static const uint64_t sizes[] = { 2 * MIB,        128 * MIB,      3 * GIB - 4096, 3 * GIB,
                                      3 * GIB + 4096, 4 * GIB - 4096, 4 * GIB,        7 * GIB,
                                      40 * GIB,       1000 * GIB,     64 * 1024 * GIB };

    for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
        for (unsigned bits = 36; bits <= 52; bits++)
            for (unsigned segments = 1; segments <= VBOOT_X86_SEGMENTS; segments++) {
                struct vboot_x86_map map;

                if (make(sizes[s], bits, segments, &map))
                    cr_assert_geq(sizes[s], 40 * GIB, "%s", vm_error_text());
                else
                    check_pieces(&map, bits);
            }
}

/* ---- bad input ---- */

Test(x86_map, memory_size_must_be_pages)
{
    struct vboot_x86_map map;

    FAILS(make(128 * MIB + 1, 40, 1, &map), -EINVAL,
          "memory size 134217729 is not a multiple of the page size 4096");
}

Test(x86_map, memory_must_be_more_than_1_mib)
{
    struct vboot_x86_map map;

    FAILS(make(0, 40, 1, &map), -EINVAL,
          "memory size 0 is too small: an x86_64 machine needs more than 1 MiB");
    FAILS(make(MIB, 40, 1, &map), -EINVAL,
          "memory size 1048576 is too small: an x86_64 machine needs more than 1 MiB");
    WORKS(make(MIB + 4096, 40, 1, &map));
}

Test(x86_map, memory_must_fit_the_address_bits)
{
    struct vboot_x86_map map;

    FAILS(make(64 * GIB + 4096, 36, 1, &map), -EINVAL,
          "65536 MiB of memory do not fit into 36 physical address bits: give less");
    FAILS(make(UINT64_MAX & ~4095ULL, 52, 1, &map), -EINVAL,
          "17592186044415 MiB of memory do not fit into 52 physical address bits: give less");
}

Test(x86_map, memory_must_leave_room_for_pci)
{
    struct vboot_x86_map map;

    WORKS(make(58 * GIB, 36, 1, &map));
    FAILS(make(59 * GIB, 36, 1, &map), -EINVAL,
          "60416 MiB of memory leave no room for PCI within 36 physical address bits");
    FAILS(make(64 * GIB, 36, 1, &map), -EINVAL,
          "65536 MiB of memory leave no room for PCI within 36 physical address bits");
    FAILS(make(50 * GIB, 36, 16, &map), -EINVAL,
          "51200 MiB of memory leave no room for PCI within 36 physical address bits");
}

Test(x86_map, address_bits_and_segments_have_bounds)
{
    struct vboot_x86_map map;

    FAILS(make(128 * MIB, 35, 1, &map), -EINVAL,
          "35 physical address bits: x86_64 CPUs have 36 to 52");
    FAILS(make(128 * MIB, 53, 1, &map), -EINVAL,
          "53 physical address bits: x86_64 CPUs have 36 to 52");
    FAILS(make(128 * MIB, 40, 0, &map), -EINVAL, "0 PCI segments: there can be 1 to 16");
    FAILS(make(128 * MIB, 40, 17, &map), -EINVAL, "17 PCI segments: there can be 1 to 16");
}

Test(x86_map, unknown_machine_version_is_refused)
{
    struct vboot_x86_map map;

    FAILS(vboot_x86_map_make(0, 128 * MIB, 40, 1, &map), -EINVAL,
          "machine version 0: this build knows 1 to 1");
    FAILS(vboot_x86_map_make(2, 128 * MIB, 40, 1, &map), -EINVAL,
          "machine version 2: this build knows 1 to 1");
}
