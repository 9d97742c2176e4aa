/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Split rings of drivers that break the rules: each ends in -EPROTO, with its reason. */
#include <criterion/criterion.h>

#include <errno.h>

#include "fake_queue.h"

enum { RAM = 1 << 21, SIZE = 8, BUF = 0x100000 };

static struct fake_queue fq;
static const struct fake_buf out = { BUF, 16, false }, in = { BUF + 0x1000, 16, true };

static void begin(uint64_t features)
{
    cr_assert_eq(fake_queue_init(&fq, SIZE, features, RAM), 0);
}

static void end(void)
{
    fake_queue_exit(&fq);
}

/* The next chain is refused for this reason, and nothing comes after it. */
static void refused(const char *why, uint32_t value)
{
    struct vq_chain c;

    cr_assert_eq(vq_next(&fq.q, &c), -EPROTO);
    cr_assert_str_eq(fq.q.why, why);
    cr_assert_eq(fq.q.why_value, value, "value %u", fq.q.why_value);
    cr_assert_eq(vq_next(&fq.q, &c), 0);
    cr_assert_eq(vq_in_flight(&fq.q), 0);
    end();
}

Test(split, available_index_that_jumps_over_the_ring_is_refused)
{
    begin(0);
    fake_driver_corrupt_avail_idx(&fq.drv, SIZE + 1);
    refused("available index jumps", SIZE + 1);
}

Test(split, available_index_that_goes_back_is_refused)
{
    struct vq_chain c;

    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    vq_next(&fq.q, &c);
    vq_done(&fq.q, &c);
    fake_driver_corrupt_avail_idx(&fq.drv, 0);
    refused("available index jumps", 0);
}

Test(split, head_outside_the_table_is_refused)
{
    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_corrupt_avail(&fq.drv, 0, SIZE);
    refused("head is not in the table", SIZE);
}

Test(split, next_outside_the_table_is_refused)
{
    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_corrupt(&fq.drv, 0, FAKE_F_NEXT, SIZE);
    refused("next descriptor is not in the table", SIZE);
}

Test(split, chain_that_points_at_itself_is_refused)
{
    begin(0);
    fake_driver_offer(&fq.drv, &in, 1);
    fake_driver_corrupt(&fq.drv, 0, FAKE_F_NEXT | FAKE_F_WRITE, 0);
    refused("chain loops", 0);
}

Test(split, loop_over_two_descriptors_is_refused)
{
    struct fake_buf b[2] = { in, in };

    begin(0);
    fake_driver_offer(&fq.drv, b, 2);
    fake_driver_corrupt(&fq.drv, 1, FAKE_F_NEXT | FAKE_F_WRITE, 0);
    refused("chain loops", 0);
}

Test(split, loop_in_a_large_ring_ends_at_the_bound)
{
    struct vq_chain c;

    cr_assert_eq(fake_queue_init(&fq, 4096, 0, RAM), 0);
    fake_driver_offer(&fq.drv, &in, 1);
    fake_driver_corrupt(&fq.drv, 0, FAKE_F_NEXT | FAKE_F_WRITE, 0);

    cr_assert_eq(vq_next(&fq.q, &c), -EPROTO);

    cr_assert_str_eq(fq.q.why, "chain is too long");
    cr_assert_eq(fq.q.why_value, VQ_CHAIN_MAX);
    end();
}

Test(split, whole_table_in_one_chain_is_taken)
{
    struct fake_buf b[SIZE];
    struct vq_chain c;

    begin(0);
    for (int i = 0; i < SIZE; i++)
        b[i] = in;
    fake_driver_offer(&fq.drv, b, SIZE);

    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.writable, SIZE);
    end();
}

Test(split, readable_buffer_behind_a_writable_one_is_refused)
{
    struct fake_buf b[2] = { in, out };

    begin(0);
    fake_driver_offer(&fq.drv, b, 2);
    refused("device-readable buffer behind a writable one", 1);
}

