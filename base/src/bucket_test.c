/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of token buckets. */
#include <criterion/criterion.h>

#include <vmm/base/bucket.h>

#define SECOND 1000000000ULL

static struct vm_bucket make(uint64_t size, uint64_t period_ns)
{
    struct vm_bucket b;

    vm_bucket_init(&b, size, period_ns, 0, 0);
    return b;
}

Test(bucket, without_a_size_there_is_no_limit)
{
    struct vm_bucket b = make(0, SECOND);

    cr_assert(vm_bucket_take(&b, UINT64_MAX, 0));
    cr_assert(vm_bucket_take(&b, UINT64_MAX, 0));
    cr_assert_eq(vm_bucket_look(&b, 0), UINT64_MAX);
    cr_assert_eq(vm_bucket_wait_ns(&b, UINT64_MAX, 0), 0);
}

Test(bucket, begins_full_and_gives_no_more_than_it_holds)
{
    struct vm_bucket b = make(100, SECOND);

    cr_assert(vm_bucket_take(&b, 60, 5));
    cr_assert(!vm_bucket_take(&b, 41, 5));
    cr_assert(vm_bucket_take(&b, 40, 5));
    cr_assert_eq(vm_bucket_look(&b, 5), 0);
}

Test(bucket, fills_evenly_and_is_full_after_its_period)
{
    struct vm_bucket b = make(100, SECOND);

    cr_assert(vm_bucket_take(&b, 100, 0));

    cr_assert_eq(vm_bucket_look(&b, SECOND / 2), 50);
    cr_assert_eq(vm_bucket_look(&b, SECOND - 1), 99);
    cr_assert_eq(vm_bucket_look(&b, SECOND), 100);
    cr_assert_eq(vm_bucket_look(&b, 100 * SECOND), 100);
}

Test(bucket, nothing_is_lost_however_often_it_is_looked_at)
{
    struct vm_bucket b = make(7, 3 * SECOND + 1); /* no step is a whole number of tokens */
    uint64_t taken = 7, now = 0;

    cr_assert(vm_bucket_take(&b, 7, 0));
    for (unsigned i = 0; i < 300000; i++) {
        now += 100003;
        if (vm_bucket_take(&b, 1, now))
            taken++;
    }

    /* 7 at first, and 7 * now / period since */
    cr_assert_eq(taken, 7 + 7 * now / (3 * SECOND + 1));
}

Test(bucket, numbers_whose_product_is_beyond_64_bits_are_exact_too)
{
    const uint64_t size = (1ULL << 40) + 12345, period = 3600 * SECOND + 7;
    struct vm_bucket b = make(size, period), c = make(size, period);
    uint64_t now = 0;

    cr_assert(vm_bucket_take(&b, size, 0));
    cr_assert(vm_bucket_take(&c, size, 0));
    for (unsigned i = 0; i < 1000; i++) {
        now += 3599999999ULL;
        vm_bucket_look(&b, now);
    }

    /* 3599.999999 s of 3600.000000007: floor(size * now / period) by arithmetic of any width */
    cr_assert_eq(vm_bucket_look(&b, now), 1099511639813ULL);
    cr_assert_eq(vm_bucket_look(&c, now), 1099511639813ULL);
}

Test(bucket, the_wait_ends_at_the_first_moment_at_which_it_can_be_taken)
{
    const uint64_t periods[] = { 1, 10, 333, SECOND, 3600 * SECOND + 7 };
    const uint64_t sizes[] = { 1, 3, 7, 1000, (1ULL << 40) + 12345 };

    for (unsigned i = 0; i < 25; i++)
        for (uint64_t count = 1; count <= 5; count++) {
            struct vm_bucket b = make(sizes[i / 5], periods[i % 5]);
            uint64_t wait, start = periods[i % 5] / 3;

            cr_assert(vm_bucket_take(&b, b.size, 0));
            wait = vm_bucket_wait_ns(&b, count, start);
            if (wait > 1)
                cr_assert(!vm_bucket_take(&b, count, start + wait - 1), "%u: early", i);

            cr_assert(vm_bucket_take(&b, count, start + wait), "%u: late", i);
        }
}

Test(bucket, more_than_it_holds_is_given_when_it_is_full)
{
    struct vm_bucket b = make(10, SECOND);

    cr_assert(vm_bucket_take(&b, 25, 0));
    cr_assert(!vm_bucket_take(&b, 25, SECOND - 1));
    cr_assert_eq(vm_bucket_wait_ns(&b, 25, SECOND - 1), 1);
    cr_assert(vm_bucket_take(&b, 25, SECOND));
}

Test(bucket, tokens_for_once_come_first_and_never_again)
{
    struct vm_bucket b;

    vm_bucket_init(&b, 10, SECOND, 5, 0);

    cr_assert(vm_bucket_take(&b, 15, 0));
    cr_assert(!vm_bucket_take(&b, 1, 0));
    cr_assert_eq(vm_bucket_look(&b, 10 * SECOND), 10);
}

Test(bucket, what_was_not_used_goes_back_but_never_above_the_rim)
{
    struct vm_bucket b = make(10, SECOND);

    cr_assert(vm_bucket_take(&b, 8, 0));
    vm_bucket_give_back(&b, 3);
    cr_assert_eq(vm_bucket_look(&b, 0), 5);
    vm_bucket_give_back(&b, 100);

    cr_assert_eq(vm_bucket_look(&b, 0), 10);
}

Test(bucket, time_that_goes_back_brings_nothing)
{
    struct vm_bucket b = make(10, SECOND);

    cr_assert(vm_bucket_take(&b, 10, 5 * SECOND));

    cr_assert_eq(vm_bucket_look(&b, 4 * SECOND), 0);
    cr_assert_eq(vm_bucket_look(&b, 4 * SECOND + SECOND / 2), 5);
}

Test(bucket, another_limit_keeps_what_is_there_as_far_as_it_fits)
{
    struct vm_bucket b = make(100, SECOND);

    cr_assert(vm_bucket_take(&b, 50, 0));
    vm_bucket_set(&b, 20, SECOND, 0);
    cr_assert_eq(vm_bucket_look(&b, 0), 20);
    cr_assert(vm_bucket_take(&b, 20, 0));
    vm_bucket_set(&b, 200, SECOND, 0);
    cr_assert_eq(vm_bucket_look(&b, SECOND / 2), 100);
    vm_bucket_set(&b, 0, 0, SECOND);
    cr_assert_eq(vm_bucket_look(&b, SECOND), UINT64_MAX);
    vm_bucket_set(&b, 3, SECOND, SECOND);

    cr_assert_eq(vm_bucket_look(&b, SECOND), 3);
}
