/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Requests that outlive the next chain. */
#include <criterion/criterion.h>

#include <errno.h>
#include <string.h>

#include "fake_queue.h"

enum { SIZE = 8, RAM = 1 << 21, BUF = 0x100000, OWN = 20 };

static struct fake_queue fq;
static struct vq_pool *pool;

static void begin(uint64_t features)
{
    cr_assert_eq(fake_queue_init(&fq, SIZE, features, RAM), 0);
    cr_assert_eq(vq_pool_new(&fq.q, OWN, &pool), 0);
}

static void end(void)
{
    vq_pool_free(pool);
    fake_queue_exit(&fq);
}

static int offer(uint8_t tag)
{
    struct fake_buf b[2] = { { BUF + tag * 32U, 1, false }, { BUF + tag * 32U + 16, 1, true } };

    fake_driver_write(&fq.drv, b[0].addr, &tag, 1);
    return fake_driver_offer(&fq.drv, b, 2);
}

Test(req, finish_in_any_order_with_their_own_data)
{
    static const uint64_t kind[] = { 0, VQ_F_RING_PACKED };
    static const int order[] = { 2, 0, 3, 1 };

    for (size_t k = 0; k < 2; k++) {
        struct vq_req *req[4];
        uint8_t tag, back;
        uint32_t len;
        uint16_t id;
        int offered[4];

        begin(kind[k]);
        for (uint8_t i = 0; i < 4; i++)
            offered[i] = offer((uint8_t)(i + 1));
        for (int i = 0; i < 4; i++) {
            cr_assert_eq(vq_next_req(&fq.q, pool, &req[i]), 1);
            memset(req[i]->own, i, OWN);
        }
        for (int i = 0; i < 4; i++) {
            struct vq_req *r = req[order[i]];

            cr_assert_eq(vq_pull(&fq.q, &r->chain, &tag, 1), 0);
            cr_assert_eq(vq_push(&fq.q, &r->chain, &tag, 1), 0);
            cr_assert_eq(r->own[OWN - 1], order[i]);
            cr_assert_eq(vq_req_done(pool, r), 0);
        }

        for (int i = 0; i < 4; i++) {
            cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
            cr_assert_eq(id, offered[order[i]]);
            fake_driver_read(&fq.drv, BUF + (order[i] + 1U) * 32 + 16, &back, 1);
            cr_assert_eq(back, order[i] + 1);
        }
        end();
    }
}

Test(req, long_chain_keeps_all_its_buffers)
{
    struct fake_buf b[VQ_CHAIN_MAX];
    struct vq_req *req, *other;

    begin(VQ_F_INDIRECT);
    for (uint32_t i = 0; i < VQ_CHAIN_MAX; i++)
        b[i] = (struct fake_buf){ BUF + i, 1, true };
    fake_driver_offer_indirect(&fq.drv, b, VQ_CHAIN_MAX);
    offer(1);
    cr_assert_eq(vq_next_req(&fq.q, pool, &req), 1);
    cr_assert_eq(vq_next_req(&fq.q, pool, &other), 1);

    for (uint32_t i = 0; i < VQ_CHAIN_MAX; i++)
        cr_assert_eq(req->chain.buf[i].addr, BUF + i);
    vq_req_done(pool, other);
    vq_req_done(pool, req);
    end();
}

Test(req, chain_at_the_border_of_the_near_buffers_keeps_to_its_own)
{
    for (uint32_t n = 7; n <= 9; n++) {
        struct vq_req *req, *neighbour;
        struct fake_buf b[9];
        struct vq_chain before;

        begin(VQ_F_INDIRECT);
        for (uint32_t i = 0; i < n; i++)
            b[i] = (struct fake_buf){ BUF + i, 1, true };
        offer(1);
        offer(2);
        cr_assert_eq(vq_next_req(&fq.q, pool, &req), 1);
        cr_assert_eq(vq_next_req(&fq.q, pool, &neighbour), 1);
        before = neighbour->chain;
        vq_req_done(pool, req);
        fake_driver_offer_indirect(&fq.drv, b, n);
        cr_assert_eq(vq_next_req(&fq.q, pool, &req), 1);
        memset(req->own, 0xff, OWN);

        cr_assert_eq(req->chain.buf[n - 1].addr, BUF + n - 1);
        cr_assert_arr_eq((char *)&neighbour->chain, (char *)&before, sizeof(before));
        vq_req_done(pool, neighbour);
        vq_req_done(pool, req);
        end();
    }
}

