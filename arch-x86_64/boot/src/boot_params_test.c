/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "boot_test.h"

enum { GDT = 0x500, PVH = 0x6000, ZERO_PAGE = 0x7000, PAGE_TABLES = 0x9000, CMDLINE = 0x20000 };
enum { RAM = 1, RESERVED = 2 };
#define RSDP 0xe0000ULL

static struct boot b;
static struct vboot_x86_start start;

static void setup(void)
{
    boot_open(&b, 128 * MIB, 0);
}

static void teardown(void)
{
    boot_close(&b);
}

TestSuite(x86_boot_params, .init = setup, .fini = teardown);

/* Loads a kernel of that protocol, an initrd of 5000 bytes, and writes the boot data. */
static void prepare(enum vboot_x86_protocol protocol, const char *cmdline)
{
    static struct elf_image elf;
    static uint8_t initrd[5000];
    struct vm_file file;

    elf_init(&elf);
    if (protocol == VBOOT_X86_ENTRY_PVH)
        elf_note(&elf, 0, "Xen", 18, ELF_BASE);
    WORKS(boot_load(&b, &elf, sizeof(elf)));
    vm_file_data("initrd", initrd, sizeof(initrd), &file);
    WORKS(vboot_x86_initrd_load(&b.map, &b.view, &file, &b.kernel));
    if (protocol == VBOOT_X86_ENTRY_32)
        b.kernel.protocol = protocol;
    WORKS(vboot_x86_boot_params(&b.map, &b.view, &b.kernel, cmdline, RSDP, &start));
}

static void prepare_bzimage(const char *cmdline)
{
    static struct bz_image bz;

    bz_init(&bz);
    WORKS(boot_load(&b, &bz, sizeof(bz)));
    WORKS(vboot_x86_boot_params(&b.map, &b.view, &b.kernel, cmdline, RSDP, &start));
}

static uint64_t zero_page(unsigned offset, unsigned len)
{
    return guest_get(&b, ZERO_PAGE + offset, len);
}

static void check_string(gpa_t at, const char *want)
{
    char seen[64] = "";

    cr_assert_eq(gm_read(&b.view, at, seen, strlen(want) + 1), 0);
    cr_assert_str_eq(seen, want);
}

/* ---- E820 ---- */

static void check_e820(uint64_t ram_bytes, unsigned segments, const struct vboot_x86_e820 *want,
                       unsigned count)
{
    struct vboot_x86_e820 rows[VBOOT_X86_E820_MAX];
    struct vboot_x86_map map;

    WORKS(vboot_x86_map_make(1, ram_bytes, 40, segments, &map));
    cr_assert_eq(vboot_x86_e820_make(&map, rows), count);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(rows[i].base, want[i].base, "row %u", i);
        cr_assert_eq(rows[i].size, want[i].size, "row %u", i);
        cr_assert_eq(rows[i].type, want[i].type, "row %u", i);
    }
}

#define LOW_ROWS(ram_end, buses)                                                      \
    { 0, 0xa0000, RAM }, { 0xe0000, 0x20000, RESERVED }, { MIB, (ram_end)-MIB, RAM }, \
    {                                                                                 \
        0xe0000000, (buses)*MIB, RESERVED                                             \
    }

Test(x86_boot_params, e820_of_128_mib)
{
    const struct vboot_x86_e820 want[] = { LOW_ROWS(128 * MIB, 256) };

    check_e820(128 * MIB, 1, want, 4);
}

Test(x86_boot_params, e820_of_3_gib)
{
    const struct vboot_x86_e820 want[] = { LOW_ROWS(3 * GIB, 256) };

    check_e820(3 * GIB, 1, want, 4);
}

Test(x86_boot_params, e820_of_4_gib_goes_on_above_the_hole)
{
    const struct vboot_x86_e820 want[] = { LOW_ROWS(3 * GIB, 256), { 4 * GIB, GIB, RAM } };

    check_e820(4 * GIB, 1, want, 5);
}

Test(x86_boot_params, e820_reserves_each_configuration_space)
{
    const struct vboot_x86_e820 want[] = { LOW_ROWS(3 * GIB, 256 + 15 * 8),
                                           { 4 * GIB, 3 * GIB, RAM } };

    check_e820(6 * GIB, 16, want, 5);
}

/* ---- command line ---- */

Test(x86_boot_params, command_line_is_in_memory)
{
    prepare(VBOOT_X86_ENTRY_64, "console=ttyS0 quiet");

    check_string(CMDLINE, "console=ttyS0 quiet");
}