Test(split, buffer_outside_ram_is_refused)
{
    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_corrupt_buf(&fq.drv, 0, RAM - 8, 16);
    refused("buffer is not RAM", 0);
}

Test(split, buffer_that_wraps_is_refused)
{
    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_corrupt_buf(&fq.drv, 0, UINT64_MAX - 7, 16);
    refused("buffer is not RAM", 0);
}

Test(split, buffer_of_no_bytes_is_taken_wherever_it_points)
{
    struct fake_buf b[3] = { out, { UINT64_MAX, 0, false }, in };
    struct vq_chain c;
    uint8_t got[16];

    begin(0);
    fake_driver_offer(&fq.drv, b, 3);

    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.readable, 2);
    cr_assert_eq(c.readable_bytes, 16);
    cr_assert_eq(vq_pull(&fq.q, &c, got, 16), 0);
    end();
}

Test(split, same_head_twice_is_refused_while_it_is_in_flight)
{
    struct vq_chain c;

    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    cr_assert_eq(vq_next(&fq.q, &c), 1);
    fake_driver_corrupt_avail(&fq.drv, 1, 0);
    fake_driver_corrupt_avail_idx(&fq.drv, 2);

    cr_assert_eq(vq_next(&fq.q, &c), -EPROTO);

    cr_assert_str_eq(fq.q.why, "chain is offered again while it is in flight");
    cr_assert_eq(vq_in_flight(&fq.q), 1);
    end();
}

Test(split, same_head_again_after_it_was_used_is_fine)
{
    struct vq_chain c;

    begin(0);
    for (uint16_t i = 0; i < 5; i++) {
        fake_driver_offer(&fq.drv, &out, 1);
        fake_driver_corrupt_avail(&fq.drv, i, 0);
        cr_assert_eq(vq_next(&fq.q, &c), 1);
        cr_assert_eq(vq_done(&fq.q, &c), 0);
    }
    end();
}

Test(split, indirect_without_the_feature_is_refused)
{
    begin(0);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    refused("indirect descriptor without the feature", FAKE_F_INDIRECT);
}

Test(split, indirect_with_next_is_refused)
{
    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    fake_driver_corrupt(&fq.drv, 0, FAKE_F_INDIRECT | FAKE_F_NEXT, 1);
    refused("indirect descriptor in a list", FAKE_F_INDIRECT | FAKE_F_NEXT);
}

Test(split, table_of_no_length_is_refused)
{
    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    fake_driver_corrupt_buf(&fq.drv, 0, BUF, 0);
    refused("indirect table's length is wrong", 0);
}

Test(split, table_of_half_a_descriptor_is_refused)
{
    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    fake_driver_corrupt_buf(&fq.drv, 0, BUF, 24);
    refused("indirect table's length is wrong", 24);
}

Test(split, table_outside_ram_is_refused)
{
    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    fake_driver_corrupt_buf(&fq.drv, 0, RAM, 16);
    refused("indirect table is not RAM", 0);
}

Test(split, table_that_wraps_is_refused)
{
    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    fake_driver_corrupt_buf(&fq.drv, 0, UINT64_MAX - 7, 32);
    refused("indirect table is not RAM", 32);
}

Test(split, table_in_a_table_is_refused)
{
    struct fake_desc d = { BUF, 16, FAKE_F_INDIRECT, 0 };

    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    fake_driver_corrupt_table(&fq.drv, 0, 0, &d);
    refused("indirect table in an indirect table", 0);
}

Test(split, next_outside_the_indirect_table_is_refused)
{
    struct fake_desc d = { BUF, 16, FAKE_F_NEXT, 1 };

    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    fake_driver_corrupt_table(&fq.drv, 0, 0, &d);
    refused("next descriptor is not in the indirect table", 1);
}

