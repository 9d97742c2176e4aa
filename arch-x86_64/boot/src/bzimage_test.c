/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "boot_test.h"

static struct boot b;
static struct bz_image bz;

static void setup(void)
{
    boot_open(&b, 64 * MIB, 0);
    bz_init(&bz);
}

static void teardown(void)
{
    boot_close(&b);
}

TestSuite(x86_bzimage, .init = setup, .fini = teardown);

static int load(void)
{
    return boot_load(&b, &bz, sizeof(bz));
}

Test(x86_bzimage, goes_where_it_prefers)
{
    uint8_t seen[BZ_PAYLOAD];

    WORKS(load());

    cr_assert_eq(gm_read(&b.view, BZ_BASE, seen, sizeof(seen)), 0);
    cr_assert_arr_eq(seen, bz.b + BZ_SETUP, sizeof(seen));
}

Test(x86_bzimage, says_where_it_is_and_what_it_takes)
{
    WORKS(load());

    cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_64);
    cr_assert_eq(b.kernel.entry, BZ_BASE + 0x200);
    cr_assert_eq(b.kernel.start, BZ_BASE);
    cr_assert_eq(b.kernel.end, BZ_BASE + BZ_NEED);
    cr_assert_eq(b.kernel.initrd_max, 0x7fffffff);
    cr_assert_eq(b.kernel.cmdline_max, 2047);
}

Test(x86_bzimage, setup_header_is_kept)
{
    WORKS(load());

    cr_assert_eq(b.kernel.header_bytes, 0x26c - 0x1f1);
    cr_assert_arr_eq(b.kernel.header, bz.b + 0x1f1, 0x26c - 0x1f1);
}

Test(x86_bzimage, setup_header_does_not_reach_into_the_rest_of_boot_params)
{
    bz_set(&bz, 0x201, 1, 0xff);

    WORKS(load());

    cr_assert_eq(b.kernel.header_bytes, 0x290 - 0x1f1);
}

Test(x86_bzimage, without_a_64_bit_entry_starts_at_its_32_bit_one)
{
    bz_set(&bz, 0x236, 2, 0x7e);
    WORKS(load());
    cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_32);
    cr_assert_eq(b.kernel.entry, BZ_BASE);

    bz_init(&bz);
    bz_set(&bz, 0x206, 2, 0x20b);
    WORKS(load());

    cr_assert_eq(b.kernel.protocol, VBOOT_X86_ENTRY_32, "before 2.12 the flag has no meaning");
}

Test(x86_bzimage, zero_setup_sectors_are_four)
{
    static uint8_t image[5 * 512 + 64];

    memcpy(image, bz.b, BZ_SETUP);
    image[0x1f1] = 0;
    vm_store_le(image + 0x1f4, 4, 4);
    image[5 * 512] = 0x77;

    WORKS(boot_load(&b, image, sizeof(image)));

    cr_assert_eq(guest_get(&b, BZ_BASE, 1), 0x77);
}

Test(x86_bzimage, fixed_kernel_is_loaded_at_1_mib_and_runs_where_it_prefers)
{
    bz_set(&bz, 0x234, 1, 0);

    WORKS(load());

    cr_assert_eq(b.kernel.start, MIB);
    cr_assert_eq(b.kernel.entry, MIB + 0x200);
    cr_assert_eq(b.kernel.end, BZ_BASE + BZ_NEED, "nothing else may be put there");
    cr_assert_eq(guest_get(&b, MIB, 1), bz.b[BZ_SETUP]);
}

Test(x86_bzimage, payload_may_need_more_than_the_work_space)
{
    bz_set(&bz, 0x260, 4, 0x100);

    WORKS(load());

    cr_assert_eq(b.kernel.end, BZ_BASE + BZ_PAYLOAD);
}

Test(x86_bzimage, size_in_the_header_may_be_rounded_up)
{
    WORKS(boot_load(&b, &bz, sizeof(bz) - 15));
}

/* ---- bad input ---- */

Test(x86_bzimage, cut_off_anywhere_is_refused)
{
    for (size_t len = 4; len < sizeof(bz) - 15; len += 13)
        cr_assert_lt(boot_load(&b, &bz, len), 0, "%zu bytes", len);
}

