/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The log of chains in flight: its life, what it hands on, and regions that lie. */
#include "inflight_test.h"

#include <errno.h>
#include <stdlib.h>

#include "inflight_private.h"

static struct lab_arena arena;
static struct lab lab;
static struct vq q;

static const uint64_t kinds[] = { 0, VQ_F_RING_PACKED };

static void begin(uint64_t features)
{
    lab_init(&lab, &arena, LAB_SIZE, features);
    cr_assert_eq(lab_start(&lab, &q), 0, "%s", vm_error_text());
}

/* Another process goes on. */
static int restart(void)
{
    vq_exit(&q);
    return lab_start(&lab, &q);
}

static void end(void)
{
    vq_exit(&q);
    lab_exit(&lab);
}

static void finish(struct lab_chain *c)
{
    lab_run(&lab, &q, c);
    cr_assert_eq(vq_done(&q, &c->c), 0);
}

static uint64_t get(size_t at)
{
    uint64_t v;

    memcpy(&v, arena.region + at, sizeof(v));
    return v;
}

static void set(size_t at, const void *data, size_t len)
{
    memcpy(arena.region + at, data, len);
}

Test(inflight, region_is_as_large_as_the_specification_s_structs)
{
    cr_assert_eq(vq_inflight_bytes(4, false), 128); /* 16 and 16 each, in steps of 64 */
    cr_assert_eq(vq_inflight_bytes(128, false), 128 * 16 + 64);
    cr_assert_eq(vq_inflight_bytes(128, true), 128 * 32 + 64); /* 32 and 32 each */
    cr_assert_eq(vq_inflight_bytes(32768, true), 32768 * 32 + 64);
}

Test(inflight, what_was_taken_comes_again_oldest_first_and_before_what_is_new)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c[3];

        begin(kinds[k]);
        for (int i = 0; i < 4; i++)
            lab_offer(&lab, 2, i & 1);
        for (int i = 0; i < 3; i++)
            cr_assert_eq(lab_take(&q, &c[i]), 1);
        finish(&c[1]);

        cr_assert_eq(restart(), 0, "%s", vm_error_text());

        cr_assert_eq(vq_replays(&q), 2);
        cr_assert_eq(lab_take(&q, &c[0]), 1);
        cr_assert(c[0].c.replayed && !c[0].c.marked && c[0].req == 0);
        cr_assert_eq(lab_take(&q, &c[1]), 1);
        cr_assert(c[1].c.replayed && c[1].req == 2);
        cr_assert_eq(vq_replays(&q), 0);
        cr_assert_eq(lab_take(&q, &c[2]), 1);
        cr_assert(!c[2].c.replayed && c[2].req == 3);
        for (int i = 2; i >= 0; i--)
            finish(&c[i]);
        cr_assert_null(lab_check(&lab));
        end();
    }
}

Test(inflight, chain_is_the_same_when_it_comes_again)
{
    for (size_t k = 0; k < 2; k++)
        for (int indirect = 0; indirect < 2; indirect++) {
            struct lab_chain before, after;

            begin(kinds[k]);
            lab_offer(&lab, 3, indirect);
            lab_take(&q, &before);
            cr_assert_eq(restart(), 0);

            cr_assert_eq(lab_take(&q, &after), 1);

            cr_assert_eq(before.c.id, after.c.id);
            cr_assert_eq(before.c.slots, after.c.slots);
            cr_assert_eq(before.c.readable, after.c.readable);
            cr_assert_eq(before.c.writable, after.c.writable);
            cr_assert_eq(before.c.readable_bytes, after.c.readable_bytes);
            for (int i = 0; i < 3; i++) {
                cr_assert_eq(before.buf[i].addr, after.buf[i].addr);
                cr_assert_eq(before.buf[i].len, after.buf[i].len);
            }
            end();
        }
}

