/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "boot_test.h"

#define DAMAGED ": the file is damaged (copy or build it again)"

enum { PVH_ENTRY = 18 };

static struct boot b;
static struct elf_image elf;

static void setup(void)
{
    boot_open(&b, 64 * MIB, 0);
    elf_init(&elf);
}

static void teardown(void)
{
    boot_close(&b);
}

TestSuite(x86_elf, .init = setup, .fini = teardown);

static int load(void)
{
    return boot_load(&b, &elf, sizeof(elf));
}

Test(x86_elf, segments_are_where_they_want_to_be)
{
    uint8_t seen[ELF_TEXT_BYTES];

    WORKS(load());

    cr_assert_eq(gm_read(&b.view, ELF_BASE, seen, sizeof(seen)), 0);
    cr_assert_arr_eq(seen, elf.text, sizeof(seen));
    cr_assert_eq(gm_read(&b.view, ELF_BASE + 0x10000, seen, sizeof(seen)), 0);
    cr_assert_arr_eq(seen, elf.text, sizeof(seen));
    cr_assert_eq(guest_get(&b, ELF_BASE + ELF_TEXT_BYTES, 8), 0, "bss");
}

Test(x86_elf, kernel_says_where_it_is_and_what_it_takes)
{
    WORKS(load());

    cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_64);
    cr_assert_eq(b.kernel.entry, ELF_BASE);
    cr_assert_eq(b.kernel.start, ELF_BASE);
    cr_assert_eq(b.kernel.end, ELF_BASE + 0x11000);
    cr_assert_eq(b.kernel.initrd_max, 0x7fffffff);
    cr_assert_eq(b.kernel.cmdline_max, 2047);
    cr_assert_eq(b.kernel.header_bytes, 0);
    cr_assert_eq(b.kernel.initrd.size, 0);
}

Test(x86_elf, shared_object_is_an_executable_too)
{
    elf.e.e_type = ET_DYN;

    WORKS(load());
}

Test(x86_elf, segment_of_several_reads_is_whole)
{
    enum { BYTES = 9 << 20 };
    uint8_t *image = calloc(1, sizeof(elf) + BYTES), seen;

    elf.p[0].p_offset = sizeof(elf);
    elf.p[0].p_filesz = elf.p[0].p_memsz = BYTES;
    elf.p[1].p_type = PT_NULL;
    memcpy(image, &elf, sizeof(elf));
    for (size_t i = 0; i < BYTES; i++)
        image[sizeof(elf) + i] = (uint8_t)(i >> 12 ^ i);

    WORKS(boot_load(&b, image, sizeof(elf) + BYTES));

    for (size_t i = 0; i < BYTES; i += 997) {
        cr_assert_eq(gm_read(&b.view, ELF_BASE + i, &seen, 1), 0);
        cr_assert_eq(seen, (uint8_t)(i >> 12 ^ i));
    }
    free(image);
}

/* ---- PVH ---- */

Test(x86_elf, pvh_note_gives_the_entry)
{
    elf_note(&elf, 0, "Xen", PVH_ENTRY, ELF_BASE + 0x100);

    WORKS(load());

    cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_PVH);
    cr_assert_eq(b.kernel.entry, ELF_BASE + 0x100);
}

Test(x86_elf, pvh_note_is_found_behind_others)
{
    size_t at = elf_note(&elf, 0, "Linux", 257, 7);

    at = elf_note(&elf, at, "Xen", 6, 8);
    elf_note(&elf, at, "Xen", PVH_ENTRY, ELF_BASE + 0x100);

    WORKS(load());

    cr_assert_eq(b.kernel.entry, ELF_BASE + 0x100);
}

Test(x86_elf, notes_of_others_are_not_pvh)
{
    elf_note(&elf, elf_note(&elf, 0, "Xem", PVH_ENTRY, 1), "Xen", 17, 2);

    WORKS(load());

    cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_64);
}

