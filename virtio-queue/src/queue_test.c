/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A queue's life, and honest drivers on every kind of ring. */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include <vmm/base/error.h>

#include "fake_queue.h"

enum { RAM = 1 << 21 };

static const uint64_t kinds[] = {
    0,
    VQ_F_EVENT_IDX,
    VQ_F_IN_ORDER,
    VQ_F_RING_PACKED,
    VQ_F_RING_PACKED | VQ_F_EVENT_IDX,
    VQ_F_RING_PACKED | VQ_F_EVENT_IDX | VQ_F_IN_ORDER,
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct fake_queue fq;

static void begin(uint16_t size, uint64_t features)
{
    cr_assert_eq(fake_queue_init(&fq, size, features | VQ_F_INDIRECT, RAM), 0, "%s",
                 vm_error_text());
}

static void end(void)
{
    fake_queue_exit(&fq);
}

/* Offers one byte out and four bytes in, that many elements in all. */
static int offer(uint32_t n, uint8_t tag, bool indirect)
{
    gpa_t at = fq.drv.heap_first + 0x40000 + (gpa_t)tag * 256;
    struct fake_buf buf[8] = { { at, 1, false } };

    for (uint32_t i = 1; i < n; i++)
        buf[i] = (struct fake_buf){ at + 16 * i, 4, true };
    fake_driver_write(&fq.drv, at, &tag, 1);
    return indirect ? fake_driver_offer_indirect(&fq.drv, buf, n)
                    : fake_driver_offer(&fq.drv, buf, n);
}

/* Takes one chain, reads its tag and writes it into every byte. Returns the tag. */
static uint8_t serve(void)
{
    uint8_t tag = 0, fill[64];
    struct vq_chain c;

    cr_assert_eq(vq_next(&fq.q, &c), 1);
    cr_assert_eq(vq_pull(&fq.q, &c, &tag, 1), 0);
    memset(fill, tag, sizeof(fill));
    cr_assert_eq(vq_push(&fq.q, &c, fill, vq_push_left(&c)), 0);
    cr_assert_eq(vq_done(&fq.q, &c), 0);
    return tag;
}

Test(queue, takes_and_returns_a_hundred_thousand_chains_on_every_kind_of_ring)
{
    for (size_t k = 0; k < KINDS; k++) {
        uint32_t len, done = 0, n;
        uint16_t id;

        begin(16, kinds[k]);
        for (uint32_t i = 0; i < 100000; i++) {
            n = 2 + i % 3;
            cr_assert_geq(offer(n, (uint8_t)i, i % 5 == 0), 0);
            if (i % 3 == 2) {
                serve();
                serve();
                serve();
                while (fake_driver_collect(&fq.drv, &id, &len) == 1) {
                    cr_assert_eq(len, 4 * (2 + done % 3 - 1));
                    done++;
                }
            }
        }

        cr_assert_null(fq.drv.complaint);
        cr_assert_eq(done, 99999);
        end();
    }
}

Test(queue, data_goes_both_ways)
{
    for (size_t k = 0; k < KINDS; k++) {
        gpa_t at;
        uint8_t back[4];

        begin(4, kinds[k]);
        at = fq.drv.heap_first + 0x40000 + 0x77 * 256;
        offer(2, 0x77, false);

        serve();

        fake_driver_read(&fq.drv, at + 16, back, 4);
        cr_assert_arr_eq(back, "\x77\x77\x77\x77", 4);
        end();
    }
}

Test(queue, packed_ring_of_an_odd_size_wraps)
{
    uint32_t len;
    uint16_t id;

    begin(7, VQ_F_RING_PACKED | VQ_F_EVENT_IDX);
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_geq(offer(1 + i % 4, (uint8_t)i, false), 0);
        cr_assert_eq(serve(), (uint8_t)i);
        cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
    }

    cr_assert_null(fq.drv.complaint);
    end();
}