Test(inflight, marked_chain_says_so_when_it_comes_again)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c[2];

        begin(kinds[k]);
        lab_offer(&lab, 2, false);
        lab_offer(&lab, 2, true);
        lab_take(&q, &c[0]);
        lab_take(&q, &c[1]);
        vq_mark_done(&q, &c[1].c);
        cr_assert_eq(restart(), 0);
        cr_assert_eq(restart(), 0); /* and to the one after that */

        lab_take(&q, &c[0]);
        lab_take(&q, &c[1]);

        cr_assert(!c[0].c.marked);
        cr_assert(c[1].c.marked);
        end();
    }
}

Test(inflight, mark_does_not_stay_for_the_next_request)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c;

        begin(kinds[k]);
        for (int i = 0; i < 3; i++) {
            lab_offer(&lab, 2, true);
            lab_take(&q, &c);
            cr_assert(!c.c.marked);
            vq_mark_done(&q, &c.c);
            finish(&c);
            cr_assert_null(lab_collect(&lab));
        }
        lab_offer(&lab, 2, true);
        lab_take(&q, &c);
        cr_assert_eq(restart(), 0);

        lab_take(&q, &c);

        cr_assert(c.c.replayed && !c.c.marked);
        end();
    }
}

/* It finishes the marked request, whose mark it does not know, is restarted, counts from 0 again, takes
 * others and dies. */
Test(inflight, mark_that_somebody_else_left_behind_does_not_count)
{
    for (size_t k = 0; k < 2; k++) {
        struct foreign_chain f[FOREIGN_CHAINS_MAX];
        struct foreign_backend foreign;
        struct lab_chain c;

        begin(kinds[k]);
        lab_offer(&lab, 2, true);
        lab_take(&q, &c);
        vq_mark_done(&q, &c.c);
        vq_exit(&q);
        foreign = lab_foreign(&lab, UINT64_MAX);
        lab_foreign_succeed(&lab, &foreign);
        cr_assert_null(lab_collect(&lab));
        for (int i = 0; i < LAB_SIZE; i++) {
            lab_offer(&lab, 2, true);
            foreign.counter = 0; /* the counter that the marked one would have had of others */
            cr_assert(foreign_take(&foreign, &f[i]));
        }

        cr_assert_eq(lab_start(&lab, &q), 0, "%s", vm_error_text());

        cr_assert_eq(vq_replays(&q), LAB_SIZE);
        while (vq_replays(&q)) {
            lab_take(&q, &c);
            cr_assert(c.c.replayed && !c.c.marked);
        }
        end();
    }
}

Test(inflight, undone_chain_is_not_in_flight)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c;

        begin(kinds[k]);
        lab_offer(&lab, 2, false);
        lab_take(&q, &c);
        vq_undo(&q, &c.c);

        cr_assert_eq(restart(), 0);

        cr_assert_eq(vq_replays(&q), 0);
        cr_assert_eq(lab_take(&q, &c), 1);
        cr_assert(!c.c.replayed);
        finish(&c);
        cr_assert_null(lab_check(&lab));
        end();
    }
}

Test(inflight, undone_replay_comes_again)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c;

        begin(kinds[k]);
        lab_offer(&lab, 2, false);
        lab_offer(&lab, 3, false);
        lab_take(&q, &c);
        cr_assert_eq(restart(), 0);
        lab_take(&q, &c);
        vq_undo(&q, &c.c);

        cr_assert_eq(vq_replays(&q), 1);
        cr_assert_eq(lab_take(&q, &c), 1);

        cr_assert(c.c.replayed && c.req == 0);
        finish(&c);
        cr_assert_eq(lab_take(&q, &c), 1);
        finish(&c);
        cr_assert_null(lab_check(&lab));
        end();
    }
}

Test(inflight, queue_that_is_stopped_takes_up_what_was_in_flight)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c;

        begin(kinds[k]);
        lab_offer(&lab, 2, false);
        lab_take(&q, &c);
        vq_stop(&q);

        cr_assert_eq(vq_start(&q, lab.features), 0, "%s", vm_error_text());

        cr_assert_eq(lab_take(&q, &c), 1);
        cr_assert(c.c.replayed);
        finish(&c);
        cr_assert_null(lab_check(&lab));
        end();
    }
}