Test(x86_elf, notes_that_make_no_sense_are_not_pvh)
{
    static const uint32_t sizes[] = { 5, 64, 0x7ffffffc, 0xfffffffd, 0xffffffff };

    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (unsigned word = 0; word < 2; word++) {
            elf_init(&elf);
            elf_note(&elf, 0, "Xen", PVH_ENTRY, ELF_BASE);
            vm_store_le(elf.notes + 4 * word, 4, sizes[i]);
            WORKS(load());
            cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_64, "word %u is %#x", word, sizes[i]);
        }
}

Test(x86_elf, notes_that_end_early_are_not_pvh)
{
    for (size_t len = 0; len < 20; len++) {
        elf_note(&elf, 0, "Xen", PVH_ENTRY, ELF_BASE);
        elf.p[2].p_filesz = len;
        WORKS(load());
        cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_64, "%zu bytes", len);
    }
}

Test(x86_elf, pvh_note_without_room_for_an_address_is_none)
{
    for (uint32_t desc = 0; desc < 4; desc++) {
        elf_note(&elf, 0, "Xen", PVH_ENTRY, ELF_BASE);
        vm_store_le(elf.notes + 4, 4, desc);
        WORKS(load());
        cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_64, "%u bytes", desc);
    }
}

/* The last note's padding may be missing: the search must not go on behind the end. */
Test(x86_elf, last_note_may_lack_its_padding)
{
    static struct {
        struct elf_image elf;
        uint8_t behind[4096];
    } file;
    size_t at = elf_note(&elf, 0, "Linux", 257, 7);

    vm_store_le(elf.notes + 4, 4, 1);
    elf.p[2].p_offset = sizeof(elf);
    elf.p[2].p_filesz = at - 3;
    elf.p[0] = (Elf64_Phdr){ .p_type = PT_NULL };
    elf.e.e_entry = ELF_BASE + 0x10000;
    file.elf = elf;
    memcpy(file.behind, elf.notes, at);
    elf_note(&elf, 0, "Xen", PVH_ENTRY, ELF_BASE + 0x10000);
    memcpy(file.behind + at, elf.notes, 24);

    WORKS(boot_load(&b, &file, sizeof(file)));

    cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_64);
}

Test(x86_elf, pvh_kernel_may_lie_beyond_the_first_gib)
{
    struct boot big;

    boot_open(&big, 2 * GIB, 0);
    elf.p[0].p_paddr = GIB + 16 * MIB;
    elf_note(&elf, 0, "Xen", PVH_ENTRY, GIB + 16 * MIB);

    WORKS(boot_load(&big, &elf, sizeof(elf)));

    boot_close(&big);
}

/* ---- bad input ---- */

Test(x86_elf, cut_off_anywhere_is_refused)
{
    for (size_t len = 4; len < sizeof(elf); len += 31)
        cr_assert_eq(boot_load(&b, &elf, len), -EINVAL, "%zu bytes", len);
}

Test(x86_elf, cut_off_in_the_header)
{
    FAILS(boot_load(&b, &elf, 63), -EINVAL,
          "kernel is cut off (copy it again) inside the ELF header");
}

Test(x86_elf, cut_off_in_the_program_headers)
{
    FAILS(boot_load(&b, &elf, sizeof(elf.e) + 10), -EINVAL,
          "kernel is cut off (copy it again): its program headers lie behind the end");
    elf.e.e_phoff = UINT64_MAX - 10;
    FAILS(load(), -EINVAL,
          "kernel is cut off (copy it again): its program headers lie behind the end");
}

Test(x86_elf, cut_off_in_a_segment)
{
    FAILS(boot_load(&b, &elf, sizeof(elf) - 1), -EINVAL,
          "kernel: segment 00 ends behind the file's end (4391 bytes): the file is cut off (copy "
          "it again)");
    elf.p[1].p_offset = UINT64_MAX - 10;
    FAILS(load(), -EINVAL,
          "kernel: segment 01 ends behind the file's end (4392 bytes): the file is cut off (copy "
          "it again)");
}