Test(split, loop_in_the_indirect_table_is_refused)
{
    struct fake_desc d = { BUF, 16, FAKE_F_NEXT, 0 };
    struct fake_buf b[2] = { out, out };

    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, b, 2);
    fake_driver_corrupt_table(&fq.drv, 0, 1, &d);
    refused("chain loops in the indirect table", 0);
}

Test(split, table_with_more_than_the_bound_is_refused)
{
    struct fake_buf b[VQ_CHAIN_MAX];
    struct fake_desc more = { BUF, 16, FAKE_F_NEXT, 0 };

    begin(VQ_F_INDIRECT);
    for (int i = 0; i < VQ_CHAIN_MAX; i++)
        b[i] = out;
    fake_driver_offer_indirect(&fq.drv, b, VQ_CHAIN_MAX);
    fake_driver_corrupt_buf(&fq.drv, 0, fake_driver_table(&fq.drv, 0), (VQ_CHAIN_MAX + 1) * 16);
    fake_driver_corrupt_table(&fq.drv, 0, VQ_CHAIN_MAX - 1, &more);
    refused("chain is too long", VQ_CHAIN_MAX);
}

Test(split, table_of_the_bound_is_taken_although_the_ring_is_smaller)
{
    struct fake_buf b[VQ_CHAIN_MAX];
    struct vq_chain c;

    begin(VQ_F_INDIRECT);
    for (int i = 0; i < VQ_CHAIN_MAX; i++)
        b[i] = out;
    fake_driver_offer_indirect(&fq.drv, b, VQ_CHAIN_MAX);

    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.readable, VQ_CHAIN_MAX);
    end();
}

Test(split, direct_descriptors_may_come_before_a_table)
{
    struct fake_buf b[4] = { out, out, in, in };
    struct vq_chain c;

    begin(VQ_F_INDIRECT);
    fake_driver_offer_mixed(&fq.drv, b, 4, 1);

    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.readable, 2);
    cr_assert_eq(c.writable, 2);
    cr_assert_eq(c.slots, 1);
    end();
}

Test(split, write_flag_of_the_descriptor_of_a_table_is_ignored)
{
    struct fake_buf b[2] = { out, in };
    struct vq_chain c;

    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, b, 2);
    fake_driver_corrupt(&fq.drv, 0, FAKE_F_INDIRECT | FAKE_F_WRITE, 0);

    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.readable, 1);
    cr_assert_eq(c.writable, 1);
    end();
}

Test(split, table_needs_no_alignment)
{
    struct fake_buf b[2] = { out, in };
    struct vq_chain c;
    uint8_t raw[32];

    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, b, 2);
    fake_driver_read(&fq.drv, fake_driver_table(&fq.drv, 0), raw, 32);
    fake_driver_write(&fq.drv, BUF + 3, raw, 32);
    fake_driver_corrupt_buf(&fq.drv, 0, BUF + 3, 32);

    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.buf[0].addr, out.addr);
    cr_assert_eq(c.buf[1].addr, in.addr);
    end();
}

Test(split, completions_do_not_trust_the_used_ring)
{
    struct vq_chain c;
    uint16_t id;
    uint32_t len;

    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    vq_next(&fq.q, &c);
    fake_driver_corrupt_used_idx(&fq.drv, 999);
    fake_driver_corrupt_used(&fq.drv, 0, 77, 77);

    cr_assert_eq(vq_done(&fq.q, &c), 0);

    cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
    cr_assert_eq(id, 0);
    end();
}

Test(split, descriptor_that_changes_after_it_was_taken_has_no_effect)
{
    struct vq_chain c;
    uint8_t byte = 0x5a, got;

    begin(0);
    fake_driver_write(&fq.drv, out.addr, &byte, 1);
    fake_driver_offer(&fq.drv, &out, 1);
    vq_next(&fq.q, &c);
    fake_driver_corrupt_buf(&fq.drv, 0, UINT64_MAX, UINT32_MAX);

    cr_assert_eq(vq_pull(&fq.q, &c, &got, 1), 0);

    cr_assert_eq(got, 0x5a);
    end();
}