Test(inflight, reset_queue_begins_anew)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c;

        begin(kinds[k]);
        for (int i = 0; i < 3; i++) {
            lab_offer(&lab, 2, false);
            lab_take(&q, &c);
            if (i < 2)
                finish(&c);
        }
        vq_reset(&q);
        cr_assert_eq(fake_driver_reset(&lab.drv), 0);
        lab.offered = 0;
        memset(lab.back, 0, sizeof(lab.back));

        cr_assert_eq(restart(), 0, "%s", vm_error_text());

        cr_assert_eq(vq_replays(&q), 0);
        lab_offer(&lab, 2, false);
        cr_assert_eq(lab_take(&q, &c), 1);
        finish(&c);
        cr_assert_null(lab_check(&lab));
        end();
    }
}

Test(inflight, loaded_state_is_not_that_of_the_region)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c;
        struct vq_state s;

        begin(kinds[k]);
        lab_offer(&lab, 2, false);
        lab_take(&q, &c);
        finish(&c);
        vq_save(&q, &s);
        lab_offer(&lab, 2, false);
        lab_take(&q, &c);
        vq_stop(&q);

        cr_assert_eq(vq_load(&q, lab.features, &s), 0, "%s", vm_error_text());

        cr_assert_eq(vq_replays(&q), 0);
        cr_assert_eq(restart(), 0, "%s", vm_error_text());
        cr_assert_eq(lab_take(&q, &c), 1);
        cr_assert_eq(c.req, 1);
        end();
    }
}

Test(inflight, requests_of_a_pool_come_again)
{
    for (size_t k = 0; k < 2; k++) {
        struct vq_req *req[LAB_SIZE];
        struct vq_pool *pool;

        begin(kinds[k]);
        for (int i = 0; i < LAB_SIZE; i++)
            lab_offer(&lab, 2, true);
        cr_assert_eq(vq_pool_new(&q, 8, &pool), 0);
        for (int i = 0; i < 5; i++)
            cr_assert_eq(vq_next_req(&q, pool, &req[i]), 1);
        for (int i = 0; i < 5; i++)
            vq_req_drop(pool, req[i]);
        vq_pool_free(pool);
        cr_assert_eq(restart(), 0);
        cr_assert_eq(vq_pool_new(&q, 8, &pool), 0);

        for (int i = 0; i < LAB_SIZE; i++) {
            cr_assert_eq(vq_next_req(&q, pool, &req[i]), 1);
            cr_assert_eq(req[i]->chain.replayed, i < 5);
        }

        for (int i = LAB_SIZE - 1; i >= 0; i--)
            cr_assert_eq(vq_req_done(pool, req[i]), 0);
        cr_assert_eq(vq_next_req(&q, pool, &req[0]), 0);
        vq_pool_free(pool);
        end();
    }
}

Test(inflight, driver_hears_of_what_the_dead_one_did_not_tell)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c;

        begin(kinds[k]);
        lab_offer(&lab, 2, false);
        lab_take(&q, &c);
        finish(&c);

        cr_assert_eq(restart(), 0);

        cr_assert(vq_wants_notify(&q));
        end();
    }
}

Test(inflight, driver_may_have_chosen_a_smaller_queue_than_the_region_is_for)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c;

        begin(kinds[k]);
        lab.size = 64; /* the region is initialised for a larger one */
        vq_exit(&q);
        memset(arena.region, 0, sizeof(arena.region));
        lab.drv.size = 64;
        cr_assert_eq(lab_start(&lab, &q), 0, "%s", vm_error_text());
        lab.size = lab.drv.size = LAB_SIZE;
        lab_offer(&lab, 2, false);

        cr_assert_eq(restart(), 0, "%s", vm_error_text());

        lab_take(&q, &c);
        cr_assert_eq(restart(), 0, "%s", vm_error_text());
        lab_take(&q, &c);
        finish(&c);
        cr_assert_null(lab_check(&lab));
        end();
    }
}