Test(x86_elf, cut_off_in_the_notes)
{
    elf_note(&elf, 0, "Xen", PVH_ENTRY, ELF_BASE);
    elf.p[2].p_offset = sizeof(elf) - 1;

    FAILS(load(), -EINVAL, "kernel is cut off (copy it again): its notes lie behind the end");
}

Test(x86_elf, other_machines_are_refused)
{
    elf.e.e_machine = EM_AARCH64;
    FAILS(load(), -EINVAL,
          "kernel is an ELF file for another machine (class 2, machine 183): an x86_64 kernel is "
          "wanted");
    elf_init(&elf);
    elf.e.e_ident[EI_CLASS] = ELFCLASS32;
    elf.e.e_machine = EM_386;
    FAILS(load(), -EINVAL,
          "kernel is an ELF file for another machine (class 1, machine 3): an x86_64 kernel is "
          "wanted");
    elf_init(&elf);
    elf.e.e_ident[EI_DATA] = ELFDATA2MSB;
    cr_assert_eq(load(), -EINVAL);
}

Test(x86_elf, object_file_is_refused)
{
    elf.e.e_type = ET_REL;

    FAILS(load(), -EINVAL,
          "kernel is an ELF file of type 1, not an executable: give the vmlinux that was linked");
}

Test(x86_elf, odd_program_headers_are_refused)
{
    elf.e.e_phnum = 0;
    FAILS(load(), -EINVAL,
          "kernel: 0 program headers of 56 bytes: 1 to 64 of 56 are understood" DAMAGED);
    elf.e.e_phnum = 65;
    FAILS(load(), -EINVAL,
          "kernel: 65 program headers of 56 bytes: 1 to 64 of 56 are understood" DAMAGED);
    elf.e.e_phnum = 2;
    elf.e.e_phentsize = 32;
    FAILS(load(), -EINVAL,
          "kernel: 2 program headers of 32 bytes: 1 to 64 of 56 are understood" DAMAGED);
}

Test(x86_elf, nothing_to_load_is_refused)
{
    elf.p[0].p_type = elf.p[1].p_type = PT_DYNAMIC;
    FAILS(load(), -EINVAL, "kernel has no segment to load: give a vmlinux");

    elf_init(&elf);
    elf.p[0].p_filesz = elf.p[0].p_memsz = elf.p[1].p_filesz = elf.p[1].p_memsz = 0;
    FAILS(load(), -EINVAL, "kernel has no segment to load: give a vmlinux");
}

Test(x86_elf, empty_segment_may_be_anywhere)
{
    elf.p[1] = (Elf64_Phdr){ .p_type = PT_LOAD };

    WORKS(load());

    cr_assert_eq(b.kernel.start, ELF_BASE);
}

Test(x86_elf, more_bytes_in_the_file_than_in_memory_is_refused)
{
    elf.p[1].p_memsz = elf.p[1].p_filesz - 1;

    FAILS(load(), -EINVAL, "kernel: segment 1 has more bytes in the file than in memory" DAMAGED);
}

Test(x86_elf, segments_that_overlap_are_refused)
{
    elf.p[1].p_paddr = ELF_BASE + 2 * ELF_TEXT_BYTES - 1;
    FAILS(load(), -EINVAL, "kernel: segments 0 and 1 overlap at 0x1001fff" DAMAGED);

    elf.p[1].p_paddr = ELF_BASE + 2 * ELF_TEXT_BYTES;
    WORKS(load());
    elf.p[1].p_paddr = ELF_BASE - ELF_TEXT_BYTES + 1;
    FAILS(load(), -EINVAL, "kernel: segments 0 and 1 overlap at 0xfff001" DAMAGED);
}

Test(x86_elf, segment_that_wraps_is_refused)
{
    elf.p[1].p_paddr = UINT64_MAX - 10;

    FAILS(load(), -EINVAL,
          "kernel: segment 1 at 0xfffffffffffffff5 wraps around the address space" DAMAGED);
    elf.p[1].p_paddr = ELF_BASE + 0x10000;
    elf.p[1].p_memsz = UINT64_MAX;
    FAILS(load(), -EINVAL, "kernel: segment 1 at 0x1010000 wraps around the address space" DAMAGED);
}

