/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What both ring fuzzers do: everything is derived from the input. First three bytes: features,
 * size, place of the rings; then steps of the driver (honest offers, lies, bytes anywhere) and of
 * the device, until the input ends. Nothing may crash, hang, touch memory outside, or give the
 * device a chain that is not sound.
 */
#ifndef VQ_RING_FUZZ_H
#define VQ_RING_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include <vmm/virtio-queue/inflight.h>

#include "fake_driver.h"

enum { FUZZ_PAGES = 16, FUZZ_RAM = FUZZ_PAGES * 4096, FUZZ_SIZE_MAX = 64, FUZZ_STEPS = 4096 };
enum { FUZZ_REGION = 4096 };

struct fuzz {
    const uint8_t *data;
    size_t left;
    uint64_t features;
    struct fake_guest guest;
    struct gm_view view;
    struct gm_iommu iommu;
    struct gm_dirty *dirty;
    struct fake_driver drv;
    struct vq q;
    struct vq_pool *pool;
    struct vq_req *out[FUZZ_SIZE_MAX];
    unsigned outs;
    struct vq_chain chain; /* from vq_next() */
    bool have_chain, fresh;
    uint8_t *region; /* the in-flight log's, of FUZZ_REGION bytes; NULL: none */
};

static uint32_t fuzz_get(struct fuzz *f, unsigned bytes)
{
    uint32_t v = 0;

    for (; bytes; bytes--) {
        v <<= 8;
        if (f->left) {
            v |= *f->data++;
            f->left--;
        }
    }
    return v;
}

static void fuzz_check(bool fine)
{
    if (!fine)
        __builtin_trap();
}

/* Pages in pairs the other way round: areas and buffers that are not contiguous. */
static int fuzz_translate(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa,
                          uint64_t *ret_len)
{
    (void)ctx;
    (void)access;
    if (iova >= FUZZ_RAM)
        return -EFAULT;
    *ret_gpa = iova ^ 4096;
    if (*ret_len > 4096 - iova % 4096)
        *ret_len = 4096 - iova % 4096;
    return 0;
}

/* What a device may rely on. */
static void fuzz_check_chain(struct fuzz *f, const struct vq_chain *c)
{
    uint32_t n = (uint32_t)c->readable + c->writable;
    uint64_t sum[2] = { 0, 0 };

    fuzz_check(n >= 1 && n <= VQ_CHAIN_MAX);
    for (uint32_t i = 0; i < n; i++) {
        fuzz_check(!c->buf[i].len ||
                   (c->buf[i].addr < FUZZ_RAM && c->buf[i].len <= FUZZ_RAM - c->buf[i].addr));
        sum[i >= c->readable] += c->buf[i].len;
    }
    fuzz_check(sum[0] == c->readable_bytes && sum[1] == c->writable_bytes);
    fuzz_check(sum[0] + sum[1] <= 1ULL << 32);
    fuzz_check(c->id < f->q.size && c->slots >= 1 && c->slots <= f->q.size);
    fuzz_check(!c->pulled && !c->pushed);
    fuzz_check(vq_in_flight(&f->q) >= 1 && vq_in_flight(&f->q) <= f->q.size);
}

static void fuzz_move(struct fuzz *f, struct vq_chain *c)
{
    uint32_t how = fuzz_get(f, 1), len = fuzz_get(f, 2);
    struct iovec iov[8];
    uint8_t *buf = calloc(1, len + 1);
    uint64_t left[2] = { vq_pull_left(c), vq_push_left(c) };
    int rc;

    if (!buf)
        return;
    switch (how % 4) {
    case 0: rc = vq_pull(&f->q, c, buf, len); break;
    case 1: rc = vq_push(&f->q, c, buf, len); break;
    case 2: rc = vq_iov(&f->q, c, GM_READ, len, iov, 8); break;
    default: rc = vq_iov(&f->q, c, GM_WRITE, len, iov, 8); break;
    }
    if (how % 4 >= 2 && rc > 0) {
        for (int i = 0; i < rc; i++)
            memset(iov[i].iov_base, how % 4 == 3 ? 0x11 : *(uint8_t *)iov[i].iov_base,
                   how % 4 == 3 ? iov[i].iov_len : 1);
    }
    fuzz_check(left[how % 2] - (rc < 0 ? 0 : len) == (how % 2 ? vq_push_left(c) : vq_pull_left(c)));
    free(buf);
}

static void fuzz_drop(struct fuzz *f)
{
    while (f->outs)
        vq_req_drop(f->pool, f->out[--f->outs]);
    f->have_chain = false;
}