Test(queue, full_ring_of_the_largest_size_is_served)
{
    static const uint64_t kind[] = { 0, VQ_F_RING_PACKED };

    for (size_t k = 0; k < 2; k++) {
        struct fake_buf b = { 0x1000, 1, false };
        struct vq_chain c;
        uint32_t n = 0;

        begin(VQ_SIZE_MAX, kind[k]);
        b.addr = fq.drv.heap_first;
        while (fake_driver_offer(&fq.drv, &b, 1) >= 0)
            ;
        while (vq_next(&fq.q, &c) == 1)
            n++;

        cr_assert_eq(n, VQ_SIZE_MAX);
        cr_assert_eq(vq_in_flight(&fq.q), VQ_SIZE_MAX);
        cr_assert_not(fq.q.broken);
        end();
    }
}

Test(queue, chains_done_in_reverse_come_back_in_reverse)
{
    static const uint64_t kind[] = { VQ_F_EVENT_IDX, VQ_F_RING_PACKED };

    for (size_t k = 0; k < 2; k++) {
        struct vq_chain c[3];
        uint16_t id, offered[3];
        uint32_t len;

        begin(8, kind[k]);
        for (uint8_t i = 0; i < 3; i++)
            offered[i] = (uint16_t)offer(2, i, false);
        for (int i = 0; i < 3; i++)
            cr_assert_eq(vq_next(&fq.q, &c[i]), 1);
        for (int i = 2; i >= 0; i--)
            cr_assert_eq(vq_done(&fq.q, &c[i]), 0);

        for (int i = 2; i >= 0; i--) {
            cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
            cr_assert_eq(id, offered[i]);
        }
        end();
    }
}

Test(queue, in_order_chain_that_is_done_early_waits_for_its_turn)
{
    static const uint64_t kind[] = { VQ_F_IN_ORDER, VQ_F_IN_ORDER | VQ_F_RING_PACKED };

    for (size_t k = 0; k < 2; k++) {
        struct vq_chain c[3];
        uint16_t id;
        uint32_t len;

        begin(8, kind[k]);
        for (uint8_t i = 0; i < 3; i++) {
            offer(2, i, false);
            cr_assert_eq(vq_next(&fq.q, &c[i]), 1);
        }
        vq_done(&fq.q, &c[2]);
        vq_done(&fq.q, &c[1]);
        cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 0);
        cr_assert_not(vq_wants_notify(&fq.q));
        vq_done(&fq.q, &c[0]);

        for (int i = 0; i < 3; i++)
            cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
        cr_assert_null(fq.drv.complaint);
        cr_assert_eq(vq_in_flight(&fq.q), 0);
        end();
    }
}

Test(queue, chain_that_is_undone_comes_again)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct vq_chain c, again;

        begin(4, kinds[k]);
        for (uint8_t i = 0; i < 12; i++) { /* over the ring's end */
            uint16_t id;
            uint32_t len;

            offer(3, i, false);
            cr_assert_eq(vq_next(&fq.q, &c), 1);
            vq_undo(&fq.q, &c);
            cr_assert_eq(vq_in_flight(&fq.q), 0);
            cr_assert_eq(vq_next(&fq.q, &again), 1);
            cr_assert_eq(again.id, c.id);
            cr_assert_eq(vq_done(&fq.q, &again), 0);
            cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
        }
        end();
    }
}

Test(queue, batch_becomes_visible_at_once)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct vq_chain c[3];
        uint16_t id;
        uint32_t len;

        begin(8, kinds[k]);
        for (uint8_t i = 0; i < 3; i++) {
            offer(2, i, false);
            vq_next(&fq.q, &c[i]);
            vq_put(&fq.q, &c[i]);
        }
        cr_assert_not(fake_driver_pending(&fq.drv));
        cr_assert_eq(vq_publish(&fq.q), 0);

        for (int i = 0; i < 3; i++)
            cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
        cr_assert_eq(vq_publish(&fq.q), 0);
        cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 0);
        end();
    }
}