Test(req, pool_has_one_for_every_entry_of_the_ring)
{
    struct fake_buf b = { BUF, 1, true };
    struct vq_req *req[SIZE], *more;
    uint32_t len;
    uint16_t id;

    begin(0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SIZE; i++) {
            fake_driver_offer(&fq.drv, &b, 1);
            cr_assert_eq(vq_next_req(&fq.q, pool, &req[i]), 1);
        }
        cr_assert_eq(vq_next_req(&fq.q, pool, &more), -ENOBUFS);
        for (int i = 0; i < SIZE; i++) {
            cr_assert_eq(vq_req_done(pool, req[i]), 0);
            cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1);
        }
    }
    cr_assert_eq(vq_next_req(&fq.q, pool, &more), 0);
    end();
}

Test(req, dropped_request_is_not_told_and_can_be_had_again)
{
    struct vq_req *req;

    begin(0);
    offer(1);
    vq_next_req(&fq.q, pool, &req);
    vq_reset(&fq.q);
    vq_req_drop(pool, req);

    cr_assert_not(fake_driver_pending(&fq.drv));
    end();
}

Test(req, vectors_stay_valid_when_the_memory_is_taken_away)
{
    struct gm_change change = { .remove = &fq.guest.region, .remove_count = 1 };
    struct iovec iov[1];
    struct vq_req *req;

    begin(0);
    offer(1);
    vq_next_req(&fq.q, pool, &req);
    cr_assert_eq(vq_iov(&fq.q, &req->chain, GM_WRITE, 1, iov, 1), 1);
    cr_assert_eq(gm_space_change(fq.guest.space, &change), 0);
    gm_region_unref(fq.guest.region);

    *(volatile uint8_t *)iov[0].iov_base = 1;

    cr_assert_eq(vq_req_done(pool, req), -EPROTO);
    vq_pool_free(pool);
    vq_exit(&fq.q);
    fake_driver_exit(&fq.drv);
    gm_view_exit(&fq.view);
    gm_space_free(fq.guest.space);
}

Test(req, broken_chain_gives_no_request)
{
    struct vq_req *req;

    begin(0);
    offer(1);
    fake_driver_corrupt(&fq.drv, 0, FAKE_F_NEXT, 0);

    cr_assert_eq(vq_next_req(&fq.q, pool, &req), -EPROTO);

    end();
}

Test(req, in_order_requests_come_back_in_order)
{
    static const uint64_t kind[] = { VQ_F_IN_ORDER, VQ_F_IN_ORDER | VQ_F_RING_PACKED };

    for (size_t k = 0; k < 2; k++) {
        struct vq_req *req[3];
        uint32_t len, seed = 1;
        uint16_t id;

        begin(kind[k]);
        for (int round = 0; round < 300; round++) {
            for (int i = 0; i < 3; i++) {
                offer((uint8_t)i);
                cr_assert_eq(vq_next_req(&fq.q, pool, &req[i]), 1);
            }
            seed = seed * 5 % 7;
            for (uint32_t i = 0; i < 3; i++)
                cr_assert_eq(vq_req_done(pool, req[(seed + i * (seed % 2 + 1)) % 3]), 0);
            for (int i = 0; i < 3; i++)
                cr_assert_eq(fake_driver_collect(&fq.drv, &id, &len), 1, "%s", fq.drv.complaint);
        }
        end();
    }
}

Test(req, pool_larger_than_memory_is_refused)
{
    struct vq_pool *huge;

    cr_assert_eq(fake_queue_init(&fq, SIZE, 0, RAM), 0);

    cr_assert_eq(vq_pool_new(&fq.q, SIZE_MAX / 2, &huge), -ENOMEM);

    vq_pool_free(NULL);
    fake_queue_exit(&fq);
}
