/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <vmm/base/check.h>

Test(check, sums_that_fit_are_true_and_others_false)
{
    uint64_t sum = 0;
    uint8_t small = 0;

    cr_assert(vm_add(UINT64_MAX - 1, 1, &sum));
    cr_assert_eq(sum, UINT64_MAX);
    cr_assert_not(vm_add(UINT64_MAX, 1, &sum));
    cr_assert_not(vm_add(200, 56, &small), "the type of the result counts");
}

Test(check, differences_and_products_are_checked_too)
{
    uint64_t out = 0;

    cr_assert_not(vm_sub(UINT64_C(1), UINT64_C(2), &out));
    cr_assert(vm_sub(UINT64_C(2), UINT64_C(2), &out));
    cr_assert_eq(out, 0);
    cr_assert_not(vm_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    cr_assert(vm_mul(UINT64_C(1) << 31, UINT64_C(1) << 32, &out));
    cr_assert_eq(out, UINT64_C(1) << 63);
}

Test(check, a_range_lies_in_another_only_as_a_whole)
{
    cr_assert(vm_range_in(0, 10, 10));
    cr_assert(vm_range_in(10, 0, 10));
    cr_assert_not(vm_range_in(11, 0, 10));
    cr_assert_not(vm_range_in(1, 10, 10));
    cr_assert_not(vm_range_in(1, UINT64_MAX, 10), "the end wraps");
}

Test(check, ranges_overlap_when_they_share_a_byte)
{
    cr_assert(vm_ranges_overlap(0, 10, 9, 1));
    cr_assert(vm_ranges_overlap(9, 1, 0, 10));
    cr_assert(vm_ranges_overlap(0, 10, 3, 2));
    cr_assert_not(vm_ranges_overlap(0, 10, 10, 5));
    cr_assert_not(vm_ranges_overlap(0, 0, 0, 10));
    cr_assert_not(vm_ranges_overlap(0, 10, 5, 0));
    cr_assert(vm_ranges_overlap(UINT64_MAX, 1, UINT64_MAX, 1), "the last byte of all");
}

Test(check, powers_of_two_are_known)
{
    cr_assert(vm_is_pow2(1));
    cr_assert(vm_is_pow2(UINT64_C(1) << 63));
    cr_assert_not(vm_is_pow2(0));
    cr_assert_not(vm_is_pow2(6));
}

Test(check, aligning_up_stops_at_the_end_of_64_bits)
{
    uint64_t out = 0;

    cr_assert(vm_align_up(4097, 4096, &out));
    cr_assert_eq(out, 8192);
    cr_assert(vm_align_up(4096, 4096, &out));
    cr_assert_eq(out, 4096);
    cr_assert_not(vm_align_up(UINT64_MAX - 5, 4096, &out));
}

Test(check, a_mask_covers_the_bytes_of_an_access)
{
    cr_assert_eq(vm_mask_bytes(1), 0xff);
    cr_assert_eq(vm_mask_bytes(2), 0xffff);
    cr_assert_eq(vm_mask_bytes(4), 0xffffffff);
    cr_assert_eq(vm_mask_bytes(8), UINT64_MAX);
}