Test(queue, stopped_queue_has_no_chain_and_writes_nothing)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct vq_chain c, other;

        begin(8, kinds[k]);
        offer(2, 1, false);
        offer(2, 2, false);
        cr_assert_eq(vq_next(&fq.q, &c), 1);
        vq_stop(&fq.q);

        cr_assert_eq(vq_next(&fq.q, &other), 0);
        cr_assert_eq(vq_done(&fq.q, &c), -EPROTO);
        cr_assert_eq(vq_publish(&fq.q), -EPROTO);
        cr_assert_not(vq_wants_notify(&fq.q));
        cr_assert_not(fake_driver_pending(&fq.drv));
        vq_undo(&fq.q, &c);
        end();
    }
}

Test(queue, reset_forgets_everything)
{
    struct vq_chain c;

    begin(8, VQ_F_RING_PACKED);
    offer(2, 1, false);
    vq_next(&fq.q, &c);
    vq_break(&fq.q, "test", 1);

    vq_reset(&fq.q);

    cr_assert_not(fq.q.started);
    cr_assert_not(fq.q.broken);
    cr_assert_null(fq.q.why);
    cr_assert_eq(fq.q.desc, 0);
    cr_assert_eq(fq.q.size, 8);
    cr_assert_eq(vq_in_flight(&fq.q), 0);
    cr_assert(fq.q.avail_wrap && fq.q.used_wrap);
    end();
}

Test(queue, broken_queue_has_no_chain_and_says_the_first_reason)
{
    struct vq_chain c;

    begin(8, 0);
    offer(2, 1, false);

    cr_assert_eq(vq_break(&fq.q, "first", 7), -EPROTO);
    cr_assert_eq(vq_break(&fq.q, "second", 8), -EPROTO);

    cr_assert_str_eq(fq.q.why, "first");
    cr_assert_eq(fq.q.why_value, 7);
    cr_assert_eq(vq_next(&fq.q, &c), 0);
    end();
}

/* Sets one thing wrong in a queue that could start. */
static void refuse(uint64_t features, void (*spoil)(struct vq *q), const char *text)
{
    begin(8, features);
    vq_stop(&fq.q);
    spoil(&fq.q);

    cr_assert_eq(vq_start(&fq.q, features), -EINVAL);

    cr_assert_not_null(strstr(vm_error_text(), text), "%s", vm_error_text());
    cr_assert_not(fq.q.started);
    end();
}

static void no_size(struct vq *q)
{
    q->size = 0;
}
static void large_size(struct vq *q)
{
    q->size = 16;
}
static void odd_size(struct vq *q)
{
    q->size = 6;
}
static void odd_desc(struct vq *q)
{
    q->desc += 8;
}
static void odd_driver(struct vq *q)
{
    q->driver += 1;
}
static void even_driver(struct vq *q)
{
    q->driver += 2;
}
static void odd_device(struct vq *q)
{
    q->device += 2;
}
static void wrapping_desc(struct vq *q)
{
    q->desc = UINT64_MAX - 15;
}
static void hole(struct vq *q)
{
    q->device = RAM;
}
static void past_the_end(struct vq *q)
{
    q->desc = RAM - 112;
}
static void outside(struct vq *q)
{
    q->next_avail = 8;
}

Test(queue, does_not_start_with_a_wrong_size)
{
    refuse(0, no_size, "size 0 is not");
    refuse(0, large_size, "size 16 is not between 1 and 8");
    refuse(0, odd_size, "size 6 of a split ring is not a power of two");
    refuse(VQ_F_RING_PACKED, outside, "positions 8 and 0 are not in a ring of 8");
}

Test(queue, does_not_start_with_a_wrong_area)
{
    refuse(0, odd_desc, "descriptor area at");
    refuse(0, odd_driver, "driver area at");
    refuse(VQ_F_RING_PACKED, even_driver, "is not aligned to 4");
    refuse(0, odd_device, "is not aligned to 4");
    refuse(0, wrapping_desc, "wraps around");
    refuse(0, hole, "device area 0x200000-0x200045 is not RAM");
    refuse(0, past_the_end, "is not RAM");
}