Test(x86_boot_params, empty_command_line_is_one)
{
    prepare(VBOOT_X86_ENTRY_64, "");

    cr_assert_eq(guest_get(&b, CMDLINE, 1), 0);
}

static int params_with(size_t len)
{
    char *line = malloc(len + 1);
    int rc;

    memset(line, 'x', len);
    line[len] = 0;
    rc = vboot_x86_boot_params(&b.map, &b.view, &b.kernel, line, 0, &start);
    free(line);
    return rc;
}

Test(x86_boot_params, command_line_may_have_what_the_kernel_takes_and_no_more)
{
    b.kernel = (struct vboot_x86_kernel){ .cmdline_max = 2047 };

    WORKS(params_with(2047));
    FAILS(params_with(2048), -EINVAL,
          "the kernel command line has 2048 bytes: this kernel takes at most 2047; give a shorter "
          "one");
}

Test(x86_boot_params, kernel_that_takes_anything_gets_what_fits)
{
    b.kernel = (struct vboot_x86_kernel){ .cmdline_max = UINT32_MAX };

    WORKS(params_with(65535));
    FAILS(params_with(65536), -EINVAL,
          "the kernel command line has 65536 bytes: this kernel takes at most 65535; give a "
          "shorter one");
}

Test(x86_boot_params, kernel_that_takes_none_gets_none)
{
    b.kernel = (struct vboot_x86_kernel){ .cmdline_max = 0 };

    WORKS(params_with(0));
    FAILS(params_with(1), -EINVAL,
          "the kernel command line has 1 bytes: this kernel takes at most 0; give a shorter one");
}

/* ---- zero page ---- */

Test(x86_boot_params, zero_page_of_a_vmlinux_has_the_header_it_lacks)
{
    prepare(VBOOT_X86_ENTRY_64, "");

    cr_assert_eq(zero_page(0x1fe, 2), 0xaa55);
    cr_assert_eq(zero_page(0x202, 4), 0x53726448, "HdrS");
    cr_assert_eq(zero_page(0x206, 2), 0x20f);
    cr_assert_eq(zero_page(0x210, 1), 0xff);
    cr_assert_eq(zero_page(0x211, 1), 1);
    cr_assert_eq(zero_page(0x228, 4), CMDLINE);
    cr_assert_eq(zero_page(0x70, 8), RSDP);
    cr_assert_eq(zero_page(0x1ef, 1), 0, "the sentinel: nothing else was filled in by accident");
}

Test(x86_boot_params, zero_page_of_a_bzimage_has_its_header)
{
    prepare_bzimage("");

    cr_assert_eq(zero_page(0x1f1, 1), 3);
    cr_assert_eq(zero_page(0x230, 4), 0x200000);
    cr_assert_eq(zero_page(0x258, 8), BZ_BASE);
    cr_assert_eq(zero_page(0x260, 4), BZ_NEED);
    cr_assert_eq(zero_page(0x210, 1), 0xff);
    cr_assert_eq(zero_page(0x228, 4), CMDLINE);
}

Test(x86_boot_params, zero_page_names_the_initrd)
{
    prepare(VBOOT_X86_ENTRY_64, "");

    cr_assert_eq(zero_page(0x218, 4), 128 * MIB - 8192);
    cr_assert_eq(zero_page(0x21c, 4), 5000);
    cr_assert_eq(zero_page(0xc0, 4), 0);
    cr_assert_eq(zero_page(0xc4, 4), 0);
}

Test(x86_boot_params, zero_page_without_initrd_names_none)
{
    prepare_bzimage("");

    cr_assert_eq(zero_page(0x218, 8), 0);
}

Test(x86_boot_params, initrd_of_4_gib_and_more_has_its_upper_halves)
{
    b.kernel = (struct vboot_x86_kernel){ .initrd = { 0x123456000, 0x200000005 } };

    WORKS(vboot_x86_boot_params(&b.map, &b.view, &b.kernel, "", 0, &start));

    cr_assert_eq(zero_page(0x218, 4), 0x23456000);
    cr_assert_eq(zero_page(0x21c, 4), 5);
    cr_assert_eq(zero_page(0xc0, 4), 1);
    cr_assert_eq(zero_page(0xc4, 4), 2);
}

Test(x86_boot_params, zero_page_has_the_memory_map)
{
    struct vboot_x86_e820 rows[VBOOT_X86_E820_MAX];
    unsigned n = vboot_x86_e820_make(&b.map, rows);

    prepare(VBOOT_X86_ENTRY_64, "");

    cr_assert_eq(zero_page(0x1e8, 1), n);
    for (unsigned i = 0; i < n; i++) {
        cr_assert_eq(zero_page(0x2d0 + i * 20, 8), rows[i].base);
        cr_assert_eq(zero_page(0x2d8 + i * 20, 8), rows[i].size);
        cr_assert_eq(zero_page(0x2e0 + i * 20, 4), rows[i].type);
    }
    cr_assert_eq(zero_page(0x2d0 + n * 20, 8), 0);
}