Test(x86_bzimage, cut_off_in_the_header)
{
    FAILS(boot_load(&b, &bz, 0x210), -EINVAL,
          "kernel is cut off (copy it again) inside the setup header");
}

Test(x86_bzimage, cut_off_in_the_setup_code)
{
    FAILS(boot_load(&b, &bz, BZ_SETUP), -EINVAL,
          "kernel is cut off (copy it again): the kernel should begin at byte 2048 of 2048");
    FAILS(boot_load(&b, &bz, 1024), -EINVAL,
          "kernel is cut off (copy it again): the kernel should begin at byte 2048 of 1024");
}

Test(x86_bzimage, cut_off_in_the_kernel)
{
    FAILS(boot_load(&b, &bz, sizeof(bz) - 16), -EINVAL,
          "kernel is cut off (copy it again): the header promises 4096 bytes of kernel, 4080 are "
          "there");
    bz_set(&bz, 0x1f4, 4, UINT32_MAX);
    FAILS(load(), -EINVAL,
          "kernel is cut off (copy it again): the header promises 68719476720 bytes of kernel, "
          "4096 are there");
}

Test(x86_bzimage, wrong_magics_are_refused)
{
    bz_set(&bz, 0x1fe, 2, 0xaa54);
    cr_assert_eq(load(), -ENOEXEC);
    bz_init(&bz);
    bz_set(&bz, 0x202, 1, 'h');

    FAILS(load(), -ENOEXEC,
          "kernel is no x86_64 kernel: neither a bzImage (vmlinuz) nor an ELF file (vmlinux)");
}

Test(x86_bzimage, old_protocol_is_refused)
{
    bz_set(&bz, 0x206, 2, 0x209);

    FAILS(load(), -EINVAL,
          "kernel: boot protocol 2.09 is too old: 2.10 (Linux 2.6.31) is the oldest");
}

Test(x86_bzimage, short_header_is_refused)
{
    bz_set(&bz, 0x201, 1, 0x61);

    FAILS(load(), -EINVAL, "kernel: the setup header ends at byte 0x263: protocol 2.10 has 0x264");
}

Test(x86_bzimage, zimage_is_refused)
{
    bz_set(&bz, 0x211, 1, 0);

    FAILS(load(), -EINVAL, "kernel is a zImage, which loads below 1 MiB: give a bzImage");
}

Test(x86_bzimage, alignment_must_fit_the_address)
{
    bz_set(&bz, 0x258, 8, BZ_BASE + 0x1000);
    FAILS(load(), -EINVAL,
          "kernel: load address 0x1001000 does not fit the alignment 0x200000 in the header");
    bz_init(&bz);
    bz_set(&bz, 0x230, 4, 0);
    FAILS(load(), -EINVAL,
          "kernel: load address 0x1000000 does not fit the alignment 0x0 in the header");
    bz_set(&bz, 0x230, 4, 0x30000);
    FAILS(load(), -EINVAL,
          "kernel: load address 0x1000000 does not fit the alignment 0x30000 in the header");
}

Test(x86_bzimage, load_address_that_wraps_or_is_too_high_is_refused)
{
    bz_set(&bz, 0x258, 8, GIB - BZ_NEED + 0x200000);
    FAILS(load(), -EINVAL,
          "kernel: load address 0x3fe00000 and size reach beyond the first GiB, which the boot "
          "page tables map");
    bz_set(&bz, 0x258, 8, 0xffffffffffe00000);
    FAILS(load(), -EINVAL,
          "kernel: load address 0xffffffffffe00000 and size reach beyond the first GiB, which the "
          "boot page tables map");
}

Test(x86_bzimage, load_address_below_1_mib_is_refused)
{
    bz_set(&bz, 0x258, 8, 0);

    FAILS(load(), -ENOSPC,
          "kernel: the kernel with its work space at 0x0 lies below 1 MiB, where boot data and the "
          "legacy hole are: give another kernel");
}

Test(x86_bzimage, too_little_memory_is_refused)
{
    bz_set(&bz, 0x260, 4, 50 << 20);

    FAILS(load(), -ENOSPC,
          "kernel: the kernel with its work space needs 0x1000000 to 0x4200000, but memory ends at "
          "0x4000000: give the guest more memory");
}