Test(queue, driver_area_of_a_split_ring_may_be_aligned_to_two)
{
    begin(8, 0);
    vq_stop(&fq.q);
    even_driver(&fq.q);

    cr_assert_eq(vq_start(&fq.q, 0), 0);

    end();
}

Test(queue, does_not_start_twice)
{
    begin(8, 0);

    cr_assert_eq(vq_start(&fq.q, 0), -EINVAL);

    end();
}

Test(queue, ring_whose_memory_goes_away_breaks_the_queue)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct gm_change change = { .remove = &fq.guest.region, .remove_count = 1 };
        struct vq_chain c, other;

        begin(8, kinds[k]);
        offer(2, 1, false);
        offer(2, 2, false);
        cr_assert_eq(vq_next(&fq.q, &c), 1);
        cr_assert_eq(gm_space_change(fq.guest.space, &change), 0);

        cr_assert_eq(vq_next(&fq.q, &other), -EPROTO);
        cr_assert_str_eq(fq.q.why, "ring is not RAM");
        cr_assert_eq(vq_done(&fq.q, &c), -EPROTO);
        end();
    }
}

Test(queue, completion_into_a_ring_that_went_away_is_refused)
{
    for (size_t k = 0; k < KINDS; k++) {
        struct gm_change change = { .remove = &fq.guest.region, .remove_count = 1 };
        struct vq_chain c;

        begin(8, kinds[k]);
        offer(2, 1, false);
        cr_assert_eq(vq_next(&fq.q, &c), 1);
        cr_assert_eq(gm_space_change(fq.guest.space, &change), 0);

        cr_assert_eq(vq_done(&fq.q, &c), -EPROTO);
        cr_assert(fq.q.broken);
        end();
    }
}

Test(queue, what_it_writes_is_marked_dirty)
{
    for (size_t k = 0; k < KINDS; k++) {
        uint64_t before[RAM / 4096 / 64] = { 0 }, words[RAM / 4096 / 64] = { 0 }, used;
        struct gm_dirty *dirty;
        struct fake_buf b;
        struct iovec iov[2];
        struct vq_chain c;

        begin(8, kinds[k]);
        cr_assert_eq(gm_dirty_new(RAM, false, &dirty), 0);
        gm_view_set_dirty(&fq.view, dirty);
        b = (struct fake_buf){ 0x100800, 0x1000, true };
        cr_assert_geq(fake_driver_offer(&fq.drv, &b, 1), 0);
        cr_assert_eq(vq_next(&fq.q, &c), 1);
        cr_assert_eq(vq_iov(&fq.q, &c, GM_WRITE, 0x1000, iov, 2), 1);
        gm_dirty_take(dirty, 0, before, RAM / 4096 / 64);
        vq_done(&fq.q, &c);
        gm_dirty_take(dirty, 0, words, RAM / 4096 / 64);

        cr_assert_eq(words[4], 3, "both pages of the buffer");
        used = kinds[k] & VQ_F_RING_PACKED ? fq.drv.desc : fq.drv.device;
        cr_assert(words[0] & 1ULL << (used / 4096));
        cr_assert_eq(__builtin_popcountll(words[0]), 1);
        gm_view_set_dirty(&fq.view, NULL);
        gm_dirty_free(dirty);
        end();
    }
}

Test(queue, index_for_vhost_user_goes_around)
{
    begin(8, VQ_F_RING_PACKED);
    vq_stop(&fq.q);

    vq_set_base(&fq.q, 0x80050003);

    cr_assert_eq(fq.q.next_avail, 3);
    cr_assert_not(fq.q.avail_wrap);
    cr_assert_eq(fq.q.next_used, 5);
    cr_assert(fq.q.used_wrap);
    cr_assert_eq(vq_base(&fq.q), 0x80050003);
    end();
}

Test(queue, split_index_for_vhost_user_is_the_available_one)
{
    begin(8, 0);
    vq_stop(&fq.q);

    vq_set_base(&fq.q, 0xfffe);

    cr_assert_eq(fq.q.next_used, 0xfffe);
    cr_assert_eq(vq_base(&fq.q), 0xfffe);
    end();
}