Test(x86_elf, segment_below_1_mib_is_refused)
{
    elf.p[1].p_paddr = 0xff000;

    FAILS(load(), -ENOSPC,
          "kernel: segment 01 at 0xff000 lies below 1 MiB, where boot data and the legacy hole "
          "are: give another kernel");
}

Test(x86_elf, segment_beyond_memory_is_refused)
{
    elf.p[1].p_paddr = 64 * MIB - 4095;

    FAILS(load(), -ENOSPC,
          "kernel: segment 01 needs 0x3fff001 to 0x4000001, but memory ends at 0x4000000: give the "
          "guest more memory");
}

Test(x86_elf, bss_beyond_memory_is_refused)
{
    elf.p[1].p_memsz = 64 * MIB;

    FAILS(load(), -ENOSPC,
          "kernel: segment 01 needs 0x1010000 to 0x5010000, but memory ends at 0x4000000: give the "
          "guest more memory");
}

Test(x86_elf, segment_in_the_hole_for_devices_is_refused)
{
    struct boot big;

    boot_open(&big, 6 * GIB, 32 * MIB);
    elf_note(&elf, 0, "Xen", PVH_ENTRY, ELF_BASE);
    elf.p[1].p_paddr = VBOOT_X86_LOW_END - 4095;
    FAILS(boot_load(&big, &elf, sizeof(elf)), -ENOSPC,
          "kernel: segment 01 needs 0xbffff001 to 0xc0000001, which hits the hole for devices at "
          "0xc0000000: no machine has memory there; link it lower");
    elf.p[1].p_paddr = VBOOT_X86_LAPIC_BASE;
    FAILS(boot_load(&big, &elf, sizeof(elf)), -ENOSPC,
          "kernel: segment 01 needs 0xfee00000 to 0xfee01000, which hits the hole for devices at "
          "0xc0000000: no machine has memory there; link it lower");
    boot_close(&big);
}

Test(x86_elf, entry_outside_the_kernel_is_refused)
{
    elf.e.e_entry = ELF_BASE - 1;
    FAILS(
        load(), -EINVAL,
        "kernel: the entry point 0xffffff lies outside the kernel, 0x1000000 to 0x1011000" DAMAGED);
    elf.e.e_entry = ELF_BASE + 0x11000;
    FAILS(load(), -EINVAL,
          "kernel: the entry point 0x1011000 lies outside the kernel, 0x1000000 to "
          "0x1011000" DAMAGED);
    elf.e.e_entry = 0xffffffff81000000;
    FAILS(load(), -EINVAL,
          "kernel: the entry point 0xffffffff81000000 lies outside the kernel, 0x1000000 to "
          "0x1011000" DAMAGED);
}

Test(x86_elf, entry_between_the_segments_is_refused)
{
    elf.e.e_entry = ELF_BASE + 0x8000;

    cr_assert_eq(load(), -EINVAL);
}

Test(x86_elf, pvh_entry_outside_the_kernel_is_refused)
{
    elf_note(&elf, 0, "Xen", PVH_ENTRY, 0x200000);

    FAILS(
        load(), -EINVAL,
        "kernel: the entry point 0x200000 lies outside the kernel, 0x1000000 to 0x1011000" DAMAGED);
}

Test(x86_elf, kernel_beyond_the_mapped_gib_is_refused)
{
    struct boot big;

    boot_open(&big, 2 * GIB, 32 * MIB);
    elf.p[1].p_paddr = GIB;

    FAILS(boot_load(&big, &elf, sizeof(elf)), -EINVAL,
          "kernel ends at 0x40001000, beyond the first GiB, which the boot page tables map: link "
          "it lower, or give it a PVH note");
    boot_close(&big);
}