/* ---- PVH ---- */

Test(x86_boot_params, pvh_start_info)
{
    prepare(VBOOT_X86_ENTRY_PVH, "quiet");

    cr_assert_eq(guest_get(&b, PVH, 4), 0x336ec578);
    cr_assert_eq(guest_get(&b, PVH + 4, 4), 1, "version");
    cr_assert_eq(guest_get(&b, PVH + 8, 4), 0, "flags");
    cr_assert_eq(guest_get(&b, PVH + 24, 8), CMDLINE);
    cr_assert_eq(guest_get(&b, PVH + 32, 8), RSDP);
    check_string(CMDLINE, "quiet");
}

Test(x86_boot_params, pvh_module_is_the_initrd)
{
    gpa_t list;

    prepare(VBOOT_X86_ENTRY_PVH, "");

    cr_assert_eq(guest_get(&b, PVH + 12, 4), 1);
    list = guest_get(&b, PVH + 16, 8);
    cr_assert_eq(guest_get(&b, list, 8), 128 * MIB - 8192);
    cr_assert_eq(guest_get(&b, list + 8, 8), 5000);
    cr_assert_eq(guest_get(&b, list + 16, 8), 0, "no command line of its own");
    cr_assert_eq(guest_get(&b, list + 24, 8), 0);
}

Test(x86_boot_params, pvh_without_initrd_has_no_module)
{
    b.kernel = (struct vboot_x86_kernel){ .protocol = VBOOT_X86_ENTRY_PVH };

    WORKS(vboot_x86_boot_params(&b.map, &b.view, &b.kernel, "", 0, &start));

    cr_assert_eq(guest_get(&b, PVH + 12, 4), 0);
    cr_assert_eq(guest_get(&b, PVH + 16, 8), 0);
}

Test(x86_boot_params, pvh_has_the_memory_map)
{
    struct vboot_x86_e820 rows[VBOOT_X86_E820_MAX];
    unsigned n = vboot_x86_e820_make(&b.map, rows);
    gpa_t map;

    prepare(VBOOT_X86_ENTRY_PVH, "");

    map = guest_get(&b, PVH + 40, 8);
    cr_assert_eq(guest_get(&b, PVH + 48, 4), n);
    for (unsigned i = 0; i < n; i++) {
        cr_assert_eq(guest_get(&b, map + i * 24, 8), rows[i].base);
        cr_assert_eq(guest_get(&b, map + i * 24 + 8, 8), rows[i].size);
        cr_assert_eq(guest_get(&b, map + i * 24 + 16, 4), rows[i].type);
        cr_assert_eq(guest_get(&b, map + i * 24 + 20, 4), 0);
    }
}

/* ---- the first CPU ---- */

Test(x86_boot_params, cpu_starts_a_64_bit_kernel_in_long_mode)
{
    prepare(VBOOT_X86_ENTRY_64, "");

    cr_assert_eq(start.rip, ELF_BASE);
    cr_assert_eq(start.rsi, ZERO_PAGE);
    cr_assert_eq(start.cr0, 0x80000011, "PG, ET, PE");
    cr_assert_eq(start.cr3, PAGE_TABLES);
    cr_assert_eq(start.cr4, 0x20, "PAE");
    cr_assert_eq(start.efer, 0x500, "LMA, LME");
    cr_assert(start.cs.long_mode);
}

Test(x86_boot_params, cpu_starts_a_32_bit_kernel_without_paging)
{
    prepare(VBOOT_X86_ENTRY_32, "");

    cr_assert_eq(start.rip, ELF_BASE);
    cr_assert_eq(start.rsi, ZERO_PAGE);
    cr_assert_eq(start.rbx, 0);
    cr_assert_eq(start.cr0, 0x11);
    cr_assert_eq(start.cr3, 0);
    cr_assert_eq(start.cr4, 0);
    cr_assert_eq(start.efer, 0);
    cr_assert_not(start.cs.long_mode);
}

Test(x86_boot_params, cpu_starts_a_pvh_kernel_as_xen_does)
{
    prepare(VBOOT_X86_ENTRY_PVH, "");

    cr_assert_eq(start.rip, ELF_BASE);
    cr_assert_eq(start.rbx, PVH);
    cr_assert_eq(start.rsi, 0);
    cr_assert_eq(start.cr0, 0x11, "PE; PG is clear");
    cr_assert_eq(start.cr4, 0);
    cr_assert_eq(start.efer, 0);
}