Test(inflight, split_base_tells_the_available_index_only)
{
    struct lab_chain c;

    begin(0);
    for (int i = 0; i < 3; i++) {
        lab_offer(&lab, 2, false);
        lab_take(&q, &c);
        finish(&c);
    }
    cr_assert_null(lab_collect(&lab));
    cr_assert_eq(vq_base(&q), 3);
    vq_exit(&q);
    cr_assert_eq(vq_init(&q, &lab.view, 64), 0);
    q.size = LAB_SIZE;
    q.desc = lab.drv.desc;
    q.driver = lab.drv.driver;
    q.device = lab.drv.device;
    vq_set_base(&q, 2); /* one that was used comes again */

    cr_assert_eq(vq_start(&q, lab.features), 0);

    cr_assert_eq(q.next_avail, 2);
    cr_assert_eq(q.next_used, 3);
    end();
}

Test(inflight, packed_log_knows_both_indexes_whatever_the_base_says)
{
    struct lab_chain c[2];

    begin(VQ_F_RING_PACKED);
    lab_offer(&lab, 3, false);
    lab_offer(&lab, 2, false);
    lab_take(&q, &c[0]);
    lab_take(&q, &c[1]);
    finish(&c[1]);
    vq_stop(&q);
    vq_set_base(&q, 0);

    cr_assert_eq(vq_start(&q, lab.features), 0);

    cr_assert_eq(vq_base(&q), (5 | 1 << 15) | (2U | 1U << 15) << 16);
    end();
}

Test(inflight, region_that_cannot_be_one_is_refused)
{
    begin(0);
    cr_assert_eq(vq_set_inflight(&q, arena.region, LAB_REGION), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "queue: it runs: its in-flight log cannot be changed");
    vq_stop(&q);

    cr_assert_eq(vq_set_inflight(&q, arena.region + 4, LAB_REGION - 4), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "queue: in-flight log is not aligned to 8 bytes");
    cr_assert_eq(vq_set_inflight(&q, arena.region, 31), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "queue: in-flight log of 31 bytes holds no descriptor");
    cr_assert_eq(vq_set_inflight(&q, NULL, 0), 0);
    cr_assert_eq(vq_start(&q, lab.features), 0, "without a log");
    end();
}

Test(inflight, region_too_small_for_the_queue_is_refused)
{
    for (size_t k = 0; k < 2; k++) {
        size_t least = k ? 32 + 32 * LAB_SIZE : 16 + 16 * LAB_SIZE;

        begin(kinds[k]);
        vq_stop(&q);
        memset(arena.region, 0, LAB_REGION);

        cr_assert_eq(vq_set_inflight(&q, arena.region, least - 1), 0);
        cr_assert_eq(vq_start(&q, lab.features), -EINVAL);
        cr_assert_eq(vq_set_inflight(&q, arena.region, least), 0);
        cr_assert_eq(vq_start(&q, lab.features), 0);

        end();
    }
}

Test(inflight, log_is_not_read_while_the_queue_runs)
{
    for (size_t k = 0; k < 2; k++) {
        struct lab_chain c[2];

        begin(kinds[k]);
        for (int i = 0; i < 12; i++) {
            lab_offer(&lab, 2, true);
            lab_offer(&lab, 2, false);
            memset(arena.region, i & 1 ? 0xff : 0x11, sizeof(arena.region));
            cr_assert_eq(lab_take(&q, &c[0]), 1);
            cr_assert_eq(lab_take(&q, &c[1]), 1);
            vq_mark_done(&q, &c[1].c);
            memset(arena.region, 0x77, sizeof(arena.region));
            finish(&c[1]);
            finish(&c[0]);
            cr_assert_null(lab_collect(&lab));
        }
        cr_assert_eq(lab.drv.collected, 24);
        end();
    }
}

