/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Packed rings of drivers that break the rules: each ends in -EPROTO, with its reason. */
#include <criterion/criterion.h>

#include <errno.h>

#include "fake_queue.h"

enum { RAM = 1 << 21, SIZE = 8, BUF = 0x100000 };

static struct fake_queue fq;
static const struct fake_buf out = { BUF, 16, false }, in = { BUF + 0x1000, 16, true };

static void begin(uint64_t features)
{
    cr_assert_eq(fake_queue_init(&fq, SIZE, VQ_F_RING_PACKED | features, RAM), 0);
}

static void end(void)
{
    fake_queue_exit(&fq);
}

static void refused(const char *why, uint32_t value)
{
    struct vq_chain c;

    cr_assert_eq(vq_next(&fq.q, &c), -EPROTO);
    cr_assert_str_eq(fq.q.why, why);
    cr_assert_eq(fq.q.why_value, value, "value %u", fq.q.why_value);
    cr_assert_eq(vq_next(&fq.q, &c), 0);
    end();
}

/* Serves that many one-descriptor chains, to stand elsewhere in the ring. */
static void turn(int n)
{
    struct vq_chain c;
    uint32_t len;
    uint16_t id;

    while (n--) {
        cr_assert_geq(fake_driver_offer(&fq.drv, &out, 1), 0);
        cr_assert_eq(vq_next(&fq.q, &c), 1);
        cr_assert_eq(vq_done(&fq.q, &c), 0);
        cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
    }
}

Test(packed, chain_goes_over_the_end_of_the_ring)
{
    struct fake_buf b[4] = { out, out, in, in };
    struct vq_chain c;
    uint32_t len;
    uint16_t id;
    int offered;

    begin(0);
    turn(6);
    offered = fake_driver_offer(&fq.drv, b, 4);
    cr_assert_eq(vq_next(&fq.q, &c), 1);
    cr_assert_eq(c.slots, 4);
    cr_assert_eq(c.readable, 2);
    cr_assert_eq(c.writable, 2);
    cr_assert_eq(vq_done(&fq.q, &c), 0);

    cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
    cr_assert_eq(id, offered);
    cr_assert_eq(fq.q.next_used, 2);
    cr_assert_not(fq.q.used_wrap);
    end();
}

Test(packed, descriptor_of_the_round_before_is_not_available)
{
    struct vq_chain c;

    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_corrupt_wrap(&fq.drv, 0);

    cr_assert_eq(vq_next(&fq.q, &c), 0);
    end();
}

Test(packed, descriptor_with_equal_bits_is_not_available)
{
    struct fake_desc d = { BUF, 16, FAKE_F_AVAIL | FAKE_F_USED, 0 };
    struct vq_chain c;

    begin(0);
    fake_driver_desc_set(&fq.drv, 0, &d);

    cr_assert_eq(vq_next(&fq.q, &c), 0);
    end();
}

Test(packed, used_descriptor_is_not_available_again)
{
    struct vq_chain c;

    begin(0);
    turn(SIZE);

    cr_assert_eq(vq_next(&fq.q, &c), 0);
    end();
}

Test(packed, id_outside_the_queue_is_refused)
{
    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_corrupt(&fq.drv, 0, 0, SIZE);
    refused("buffer id is not below the queue's size", SIZE);
}

Test(packed, only_the_last_id_of_a_list_counts)
{
    struct fake_buf b[2] = { out, out };
    struct vq_chain c;

    begin(0);
    fake_driver_offer(&fq.drv, b, 2);
    fake_driver_corrupt(&fq.drv, 0, FAKE_F_NEXT, 0x1234);

    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.id, 0);
    end();
}

Test(packed, same_id_twice_in_flight_is_refused)
{
    struct vq_chain c;

    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_corrupt(&fq.drv, 1, 0, 0);
    cr_assert_eq(vq_next(&fq.q, &c), 1);
    refused("chain is offered again while it is in flight", 0);
}

Test(packed, list_longer_than_the_ring_is_refused)
{
    struct fake_buf b[SIZE];

    begin(0);
    for (int i = 0; i < SIZE; i++)
        b[i] = in;
    fake_driver_offer(&fq.drv, b, SIZE);
    fake_driver_corrupt(&fq.drv, SIZE - 1, FAKE_F_NEXT | FAKE_F_WRITE, 0);
    refused("chain loops", SIZE - 1);
}

Test(packed, whole_ring_in_one_list_is_taken)
{
    struct fake_buf b[SIZE];
    struct vq_chain c;

    begin(0);
    for (int i = 0; i < SIZE; i++)
        b[i] = in;
    fake_driver_offer(&fq.drv, b, SIZE);

    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.slots, SIZE);
    cr_assert_eq(vq_done(&fq.q, &c), 0);
    cr_assert(fake_driver_pending(&fq.drv));
    end();
}