Test(x86_boot_params, gdt_is_flat_and_64_bit)
{
    prepare(VBOOT_X86_ENTRY_64, "");

    cr_assert_eq(start.gdt_base, GDT);
    cr_assert_eq(start.gdt_limit, 5 * 8 - 1);
    cr_assert_eq(guest_get(&b, GDT, 8), 0);
    cr_assert_eq(guest_get(&b, GDT + 0x10, 8), 0x00af9b000000ffff, "code: L, 4 GiB");
    cr_assert_eq(guest_get(&b, GDT + 0x18, 8), 0x00cf93000000ffff, "data: 4 GiB");
    cr_assert_eq(guest_get(&b, GDT + 0x20, 8), 0x00008b0000000067, "busy task");
    cr_assert_eq(start.cs.selector, 0x10);
    cr_assert_eq(start.ds.selector, 0x18);
    cr_assert_eq(start.tss.selector, 0x20);
}

Test(x86_boot_params, gdt_is_flat_and_32_bit)
{
    prepare(VBOOT_X86_ENTRY_PVH, "");

    cr_assert_eq(guest_get(&b, GDT + 0x10, 8), 0x00cf9b000000ffff, "code: D, 4 GiB");
    cr_assert_eq(guest_get(&b, GDT + 0x18, 8), 0x00cf93000000ffff);
    cr_assert_eq(start.cs.limit, UINT32_MAX);
    cr_assert_eq(start.cs.type, 0xb, "code, readable, accessed");
    cr_assert_eq(start.ds.type, 0x3, "data, writable, accessed");
    cr_assert_eq(start.tss.type, 0xb);
    cr_assert(start.tss.system);
    cr_assert_eq(start.tss.limit, 0x67);
}

/* As the CPU walks them: PML4, PDPT, PD with 2 MiB pages (Intel SDM 3A, 4.5). */
static uint64_t walk(uint64_t va)
{
    uint64_t e = guest_get(&b, (start.cr3 & ~0xfffULL) + (va >> 39 & 511) * 8, 8);

    if (!(e & 1))
        return UINT64_MAX;
    e = guest_get(&b, (e & ~0xfffULL) + (va >> 30 & 511) * 8, 8);
    if (!(e & 1))
        return UINT64_MAX;
    e = guest_get(&b, (e & ~0xfffULL) + (va >> 21 & 511) * 8, 8);
    cr_assert_eq(e & 0xfff, 0x83, "present, writable, large");
    return (e & ~0x1fffffULL) + (va & 0x1fffff);
}

Test(x86_boot_params, page_tables_map_the_first_gib_to_itself)
{
    prepare(VBOOT_X86_ENTRY_64, "");

    for (uint64_t va = 0; va < GIB; va += 2 * MIB)
        cr_assert_eq(walk(va + 0x123), va + 0x123);
    cr_assert_eq(walk(GIB), UINT64_MAX);
    cr_assert_eq(walk(512 * GIB), UINT64_MAX);
}

Test(x86_boot_params, boot_data_do_not_touch_each_other)
{
    char line[2048];

    memset(line, 'x', 2047);
    line[2047] = 0;
    prepare(VBOOT_X86_ENTRY_64, line);

    cr_assert_leq(GDT + start.gdt_limit, PVH - 1);
    cr_assert_leq(PVH + 0x80 + VBOOT_X86_E820_MAX * 24, ZERO_PAGE);
    cr_assert_leq(ZERO_PAGE + 4096, PAGE_TABLES);
    cr_assert_leq(PAGE_TABLES + 3 * 4096, CMDLINE);
    cr_assert_leq(CMDLINE + VBOOT_X86_CMDLINE_ROOM, 0xa0000);
    cr_assert_eq(zero_page(0x202, 4), 0x53726448);
    cr_assert_eq(walk(0x1000), 0x1000);
}

Test(x86_boot_params, memory_that_does_not_hold_them_is_an_error)
{
    enum vboot_x86_protocol protocols[] = { VBOOT_X86_ENTRY_64, VBOOT_X86_ENTRY_PVH };
    struct boot small;

    boot_open(&small, 128 * MIB, PVH);
    for (unsigned i = 0; i < 2; i++) {
        small.kernel = (struct vboot_x86_kernel){ .protocol = protocols[i] };
        FAILS(vboot_x86_boot_params(&small.map, &small.view, &small.kernel, "", 0, &start), -EFAULT,
              "boot data does not fit into the first MiB of memory");
    }
    boot_close(&small);
}