/* A lie: bytes somewhere in the region, with two chains in flight, of 1 and of 2 entries. */
struct lie {
    uint64_t features;
    size_t at, len;
    uint32_t value;
    int rc;
    const char *text;
};

static const struct lie lies[] = {
    { 0, 8, 2, 2, -EINVAL, "queue: in-flight log has version 2: we know 1" },
    { 0, 0, 4, 1, -EINVAL, "queue: in-flight log has features 0x1: we know none" },
    { 0, 10, 2, 0xffff, -EINVAL,
      "queue: in-flight log of 4096 bytes is for 65535 descriptors: too many" },
    { 0, 10, 2, 256, -EINVAL,
      "queue: in-flight log of 4096 bytes is for 256 descriptors: too many" },
    { 0, 10, 2, 7, -EINVAL, "queue: in-flight log is for 7 descriptors, the queue has 8" },
    { 0, 14, 2, 0x8000, -EPROTO, "queue: in-flight log: a batch of 32769 chains in a ring of 8" },
    { 0, 12, 2, 99, 0, NULL }, /* the last batch is over */
    { 0, 16, 1, 2, -EPROTO, "queue: in-flight log: entry 0 says 2" },
    { VQ_F_RING_PACKED, 12, 2, 0, 0, NULL }, /* only the old one counts */
    { VQ_F_RING_PACKED, 14, 2, 1, 0, NULL }, /* all in flight are free after all */
    { VQ_F_RING_PACKED, 16, 2, 8, -EPROTO,
      "queue: in-flight log: used index 8/1 or 1/1 in a ring of 8" },
    { VQ_F_RING_PACKED, 18, 2, 9, -EPROTO,
      "queue: in-flight log: used index 1/1 or 9/1 in a ring of 8" },
    { VQ_F_RING_PACKED, 20, 1, 2, -EPROTO,
      "queue: in-flight log: used index 1/2 or 1/1 in a ring of 8" },
    { VQ_F_RING_PACKED, 32 + 5 * 32 + 2, 2, 4, -EPROTO,
      "queue: in-flight log: the free list loops at 4" },
    { VQ_F_RING_PACKED, 32 + 1 * 32, 1, 9, -EPROTO,
      "queue: in-flight log: chain at 1: it is neither in flight nor not (9)" },
    { VQ_F_RING_PACKED, 32 + 1 * 32 + 6, 2, 0, -EPROTO,
      "queue: in-flight log: chain at 1: wrong length (0)" },
    { VQ_F_RING_PACKED, 32 + 1 * 32 + 6, 2, 9, -EPROTO,
      "queue: in-flight log: chain at 1: wrong length (9)" },
    { VQ_F_RING_PACKED, 32 + 1 * 32 + 2, 2, 1, -EPROTO,
      "queue: in-flight log: chain at 1: entry that is not its own (1)" },
    { VQ_F_RING_PACKED, 32 + 1 * 32 + 2, 2, 500, -EPROTO,
      "queue: in-flight log: chain at 1: entry that is not its own (500)" },
    { VQ_F_RING_PACKED, 32 + 1 * 32 + 4, 2, 1, -EPROTO,
      "queue: in-flight log: chain at 1: ends elsewhere (2)" },
    { VQ_F_RING_PACKED, 32 + 2 * 32 + 16, 2, 8, -EPROTO,
      "queue: in-flight log: chain at 1: wrong buffer id (8)" },
    { VQ_F_RING_PACKED, 32 + 2 * 32, 1, 1, -EPROTO,
      "queue: in-flight log: chain at 2: it lies in another chain (2)" },
};

Test(inflight, lies_of_the_region_are_told_apart)
{
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        const struct lie *lie = &lies[i];
        struct lab_chain c[3];
        int rc;

        begin(lie->features);
        for (int n = 0; n < 3; n++)
            lab_offer(&lab, 2, n != 1);
        for (int n = 0; n < 3; n++)
            lab_take(&q, &c[n]);
        finish(&c[0]);
        set(lie->at, &lie->value, lie->len);
        vm_error_clear();

        rc = restart();

        cr_assert_eq(rc, lie->rc, "lie %zu: %d", i, rc);
        if (lie->text)
            cr_assert_str_eq(vm_error_text(), lie->text);
        cr_assert_eq(q.started, !rc);
        end();
    }
}

