/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * For tests of the in-flight log: memory that outlives a back end, requests that know their number, and
 * back ends, ours and somebody else's, that count how often they did each request.
 */
#ifndef VQ_INFLIGHT_TEST_H
#define VQ_INFLIGHT_TEST_H

#include <criterion/criterion.h>

#include <string.h>

#include <vmm/base/error.h>
#include <vmm/virtio-queue/inflight.h>

#include "fake_driver_private.h"
#include "foreign_backend.h"

enum { LAB_RAM = 1 << 15, LAB_REGION = 4096, LAB_REQS = 24, LAB_SIZE = 8, LAB_DATA = 0x4000 };

/* What stays when a back end dies. */
struct lab_arena {
    _Alignas(4096) uint8_t ram[LAB_RAM];
    uint8_t region[LAB_REGION];
    uint32_t runs[LAB_REQS]; /* effects of each request */
    uint8_t marked[LAB_REQS]; /* vq_mark_done() has returned */
    uint32_t done; /* the script has ended */
};

struct lab {
    struct lab_arena *arena;
    struct fake_guest guest;
    struct gm_view view;
    struct fake_driver drv;
    uint64_t features;
    uint16_t size;
    bool mark; /* requests must not run twice */
    uint32_t offered;
    uint16_t id_of[LAB_REQS]; /* the last one with it */
    uint32_t back[LAB_REQS]; /* times it came back */
};

/* A chain that outlives the next vq_next(). */
struct lab_chain {
    struct vq_chain c;
    struct vq_buf buf[4];
    uint32_t req;
};

static inline void lab_init(struct lab *lab, struct lab_arena *arena, uint16_t size,
                            uint64_t features)
{
    struct fake_config config = { .size = size,
                                  .features = features | VQ_F_INDIRECT,
                                  .heap = 0x1000,
                                  .heap_bytes = LAB_DATA - 0x1000 };

    *lab = (struct lab){ .arena = arena, .features = config.features, .size = size };
    memset(arena, 0, sizeof(*arena));
    cr_assert_eq(fake_guest_init_at(&lab->guest, arena->ram, LAB_RAM), 0);
    gm_view_init(&lab->view, lab->guest.space, NULL);
    cr_assert_eq(fake_driver_init(&lab->drv, lab->guest.space, &config), 0);
}

static inline void lab_exit(struct lab *lab)
{
    fake_driver_exit(&lab->drv);
    gm_view_exit(&lab->view);
    fake_guest_exit(&lab->guest);
}

/* Request number n: its number to read, n % 3 further bytes to read, its answer to write. */
static inline void lab_offer(struct lab *lab, uint32_t bufs, bool indirect)
{
    uint32_t req = lab->offered++;
    gpa_t at = LAB_DATA + (gpa_t)req * 64;
    struct fake_buf b[3] = { { at, 4, false }, { at + 16, 4, false }, { at + 32, 4, true } };
    int id;

    b[bufs - 1] = b[2];
    fake_driver_write(&lab->drv, at, &req, 4);
    id = indirect ? fake_driver_offer_indirect(&lab->drv, b, bufs)
                  : fake_driver_offer(&lab->drv, b, bufs);
    cr_assert_geq(id, 0, "offer %u: %d", req, id);
    lab->id_of[req] = (uint16_t)id;
}

/* What came back: once each, with its own answer. */
static inline const char *lab_collect(struct lab *lab)
{
    uint32_t len, answer;
    uint16_t id;
    int rc;

    while ((rc = fake_driver_collect(&lab->drv, &id, &len)) == 1) {
        uint32_t req = lab->offered;

        while (req && (lab->id_of[req - 1] != id || lab->back[req - 1]))
            req--;
        if (!req)
            return "an id came back that is not out";
        req--;
        lab->back[req]++;
        fake_driver_read(&lab->drv, LAB_DATA + (gpa_t)req * 64 + 32, &answer, 4);
        if (len != 4 || answer != ~req)
            return "a request came back without its answer";
    }
    return rc < 0 ? lab->drv.complaint : NULL;
}

/* All but the start. */
static inline int lab_queue(struct lab *lab, struct vq *q)
{
    int rc = vq_init(q, &lab->view, 64);

    if (rc)
        return rc;
    q->size = lab->size;
    q->desc = lab->drv.desc;
    q->driver = lab->drv.driver;
    q->device = lab->drv.device;
    return vq_set_inflight(q, lab->arena->region, LAB_REGION);
}

static inline int lab_start(struct lab *lab, struct vq *q)
{
    int rc = lab_queue(lab, q);

    return rc ? rc : vq_start(q, lab->features);
}

static inline int lab_take(struct vq *q, struct lab_chain *ret)
{
    int rc = vq_next(q, &ret->c);

    if (rc <= 0)
        return rc;
    for (uint32_t i = 0; i < ret->c.readable + ret->c.writable; i++)
        ret->buf[i] = ret->c.buf[i];
    ret->c.buf = ret->buf;
    rc = vq_pull(q, &ret->c, &ret->req, 4);
    return rc ? rc : 1;
}

