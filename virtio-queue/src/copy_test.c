/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Cursors over a chain. */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include "fake_queue.h"

enum { OUT = 0x100000, IN = 0x110000 };

static struct fake_queue fq;
static struct vq_chain c;

/* "abc", "", "defgh" to read; 3, 0 and 5 bytes to write. */
static void begin(void)
{
    const struct fake_buf b[] = { { OUT, 3, false }, { 0, 0, false }, { OUT + 100, 5, false },
                                  { IN, 3, true },   { 0, 0, true },  { IN + 100, 5, true } };

    cr_assert_eq(fake_queue_init(&fq, 8, 0, 1 << 21), 0);
    fake_driver_write(&fq.drv, OUT, "abc", 3);
    fake_driver_write(&fq.drv, OUT + 100, "defgh", 5);
    fake_driver_offer(&fq.drv, b, 6);
    cr_assert_eq(vq_next(&fq.q, &c), 1);
}

static void end(void)
{
    fake_queue_exit(&fq);
}

TestSuite(copy, .init = begin, .fini = end);

Test(copy, pull_goes_over_the_borders_of_buffers)
{
    char got[9] = { 0 };

    cr_assert_eq(vq_pull(&fq.q, &c, got, 2), 0);
    cr_assert_eq(vq_pull(&fq.q, &c, got + 2, 4), 0);
    cr_assert_eq(vq_pull_left(&c), 2);
    cr_assert_eq(vq_pull(&fq.q, &c, got + 6, 2), 0);

    cr_assert_str_eq(got, "abcdefgh");
    cr_assert_eq(vq_pull_left(&c), 0);
}

Test(copy, pull_of_more_than_there_is_moves_nothing)
{
    char got[9] = "unchanged";

    cr_assert_eq(vq_pull(&fq.q, &c, got, 9), -ENODATA);

    cr_assert_eq(got[0], 'u');
    cr_assert_eq(vq_pull_left(&c), 8);
}

Test(copy, push_goes_over_the_borders_of_buffers_and_counts)
{
    char got[9] = { 0 };
    uint32_t len;
    uint16_t id;

    cr_assert_eq(vq_push(&fq.q, &c, "1", 1), 0);
    cr_assert_eq(vq_push(&fq.q, &c, "234567", 6), 0);
    cr_assert_eq(vq_push_left(&c), 1);
    vq_done(&fq.q, &c);

    cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
    cr_assert_eq(len, 7);
    fake_driver_read(&fq.drv, IN, got, 3);
    fake_driver_read(&fq.drv, IN + 100, got + 3, 5);
    cr_assert_str_eq(got, "1234567");
}

Test(copy, push_of_more_than_fits_moves_nothing)
{
    cr_assert_eq(vq_push(&fq.q, &c, "123456789", 9), -ENOSPC);

    cr_assert_eq(vq_push_left(&c), 8);
    cr_assert_eq(c.pushed, 0);
}

Test(copy, vectors_point_at_the_payload)
{
    struct iovec iov[4];

    cr_assert_eq(vq_iov(&fq.q, &c, GM_READ, 6, iov, 4), 2);

    cr_assert_eq(iov[0].iov_base, fq.guest.host + OUT);
    cr_assert_eq(iov[0].iov_len, 3);
    cr_assert_eq(iov[1].iov_base, fq.guest.host + OUT + 100);
    cr_assert_eq(iov[1].iov_len, 3);
    cr_assert_eq(vq_pull_left(&c), 2);
}

Test(copy, vectors_and_copies_share_the_cursor)
{
    struct iovec iov[4];
    char got[2];

    cr_assert_eq(vq_push(&fq.q, &c, "1234", 4), 0);
    cr_assert_eq(vq_iov(&fq.q, &c, GM_WRITE, 3, iov, 4), 1);

    cr_assert_eq(iov[0].iov_base, fq.guest.host + IN + 101);
    cr_assert_eq(c.pushed, 7);
    cr_assert_eq(vq_pull(&fq.q, &c, got, 2), 0);
    cr_assert_arr_eq(got, "ab", 2);
}

Test(copy, vectors_of_nothing_are_none)
{
    cr_assert_eq(vq_iov(&fq.q, &c, GM_READ, 0, NULL, 0), 0);
}

Test(copy, too_few_vectors_move_nothing)
{
    struct iovec iov[1];

    cr_assert_eq(vq_iov(&fq.q, &c, GM_READ, 8, iov, 1), -E2BIG);

    cr_assert_eq(vq_pull_left(&c), 8);
    cr_assert_eq(c.at_buf[0], 0);
}

Test(copy, vectors_beyond_the_chain_are_refused)
{
    struct iovec iov[8];

    cr_assert_eq(vq_iov(&fq.q, &c, GM_READ, 9, iov, 8), -ENODATA);
    cr_assert_eq(vq_iov(&fq.q, &c, GM_WRITE, 9, iov, 8), -ENOSPC);
}

Test(copy, memory_that_went_away_is_a_fault)
{
    struct gm_change change = { .remove = &fq.guest.region, .remove_count = 1 };
    struct iovec iov[8];
    char got[8];

    cr_assert_eq(gm_space_change(fq.guest.space, &change), 0);

    cr_assert_eq(vq_pull(&fq.q, &c, got, 8), -EFAULT);
    cr_assert_eq(vq_push(&fq.q, &c, got, 8), -EFAULT);
    cr_assert_eq(vq_iov(&fq.q, &c, GM_WRITE, 8, iov, 8), -EFAULT);
    cr_assert_eq(vq_pull_left(&c), 8);
    cr_assert_eq(vq_push_left(&c), 8);
}