Test(inflight, last_batch_of_a_split_ring_that_leads_outside_is_refused)
{
    uint16_t head = 99, used = 0;
    struct lab_chain c;

    begin(0);
    lab_offer(&lab, 2, true);
    lab_take(&q, &c);
    finish(&c);
    set(14, &used, 2); /* as if it had died just after it told the driver */
    set(12, &head, 2);

    cr_assert_eq(restart(), -EPROTO);

    cr_assert_str_eq(vm_error_text(), "queue: in-flight log: last batch holds descriptor 99 of 8");
    end();
}

Test(inflight, descriptor_behind_the_queue_s_last_cannot_be_in_flight)
{
    uint8_t head[] = { 1, 0, 9 }, inflight = 1; /* version 1 of 9 descriptors */

    begin(0);
    set(8, head, sizeof(head));
    set(16 + 8 * 16, &inflight, 1);

    cr_assert_eq(restart(), -EPROTO);

    cr_assert_str_eq(vm_error_text(), "queue: in-flight log: descriptor 8 of 8 is in flight");
    end();
}

Test(inflight, lie_in_a_chain_of_the_log_breaks_the_queue)
{
    uint64_t outside = 1ULL << 40;
    struct lab_chain c;

    begin(VQ_F_RING_PACKED);
    lab_offer(&lab, 3, false);
    lab_take(&q, &c);
    set(32 + 32 + 24, &outside, 8);
    cr_assert_eq(restart(), 0);

    cr_assert_eq(vq_next(&q, &c.c), -EPROTO);

    cr_assert_str_eq(q.why, "buffer is not RAM");
    end();
}

Test(inflight, free_entries_that_nobody_lists_are_found)
{
    uint16_t nowhere = 0xffff;
    struct lab_chain c;

    begin(VQ_F_RING_PACKED);
    set(32 + 2, &nowhere, 2); /* the free list ends after its first entry */
    cr_assert_eq(restart(), 0);
    for (int i = 0; i < LAB_SIZE; i++) {
        lab_offer(&lab, 2, true);
        cr_assert_eq(lab_take(&q, &c), 1);
    }

    cr_assert_eq(restart(), 0, "%s", vm_error_text());

    cr_assert_eq(vq_replays(&q), LAB_SIZE);
    end();
}

Test(inflight, counters_of_a_region_may_be_anything)
{
    for (size_t k = 0; k < 2; k++) {
        uint64_t last = UINT64_MAX;
        struct lab_chain c;

        begin(kinds[k]);
        lab_offer(&lab, 2, true);
        lab_offer(&lab, 2, true);
        lab_take(&q, &c);
        set((k ? 32 : 16) + 8, &last, 8);
        cr_assert_eq(restart(), 0);

        cr_assert_eq(lab_take(&q, &c), 1);
        finish(&c);
        cr_assert_eq(lab_take(&q, &c), 1);
        finish(&c);

        cr_assert_null(lab_check(&lab));
        end();
    }
}

Test(inflight, new_region_looks_as_the_specification_says)
{
    begin(0);
    cr_assert_eq(get(0), 0);
    cr_assert_arr_eq(arena.region + 8, ((uint16_t[]){ 1, LAB_SIZE, 0, 0 }), 8);
    end();

    begin(VQ_F_RING_PACKED);
    cr_assert_eq(get(0), 0);
    cr_assert_arr_eq(arena.region + 8, ((uint16_t[]){ 1, LAB_SIZE, 0, 0, 0, 0 }), 12);
    cr_assert_arr_eq(arena.region + 20, ((uint8_t[]){ 1, 1 }), 2);
    cr_assert_eq(arena.region[32 + 2], 1);
    cr_assert_eq(arena.region[32 + 32 + 2], 2);
    end();
}