/* The effect (once, if it must be), and the answer. */
static inline void lab_run(struct lab *lab, struct vq *q, struct lab_chain *c)
{
    uint32_t answer = ~c->req;

    if (!(lab->mark && c->c.marked)) {
        __atomic_store_n(&lab->arena->runs[c->req], lab->arena->runs[c->req] + 1, __ATOMIC_RELEASE);
        if (lab->mark) {
            vq_mark_done(q, &c->c);
            __atomic_store_n(&lab->arena->marked[c->req], 1, __ATOMIC_RELEASE);
        }
    }
    vq_push(q, &c->c, &answer, 4);
}

/* Ours, to the end. The oldest comes first. */
static inline const char *lab_succeed(struct lab *lab)
{
    const char *wrong = NULL;
    struct lab_chain c;
    uint32_t next = 0;
    struct vq q;
    int rc;

    if (lab_start(lab, &q))
        wrong = vm_error_text();
    while (!wrong && (rc = lab_take(&q, &c)) > 0) {
        if (c.req < next)
            wrong = "out of order";
        next = c.req + 1;
        if (c.c.marked && !c.c.replayed)
            wrong = "a new chain is marked";
        lab_run(lab, &q, &c);
        if (vq_done(&q, &c.c))
            wrong = "a chain cannot be done";
        if (!wrong)
            wrong = lab_collect(lab);
    }
    if (!wrong && (rc < 0 || vq_in_flight(&q) || vq_replays(&q)))
        wrong = q.why ? q.why : "something is still in flight";
    vq_exit(&q);
    return wrong;
}

static inline struct foreign_backend lab_foreign(const struct lab *lab, uint64_t life)
{
    return (struct foreign_backend){ .host = lab->arena->ram,
                                     .region = lab->arena->region,
                                     .packed = lab->features & VQ_F_RING_PACKED,
                                     .size = lab->size,
                                     .desc = lab->drv.desc,
                                     .driver = lab->drv.driver,
                                     .device = lab->drv.device,
                                     .life = life };
}

static inline void lab_foreign_run(struct lab *lab, const struct foreign_backend *f,
                                   struct foreign_chain *c)
{
    uint32_t req, answer;

    if (!f->life)
        return;
    memcpy(&req, f->host + c->in, 4);
    answer = ~req;
    lab->arena->runs[req]++;
    memcpy(f->host + c->out, &answer, 4);
}

/* Somebody else's, to the end: one chain after the other. */
static inline void lab_foreign_succeed(struct lab *lab, struct foreign_backend *f)
{
    struct foreign_chain c[FOREIGN_CHAINS_MAX];
    size_t n = foreign_recover(f, c);

    for (size_t i = 0; i < n; i++) {
        lab_foreign_run(lab, f, &c[i]);
        foreign_put(f, &c[i]);
        foreign_publish(f);
    }
    while (foreign_take(f, &c[0])) {
        lab_foreign_run(lab, f, &c[0]);
        foreign_put(f, &c[0]);
        foreign_publish(f);
    }
}

/* Everything came back, once. Whether it ran often enough, and not too often. */
static inline const char *lab_check(struct lab *lab)
{
    const struct foreign_backend f = lab_foreign(lab, 0);
    const char *wrong = lab_collect(lab);

    if (!wrong && f.packed && foreign_free(&f) != lab->size)
        wrong = "entries of the log are lost";
    for (uint32_t i = 0; !wrong && i < lab->offered; i++) {
        if (lab->back[i] != 1)
            wrong = "a request did not come back";
        else if (!lab->arena->runs[i])
            wrong = "a request came back that was never done";
        else if (lab->arena->runs[i] > 2)
            wrong = "a request was done three times";
    }
    return wrong;
}

/* The guest's side of a moment, to come back to it. */
struct lab_moment {
    struct lab_arena arena;
    struct lab lab;
    struct fake_driver_slot slot[64];
};

static inline void lab_keep(const struct lab *lab, struct lab_moment *ret)
{
    memcpy(&ret->arena, lab->arena, sizeof(ret->arena));
    ret->lab = *lab;
    memcpy(ret->slot, lab->drv.slot, lab->size * sizeof(ret->slot[0]));
}

static inline void lab_back(struct lab *lab, const struct lab_moment *m)
{
    memcpy(lab->arena, &m->arena, sizeof(m->arena));
    lab->offered = m->lab.offered;
    memcpy(lab->back, m->lab.back, sizeof(lab->back));
    memcpy(lab->id_of, m->lab.id_of, sizeof(lab->id_of));
    lab->drv = m->lab.drv;
    memcpy(lab->drv.slot, m->slot, lab->size * sizeof(m->slot[0]));
}

#endif