static void fuzz_done(struct fuzz *f, bool halves)
{
    uint32_t which = fuzz_get(f, 1);
    struct vq_req *req;

    if (f->have_chain) {
        f->have_chain = false;
        if (halves)
            vq_put(&f->q, &f->chain);
        else
            vq_done(&f->q, &f->chain);
    } else if (f->outs) {
        which %= f->outs;
        req = f->out[which];
        f->out[which] = f->out[--f->outs];
        vq_req_done(f->pool, req);
    }
}

static void fuzz_next(struct fuzz *f, bool as_req)
{
    bool was_broken = f->q.broken;
    int rc;

    if (f->have_chain)
        vq_done(&f->q, &f->chain);
    f->have_chain = false;
    if (as_req) {
        rc = vq_next_req(&f->q, f->pool, &f->out[f->outs]);
        if (rc == 1)
            fuzz_check_chain(f, &f->out[f->outs++]->chain);
    } else {
        rc = vq_next(&f->q, &f->chain);
        f->have_chain = rc == 1;
        if (rc == 1)
            fuzz_check_chain(f, &f->chain);
    }
    fuzz_check(rc == 1 || rc == 0 || rc == -EPROTO || rc == -ENOBUFS);
    fuzz_check(rc != 1 || !was_broken);
    fuzz_check((rc == -EPROTO) == (f->q.broken && !was_broken));
    fuzz_check(!f->q.broken || f->q.why);
    f->fresh = f->have_chain;
}

static void fuzz_start(struct fuzz *f)
{
    f->q.size = f->drv.size;
    f->q.desc = f->drv.desc;
    f->q.driver = f->drv.driver;
    f->q.device = f->drv.device;
    vq_start(&f->q, f->features);
}

/* Reset of both sides, or a snapshot, or a state out of nowhere. */
static void fuzz_life(struct fuzz *f)
{
    uint32_t how = fuzz_get(f, 1);
    struct vq_state s;

    fuzz_drop(f);
    vq_save(&f->q, &s);
    if (how % 4 == 3) {
        s = (struct vq_state){ .desc = fuzz_get(f, 3),
                               .driver = fuzz_get(f, 3),
                               .device = fuzz_get(f, 3),
                               .size = (uint16_t)fuzz_get(f, 2),
                               .next_avail = (uint16_t)fuzz_get(f, 2),
                               .started = true,
                               .avail_wrap = how & 16,
                               .used_wrap = how & 16 };
        s.next_used = how & 32 ? s.next_avail : 0;
    }
    vq_stop(&f->q);
    if (how % 4 >= 2) {
        vq_load(&f->q, f->features, &s);
        return;
    }
    vq_reset(&f->q);
    fake_driver_reset(&f->drv);
    fuzz_start(f);
}

static void fuzz_offer(struct fuzz *f)
{
    uint32_t n = fuzz_get(f, 1), direct = fuzz_get(f, 1);
    struct fake_buf b[16];

    n = n % 16 + 1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = fuzz_get(f, 2);

        b[i] = (struct fake_buf){ at & 0xfff8, (at & 3) * 700 + 1, at & 4 };
    }
    fake_driver_stage(&f->drv, b, n, direct % (n + 1));
    if (direct < 128)
        fake_driver_publish(&f->drv);
}

static void fuzz_lie(struct fuzz *f)
{
    uint32_t how = fuzz_get(f, 1);
    uint16_t slot = (uint16_t)(fuzz_get(f, 1) % f->drv.size);
    struct fake_desc d;

    switch (how % 8) {
    case 0:
        fake_driver_corrupt(&f->drv, slot, (uint16_t)fuzz_get(f, 1), (uint16_t)fuzz_get(f, 1));
        break;
    case 1: fake_driver_corrupt_buf(&f->drv, slot, fuzz_get(f, 3), fuzz_get(f, 4)); break;
    case 2: fake_driver_corrupt_avail_idx(&f->drv, (uint16_t)fuzz_get(f, 2)); break;
    case 3: fake_driver_corrupt_avail(&f->drv, slot, (uint16_t)fuzz_get(f, 1)); break;
    case 4: fake_driver_corrupt_wrap(&f->drv, slot); break;
    case 5:
        fake_driver_corrupt_event(&f->drv, (uint16_t)fuzz_get(f, 1), (uint16_t)fuzz_get(f, 2));
        break;
    case 6:
        d = (struct fake_desc){ fuzz_get(f, 3), fuzz_get(f, 4), (uint16_t)fuzz_get(f, 1),
                                (uint16_t)fuzz_get(f, 1) };
        fake_driver_corrupt_table(&f->drv, slot, (uint16_t)(fuzz_get(f, 1) % 16), &d);
        break;
    default: f->guest.host[fuzz_get(f, 2) % FUZZ_RAM] = (uint8_t)fuzz_get(f, 1); break;
    }
}

