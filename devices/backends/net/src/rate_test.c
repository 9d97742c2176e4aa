/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include "filter_private.h"

#define SECOND 1000000000ULL

static struct vnet_rate rate_of(const struct vnet_filter_config *c, bool sent)
{
    struct vnet_rate r;

    vnet_rate_init(&r, c, sent, 0);
    return r;
}

Test(vnet_rate, without_limit_nothing_waits)
{
    struct vnet_filter_config c = { .bw_ms = 1000, .ops_ms = 1000 };
    struct vnet_rate r = rate_of(&c, true);

    vnet_rate_pay(&r, UINT32_MAX, 0);

    cr_assert_eq(vnet_rate_wait_ns(&r, UINT32_MAX, 0), 0);
}

Test(vnet_rate, bytes_over_a_long_time_are_exact)
{
    struct vnet_filter_config c = { .bw_ms = 1000, .ops_ms = 1000, .bw_size = 10007 };
    struct vnet_rate r = rate_of(&c, true);
    uint64_t now = 0, passed = 0;

    while (now <= 100 * SECOND) {
        uint64_t wait = vnet_rate_wait_ns(&r, 1500, now);

        now += wait;
        if (!wait && now <= 100 * SECOND) {
            vnet_rate_pay(&r, 1500, now);
            passed += 1500;
        }
    }

    cr_assert_leq(passed, 101 * 10007ULL);
    cr_assert_geq(passed, 101 * 10007ULL - 1500);
}

Test(vnet_rate, frames_larger_than_the_bucket_keep_the_rate)
{
    struct vnet_filter_config c = { .bw_ms = 1000, .ops_ms = 1000, .bw_size = 1000 };
    struct vnet_rate r = rate_of(&c, true);

    vnet_rate_pay(&r, 5000, 0);

    cr_assert_eq(vnet_rate_wait_ns(&r, 1, 4 * SECOND - 1000000), 1000000,
                 "four seconds' tokens are owed, and one more is wanted");
    cr_assert_eq(vnet_rate_wait_ns(&r, 1, 4 * SECOND), 1000000);
    cr_assert_eq(vnet_rate_wait_ns(&r, 1, 4 * SECOND + 1000000), 0);
}

Test(vnet_rate, one_time_burst_comes_once)
{
    struct vnet_filter_config c = { .bw_ms = 1000, .ops_ms = 1000, .ops_size = 2, .ops_burst = 3 };
    struct vnet_rate r = rate_of(&c, true);
    unsigned passed = 0;

    while (!vnet_rate_wait_ns(&r, 60, 0)) {
        vnet_rate_pay(&r, 60, 0);
        passed++;
    }
    cr_assert_eq(passed, 5);
    while (!vnet_rate_wait_ns(&r, 60, 10 * SECOND)) {
        vnet_rate_pay(&r, 60, 10 * SECOND);
        passed++;
    }

    cr_assert_eq(passed, 7);
}

Test(vnet_rate, each_direction_may_have_its_own_limit)
{
    struct vnet_filter_config c = {
        .bw_ms = 1000, .ops_ms = 1000, .bw_size = 1000, .rx_bw_size = 4000
    };
    struct vnet_rate sent = rate_of(&c, true), received = rate_of(&c, false);

    cr_assert_eq(sent.bytes.bucket.size, 1000);
    cr_assert_eq(received.bytes.bucket.size, 4000);
}

Test(vnet_rate, a_limit_that_is_taken_away_forgives_what_is_owed)
{
    struct vnet_filter_config c = { .bw_ms = 1000, .ops_ms = 1000, .bw_size = 10 };
    struct vnet_rate r = rate_of(&c, true);

    vnet_rate_pay(&r, 5000, 0);
    c.bw_size = 0;
    vnet_rate_set(&r, &c, true, 0);

    cr_assert_eq(vnet_rate_wait_ns(&r, 1500, 0), 0);
}