Test(packed, entries_that_are_still_in_flight_are_refused)
{
    struct fake_buf b[6] = { out, out, out, out, out, out };
    struct vq_chain c;

    begin(0);
    fake_driver_offer(&fq.drv, b, 6);
    cr_assert_eq(vq_next(&fq.q, &c), 1);
    /* Two entries are left; the list goes on over the first six, which are in flight. */
    fake_driver_offer(&fq.drv, b, 2);
    fake_driver_corrupt(&fq.drv, 7, FAKE_F_NEXT, 1);
    fake_driver_corrupt(&fq.drv, 0, 0, 1);
    refused("more is in flight than the ring holds", 9);
}

Test(packed, readable_buffer_behind_a_writable_one_is_refused)
{
    struct fake_buf b[2] = { in, out };

    begin(0);
    fake_driver_offer(&fq.drv, b, 2);
    refused("device-readable buffer behind a writable one", 1);
}

Test(packed, buffer_outside_ram_is_refused)
{
    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_corrupt_buf(&fq.drv, 0, 1ULL << 40, 16);
    refused("buffer is not RAM", 0);
}

Test(packed, table_with_next_is_refused)
{
    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    fake_driver_corrupt(&fq.drv, 0, FAKE_F_INDIRECT | FAKE_F_NEXT, 0);
    refused("indirect descriptor in a list", 0);
}

Test(packed, table_behind_a_direct_descriptor_is_refused)
{
    struct fake_buf b[2] = { out, out };

    begin(VQ_F_INDIRECT);
    fake_driver_offer_mixed(&fq.drv, b, 2, 1);
    refused("indirect descriptor in a list", 1);
}

Test(packed, indirect_without_the_feature_is_refused)
{
    begin(0);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    refused("indirect descriptor without the feature", FAKE_F_INDIRECT | FAKE_F_AVAIL);
}

Test(packed, table_of_half_a_descriptor_is_refused)
{
    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &out, 1);
    fake_driver_corrupt_buf(&fq.drv, 0, BUF, 8);
    refused("indirect table's length is wrong", 8);
}

Test(packed, table_that_leaves_ram_is_refused_at_its_first_bad_entry)
{
    struct fake_buf b[2] = { out, out };
    uint8_t raw[16];

    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, b, 2);
    fake_driver_read(&fq.drv, fake_driver_table(&fq.drv, 0), raw, 16);
    fake_driver_write(&fq.drv, RAM - 16, raw, 16);
    fake_driver_corrupt_buf(&fq.drv, 0, RAM - 16, 32);
    refused("indirect table is not RAM", 1);
}

Test(packed, writable_buffer_outside_ram_is_refused_in_a_table)
{
    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, &(struct fake_buf){ RAM, 1, true }, 1);
    refused("buffer is not RAM", 0);
}

Test(packed, flags_but_write_are_ignored_in_a_table)
{
    struct fake_buf b[2] = { out, in };
    struct fake_desc d = { BUF, 16, FAKE_F_NEXT | FAKE_F_INDIRECT | FAKE_F_AVAIL, 0xffff };
    struct vq_chain c;

    begin(VQ_F_INDIRECT);
    fake_driver_offer_indirect(&fq.drv, b, 2);
    fake_driver_corrupt_table(&fq.drv, 0, 0, &d);

    cr_assert_eq(vq_next(&fq.q, &c), 1);

    cr_assert_eq(c.readable, 1);
    cr_assert_eq(c.writable, 1);
    end();
}

Test(packed, table_with_more_than_the_bound_is_refused)
{
    struct fake_buf b[VQ_CHAIN_MAX];

    begin(VQ_F_INDIRECT);
    for (int i = 0; i < VQ_CHAIN_MAX; i++)
        b[i] = in;
    fake_driver_offer_indirect(&fq.drv, b, VQ_CHAIN_MAX);
    fake_driver_corrupt_buf(&fq.drv, 0, BUF, (VQ_CHAIN_MAX + 1) * 16);
    refused("chain is too long", VQ_CHAIN_MAX);
}

Test(packed, write_flag_of_a_used_descriptor_says_whether_data_was_written)
{
    struct fake_buf b[2] = { out, in };
    struct fake_desc used[2];
    struct vq_chain c;

    begin(0);
    fake_driver_offer(&fq.drv, &out, 1);
    fake_driver_offer(&fq.drv, b, 2);
    vq_next(&fq.q, &c);
    vq_done(&fq.q, &c);
    vq_next(&fq.q, &c);
    vq_push(&fq.q, &c, "abc", 3);
    vq_done(&fq.q, &c);
    fake_driver_desc_get(&fq.drv, 0, &used[0]);
    fake_driver_desc_get(&fq.drv, 1, &used[1]);

    cr_assert_eq(used[0].flags, FAKE_F_AVAIL | FAKE_F_USED);
    cr_assert_eq(used[1].flags, FAKE_F_AVAIL | FAKE_F_USED | FAKE_F_WRITE);
    cr_assert_eq(used[1].len, 3);
    cr_assert_eq(used[1].id_or_next, 1);
    end();
}