static void fuzz_step(struct fuzz *f)
{
    uint32_t step = fuzz_get(f, 1), len;
    uint16_t id;

    switch (step % 16) {
    case 0:
    case 1:
    case 2: fuzz_offer(f); break;
    case 3:
    case 4: fuzz_next(f, false); break;
    case 5: fuzz_next(f, f->outs < FUZZ_SIZE_MAX); break;
    case 6: fuzz_done(f, false); break;
    case 7: fuzz_done(f, true); break;
    case 8: vq_publish(&f->q); break;
    case 9:
        if (f->have_chain)
            fuzz_move(f, &f->chain);
        else if (f->outs)
            fuzz_move(f, &f->out[f->outs - 1]->chain);
        break;
    case 10:
        if (vq_wants_notify(&f->q))
            fake_driver_notify(&f->drv);
        fake_driver_wants_kick(&f->drv);
        break;
    case 11: fake_driver_collect(&f->drv, &id, &len); break;
    case 12: fake_driver_set_event(&f->drv, step / 16 % 3, (uint16_t)fuzz_get(f, 1)); break;
    case 13: fuzz_lie(f); break;
    case 14:
        if (f->fresh && f->have_chain && !(f->features & VQ_F_IN_ORDER)) {
            vq_undo(&f->q, &f->chain);
            f->have_chain = false;
        }
        break;
    default: fuzz_life(f); break;
    }
    if (step % 16 != 9 && step % 16 != 3 && step % 16 != 4)
        f->fresh = false;
}

/* Rings on pages of their own, or across the border of two. */
static int fuzz_init(struct fuzz *f, uint64_t ring, void *ram)
{
    static const uint64_t feature[] = { VQ_F_EVENT_IDX, VQ_F_INDIRECT, VQ_F_IN_ORDER };
    uint32_t bits = fuzz_get(f, 1), size = fuzz_get(f, 1), place = fuzz_get(f, 1);
    struct fake_config config = { .heap = 0x8000, .heap_bytes = 0x4000 };

    f->features = ring;
    for (unsigned i = 0; i < 3; i++)
        f->features |= bits & 1U << i ? feature[i] : 0;
    config.features = f->features;
    config.size = (uint16_t)(ring ? size % FUZZ_SIZE_MAX + 1 : 1U << size % 7);
    config.desc = place & 1 ? 0x1ff0 : 0x2000;
    config.driver = place & 2 ? 0x3ffc : 0x4000;
    config.device = place & 4 ? 0x5ffc : 0x6000;
    if (fake_guest_init_at(&f->guest, ram, FUZZ_RAM))
        return -1;
    if (bits & 8)
        f->iommu.translate = fuzz_translate;
    if (bits & 16)
        fuzz_check(!gm_dirty_new(FUZZ_RAM, false, &f->dirty));
    gm_view_init(&f->view, f->guest.space, NULL);
    fuzz_check(!fake_driver_init(&f->drv, f->guest.space, &config));
    if (f->iommu.translate) {
        gm_view_set_iommu(&f->view, &f->iommu);
        gm_view_set_iommu(&f->drv.view, &f->iommu);
    }
    gm_view_set_dirty(&f->view, f->dirty);
    fuzz_check(!fake_driver_reset(&f->drv));
    fuzz_check(!vq_init(&f->q, &f->view, FUZZ_SIZE_MAX));
    fuzz_check(!vq_set_inflight(&f->q, f->region, FUZZ_REGION));
    fuzz_check(!vq_pool_new(&f->q, 8, &f->pool));
    fuzz_start(f);
    fuzz_check(f->q.started);
    return 0;
}

static void fuzz_run(const uint8_t *data, size_t size, uint64_t ring, uint8_t *region,
                     void (*step)(struct fuzz *f))
{
    struct fuzz f = { .data = data, .left = size, .region = region };
    void *ram = aligned_alloc(4096, FUZZ_RAM);

    if (!ram)
        return;
    memset(ram, 0, FUZZ_RAM);
    if (!fuzz_init(&f, ring, ram)) {
        for (int i = 0; i < FUZZ_STEPS && f.left; i++)
            step(&f);
        fuzz_drop(&f);
        vq_pool_free(f.pool);
        vq_exit(&f.q);
        fake_driver_exit(&f.drv);
        gm_view_exit(&f.view);
        fake_guest_exit(&f.guest);
        gm_dirty_free(f.dirty);
    }
    free(ram);
}

#endif
